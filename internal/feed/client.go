package feed

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// answerTime is how long an answer may take, when the caller has no less.
const answerTime = 30 * time.Second

// Client is the control plane as a gateway elsewhere sees it. Its fields must not change once it is used.
type Client struct {
	Addresses []string                         // https://host:port, tried in turn
	Quiet     time.Duration                    // a watch on which nothing came for so long is dead [10s]
	OnTrust   func(authorities [][]byte) error // told whom to trust, when that is said; nil: nobody is

	http     *http.Client
	at       atomic.Int64 // which address is used
	watching atomic.Pointer[watching]
}

// watching is a watch that runs.
type watching struct {
	address string
	end     context.CancelCauseFunc
}

var (
	_ Source = (*Client)(nil)
	_ Desk   = (*Client)(nil)
)

// NewClient returns a client that reaches the control plane at one of those addresses. config
// says who the control plane has to be and who this gateway is, see [MemberTLS].
func NewClient(addresses []string, config *tls.Config) (*Client, error) {
	if len(addresses) == 0 {
		return nil, errors.New("no address of a control plane")
	}
	c := &Client{}
	for _, a := range addresses {
		base, err := ParseControl(a)
		if err != nil {
			return nil, fmt.Errorf("control plane %w", err)
		}
		c.Addresses = append(c.Addresses, base)
	}
	var plain http.Protocols
	plain.SetHTTP1(true)
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 5 * time.Second}
	c.http = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Protocols: &plain, MaxIdleConnsPerHost: 32, IdleConnTimeout: time.Minute, DisableCompression: true,
			DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dialer.DialContext(ctx, network, address)
				if err != nil {
					return nil, &unreached{err}
				}
				ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				secure := tls.Client(conn, config)
				if err := secure.HandshakeContext(ctx); err != nil {
					conn.Close()
					return nil, &unreached{err}
				}
				return secure, nil
			},
		},
	}
	return c, nil
}

// ParseControl is the address of a control plane as it is used.
func ParseControl(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return "", fmt.Errorf("%q: want https://host:port", address)
	}
	return "https://" + u.Host, nil
}

// unreached is why there is no connection: what was to be sent was not.
type unreached struct{ err error }

func (e *unreached) Error() string { return e.err.Error() }
func (e *unreached) Unwrap() error { return e.err }

// Forget has the connections that nobody uses be made anew, with the certificate of now.
func (c *Client) Forget() { c.http.CloseIdleConnections() }

// each tries the addresses in turn, from the one that answered last on, until one is reached. What
// can be sent twice is tried at the next also when the answer got lost.
func (c *Client) each(ctx context.Context, twice bool, try func(address string) error) (err error) {
	for range c.Addresses {
		n := c.at.Load()
		address := c.Addresses[int(n)%len(c.Addresses)]
		err = try(address)
		var said *remoteError
		var never *unreached
		switch {
		case err == nil, errors.Is(ctx.Err(), context.Canceled), errors.As(err, &said) && said.is != nil:
			return err
		case FaultOf(err) != nil:
			return err
		}
		c.at.CompareAndSwap(n, n+1) // also from one that hangs: the next call must not wait for it, too
		if ctx.Err() != nil || !twice && !errors.As(err, &never) {
			return err
		}
	}
	return err
}

