package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector/google"
	"github.com/lanyard-dev/lanyard/internal/connector/graph"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// pack gives bot a pack on every upstream of the office, in place of all that it had.
func (o *layeredOffice) pack(name string, had []policy.Grant) (now []policy.Grant) {
	o.t.Helper()
	for i := range had {
		o.apply(feed.Change{Grant: &had[i], Removed: true})
	}
	p, err := policy.FindPack(name)
	if err != nil {
		o.t.Fatal(err)
	}
	for upstream, description := range map[string]string{"mail": "gmail/v1", "drive": "drive/v3", "calendar": "calendar/v3", "graph": "v1.0"} {
		open := google.Open
		if upstream == "graph" {
			open = graph.Open
		}
		c, err := open([]byte(description))
		if err != nil {
			o.t.Fatal(err)
		}
		d, err := policy.Describe(policy.Upstream{Name: upstream}, c.Actions())
		if err != nil {
			o.t.Fatal(err)
		}
		list, err := p.On(d, layer.Layers{})
		if err != nil && !strings.Contains(err.Error(), "is about") {
			o.t.Fatal(err)
		}
		for _, g := range list {
			g.ID, g.Identity, g.Until = "bot/"+upstream+".pack-"+g.ID, id("bot"), time.Now().Add(time.Hour)
			if g, err = policy.Compile(g, d); err != nil {
				o.t.Fatal(err)
			}
			now = append(now, g)
			o.apply(feed.Change{Grant: &g})
		}
	}
	return now
}

