package notify

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

var (
	at      = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	now     = func() time.Time { return at }
	message = Message{ID: "note_1", Approval: "appr_1", URL: "http://127.0.0.1:8440/approvals/appr_1", Text: "bot asks for approval of m.send (write) on mail.", Who: "Maya Lind", Expires: at.Add(time.Hour),
		To: []Person{{"maya", "Maya Lind", "maya@example.com"}, {"ben", "Ben \r\nBcc: x@example.com Okafør", "ben@example.com"}}}
	pair tls.Certificate
)

// TestMain makes a certificate for 127.0.0.1 that this process trusts.
func TestMain(m *testing.M) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	pair = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	dir, err := os.MkdirTemp("", "lyd-notify")
	if err != nil {
		panic(err)
	}
	file := filepath.Join(dir, "ca.pem")
	if err := errors.Join(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600), os.Setenv("SSL_CERT_FILE", file)); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func TestWebhook(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // of the specification's own examples
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	status := 204
	var got http.Header
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		body, _ = io.ReadAll(r.Body)
		if status == 302 {
			w.Header().Set("Location", "/other")
		}
		w.WriteHeader(status)
	}))
	defer s.Close()
	d, err := Webhook(s.URL, secret, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("note_1.1795435200." + string(body)))
	if got.Get("webhook-signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) || got.Get("webhook-id") != "note_1" || got.Get("webhook-timestamp") != "1795435200" {
		t.Errorf("%v", got)
	}
	var m struct {
		Type string
		Data Message
	}
	if err := json.Unmarshal(body, &m); err != nil || m.Type != "approval.waiting" || m.Data.URL != message.URL || len(m.Data.To) != 2 {
		t.Errorf("%s %v", body, err)
	}
	for _, status = range []int{500, 404, 302} {
		if err := d.Send(t.Context(), message); err == nil {
			t.Errorf("%d is taken for delivered", status)
		}
	}
	s.Close()
	if err := d.Send(t.Context(), message); err == nil || strings.Contains(err.Error(), s.URL) {
		t.Error("nobody was there, and it is taken for delivered")
	}
	for _, c := range [][2]string{{"http://example.com/x", secret}, {"ftp://example.com", secret}, {"", secret}, {"https://example.com", "short"}, {"https://example.com", "whsec_*"}, {"https://example.com", "whsec_c2hvcnQ="}} {
		if _, err := Webhook(c[0], c[1], now); err == nil {
			t.Errorf("%v is taken", c)
		}
	}
}

// post is a mail server that keeps what it gets.
type post struct {
	mu    sync.Mutex
	mails []string
	to    []string
	users []string
}

type delivery struct {
	*post
	rcpt string
}

func (p *post) NewSession(*smtp.Conn) (smtp.Session, error) { return &delivery{post: p}, nil }
func (d *delivery) AuthMechanisms() []string                { return []string{sasl.Plain} }
func (d *delivery) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "hush" {
			return errors.New("no")
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.users = append(d.users, user)
		return nil
	}), nil
}
func (d *delivery) Mail(string, *smtp.MailOptions) error      { return nil }
func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error { d.rcpt = to; return nil }
func (d *delivery) Reset()                                    {}
func (d *delivery) Logout() error                             { return nil }
func (d *delivery) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mails, d.to = append(d.mails, string(b)), append(d.to, d.rcpt)
	return err
}

