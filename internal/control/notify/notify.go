// Package notify tells people that they are asked: through a webhook, by mail, or
// with a program of the operator's. A [Message] holds where to decide and one
// sentence, never what a request holds: that is shown only to who has signed in.
//
// A [Door] is tried again by its caller until it works, so what comes through it may come twice; its
// id tells.
package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/fetch"
)

// Message is one question, or a task that waits for a person, told to those who can answer it.
type Message struct {
	ID       string    `json:"-"`                  // of this telling; the same each time it is tried
	Approval string    `json:"approval,omitempty"` // "appr_...", or
	Task     string    `json:"task,omitempty"`     // "task_..."
	URL      string    `json:"url"`                // where to decide
	Text     string    `json:"text"`               // one sentence
	Who      string    `json:"who"`                // can decide, for people
	Expires  time.Time `json:"expires"`
	To       []Person  `json:"to"`
}

// Person is one of those who can answer.
type Person struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// Door is one way of telling people.
type Door struct {
	Name string // webhook, mail, command
	Send func(context.Context, Message) error
}

// document is a message as the webhook and the command get it.
func document(m Message, now time.Time) ([]byte, error) {
	kind := "approval.waiting"
	if m.Task != "" {
		kind = "task.waiting"
	}
	return json.Marshal(struct {
		Type string    `json:"type"`
		Time time.Time `json:"timestamp"`
		Data Message   `json:"data"`
	}{kind, now.UTC().Truncate(time.Second), m})
}

// sendTime is how long one try may take.
const sendTime = 20 * time.Second

// Webhook posts JSON, signed as Standard Webhooks has it: webhook-signature is an
// HMAC-SHA-256 over id, time and body. The secret is whsec_ with base64, or any text of 24
// bytes or more.
func Webhook(address, secret string, now func() time.Time) (Door, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && fetch.Loopback(u.Hostname())) {
		return Door{}, fmt.Errorf("webhook %q: want an https URL, or http on this machine", address)
	}
	key := []byte(secret)
	if text, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if key, err = base64.StdEncoding.DecodeString(text); err != nil {
			return Door{}, errors.New("webhook: its secret begins with whsec_, and what follows is no base64")
		}
	}
	if len(key) < 24 {
		return Door{}, errors.New("webhook: its secret is to have 24 bytes or more; make one with: echo whsec_$(head -c 32 /dev/urandom | base64)")
	}
	client := &http.Client{Timeout: sendTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return Door{"webhook", func(ctx context.Context, m Message) error {
		at := now()
		body, err := document(m, at)
		if err != nil {
			return err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
		if err != nil {
			return err
		}
		stamp := strconv.FormatInt(at.Unix(), 10)
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", m.ID, stamp, body)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("User-Agent", "lanyard")
		r.Header.Set("webhook-id", m.ID)
		r.Header.Set("webhook-timestamp", stamp)
		r.Header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		res, err := client.Do(r)
		if err != nil {
			var u *url.Error
			if errors.As(err, &u) {
				err = u.Err // without the address, which may be a secret
			}
			return fmt.Errorf("the webhook could not be reached: %w", err)
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
		if res.StatusCode < 200 || res.StatusCode > 299 {
			return fmt.Errorf("the webhook answered %s", res.Status)
		}
		return nil
	}}, nil
}

// Command runs a program with the message as JSON on its standard input, and nothing of
// our environment but PATH.
func Command(program string, now func() time.Time) (Door, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return Door{}, fmt.Errorf("command: %w", err)
	}
	return Door{"command", func(ctx context.Context, m Message) error {
		in, err := document(m, now())
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, sendTime)
		defer cancel()
		c := exec.CommandContext(ctx, path)
		c.Stdin, c.Env, c.Dir, c.WaitDelay = bytes.NewReader(append(in, '\n')), []string{"PATH=" + os.Getenv("PATH"), "LANYARD_NOTE=" + m.ID}, "/", time.Second
		if err := c.Run(); err != nil {
			return fmt.Errorf("%s: %w", program, err)
		}
		return nil
	}}, nil
}
