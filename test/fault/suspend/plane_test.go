package suspend

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/test/operator"
	"github.com/lanyard-dev/lanyard/test/port"
)

// plane is a control plane on this machine, with an upstream and those who send requests through a gateway elsewhere.
type plane struct {
	t                     *testing.T
	bin, data             string
	listen, feed, gateway string
	process               *os.Process
	rest                  *http.Client
	upstream              *httptest.Server
	log                   bytes.Buffer

	mu       sync.Mutex
	requests int
	arrived  []arrival // at the upstream
	answers  []answer
}

// arrival is of a request, which has the name of its agent in its own.
type arrival struct {
	id string
	at time.Time
}

// answer is what became of a request.
type answer struct {
	who, id      string
	kept         bool // it went over a connection that there was before
	began, ended time.Time
	status       int    // 0: nothing was answered
	problem      string // its type (RFC 9457)
}

// lease is longer than an emulated machine on a busy one takes to wake up: by the clock that stands still meanwhile it must not end.
const lease = 15 * time.Second

func newPlane(t *testing.T, bin string) *plane {
	p := &plane{t: t, bin: bin, data: filepath.Join(t.TempDir(), "d"), listen: port.Free(), feed: port.Free(), gateway: port.Free()}
	p.upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.arrived = append(p.arrived, arrival{path.Base(r.URL.Path), time.Now()})
		p.mu.Unlock()
		io.WriteString(w, "{}")
	}))
	t.Cleanup(p.upstream.Close)
	p.rest = operator.Socket(p.data)
	p.rest.Timeout = time.Minute
	c := exec.Command(bin, "serve", "--role", "control", "--data", p.data, "--allow-bearer", "--lease", lease.String(), "--token-ttl", "15m",
		"--listen", p.listen, "--feed-listen", p.feed, "--gateway-url", "http://"+p.gateway)
	c.Stdout, c.Stderr = &p.log, &p.log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, c.Start())
	p.process = c.Process
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
		if t.Failed() {
			t.Logf("the control plane said: %s", p.log.Bytes()[max(0, p.log.Len()-3000):])
		}
	})
	eventually(t, "the control plane is there", func() error { return p.ask("GET", "gateways", nil, nil) })
	must(t, p.ask("PUT", "owners/maya", map[string]any{"name": "Maya", "email": "maya@example.com"}, nil))
	_, at, err := net.SplitHostPort(p.upstream.Listener.Addr().String())
	must(t, err)
	must(t, p.ask("PUT", "upstreams/mail", map[string]any{"url": "http://10.0.2.2:" + at, "owner": "maya", "family": "patterns",
		"description": "POST /x/{id} -> x.write write /x/{id}"}, nil))
	return p
}

// files is what a machine takes to be a gateway of this control plane.
func (p *plane) files(name string) []file {
	var join struct{ Token string }
	must(p.t, p.ask("POST", "gateways/"+name+"/token", map[string]any{}, &join))
	_, at, err := net.SplitHostPort(p.feed)
	must(p.t, err)
	start, err := json.Marshal(map[string][]string{
		"args": {"serve", "--role", "gateway", "--data", "/data", "--control", "https://10.0.2.2:" + at, "--listen", "127.0.0.1:8440", "--gateway-listen", "10.0.2.15:8441", "--insecure-http"},
		"env":  {"LANYARD_JOIN_TOKEN=" + join.Token},
	})
	must(p.t, err)
	lanyard, err := os.ReadFile(p.bin)
	must(p.t, err)
	return []file{{"lanyard", program, lanyard}, {"gateway.json", plain, start}}
}

// ask sends one request to the control plane, as an operator on its machine.
func (p *plane) ask(method, path string, in, out any) error {
	return operator.Ask(p.t.Context(), p.rest, method, path, in, out)
}

// agent is one who may write, with a token for it.
type agent struct {
	p           *plane
	name, token string
	kept        *http.Client // keeps its connection to the gateway
}

