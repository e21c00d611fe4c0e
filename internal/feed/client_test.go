package feed_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

var quiet = log.New(io.Discard, "", 0)

// authority makes certificates as the fleet's does.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.make("", x509.ExtKeyUsageAny, time.Hour)
	return a
}

func (a *authority) make(name string, use x509.ExtKeyUsage, life time.Duration) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "x" + name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life), BasicConstraintsValid: true}
	by, signer := a.cert, a.key
	if by == nil {
		c.IsCA, c.KeyUsage, by, signer = true, x509.KeyUsageCertSign, c, key
	} else {
		u, _ := url.Parse(name)
		c.URIs, c.ExtKeyUsage = []*url.URL{u}, []x509.ExtKeyUsage{use}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), signer)
	if err == nil {
		c, err = x509.ParseCertificate(der)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return c, key
}

func (a *authority) member(name string) *feed.Member {
	c, key := a.make(feed.GatewayName("lanyard.local", name), x509.ExtKeyUsageClientAuth, time.Hour)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &feed.Member{Membership: feed.Membership{Name: name, Domain: "lanyard.local", Certificate: c.Raw, Trust: [][]byte{a.cert.Raw}}, Key: der}
}

// serve answers as a control plane whose certificate has that name.
func (a *authority) serve(name string, h http.HandlerFunc) *httptest.Server {
	c, key := a.make(name, x509.ExtKeyUsageServerAuth, time.Hour)
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{c.Raw, a.cert.Raw}, PrivateKey: key}}, ClientAuth: tls.RequestClientCert}
	s.Config.ErrorLog = quiet
	s.StartTLS()
	a.t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func (a *authority) client(addresses ...string) *feed.Client {
	m := a.member("gw")
	c, err := feed.NewClient(addresses, feed.MemberTLS(func() *feed.Member { return m }, time.Now))
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

const hello = `{"version":1}` + "\n"

func change(seq int, name string) string {
	return fmt.Sprintf(`{"change":{"cursor":{"epoch":"e","seq":%d},"identity":{"id":"spiffe://lanyard.local/agent/%s","owner":"maya","state":"active","expires":"2099-01-01T00:00:00Z"}}}`+"\n", seq, name)
}

const synced = `{"change":{"cursor":{"epoch":"e","seq":5},"synced":true}}` + "\n"

// TestHostileFeed: whatever comes instead of a change, the view is not taken for whole, or goes on from where it was.
func TestHostileFeed(t *testing.T) {
	for name, c := range map[string]struct {
		after string
		live  bool // the view goes on with what it knew
		says  string
	}{
		"garbage":                  {"\x16\x03\x01 what\n", false, "no object"},
		"a kind that is unknown":   {`{"change":{"cursor":{"epoch":"e","seq":6},"lease":{}}}` + "\n", false, "older than its control plane"},
		"a change once more":       {change(5, "b"), false, "out of order"},
		"a change that was before": {change(6, "b") + change(8, "c") + change(7, "d"), false, "out of order"},
		"a change that is nothing": {`{"change":{"cursor":{"epoch":"e","seq":6}}}` + "\n", false, "0 things"},
		"another history":          {strings.Replace(change(6, "b"), `"e"`, `"f"`, 1), false, "out of order"},
		"evicted":                  {`{"fault":{"code":"evicted","text":"evicted"}}` + "\n", false, "evicted"},
		"half a line":              {`{"change":{"cursor":{"epoch":"e","se`, true, "ended the feed"},
		"the end":                  {"", true, "ended the feed"},
		"a reset":                  {"reset", true, ""},
		"nothing more":             {"silence", true, "link is dead"},
		"a fault for now":          {`{"fault":{"code":"unavailable","text":"stopping"}}` + "\n", true, "stopping"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			var watches atomic.Int64
			second := make(chan struct{})
			s := a.serve(feed.ControlName("lanyard.local"), func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != feed.PathWatch {
					io.WriteString(w, "{}")
					return
				}
				if watches.Add(1) > 1 {
					close(second)
					<-r.Context().Done() // the next watch says nothing
					return
				}
				io.WriteString(w, hello+change(5, "a")+synced)
				w.(http.Flusher).Flush()
				switch c.after {
				case "silence":
					<-r.Context().Done()
				case "reset":
					conn, _, _ := w.(http.Hijacker).Hijack()
					conn.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0)
					conn.(*tls.Conn).NetConn().Close()
				default:
					io.WriteString(w, c.after)
				}
			})
			client := a.client(s.URL)
			client.Quiet = 500 * time.Millisecond
			view, errs := followed(t, client)
			err := <-errs
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("told %v, want %q", err, c.says)
			}
			<-second
			if live := view.Live() == nil; live != c.live {
				t.Errorf("live is %v: %v", live, view.Live())
			}
			if _, known := view.Subject(agent("a").Identity.ID); !known {
				t.Error("what it knew is gone")
			}
		})
	}
}

