package office_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/google"
	"github.com/lanyard-dev/lanyard/internal/connector/graph"
	"github.com/lanyard-dev/lanyard/internal/layer"
)

// TestFromNobody: a stranger who does not say who it is is no contact.
func TestFromNobody(t *testing.T) {
	const gmail, calendar, drive = "/gmail/v1/users/me/messages/1", "/calendar/v3/calendars/primary/events/1", "/drive/v3/files/1"
	const mail, event, item = "/v1.0/me/messages/1", "/v1.0/me/events/1", "/v1.0/me/drive/items/1"
	headers := func(list ...string) string {
		var all []string
		for _, h := range append(list, "To:ben@example.com") {
			name, value, _ := strings.Cut(h, ":")
			all = append(all, `{"name":"`+name+`","value":"`+value+`"}`)
		}
		return `{"id":"1","labelIds":["INBOX"],"payload":{"headers":[` + strings.Join(all, ",") + `]}}`
	}
	message := func(from string) string {
		return `{"id":"1",` + from + `"toRecipients":[{"emailAddress":{"address":"ben@example.com"}}],"ccRecipients":[],"bccRecipients":[],"replyTo":[]}`
	}
	const ben, nobody = `{"emailAddress":{"address":"ben@example.com"}}`, `{"emailAddress":{"name":"Ben"}}`
	for _, c := range []struct {
		name, target, reply string
		shown               bool
	}{
		{"a contact", gmail, headers("From:Ben <ben@example.com>"), true},
		{"a group with a contact", gmail, headers("From:us: ben@example.com;"), true},
		{"a group of nobody", gmail, headers("From:Ben:;"), false},
		{"nothing", gmail, headers("From: "), false},
		{"a group of nobody, and a contact", gmail, headers("From:Ben:;", "From:ben@example.com"), false},
		{"to a group of nobody", gmail, headers("From:ben@example.com", "To:undisclosed-recipients:;"), true},
		{"an event", calendar, `{"id":"1","start":{"date":"2026-01-02"},"organizer":{"self":true},"attendees":[{"email":"ben@example.com"}]}`, true},
		{"an event of a stranger's", calendar, `{"id":"1","start":{"date":"2026-01-02"},"organizer":{"displayName":"Ben"},"attendees":[{"email":"ben@example.com"}]}`, false},
		{"an event with a stranger", calendar, `{"id":"1","start":{"date":"2026-01-02"},"attendees":[{"email":"ben@example.com"},{"displayName":"Ben"}]}`, false},
		{"a file", drive, `{"id":"1","owners":[{"me":true}],"permissions":[{"type":"user","emailAddress":"ben@example.com"},{"type":"user","deleted":true}]}`, true},
		{"a file of somebody who shows no address", drive, `{"id":"1","owners":[{"displayName":"Ben"}],"permissions":[{"type":"user","emailAddress":"ben@example.com"}]}`, false},
		{"a file that somebody sees who shows no address", drive, `{"id":"1","owners":[{"me":true}],"permissions":[{"type":"user","displayName":"Ben"}]}`, false},
		{"a file, in Graph", item, `{"id":"1","permissions":[{"link":{"scope":"users"}},{"grantedToV2":{"user":{"email":"ben@example.com"}}},{"invitation":{"email":"ben@example.com"}}]}`, true},
		{"a file for somebody who is invited without an address, in Graph", item, `{"id":"1","permissions":[{"invitation":{"signInRequired":true}}]}`, false},
		{"a file for somebody who is said in another way, in Graph", item, `{"id":"1","permissions":[{"grantedTo":{"user":{"displayName":"Ben"}}}]}`, false},
		{"a contact, in Graph", mail, message(`"from":` + ben + `,"sender":` + ben + `,`), true},
		{"a draft, in Graph", mail, message(`"isDraft":true,"from":null,"sender":null,`), true},
		{"no address, in Graph", mail, message(`"from":` + nobody + `,"sender":` + ben + `,`), false},
		{"sent by no address, in Graph", mail, message(`"from":` + ben + `,"sender":` + nobody + `,`), false},
		{"from null, in Graph", mail, message(`"from":null,"sender":` + ben + `,`), false},
		{"an event, in Graph", event, `{"id":"1","organizer":` + ben + `,"attendees":[]}`, true},
		{"an event of a stranger's, in Graph", event, `{"id":"1","organizer":` + nobody + `,"attendees":[]}`, false},
	} {
		r, err := layer.New(layer.Layers{Contacts: layer.Contacts{See: []string{"example.com"}}})
		if err != nil {
			t.Fatal(err)
		}
		ask := &connector.Request{Method: "GET", Path: c.target}
		for _, family := range []connector.Family{google.Family(), graph.Family()} {
			for _, d := range []string{"gmail/v1", "calendar/v3", "drive/v3", "v1.0"} {
				open, err := family.Open([]byte(d))
				if err != nil {
					continue
				}
				call, err := open.Recognise(ask)
				if err != nil {
					continue
				}
				_, _, err = open.(connector.Layered).Reveal(ask, call, connector.Under{Rules: []*layer.Rules{r}, Now: time.Now()}, "application/json", []byte(c.reply))
				if (err == nil) != c.shown {
					t.Errorf("%s: %v", c.name, err)
				}
			}
		}
	}
}
