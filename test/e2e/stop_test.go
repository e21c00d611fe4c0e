package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/lanyard-dev/lanyard/client"
)

// wire notes what each server answered, as in "gateway 401".
type wire struct {
	h    *house
	mu   sync.Mutex
	seen []string
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	who := "gateway"
	if r.URL.Host == w.h.controlA {
		who = "issuer"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, fmt.Sprint(who, " ", res.StatusCode))
	return res, nil
}

// heard is what was answered since it was last asked.
func (w *wire) heard() (seen []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen, w.seen = w.seen, nil
	return seen
}

// agent is the client that agents use, with a key that lanyard keygen made.
func (w *wire) agent(name string) *client.Source {
	w.h.Helper()
	s, err := client.New(client.Config{Issuer: w.h.control, Identity: "spiffe://lanyard.local/agent/" + name, KeyFile: filepath.Join(w.h.dir, name+".key.jwk"), Base: w})
	if err != nil {
		w.h.Fatal(err)
	}
	return s
}

// active asks the issuer whether a token is good, as the operator does.
func (h *house) active(admin, token string) bool {
	h.Helper()
	req, err := http.NewRequest("POST", h.control+"/oauth/introspect", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		h.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+admin)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	var reply struct{ Active *bool }
	if err := json.NewDecoder(res.Body).Decode(&reply); err != nil || res.StatusCode != 200 || reply.Active == nil {
		h.Fatalf("introspection: %s %v", res.Status, err)
	}
	return *reply.Active
}

// TestHeldToken: an agent that still runs and holds a token bound to its key is
// refused by the gateway itself, not only by an issuer that gives it no other one.
func TestHeldToken(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	admin := h.first(`(lyd_admin_\w+)`, h.log.String())
	w := &wire{h: h}
	badge := w.agent("reader")
	mail := badge.HTTPClient(h.gate + "/mail")
	get := func() (int, error) {
		res, err := mail.Get(h.gate + "/mail" + profile)
		if err != nil {
			return 0, err
		}
		res.Body.Close()
		return res.StatusCode, nil
	}
	if status, err := get(); status != 200 {
		t.Fatalf("%d %v", status, err)
	}
	held, err := badge.Token(t.Context(), h.gate+"/mail")
	if err != nil || held.Type != "DPoP" {
		t.Fatalf("%v %+v", err, held)
	}
	if !h.active(admin, held.Access) {
		t.Error("introspection: not active before the kill")
	}
	w.heard()
	h.do("kill", "reader", "--reason", "test")
	if _, err := get(); err == nil || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("the call after the kill: %v", err)
	}
	if got := w.heard(); !slices.Equal(got, []string{"gateway 401", "issuer 401"}) {
		t.Errorf("refused by %v", got)
	}
	if h.active(admin, held.Access) {
		t.Error("introspection: active after the kill")
	}
	h.do("restore", "reader", "--reason", "test")
	if h.active(admin, held.Access) {
		t.Error("introspection: active again after restore")
	}
	if _, err := get(); err == nil {
		t.Error("its old key is good again after restore")
	}
	if err := os.Rename(filepath.Join(h.dir, "reader.key.jwk"), filepath.Join(h.dir, "old.key.jwk")); err != nil {
		t.Fatal(err)
	}
	h.fails(3, "revoked", "credential", "add", "reader", "--public-key", "reader.jwk")
	os.Remove(filepath.Join(h.dir, "reader.jwk"))
	h.do("keygen", "reader")
	h.do("credential", "add", "reader", "--public-key", "reader.jwk")
	h.do(h.asReader("GET", profile)...)
	h.fails(3, "", h.call("mail", "GET", profile, "--as", "reader", "--key", "old.key.jwk")...)
}

