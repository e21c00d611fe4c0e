package issuer

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/fetch"
)

func TestRedirect(t *testing.T) {
	d := document{Redirects: []string{"https://app.example/back", "http://127.0.0.1/callback", "http://localhost:3000/cb", "http://[::1]/callback", "cursor://anysphere.cursor/callback", "http://evil.example/x", "javascript://x/%0aalert(1)"}}
	for s, want := range map[string]bool{
		"https://app.example/back": true, "https://app.example/back?x": false, "https://app.example/back/": false, "https://app.example:443/back": false, "https://APP.example/back": false,
		"http://127.0.0.1/callback": true, "http://127.0.0.1:5000/callback": true, "http://127.0.0.1:5000/callback/": false, "http://127.0.0.1:5000/other": false, "http://localhost:5000/callback": false,
		"http://localhost:4000/cb": true, "http://[::1]:9/callback": true, "http://127.0.0.1.evil.example/callback": false, "http://127.0.0.1:5000/callback?x=1": false, "http://127.0.0.1:5000/callback#x": false,
		"http://user@127.0.0.1:5000/callback": false, "http://127.0.0.1:5000/%63allback": false, "HTTP://127.0.0.1:5000/callback": false, "cursor://anysphere.cursor/callback": true, "cursor://other/callback": false,
		"http://evil.example/x": false, "javascript://x/%0aalert(1)": false, "": false, "//app.example/back": false,
	} {
		if got := d.redirect(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestDocument(t *testing.T) {
	for body, why := range map[string]string{
		`{"redirect_uris":["https://a.example/b"]}`:                                                    "",
		`{"redirect_uris":["a://b/c"],"grant_types":["authorization_code"],"response_types":["code"]}`: "",
		`{}`: "1 to 32",
		`{"redirect_uris":["data://text/html,x"]}`:                                                  "no address",
		`{"redirect_uris":["https://a.example/#x"]}`:                                                "no address",
		`{"redirect_uris":["http://a.example/"]}`:                                                   "no address",
		`{"redirect_uris":["https://a.example/b"],"token_endpoint_auth_method":"private_key_jwt"}`:  "must be none",
		`{"redirect_uris":["https://a.example/b"],"grant_types":["implicit"]}`:                      "authorization_code",
		`{"redirect_uris":["https://a.example/b"],"client_name":"Bank\u202eevil"}`:                  "printable",
		`{"redirect_uris":["https://a.example/b"],"client_name":"` + strings.Repeat("x", 81) + `"}`: "printable",
	} {
		var d document
		if err := json.Unmarshal([]byte(body), &d); err != nil {
			t.Fatal(err)
		}
		if err := d.check(); (why == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", body, err, why)
		}
	}
}

// FuzzRedirect: whatever a client publishes and asks for, a person is sent only to what
// it published, or to another port of its own machine.
func FuzzRedirect(f *testing.F) {
	f.Add("http://127.0.0.1/callback", "http://127.0.0.1:80/callback")
	f.Add("https://a.example/b", "https://a.example/b")
	f.Fuzz(func(t *testing.T, published, asked string) {
		d := document{Redirects: []string{published}}
		if !d.redirect(asked) {
			return
		}
		u, err := url.Parse(asked)
		if err != nil || u.Host == "" || published != asked && (u.Scheme != "http" || !fetch.Loopback(u.Hostname())) {
			t.Errorf("published %q, and %q is taken", published, asked)
		}
	})
}

// TestDocumentStrict: what a client says of itself has one meaning, and its addresses cannot add to our headers.
func TestDocumentStrict(t *testing.T) {
	for _, body := range []string{
		`{"redirect_uris":["https://a.example/b"],"redirect_uris":["https://b.example/c"]}`,
		`{"redirect_uris":["https://a.example/b"]} {}`,
		"{\"client_name\":\"\xff\",\"redirect_uris\":[\"https://a.example/b\"]}",
		`[]`, ``,
	} {
		if _, err := readDocument([]byte(body)); err == nil {
			t.Errorf("%q is taken", body)
		}
	}
	if d, err := readDocument([]byte(`{"REDIRECT_URIS":["https://b.example/c"],"redirect_uris":["https://a.example/b"],"logo_uri":"x"}`)); err != nil || d.Redirects[0] != "https://a.example/b" {
		t.Errorf("%+v %v", d, err)
	}
	for _, s := range []string{"https://a.example;sandbox/x", "https://a.example,x/y", "http://127.0.0.1;x/callback", "https://a.example'/x", "https://a.example\"/x"} {
		if checkRedirect(s) == nil {
			t.Errorf("%q is taken", s)
		}
	}
	for _, s := range []string{"https://xn--bcher-kva.example:8443/x", "http://[::1]:5000/callback", "https://192.0.2.1/x"} {
		if err := checkRedirect(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}