func (p *plane) agent(name string) *agent {
	p.t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	must(p.t, err)
	b64 := base64.RawURLEncoding.EncodeToString
	must(p.t, p.ask("PUT", "identities/"+name, map[string]any{"kind": "agent", "owner": "maya", "purpose": "Asks"}, nil))
	must(p.t, p.ask("PUT", "identities/"+name+"/grants/write", map[string]any{"upstream": "mail", "actions": []string{"write"}}, nil))
	must(p.t, p.ask("POST", "identities/"+name+"/credentials", map[string]any{"public_key": map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(public)}}, nil))
	now, id := time.Now().Unix(), "spiffe://lanyard.local/agent/"+name
	in := b64([]byte(`{"typ":"JWT","alg":"EdDSA"}`)) + "." + b64(fmt.Appendf(nil, `{"jti":%q,"iss":%q,"sub":%q,"aud":%q,"iat":%d,"exp":%d}`, rand.Text(), id, id, "http://"+p.listen, now, now+60))
	res, err := http.PostForm("http://"+p.listen+"/oauth/token", url.Values{"grant_type": {"client_credentials"}, "resource": {"http://" + p.gateway + "/mail"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {in + "." + b64(ed25519.Sign(key, []byte(in)))}})
	must(p.t, err)
	defer res.Body.Close()
	var got struct {
		Token string `json:"access_token"`
	}
	if b, err := io.ReadAll(res.Body); err != nil || json.Unmarshal(b, &got) != nil || got.Token == "" {
		p.t.Fatalf("no token for %s: %s %s %v", name, res.Status, b, err)
	}
	return &agent{p: p, name: name, token: got.Token, kept: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}}
}

// fresh makes a connection for each request.
var fresh = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// send sends one request through the gateway, waits for what is answered until ctx ends, and writes it down.
func (a *agent) send(ctx context.Context, c *http.Client) (got answer) {
	a.p.mu.Lock()
	a.p.requests++
	got = answer{who: a.name, id: fmt.Sprint(a.name, "-", a.p.requests), kept: c == a.kept, began: time.Now()}
	a.p.mu.Unlock()
	if req, err := http.NewRequestWithContext(ctx, "POST", "http://"+a.p.gateway+"/mail/x/"+got.id, nil); err == nil {
		req.Header.Set("Authorization", "Bearer "+a.token)
		if res, err := c.Do(req); err == nil {
			b, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil {
				var problem struct{ Type string }
				json.Unmarshal(b, &problem) // what is let pass is none
				got.status, got.problem = res.StatusCode, problem.Type
			}
		}
	}
	got.ended = time.Now()
	a.p.mu.Lock()
	a.p.answers = append(a.p.answers, got)
	a.p.mu.Unlock()
	return got
}

// passes asks until a request passes.
func (a *agent) passes() {
	a.p.t.Helper()
	eventually(a.p.t, a.name+" may write", func() error {
		ctx, end := context.WithTimeout(context.Background(), 20*time.Second)
		defer end()
		if got := a.send(ctx, a.kept); got.status != 200 {
			return fmt.Errorf("%d %s", got.status, got.problem)
		}
		return nil
	})
}

// between returns what was answered to requests that were begun after one moment, before another.
func (p *plane) between(from, until time.Time) (answered []answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.answers {
		if a.status != 0 && a.began.After(from) && a.ended.Before(until) {
			answered = append(answered, a)
		}
	}
	return answered // in the order in which they were
}

// received counts the requests of an agent, or of all, that arrived at the upstream.
func (p *plane) received(who string, from, until time.Time) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.arrived {
		if strings.HasPrefix(a.id, who) && a.at.After(from) && a.at.Before(until) {
			n++
		}
	}
	return n
}

// load has agents send requests, each over the connection it kept and then over new ones, until it is ended; none waits for
// another. What is not answered by then is given up.
func (p *plane) load(agents ...*agent) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, a := range agents {
		all.Go(func() { a.send(ctx, a.kept) })
		all.Go(func() {
			for ctx.Err() == nil {
				all.Go(func() { a.send(ctx, fresh) })
				select {
				case <-ctx.Done():
				case <-time.After(500 * time.Millisecond):
				}
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}

// kill pulls the cord, and returns the receipt.
func (p *plane) kill(name string) feed.Receipt {
	p.t.Helper()
	var out struct{ Receipt feed.Receipt }
	must(p.t, p.ask("POST", "kill", map[string]any{"identity": name, "reason": "tests"}, &out))
	return out.Receipt
}
