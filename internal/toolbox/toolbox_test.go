package toolbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/examples/office"
)

var today = time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)

type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// desk is a client of a toolbox whose accounts are at one address.
type desk struct {
	*testing.T
	*mcp.ClientSession
}

func sit(t *testing.T, at string, client *http.Client, graph bool, options *mcp.ClientOptions) *desk {
	t.Helper()
	a := Account{URL: at, Graph: graph, HTTP: client}
	s, err := New(Config{Mail: a, Files: a, Calendar: a, Now: func() time.Time { return today }})
	if err != nil {
		t.Fatal(err)
	}
	near, far := mcp.NewInMemoryTransports()
	if _, err := s.Connect(t.Context(), far, nil); err != nil {
		t.Fatal(err)
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, options).Connect(t.Context(), near, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return &desk{t, session}
}

// try calls a tool and returns its text, and whether it is an error.
func (d *desk) try(tool string, args map[string]any) (string, bool) {
	d.Helper()
	res, err := d.CallTool(d.Context(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		d.Fatalf("%s: %v", tool, err)
	}
	return res.Content[0].(*mcp.TextContent).Text, res.IsError
}

// do calls a tool, which must work, and returns what it gave.
func do[T any](d *desk, tool string, args map[string]any) (out T) {
	d.Helper()
	text, failed := d.try(tool, args)
	if err := json.Unmarshal([]byte(text), &out); failed || err != nil {
		d.Fatalf("%s %v: %s (%v)", tool, args, text, err)
	}
	return out
}

func subjects(m Mails) (list []string) {
	for _, l := range m.Mails {
		list = append(list, l.Subject)
	}
	return list
}

// TestTools does on Google's and on Microsoft's interface everything that the tools do, with the same results.
func TestTools(t *testing.T) {
	for name, graph := range map[string]bool{"google": false, "graph": true} {
		t.Run(name, func(t *testing.T) {
			o, err := office.New(office.Config{Secret: "hush", Today: today})
			if err != nil {
				t.Fatal(err)
			}
			s := httptest.NewServer(o)
			t.Cleanup(s.Close)
			d := sit(t, s.URL, &http.Client{Transport: bearer("hush")}, graph, nil)
			d.mail(o)
			d.files()
			d.events()
		})
	}
}

func (d *desk) mail(o *office.Office) {
	t := d.T
	all := do[Mails](d, "search_mail", nil)
	if got := subjects(all); !slices.Equal(got, []string{"Invoice overdue - act now", "Quarterly review", "Your invoice CH-77310", "Lunch on Thursday?", "Invoice 2041 for October"}) || all.Next != "" {
		t.Fatalf("all: %q %q", got, all.Next)
	}
	if m := all.Mails[1]; m.From != "Priya Shah <priya@example.com>" || !slices.Equal(m.To, []string{"Maya Lind <maya@example.com>"}) || m.Date != "2026-11-26T09:00:00Z" || !m.Unread || !strings.HasPrefix(m.Begins, "The agenda is in") {
		t.Errorf("a line: %+v", m)
	}
	for _, c := range []struct {
		args map[string]any
		want int
	}{
		{map[string]any{"query": "invoice"}, 3}, {map[string]any{"from": "ben@example.com"}, 1}, {map[string]any{"from": "Ben"}, 1}, {map[string]any{"subject": "quarterly review"}, 1},
		{map[string]any{"unread": true}, 3}, {map[string]any{"unread": true, "query": "invoice"}, 2}, {map[string]any{"folder": "inbox"}, 5}, {map[string]any{"folder": "sent"}, 0}, {map[string]any{"query": "invoice", "from": "northwind.example"}, 1},
	} {
		if got := do[Mails](d, "search_mail", c.args); len(got.Mails) != c.want {
			t.Errorf("%v: %q", c.args, subjects(got))
		}
	}
	var paged []string
	for cursor := ""; ; {
		p := do[Mails](d, "search_mail", map[string]any{"limit": 2, "cursor": cursor})
		paged = append(paged, subjects(p)...)
		if cursor = p.Next; cursor == "" {
			break
		}
	}
	if !slices.Equal(paged, subjects(all)) {
		t.Errorf("in pages: %q", paged)
	}
	d.fails("search_mail", map[string]any{"after": "last week"}, "write a day as 2026-12-01")
	d.fails("search_mail", map[string]any{"folder": "Nonsense"}, `there is no folder`)
	invoice := all.Mails[2].ID
	m := do[Mail](d, "read_mail", map[string]any{"id": invoice})
	if !strings.Contains(m.Text, "EUR 1,204.00 for hosting") || len(m.Attachments) != 1 || m.Attachments[0].Name != "CH-77310.txt" || m.Next != "" {
		t.Errorf("mail: %+v", m)
	}
	if m := do[Mail](d, "read_mail", map[string]any{"id": invoice, "attachment": m.Attachments[0].ID}); m.Text != "Invoice CH-77310\nHosting\nEUR 1204.00\n" {
		t.Errorf("attachment: %q", m.Text)
	}
	d.fails("read_mail", map[string]any{"id": invoice, "attachment": "none"}, "the mail has none")
	d.fails("read_mail", map[string]any{"id": "19a"}, "404")
	d.fails("read_mail", map[string]any{"id": ".."}, "give one that another tool returned")

	d.fails("send_mail", map[string]any{"to": []string{"Ben"}, "text": "x"}, `"Ben" is no address`)
	d.fails("send_mail", map[string]any{"to": []string{"ben@example.com"}, "subject": "x\r\nBcc: eve@evil.example"}, "one line")
	d.fails("send_mail", map[string]any{"text": "x"}, "say whom it is for")
	d.fails("send_mail", map[string]any{"text": "x", "draft_id": "r1"}, "sent as it is")
	if s := do[Sent](d, "send_mail", map[string]any{"to": []string{"Ben Okafor <ben@example.com>"}, "cc": []string{"priya@example.com"}, "subject": "Lunch", "text": "Yes, gladly.\nBis dann, Zoë"}); !s.Sent {
		t.Errorf("sent: %+v", s)
	}
	if s := do[Sent](d, "send_mail", map[string]any{"reply_to": all.Mails[1].ID, "text": "On Friday."}); !s.Sent {
		t.Errorf("reply: %+v", s)
	}
	draft := do[Draft](d, "draft_mail", map[string]any{"to": []string{"ben@example.com"}, "subject": "A draft", "text": "Later."})
	if n := len(o.Sent()); n != 2 {
		t.Fatalf("%d were sent", n)
	}
	do[Sent](d, "send_mail", map[string]any{"draft_id": draft.ID})
	var went []string
	for _, m := range o.Sent() {
		went = append(went, m.To+"|"+m.Subject+"|"+strings.ReplaceAll(m.Text, "\r\n", "\n"))
	}
	for i, want := range []string{"ben@example.com|Lunch|Yes, gladly.\nBis dann, Zoë", "priya@example.com|Re: Quarterly review|On Friday.", "ben@example.com|A draft|Later."} {
		to, rest, _ := strings.Cut(want, "|")
		if i >= len(went) || !strings.Contains(went[i], to) || !strings.HasSuffix(went[i], rest) {
			t.Errorf("went out: %q, want %q", went, want)
		}
	}
	if sent := do[Mails](d, "search_mail", map[string]any{"folder": "sent"}); len(sent.Mails) != 3 || sent.Mails[1].ThreadID != all.Mails[1].ThreadID {
		t.Errorf("sent: %+v", sent)
	}
	do[Draft](d, "draft_mail", map[string]any{"reply_to": all.Mails[1].ID, "text": "Another."})

	moved := do[Moved](d, "move_mail", map[string]any{"id": all.Mails[0].ID, "to": "trash", "read": true})
	if left := do[Mails](d, "search_mail", map[string]any{"folder": "inbox"}); len(left.Mails) != 4 {
		t.Errorf("after it was moved: %q", subjects(left))
	}
	do[Moved](d, "move_mail", map[string]any{"id": moved.ID, "to": "inbox"})
	do[Moved](d, "move_mail", map[string]any{"id": moved.ID, "read": false})
	if left := do[Mails](d, "search_mail", map[string]any{"folder": "inbox", "unread": true}); len(left.Mails) != 3 {
		t.Errorf("after it was moved back: %q", subjects(left))
	}
	do[Moved](d, "move_mail", map[string]any{"id": moved.ID, "to": "archive"})
	if left := do[Mails](d, "search_mail", map[string]any{"folder": "inbox"}); len(left.Mails) != 4 {
		t.Errorf("after it was archived: %q", subjects(left))
	}
	d.fails("move_mail", map[string]any{"id": moved.ID}, "say where it goes")
}

func (d *desk) files() {
	t := d.T
	names := func(f Files) (list []string) {
		for _, one := range f.Files {
			list = append(list, one.Name)
		}
		slices.Sort(list)
		return list
	}
	top := do[Files](d, "list_files", nil)
	if got := names(top); !slices.Equal(got, []string{"Invoices", "Quarterly review.txt", "suppliers.csv"}) {
		t.Fatalf("files: %q", got)
	}
	folder := top.Files[slices.IndexFunc(top.Files, func(f File) bool { return f.Folder })].ID
	if got := names(do[Files](d, "list_files", map[string]any{"folder": folder})); !slices.Equal(got, []string{"invoice-2040.txt"}) {
		t.Errorf("in the folder: %q", got)
	}
	first := do[Files](d, "list_files", map[string]any{"limit": 2})
	if rest := do[Files](d, "list_files", map[string]any{"limit": 2, "cursor": first.Next}); len(first.Files) != 2 || len(rest.Files) != 1 || rest.Next != "" {
		t.Errorf("pages: %+v %+v", first, rest)
	}
	found := do[Files](d, "search_files", map[string]any{"query": "suppliers"})
	if got := names(found); !slices.Equal(got, []string{"suppliers.csv"}) {
		t.Fatalf("found: %q", got)
	}
	if f := do[FileText](d, "read_file", map[string]any{"id": found.Files[0].ID}); f.Text != "name,iban\nNorthwind Paper,DE02120300000000202051\n" || f.Name != "suppliers.csv" {
		t.Errorf("file: %+v", f)
	}
	d.fails("read_file", map[string]any{"id": folder}, "is a folder")
	long := strings.Repeat("Zoë and all. ", 4000)
	made := do[File](d, "create_file", map[string]any{"name": "long.txt", "text": long, "folder": folder})
	text := ""
	for cursor := ""; ; {
		f := do[FileText](d, "read_file", map[string]any{"id": made.ID, "cursor": cursor})
		if len(f.Text) > maxText {
			t.Fatalf("%d bytes at once", len(f.Text))
		}
		text += f.Text
		if cursor = f.Next; cursor == "" {
			break
		}
	}
	if text != long {
		t.Errorf("the long file came back as %d bytes of %d", len(text), len(long))
	}
	if got := names(do[Files](d, "list_files", map[string]any{"folder": folder})); !slices.Equal(got, []string{"invoice-2040.txt", "long.txt"}) {
		t.Errorf("in the folder: %q", got)
	}
	d.fails("create_file", map[string]any{"name": "../x", "text": ""}, "without a folder")
	d.fails("create_file", map[string]any{"name": "x", "text": "", "type": "image/png"}, "one of text")
	if s := do[Shared](d, "share_file", map[string]any{"id": made.ID, "with": "Ben <ben@example.com>"}); s.With != "ben@example.com" || s.Role != "reader" {
		t.Errorf("shared: %+v", s)
	}
	d.fails("share_file", map[string]any{"id": made.ID, "with": "everybody"}, "one address")
	d.fails("share_file", map[string]any{"id": made.ID, "with": "ben@example.com", "role": "owner"}, "reader or writer")
}

func (d *desk) events() {
	t := d.T
	list := func(args map[string]any) string {
		t.Helper()
		var all []string
		for _, e := range do[Events](d, "list_events", args).Events {
			all = append(all, e.Title)
		}
		return strings.Join(all, "|")
	}
	if got := list(nil); got != "Stand-up|Lunch with Ben|Quarterly review" {
		t.Errorf("events: %s", got)
	}
	if got := list(map[string]any{"from": "2026-11-28", "to": "2026-11-29"}); got != "Lunch with Ben" {
		t.Errorf("of a day: %s", got)
	}
	made := do[Event](d, "create_event", map[string]any{"title": "Review", "start": "2026-11-30T10:00:00+01:00", "end": "2026-11-30T11:00:00+01:00", "attendees": []string{"Ben <ben@example.com>"}, "location": "Room 2", "description": "Numbers & plans"})
	whole := do[Event](d, "create_event", map[string]any{"title": "Away", "start": "2026-12-01", "end": "2026-12-02"})
	if got := list(map[string]any{"from": "2026-11-30", "to": "2026-12-02"}); got != "Review|Away" {
		t.Errorf("made: %s", got)
	}
	got := do[Events](d, "list_events", map[string]any{"from": "2026-11-30", "to": "2026-12-02"}).Events
	start, err := time.Parse(time.RFC3339, got[0].Start)
	if err != nil || !start.Equal(time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)) || !slices.Equal(got[0].Attendees, []string{"ben@example.com"}) || got[0].Location != "Room 2" || got[0].Description != "Numbers & plans" || got[0].Organizer != "maya@example.com" || got[1].Start != "2026-12-01" {
		t.Errorf("as it is: %+v", got)
	}
	changed := do[Event](d, "update_event", map[string]any{"id": made.ID, "title": "Review of the year", "version": got[0].Version})
	if got[0].Version == "" || made.Version != got[0].Version || changed.Version == "" || changed.Version == made.Version {
		t.Errorf("versions: made %q, listed %q, changed %q", made.Version, got[0].Version, changed.Version)
	}
	const late = "changed by somebody else since it had that version"
	d.fails("update_event", map[string]any{"id": made.ID, "title": "Over the other's", "version": made.Version}, late)
	d.fails("delete_event", map[string]any{"id": made.ID, "version": made.Version}, late)
	d.fails("update_event", map[string]any{"id": made.ID, "title": "x", "version": "a\r\nb"}, "version: give it as")
	if e := do[Events](d, "list_events", map[string]any{"from": "2026-11-30", "to": "2026-12-01"}).Events[0]; e.Title != "Review of the year" || !slices.Equal(e.Attendees, []string{"ben@example.com"}) {
		t.Errorf("changed: %+v", e)
	}
	do[Deleted](d, "delete_event", map[string]any{"id": whole.ID, "version": got[1].Version})
	if got := list(map[string]any{"from": "2026-11-30", "to": "2026-12-02"}); got != "Review of the year" {
		t.Errorf("after it was deleted: %s", got)
	}
	first := do[Events](d, "list_events", map[string]any{"limit": 3})
	if rest := do[Events](d, "list_events", map[string]any{"limit": 3, "cursor": first.Next}); len(first.Events) != 3 || len(rest.Events) != 1 {
		t.Errorf("pages: %+v %+v", first, rest)
	}
	d.fails("create_event", map[string]any{"title": "x", "start": "2026-11-30 10:00", "end": "2026-11-30 11:00"}, "write a time as 2026-12-01T10:00:00+01:00")
	d.fails("create_event", map[string]any{"title": "x", "start": "2026-11-30", "end": "2026-11-30"}, "end: it is after start")
	d.fails("create_event", map[string]any{"title": "x"}, "start and end are required")
	d.fails("create_event", map[string]any{"title": "x", "start": "2026-11-30", "end": "2026-12-01", "attendees": []string{"Ben"}}, "no address")
}

func (d *desk) fails(tool string, args map[string]any, says string) {
	d.Helper()
	if text, failed := d.try(tool, args); !failed || !strings.Contains(text, says) {
		d.Errorf("%s %v: %v %s, want %q", tool, args, failed, text, says)
	}
}

// TestAnnotations: a client is told which tools only read, and which change what is there.
func TestAnnotations(t *testing.T) {
	d := sit(t, "http://127.0.0.1:1", http.DefaultClient, false, nil)
	all, err := d.ListTools(t.Context(), nil)
	if err != nil || len(all.Tools) != 14 {
		t.Fatalf("%d tools, %v", len(all.Tools), err)
	}
	for _, tool := range all.Tools {
		reading := strings.HasPrefix(tool.Name, "search") || strings.HasPrefix(tool.Name, "read") || strings.HasPrefix(tool.Name, "list")
		destroying := slices.Contains([]string{"move_mail", "share_file", "update_event", "delete_event"}, tool.Name)
		a := tool.Annotations
		if a.ReadOnlyHint != reading || !reading && (a.DestructiveHint == nil || *a.DestructiveHint != destroying) || tool.Description == "" || tool.OutputSchema == nil {
			t.Errorf("%s: %+v", tool.Name, a)
		}
	}
}

// gate is a gateway that says no until somebody said yes.
type gate struct {
	answers []string // of each request, the last again and again
	asked   []string // Prefer of each
	behind  bool     // the answers are those of the system behind it
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.asked = append(g.asked, r.Header.Get("Prefer"))
	answer := g.answers[min(len(g.asked), len(g.answers))-1]
	if answer == "" {
		fmt.Fprint(w, `{"id": "x"}`)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	if !g.behind {
		w.Header().Set("Lanyard-Problem", "x")
	}
	w.WriteHeader(http.StatusForbidden)
	fmt.Fprint(w, answer)
}

const (
	needed = `{"type": "urn:lanyard:problem:approval-needed", "detail": "It needs approval. Maya can approve it.", "approval": "appr_1", "approve_at": "http://127.0.0.1/approvals/appr_1"}`
	denied = `{"type": "urn:lanyard:problem:approval-denied", "detail": "It needs approval, and maya denied it.", "approval": "appr_1", "approve_at": "http://127.0.0.1/approvals/appr_1"}`
	no     = `{"type": "urn:lanyard:problem:denied", "detail": "reader may not do that; Maya can grant more."}`
)

// TestApproval: a client that shows addresses shows where to approve, and the call waits for the answer; another hears the address.
func TestApproval(t *testing.T) {
	call := func(g *gate, options *mcp.ClientOptions) (string, bool) {
		s := httptest.NewServer(g)
		t.Cleanup(s.Close)
		return sit(t, s.URL, http.DefaultClient, false, options).try("send_mail", map[string]any{"to": []string{"ben@example.com"}, "text": "x"})
	}
	shown := ""
	shows := func(action string) *mcp.ClientOptions {
		return &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{Elicitation: &mcp.ElicitationCapabilities{URL: &mcp.URLElicitationCapabilities{}}},
			ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
				shown = r.Params.URL
				return &mcp.ElicitResult{Action: action}, nil
			}}
	}
	for name, c := range map[string]struct {
		answers []string
		options *mcp.ClientOptions
		says    string
		asked   []string
		shown   bool
	}{
		"no":                 {[]string{no}, shows("accept"), "Maya can grant more", []string{""}, false},
		"no addresses":       {[]string{needed}, nil, "Maya can approve it", []string{""}, false},
		"approved":           {[]string{needed, ""}, shows("accept"), `"sent":true`, []string{"", "wait=60"}, true},
		"approved late":      {[]string{needed, needed, ""}, shows("accept"), `"sent":true`, []string{"", "wait=60", "wait=60"}, true},
		"denied":             {[]string{needed, denied}, shows("accept"), "maya denied it", []string{"", "wait=60"}, true},
		"denied already":     {[]string{denied}, shows("accept"), "maya denied it", []string{""}, false},
		"not to be bothered": {[]string{needed}, shows("decline"), "Maya can approve it", []string{"", ""}, true},
	} {
		g := &gate{answers: c.answers}
		shown = ""
		text, failed := call(g, c.options)
		if !strings.Contains(text, c.says) || failed == strings.Contains(c.says, "sent") || !slices.Equal(g.asked, c.asked) || (shown != "") != c.shown {
			t.Errorf("%s: %v %s, asked %q, shown %q", name, failed, text, g.asked, shown)
		}
	}
}

