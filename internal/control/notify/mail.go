package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Mail sends each person a mail through an SMTP server: smtp://user@host:587 with STARTTLS where
// the server offers it, smtps:// with TLS from the start. A password is never sent without TLS.
// Whom it reached with a message is not mailed again when it is tried again for the others.
func Mail(address, password, from string, now func() time.Time) (Door, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "smtp" && u.Scheme != "smtps" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return Door{}, fmt.Errorf("smtp %q: want smtp://user@host:587, or smtps:// for TLS from the start", address)
	}
	if _, has := u.User.Password(); has {
		return Door{}, errors.New("smtp: its password belongs in a file, not in the URL")
	}
	if (u.User.Username() == "") != (password == "") {
		return Door{}, errors.New("smtp: a user and a password belong together")
	}
	sender, err := mail.ParseAddress(from)
	if err != nil {
		return Door{}, fmt.Errorf("smtp: %q is no address to send from", from)
	}
	s := &server{host: u.Hostname(), port: u.Port(), user: u.User.Username(), password: password, implicit: u.Scheme == "smtps"}
	if s.port == "" {
		s.port = map[bool]string{true: "465", false: "587"}[s.implicit]
	}
	var told reached
	return Door{"mail", func(ctx context.Context, m Message) error {
		var wrong []error
		told.forget(now())
		for _, p := range m.To {
			if told.has(m, p) {
				continue
			}
			err := s.send(ctx, sender, p, m, now())
			if err == nil {
				told.add(m, p)
			}
			wrong = append(wrong, err)
		}
		return errors.Join(wrong...)
	}}, nil
}

// reached is who was told what, each until the end of the message.
type reached struct {
	mu sync.Mutex
	of map[[2]string]time.Time // by message and person
}

func (r *reached) has(m Message, p Person) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.of[[2]string{m.ID, p.ID}]
	return ok
}

func (r *reached) add(m Message, p Person) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[[2]string]time.Time{}
	}
	r.of[[2]string{m.ID, p.ID}] = m.Expires
}

func (r *reached) forget(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.of, func(_ [2]string, end time.Time) bool { return !now.Before(end) })
}

type server struct {
	host, port     string
	user, password string
	implicit       bool
}

func (s *server) send(ctx context.Context, from *mail.Address, to Person, m Message, now time.Time) error {
	c, err := s.dial(ctx)
	if err != nil {
		return fmt.Errorf("mail to %s: %w", to.ID, err)
	}
	defer c.Close()
	err = c.Mail(from.Address)
	if err == nil {
		err = c.Rcpt(to.Email)
	}
	if err == nil {
		var text string
		if text, err = letter(from, to, m, now); err == nil {
			err = data(c, text)
		}
	}
	if err != nil {
		return fmt.Errorf("mail to %s: %w", to.ID, err)
	}
	_ = c.Quit() // it was taken by then
	return nil
}

func (s *server) dial(ctx context.Context) (*smtp.Client, error) {
	d := net.Dialer{Timeout: sendTime}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(s.host, s.port))
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(sendTime)) // a socket has deadlines
	secure := &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12}
	if s.implicit {
		conn = tls.Client(conn, secure)
	}
	c, err := smtp.NewClient(conn, s.host)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if ok, _ := c.Extension("STARTTLS"); ok && !s.implicit {
		if err := c.StartTLS(secure); err != nil {
			c.Close()
			return nil, err
		}
	}
	if s.user == "" {
		return c, nil
	}
	if _, ok := c.TLSConnectionState(); !ok {
		c.Close()
		return nil, errors.New("the server offers no TLS, and a password is not sent without")
	}
	if err := c.Auth(smtp.PlainAuth("", s.user, s.password, s.host)); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func data(c *smtp.Client, text string) error {
	w, err := c.Data()
	if err != nil {
		return err
	}
	_, err = w.Write([]byte(text))
	return errors.Join(err, w.Close())
}

// letter is the mail (RFC 5322). No header holds a line break: names are encoded, addresses are parsed.
func letter(from *mail.Address, to Person, m Message, now time.Time) (string, error) {
	address, err := mail.ParseAddress(to.Email)
	if err != nil {
		return "", fmt.Errorf("%s has no address", to.ID)
	}
	_, host, _ := strings.Cut(from.Address, "@")
	var b strings.Builder
	for _, h := range [][2]string{
		{"From", from.String()}, {"To", (&mail.Address{Name: to.Name, Address: address.Address}).String()},
		{"Subject", mime.QEncoding.Encode("utf-8", "Your approval is asked for: "+strings.Join(strings.Fields(m.Text), " "))},
		{"Date", now.UTC().Format(time.RFC1123Z)}, {"Message-ID", "<" + m.ID + "." + to.ID + "@" + host + ">"}, {"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"}, {"Content-Type", `text/plain; charset="utf-8"`}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, err = fmt.Fprintf(w, "%s\r\n\r\n%s\r\n\r\nLook at it there before you decide. You can answer until %s.\r\n", m.Text, m.URL, m.Expires.UTC().Format("2006-01-02 15:04 MST"))
	return b.String(), errors.Join(err, w.Close())
}
