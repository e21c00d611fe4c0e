package graph

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/connectortest"
	"github.com/lanyard-dev/lanyard/internal/connector/office"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

func open(t testing.TB) connector.Layered {
	t.Helper()
	c, err := Open([]byte("v1.0\n"))
	if err != nil {
		t.Fatal(err)
	}
	return c.(connector.Layered)
}

func TestGraph(t *testing.T) { connectortest.Test(t, open(t), "testdata/v1") }

func TestOpenRefuses(t *testing.T) {
	for _, d := range []string{"", "beta", "{}"} {
		if _, err := Open([]byte(d)); err == nil {
			t.Errorf("%q is opened", d)
		}
	}
}

// TestMeanings holds the table against the actions that there are, and the words against those that all share.
func TestMeanings(t *testing.T) {
	known := map[string]policy.Action{}
	for _, a := range open(t).Actions() {
		known[a.Name] = a
	}
	for name, m := range dialect.Of {
		a, ok := known[name]
		if !ok {
			t.Errorf("there is no action %s", name)
		}
		if !slices.Equal(a.Words, m.Words) {
			t.Errorf("%s has the words %v", name, a.Words)
		}
		for _, w := range m.Words {
			if !slices.Contains(office.Words, w) {
				t.Errorf("%s: %s is no word", name, w)
			}
		}
		delete(known, name)
	}
	for name, a := range known {
		if a.Class != policy.Read && len(a.Words) == 0 {
			t.Logf("%s (%s) has no word", name, a.Class)
		}
	}
}

func TestBodies(t *testing.T) {
	c := open(t)
	for name, x := range map[string]struct{ target, kind, body, want string }{
		"sent":             {"/v1.0/me/sendMail", "application/json", `{"message":{"toRecipients":[{"emailAddress":{"address":"Ben@Example.com"}}],"bccRecipients":[{"emailAddress":{"address":"eve@evil.example"}}]}}`, "mail.send ben@example.com eve@evil.example"},
		"answers go":       {"/v1.0/me/sendMail", "application/json", `{"message":{"toRecipients":[{"emailAddress":{"address":"ben@example.com"}}],"replyTo":[{"emailAddress":{"address":"eve@evil.example"}}]}}`, "mail.send ben@example.com eve@evil.example"},
		"in MIME":          {"/v1.0/me/sendMail", "text/plain", "VG86IGJlbkBleGFtcGxlLmNvbQ0KQmNjOiBldmVAZXZpbC5leGFtcGxlDQoNCmhp", "mail.send ben@example.com eve@evil.example"},
		"another spelling": {"/v1.0/me/sendMail", "application/json", `{"message":{"ToRecipients":[{"emailAddress":{"address":"e@evil.example"}}]}}`, "refused"},
		"twice":            {"/v1.0/me/sendMail", "application/json", `{"message":{"toRecipients":[],"toRecipients":[{"emailAddress":{"address":"e@evil.example"}}]}}`, "refused"},
		"no address":       {"/v1.0/me/sendMail", "application/json", `{"message":{"toRecipients":[{"emailAddress":{"name":"e@evil.example"}}]}}`, "refused"},
		"extended":         {"/v1.0/me/sendMail", "application/json", `{"message":{"toRecipients":[],"singleValueExtendedProperties":[{"id":"x"}]}}`, "refused"},
		"a reply adds":     {"/v1.0/me/messages/m/reply", "application/json", `{"comment":"x","message":{"ccRecipients":[{"emailAddress":{"address":"eve@evil.example"}}]}}`, "mail.send "}, // and who else, what it answers says
		"forwarded":        {"/v1.0/me/messages/m/forward", "application/json", `{"toRecipients":[{"emailAddress":{"address":"eve@evil.example"}}]}`, "mail.send eve@evil.example"},
		"trashed":          {"/v1.0/me/messages/m/move", "application/json", `{"destinationId":"DeletedItems"}`, "mail.delete "},
		"filed":            {"/v1.0/me/messages/m/move", "application/json", `{"destinationId":"AAMk"}`, "mail.label "},
		"invited":          {"/v1.0/me/events", "application/json", `{"attendees":[{"emailAddress":{"address":"ben@example.com"}}]}`, "event.invite ben@example.com"},
		"alone":            {"/v1.0/me/events", "application/json", `{"subject":"x"}`, "event.create "},
		"shared":           {"/v1.0/me/drive/items/i/invite", "application/json", `{"recipients":[{"email":"ben@example.com"},{"objectId":"1"}]}`, "file.share ben@example.com anyone"},
		"bound elsewhere":  {"/v1.0/me/events", "application/json", `{"subject":"x","calendar@odata.bind":"https://evil.example/v1.0/me/calendars/1"}`, "refused"},
		"fetched":          {"/v1.0/me/drive/items/i/children", "application/json", `{"name":"x","@microsoft.graph.sourceUrl":"https://evil.example/x","file":{}}`, "refused"},
		"attached from":    {"/v1.0/me/sendMail", "application/json", `{"message":{"toRecipients":[],"attachments":[{"@odata.type":"#microsoft.graph.referenceAttachment","sourceUrl":"https://evil.example/x"}]}}`, "refused"},
		"a link":           {"/v1.0/me/drive/items/i/createLink", "application/json", `{"type":"view","scope":"anonymous"}`, "file.share anyone"},
	} {
		call, err := c.Recognise(&connector.Request{Method: "POST", Path: x.target, Header: map[string][]string{"Content-Type": {x.kind}}, Body: []byte(x.body)})
		got := "refused"
		if err == nil {
			var to []string
			for _, n := range []string{"recipients", "attendees", "shared_with"} {
				list, _ := call.Arguments[n].([]string)
				to = append(to, list...)
			}
			got = call.Word + " " + strings.Join(to, " ")
		} else if !errors.Is(err, connector.ErrUnrecognised) {
			t.Errorf("%s: %v", name, err)
		}
		if got != x.want {
			t.Errorf("%s: %q, want %q (%v)", name, got, x.want, err)
		}
	}
}

