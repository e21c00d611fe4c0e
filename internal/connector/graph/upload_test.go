package graph

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

func uploader(t testing.TB) connector.Uploader {
	t.Helper()
	c, err := Open([]byte("v1.0"))
	if err != nil {
		t.Fatal(err)
	}
	return c.(connector.Uploader)
}

// TestTakes: content goes to Microsoft, over TLS and without a token, and where an upstream on this machine says on it.
func TestTakes(t *testing.T) {
	u := uploader(t)
	const graph, here = "https://graph.microsoft.com", "http://127.0.0.1:8442"
	for _, c := range []struct {
		base, place string
		ok          bool
	}{
		{graph, "https://contoso.sharepoint.com/sites/a/_api/v2.0/drives/b!x/items/y/uploadSession?guid='1'&tempauth=v1.x", true}, {graph, "https://contoso-my.SharePoint.com/x", true}, {graph, "https://sn3302.up.1drv.com/up/fe6987415ace7X4e1eF866337", true}, {graph, "https://outlook.office.com/api/v2.0/Users('a')/Messages('b')/AttachmentSessions('c')?authtoken=x", true},
		{graph, "https://my.microsoftpersonalcontent.com/personal/x/_api/v2.0/x", true}, {graph, "https://graph.microsoft.com/v1.0/x", true}, {here, "http://127.0.0.1:9/up/x", true}, {here, "http://localhost/up/x", true}, {here, here + "/up/x", true}, {"http://10.0.0.1", "http://10.0.0.1/up/x", true},
		{graph, "http://contoso.sharepoint.com/x", false}, {graph, "https://sharepoint.com/x", false}, {graph, "https://evilsharepoint.com/x", false}, {graph, "https://contoso.sharepoint.com.evil.example/x", false}, {graph, "https://contoso.sharepoint.com:444/x", false}, {graph, "https://evil.example/contoso.sharepoint.com", false}, {graph, "https://contoso.sharepoint.com@evil.example/x", false},
		{graph, "https://a@contoso.sharepoint.com/x", false}, {graph, "https://evil.example#.sharepoint.com", false}, {graph, "https://contoso.sharepoint.com/x#y", false}, {graph, "//contoso.sharepoint.com/x", false}, {graph, "/x", false}, {graph, "", false}, {graph, "https:contoso.sharepoint.com/x", false}, {graph, "https://evil.outlook.office.com/x", false}, {graph, "https://127.0.0.1/x", false}, {graph, "http://localhost/x", false},
		{graph, "https://contoso.sharepoint.com", false}, {graph, "https://contoso.sharepoint.com//evil.example/x", false}, {here, "http://10.0.0.1/x", false}, {here, "https://contoso.sharepoint.com/x", false}, {"http://10.0.0.1", "http://10.0.0.2/x", false}, {"http://10.0.0.1", "http://127.0.0.1/x", false}, {here, "ftp://127.0.0.1/x", false},
	} {
		base, err := url.Parse(c.base)
		if err != nil {
			t.Fatal(err)
		}
		place, err := url.Parse(c.place)
		if err != nil {
			t.Fatal(err)
		}
		if ok, shown := u.Takes(base, place); ok != c.ok || shown {
			t.Errorf("%s at %s: %v, the credential is shown: %v", c.place, c.base, ok, shown)
		}
	}
}