// TestSpeaksAsTheGateway: a system that answers as the gateway would has nobody shown an address of its own.
func TestSpeaksAsTheGateway(t *testing.T) {
	s := httptest.NewServer(&gate{answers: []string{strings.ReplaceAll(needed, "127.0.0.1", "evil.example")}, behind: true})
	t.Cleanup(s.Close)
	text, failed := sit(t, s.URL, http.DefaultClient, false, &mcp.ClientOptions{Capabilities: &mcp.ClientCapabilities{Elicitation: &mcp.ElicitationCapabilities{URL: &mcp.URLElicitationCapabilities{}}},
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			t.Errorf("shown %s", r.Params.URL)
			return &mcp.ElicitResult{Action: "accept"}, nil
		}}).try("send_mail", map[string]any{"to": []string{"ben@example.com"}, "text": "x"})
	if !failed || !strings.Contains(text, "The system answered 403") {
		t.Errorf("%v %s", failed, text)
	}
}

// TestElsewhere: what is at another address is not fetched, and nobody there is shown who asks.
func TestElsewhere(t *testing.T) {
	went := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { went = true }))
	t.Cleanup(other.Close)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/content") {
			http.Redirect(w, r, other.URL, http.StatusFound)
			return
		}
		fmt.Fprint(w, `{"id": "f", "name": "a.txt", "file": {"mimeType": "text/plain"}, "value": [], "@odata.nextLink": "`+other.URL+`/v1.0/me/messages?$skip=10"}`)
	}))
	t.Cleanup(s.Close)
	d := sit(t, s.URL, http.DefaultClient, true, nil)
	d.fails("read_file", map[string]any{"id": "f"}, "not behind the gateway")
	next := do[Mails](d, "search_mail", nil).Next
	if do[Mails](d, "search_mail", map[string]any{"cursor": next}); next != "skip:10" || went {
		t.Errorf("next %q, went there: %v", next, went)
	}
	d.fails("search_mail", map[string]any{"cursor": other.URL}, "as the last call returned it")
}
