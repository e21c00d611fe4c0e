package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/test/port"
)

// below is a house at a path of a host where a proxy has something else as well; the proxy's URL is its too.
func below(t *testing.T, path string, flags ...string) (h *house, host string) {
	addr := port.Free()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	host = "http://" + addr
	var to *url.URL
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }} // Host becomes that of the process
	mux := http.NewServeMux()
	mux.Handle(path+"/", proxy)
	mux.Handle("/.well-known/oauth-authorization-server"+path, proxy)
	mux.Handle("/.well-known/ssf-configuration"+path, proxy)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "another application", http.StatusTeapot) })
	s := &http.Server{Handler: mux}
	h = build(t, append(flags, "--url", host+path)...)
	if to, err = url.Parse("http://" + h.controlA); err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	h.control = host + path
	return h, host
}

// TestBelowPath: everything works at a path of a host that is not Lanyard's alone, and nothing of it is at the rest of the host.
func TestBelowPath(t *testing.T) {
	t.Parallel()
	h, host := below(t, "/nhi", "--local-clients")
	h.settle()
	fetch := func(c *http.Client, at string) (*http.Response, string) {
		t.Helper()
		res, err := c.Get(at)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res, string(b)
	}
	still := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for at, to := range map[string]string{"": "/nhi/", "/console": "/nhi/console/", "/approvals": "/nhi/signin?return=%2Fapprovals", "/console/device?user_code=x": "/nhi/signin?return=%2Fconsole%2Fdevice%3Fuser_code%3Dx"} {
		if res, _ := fetch(still, h.control+at); res.StatusCode/100 != 3 || res.Header.Get("Location") != to {
			t.Errorf("%s leads to %q (%s)", at, res.Header.Get("Location"), res.Status)
		}
	}
	if _, page := fetch(still, h.control+"/signin"); !strings.Contains(page, `href="/nhi/style.css"`) || !strings.Contains(page, `action="/nhi/signin"`) {
		t.Errorf("the links of a page: %s", page)
	}

	// The process itself is there and nowhere else, but for its health.
	if status, text := h.get("http://"+h.controlA+"/v1/status", ""); status != 404 || !strings.Contains(text, "Lanyard is at /nhi/") {
		t.Errorf("without the path: %d %s", status, text)
	}
	for _, at := range []string{"/healthz", "/readyz"} {
		if status, _ := h.get("http://"+h.controlA+at, ""); status != 200 {
			t.Errorf("%s: %d", at, status)
		}
	}

	// The console, and a sign-in with a provider, whose cookies no other application of the host is shown.
	res, page := fetch(still, h.control+"/console/")
	if res.StatusCode == 404 && strings.Contains(page, "not in this binary") {
		t.Log("the binary is without a console")
	} else {
		if !strings.Contains(page, `<base href="/nhi/console/"`) {
			t.Errorf("the console's page: %s", page)
		}
		if res, _ := fetch(still, h.control+"/console/"+h.first(`src="(?:\./)?(assets/[^"]+\.js)"`, page)); res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/javascript") {
			t.Errorf("the console's script: %s %s", res.Status, res.Header.Get("Content-Type"))
		}
	}
	secret := filepath.Join(h.dir, "secret")
	if err := os.WriteFile(secret, []byte("client-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.do("provider", "put", "sso", "--issuer", h.provider(), "--use", "sign_in", "--client-id", "lanyard", "--client-secret-file", secret)
	maya := h.guest()
	if at, page := maya.enters("maya"); at != "/nhi/approvals" || !strings.Contains(page, `action="/nhi/signout"`) {
		t.Fatalf("%s %s\n%s", at, page, h.log)
	}
	shown := func(path string) string {
		u, err := url.Parse(host + path)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(maya.Jar.Cookies(u))
	}
	if at, beside := shown("/nhi/v1/me"), shown("/nhix")+shown("/"); !strings.Contains(at, "lanyard=") || strings.Contains(beside, "lanyard") {
		t.Errorf("cookies at the path %s, and beside it %s", at, beside)
	}
	if status, answer := maya.ask("GET", "/v1/me", ""); status != 200 || !strings.Contains(answer, `"owner":"maya"`) {
		t.Errorf("%d %s", status, answer)
	}
	if status, answer := maya.ask("POST", "/v1/identities/reader/suspend", `{"reason":"drill"}`); status != 200 {
		t.Errorf("a change from a page: %d %s", status, answer)
	}
	h.do("identity", "resume", "reader", "--reason", "drill")

	// lanyard login and what it is let in with; the administrator's link.
	h.Setenv("XDG_CONFIG_HOME", filepath.Join(h.dir, "config"))
	maya.login()
	if out := h.do("--server", h.control, "identity", "list"); !strings.Contains(out, "reader") {
		t.Errorf("what maya sees: %s", out)
	}
	link := h.first(`(http://\S+/signin\?code=\S+)`, h.log.String())
	u, err := url.Parse(link)
	if err != nil || !strings.HasPrefix(link, h.control+"/signin?") {
		t.Fatal(link, err)
	}
	if res, err = h.guest().PostForm(h.control+"/signin", u.Query()); err != nil || res.Request.URL.Path != "/nhi/console/" {
		t.Errorf("the administrator's link leads to %v %v", res.Request.URL, err)
	}
	res.Body.Close()
	var code control.SignInCode
	if h.json(&code, "owner", "sign-in", "maya"); code.URL != h.control+"/signin" {
		t.Errorf("where a code is entered: %s", code.URL)
	}

	// Machines find the issuer from a refusal of the gateway, with what RFC 9728 and RFC 8414 say.
	for _, document := range []string{"oauth-authorization-server", "ssf-configuration"} {
		var found map[string]any
		_, text := fetch(still, host+"/.well-known/"+document+"/nhi")
		if err := json.Unmarshal([]byte(text), &found); err != nil || found["issuer"] != h.control {
			t.Errorf("%s: %s", document, text)
		}
		for member, at := range found {
			if at, ok := at.(string); ok && (strings.HasSuffix(member, "_endpoint") || strings.HasSuffix(member, "_uri")) && !strings.HasPrefix(at, h.control+"/") {
				t.Errorf("%s has %s %s", document, member, at)
			}
		}
	}
	if _, text := fetch(still, h.gate+"/.well-known/oauth-protected-resource/mail"); !strings.Contains(text, `"authorization_servers":["`+h.control+`"]`) {
		t.Errorf("the metadata of mail: %s", text)
	}
	var key map[string]any
	b, err := os.ReadFile(filepath.Join(h.dir, "reader.key.jwk"))
	if err == nil {
		err = json.Unmarshal(b, &key)
	}
	if err != nil {
		t.Fatal(err)
	}
	var seen struct {
		Introspection, AfterRevocation map[string]any
		Calls                          []answer
	}
	node(t, "oauth4webapi.mjs", map[string]any{"issuer": h.control, "client": "spiffe://lanyard.local/agent/reader", "key": key, "alg": "EdDSA", "resource": h.gate + "/mail",
		"calls": []map[string]any{{"method": "GET", "url": h.gate + "/mail" + profile}}}, &seen)
	if seen.Introspection["active"] != true || len(seen.Calls) != 1 || seen.Calls[0].Status != 200 {
		t.Errorf("a client that discovers the issuer: %+v", seen)
	}
	h.do(h.asReader("GET", profile)...)
	h.do("task", "open", "reader", "--purpose", "Looks", "--upstream", "mail", "--action", "read") // by the socket, which has no path
}

// TestURLWithPath: what cannot be the path of a public URL is refused at the start, with what is meant.
func TestURLWithPath(t *testing.T) {
	t.Parallel()
	h := &house{T: t, dir: t.TempDir()}
	for _, at := range []string{"https://example.com/a//b", "https://example.com/a/../b", "https://example.com/a%2Fb", "https://example.com/a?b", "https://u@example.com/a", "https://example.com/a b"} {
		h.fails(64, "is no URL like", "serve", "--listen", port.Free(), "--url", at)
	}
	h.fails(64, "--gateway-url", "serve", "--listen", port.Free(), "--gateway-url", "https://example.com/gateway")
}
