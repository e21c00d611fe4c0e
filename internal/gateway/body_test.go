package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// talker means what the body of a POST says: "read", or "write"; it answers a no in its own way, and its "list" is narrowed.
type talker struct{ anything }

func (talker) MaxBody(r *connector.Request) int64 {
	if r.Method == http.MethodPost {
		return 1000
	}
	return 0
}

func (talker) Recognise(r *connector.Request) (policy.Call, error) {
	switch word, _, _ := strings.Cut(string(r.Body), " "); word {
	case "read", "list":
		return policy.Call{Action: "things.read", Class: policy.Read, Resource: word}, nil
	case "write":
		return policy.Call{Action: "things.write", Class: policy.Write, Resource: word}, nil
	}
	return policy.Call{}, fmt.Errorf("%w: %.10q", connector.ErrUnrecognised, r.Body)
}

func (talker) Refusal(r *connector.Request, reason string, cause error) (int, string, []byte) {
	switch {
	case bytes.HasPrefix(r.Body, []byte("mumble")):
		return 0, "", nil
	case cause != nil:
		return 400, "text/plain", []byte("what? " + reason)
	}
	return 200, "text/plain", []byte("sorry: " + reason)
}

func (talker) Lists(call policy.Call) bool { return call.Resource == "list" }

func (talker) Filter(_ *connector.Request, kind string, reply []byte, may func(policy.Call) bool) ([]byte, connector.Offers, error) {
	if kind != "text/plain" {
		return nil, nil, fmt.Errorf("it is %s", kind)
	}
	var out []byte
	for _, name := range strings.Fields(string(reply)) {
		if may(policy.Call{Action: "things." + name, Class: policy.Class(name), Resource: "x"}) {
			out = append(out, name+" "...)
		}
	}
	return out, nil, nil
}

var (
	_ connector.BodyReader = talker{}
	_ connector.Refuser    = talker{}
	_ connector.Lister     = talker{}
)

// TestBody: where the body says what is meant, what was read is what is sent, and nothing else passes.
func TestBody(t *testing.T) {
	type got struct {
		body, encoding string
		length         int64
	}
	seen := make(chan got, 10)
	reply, kind := "", "text/plain"
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen <- got{string(b), r.Header.Get("Accept-Encoding"), r.ContentLength}
		rw.Header().Set("Content-Type", kind)
		io.WriteString(rw, reply)
	}), func(c *Config) {
		c.Families = []connector.Family{{Name: "any", Open: func([]byte) (connector.Connector, error) { return talker{}, nil }}}
	})
	claims := w.claims("bot")
	claims.Scope = "read"
	raw := w.mint(claims)
	send := func(body string, change ...func(*http.Request)) (*http.Response, string) {
		t.Helper()
		r := w.request("POST", "/mail/talk", raw, strings.NewReader(body))
		for _, f := range change {
			f(r)
		}
		return w.do(r)
	}
	chunked := func(r *http.Request) { r.ContentLength = -1 }
	for _, change := range []func(*http.Request){func(*http.Request) {}, chunked} {
		if res, _ := send("read  me\r\n\x00", change); res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
		if g := <-seen; g.body != "read  me\r\n\x00" || g.length != 11 {
			t.Errorf("the upstream got %+v", g)
		}
	}
	reply = "read write delete"
	if res, body := send("list all", func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") }); res.StatusCode != 200 || body != "read " || res.ContentLength != 5 {
		t.Errorf("the list is %q, %s", body, res.Status)
	}
	if g := <-seen; g.encoding != "identity" {
		t.Errorf("the list was asked for as %q", g.encoding)
	}
	kind = "text/html"
	if res, body := send("list all"); res.StatusCode != http.StatusBadGateway || strings.Contains(body, "read write") {
		t.Errorf("a list that cannot be read: %s %s", res.Status, body)
	}
	<-seen
	for name, x := range map[string]struct {
		body   string
		change func(*http.Request)
		status int
		says   string
	}{
		"refused":              {"write it", nil, 200, "sorry: bot may do this, but its token is limited"},
		"unrecognised":         {"sing", nil, 400, "what? "},
		"no words":             {"mumble", nil, 403, "description does not have"},
		"too large":            {"read " + strings.Repeat("x", 1000), nil, 413, "1000 bytes at most"},
		"too large, in chunks": {"read " + strings.Repeat("x", 100_000), chunked, 413, "1000 bytes at most"},
		"compressed":           {"read it", func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 400, "must not be compressed"},
		"trailers":             {"read it", func(r *http.Request) { r.ContentLength, r.Trailer = -1, http.Header{"X-Late": {"1"}} }, 400, "no trailers"},
	} {
		if x.change == nil {
			x.change = func(*http.Request) {}
		}
		if res, body := send(x.body, x.change); res.StatusCode != x.status || !strings.Contains(body, x.says) {
			t.Errorf("%s: %s %s", name, res.Status, body)
		}
	}
	select {
	case g := <-seen:
		t.Errorf("the upstream got %+v", g)
	default:
	}
	eventually(t, "the refusals are on record as such", func() bool {
		n := 0
		for _, e := range w.plane.recorded() {
			if e.Outcome == "refused" {
				n++
			}
		}
		return n == 7
	})
}