// TestSession: what begins an upload is read in one way, and what its answers say leads nowhere else.
func TestSession(t *testing.T) {
	u := uploader(t)
	read := func(path, body string) (policy.Call, int64, error) {
		r := &connector.Request{Method: "POST", Path: "/v1.0/me" + path + "/createUploadSession", Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(body)}
		call, err := u.Recognise(r)
		if err != nil {
			return call, 0, err
		}
		n, begins := u.Begins(r, call)
		if !begins {
			t.Errorf("%s does not begin an upload", path)
		}
		return call, n, nil
	}
	for _, c := range []struct {
		path, body, action string
		size               int64
	}{
		{"/drive/root:/a b.txt:", `{"item":{"@microsoft.graph.conflictBehavior":"rename","name":"a b.txt","description":"x","fileSize":12345678901,"fileSystemInfo":{}}}`, newSession, 12345678901},
		{"/drive/items/i1:/a.txt:", `{"item":{"@microsoft.graph.conflictBehavior":"fail"},"deferCommit":false}`, newSession, -1},
		{"/drive/items/i1", `{"item":{"@microsoft.graph.conflictBehavior":"replace","fileSize":0}}`, overSession, 0},
		{"/drive/items/i1", ``, overSession, -1},
		{"/messages/m1/attachments", `{"AttachmentItem":{"attachmentType":"file","name":"a.pdf","size":7}}`, attachSession, 7},
	} {
		if call, n, err := read(strings.ReplaceAll(c.path, " ", "%20"), c.body); err != nil || call.Action != c.action || n != c.size {
			t.Errorf("%s %s: %+v, %d, %v", c.path, c.body, call, n, err)
		}
	}
	for _, c := range [][2]string{
		{"/drive/root:/a.txt:", `{"item":{"@microsoft.graph.conflictBehavior":"fail"},"deferCommit":true}`}, {"/drive/root:/a.txt:", `{"item":[]}`}, {"/drive/root:/a.txt:", `[]`}, {"/drive/root:/a.txt:", `{"item":{"@microsoft.graph.conflictBehavior":"Fail"}}`}, {"/drive/root:/a.txt:", `{"item":{"@microsoft.graph.conflictBehavior":"fail","parentReference":{"id":"x"}}}`},
		{"/drive/root:/a.txt:", `{"item":{"@microsoft.graph.conflictBehavior":"fail"},"driveItem":{}}`}, {"/drive/root:/~%23.:", `{"item":{"@microsoft.graph.conflictBehavior":"fail"}}`}, {"/drive/items/i1", `{"item":{"@microsoft.graph.conflictBehavior":"rename"}}`}, {"/drive/items/i1", `{"Item":{}}`}, {"/messages/m1/attachments", `{"AttachmentItem":{"attachmentType":"item","name":"x"}}`}, {"/messages/m1/attachments", `{}`},
		{"/events/e1/attachments", `{"AttachmentItem":{"attachmentType":"file","name":"a.pdf","size":7}}`},
	} {
		if call, _, err := read(c[0], c[1]); err == nil {
			t.Errorf("%s %s means %+v", c[0], c[1], call)
		}
	}
	for _, c := range []struct {
		method string
		status int
		body   string
		more   bool
		want   string
	}{
		{"PUT", 202, `{"uploadUrl":"secret","expirationDateTime":"x","nextExpectedRanges":["1-"],"other":1}`, true, `{"expirationDateTime":"x","nextExpectedRanges":["1-"]}`},
		{"GET", 200, `{"uploadUrl":"secret","nextExpectedRanges":["1-"]}`, true, `{"nextExpectedRanges":["1-"]}`},
		{"PUT", 200, `{"@odata.context":"secret","ExpirationDateTime":"x","NextExpectedRanges":["1"]}`, true, `{"ExpirationDateTime":"x","NextExpectedRanges":["1"]}`},
		{"PUT", 200, `{"id":"1","nextExpectedRanges":["1"]}`, false, `{"id":"1","nextExpectedRanges":["1"]}`},
		{"PUT", 201, `{"id":"1"}`, false, `{"id":"1"}`},
		{"PUT", 201, ``, false, ``}, {"DELETE", 204, ``, true, ``},
	} {
		h := http.Header{"Location": {"secret"}, "Content-Type": {"application/json"}, "X-Secret": {"secret"}}
		b, more, err := u.Answered(&connector.Request{Method: c.method}, c.status, h, []byte(c.body))
		if err != nil || more != c.more || string(b) != c.want || len(h) != 1 {
			t.Errorf("%s %d %s: %s %v %v %v", c.method, c.status, c.body, b, more, h, err)
		}
	}
	for _, body := range []string{"x", "[]", "null", `{"a":1}{"uploadUrl":"secret"}`} {
		if b, _, err := u.Answered(&connector.Request{Method: "PUT"}, 201, http.Header{}, []byte(body)); err == nil {
			t.Errorf("%s is answered: %s", body, b)
		}
	}
	b, err := u.Begun(http.Header{}, []byte(`{"uploadUrl":"https://x.sharepoint.com/secret","expirationDateTime":"x","nextExpectedRanges":["0-"],"x":"secret"}`), func(string) (string, error) { return "http://gate/x", nil })
	var v map[string]any
	if json.Unmarshal(b, &v) != nil || err != nil || v["uploadUrl"] != "http://gate/x" || len(v) != 3 || strings.Contains(string(b), "secret") {
		t.Errorf("begun: %s %v", b, err)
	}
}

// FuzzSession: what is let begin says no more than what is read of it.
func FuzzSession(f *testing.F) {
	u := uploader(f)
	f.Add("/drive/root:/a.txt:", `{"item":{"@microsoft.graph.conflictBehavior":"fail","name":"a.txt"}}`)
	f.Add("/drive/items/i1:/a%3Ab:", `{"item":{"@microsoft.graph.conflictBehavior":"rename"}}`)
	f.Add("/drive/items/i1", `{"item":{"@microsoft.graph.conflictBehavior":"replace"}}`)
	f.Fuzz(func(t *testing.T, path, body string) {
		r := &connector.Request{Method: "POST", Path: "/v1.0/me" + path + "/createUploadSession", Header: http.Header{}, Body: []byte(body)}
		call, err := u.Recognise(r)
		if err != nil {
			return
		}
		var v struct {
			Item     map[string]any
			Deferred bool `json:"deferCommit"`
		}
		_ = json.Unmarshal([]byte(body), &v)
		name, _ := call.Arguments["name"].(string)
		conflict := v.Item["@microsoft.graph.conflictBehavior"]
		if v.Deferred || strings.ContainsAny(name, "/\\:") || call.Action == newSession && conflict != "fail" && conflict != "rename" || call.Action == overSession && conflict != nil && conflict != "replace" {
			t.Errorf("%q %q means %+v", path, body, call)
		}
	})
}