// send sends one request, and returns an answer that is none of a fault.
func (c *Client) send(ctx context.Context, method, address, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, address+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set(VersionHeader, strconv.Itoa(Version))
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		var u *url.Error // whose text has the method and the whole address
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("control plane %s: %w", strings.TrimPrefix(address, "https://"), err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	var f Fault
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || json.Unmarshal(b, &f) != nil || f.Code == "" {
		f = Fault{Code: FaultUnavailable, Text: "control plane " + strings.TrimPrefix(address, "https://") + " answered " + res.Status + ", which is none of its answers"}
	}
	return nil, f.Err()
}

// call sends in to path and reads what is answered into out.
func (c *Client) call(ctx context.Context, path string, twice bool, in, out any) error {
	_, err := c.answer(ctx, path, twice, in, out)
	return err
}

// answer is call, and says which address has answered.
func (c *Client) answer(ctx context.Context, path string, twice bool, in, out any) (answered string, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	err = c.each(ctx, twice, func(address string) error {
		answered = address
		res, err := c.send(ctx, http.MethodPost, address, path, in)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
		if err == nil && out != nil {
			if err = json.Unmarshal(b, out); err != nil {
				err = errors.New("the control plane's answer is not what it has to be") // its text may be a secret
			}
		}
		return err
	})
	return answered, err
}

// Ack says: I enforce everything up to here. What is returned is for how long the gateway may go on from the moment before.
// Where that is not answered any more, changes will not come from either: when another address answers, a watch moves there, too,
// before the lease ends for want of them.
func (c *Client) Ack(ctx context.Context, at Cursor) (time.Duration, error) {
	var l LeaseAnswer
	answered, err := c.answer(ctx, PathAck, true, at, &l)
	if w := c.watching.Load(); err == nil && w != nil && w.address != answered {
		w.end(errElsewhere)
	}
	if err != nil || l.Milliseconds < 0 || l.Milliseconds > MaxLease.Milliseconds() {
		if err == nil {
			err = fmt.Errorf("%w: a lease of %d ms", ErrVersion, l.Milliseconds)
		}
		return 0, err
	}
	return time.Duration(l.Milliseconds) * time.Millisecond, nil
}

// Record returns nil once the events are durable. The same event sent twice counts once.
func (c *Client) Record(ctx context.Context, events []ledger.Event) error {
	return c.call(ctx, PathRecord, true, Recording{events}, nil)
}

// Credential asks for an upstream's credential.
func (c *Client) Credential(ctx context.Context, upstream string, chain identity.Chain, refused Secret) (Secret, error) {
	var s UnsafeSecret
	err := c.call(ctx, PathCredential, true, CredentialCall{upstream, chain, UnsafeSecret(refused)}, &s)
	return Secret(s), err
}

// Draw takes a part of a task's budget.
func (c *Client) Draw(ctx context.Context, task string, want policy.Budget) (got policy.Budget, err error) {
	return got, c.call(ctx, PathBudget, false, BudgetCall{task, want}, &got)
}

// Ask asks people.
func (c *Client) Ask(ctx context.Context, q Question) (a Approval, err error) {
	return a, c.call(ctx, PathAsk, true, q, &a)
}

// Use uses up what they said yes to.
func (c *Client) Use(ctx context.Context, id, hash, request string) error {
	return c.call(ctx, PathUse, false, UseCall{id, hash, request}, nil)
}

// Introduce has a caller introduced to the agent that it calls.
func (c *Client) Introduce(ctx context.Context, upstream, access string) (Introduction, error) {
	var i UnsafeIntroduction
	err := c.call(ctx, PathIntroduce, true, IntroduceCall{upstream, access}, &i)
	return Introduction(i), err
}

// Watch yields what changed after the cursor. A link on which nothing comes is dead, and ends it.
func (c *Client) Watch(ctx context.Context, after Cursor) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		stopped := false
		err := c.each(ctx, false, func(address string) error {
			err := c.watch(ctx, address, after, func(ch Change) bool {
				stopped = !yield(ch, nil)
				return !stopped
			})
			return err
		})
		if err != nil && !stopped && ctx.Err() == nil {
			yield(Change{}, err)
		}
	}
}

var (
	errQuiet = errors.New("nothing came from the control plane, not even that there is nothing: the link is dead")
	errEnd   = errors.New("the control plane, or something between, ended the feed")

	errElsewhere = errors.New("what is acknowledged is answered at another address only: the feed is followed there, too")
)

func (c *Client) watch(ctx context.Context, address string, after Cursor, yield func(Change) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &watching{address, cancel}
	c.watching.Store(w)
	defer c.watching.CompareAndSwap(w, nil)
	quiet := c.Quiet
	if quiet == 0 {
		quiet = 10 * time.Second
	}
	alarm := time.AfterFunc(quiet, func() { cancel(errQuiet) })
	defer alarm.Stop()
	path := PathWatch
	if after != (Cursor{}) {
		path += "?" + url.Values{"epoch": {after.Epoch}, "seq": {strconv.FormatUint(after.Seq, 10)}}.Encode()
	}
	res, err := c.send(ctx, http.MethodGet, address, path, nil)
	if err != nil {
		return because(ctx, err)
	}
	defer res.Body.Close()
	first := true
	for h := range hear(ctx, res.Body) {
		if len(h.lines) > 0 && !alarm.Stop() {
			return errQuiet
		}
		for _, l := range h.lines {
			if first && l.Version < 1 && l.Fault == nil {
				return fmt.Errorf("%w: it does not begin with a version", errLine)
			}
			first = false
			if len(l.Trust) > 0 && c.OnTrust != nil {
				if err := c.OnTrust(l.Trust); err != nil {
					return err
				}
			}
			if l.Fault != nil {
				return l.Fault.Err()
			}
			if l.Change != nil && !yield(*l.Change) {
				return nil
			}
		}
		if errors.Is(h.err, io.EOF) || errors.Is(h.err, io.ErrUnexpectedEOF) {
			h.err = errEnd
		}
		if h.err != nil {
			return because(ctx, h.err)
		}
		alarm.Reset(quiet)
	}
	return because(ctx, errEnd)
}

// heard is lines that were there at one time, and what ended the reading.
type heard struct {
	lines []Line
	err   error
}

// hear reads lines beside whoever does something with those before: of the millions of a snapshot either takes half
// of the time. It ends with the first error, and with ctx.
func hear(ctx context.Context, r io.Reader) <-chan heard {
	out := make(chan heard, 16)
	go func() {
		defer close(out)
		lines := NewLineReader(r)
		for {
			var h heard
			for more := true; more && h.err == nil; more = lines.more() { // no line waits for one that is not here yet
				var l Line
				if l, h.err = lines.Next(); h.err == nil {
					h.lines = append(h.lines, l)
				}
			}
			select {
			case out <- h:
			case <-ctx.Done():
				return
			}
			if h.err != nil {
				return
			}
		}
	}()
	return out
}

// because is the reason that ctx ended for, when err came of that.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
