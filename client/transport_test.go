package client

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// TestBelow: an upload of Google's clients goes to the upstream that they were made for, and nothing else is moved.
func TestBelow(t *testing.T) {
	for _, c := range [][3]string{
		{"http://gate:8441/mail", "http://gate:8441/upload/gmail/v1/users/me/messages/send?uploadType=multipart", "http://gate:8441/mail/upload/gmail/v1/users/me/messages/send?uploadType=multipart"},
		{"http://gate:8441/base/mail/", "http://gate:8441/upload/a%2Fb", "http://gate:8441/base/mail/upload/a%2Fb"},
		{"http://mail.gate:8441", "http://mail.gate:8441/upload/x", "http://mail.gate:8441/upload/x"},
		{"http://gate:8441/upload", "http://gate:8441/upload/x", "http://gate:8441/upload/x"},
		{"http://gate:8441/mail", "http://gate:8441/drive/upload/x", "http://gate:8441/drive/upload/x"},
		{"http://gate:8441/mail", "http://other:8441/upload/x", "http://other:8441/upload/x"},
	} {
		u, err := url.Parse(c[1])
		if err != nil {
			t.Fatal(err)
		}
		if (&Transport{Audience: c[0]}).below(u); u.String() != c[2] {
			t.Errorf("%s of %s became %s", c[1], c[0], u)
		}
	}
}

// TestRedirect: what the system behind the gateway leads elsewhere is shown no token there, by whatever way; at the gateway it is.
func TestRedirect(t *testing.T) {
	saw := map[string]string{}
	var gate, evil *httptest.Server
	see := func(w http.ResponseWriter, r *http.Request) {
		host := "gate"
		if "http://"+r.Host == evil.URL {
			host = "evil"
		}
		saw[host+r.URL.Path] = r.Header.Get("Authorization") + r.Header.Get("DPoP")
		switch host + r.URL.Path {
		case "gate/mail/away":
			http.Redirect(w, r, evil.URL+"/one", http.StatusFound)
		case "evil/one":
			http.Redirect(w, r, "/two", http.StatusFound)
		case "gate/mail/near":
			http.Redirect(w, r, "/mail/there", http.StatusFound)
		}
	}
	gate, evil = httptest.NewServer(http.HandlerFunc(see)), httptest.NewServer(http.HandlerFunc(see))
	defer gate.Close()
	defer evil.Close()
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"access_token":"secret","token_type":"Bearer","expires_in":300}`)
	}))
	defer issuer.Close()
	s, err := New(Config{Issuer: issuer.URL, Identity: "spiffe://lanyard.local/agent/bot", APIKey: "key"})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/mail/away", "/mail/near"} {
		res, err := s.HTTPClient(gate.URL + "/mail").Get(gate.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	for where, want := range map[string]string{"gate/mail/away": "Bearer secret", "evil/one": "", "evil/two": "", "gate/mail/near": "Bearer secret", "gate/mail/there": "Bearer secret"} {
		if got, there := saw[where]; !there || got != want {
			t.Errorf("%s: was shown %q, want %q", where, got, want)
		}
	}
}
