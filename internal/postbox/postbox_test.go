package postbox

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-smtp"
)

const secret = "a-credential-of-the-gateway"

// sink is a mail server that keeps what it is given.
type sink struct {
	mu   sync.Mutex
	sent []string // envelope and text
}

func (s *sink) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{s: s}, nil }

type session struct {
	s        *sink
	envelope []string
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.envelope = []string{from}
	return nil
}
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.envelope = append(s.envelope, to)
	return nil
}
func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.s.sent = append(s.s.sent, strings.Join(s.envelope, " ")+"\n"+string(b))
	return err
}
func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

type world struct {
	*testing.T
	url  string
	sink *sink
	post *Postbox
}

func open(t *testing.T) *world {
	t.Helper()
	user := imapmemserver.NewUser("maya@example.com", "password")
	for name, use := range map[string][]imap.MailboxAttr{"INBOX": nil, "Sent": {imap.MailboxAttrSent}, "Drafts": {imap.MailboxAttrDrafts}, "Trash": {imap.MailboxAttrTrash}, "Work": nil} {
		if err := user.Create(name, &imap.CreateOptions{SpecialUse: use}); err != nil {
			t.Fatal(err)
		}
	}
	memory := imapmemserver.New()
	memory.AddUser(user)
	server := imapserver.New(&imapserver.Options{NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
		return memory.NewSession(), nil, nil
	}, InsecureAuth: true, Caps: imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapIMAP4rev2: {}}})
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	at, out := listen(), listen()
	go server.Serve(at)
	s := &sink{}
	sending := smtp.NewServer(s)
	go sending.Serve(out)
	t.Cleanup(func() { server.Close(); sending.Close() })
	p, err := New(Config{IMAP: at.Addr().String(), SMTP: out.Addr().String(), User: "maya@example.com", Password: "password", Security: None, Credential: secret})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(p)
	t.Cleanup(func() { front.Close(); p.Close() })
	w := &world{t, front.URL, s, p}
	for _, m := range []struct{ folder, text string }{
		{"INBOX", "From: Ben <ben@example.com>\r\nTo: maya@example.com\r\nSubject: Lunch\r\n\r\nOne o'clock?\r\n"},
		{"INBOX", "From: eve@evil.example\r\nTo: maya@example.com\r\nSubject: =?utf-8?q?Invoice?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>pay=20now</p>\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n--b--\r\n"},
		{"Work", "From: priya@example.com\r\nTo: maya@example.com\r\nSubject: Review\r\n\r\nPlease.\r\n"},
	} {
		if _, err := user.Append(m.folder, literal{strings.NewReader(m.text)}, &imap.AppendOptions{Time: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

type literal struct{ *strings.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }

func (w *world) ask(method, path, body string) (int, object) {
	w.Helper()
	r, err := http.NewRequest(method, w.url+"/gmail/v1/users/me/"+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	var v object
	b, err := io.ReadAll(res.Body)
	if err != nil || len(b) > 0 && json.Unmarshal(b, &v) != nil {
		w.Fatalf("%s %s: %v %s", method, path, err, b)
	}
	return res.StatusCode, v
}

// ids are those that a search finds.
func (w *world) ids(query string) (list []string) {
	w.Helper()
	status, v := w.ask("GET", "messages?"+query, "")
	if status != 200 {
		w.Fatalf("%s: %d %v", query, status, v)
	}
	for _, m := range v["messages"].([]any) {
		list = append(list, m.(object)["id"].(string))
	}
	return list
}

func raw(s string) string {
	return `{"raw":"` + base64.URLEncoding.EncodeToString([]byte(s)) + `"}`
}

func TestReads(t *testing.T) {
	w := open(t)
	for query, n := range map[string]int{"": 3, "labelIds=INBOX": 2, "labelIds=Work": 1, "q=from:ben": 1, "q=label:Work+subject:review": 1, "labelIds=UNREAD": 3, "q=is:starred": 0, "q=in:drafts": 0, "q=after:2026/11/19": 3, "q=before:2026/11/19": 0, "maxResults=2": 2, "labelIds=INBOX&labelIds=Work": 0} {
		if got := w.ids(query); len(got) != n {
			t.Errorf("%s finds %d, want %d", query, len(got), n)
		}
	}
	for _, q := range []string{"q=has:attachment", "q=-from:ben", "q=in:nowhere", "labelIds=nowhere", "maxResults=x"} {
		if status, _ := w.ask("GET", "messages?"+q, ""); status != 400 {
			t.Errorf("%s: %d", q, status)
		}
	}
	id := w.ids("q=from:eve")[0]
	_, v := w.ask("GET", "messages/"+id, "")
	b, err := json.Marshal(v["payload"])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"value":"Invoice"`, base64.URLEncoding.EncodeToString([]byte("<p>pay now</p>")), `"attachmentId":"1"`, `"filename":"a.pdf"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is not in %s", want, b)
		}
	}
	if _, v := w.ask("GET", "messages/"+id+"/attachments/1", ""); v["data"] != "JVBERi0=" {
		t.Errorf("attachment: %v", v)
	}
	if _, v := w.ask("GET", "messages/"+id+"?format=metadata", ""); strings.Contains(toJSON(t, v), `"data"`) && !strings.Contains(toJSON(t, v), `"data":""`) {
		t.Errorf("metadata has a body: %v", v)
	}
	for _, bad := range []string{"x", base64.RawURLEncoding.EncodeToString([]byte("7 1 INBOX")), id + "A", base64.RawURLEncoding.EncodeToString([]byte("0 0 ../x"))} {
		if status, _ := w.ask("GET", "messages/"+bad, ""); status != 404 {
			t.Errorf("%s: %d", bad, status)
		}
	}
	r, err := http.Get(w.url + "/gmail/v1/users/me/messages")
	if err != nil {
		t.Fatal(err)
	}
	if r.Body.Close(); r.StatusCode != 401 {
		t.Errorf("without the credential: %d", r.StatusCode)
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWrites(t *testing.T) {
	w := open(t)
	if status, v := w.ask("POST", "messages/send", raw("To: ben@example.com\r\nBcc: priya@example.com\r\nSubject: hi\r\n\r\nthere")); status != 200 {
		t.Fatalf("send: %d %v", status, v)
	}
	if len(w.sink.sent) != 1 || !strings.HasPrefix(w.sink.sent[0], "maya@example.com ben@example.com priya@example.com\n") || strings.Contains(strings.ToLower(w.sink.sent[0]), "bcc") || !strings.Contains(w.sink.sent[0], "From: <maya@example.com>") {
		t.Errorf("sent %q", w.sink.sent)
	}
	if len(w.ids("labelIds=SENT")) != 1 {
		t.Error("no copy is kept")
	}
	for name, body := range map[string]string{"nobody": raw("Subject: x\r\n\r\ny"), "no mail": raw("x"), "no base64": `{"raw":"%"}`, "no JSON": "x", "no address": raw("To: ben\r\n\r\nx")} {
		if status, _ := w.ask("POST", "messages/send", body); status != 400 {
			t.Errorf("%s: %d", name, status)
		}
	}
	// What it goes to is bare addresses in the one form that they are compared in; whom it is from is not to be chosen.
	if status, v := w.ask("POST", "messages/send", raw("From: Maya <MAYA@example.com>\r\nTo: Team: \"Ben\" <BEN+x@Example.COM>, any@bücher.example;\r\nCc: ben+x@example.com (again)\r\nSubject: hi\r\n\r\nthere")); status != 200 {
		t.Fatalf("send: %d %v", status, v)
	}
	if envelope, _, _ := strings.Cut(w.sink.sent[1], "\n"); envelope != "maya@example.com ben+x@example.com any@xn--bcher-kva.example" {
		t.Errorf("sent to %q", envelope)
	}
	w.sink.sent = w.sink.sent[:1]
	for name, header := range map[string]string{"a quoted space": `To: "ben x"@example.com`, "two in one": `To: "eve@evil.example"@example.com`, "a route": "To: <@evil.example:ben@example.com>", "a control": "To: \"a\tb\"@example.com",
		"no domain": "To: ben@-.example", "from another": "From: boss@example.com\r\nTo: ben@example.com", "from two": "From: maya@example.com, boss@example.com\r\nTo: ben@example.com", "sent by another": "Sender: boss@example.com\r\nTo: ben@example.com"} {
		if status, v := w.ask("POST", "messages/send", raw(header+"\r\nSubject: x\r\n\r\ny")); status != 400 {
			t.Errorf("%s: %d %v, sent %q", name, status, v, w.sink.sent)
		}
	}
	_, v := w.ask("POST", "drafts", `{"message":`+raw("To: ben@example.com\r\nSubject: later\r\n\r\nx")+`}`)
	draft := v["id"].(string)
	if _, v := w.ask("GET", "drafts/"+draft+"?format=metadata", ""); !strings.Contains(toJSON(t, v), "later") {
		t.Errorf("draft: %v", v)
	}
	if len(w.ids("")) != 5 {
		t.Error("a draft is listed with the mail")
	}
	if status, _ := w.ask("POST", "drafts/send", `{"id":"`+w.ids("q=from:ben")[0]+`"}`); status != 404 {
		t.Errorf("a mail that is no draft: %d", status)
	}
	if status, v := w.ask("POST", "drafts/send", `{"id":"`+draft+`"}`); status != 200 || len(w.sink.sent) != 2 {
		t.Errorf("draft sent: %d %v", status, v)
	}
	if _, v := w.ask("GET", "drafts", ""); len(v["drafts"].([]any)) != 0 {
		t.Errorf("the draft is still there: %v", v)
	}
	id := w.ids("q=from:ben")[0]
	if _, v := w.ask("POST", "messages/"+id+"/modify", `{"addLabelIds":["STARRED"],"removeLabelIds":["UNREAD"]}`); toJSON(t, v["labelIds"]) != `["INBOX","STARRED"]` {
		t.Errorf("marked: %v", v)
	}
	if status, v := w.ask("POST", "messages/"+id+"/modify", `{"addLabelIds":["Work"]}`); status != 200 || len(w.ids("labelIds=Work")) != 2 {
		t.Errorf("filed: %d %v", status, v)
	}
	id = w.ids("labelIds=Work&q=from:ben")[0]
	if status, _ := w.ask("POST", "messages/"+id+"/trash", ""); status != 200 || len(w.ids("labelIds=TRASH")) != 1 {
		t.Errorf("trashed: %d", status)
	}
	id = w.ids("labelIds=TRASH")[0]
	if status, _ := w.ask("DELETE", "messages/"+id, ""); status != 204 || len(w.ids("labelIds=TRASH")) != 0 {
		t.Errorf("deleted: %d", status)
	}
}

func TestConnectsAgain(t *testing.T) {
	w := open(t)
	w.ids("")
	w.post.client.Close()
	if len(w.ids("")) != 3 {
		t.Error("after its connection ended it finds other mail")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("From: a@b.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--\r\n"))
	f.Add([]byte("Content-Transfer-Encoding: base64\r\n\r\nAA==\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := parse(raw, false)
		n := 0
		for range p.walk {
			n++
		}
		if n > maxParts+1 {
			t.Fatalf("%d parts", n)
		}
		if _, err := json.Marshal(p.object()); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzOutgoing(f *testing.F) {
	f.Add([]byte("To: a@b.example\r\nBcc: c@d.example\r\n e@f.example\r\n\r\nx"))
	p := &Postbox{Config: Config{From: "maya@example.com", Now: time.Now}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, to, err := p.outgoing(raw)
		if err != nil {
			return
		}
		if head, _, _ := strings.Cut(string(out), "\r\n\r\n"); strings.Contains("\n"+strings.ToLower(head), "\nbcc:") || len(to) == 0 {
			t.Fatalf("%q goes to %v as %q", raw, to, out)
		}
	})
}