// TestNoFunctions: what stands where an id does is an id, and no function of OData that Graph would run instead.
func TestNoFunctions(t *testing.T) {
	c := open(t)
	for target, ok := range map[string]bool{
		"/me/messages/AAMkAGI2=": true, "/users/o'brien@example.com/messages": true, "/users/ben_x.example%23EXT%23@example.com/messages": true, "/drives/b!x-_Y/items/01ABC!7": true, "/me/drive/items/root": true,
		"/me/mailFolders/inbox/messages": true, "/me/drive/root/search(q='it''s')": true,
		"/me/messages/delta": false, "/me/messages/delta()": false, "/me/messages/Delta": false, "/me/messages/microsoft.graph.delta()": false, "/me/messages/microsoft.graph.delta": false, "/me/messages/Microsoft.Graph.Delta": false,
		"/me/messages/delta(x=1)": false, "/me/messages('AAMk')": false, "/me/messages(%27AAMk%27)": false, "/me/messages/$count": false, "/me/messages/$value": false, "/me/messages/%24value": false, "/me/messages/$ref": false,
		"/me/events/delta": false, "/me/calendars/delta/events": false, "/me/mailFolders/delta": false, "/me/mailFolders/delta()/messages": false, "/me/mailFolders('inbox')/messages": false, "/users('ben')/messages": false,
		"/me/drive/items/root:": false, "/me/drive/items/root:x:": false, "/me/drive/items/delta": false, "/me/drive/root:/a.txt:/content": false, "/me/drive/items/01!7/microsoft.graph.delta": false,
		"/me/messages/a/attachments/$value": false, "/me/messages/a%2C%24value": false, "/me/messages/a%26x": false, "/me/messages/*": false, "/me/messages/a/microsoft.graph.createReply": false,
		"/me/drive/root/search(q='a')/children(q='b')": false, "/me/drive/root/search(q='a',x='b')": false, "/me/microsoft.graph.sendMail": false,
	} {
		call, err := c.Recognise(&connector.Request{Method: "GET", Path: "/v1.0" + target})
		if (err == nil) != ok {
			t.Errorf("%s: %s, %v", target, call.Action, err)
		}
	}
}