// TestStreamCut: what runs through the gateway when the cord is pulled ends at once, on both sides.
func TestStreamCut(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{}, 8) // the upstream saw its caller go
	feed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; ; i++ {
			fmt.Fprintf(w, "data: %d\n\n", i)
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				gone <- struct{}{}
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}))
	t.Cleanup(func() { feed.CloseClientConnections(); feed.Close() })
	h := build(t)
	h.settle()
	h.do("upstream", "put", "ticker", "--url", feed.URL, "--owner", "maya", "--pattern", "GET /ticks -> ticks.watch read /ticks")
	h.do("grant", "put", "reader", "ticks", "--upstream", "ticker", "--action", "read")
	h.do("identity", "register", "bystander", "--owner", "maya", "--purpose", "Watches too")
	h.do("keygen", "bystander")
	h.do("credential", "add", "bystander", "--public-key", "bystander.jwk")
	h.do("grant", "put", "bystander", "ticks", "--upstream", "ticker", "--action", "read")
	w := &wire{h: h}
	watch := func(name string) (lines *bufio.Scanner, ended chan time.Time) {
		res, err := w.agent(name).HTTPClient(h.gate + "/ticker").Get(h.gate + "/ticker/ticks")
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%v %+v", err, res)
		}
		t.Cleanup(func() { res.Body.Close() })
		lines, ended = bufio.NewScanner(res.Body), make(chan time.Time, 1)
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), "data: ") {
			t.Fatalf("no event of %s came: %q", name, lines.Text())
		}
		return lines, ended
	}
	follow := func(lines *bufio.Scanner, ended chan time.Time) {
		for lines.Scan() {
		}
		ended <- time.Now()
	}
	lines, ended := watch("reader")
	other, _ := watch("bystander")
	go follow(lines, ended)
	var k struct {
		Receipt struct{ Committed time.Time }
	}
	h.json(&k, "kill", "reader", "--reason", "test")
	select {
	case at := <-ended:
		t.Logf("cut after %s", at.Sub(k.Receipt.Committed))
	case <-time.After(20 * time.Second):
		t.Fatal("the stream still runs")
	}
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the upstream still sends")
	}
	for range 20 { // nobody else's is
		if !other.Scan() {
			t.Fatalf("another identity's stream was cut too: %v", other.Err())
		}
	}
	_, ended = watch("bystander")
	go follow(other, ended)
	h.do("kill", "--upstream", "ticker", "--reason", "test")
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the upstream was killed, and a stream from it still runs")
	}
}

// TestAPIKey: shown once, kept nowhere, good for lanyard call, and dead when revoked.
func TestAPIKey(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	h.do("identity", "register", "scanner", "--kind", "api_key", "--owner", "maya", "--purpose", "A client that can do no better")
	h.do("grant", "put", "scanner", "read-mail", "--upstream", "mail", "--action", "read")
	out := h.do("credential", "add", "scanner", "--api-key")
	key, id := h.first(`(lyd_\S+)`, out), h.first(`(cred_\S+)`, out)
	asScanner := h.call("mail", "GET", profile, "--as", "api_key/scanner")
	h.Setenv("LANYARD_API_KEY", key)
	if out := h.do(asScanner...); !strings.Contains(out, "maya@example.com") {
		t.Error(out)
	}
	h.fails(3, "scanner may not do gmail.users.messages.delete", h.call("mail", "DELETE", "/gmail/v1/users/me/messages/1", "--as", "api_key/scanner")...)
	for _, args := range [][]string{{"identity", "show", "scanner"}, {"identity", "list"}, {"status"}} {
		if r := h.try(append(args, "-o", "json")...); strings.Contains(r.out+r.err, key) {
			t.Errorf("lanyard %v shows the key", args)
		}
	}
	h.eventually("its call is on record", func() bool {
		return strings.Contains(h.do("audit", "search", "--identity", "scanner", "--type", "request"), "scanner (maya)")
	})
	if out := h.do("audit", "search", "--limit", "1000", "-o", "json"); strings.Contains(out, key) {
		t.Error("the record holds the key")
	}
	h.Setenv("LANYARD_API_KEY", key[:len(key)-1]+"!")
	h.fails(3, "invalid_client", asScanner...)
	h.Setenv("LANYARD_API_KEY", key)
	h.do("revoke", "credential", id, "--reason", "test")
	h.fails(3, "invalid_client", asScanner...)
	h.stop() // what was in memory is on disk now
	err := filepath.WalkDir(h.data, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(key)) {
			t.Errorf("%s holds the key", d.Name())
		}
		return err
	})
	if err != nil || strings.Contains(h.log.String(), key) {
		t.Errorf("the key lies about (%v)", err)
	}
}