// TestNeverWhole: a snapshot that does not come to its end fills no view.
func TestNeverWhole(t *testing.T) {
	for name, body := range map[string]string{
		"no version": change(1, "a") + synced, "no end": hello + change(1, "a"), "a page": "<html>sign in</html>\n", "nothing": "",
		"an end without a cursor": hello + `{"change":{"cursor":{"epoch":"","seq":0},"synced":true}}` + "\n", "a line that is unknown": hello + `{"x":1}` + "\n" + synced,
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t)
			s := a.serve(feed.ControlName("lanyard.local"), func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) })
			view, errs := followed(t, a.client(s.URL))
			<-errs
			<-errs
			if view.Live() == nil && name != "an end without a cursor" {
				t.Error("the view is live")
			}
		})
	}
}

// TestWrongControl: nothing is said to who is not the control plane of this gateway.
func TestWrongControl(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	var asked atomic.Bool
	h := func(http.ResponseWriter, *http.Request) { asked.Store(true) }
	for name, s := range map[string]*httptest.Server{
		"another authority": other.serve(feed.ControlName("lanyard.local"), h), "a gateway": a.serve(feed.GatewayName("lanyard.local", "gw2"), h), "another trust domain": a.serve(feed.ControlName("else.where"), h),
	} {
		if err := a.client(s.URL).Record(t.Context(), []ledger.Event{{ID: "x"}}); err == nil || asked.Load() {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{"http://127.0.0.1:1", "https://", "127.0.0.1:1", "https://h/path", "https://u:p@h"} {
		if _, err := feed.NewClient([]string{bad}, &tls.Config{}); err == nil {
			t.Errorf("%q is an address of a control plane", bad)
		}
	}
}

// TestNextAddress: where one control plane cannot be reached, the next is asked; what may not happen twice is sent once.
func TestNextAddress(t *testing.T) {
	a := newAuthority(t)
	var draws, records atomic.Int64
	broken := a.serve(feed.ControlName("lanyard.local"), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == feed.PathBudget {
			draws.Add(1)
		}
		conn, _, _ := w.(http.Hijacker).Hijack() // the answer gets lost
		conn.Close()
	})
	good := a.serve(feed.ControlName("lanyard.local"), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == feed.PathRecord {
			records.Add(1)
		}
		if r.URL.Path == feed.PathBudget {
			draws.Add(1)
		}
		io.WriteString(w, "{}")
	})
	gone := httptest.NewServer(nil)
	gone.Close()
	away := strings.Replace(gone.URL, "http:", "https:", 1)
	if err := a.client(away, broken.URL, good.URL).Record(t.Context(), []ledger.Event{{ID: "x"}}); err != nil || records.Load() != 1 {
		t.Errorf("events: %v, %d times", err, records.Load())
	}
	c := a.client(away, broken.URL, good.URL)
	if _, err := c.Draw(t.Context(), "t", policy.Budget{"calls": -1}); err == nil || draws.Load() != 1 {
		t.Errorf("a part of a budget whose answer got lost: %v, asked %d times", err, draws.Load())
	}
	if _, err := c.Draw(t.Context(), "t", policy.Budget{"calls": 1}); err != nil || draws.Load() != 2 {
		t.Errorf("the next: %v, asked %d times", err, draws.Load())
	}
	if _, err := a.client(away).Ack(t.Context(), feed.Cursor{}); err == nil {
		t.Error("an acknowledgement to nobody")
	}
}

// TestAnswers: an answer that is none is an error, and a decision against is not asked for elsewhere.
func TestAnswers(t *testing.T) {
	a := newAuthority(t)
	var n atomic.Int64
	for name, c := range map[string]struct {
		status int
		body   string
		is     error
		times  int64
	}{
		"refused":          {403, `{"code":"refused","text":"no"}`, feed.ErrRefused, 1},
		"evicted":          {403, `{"code":"evicted","text":"no"}`, feed.ErrEvicted, 1},
		"used":             {409, `{"code":"used","text":"no"}`, feed.ErrUsed, 1},
		"a page":           {502, `<html>`, nil, 2},
		"no JSON":          {200, `Bearer s3cret`, nil, 2},
		"a redirect":       {302, ``, nil, 2},
		"an unknown fault": {500, `{"code":"odd","text":"later"}`, nil, 2},
	} {
		n.Store(0)
		h := func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			w.Header().Set("Location", "https://127.0.0.1:1/")
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		}
		one, two := a.serve(feed.ControlName("lanyard.local"), h), a.serve(feed.ControlName("lanyard.local"), h)
		s, err := a.client(one.URL, two.URL).Credential(t.Context(), "mail", nil, feed.Secret{})
		if err == nil || s != (feed.Secret{}) || c.is != nil && !errors.Is(err, c.is) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
		if n.Load() != c.times {
			t.Errorf("%s: asked %d times, want %d", name, n.Load(), c.times)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	slow := a.serve(feed.ControlName("lanyard.local"), func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then the server sees that the other end goes
		<-r.Context().Done()
	})
	if _, err := a.client(slow.URL).Ack(ctx, feed.Cursor{}); err == nil {
		t.Error("an answer that never comes")
	}
}
