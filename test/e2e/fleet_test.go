package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/test/port"
)

// outpost is a gateway in a process and a folder of its own.
type outpost struct {
	h                  *house
	name, data         string
	gate, health, feed string
	process            *exec.Cmd
	log                *lines
}

// outpost makes one that has not been started.
func (h *house) outpost(name, gate, feed string) *outpost {
	o := &outpost{h: h, name: name, data: filepath.Join(h.dir, name), gate: gate, health: port.Free(), feed: feed}
	h.Cleanup(func() { o.kill(syscall.SIGKILL) })
	return o
}

// start runs it; token is what it joins with, on the first start.
func (o *outpost) start(token string, more ...string) {
	o.h.Helper()
	f, err := os.CreateTemp(o.h.dir, o.name)
	if err != nil {
		o.h.Fatal(err)
	}
	o.log = &lines{f}
	o.process = exec.Command(filepath.Join(bin, "lanyard"), append([]string{"serve", "--role", "gateway", "--data", o.data, "--control", "https://" + o.feed, "--listen", o.health, "--gateway-listen", o.gate}, more...)...)
	o.process.Env = append(os.Environ(), "LANYARD_JOIN_TOKEN="+token)
	o.process.Stdout, o.process.Stderr = f, f
	if err := o.process.Start(); err != nil {
		o.h.Fatal(err)
	}
}

func (o *outpost) kill(s syscall.Signal) {
	o.h.Helper()
	if o.process != nil {
		o.process.Process.Signal(s)
		o.ended()
	}
}

// ended waits for a process that should end by itself, or because it was asked to, and returns its exit code.
func (o *outpost) ended() int {
	o.h.Helper()
	c := o.process
	late := time.AfterFunc(40*time.Second, func() { c.Process.Kill() }) // longer than it drains
	c.Wait()
	if !late.Stop() {
		o.h.Errorf("%s does not end:\n%s", o.name, o.log)
	}
	o.process = nil
	return c.ProcessState.ExitCode()
}

func (o *outpost) ready() bool { return o.status("/readyz") == 200 }

