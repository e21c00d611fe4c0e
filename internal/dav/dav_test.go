package dav

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

func TestPaths(t *testing.T) {
	c, err := New(Config{URL: "https://dav.example.com/home/maya", User: "maya", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	for href, want := range map[string]string{
		"/home/maya/":                        "/home/maya",
		"/home/maya/a%20b%25c":               "/home/maya/a%20b%25c",
		"https://dav.example.com/home/x":     "/home/x",
		"https://DAV.example.com:443/home/":  "/home",
		"/home/%c3%bcber":                    "/home/%C3%BCber",
		"/home/../etc":                       "",
		"/home/%2e%2e/etc":                   "",
		"/home/a%2fb":                        "",
		"/home/a%5cb":                        "",
		"/home//x":                           "",
		"/home/%00":                          "",
		"/home/%zz":                          "",
		"/home/%ff":                          "",
		"home/x":                             "",
		"//evil.example/home/maya/x":         "",
		"http://dav.example.com/home/maya/x": "",
		"https://dav.example.com:8443/home/maya/x": "",
		"https://maya:x@dav.example.com/home/x":    "",
		"https://evil.example/home/maya/x":         "",
	} {
		p, err := c.Place(href)
		if (err != nil) != (want == "") || err == nil && p.Escaped(false) != want {
			t.Errorf("%s: %v %v, want %q", href, p, err, want)
		}
	}
	in, ok := Path{"home", "maya", "x"}.Below(c.Root())
	if !ok || len(in) != 1 || in[0] != "x" {
		t.Errorf("below: %v %v", in, ok)
	}
	if _, ok := (Path{"home", "mayas"}).Below(c.Root()); ok {
		t.Error("a name that begins like the root's is below it")
	}
}

func TestNew(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://dav.example.com": true, "http://127.0.0.1:5232/": true, "http://[::1]:1/": true, "http://localhost:1/": true,
		"http://dav.example.com": false, "ftp://dav.example.com": false, "dav.example.com": false, "https://maya:x@dav.example.com": false,
		"https://dav.example.com/?x": false, "https://dav.example.com/a/../b": false, "": false,
	} {
		if _, err := New(Config{URL: url, User: "maya", Password: "x"}); (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := New(Config{URL: "https://dav.example.com", User: "maya:x", Password: "x"}); err == nil {
		t.Error("a user with a colon is another user and another password")
	}
}

// TestElsewhere: a redirect to another server is not followed, and nothing of the account is sent there.
func TestElsewhere(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other server was asked") }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	c, err := New(Config{URL: server.URL, User: "maya", Password: "x"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Ask(context.Background(), "PROPFIND", nil, true, "0", "<x/>")
	if Code(err) != 307 {
		t.Errorf("%v", err)
	}
}

// TestCertificate: the password goes to a server with a certificate of the authority that was named, and to no other.
func TestCertificate(t *testing.T) {
	asked := 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user == "maya" && password == "x" {
			asked++
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	for _, known := range []bool{false, true} {
		config := Config{URL: server.URL, User: "maya", Password: "x"}
		if known {
			config.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		}
		c, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Send(context.Background(), Request{Method: "GET"})
		if (err == nil) != known || asked != map[bool]int{true: 1}[known] {
			t.Errorf("known %v: %v, asked %d times", known, err, asked)
		}
		c.Close()
	}
}

func TestRead(t *testing.T) {
	c, err := New(Config{URL: "https://dav.example.com/", User: "maya", Password: "x"})
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.read(strings.NewReader(`<?xml version="1.0"?><a:multistatus xmlns:a="DAV:"><a:response><a:href>/x/</a:href>
<a:propstat><a:prop><a:getetag>W/"1"</a:getetag><a:resourcetype><a:collection/></a:resourcetype></a:prop><a:status>HTTP/1.1 200 OK</a:status></a:propstat>
<a:propstat><a:prop><a:displayname>no</a:displayname></a:prop><a:status>HTTP/1.1 404 Not Found</a:status></a:propstat></a:response>
<a:response><a:href>https://evil.example/x</a:href><a:propstat><a:prop><a:getetag>"2"</a:getetag></a:prop><a:status>HTTP/1.1 200 OK</a:status></a:propstat></a:response>
<a:response><a:href>/gone</a:href><a:status>HTTP/1.1 404 Not Found</a:status></a:response></a:multistatus>`))
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v %v", list, err)
	}
	if one := list[0]; one.Prop(DAV, "getetag").Value() != `W/"1"` || one.Prop(DAV, "displayname") != nil || one.Prop(DAV, "resourcetype").Find(DAV, "collection") == nil {
		t.Errorf("%+v", one)
	}
	for _, bad := range []string{"", "<x/>", "<multistatus/>", `<multistatus xmlns="DAV:">`} {
		if _, err := c.read(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func FuzzRead(f *testing.F) {
	c, err := New(Config{URL: "https://dav.example.com/home", User: "maya", Password: "x"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`<multistatus xmlns="DAV:"><response><href>/home/x</href><propstat><prop><getetag>"1"</getetag></prop><status>HTTP/1.1 200 OK</status></propstat></response></multistatus>`)
	f.Fuzz(func(t *testing.T, s string) {
		list, err := c.read(strings.NewReader(s))
		for _, one := range list {
			for _, name := range one.Path {
				if err != nil || CheckName(name) != nil {
					t.Fatalf("%q: %v %v", s, one.Path, err)
				}
			}
		}
	})
}

func FuzzPlace(f *testing.F) {
	c, err := New(Config{URL: "https://dav.example.com/home", User: "maya", Password: "x"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("/home/%2e%2e/x")
	f.Add("https://dav.example.com/a%252fb")
	f.Fuzz(func(t *testing.T, href string) {
		p, err := c.Place(href)
		if err != nil {
			return
		}
		for _, name := range p {
			if CheckName(name) != nil {
				t.Fatalf("%q has a segment %q", href, name)
			}
		}
		back, err := ParsePath(p.Escaped(false))
		if err != nil || back.Escaped(true) != p.Escaped(true) {
			t.Fatalf("%q: %v, and back %v %v", href, p, back, err)
		}
	})
}

// TestLargeAnswers: an answer of as many bytes as one may have does not take many times as much memory.
func TestLargeAnswers(t *testing.T) {
	for name, of := range map[string]string{"elements": "<a/>", "attributes": "<a " + strings.Repeat(`a="" `, 1000) + "/>"} {
		c, err := New(Config{URL: "https://dav.example.com", User: "u", Password: "p"})
		if err != nil {
			t.Fatal(err)
		}
		answer := `<multistatus xmlns="DAV:">` + strings.Repeat(of, 12<<20/len(of)) + `</multistatus>`
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		list, err := c.read(strings.NewReader(answer))
		runtime.ReadMemStats(&after)
		if grown := (after.TotalAlloc - before.TotalAlloc) >> 20; len(list) != 0 || err == nil || grown > 600 {
			t.Errorf("%s: %d resources, %v, %d MB", name, len(list), err, grown)
		}
	}
}
