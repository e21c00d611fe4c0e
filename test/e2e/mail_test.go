package e2e

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/option"

	"github.com/lanyard-dev/lanyard/test/port"
)

// dovecot starts Debian's IMAP server with one account, and returns where it listens.
func (h *house) dovecot(password string) string {
	h.Helper()
	program := h.program("dovecot", "dovecot-imapd")
	dir := filepath.Join(h.dir, "dovecot")
	me, err := user.Current()
	if err != nil {
		h.Fatal(err)
	}
	uid, gid, inner, login := me.Uid, me.Gid, me.Username, me.Username
	if me.Uid == "0" { // it keeps no mail as root
		uid, gid, inner, login = "65534", "65534", "dovecot", "dovenull"
	}
	for _, d := range []string{"run", "state", "mail"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o777); err != nil {
			h.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "mail"), 0o777); err != nil {
		h.Fatal(err)
	}
	for _, d := range []string{h.dir, dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			h.Fatal(err)
		}
	}
	at := port.Free()
	_, number, err := net.SplitHostPort(at)
	if err != nil {
		h.Fatal(err)
	}
	config := filepath.Join(dir, "dovecot.conf")
	text := fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = %[5]s
default_login_user = %[6]s
first_valid_uid = 1
mail_location = maildir:%[1]s/mail
service anvil {
  chroot =
}
service imap-login {
  chroot =
  inet_listener imap {
    port = %[2]s
  }
  inet_listener imaps {
    port = 0
  }
}
passdb {
  driver = static
  args = password=%[7]s
}
userdb {
  driver = static
  args = uid=%[3]s gid=%[4]s home=%[1]s/mail
}
namespace inbox {
  inbox = yes
  mailbox Drafts {
    special_use = \Drafts
    auto = create
  }
  mailbox Sent {
    special_use = \Sent
    auto = create
  }
  mailbox Trash {
    special_use = \Trash
    auto = create
  }
}
`, dir, number, uid, gid, inner, login, password)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		h.Fatal(err)
	}
	c := exec.Command(program, "-F", "-c", config)
	out, err := os.CreateTemp(h.dir, "dovecot")
	if err != nil {
		h.Fatal(err)
	}
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		c.Process.Signal(os.Interrupt)
		c.Wait()
		if h.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			h.Logf("dovecot:\n%s%s", &lines{out}, log)
		}
	})
	h.eventually("dovecot listens", func() bool {
		conn, err := net.Dial("tcp", at)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return at
}

// outbox is a server that takes mail, and keeps who it was for.
type outbox struct {
	mu sync.Mutex
	to []string
}

func (o *outbox) NewSession(*smtp.Conn) (smtp.Session, error) { return o, nil }
func (o *outbox) Mail(string, *smtp.MailOptions) error        { return nil }
func (o *outbox) Rcpt(to string, _ *smtp.RcptOptions) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.to = append(o.to, to)
	return nil
}
func (o *outbox) Data(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }
func (o *outbox) Reset()                 {}
func (o *outbox) Logout() error          { return nil }

// TestMailRun: an account at Debian's Dovecot behind the gateway, with the words, layers and client of Gmail.
func TestMailRun(t *testing.T) {
	t.Parallel()
	h := build(t)
	const password, secret = "mail-password-of-maya", "mail-secret-of-the-gateway"
	imap := h.dovecot(password)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	box := &outbox{}
	sending := smtp.NewServer(box)
	go sending.Serve(l)
	t.Cleanup(func() { sending.Close() })
	h.Setenv("MAIL_PASSWORD", password)
	h.Setenv("MAIL_SECRET", secret)
	at := port.Free()
	h.fails(64, "is not an address of loopback", "mail", "run", "--imap", "192.0.2.1:143", "--smtp", l.Addr().String(), "--user", "maya@example.com", "--password-env", "MAIL_PASSWORD", "--security", "none")
	c := exec.Command(filepath.Join(bin, "lanyard"), "mail", "run", "--listen", at, "--imap", imap, "--smtp", l.Addr().String(), "--user", "maya@example.com", "--password-env", "MAIL_PASSWORD", "--credential-env", "MAIL_SECRET", "--security", "none")
	out, err := os.CreateTemp(h.dir, "mail")
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr, c.Env = out, out, h.environ()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	log := &lines{out}
	t.Cleanup(func() {
		c.Process.Signal(os.Interrupt)
		if err := c.Wait(); err != nil || strings.Contains(log.String(), password) {
			t.Errorf("lanyard mail run: %v\n%s", err, log)
		}
	})
	h.eventually("lanyard mail run listens", func() bool { return strings.Contains(log.String(), at) })
	token := h.official()
	h.do("upstream", "put", "mail", "--url", "http://"+at, "--google", "gmail/v1", "--owner", "maya", "--credential-env", "MAIL_SECRET")
	h.do("grant", "put", "helper", "all", "--upstream", "mail", "--action", "mail.*")
	as := func() *gmail.UsersService {
		s, err := gmail.NewService(t.Context(), option.WithHTTPClient(&http.Client{Transport: bearer{token("mail")}}), option.WithEndpoint(h.gate+"/mail/"))
		if err != nil {
			t.Fatal(err)
		}
		return s.Users
	}
	raw := func(from, to, subject string) string {
		return base64.URLEncoding.EncodeToString([]byte("From: " + from + "\r\nTo: " + to + "\r\nSubject: " + subject + "\r\n\r\nThe card is 4111 1111 1111 1111.\r\n"))
	}
	for _, m := range [][2]string{{"ben@example.com", "Lunch"}, {"eve@evil.example", "Act now"}} { // by way of drafts, which come to lie in the inbox
		d, err := as().Drafts.Create("me", &gmail.Draft{Message: &gmail.Message{Raw: raw(m[0], "maya@example.com", m[1])}}).Do()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := as().Messages.Modify("me", d.Message.Id, &gmail.ModifyMessageRequest{AddLabelIds: []string{"INBOX"}}).Do(); err != nil {
			t.Fatal(err)
		}
	}
	list, err := as().Messages.List("me").LabelIds("INBOX").Do()
	if err != nil || len(list.Messages) != 2 {
		t.Fatalf("list: %+v %v", list, err)
	}
	if _, err := as().Messages.Send("me", &gmail.Message{Raw: raw("maya@example.com", "ben@example.com", "hi")}).Do(); err != nil {
		t.Errorf("send: %v", err)
	}
	h.do("grant", "revoke", "helper/all", "--reason", "layers are tried")
	h.do("grant", "put", "helper", "some", "--upstream", "mail", "--action", "mail.*", "--see", "example.com", "--mask", "cards")
	list, err = as().Messages.List("me").LabelIds("INBOX").Do()
	if err != nil || len(list.Messages) != 1 {
		t.Fatalf("list under layers: %+v %v", list, err)
	}
	m, err := as().Messages.Get("me", list.Messages[0].Id).Do()
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := base64.URLEncoding.DecodeString(m.Payload.Body.Data); !strings.Contains(string(b), "The card is [card].") {
		t.Errorf("masked: %q", b)
	}
	if _, err := as().Messages.Send("me", &gmail.Message{Raw: raw("maya@example.com", "eve@evil.example", "hi")}).Do(); err == nil || !strings.Contains(err.Error(), "eve@evil.example") {
		t.Errorf("sent to somebody else: %v", err)
	}
	if list, err = as().Messages.List("me").LabelIds("SENT").Do(); err != nil || len(list.Messages) != 1 {
		t.Errorf("sent: %+v %v", list, err)
	}
	if _, err := as().Messages.Trash("me", m.Id).Do(); err != nil {
		t.Errorf("trash: %v", err)
	}
	h.helper("desk", "google", layered...) // the tools of lanyard mcp office work on it as on Gmail
	s := h.tools("desk", "google", nil)
	var found struct {
		Mails []struct{ ID, Subject, From string }
	}
	if h.result(&found, s, "search_mail", map[string]any{"folder": "trash", "from": "ben@example.com"}); len(found.Mails) != 1 || found.Mails[0].Subject != "Lunch" || found.Mails[0].From != "ben@example.com" {
		t.Fatalf("found: %+v", found)
	}
	var moved struct{ ID string }
	h.result(&moved, s, "move_mail", map[string]any{"id": found.Mails[0].ID, "to": "inbox", "read": true})
	if text, failed := h.used(s, "read_mail", map[string]any{"id": moved.ID}); failed || !strings.Contains(text, "The card is") {
		t.Errorf("read: %s", text)
	}
	if text, failed := h.used(s, "move_mail", map[string]any{"id": moved.ID, "to": "archive"}); !failed || !strings.Contains(text, "no archive") {
		t.Errorf("archive: %s", text)
	}
	if text, failed := h.used(s, "send_mail", map[string]any{"reply_to": moved.ID, "text": "At noon, Zoë."}); failed {
		t.Errorf("reply: %s", text)
	}
	var draft struct {
		ID string `json:"draft_id"`
	}
	h.result(&draft, s, "draft_mail", map[string]any{"to": []string{"priya@example.com"}, "subject": "Later", "text": "x"})
	if text, failed := h.used(s, "send_mail", map[string]any{"draft_id": draft.ID}); failed {
		t.Errorf("send a draft: %s", text)
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	if strings.Join(box.to, " ") != "ben@example.com ben@example.com priya@example.com" {
		t.Errorf("mail went to %v", box.to)
	}
}