func TestSearchesForWhatIsNotShown(t *testing.T) {
	c := open(t)
	for show, queries := range map[string]map[string]bool{
		layer.Headers: {"$filter=isRead%20eq%20false": true, "$search=%22password%22": false, "$filter=contains(body/content,'x')": false, "$filter=from/emailAddress/address%20eq%20'ben@example.com'": true, "$expand=attachments": false},
		layer.Nothing: {"$filter=startswith(subject,'x')": false, "$orderby=receivedDateTime": true, "$orderby=subject": false},
	} {
		r, err := layer.New(layer.Layers{Show: show})
		if err != nil {
			t.Fatal(err)
		}
		for q, ok := range queries {
			ask := &connector.Request{Method: "GET", Path: "/v1.0/me/messages", Query: strings.ReplaceAll(q, "'", "%27")}
			call, err := c.Recognise(ask)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Admit(ask, call, connector.Under{Rules: []*layer.Rules{r}, Now: time.Now()}); (err == nil) != ok {
				t.Errorf("%s with %s: %v", q, show, err)
			}
		}
	}
}

func FuzzRecognise(f *testing.F) {
	f.Add("GET", "/v1.0/me/messages", "$top=5", "")
	f.Add("POST", "/v1.0/me/sendMail", "", `{"message":{"toRecipients":[{"emailAddress":{"address":"a@b.example"}}]}}`)
	f.Add("GET", "/v1.0/me/drive/root/search(q='x')", "", "")
	f.Add("POST", "/v1.0/me/events", "", `{"attendees":[]}`)
	c := open(f)
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		connectortest.Check(t, c, &connector.Request{Method: method, Path: path, Query: query, Body: []byte(body)})
	})
}

// FuzzReveal: whatever the upstream says, under headers nothing of a body is shown, and under contacts nobody else.
func FuzzReveal(f *testing.F) {
	f.Add("/v1.0/me/messages", `{"value":[{"id":"a","from":{"emailAddress":{"address":"eve@evil.example"}},"toRecipients":[],"ccRecipients":[],"bccRecipients":[],"replyTo":[],"body":{"content":"BODY"},"bodyPreview":"BODY"}]}`)
	f.Add("/v1.0/me/messages/a", `{"id":"a","subject":"x","body":{"contentType":"html","content":"BODY"}}`)
	f.Add("/v1.0/me/messages/a/attachments", `{"value":[{"contentBytes":"Qk9EWQ==","name":"BODY"}]}`)
	f.Add("/v1.0/me/events", `{"value":[{"id":"e","subject":"s","body":{"content":"BODY"}}]}`)
	c := open(f)
	headers, err := layer.New(layer.Layers{Show: layer.Headers})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path, reply string) {
		r := &connector.Request{Method: "GET", Path: path}
		call, err := c.Recognise(r)
		if err != nil {
			return
		}
		out, _, err := c.Reveal(r, call, connector.Under{Rules: []*layer.Rules{headers}, Now: time.Now()}, "application/json", []byte(reply))
		if err != nil {
			return
		}
		if o, err := office.JSON(out); err == nil {
			for _, name := range []string{"body", "bodyPreview", "uniqueBody", "contentBytes", "@microsoft.graph.downloadUrl"} {
				if has(o, name) && dialect.Of[call.Action].Reply != office.Same {
					t.Fatalf("%s shows %s: %s", path, name, out)
				}
			}
		}
	})
}

// has reports whether an item that the object is or lists has the member.
func has(o office.Object, name string) bool {
	if _, ok := o[name]; ok {
		return true
	}
	list, _ := o["value"].([]any)
	return slices.ContainsFunc(list, func(v any) bool { one, _ := v.(office.Object); _, ok := one[name]; return ok })
}