func office(t *testing.T, secure *tls.Config, implicit, insecureAuth bool) (*post, string) {
	p := &post{}
	s := smtp.NewServer(p)
	s.Domain, s.AllowInsecureAuth = "localhost", insecureAuth
	if !implicit {
		s.TLSConfig = secure
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if implicit {
		l = tls.NewListener(l, secure)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return p, l.Addr().String()
}

func TestMail(t *testing.T) {
	secure := &tls.Config{Certificates: []tls.Certificate{pair}}
	for name, c := range map[string]struct {
		secure   *tls.Config
		implicit bool
		url      string
		password string
		wrong    string
	}{
		"plain, and nothing secret": {nil, false, "smtp://", "", ""},
		"plain, and a password":     {nil, false, "smtp://bot@", "hush", "offers no TLS"},
		"STARTTLS":                  {secure, false, "smtp://bot@", "hush", ""},
		"TLS":                       {secure, true, "smtps://bot@", "hush", ""},
		"a wrong password":          {secure, false, "smtp://bot@", "shush", "454"},
	} {
		p, addr := office(t, c.secure, c.implicit, true)
		d, err := Mail(c.url+addr, c.password, "Lanyard <lanyard@example.com>", now)
		if err != nil {
			t.Fatal(err)
		}
		err = d.Send(t.Context(), message)
		if c.wrong != "" {
			if err == nil || len(p.mails) != 0 || len(p.users) != 0 || c.wrong != "454" && !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: %v, %d mails", name, err, len(p.mails))
			}
			continue
		}
		if err != nil || len(p.mails) != 2 || p.to[0] != "maya@example.com" || p.to[1] != "ben@example.com" || c.password != "" && len(p.users) != 2 {
			t.Errorf("%s: %v, to %v, users %v", name, err, p.to, p.users)
			continue
		}
		for n, text := range p.mails {
			m, err := mail.ReadMessage(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
			subject, err2 := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			to, err3 := m.Header.AddressList("To")
			if errors.Join(err, err2, err3) != nil || len(to) != 1 || to[0].Address != p.to[n] || m.Header.Get("Bcc") != "" || !strings.Contains(subject, message.Text) || !strings.Contains(string(body), message.URL) || m.Header.Get("Message-Id") == "" {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
	for _, c := range [][3]string{{"http://x", "", "a@b.example"}, {"smtp://u:p@x", "p", "a@b.example"}, {"smtp://u@x", "", "a@b.example"}, {"smtp://x", "p", "a@b.example"}, {"smtp://x", "", "nobody"}, {"smtp://x/y", "", "a@b.example"}} {
		if _, err := Mail(c[0], c[1], c[2], now); err == nil {
			t.Errorf("%v is taken", c)
		}
	}
	// A certificate that is not trusted: nothing is sent.
	other := httptest.NewUnstartedServer(nil)
	other.StartTLS()
	defer other.Close()
	p, addr := office(t, &tls.Config{Certificates: other.TLS.Certificates}, false, false)
	d, err := Mail("smtp://"+addr, "", "a@b.example", now)
	if err == nil {
		err = d.Send(t.Context(), message)
	}
	if err == nil || len(p.mails) != 0 {
		t.Errorf("to a server that is another: %v", err)
	}
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	script := func(text string) string {
		path := filepath.Join(dir, "tell"+string(rune('a'+len(text)%26)))
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("SECRET_OF_OURS", "hush")
	out := filepath.Join(dir, "out")
	d, err := Command(script("cat > "+out+"; env >> "+out), now)
	if err == nil {
		err = d.Send(t.Context(), message)
	}
	b, _ := os.ReadFile(out)
	if err != nil || !strings.Contains(string(b), `"type":"approval.waiting"`) || !strings.Contains(string(b), message.URL) || strings.Contains(string(b), "hush") {
		t.Errorf("%v\n%s", err, b)
	}
	if d, err = Command(script("exit 3"), now); err == nil {
		err = d.Send(t.Context(), message)
	}
	if err == nil {
		t.Error("a program that failed is taken for one that told")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d, err = Command(script("sleep 60 # long"), now); err == nil {
		err = d.Send(ctx, message)
	}
	if err == nil {
		t.Error("a program outlives its time")
	}
	if _, err := Command(filepath.Join(dir, "nothing"), now); err == nil {
		t.Error("a program that is not there is taken")
	}
}

// TestMailAgain: when one of many cannot be reached, only that one is tried again.
func TestMailAgain(t *testing.T) {
	p, addr := office(t, nil, false, false)
	clock := at
	d, err := Mail("smtp://"+addr, "", "lanyard@example.com", func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	m := message
	m.To = []Person{{"maya", "Maya Lind", "maya@example.com"}, {"kim", "Kim", "no address"}, {"ben", "Ben", "ben@example.com"}}
	for range 3 {
		if err := d.Send(t.Context(), m); err == nil || !strings.Contains(err.Error(), "kim") {
			t.Error(err)
		}
	}
	m.To[1].Email = "kim@example.com"
	if err := d.Send(t.Context(), m); err != nil {
		t.Error(err)
	}
	if got := strings.Join(p.to, " "); got != "maya@example.com ben@example.com kim@example.com" {
		t.Errorf("to %s", got)
	}
	clock = m.Expires
	m.ID, m.Expires = "note_2", clock.Add(time.Hour)
	if err := d.Send(t.Context(), m); err != nil || len(p.to) != 6 {
		t.Errorf("another note: %v, to %v", err, p.to)
	}
}
