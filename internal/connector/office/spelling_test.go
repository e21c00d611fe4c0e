package office_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/google"
	"github.com/lanyard-dev/lanyard/internal/connector/graph"
	"github.com/lanyard-dev/lanyard/internal/layer"
)

// spelled is JSON that says the same with an escape for each letter, and blanks wherever some may be.
func spelled(reply []byte) []byte {
	var b []byte
	for i := 0; i < len(reply); i++ {
		if reply[i] != '"' {
			if bytes.IndexByte([]byte("{}[]:,"), reply[i]) >= 0 {
				b = append(b, " \n"...)
			}
			b = append(b, reply[i])
			continue
		}
		end := i + 1
		for end < len(reply) && reply[end] != '"' {
			if reply[end] == '\\' {
				end++
			}
			end++
		}
		text, err := jsontext.AppendUnquote(nil, reply[i:min(end+1, len(reply))])
		if err != nil {
			return reply
		}
		b = append(b, '"')
		for _, u := range utf16.Encode([]rune(string(text))) {
			b = fmt.Appendf(b, `\u%04x`, u)
		}
		b = append(b, '"')
		i = end
	}
	return b
}

// FuzzSpelling: what a mailbox, a drive or a calendar says is shown alike, or hidden alike, however it is spelled in JSON.
func FuzzSpelling(f *testing.F) {
	var layered []connector.Layered
	for _, family := range []connector.Family{google.Family(), graph.Family()} {
		for _, d := range []string{"gmail/v1", "drive/v3", "calendar/v3", "v1.0"} {
			if c, err := family.Open([]byte(d)); err == nil {
				layered = append(layered, c.(connector.Layered))
			}
		}
	}
	if len(layered) != 4 {
		f.Fatalf("%d connectors", len(layered))
	}
	now := time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)
	var all []*layer.Rules
	for _, l := range []layer.Layers{
		{Show: layer.Headers}, {Show: layer.Redacted}, {Show: layer.Nothing}, {Contacts: layer.Contacts{See: []string{"example.com"}}},
		{Contacts: layer.Contacts{Never: []string{"evil.example"}}, Time: layer.Time{Days: 30}, Within: layer.Within{Labels: []string{"inbox"}, Calendars: []string{"primary"}, Drives: []string{"own"}}},
		{Reduce: layer.Reduce{Mask: []string{"cards", "accounts", "identities", "secrets"}, Strip: []string{"html", "invisible", "tracking"}, Attachments: []string{"text"}}},
	} {
		r, err := layer.New(l)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, r)
	}
	alike := func(t testing.TB, target string, reply []byte) (shown int) {
		path, query, _ := bytes.Cut([]byte(target), []byte("?"))
		r := &connector.Request{Method: "GET", Path: string(path), Query: string(query)}
		other := spelled(reply)
		for _, c := range layered {
			call, err := c.Recognise(r)
			if err != nil {
				continue
			}
			for _, rules := range all {
				u := connector.Under{Rules: []*layer.Rules{rules}, Now: now}
				a, _, err := c.Reveal(r, call, u, "application/json", reply)
				b, _, err2 := c.Reveal(r, call, u, "application/json", other)
				if (err == nil) != (err2 == nil) || !bytes.Equal(a, b) {
					t.Fatalf("%s under %s: %s\n%s (%v)\n%s (%v)", target, rules.Text, reply, a, err, b, err2)
				}
				if len(a) > 2 {
					shown++
				}
			}
		}
		return shown
	}
	for target, reply := range map[string]string{
		"/v1.0/me/messages": `{"@odata.count":2,"value":[{"id":"1","subject":"My password is hunter2","categories":["inbox"],"receivedDateTime":"2026-01-02T03:04:05Z","parentFolderId":"f","from":{"emailAddress":{"name":"Ben","address":"ben@example.com"}},"toRecipients":[],"ccRecipients":[],"bccRecipients":[],"replyTo":[],
			"bodyPreview":"4111\u200b1111 1111 1111","webUrl":"x","size":12345678901234567890,"body":{"contentType":"html","content":"<p style=\"display:none\">x</p><p>DE02 1203 0000 0000 2020 51</p>"}},{"id":"2","from":{"emailAddress":{"address":"eve@evil.example"}},"toRecipients":[]}]}`,
		"/v1.0/me/messages/1/attachments/1":            `{"@odata.type":"#microsoft.graph.fileAttachment","name":"a","contentType":"text/plain","contentBytes":"cGFzc3dvcmQ6IHg="}`,
		"/v1.0/me/events/1":                            `{"id":"1","subject":"s","organizer":{"emailAddress":{"address":"ben@example.com"}},"attendees":[],"start":{"dateTime":"2026-01-02T03:04:05","timeZone":"UTC"},"location":{"displayName":"pin: 1234"}}`,
		"/v1.0/me/drive/items/1":                       `{"id":"1","name":"n","lastModifiedDateTime":"2026-01-02T03:04:05Z","permissions":[{"link":{"scope":"users"}},{"grantedToV2":{"user":{"email":"ben@example.com"}}}],"parentReference":{"id":"p"}}`,
		"/gmail/v1/users/me/messages/1":                `{"id":"1","labelIds":["INBOX"],"internalDate":"1767322800000","snippet":"token: abc","raw":"x","payload":{"mimeType":"multipart/mixed","headers":[{"name":"From","value":"ben@example.com"},{"name":"Subject","value":"key=1"}],"parts":[{"mimeType":"text/html","body":{"size":1,"data":"PHA-cGFzc3dvcmQ6IHg8L3A-"}},{"mimeType":"image/png","filename":"x","body":{"attachmentId":"a"}}]}}`,
		"/gmail/v1/users/me/threads/1":                 `{"id":"1","messages":[{"id":"1","labelIds":["INBOX"],"payload":{"headers":[{"name":"From","value":"eve@evil.example"}]}},{"id":"2","labelIds":["INBOX"],"internalDate":"1767322800000","payload":{"headers":[{"name":"From","value":"ben@example.com"}]}}]}`,
		"/drive/v3/files/1":                            `{"id":"1","name":"n","owners":[{"emailAddress":"ben@example.com"}],"permissions":[{"type":"anyone"}],"modifiedTime":"2026-01-02T03:04:05Z","thumbnailLink":"x"}`,
		"/calendar/v3/calendars/primary/events/1":      `{"id":"1","start":{"date":"2026-01-02"},"attendees":[{"email":"ben@example.com","comment":"pin: 1234"}],"description":"<b>x</b>"}`,
		"/gmail/v1/users/me/messages/1/attachments/1":  `{"size":1,"data":"cGFzc3dvcmQ6IHg="}`,
		"/gmail/v1/users/me/labels":                    `{"labels":[{"id":"INBOX","name":"INBOX","messagesTotal":7}]}`,
		"/v1.0/me/mailFolders":                         `{"value":[{"id":"inbox","displayName":"Inbox","totalItemCount":7,"parentFolderId":{}}]}`,
		"/gmail/v1/users/me/drafts/1":                  `{"id":"1","message":{"id":"2","labelIds":["DRAFT"],"snippet":"x","payload":{"headers":[]}}}`,
		"/calendar/v3/calendars/primary/events":        `{"items":[{"id":"1","start":{"dateTime":"2026-01-02T03:04:05Z"}}],"summary":"s","nextPageToken":"n"}`,
		"/drive/v3/files":                              `{"files":[{"id":"1","owners":[],"permissions":[]}],"nextPageToken":"n"}`,
		"/v1.0/me/messages/1":                          `{"id":"1","isDraft":true,"toRecipients":null,"body":{"content":7}}`,
		"/v1.0/me/drive/items/root/children":           `{"value":[{"id":"1"},{"id":"2","permissions":[]}]}`,
		"/v1.0/me/calendars":                           `{"value":[{"id":"c","name":"n","isDefaultCalendar":true}]}`,
		"/gmail/v1/users/me/profile":                   `{"emailAddress":"ben@example.com","messagesTotal":7}`,
		"/gmail/v1/users/me/messages?maxResults=5&q=x": `{"messages":[{"id":"1","threadId":"2"}],"resultSizeEstimate":9}`,
	} {
		f.Add(target, []byte(reply))
		if n := alike(f, target, []byte(reply)); n == 0 {
			f.Errorf("of %s nothing is shown", target)
		}
	}
	f.Fuzz(func(t *testing.T, target string, reply []byte) { alike(t, target, reply) })
}

