package office

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/calendar/v3"
	"google.golang.org/api/drive/v3"
	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/google"
)

const secret = "ya29.office-secret"

var today = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

// bearer puts the secret on requests, as the gateway does, and holds each against
// the connector and each reply against the discovery document's schema.
type bearer struct {
	t      *testing.T
	secret string
	opened map[string]connector.Connector
	seen   map[string]int // requests by action
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.secret)
	name := "gmail/v1"
	for _, s := range []string{"drive/v3", "calendar/v3"} {
		if strings.Contains(r.URL.Path, s) {
			name = s
		}
	}
	call, err := b.opened[name].Recognise(&connector.Request{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header})
	if err != nil {
		b.t.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
	b.seen[call.Action]++
	res, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && res.StatusCode == http.StatusOK && strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return nil, err
		}
		res.Body = io.NopCloser(strings.NewReader(string(body)))
		checkSchema(b.t, name, call.Action, body)
	}
	return res, err
}

type world struct {
	*Office
	bearer   *bearer
	gmail    *gmail.Service
	drive    *drive.Service
	calendar *calendar.Service
}

func start(t *testing.T) world {
	t.Helper()
	o, err := New(Config{Secret: secret, Today: today})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(o)
	t.Cleanup(server.Close)
	b := &bearer{t, secret, map[string]connector.Connector{}, map[string]int{}}
	for _, name := range google.Builtin() {
		if b.opened[name], err = google.Open([]byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	w := world{Office: o, bearer: b}
	with := func(path string) []option.ClientOption {
		return []option.ClientOption{option.WithHTTPClient(&http.Client{Transport: b}), option.WithEndpoint(server.URL + path)}
	}
	ctx := context.Background()
	if w.gmail, err = gmail.NewService(ctx, with("/")...); err != nil {
		t.Fatal(err)
	}
	if w.drive, err = drive.NewService(ctx, with("/drive/v3/")...); err != nil {
		t.Fatal(err)
	}
	if w.calendar, err = calendar.NewService(ctx, with("/calendar/v3/")...); err != nil {
		t.Fatal(err)
	}
	return w
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func raw(to, subject string) string {
	return base64.URLEncoding.EncodeToString([]byte("To: " + to + "\r\nSubject: " + subject + "\r\n\r\nHello"))
}

func TestGmail(t *testing.T) {
	w := start(t)
	u := w.gmail.Users
	if p := must[*gmail.Profile](t)(u.GetProfile("me").Do()); p.EmailAddress != Mailbox || p.MessagesTotal != 5 {
		t.Errorf("profile %+v", p)
	}
	list := must[*gmail.ListMessagesResponse](t)(u.Messages.List("me").LabelIds("INBOX").Q("subject:invoice").MaxResults(2).Do())
	if len(list.Messages) != 2 || list.NextPageToken == "" {
		t.Fatalf("list %+v", list)
	}
	more := must[*gmail.ListMessagesResponse](t)(u.Messages.List(Mailbox).LabelIds("INBOX").Q("subject:invoice").MaxResults(2).PageToken(list.NextPageToken).Do())
	if len(more.Messages) != 1 || more.NextPageToken != "" {
		t.Fatalf("second page %+v", more)
	}
	m := must[*gmail.Message](t)(u.Messages.Get("me", list.Messages[1].Id).Do())
	if m.Payload.Parts[1].Filename != "CH-77310.txt" || time.UnixMilli(m.InternalDate).UTC().Format(time.DateOnly) != "2026-11-20" {
		t.Errorf("message %+v", m.Payload)
	}
	a := must[*gmail.MessagePartBody](t)(u.Messages.Attachments.Get("me", m.Id, m.Payload.Parts[1].Body.AttachmentId).Do())
	if b := must[[]byte](t)(base64.URLEncoding.DecodeString(a.Data)); !strings.Contains(string(b), "EUR 1204.00") {
		t.Errorf("attachment %q", b)
	}
	for _, format := range []string{"metadata", "minimal", "raw"} {
		if m := must[*gmail.Message](t)(u.Messages.Get("me", m.Id).Format(format).Do()); (m.Raw != "") != (format == "raw") {
			t.Errorf("%s: %+v", format, m)
		}
	}
	must[*gmail.Message](t)(u.Messages.Modify("me", m.Id, &gmail.ModifyMessageRequest{RemoveLabelIds: []string{"UNREAD"}}).Do())
	if list := must[*gmail.ListMessagesResponse](t)(u.Messages.List("me").Q("is:unread").Do()); len(list.Messages) != 2 {
		t.Errorf("%d unread", len(list.Messages))
	}
	must[*gmail.Message](t)(u.Messages.Trash("me", m.Id).Do())
	if list := must[*gmail.ListMessagesResponse](t)(u.Messages.List("me").Do()); len(list.Messages) != 4 {
		t.Errorf("%d after trash", len(list.Messages))
	}
	if err := u.Messages.Delete("me", m.Id).Do(); err != nil {
		t.Error(err)
	}
	_, err := u.Messages.Get("me", m.Id).Do()
	refused(t, err, 404, "not found")
	_, err = u.Messages.List("ben@example.com").Do()
	refused(t, err, 403, "Delegation denied")
	if l := must[*gmail.ListLabelsResponse](t)(u.Labels.List("me").Do()); len(l.Labels) != len(systemLabels) {
		t.Errorf("labels %+v", l)
	}
	threads := must[*gmail.ListThreadsResponse](t)(u.Threads.List("me").Do())
	if th := must[*gmail.Thread](t)(u.Threads.Get("me", threads.Threads[0].Id).Do()); len(th.Messages) != 1 {
		t.Errorf("thread %+v", th)
	}
}

func TestGmailSends(t *testing.T) {
	w := start(t)
	u := w.gmail.Users
	if len(w.Sent()) != 0 {
		t.Fatal("something was sent before")
	}
	must[*gmail.Message](t)(u.Messages.Send("me", &gmail.Message{Raw: raw("ben@example.com", "One")}).Do())
	upload := strings.NewReader("To: ben@example.com\r\nSubject: Two\r\n\r\nHello")
	must[*gmail.Message](t)(u.Messages.Send("me", &gmail.Message{}).Media(upload, googleapi.ContentType("message/rfc822")).Do())
	d := must[*gmail.Draft](t)(u.Drafts.Create("me", &gmail.Draft{Message: &gmail.Message{Raw: raw("ben@example.com", "Three")}}).Do())
	if l := must[*gmail.ListDraftsResponse](t)(u.Drafts.List("me").Do()); len(l.Drafts) != 1 {
		t.Errorf("drafts %+v", l)
	}
	must[*gmail.Message](t)(u.Drafts.Send("me", &gmail.Draft{Id: d.Id}).Do())
	var got []string
	for _, m := range w.Sent() {
		got = append(got, m.To+" "+m.Subject)
	}
	if s := strings.Join(got, ", "); s != "ben@example.com One, ben@example.com Two, ben@example.com Three" {
		t.Errorf("sent %s", s)
	}
	_, err := u.Messages.Send("me", &gmail.Message{Raw: base64.URLEncoding.EncodeToString([]byte("Subject: x\r\n\r\n"))}).Do()
	refused(t, err, 400, "Recipient")
	_, err = u.Messages.Send("me", &gmail.Message{Raw: "***"}).Do()
	refused(t, err, 400, "Base64")
}

func TestDrive(t *testing.T) {
	w := start(t)
	f := w.drive.Files
	list := must[*drive.FileList](t)(f.List().Q("mimeType != 'application/vnd.google-apps.folder' and name contains 'invoice'").Fields("files(id,name)").Do())
	if len(list.Files) != 1 || list.Files[0].Name != "invoice-2040.txt" {
		t.Fatalf("list %+v", list.Files)
	}
	res := must[*http.Response](t)(f.Get(list.Files[0].Id).Download())
	defer res.Body.Close()
	if b := must[[]byte](t)(io.ReadAll(res.Body)); !strings.Contains(string(b), "EUR 398.10") {
		t.Errorf("content %q", b)
	}
	parent := must[*drive.File](t)(f.Get(list.Files[0].Id).Do()).Parents[0]
	made := must[*drive.File](t)(f.Create(&drive.File{Name: "invoice-2041.txt", Parents: []string{parent}}).Media(strings.NewReader("EUR 412.60")).Do())
	if made.Size != 10 || made.Parents[0] != parent {
		t.Errorf("made %+v", made)
	}
	must[*drive.File](t)(f.Create(&drive.File{Name: "Archive", MimeType: folder}).Do())
	if g := must[*drive.File](t)(f.Update(made.Id, &drive.File{Name: "renamed.txt"}).AddParents("root").RemoveParents(parent).Do()); g.Name != "renamed.txt" || g.Parents[0] != "root" {
		t.Errorf("updated %+v", g)
	}
	if g := must[*drive.File](t)(f.Update(made.Id, &drive.File{}).Media(strings.NewReader("paid")).Do()); g.Size != 4 {
		t.Errorf("new content %+v", g)
	}
	must[*drive.Permission](t)(w.drive.Permissions.Create(made.Id, &drive.Permission{Type: "user", Role: "reader", EmailAddress: "ben@example.com"}).Do())
	if p := must[*drive.PermissionList](t)(w.drive.Permissions.List(made.Id).Do()); len(p.Permissions) != 2 {
		t.Errorf("permissions %+v", p)
	}
	if err := f.Delete(made.Id).Do(); err != nil {
		t.Error(err)
	}
	_, err := f.Get(made.Id).Do()
	refused(t, err, 404, "File not found")
	_, err = f.List().Q("fullText contains 'x'").Do()
	refused(t, err, 400, "Invalid Value")
}

func TestCalendar(t *testing.T) {
	w := start(t)
	if l := must[*calendar.CalendarList](t)(w.calendar.CalendarList.List().Do()); l.Items[0].Id != Mailbox {
		t.Errorf("calendars %+v", l)
	}
	e := w.calendar.Events
	list := must[*calendar.Events](t)(e.List("primary").SingleEvents(true).OrderBy("startTime").TimeMin("2026-11-24T00:00:00Z").Do())
	if len(list.Items) != 2 || list.Items[0].Summary != "Lunch with Ben" {
		t.Fatalf("list %+v", list.Items)
	}
	at := func(s string) *calendar.EventDateTime { return &calendar.EventDateTime{DateTime: s} }
	made := must[*calendar.Event](t)(e.Insert(Mailbox, &calendar.Event{Summary: "Pay invoices", Start: at("2026-11-27T09:00:00Z"), End: at("2026-11-27T10:00:00Z")}).SendUpdates("all").Do())
	if g := must[*calendar.Event](t)(e.Patch("primary", made.Id, &calendar.Event{Location: "Desk"}).Do()); g.Summary != "Pay invoices" || g.Location != "Desk" {
		t.Errorf("patched %+v", g)
	}
	if g := must[*calendar.Event](t)(e.Get("primary", made.Id).Do()); g.Location != "Desk" {
		t.Errorf("got %+v", g)
	}
	if err := e.Delete("primary", made.Id).Do(); err != nil {
		t.Error(err)
	}
	_, err := e.Get("primary", made.Id).Do()
	refused(t, err, 404, "Event not found")
	_, err = e.Insert("primary", &calendar.Event{Start: at("2026-11-27T09:00:00Z"), End: at("2026-11-27T08:00:00Z")}).Do()
	refused(t, err, 400, "empty")
}

func refused(t *testing.T, err error, code int, message string) {
	t.Helper()
	var e *googleapi.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, message) {
		t.Errorf("%v, want %d %s", err, code, message)
	}
}

func TestWithoutTheSecret(t *testing.T) {
	w := start(t)
	w.bearer.secret = "lyd_somebody-elses"
	_, err := w.gmail.Users.Messages.List("me").Do()
	refused(t, err, 401, "invalid authentication credentials")
	_, err = w.gmail.Users.Messages.Send("me", &gmail.Message{Raw: raw("ben@example.com", "x")}).Do()
	refused(t, err, 401, "invalid authentication credentials")
	seen := w.Requests()
	if len(seen) != 2 || seen[1].Header.Get("Authorization") != "Bearer lyd_somebody-elses" || len(w.Sent()) != 0 {
		t.Errorf("seen %+v", seen)
	}
	for _, header := range []string{"", "Basic x", "Bearer ", "bearer " + secret, "Bearer " + secret + " "} {
		r := httptest.NewRequest("GET", "/gmail/v1/users/me/profile", nil)
		r.Header.Set("Authorization", header)
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if rec.Code != 401 || rec.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%q: %d", header, rec.Code)
		}
	}
}

func TestDebug(t *testing.T) {
	for _, debug := range []bool{true, false} {
		o, err := New(Config{Secret: secret, Today: today, Debug: debug})
		if err != nil {
			t.Fatal(err)
		}
		rec := httptest.NewRecorder()
		o.ServeHTTP(rec, httptest.NewRequest("GET", "/debug/requests", nil))
		if (rec.Code == 200) != debug {
			t.Errorf("debug %v: %d", debug, rec.Code)
		}
	}
	if _, err := New(Config{Today: today}); err == nil {
		t.Error("an office without a secret")
	}
}

// checkSchema holds a reply's members against the response schema of the discovery document.
func checkSchema(t *testing.T, document, action string, body []byte) {
	t.Helper()
	dir := must[[]byte](t)(exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "google.golang.org/api").Output())
	name, _, _ := strings.Cut(document, "/")
	b := must[[]byte](t)(os.ReadFile(strings.TrimSpace(string(dir)) + "/" + document + "/" + name + "-api.json"))
	var d map[string]any
	var v any
	if err := errors.Join(json.Unmarshal(b, &d), json.Unmarshal(body, &v)); err != nil {
		t.Fatal(err)
	}
	at := d
	parts := strings.Split(action, ".")[1:]
	for i, p := range parts {
		kind := "resources"
		if i == len(parts)-1 {
			kind = "methods"
		}
		at = at[kind].(map[string]any)[p].(map[string]any)
	}
	schemas := d["schemas"].(map[string]any)
	if ref, ok := at["response"].(map[string]any); ok {
		conforms(t, schemas, ref, v, action)
	}
}

func conforms(t *testing.T, schemas, s map[string]any, v any, where string) {
	t.Helper()
	if ref, ok := s["$ref"].(string); ok {
		s = schemas[ref].(map[string]any)
	}
	kind := "unknown"
	switch v := v.(type) {
	case map[string]any:
		kind = "object"
		properties, _ := s["properties"].(map[string]any)
		for name, member := range v {
			if p, ok := properties[name].(map[string]any); ok {
				conforms(t, schemas, p, member, where+"."+name)
			} else {
				t.Errorf("%s has no member %s", where, name)
			}
		}
	case []any:
		kind = "array"
		for _, item := range v {
			conforms(t, schemas, s["items"].(map[string]any), item, where+"[]")
		}
	case string:
		kind = "string"
	case bool:
		kind = "boolean"
	case float64:
		kind = "integer"
	}
	if s["type"] != kind && s["type"] != "any" {
		t.Errorf("%s is %s, want %v", where, kind, s["type"])
	}
}