func (o *outpost) status(path string) int {
	res, err := http.Get("http://" + o.health + path)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// works says whether a call with token goes through the gateway.
func (o *outpost) works(token string) bool {
	o.h.Helper()
	status, _ := o.h.get("http://"+o.gate+"/mail"+profile, token)
	return status == 200
}

func (o *outpost) started(token string, more ...string) {
	o.h.Helper()
	o.start(token, more...)
	o.h.eventually(o.name+" is ready: "+o.log.String(), o.ready)
}

func (h *house) joinToken(args ...string) string {
	h.Helper()
	return strings.TrimSpace(h.do(append([]string{"gateway", "token"}, args...)...))
}

// TestFleet: one control plane, two gateways, each a process of its own, with all that can befall them.
func TestFleet(t *testing.T) {
	t.Parallel()
	feed := port.Free()
	h := build(t, "--role", "control", "--feed-listen", feed, "--allow-bearer")
	h.settle()
	a, b := h.outpost("gw-a", h.gateA, feed), h.outpost("gw-b", port.Free(), feed)
	a.started(h.joinToken("gw-a"))
	b.started(h.joinToken("gw-b"))
	if out := h.do(h.asReader("GET", profile)...); !strings.Contains(out, "maya@example.com") {
		t.Errorf("through the first: %s", out)
	}
	one, two, three := h.keyed("one"), h.keyed("two"), h.keyed("three")
	for _, o := range []*outpost{a, b} {
		h.eventually(o.name+" knows one", func() bool { return o.works(one) })
	}
	h.eventually("the record has both gateways", func() bool {
		out := h.do("audit", "search", "--identity", "one", "-o", "json")
		return strings.Contains(out, "gw-a") && strings.Contains(out, "gw-b")
	})
	if out := h.do("kill", "one", "--reason", "test"); !strings.Contains(out, "in force at gw-a") || !strings.Contains(out, "in force at gw-b") || strings.Contains(out, "NOT yet") {
		t.Errorf("the receipt says\n%s", out)
	}
	for _, o := range []*outpost{a, b} {
		if o.works(one) {
			t.Errorf("%s lets pass what is killed", o.name)
		}
		if o.status("/healthz") != 200 || o.status("/metrics") != 200 {
			t.Errorf("%s has no health or metrics", o.name)
		}
	}

	// A gateway that dies is named as one that has not confirmed; when it comes back it knows what it missed.
	b.kill(syscall.SIGKILL)
	if out := h.do("kill", "two", "--reason", "test"); !strings.Contains(out, "in force at gw-a") || !strings.Contains(out, "NOT yet confirmed by gw-b") {
		t.Errorf("with one away, the receipt says\n%s", out)
	}
	b.started("")
	if b.works(two) {
		t.Errorf("after its restart gw-b does not know what it missed:\n%s", b.log)
	}
	h.eventually("both know three", func() bool { return a.works(three) && b.works(three) })

	// The control plane restarts: gateways go on with what they know, and follow again by themselves.
	h.stop()
	if !a.works(three) || !b.works(three) {
		t.Error("without a control plane nothing passes")
	}
	h.start()
	h.eventually("both follow again, and say how far they are", func() bool {
		return strings.Count(h.do("gateway", "list"), "joined  0 ") == 2
	})
	if out := h.do("kill", "three", "--reason", "test"); !strings.Contains(out, "in force at gw-a") || !strings.Contains(out, "in force at gw-b") {
		t.Errorf("after the restart, the receipt says\n%s", out)
	}
	four := h.keyed("four")
	h.eventually("four passes at both", func() bool { return a.works(four) && b.works(four) })

	// An evicted gateway refuses everything, and is not let in by its old certificate.
	h.do("gateway", "evict", "gw-b", "--reason", "lost")
	h.eventually("gw-b refuses", func() bool { return !b.works(four) && !b.ready() })
	if !a.works(four) {
		t.Error("the other was evicted as well")
	}
	b.kill(syscall.SIGTERM)
	b.start("")
	h.eventually("gw-b hears that it is evicted", func() bool { return strings.Contains(b.log.String(), "evicted") })
	if b.ready() || b.works(four) {
		t.Error("an evicted gateway serves after a restart")
	}
	b.kill(syscall.SIGTERM)
	b.started(h.joinToken("gw-b")) // an operator lets it in again
	if !b.works(four) {
		t.Error("joined again, it refuses")
	}
	b.kill(syscall.SIGTERM)
	a.kill(syscall.SIGTERM)
	if !strings.Contains(a.log.String(), "lanyard is stopping") || strings.Contains(a.log.String(), "events are not in the ledger") {
		t.Errorf("gw-a ends with\n%s", a.log)
	}
	h.do("audit", "verify")
}

// TestFleetCutOff: a gateway whose control plane is stopped, and not dead, serves until its lease ends, and then refuses everything
// until it is heard again. So it keeps what the receipt of a change promised, however it is cut off, and whoever restarts it.
func TestFleetCutOff(t *testing.T) {
	t.Parallel()
	feed := port.Free()
	const lease = 2 * time.Second
	h := build(t, "--role", "control", "--feed-listen", feed, "--allow-bearer", "--lease", lease.String())
	h.settle()
	a := h.outpost("gw-a", h.gateA, feed)
	a.started(h.joinToken("gw-a"))
	token := h.keyed("one")
	h.eventually("it serves", func() bool { return a.works(token) })
	h.serve.Process.Signal(syscall.SIGSTOP) // its connections stay, and nothing comes
	cut := time.Now()
	h.eventually("it refuses everything", func() bool { return !a.works(token) })
	if after := time.Since(cut); after > lease+10*time.Second {
		t.Errorf("it served for %s more, with a lease of %s", after, lease)
	}
	if a.ready() {
		t.Error("without a lease it is ready")
	}
	a.kill(syscall.SIGKILL)
	a.start("")
	h.eventually("its listener is there", func() bool { return a.status("/healthz") == 200 })
	for range 5 {
		if a.works(token) || a.ready() {
			t.Fatal("begun again without a lease it serves")
		}
		time.Sleep(50 * time.Millisecond)
	}
	h.serve.Process.Signal(syscall.SIGCONT)
	h.eventually("it serves again", func() bool { return a.works(token) && a.ready() })

	// The gateway is what hangs: by when it has stopped is told, and it has when it goes on.
	a.process.Process.Signal(syscall.SIGSTOP)
	out := h.do("kill", "one", "--reason", "test", "--wait")
	if !strings.Contains(out, "gw-a has stopped: its lease ended") {
		t.Errorf("the receipt says\n%s", out)
	}
	a.process.Process.Signal(syscall.SIGCONT)
	if a.works(token) {
		t.Error("after its bound it lets pass what was killed")
	}
	h.eventually("it follows again", a.ready)
	if a.works(token) {
		t.Error("following again it lets pass what was killed")
	}
}

// TestFleetAlone: a gateway that begins again while its control plane is away decides for what is left of its lease, knows what was
// killed, and what happened meanwhile comes to be in the record, also when it has ended before the control plane is back.
func TestFleetAlone(t *testing.T) {
	t.Parallel()
	feed := port.Free()
	h := build(t, "--role", "control", "--feed-listen", feed, "--allow-bearer", "--lease", "30s")
	h.settle()
	a := h.outpost("gw-a", h.gateA, feed)
	a.started(h.joinToken("gw-a"))
	one, two := h.keyed("one"), h.keyed("two")
	h.eventually("both pass", func() bool { return a.works(one) && a.works(two) })
	h.do("kill", "two", "--reason", "test")
	h.eventually("its view and its lease are on disk:\n"+a.log.String(), func() bool {
		_, err := os.Stat(filepath.Join(a.data, "view", "lease"))
		return err == nil
	})
	calls := func() int { return strings.Count(h.do("audit", "search", "--identity", "one", "-o", "json"), `"gw-a"`) }
	h.eventually("the record has the first", func() bool { return calls() > 0 })
	before := calls()
	h.stop()
	a.kill(syscall.SIGKILL)
	a.start("")
	h.eventually("its listener is there", func() bool { return a.status("/healthz") == 200 })
	if !a.ready() {
		t.Errorf("begun again, alone, it is not ready:\n%s", a.log)
	}
	// What is good is allowed, and ends where the upstream's credential is asked for: that is the control plane's, and on no disk here.
	if status, why := h.get("http://"+a.gate+"/mail"+profile, one); status != 503 || !strings.Contains(why, "The credential for mail is not to be had right now") {
		t.Errorf("who is good: %d %s", status, why)
	}
	if status, why := h.get("http://"+a.gate+"/mail"+profile, two); status != 401 || !strings.Contains(why, "two is killed") || strings.Contains(why, "lease") {
		t.Errorf("who is killed: %d %s", status, why)
	}
	a.kill(syscall.SIGTERM)
	h.start()
	a.started("")
	h.eventually("what happened meanwhile is in the record", func() bool { return calls() > before })
	h.do("audit", "verify")
}

// TestFleetStrangers: who is not of the fleet gets nothing, and says why at its start.
func TestFleetStrangers(t *testing.T) {
	t.Parallel()
	feed := port.Free()
	h := build(t, "--feed-listen", feed, "--gateway-certificate-ttl", "10s")
	h.settle()
	refuses := func(o *outpost, token, says string) {
		t.Helper()
		o.start(token)
		if code := o.ended(); code == 0 || !strings.Contains(o.log.String(), says) {
			t.Errorf("%s: exit %d\n%s", o.name, code, o.log)
		}
	}
	token := h.joinToken("gw-a", "--upstream", "mail")
	h.fails(3, "there is no upstream", "gateway", "token", "gw-x", "--upstream", "nothing")
	a := h.outpost("gw-a", port.Free(), feed)
	a.started(token)
	refuses(h.outpost("thief", port.Free(), feed), token, "was used")
	refuses(h.outpost("nobody", port.Free(), feed), "", "has not joined yet")
	refuses(h.outpost("odd", port.Free(), feed), "lyd_join_x", "no join token")
	other := port.Free()
	build(t, "--feed-listen", other)
	refuses(h.outpost("wrong", port.Free(), other), h.joinToken("gw-w"), "another authority")
	refuses(h.outpost("renamed", port.Free(), feed), strings.TrimSuffix(h.joinToken("gw-r"), "gw-r")+"gw-z", "another name")
	h.fails(3, "--replace", "gateway", "token", "gw-a")
	h.fails(3, "--feed-listen", append([]string{"--data", build(t).data}, "gateway", "token", "gw-1x")...)
	if !strings.Contains(h.do("gateway", "show", "gw-a"), "upstreams    mail") {
		t.Error(h.do("gateway", "show", "gw-a"))
	}

	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	req, _ := http.NewRequest("GET", "https://"+feed+"/feed/v1/watch", nil)
	req.Header.Set("Lanyard-Feed", "1")
	if res, err := c.Do(req); err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a watch without a certificate: %v %v", res, err)
	}

	// A certificate is renewed while its gateway runs. One that ended while it could not is good for nothing.
	serial := func() string { return h.first(`certificate +(\S+)`, h.do("gateway", "show", "gw-a")) }
	first := serial()
	h.eventually("another certificate", func() bool { return serial() != first })
	if !a.ready() {
		t.Errorf("not ready after its certificate was renewed:\n%s", a.log)
	}
	a.process.Process.Signal(syscall.SIGSTOP)
	time.Sleep(12 * time.Second) // its certificate ends
	a.process.Process.Signal(syscall.SIGCONT)
	a.kill(syscall.SIGTERM)
	a.start("")
	h.eventually("it cannot come back", func() bool { return strings.Contains(a.log.String(), "has to join again") })
	if a.ready() {
		t.Error("with a certificate that ended it is ready")
	}
	a.kill(syscall.SIGTERM)
	a.started(h.joinToken("gw-a", "--replace"))
}