// TestHeldAtTheEnd: at an identity's end the gateway refuses the token it holds and cuts what runs, and nobody had to do a thing.
func TestHeldAtTheEnd(t *testing.T) {
	t.Parallel()
	feed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/now" {
			return
		}
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(func() { feed.CloseClientConnections(); feed.Close() })
	h := build(t)
	h.settle()
	h.do("upstream", "put", "clock", "--url", feed.URL, "--owner", "maya", "--pattern", "GET /{what} -> clock.read read /{what}")
	end := time.Now().Add(8 * time.Second).Truncate(time.Second)
	h.do("identity", "register", "short", "--owner", "maya", "--purpose", "Stops soon", "--expires", end.UTC().Format(time.RFC3339))
	h.do("keygen", "short")
	h.do("credential", "add", "short", "--public-key", "short.jwk")
	h.do("grant", "put", "short", "read", "--upstream", "clock", "--action", "read")
	config := clientcredentials.Config{ClientID: "spiffe://lanyard.local/agent/short", ClientSecret: h.first(`(lyd_\S+)`, h.do("credential", "add", "short", "--api-key", "--expires", end.UTC().Format(time.RFC3339))),
		TokenURL: h.control + "/oauth/token", EndpointParams: url.Values{"resource": {h.gate + "/clock"}}, AuthStyle: oauth2.AuthStyleInHeader}
	token, err := config.Token(t.Context())
	if err != nil || token.Expiry.After(end.Add(time.Second)) {
		t.Fatalf("%v, the token is said to last until %v, its bearer until %s", err, token, end)
	}
	w := &wire{h: h}
	stream, err := w.agent("short").HTTPClient(h.gate + "/clock").Get(h.gate + "/clock/stream")
	if err != nil || stream.StatusCode != 200 {
		t.Fatalf("%v %+v", err, stream)
	}
	defer stream.Body.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, stream.Body)
	}()
	if status, body := h.get(h.gate+"/clock/now", token.AccessToken); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	h.eventually("the end has come", func() bool {
		status, _ := h.get(h.gate+"/clock/now", token.AccessToken)
		return status == 401
	})
	if late := time.Since(end); late < 0 {
		t.Errorf("refused %s before its end", -late)
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("its stream still runs")
	}
}

// TestRestart: what was stopped stays stopped, what was good stays good, and the record goes on as one.
func TestRestart(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	h.do("identity", "register", "old", "--kind", "api_key", "--owner", "maya", "--purpose", "A client that can do no better")
	h.do("grant", "put", "old", "read", "--upstream", "mail", "--action", "read")
	config := clientcredentials.Config{ClientID: "spiffe://lanyard.local/api_key/old", ClientSecret: h.first(`(lyd_\S+)`, h.do("credential", "add", "old", "--api-key")),
		TokenURL: h.control + "/oauth/token", EndpointParams: url.Values{"resource": {h.gate + "/mail"}}, AuthStyle: oauth2.AuthStyleInHeader}
	tokens := map[string]int{} // with the status that each is to get
	for range 2 {
		token, err := config.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h.do("keys", "rotate")
		tokens[token.AccessToken] = 200
	}
	for token := range tokens {
		h.do("revoke", "token", token, "--reason", "test")
		tokens[token] = 401
		break
	}
	h.do("upstream", "put", "shut", "--url", h.office, "--google", "drive/v3", "--owner", "maya", "--credential-env", "OFFICE_SECRET")
	h.do("grant", "put", "reader", "read-shut", "--upstream", "shut", "--action", "read")
	h.do("kill", "--upstream", "shut", "--reason", "test")
	admin, key := h.first(`(lyd_admin_\w+)`, h.log.String()), h.do("audit", "key")
	events := size(t, h.do("status", "-o", "json"))
	for range 2 {
		h.stop()
		h.start()
		for token, want := range tokens {
			if status, body := h.get(h.gate+"/mail"+profile, token); status != want {
				t.Errorf("%d %s, want %d", status, body, want)
			}
		}
		h.do(h.asReader("GET", profile)...)
		h.fails(3, "the cord was pulled on it", h.call("shut", "GET", "/drive/v3/files", "--as", "reader", "--key", "reader.key.jwk")...)
		if status, _ := h.get(h.control+"/v1/status", admin); status != 200 {
			t.Errorf("the admin token: %d", status)
		}
		now := size(t, h.do("status", "-o", "json"))
		if now <= events || h.do("audit", "key") != key {
			t.Errorf("%d events after %d, and the key is %s", now, events, key)
		}
		events = now
		h.do("audit", "verify")
	}
}
