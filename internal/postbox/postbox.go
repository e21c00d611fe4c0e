// Package postbox puts a mail account that speaks IMAP and SMTP behind the interface of
// Gmail, so that the gateway has one more mailbox like the others: the same description,
// the same words, the same layers.
//
// Of Gmail's interface it has what a mailbox needs: messages (list, get, send, modify, trash,
// untrash, delete), their attachments, drafts and labels. A label is a folder, or
// UNREAD or STARRED; a thread is one message. It decides nothing: who may do what is the gateway's to say,
// which alone has its credential.
package postbox

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/lanyard-dev/lanyard/internal/bridge"
	"github.com/lanyard-dev/lanyard/internal/layer"
)

// Config says where the account is. User, Password, Credential, IMAP and SMTP are required.
type Config struct {
	IMAP, SMTP     string // host:port
	User, Password string
	From           string // its address, kept without a name; default User
	Security       Security
	TLS            *tls.Config // nil: the system's authorities
	Credential     string      // expected as Authorization: Bearer
	Now            func() time.Time
	Log            *slog.Logger
}

// Security is how the servers are spoken to.
type Security string

const (
	TLS      Security = "tls"      // from the first byte on
	StartTLS Security = "starttls" // or not at all
	None     Security = "none"     // in the clear
)

// maxMail is how large a mail may be, and maxHeld how many requests' bodies are held at one time.
const (
	maxMail = 48 << 20
	maxHeld = 8
)

// Postbox is an http.Handler. It uses one connection, one request at a time.
type Postbox struct {
	Config
	handler http.Handler
	places  chan struct{} // has a value for each request whose body is held

	mu      sync.Mutex // guards all below
	client  *imapclient.Client
	folders []folder
}

var _ http.Handler = (*Postbox)(nil)

// patience is how long the servers may take for one request.
const patience = time.Minute

// New makes a Postbox. It connects when it is first asked.
func New(c Config) (*Postbox, error) {
	if c.IMAP == "" || c.SMTP == "" || c.User == "" || c.Password == "" || len(c.Credential) < bridge.MinCredential {
		return nil, errors.New("postbox: IMAP, SMTP, User, Password and a Credential of 16 characters or more are required")
	}
	if c.From == "" {
		c.From = c.User
	}
	from, err := mail.ParseAddress(c.From)
	if err != nil || layer.Bare(from.Address) == "" {
		return nil, fmt.Errorf("postbox: %q is no address to send from", c.From)
	}
	c.From = layer.Bare(from.Address)
	switch c.Security {
	case TLS, StartTLS, None:
	default:
		return nil, fmt.Errorf("postbox: security %q: use tls, starttls or none", c.Security)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	mux := http.NewServeMux()
	p := &Postbox{Config: c, handler: bridge.Guard(c.Credential, maxMail, mux), places: make(chan struct{}, maxHeld)}
	const base = "/gmail/v1/users/me/"
	for pattern, f := range map[string]func(*http.Request) (any, error){
		"GET " + base + "profile": func(*http.Request) (any, error) { return object{"emailAddress": c.From}, nil },
		"GET " + base + "labels":  p.labels, "GET " + base + "messages": p.list, "GET " + base + "messages/{id}": p.get,
		"GET " + base + "messages/{id}/attachments/{part}": p.attachment, "POST " + base + "messages/send": p.send, "POST " + base + "messages/{id}/modify": p.modify,
		"POST " + base + "messages/{id}/trash": p.relabel("TRASH"), "POST " + base + "messages/{id}/untrash": p.relabel("INBOX"), "DELETE " + base + "messages/{id}": p.remove,
		"GET " + base + "drafts": p.drafts, "GET " + base + "drafts/{id}": p.draft, "POST " + base + "drafts": p.create, "POST " + base + "drafts/send": p.sendDraft, "DELETE " + base + "drafts/{id}": p.remove,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { p.answer(w, r, f) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		bridge.Refuse(w, &bridge.Failure{Status: http.StatusNotFound, Message: "there is no such thing in this mailbox"})
	})
	return p, nil
}

type object = bridge.Object

func (p *Postbox) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// answer runs f alone, once more on a new connection when the one there is has ended.
func (p *Postbox) answer(w http.ResponseWriter, r *http.Request, f func(*http.Request) (any, error)) {
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	case <-r.Context().Done():
		return
	}
	body, err := io.ReadAll(r.Body) // before the lock: a slow sender does not hold up the account
	if err != nil {
		bridge.Refuse(w, &bridge.Failure{Status: http.StatusRequestEntityTooLarge, Message: "the request is too large or was cut off"})
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var v any
	for again := false; ; again = true {
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		fresh := p.client == nil
		if err = p.connect(); err == nil {
			c := p.client
			late := time.AfterFunc(patience, func() { _ = c.Close() }) // which ends whatever waits for it
			v, err = f(r)
			late.Stop()
		}
		var refused *bridge.Failure
		if err == nil || errors.As(err, &refused) {
			break
		}
		p.drop()
		if fresh || again || r.Method != http.MethodGet { // what was to be done may have been done
			break
		}
	}
	bridge.Answer(w, v, err, p.Log, "the mail server")
}

// connect signs in, unless there is a connection.
func (p *Postbox) connect() error {
	if p.client != nil {
		return nil
	}
	options := &imapclient.Options{TLSConfig: p.TLS, Dialer: &net.Dialer{Timeout: 10 * time.Second}}
	dial := map[Security]func(string, *imapclient.Options) (*imapclient.Client, error){TLS: imapclient.DialTLS, StartTLS: imapclient.DialStartTLS, None: imapclient.DialInsecure}[p.Security]
	c, err := dial(p.IMAP, options)
	if err != nil {
		return fmt.Errorf("reaching %s: %w", p.IMAP, err)
	}
	if err := c.Login(p.User, p.Password).Wait(); err != nil {
		_ = c.Close()
		return fmt.Errorf("signing in to %s: %w", p.IMAP, err)
	}
	p.client = c
	if err := p.look(); err != nil {
		p.drop()
		return err
	}
	return nil
}

func (p *Postbox) drop() {
	if p.client != nil {
		_ = p.client.Close()
		p.client = nil
	}
}

// Close signs out.
func (p *Postbox) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client == nil {
		return nil
	}
	err := p.client.Logout().Wait()
	p.drop()
	return err
}