// TestRevealAtOnce: replies that are read at the same time, into the same room one after the other, have nothing of each other.
func TestRevealAtOnce(t *testing.T) {
	c, err := graph.Family().Open([]byte("v1.0"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := layer.New(layer.Layers{Contacts: layer.Contacts{See: []string{"example.com"}}, Reduce: layer.Reduce{Strip: []string{"html"}}})
	if err != nil {
		t.Fatal(err)
	}
	r := &connector.Request{Method: "GET", Path: "/v1.0/me/messages"}
	call, err := c.Recognise(r)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 100 {
				var in, out []string
				look := func(target string) (string, []byte, error) { // of every second mail the list says too little
					id, _, _ := strings.Cut(strings.TrimPrefix(target, "/v1.0/me/messages/"), "?")
					return "application/json", []byte(`{"id":"` + id + `","from":{"emailAddress":{"address":"` + id + `@example.com"}},"toRecipients":[],"ccRecipients":[],"bccRecipients":[],"replyTo":[]}`), nil
				}
				for k := range 1 + (n*i)%40 {
					id, people := fmt.Sprintf("m%d-%d-%d", n, i, k), ""
					if k%2 == 0 {
						people = `,"from":{"emailAddress":{"address":"` + id + `@example.com"}},"toRecipients":[],"ccRecipients":[],"bccRecipients":[],"replyTo":[]`
					}
					in = append(in, `{"id":"`+id+`"`+people+`,"body":{"content":"<p>`+id+`</p>"},"more":{"a":["`+id+`"]}}`)
					out = append(out, `{"id":"`+id+`"`+people+`,"body":{"content":"`+id+`","contentType":"text"}}`)
				}
				got, _, err := c.(connector.Layered).Reveal(r, call, connector.Under{Rules: []*layer.Rules{rules}, Now: time.Now(), Look: look}, "application/json", []byte(`{"value":[`+strings.Join(in, ",")+`]}`))
				if want := `{"value":[` + strings.Join(out, ",") + `]}`; err != nil || string(got) != want {
					t.Errorf("%v: %s, want %s", err, got, want)
				}
			}
		})
	}
	wg.Wait()
}
