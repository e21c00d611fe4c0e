package gateway

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/examples/office"
	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/google"
	"github.com/lanyard-dev/lanyard/internal/connector/graph"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// layeredOffice is a gateway before the example office, whose grants have layers.
type layeredOffice struct {
	*world
	o *office.Office
}

func newOffice(t testing.TB) *layeredOffice {
	t.Helper()
	places := httptest.NewUnstartedServer(nil) // where Graph has large content put
	o, err := office.New(office.Config{Secret: canary, Today: time.Now(), Uploads: "http://" + places.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	places.Config.Handler = o
	places.Start()
	t.Cleanup(places.Close)
	w := newWorld(t, o, func(c *Config) { c.Families = []connector.Family{google.Family(), graph.Family()} })
	for _, u := range []struct{ name, description string }{{"mail", "gmail/v1"}, {"drive", "drive/v3"}, {"calendar", "calendar/v3"}} {
		w.applyUpstream(&policy.Upstream{Name: u.name, URL: w.back.URL, Owner: "maya", Environment: "production", Family: "google", Description: []byte(u.description), Version: 2})
	}
	w.applyUpstream(&policy.Upstream{Name: "graph", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "graph", Description: []byte("v1.0"), Version: 2})
	w.apply(feed.Change{Grant: all("bot"), Removed: true})
	return &layeredOffice{w, o}
}

// grant gives bot words on an upstream, under layers.
func (o *layeredOffice) grant(upstream string, l layer.Layers, words ...string) {
	o.t.Helper()
	var list []string
	for _, w := range words {
		list = append(list, fmt.Sprintf("Lanyard::Action::%q", w))
	}
	o.apply(feed.Change{Grant: &policy.Grant{ID: "bot/" + upstream, Identity: id("bot"), Upstream: upstream, Layers: &l, Until: time.Now().Add(time.Hour),
		Cedar: "permit(principal, action in [" + strings.Join(list, ", ") + "], resource);"}})
}

func (o *layeredOffice) ask(method, upstream, target string, body any) (int, map[string]any, string) {
	o.t.Helper()
	c := o.claims("bot")
	c.Audience = testScope + "/" + upstream
	var in *strings.Reader
	b, err := json.Marshal(body)
	if err != nil {
		o.t.Fatal(err)
	}
	if in = strings.NewReader(string(b)); body == nil {
		in = strings.NewReader("")
	}
	r := o.request(method, "/"+upstream+target, o.mint(c), in)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	res, s := o.do(r)
	var v map[string]any
	_ = json.Unmarshal([]byte(s), &v)
	return res.StatusCode, v, s
}

func (o *layeredOffice) raw(from, to, subject, text string) map[string]any {
	return map[string]any{"raw": base64.URLEncoding.EncodeToString([]byte("From: " + from + "\r\nTo: " + to + "\r\nSubject: " + subject + "\r\n\r\n" + text))}
}

// subjects are what get says of all that list names.
func (o *layeredOffice) subjects(query string) (list []string, reply map[string]any) {
	o.t.Helper()
	status, v, s := o.ask("GET", "mail", "/gmail/v1/users/me/messages?"+query, nil)
	if status != http.StatusOK {
		o.t.Fatalf("list: %d %s", status, s)
	}
	all, _ := v["messages"].([]any)
	for _, m := range all {
		status, got, s := o.ask("GET", "mail", "/gmail/v1/users/me/messages/"+m.(map[string]any)["id"].(string), nil)
		if status != http.StatusOK {
			o.t.Fatalf("get: %d %s", status, s)
		}
		payload, _ := got["payload"].(map[string]any)
		headers, _ := payload["headers"].([]any)
		for _, h := range headers {
			if h := h.(map[string]any); h["name"] == "Subject" {
				list = append(list, h["value"].(string))
			}
		}
	}
	return list, v
}

func TestLayersOnMail(t *testing.T) {
	o := newOffice(t)
	for name, c := range map[string]struct {
		l     layer.Layers
		query string
		want  string
	}{
		"who":        {layer.Layers{Contacts: layer.Contacts{See: []string{"example.com"}}}, "", "Quarterly review|Lunch on Thursday?"},
		"never":      {layer.Layers{Contacts: layer.Contacts{Never: []string{"helpful.example"}}}, "", "Quarterly review|Your invoice CH-77310|Lunch on Thursday?|Invoice 2041 for October"},
		"how old":    {layer.Layers{Time: layer.Time{Days: 2}}, "", "Invoice overdue - act now|Quarterly review"},
		"from where": {layer.Layers{Within: layer.Within{Labels: []string{"unread"}}}, "", "Invoice overdue - act now|Quarterly review|Your invoice CH-77310"},
		"all three":  {layer.Layers{Contacts: layer.Contacts{See: []string{"example.com"}}, Time: layer.Time{Days: 2}, Within: layer.Within{Labels: []string{"UNREAD"}}}, "", "Quarterly review"},
		"searched":   {layer.Layers{Contacts: layer.Contacts{See: []string{"example.com"}}}, "q=invoice", ""},
		"masked":     {layer.Layers{Reduce: layer.Reduce{Patterns: []string{`CH-\d+`}}}, "q=subject:hosting", ""},
	} {
		o.grant("mail", c.l, "read")
		got, v := o.subjects(c.query)
		if strings.Join(got, "|") != c.want {
			t.Errorf("%s: %q", name, got)
		}
		if n, ok := v["resultSizeEstimate"].(float64); !ok || int(n) != len(got) {
			t.Errorf("%s: counts %v of %d", name, v["resultSizeEstimate"], len(got))
		}
	}
}

// everything is what a caller can get at of a mailbox, by all the ways there are.
func (o *layeredOffice) everything() string {
	var b strings.Builder
	for _, target := range []string{"messages", "messages?q=in:inbox", "messages?maxResults=2", "threads", "drafts", "labels", "profile", "messages?includeSpamTrash=true"} {
		_, v, s := o.ask("GET", "mail", "/gmail/v1/users/me/"+target, nil)
		b.WriteString(s)
		for _, kind := range []string{"messages", "threads", "drafts"} {
			all, _ := v[kind].([]any)
			for _, m := range all {
				for _, format := range []string{"", "?format=full", "?format=metadata", "?format=minimal", "?format=raw", "?fields=snippet", "?format=metadata&metadataHeaders=X-Secret"} {
					_, _, s := o.ask("GET", "mail", "/gmail/v1/users/me/"+kind+"/"+m.(map[string]any)["id"].(string)+format, nil)
					b.WriteString(s)
				}
			}
		}
	}
	// By name, too: what is not listed is asked for all the same.
	for _, m := range o.o.All() {
		for _, target := range []string{"messages/" + m, "threads/" + m, "messages/" + m + "/attachments/att1"} {
			_, _, s := o.ask("GET", "mail", "/gmail/v1/users/me/"+target, nil)
			b.WriteString(s)
		}
	}
	return b.String()
}

func TestLayersHideBodies(t *testing.T) {
	o := newOffice(t)
	encoded := func(s string) []string {
		var list []string
		for i := range 3 { // at each of the places that text can have in base64
			e := base64.URLEncoding.EncodeToString([]byte(strings.Repeat(" ", i) + s))
			if e = e[4 : len(e)-4]; len(e) >= 12 {
				list = append(list, e)
			}
		}
		return append(list, s)
	}
	body, subject, sender := "your earlier instructions", "Invoice overdue", "support@helpful.example"
	attachment := "Hosting\nEUR 1204.00"
	for name, c := range map[string]struct {
		l     layer.Layers
		hides []string
		shows []string
	}{
		"full":        {layer.Layers{Contacts: layer.Contacts{Never: []string{"nobody.example"}}}, nil, []string{sender, subject, "1204.00"}},
		"redacted":    {layer.Layers{Show: layer.Redacted}, []string{attachment}, []string{sender, subject}},
		"headers":     {layer.Layers{Show: layer.Headers}, []string{body, attachment, "earlier"}, []string{sender, subject}},
		"nothing":     {layer.Layers{Show: layer.Nothing}, []string{body, attachment, "earlier", subject, sender}, []string{"threadId"}},
		"not of them": {layer.Layers{Contacts: layer.Contacts{Never: []string{"helpful.example"}}}, []string{body, subject, sender}, []string{"ben@example.com"}},
		"no files":    {layer.Layers{Reduce: layer.Reduce{Attachments: []string{"none"}}}, []string{attachment}, []string{sender}},
		"a mask":      {layer.Layers{Reduce: layer.Reduce{Patterns: []string{"earlier instructions", "1204"}}}, []string{"earlier instructions", "1204.00"}, []string{sender}},
	} {
		o.grant("mail", c.l, "read")
		all := o.everything()
		var plain strings.Builder // with what is in base64 decoded
		plain.WriteString(all)
		for _, part := range strings.FieldsFunc(all, func(r rune) bool { return r == '"' || r == ',' || r == ' ' }) {
			if b, err := base64.URLEncoding.DecodeString(part); err == nil {
				plain.Write(b)
			}
		}
		for _, s := range c.hides {
			for _, form := range encoded(s) {
				if strings.Contains(all, form) || strings.Contains(plain.String(), form) {
					t.Errorf("%s: it shows %q", name, s)
					break
				}
			}
		}
		for _, s := range c.shows {
			if !strings.Contains(plain.String(), s) {
				t.Errorf("%s: it does not show %q", name, s)
			}
		}
	}
}

func TestLayersOnWhatIsWritten(t *testing.T) {
	o := newOffice(t)
	o.grant("mail", layer.Layers{Contacts: layer.Contacts{Write: []string{"example.com"}, Never: []string{"priya@example.com"}}}, "mail.send", "mail.draft", "mail.read")
	for to, want := range map[string]int{
		"ben@example.com":                           200,
		"Ben <BEN@example.com>":                     200,
		"ben@example.com, eve@evil.example":         403,
		"priya@example.com":                         403,
		"priya+x@example.com":                       403,
		"ben@exаmple.com":                           403, // Cyrillic
		"ben@example.com.evil.example":              403,
		"Team: ben@example.com, e@evil.example;":    403,
		"ben@example.com\r\nBcc: eve@evil.example":  403,
		"ben@example.com\rBcc: eve@evil.example":    403,
		"ben@example.com\r\n\tcc: x":                403,
		"ben@example.com\r\nBcc : eve@evil.example": 403,
	} {
		for _, target := range []string{"messages/send", "drafts"} {
			body := o.raw("maya@example.com", to, "hi", "there")
			if target == "drafts" {
				body = map[string]any{"message": body}
			}
			if status, _, s := o.ask("POST", "mail", "/gmail/v1/users/me/"+target, body); status != want {
				t.Errorf("%s to %q: %d %s", target, to, status, s)
			}
		}
	}
	for name, body := range map[string]map[string]any{
		"another spelling": {"Raw": o.raw("m@example.com", "eve@evil.example", "x", "y")["raw"]},
		"two":              {"raw": o.raw("m@example.com", "ben@example.com", "x", "y")["raw"], "message": o.raw("m@example.com", "eve@evil.example", "x", "y")},
		"the parsed form":  {"payload": map[string]any{"headers": []any{map[string]any{"name": "To", "value": "eve@evil.example"}}}},
		"no mail":          {},
	} {
		if status, _, s := o.ask("POST", "mail", "/gmail/v1/users/me/messages/send", body); status < 400 {
			t.Errorf("%s: %d %s", name, status, s)
		}
	}
	for _, m := range o.o.Sent() {
		if strings.Contains(m.To, "evil") || strings.Contains(m.To, "priya") {
			t.Errorf("%+v was sent", m)
		}
	}
	// A draft that somebody else made is looked at before it goes.
	draft := o.o.Draft("eve@evil.example")
	if status, _, s := o.ask("POST", "mail", "/gmail/v1/users/me/drafts/send", map[string]any{"id": draft}); status != 403 {
		t.Errorf("a draft to somebody else: %d %s", status, s)
	}
	if status, _, s := o.ask("POST", "mail", "/gmail/v1/users/me/drafts/send", map[string]any{"id": o.o.Draft("ben@example.com")}); status != 200 {
		t.Errorf("a draft to ben: %d %s", status, s)
	}
}

func TestLayersOnWhatIsActedOn(t *testing.T) {
	o := newOffice(t)
	o.grant("mail", layer.Layers{Contacts: layer.Contacts{See: []string{"example.com"}}}, "mail.read", "mail.label", "mail.delete")
	for _, id := range o.o.All() {
		seen, _, _ := o.ask("GET", "mail", "/gmail/v1/users/me/messages/"+id, nil)
		for _, c := range []struct {
			method, target string
			body           any
		}{
			{"POST", "messages/" + id + "/modify", map[string]any{"addLabelIds": []string{"STARRED"}}},
			{"POST", "messages/" + id + "/trash", nil},
			{"POST", "messages/" + id + "/untrash", nil},
		} {
			if status, _, s := o.ask(c.method, "mail", "/gmail/v1/users/me/"+c.target, c.body); status != seen {
				t.Errorf("%s %s: %d, and it is seen with %d: %s", c.method, c.target, status, seen, s)
			}
		}
	}
	o.grant("mail", layer.Layers{Show: layer.Headers}, "mail.label")
	id := o.o.All()[0]
	if status, _, _ := o.ask("POST", "mail", "/gmail/v1/users/me/messages/"+id+"/modify", map[string]any{"addLabelIds": []string{"TRASH"}}); status != 403 {
		t.Errorf("to label it TRASH is to delete it: %d", status)
	}
	if status, _, _ := o.ask("POST", "mail", "/gmail/v1/users/me/messages/"+id+"/modify", map[string]any{"add_label_ids": []string{"TRASH"}}); status != 403 {
		t.Errorf("another spelling: %d", status)
	}
}

func TestLayersRefuseWhatTheyCannotCheck(t *testing.T) {
	o := newOffice(t)
	o.grant("mail", layer.Layers{Show: layer.Headers}, "read", "write", "delete", "admin")
	id := o.o.All()[0]
	for _, target := range []string{"history?startHistoryId=1", "messages/" + id + "?format=raw", "messages/" + id + "?fields=payload", "messages?q=instructions", "messages?q=%22from:x%22", "settings/filters", "messages/" + id + "?alt=media"} {
		if status, _, s := o.ask("GET", "mail", "/gmail/v1/users/me/"+target, nil); status < 400 {
			t.Errorf("%s: %d %s", target, status, s)
		}
	}
	for target, body := range map[string]any{"watch": map[string]any{"topicName": "x"}, "messages/import": o.raw("a@b.example", "c@d.example", "e", "f"), "messages/batchModify": map[string]any{"addLabelIds": []string{"X"}}} {
		if status, _, s := o.ask("POST", "mail", "/gmail/v1/users/me/"+target, body); status < 400 {
			t.Errorf("%s: %d %s", target, status, s)
		}
	}
	if status, _, _ := o.ask("GET", "mail", "/gmail/v1/users/me/messages?q=from:ben", nil); status != 200 {
		t.Errorf("a search by sender: %d", status)
	}
	o.grant("mail", layer.Layers{Time: layer.Time{Hours: "Mon 00:00-00:01 UTC"}}, "read")
	if status, _, _ := o.ask("GET", "mail", "/gmail/v1/users/me/messages", nil); status != 403 && time.Now().UTC().Weekday() != time.Monday {
		t.Errorf("out of hours: %d", status)
	}
	o.grant("mail", layer.Layers{Reduce: layer.Reduce{Mask: []string{"cards"}}}, "read")
	for _, q := range []string{"4111", "sk*", "abcd1234efgh5678"} {
		if status, _, _ := o.ask("GET", "mail", "/gmail/v1/users/me/messages?q="+q, nil); status != 403 {
			t.Errorf("a search for %s, which may be masked: %d", q, status)
		}
	}
}

func TestLayersOnFilesAndEvents(t *testing.T) {
	o := newOffice(t)
	o.grant("drive", layer.Layers{Reduce: layer.Reduce{Mask: []string{"accounts"}}, Contacts: layer.Contacts{See: []string{"example.com"}}}, "read", "file.share", "file.write")
	_, v, s := o.ask("GET", "drive", "/drive/v3/files?q=name='suppliers.csv'", nil)
	files, _ := v["files"].([]any)
	if len(files) != 1 {
		t.Fatalf("files: %s", s)
	}
	id := files[0].(map[string]any)["id"].(string)
	if status, _, s := o.ask("GET", "drive", "/drive/v3/files/"+id+"?alt=media", nil); status != 200 || strings.Contains(s, "DE0212") || !strings.Contains(s, "[account]") {
		t.Errorf("content: %d %s", status, s)
	}
	for body, want := range map[string]int{
		`{"type":"user","role":"reader","emailAddress":"ben@example.com"}`:                                 200,
		`{"type":"user","role":"reader","emailAddress":"eve@evil.example"}`:                                403,
		`{"type":"user","role":"reader","email_address":"eve@evil.example"}`:                               403,
		`{"type":"user","role":"reader","emailAddress":"ben@example.com","EmailAddress":"e@evil.example"}`: 403,
		`{"type":"anyone","role":"reader"}`:                                                                403,
		`{"type":"domain","role":"reader","domain":"evil.example"}`:                                        403,
	} {
		var b any
		if err := json.Unmarshal([]byte(body), &b); err != nil {
			t.Fatal(err)
		}
		if status, _, s := o.ask("POST", "drive", "/drive/v3/files/"+id+"/permissions", b); status != want {
			t.Errorf("share %s: %d %s", body, status, s)
		}
	}
	o.grant("drive", layer.Layers{Within: layer.Within{Folders: []string{"root"}}}, "read", "file.write")
	_, v, _ = o.ask("GET", "drive", "/drive/v3/files", nil)
	for _, f := range v["files"].([]any) {
		if f.(map[string]any)["name"] == "invoice-2040.txt" {
			t.Error("a file of another folder is listed")
		}
	}
	if status, _, _ := o.ask("POST", "drive", "/drive/v3/files", map[string]any{"name": "x", "parents": []string{id}}); status < 400 {
		t.Errorf("a file is put elsewhere: %d", status)
	}
	o.grant("drive", layer.Layers{Show: layer.Full}, "read", "file.share")
	_, v, _ = o.ask("GET", "drive", "/drive/v3/files?q=name='Invoices'", nil)
	folder := v["files"].([]any)[0].(map[string]any)["id"].(string)
	for _, c := range []struct {
		who  string
		want int
	}{{"example.com", 200}, {"evil.example", 403}} {
		who, want := c.who, c.want
		o.grant("drive", layer.Layers{Show: layer.Full}, "file.share")
		if status, _, s := o.ask("POST", "drive", "/drive/v3/files/"+folder+"/permissions", map[string]any{"type": "user", "role": "reader", "emailAddress": "x@" + who}); status != 200 {
			t.Fatalf("share the folder: %d %s", status, s)
		}
		o.grant("drive", layer.Layers{Contacts: layer.Contacts{Write: []string{"example.com"}}}, "file.write")
		if status, _, s := o.ask("POST", "drive", "/drive/v3/files", map[string]any{"name": "x", "parents": []string{folder}}); status != want {
			t.Errorf("a file put where x@%s sees it: %d %s", who, status, s)
		}
	}

	o.grant("calendar", layer.Layers{Show: layer.Headers, Contacts: layer.Contacts{Write: []string{"example.com"}}, Within: layer.Within{Calendars: []string{"primary"}}}, "event.read", "event.create", "event.invite")
	status, _, s := o.ask("GET", "calendar", "/calendar/v3/calendars/primary/events", nil)
	if status != 200 || !strings.Contains(s, "Stand-up") || strings.Contains(s, "The place by the river") {
		t.Errorf("events: %d %s", status, s)
	}
	if _, v, s := o.ask("GET", "calendar", "/calendar/v3/calendars/maya%40example.com/events", nil); len(v["items"].([]any)) != 0 {
		t.Errorf("events of a calendar by another name: %s", s)
	}
	event := func(who ...string) map[string]any {
		list := []any{}
		for _, w := range who {
			list = append(list, map[string]any{"email": w})
		}
		return map[string]any{"summary": "x", "start": map[string]any{"dateTime": "2027-01-04T10:00:00Z"}, "end": map[string]any{"dateTime": "2027-01-04T11:00:00Z"}, "attendees": list}
	}
	for _, c := range []struct {
		calendar string
		who      []string
		want     int
	}{{"primary", nil, 200}, {"primary", []string{"ben@example.com"}, 200}, {"primary", []string{"eve@evil.example"}, 403}, {"maya%40example.com", nil, 403}} {
		if status, _, s := o.ask("POST", "calendar", "/calendar/v3/calendars/"+c.calendar+"/events", event(c.who...)); status != c.want {
			t.Errorf("%s with %v: %d %s", c.calendar, c.who, status, s)
		}
	}
	o.grant("calendar", layer.Layers{Show: layer.Headers}, "event.create")
	if status, _, _ := o.ask("POST", "calendar", "/calendar/v3/calendars/primary/events", event("ben@example.com")); status != 403 {
		t.Errorf("an event with somebody on it is an invitation: %d", status)
	}
}

// TestOneGrantReadsTheSame gives the same words and layers on Gmail and on Graph, before the same office.
func TestOneGrantReadsTheSame(t *testing.T) {
	o := newOffice(t)
	subjects := func() (list []string) {
		status, v, s := o.ask("GET", "graph", "/v1.0/me/messages?$top=50&$count=true", nil)
		if status != http.StatusOK {
			t.Fatalf("list: %d %s", status, s)
		}
		all, _ := v["value"].([]any)
		for _, m := range all {
			if s, ok := m.(map[string]any)["subject"].(string); ok {
				list = append(list, s)
			}
		}
		if v["@odata.count"] != float64(len(all)) {
			t.Errorf("counts %v of %d", v["@odata.count"], len(all))
		}
		return list
	}
	for name, l := range map[string]layer.Layers{
		"who":        {Contacts: layer.Contacts{See: []string{"example.com"}}},
		"never":      {Contacts: layer.Contacts{Never: []string{"helpful.example"}}},
		"how old":    {Time: layer.Time{Days: 2}},
		"from where": {Within: layer.Within{Labels: []string{"inbox"}}},
		"elsewhere":  {Within: layer.Within{Labels: []string{"sent"}}},
		"headers":    {Show: layer.Headers},
		"nothing":    {Show: layer.Nothing},
		"masked":     {Reduce: layer.Reduce{Patterns: []string{`CH-\d+`}}},
	} {
		o.grant("mail", l, "mail.read", "mail.search")
		o.grant("graph", l, "mail.read", "mail.search")
		google, _ := o.subjects("")
		if graph := subjects(); strings.Join(google, "|") != strings.Join(graph, "|") {
			t.Errorf("%s: %q in Gmail, %q in Graph", name, google, graph)
		}
	}
	l := layer.Layers{Show: layer.Headers, Contacts: layer.Contacts{Write: []string{"example.com"}}, Reduce: layer.Reduce{Attachments: []string{"none"}}}
	o.grant("mail", l, "mail.read", "mail.send", "mail.label")
	o.grant("graph", l, "mail.read", "mail.send", "mail.label")
	letter := func(to string) any {
		return map[string]any{"message": map[string]any{"subject": "hi", "body": map[string]any{"contentType": "text", "content": "there"}, "toRecipients": []any{map[string]any{"emailAddress": map[string]any{"address": to}}}}}
	}
	ben, eve := "", "" // a mail of each
	for _, id := range o.o.All() {
		_, v, _ := o.ask("GET", "graph", "/v1.0/me/messages/"+id, nil)
		switch s := fmt.Sprint(v["from"]); {
		case strings.Contains(s, "ben@"):
			ben = id
		case strings.Contains(s, "helpful"):
			eve = id
		}
		for _, hidden := range []string{"body", "bodyPreview"} {
			if v[hidden] != nil {
				t.Errorf("headers show %s", hidden)
			}
		}
	}
	for _, c := range []struct {
		method, target string
		body           any
		want           int
	}{
		{"POST", "/sendMail", letter("ben@example.com"), 202},
		{"POST", "/sendMail", letter("eve@evil.example"), 403},
		{"POST", "/messages/" + ben + "/reply", map[string]any{"comment": "yes"}, 202},
		{"POST", "/messages/" + eve + "/reply", map[string]any{"comment": "yes"}, 403},
		{"POST", "/messages/" + ben + "/move", map[string]any{"destinationId": "archive"}, 200},
		{"POST", "/messages/" + ben + "/move", map[string]any{"destinationId": "deleteditems"}, 403},
		{"DELETE", "/messages/" + ben, nil, 403},
		{"GET", "/messages/" + ben + "/$value", nil, 403},
		{"GET", "/messages?$search=%22river%22", nil, 403},
		{"GET", "/messages?$expand=attachments", nil, 403},
	} {
		if status, _, s := o.ask(c.method, "graph", "/v1.0/me"+c.target, c.body); status != c.want {
			t.Errorf("%s %s: %d, want %d: %s", c.method, c.target, status, c.want, s)
		}
	}
	o.grant("graph", layer.Layers{Contacts: layer.Contacts{See: []string{"example.com"}}, Reduce: layer.Reduce{Mask: []string{"accounts"}}}, "file.read", "file.list", "file.share", "event.read", "event.invite", "event.create")
	_, v, s := o.ask("GET", "graph", "/v1.0/me/drive/root/children", nil)
	id := ""
	for _, f := range v["value"].([]any) {
		f := f.(map[string]any)
		if f["name"] == "suppliers.csv" {
			id = f["id"].(string)
		}
		if f["@microsoft.graph.downloadUrl"] != nil {
			t.Error("a link around the gateway is shown")
		}
	}
	if id == "" {
		t.Fatalf("no suppliers.csv: %s", s)
	}
	if status, _, s := o.ask("GET", "graph", "/v1.0/me/drive/items/"+id+"/content", nil); status != 200 || !strings.Contains(s, "[account]") || strings.Contains(s, "DE0212") {
		t.Errorf("content: %d %s", status, s)
	}
	share := func(to string) any {
		return map[string]any{"recipients": []any{map[string]any{"email": to}}, "roles": []string{"read"}}
	}
	for to, want := range map[string]int{"ben@example.com": 200, "eve@evil.example": 403} {
		if status, _, s := o.ask("POST", "graph", "/v1.0/me/drive/items/"+id+"/invite", share(to)); status != want {
			t.Errorf("shared with %s: %d %s", to, status, s)
		}
	}
	if status, v, s := o.ask("GET", "graph", "/v1.0/me/events", nil); status != 200 || len(v["value"].([]any)) != 3 {
		t.Errorf("events: %d %s", status, s)
	}
}
