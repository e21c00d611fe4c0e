package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/graph"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// onedrive is Graph, which has the content of a file on another host, at an address that is a credential.
type onedrive struct {
	w       *world
	content *httptest.Server
	leads   string // where /content leads; empty: to content
	asked   []*http.Request
}

const preauthenticated = "/y23v?tempauth=s3cret"

func newOnedrive(t *testing.T) *onedrive {
	o := &onedrive{}
	o.content = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.asked = append(o.asked, r)
		w.Header()["Set-Cookie"], w.Header()["X-Where"] = []string{"a=b"}, []string{"here"}
		switch r.URL.Path {
		case "/gone":
			http.Error(w, "expired: "+r.URL.String(), http.StatusForbidden)
		case "/round":
			http.Redirect(w, r, o.content.URL+"/round", http.StatusFound)
		case "/once":
			http.Redirect(w, r, o.content.URL+preauthenticated, http.StatusFound)
		default:
			http.ServeContent(w, r, "accounts.txt", time.Unix(1e9, 0), strings.NewReader("Pay DE02120300000000202051 today."))
		}
	}))
	t.Cleanup(o.content.Close)
	o.w = newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/content") {
			to := o.leads
			if to == "" {
				to = o.content.URL + preauthenticated
			}
			w.Header()["Location"] = []string{to}
			w.WriteHeader(http.StatusFound)
			_, _ = io.WriteString(w, "see "+to)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"f1","name":"accounts.txt","file":{"mimeType":"text/plain"},"lastModifiedDateTime":"2026-11-26T10:00:00Z","parentReference":{"id":"root"},"permissions":[],"@microsoft.graph.downloadUrl":"`+o.content.URL+preauthenticated+`"}`)
	}), func(c *Config) { c.Families = []connector.Family{graph.Family()} })
	o.w.applyUpstream(&policy.Upstream{Name: "graph", URL: o.w.back.URL, Owner: "maya", Environment: "production", Family: "graph", Description: []byte("v1.0"), Version: 2})
	o.w.apply(feed.Change{Grant: all("bot"), Removed: true})
	return o
}

func (o *onedrive) grant(l *layer.Layers) {
	o.w.apply(feed.Change{Grant: &policy.Grant{ID: "bot/graph", Identity: id("bot"), Upstream: "graph", Layers: l, Cedar: "permit(principal, action, resource);", Until: o.w.g.Now().Add(time.Hour)}})
}

func (o *onedrive) get(target string, header http.Header) (*http.Response, string) {
	o.w.t.Helper()
	c := o.w.claims("bot")
	c.Audience = testScope + "/graph"
	r := o.w.request("GET", "/graph/v1.0/me/drive/items/f1"+target, o.w.mint(c), nil)
	for name, v := range header {
		r.Header[name] = v
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		o.w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		o.w.t.Fatal(err)
	}
	return res, string(b)
}

// TestContentElsewhere: the content of a file comes from the host that Graph names, through the gateway and its layers; its address goes to nobody,
// and nobody's credential to that host.
func TestContentElsewhere(t *testing.T) {
	o := newOnedrive(t)
	for name, c := range map[string]struct {
		layers *layer.Layers
		want   string
	}{
		"as it is":     {nil, "Pay DE02120300000000202051 today."},
		"under layers": {&layer.Layers{Reduce: layer.Reduce{Mask: []string{"accounts"}}}, "Pay [account] today."},
	} {
		o.grant(c.layers)
		for _, leads := range []string{"", o.content.URL + "/once"} {
			o.leads, o.asked = leads, nil
			res, s := o.get("/content", http.Header{"Cookie": {"a=b"}})
			if res.StatusCode != http.StatusOK || s != c.want || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("%s: %d %s %v", name, res.StatusCode, s, res.Header)
			}
			if len(res.Header["Location"])+len(res.Header["Set-Cookie"])+len(res.Header["X-Where"]) > 0 {
				t.Errorf("%s: more than the content came: %v", name, res.Header)
			}
			for _, r := range o.asked {
				for _, h := range []string{"Authorization", "Traceparent", "Cookie", "Dpop", "Referer"} {
					if r.Header[h] != nil {
						t.Errorf("%s: the other host was shown %s: %s", name, h, r.Header[h])
					}
				}
			}
		}
	}
	o.leads = ""
	o.grant(&layer.Layers{Reduce: layer.Reduce{Mask: []string{"accounts"}}})
	if res, s := o.get("", nil); res.StatusCode != http.StatusOK || strings.Contains(s, "tempauth") || strings.Contains(s, "downloadUrl") {
		t.Errorf("an address around the gateway is shown: %d %s", res.StatusCode, s)
	}
	o.grant(&layer.Layers{Within: layer.Within{Folders: []string{"other"}}})
	o.asked = nil
	if res, s := o.get("/content", nil); res.StatusCode != http.StatusNotFound || len(o.asked) > 0 {
		t.Errorf("what the layers hide: %d %s, asked for %d times", res.StatusCode, s, len(o.asked))
	}
	o.grant(nil)
	if res, s := o.get("/content", http.Header{"Range": {"bytes=0-2"}}); res.StatusCode != http.StatusPartialContent || s != "Pay" {
		t.Errorf("a part: %d %s", res.StatusCode, s)
	}
}

// TestContentNowhere: what cannot be had from there, or is where the gateway does not go, is said without the address.
func TestContentNowhere(t *testing.T) {
	o := newOnedrive(t)
	byName := strings.Replace(o.content.URL, "127.0.0.1", "localhost", 1)
	for _, l := range []*layer.Layers{nil, {Time: layer.Time{Days: 10000}}} {
		o.grant(l)
		for leads, want := range map[string]int{
			o.content.URL + "/gone": 502, o.content.URL + "/round": 502, "/relative": 502, "http://169.254.169.254/latest?tempauth=1": 502, "https://10.0.0.1/?tempauth=1": 502, "http://192.0.2.1/": 502, "ftp://127.0.0.1/": 502,
			"http://user:tempauth@" + strings.TrimPrefix(o.content.URL, "http://") + "/": 502, "http:opaque": 502, "": 200, byName + preauthenticated: 200,
		} {
			o.leads = leads
			res, s := o.get("/content", nil)
			if res.StatusCode != want || strings.Contains(s, "tempauth") || strings.Contains(s, "/gone") || len(res.Header["Location"]) > 0 {
				t.Errorf("%s: %d %s", leads, res.StatusCode, s)
			}
		}
	}
}

// TestLeads: an upstream elsewhere leads to nobody by plain http, and to this machine not at all.
func TestLeads(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"https://graph.microsoft.com", "https://b0mpua-by3301.files.1drv.com/y23v", true},
		{"https://graph.microsoft.com", "HTTPS://contoso.sharepoint.com/download.aspx?tempauth=x#y", true},
		{"https://graph.microsoft.com", "http://b0mpua-by3301.files.1drv.com/y23v", false},
		{"https://graph.microsoft.com", "http://graph.microsoft.com/x", false},
		{"https://graph.microsoft.com", "http://127.0.0.1/x", false},
		{"http://10.0.0.7", "http://10.0.0.7/x", true},
		{"http://10.0.0.7", "http://10.0.0.7:81/x", false},
		{"http://127.0.0.1:1", "http://localhost:2/x", true},
	} {
		base, err := url.Parse(c.from)
		if err != nil {
			t.Fatal(err)
		}
		if u, ok := (&backend{base: *base}).leads([]string{c.to}); ok != c.ok || ok && u.Fragment != "" {
			t.Errorf("from %s to %s: %v, %v", c.from, c.to, ok, u)
		}
	}
	if _, ok := (&backend{}).leads([]string{"https://a.example", "https://b.example"}); ok {
		t.Error("two addresses are gone to")
	}
}
