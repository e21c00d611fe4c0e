package google

import (
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/office"
)

// FuzzHears: whatever a mailbox returns is heard as JSON, or as it is; whatever is sent is said without harm.
func FuzzHears(f *testing.F) {
	f.Add("/gmail/v1/users/me/messages/1", `{"id":"1","payload":{"headers":[{"name":"From","value":"a@b.example"}],"parts":[{"mimeType":"text/plain","body":{"data":"Qk9EWQ=="}}]}}`)
	f.Add("/gmail/v1/users/me/messages/1/attachments/2", `{"data":"Qk9EWQ=="}`)
	f.Add("/gmail/v1/users/me/drafts/1", `{"message":{"raw":"VG86IGFAYi5leGFtcGxlDQpDb250ZW50LVR5cGU6IG11bHRpcGFydC9taXhlZDsgYm91bmRhcnk9Yg0KDQotLWINCg0KeA0KLS1iLS0NCg=="}}`)
	c := open(f, "gmail/v1").(connector.Speaker)
	f.Fuzz(func(t *testing.T, path, body string) {
		for _, method := range []string{"GET", "POST"} {
			r := &connector.Request{Method: method, Path: path, Body: []byte(body), Header: map[string][]string{"Content-Type": {"application/json"}}}
			call, err := c.Recognise(r)
			if err != nil {
				continue
			}
			c.Says(r, call)
			out := c.Hears(call, "application/json", []byte(body))
			if _, err := office.JSON([]byte(body)); err != nil || strings.Contains(path, "/attachments/") {
				continue
			}
			if _, err := office.JSON(out); err != nil {
				t.Fatalf("%s: %s is heard as %s", path, body, out)
			}
		}
	})
}