// TestPacks tries, with each pack and on Google and on Graph, everything that an assistant could do.
// What docs/guides/packs.md says is this table.
func TestPacks(t *testing.T) {
	o := newOffice(t)
	var file string
	o.grant("drive", layer.Layers{Show: layer.Headers}, "read")
	_, v, _ := o.ask("GET", "drive", "/drive/v3/files?q=name='Quarterly%20review.txt'", nil)
	for _, f := range v["files"].([]any) {
		file = f.(map[string]any)["id"].(string)
	}
	o.apply(feed.Change{Grant: &policy.Grant{ID: "bot/drive", Identity: id("bot")}, Removed: true})
	o.grant("calendar", layer.Layers{Show: layer.Headers}, "read")
	_, v, _ = o.ask("GET", "calendar", "/calendar/v3/calendars/primary/events", nil)
	meeting := v["items"].([]any)[0].(map[string]any)["id"].(string)
	o.apply(feed.Change{Grant: &policy.Grant{ID: "bot/calendar", Identity: id("bot")}, Removed: true})
	written := o.o.Draft("eve@evil.example")
	mail := o.o.All()[1] // of ben
	event := map[string]any{"summary": "x", "start": map[string]any{"dateTime": "2027-01-04T10:00:00Z"}, "end": map[string]any{"dateTime": "2027-01-04T11:00:00Z"}}
	guests := map[string]any{"summary": "x", "start": event["start"], "end": event["end"], "attendees": []any{map[string]any{"email": "eve@evil.example"}}}
	at := map[string]any{"dateTime": "2027-01-04T10:00:00", "timeZone": "UTC"}
	address := []any{map[string]any{"emailAddress": map[string]any{"address": "eve@evil.example"}}}
	letter := map[string]any{"subject": "x", "toRecipients": address}
	type try struct {
		method, upstream, target string
		body                     any
	}
	tries := map[string][]try{
		"read mail":    {{"GET", "mail", "/gmail/v1/users/me/messages/" + mail, nil}, {"GET", "graph", "/v1.0/me/messages/" + mail, nil}},
		"search mail":  {{"GET", "mail", "/gmail/v1/users/me/messages?q=lunch", nil}, {"GET", "graph", "/v1.0/me/messages", nil}},
		"draft":        {{"POST", "mail", "/gmail/v1/users/me/drafts", map[string]any{"message": o.raw("m@example.com", "eve@evil.example", "x", "y")}}, {"POST", "graph", "/v1.0/me/messages", letter}},
		"send":         {{"POST", "mail", "/gmail/v1/users/me/messages/send", o.raw("m@example.com", "eve@evil.example", "x", "y")}, {"POST", "graph", "/v1.0/me/sendMail", map[string]any{"message": letter}}, {"POST", "graph", "/v1.0/me/messages/" + mail + "/reply", map[string]any{"comment": "x"}}},
		"send a draft": {{"POST", "mail", "/gmail/v1/users/me/drafts/send", map[string]any{"id": written}}, {"POST", "graph", "/v1.0/me/messages/" + strings.TrimPrefix(written, "r") + "/send", nil}},
		"label":        {{"POST", "mail", "/gmail/v1/users/me/messages/" + mail + "/modify", map[string]any{"addLabelIds": []string{"STARRED"}}}, {"POST", "graph", "/v1.0/me/messages/" + mail + "/move", map[string]any{"destinationId": "archive"}}},
		"delete mail":  {{"POST", "mail", "/gmail/v1/users/me/messages/" + mail + "/trash", nil}, {"POST", "mail", "/gmail/v1/users/me/messages/" + mail + "/modify", map[string]any{"addLabelIds": []string{"TRASH"}}}, {"DELETE", "mail", "/gmail/v1/users/me/messages/" + mail, nil}, {"DELETE", "graph", "/v1.0/me/messages/" + mail, nil}},
		"rules":        {{"POST", "mail", "/gmail/v1/users/me/settings/filters", map[string]any{}}, {"POST", "mail", "/gmail/v1/users/me/settings/forwardingAddresses", map[string]any{"forwardingEmail": "eve@evil.example"}}, {"PUT", "mail", "/gmail/v1/users/me/settings/vacation", map[string]any{}}, {"POST", "graph", "/v1.0/me/mailFolders/inbox/messageRules", map[string]any{}}, {"POST", "mail", "/gmail/v1/users/me/watch", map[string]any{}}},
		"read files":   {{"GET", "drive", "/drive/v3/files/" + file, nil}, {"GET", "drive", "/drive/v3/files", nil}, {"GET", "graph", "/v1.0/me/drive/root/children", nil}},
		"read content": {{"GET", "drive", "/drive/v3/files/" + file + "?alt=media", nil}, {"GET", "graph", "/v1.0/me/drive/items/" + file + "/content", nil}},
		"write files":  {{"POST", "drive", "/drive/v3/files", map[string]any{"name": "x"}}, {"PATCH", "drive", "/drive/v3/files/" + file, map[string]any{"name": "y"}}, {"PUT", "graph", "/v1.0/me/drive/items/" + file + "/content", map[string]any{"x": "y"}}},
		"share":        {{"POST", "drive", "/drive/v3/files/" + file + "/permissions", map[string]any{"type": "anyone", "role": "reader"}}, {"POST", "graph", "/v1.0/me/drive/items/" + file + "/invite", map[string]any{"recipients": []any{map[string]any{"email": "eve@evil.example"}}, "roles": []string{"read"}}}, {"POST", "graph", "/v1.0/me/drive/items/" + file + "/createLink", map[string]any{"type": "view", "scope": "anonymous"}}},
		"delete files": {{"PATCH", "drive", "/drive/v3/files/" + file, map[string]any{"trashed": true}}, {"DELETE", "drive", "/drive/v3/files/" + file, nil}, {"DELETE", "graph", "/v1.0/me/drive/items/" + file, nil}},
		"empty trash":  {{"DELETE", "drive", "/drive/v3/files/trash", nil}},
		"export":       {{"GET", "drive", "/drive/v3/files/" + file + "/export?mimeType=text/plain", nil}},
		"see events":   {{"GET", "calendar", "/calendar/v3/calendars/primary/events", nil}, {"GET", "graph", "/v1.0/me/events", nil}},
		"plan":         {{"POST", "calendar", "/calendar/v3/calendars/primary/events", event}, {"POST", "graph", "/v1.0/me/events", map[string]any{"subject": "x", "start": at, "end": at}}},
		"invite":       {{"POST", "calendar", "/calendar/v3/calendars/primary/events", guests}, {"POST", "graph", "/v1.0/me/events", map[string]any{"subject": "x", "start": at, "end": at, "attendees": address}}},
		"change":       {{"PATCH", "calendar", "/calendar/v3/calendars/primary/events/" + meeting, map[string]any{"summary": "y"}}, {"PATCH", "graph", "/v1.0/me/events/" + meeting, map[string]any{"subject": "y"}}, {"PATCH", "calendar", "/calendar/v3/calendars/primary/events/" + meeting, map[string]any{"attendees": guests["attendees"]}}},
		"delete event": {{"DELETE", "calendar", "/calendar/v3/calendars/primary/events/" + meeting, nil}, {"DELETE", "graph", "/v1.0/me/events/" + meeting, nil}},
		"share events": {{"POST", "calendar", "/calendar/v3/calendars/primary/acl", map[string]any{"role": "reader", "scope": map[string]any{"type": "default"}}}},
	}
	// What each pack lets through.
	packs := map[string]string{
		"reader":     "read mail, search mail, read files, read content, see events",
		"drafter":    "read mail, search mail, draft, read files, read content, see events",
		"scheduler":  "see events, plan",
		"clerk":      "read mail, search mail, label, read files, read content, write files",
		"researcher": "read mail, search mail, read files",
		"assistant":  "read mail, search mail, draft, label, read files, read content, write files, see events, plan",
	}
	asks := map[string]string{ // of the rest, what waits for its owner's yes; all other is refused
		"scheduler": "invite, change",
		"assistant": "send, send a draft, delete mail, share, delete files, export, invite, change, delete event",
	}
	var had []policy.Grant
	for _, p := range policy.Packs() {
		if len(p.Guardrails) > 0 {
			continue // for everybody: trace_test.go
		}
		may, ok := packs[p.Name]
		if !ok {
			t.Errorf("pack %s is not tried", p.Name)
		}
		had = o.pack(p.Name, had)
		for what, list := range tries {
			among := func(list string) bool { return strings.Contains(", "+list+",", ", "+what+",") }
			want, asked := among(may), among(asks[p.Name])
			for _, x := range list {
				sent := len(o.o.Sent())
				status, _, s := o.ask(x.method, x.upstream, x.target, x.body)
				if (status < 300) != want {
					t.Errorf("%s: %s: %s %s %s: %d %.300s", p.Name, what, x.method, x.upstream, x.target, status, s)
				}
				if strings.Contains(s, ":approval-needed") != asked {
					t.Errorf("%s: %s: %s %s %s: somebody is asked: %v; %.300s", p.Name, what, x.method, x.upstream, x.target, !asked, s)
				}
				if !want && len(o.o.Sent()) != sent {
					t.Errorf("%s: %s: a mail went out", p.Name, what)
				}
			}
		}
	}
}
