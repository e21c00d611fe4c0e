package graph

import (
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/office"
)

// FuzzHears: whatever a mailbox returns is heard as JSON, or as it is; whatever is sent is said without harm.
func FuzzHears(f *testing.F) {
	f.Add("/v1.0/me/messages/1", `{"id":"1","from":{"emailAddress":{"name":"x","address":"a@b.example"}},"toRecipients":[{"emailAddress":{}}],"body":{"content":"x"}}`)
	f.Add("/v1.0/me/messages/1/attachments/2", `{"contentBytes":"Qk9EWQ==","contentType":"text/plain"}`)
	f.Add("/v1.0/me/messages", `{"value":[{"toRecipients":[]}]}`)
	c := open(f).(connector.Speaker)
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
