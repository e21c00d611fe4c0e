package google

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
)

// TestTakes: content goes to the upstream itself, where it takes uploads, and nowhere else.
func TestTakes(t *testing.T) {
	u := open(t, "drive/v3").(connector.Uploader)
	for _, c := range []struct {
		base, place string
		ok          bool
	}{
		{"https://www.googleapis.com", "https://www.googleapis.com/upload/drive/v3/files?uploadType=resumable&upload_id=x", true}, {"https://www.googleapis.com/", "https://WWW.googleapis.com/resumable/upload/drive/v3/files?upload_id=x", true}, {"http://127.0.0.1:3004/base", "http://127.0.0.1:3004/base/upload/drive/v3/files/f?upload_id=x", true},
		{"https://www.googleapis.com", "https://storage.googleapis.com/upload/drive/v3/files", false}, {"https://www.googleapis.com", "http://www.googleapis.com/upload/drive/v3/files", false}, {"https://www.googleapis.com", "https://www.googleapis.com:444/upload/drive/v3/files", false}, {"https://www.googleapis.com", "https://www.googleapis.com/drive/v3/files/x", false},
		{"https://www.googleapis.com", "https://www.googleapis.com/upload/gmail/v1/users/me/messages/send", false}, {"http://127.0.0.1:3004/base", "http://127.0.0.1:3004/upload/drive/v3/files", false}, {"http://127.0.0.1:3004", "http://127.0.0.1:3005/upload/drive/v3/files", false}, {"https://www.googleapis.com", "https://a:b@www.googleapis.com/upload/drive/v3/files", false},
		{"https://www.googleapis.com", "/upload/drive/v3/files", false}, {"https://www.googleapis.com", "//www.googleapis.com/upload/drive/v3/files", false}, {"https://www.googleapis.com", "https://www.googleapis.com/upload/drive/v3/files#x", false}, {"https://www.googleapis.com", "", false},
		{"https://www.googleapis.com", "https://www.googleapis.com/upload/drive/../../gmail/v1/users/me/messages/send", false}, {"https://www.googleapis.com", "https://www.googleapis.com/upload/drive/%2e%2e/%2E%2E/gmail/v1", false}, {"https://www.googleapis.com", "https://www.googleapis.com/upload/drive/v3//files", false},
	} {
		base, err := url.Parse(c.base)
		if err != nil {
			t.Fatal(err)
		}
		place, err := url.Parse(c.place)
		if err != nil {
			t.Fatal(err)
		}
		if ok, shown := u.Takes(base, place); ok != c.ok || shown != c.ok {
			t.Errorf("%s at %s: %v %v", c.place, c.base, ok, shown)
		}
	}
}

// TestAnswered: nothing of an answer to a part tells where the content goes.
func TestAnswered(t *testing.T) {
	u := open(t, "drive/v3").(connector.Uploader)
	for _, c := range []struct {
		status int
		header http.Header
		body   string
		more   bool
		want   string
		left   int
	}{
		{308, http.Header{"Range": {"bytes=0-9"}, "X-Guploader-Uploadid": {"secret"}, "Location": {"secret"}}, "secret", true, "", 1},
		{200, http.Header{"Range": {"bytes=0-9"}, "X-Http-Status-Code-Override": {"308"}, "X-Guploader-Uploadid": {"secret"}, "Content-Type": {"text/plain"}}, "", true, "", 2},
		{200, http.Header{"Content-Type": {"application/json"}, "X-Guploader-Uploadid": {"secret"}, "Location": {"secret"}}, `{"id":"1"}`, false, `{"id":"1"}`, 1},
	} {
		b, more, err := u.Answered(&connector.Request{Method: "PUT"}, c.status, c.header, []byte(c.body))
		if err != nil || more != c.more || string(b) != c.want || len(c.header) != c.left {
			t.Errorf("%d: %q %v %v %v", c.status, b, more, c.header, err)
		}
	}
}