// TestAttestedGateway: a gateway joins by the token that its cluster gave it, and again with another when its folder is lost.
func TestAttestedGateway(t *testing.T) {
	t.Parallel()
	feed := port.Free()
	h := build(t, "--role", "control", "--feed-listen", feed, "--allow-bearer")
	h.settle()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		path := filepath.Join(h.dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "c1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "c1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const issuer, subject = "https://kubernetes.default.svc.cluster.local", "system:serviceaccount:edge:lanyard"
	given := func() string { // as the cluster does
		now := time.Now().Unix()
		claims, _ := json.Marshal(map[string]any{"iss": issuer, "sub": subject, "aud": []string{h.control}, "iat": now, "nbf": now, "exp": now + 3600, "jti": rand.Text()})
		j, err := signer.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := j.CompactSerialize()
		return write("token", []byte(raw+"\n"))
	}
	h.do("provider", "put", "cluster", "--issuer", issuer, "--use", "attest", "--jwks", write("keys.json", keys))
	var admitted control.GatewayAdmitted
	h.json(&admitted, "gateway", "admit", "gw-a", "--provider", "cluster", "--subject", subject)
	flags := []string{"--name", "gw-a", "--attested-by", given(), "--authority", admitted.Fingerprint}
	o := h.outpost("gw-a", h.gateA, feed)
	o.started("", flags...)
	if out := h.do(h.asReader("GET", profile)...); !strings.Contains(out, "maya@example.com") {
		t.Errorf("through it: %s", out)
	}
	o.kill(syscall.SIGTERM)
	o.started("", flags...) // it has joined already
	o.kill(syscall.SIGKILL)
	if err := os.RemoveAll(o.data); err != nil {
		t.Fatal(err)
	}
	o.start("", flags...)
	if code := o.ended(); code != 1 || !strings.Contains(o.log.String(), "what attests this gateway is not accepted") {
		t.Errorf("with a token that was used: %d\n%s", code, o.log)
	}
	given()
	o.started("", flags...)
	h.do("gateway", "evict", "gw-a", "--reason", "test")
	h.eventually("it hears of it", func() bool { return !o.ready() })
	h.fails(64, "go together", "serve", "--role", "gateway", "--control", "https://"+feed, "--attested-by", "x")
}
