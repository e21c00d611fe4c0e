package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/lanyard-dev/lanyard/client"
)

// keyFile is the file of a new key.
func keyFile(t testing.TB) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.jwk")
	b, err := json.Marshal(jose.JSONWebKey{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// doorTo is a door to a gateway of the test's own. The issuer gives a token to
// everybody, and asks once for a nonce, as the real one does.
func doorTo(t testing.TB, gateway http.HandlerFunc) (base string, refusals *[]string, stop *bool) {
	t.Helper()
	refusals, stop = new([]string), new(bool)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("DPoP-Nonce", "issuer")
		if *stop {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"invalid_client","error_description":"bot is killed"}`)
			return
		}
		fmt.Fprint(w, `{"access_token":"token","token_type":"DPoP","expires_in":300}`)
	}))
	t.Cleanup(issuer.Close)
	gate := httptest.NewServer(gateway)
	t.Cleanup(gate.Close)
	file := keyFile(t)
	web := httptest.NewUnstartedServer(nil)
	d, err := newDoor(&badge{issuer: issuer.URL, gateway: gate.URL + "/base", who: "bot", key: file, domain: "lanyard.local"}, map[string]string{"mail": "", "notes": "/mcp"}, web.Listener,
		func(e *client.Error) { *refusals = append(*refusals, e.Description) })
	if err != nil {
		t.Fatal(err)
	}
	web.Config.Handler = d
	web.Start()
	t.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	return d.url(), refusals, stop
}

// TestDoor: what was asked arrives as it was asked, with the identity's token and nothing of the agent's.
func TestDoor(t *testing.T) {
	var got *http.Request
	var body []byte
	asked := 0
	base, refusals, stop := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if got, body, asked = r, b, asked+1; asked == 1 {
			w.Header().Set("DPoP-Nonce", "gateway")
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/stopped") { // its token is good no more
			w.Header().Set("WWW-Authenticate", `DPoP error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("DPoP-Nonce", "next")
		fmt.Fprint(w, "ok")
	})
	send := func(method, path, content string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequest(method, base+path, strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Authorization", "DPoP", "Cookie"} {
			req.Header.Set(name, "mine")
		}
		req.Header.Set("Mcp-Session-Id", "s")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(b)
	}
	res, text := send("POST", "/mail/a%2Fb//c/../d?x=%20&y", "content")
	if res.StatusCode != 200 || text != "ok" || asked != 2 || res.Header.Get("DPoP-Nonce") != "" {
		t.Errorf("%s %q after %d", res.Status, text, asked)
	}
	if got.RequestURI != "/base/mail/a%2Fb//c/../d?x=%20&y" || string(body) != "content" || got.Header.Get("Mcp-Session-Id") != "s" {
		t.Errorf("it became %s %q %v", got.RequestURI, body, got.Header)
	}
	if got.Header.Get("Authorization") != "DPoP token" || got.Header.Get("DPoP") == "mine" || got.Header.Get("Cookie") != "" {
		t.Errorf("it carries %v", got.Header)
	}
	large := strings.Repeat("x", replayable+10)
	if res, _ := send("PUT", "/mail/large", large); res.StatusCode != 200 || len(body) != len(large) {
		t.Errorf("a large body: %s, %d bytes", res.Status, len(body))
	}
	*stop = true
	if res, _ := send("GET", "/mail/stopped", ""); res.StatusCode != 403 || res.Header.Get("WWW-Authenticate") != "" || !slices.Equal(*refusals, []string{"bot is killed"}) {
		t.Errorf("stopped: %s %v %v", res.Status, res.Header, *refusals)
	}
	res, text = send("POST", "/notes/mcp", `{"jsonrpc":"2.0","id":"7","method":"tools/call","params":{}}`)
	var answer struct {
		ID    string
		Error struct{ Message string }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || res.StatusCode != 403 || answer.ID != "7" || !strings.Contains(answer.Error.Message, "bot is killed") {
		t.Errorf("stopped, in MCP: %s %s %v", res.Status, text, err)
	}
}

// TestDoorUploads: an upload goes on where it began, through the door, and where the door does not stand it is left alone.
func TestDoorUploads(t *testing.T) {
	var place string
	base, _, _ := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		gate := strings.ReplaceAll(place, "GATE", "http://"+r.Host+"/base/mail")
		if strings.HasSuffix(r.URL.Path, "/createUploadSession") {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"uploadUrl": gate, "nextExpectedRanges": []string{"0-"}})
			return
		}
		w.Header().Set("Location", gate)
	})
	for _, c := range [][2]string{{"GATE/x?upload_id=a", base + "/mail/x?upload_id=a"}, {"https://elsewhere.example/x", "https://elsewhere.example/x"}, {"GATEx/y", ""}} {
		place = c[0]
		for _, path := range []string{"/mail/upload/drive/v3/files?uploadType=resumable", "/mail/v1.0/me/drive/items/1/createUploadSession"} {
			res, err := http.Post(base+path, "application/json", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			var v struct {
				URL    string   `json:"uploadUrl"`
				Ranges []string `json:"nextExpectedRanges"`
			}
			got := res.Header.Get("Location")
			if strings.HasSuffix(path, "Session") {
				if err := json.NewDecoder(res.Body).Decode(&v); err != nil || len(v.Ranges) != 1 {
					t.Errorf("%s: %v %v", path, v, err)
				}
				got = v.URL
			}
			if res.Body.Close(); c[1] != "" && got != c[1] || strings.HasPrefix(got, base) != (c[1] == base+"/mail/x?upload_id=a") {
				t.Errorf("%s leads to %s, want %s", path, got, c[1])
			}
		}
	}
}

// TestDoorPages: an agent that follows the pages of a list, or where a thing is that it made, stays behind the door; what only speaks of the gateway is left alone.
func TestDoorPages(t *testing.T) {
	var gate, kind, say string
	base, _, _ := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		gate = "http://" + r.Host + "/base/mail"
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Location", gate+"/x")
		_, _ = io.WriteString(w, strings.ReplaceAll(say, "GATE", gate))
	})
	for _, c := range [][3]string{
		{"application/json; odata.metadata=minimal", `{"value":[],"@odata.nextLink":"GATE/v1.0/me/messages?$skip=2"}`, `{"value":[],"@odata.nextLink":"DOOR/v1.0/me/messages?$skip=2"}`},
		{"application/json", `{"@odata.deltaLink":"GATE/x","b":"GATE/x"}`, `{"@odata.deltaLink":"DOOR/x","b":"GATE/x"}`},
		{"application/json", `{"@odata.nextLink":"https://elsewhere.example/x"}`, `{"@odata.nextLink":"https://elsewhere.example/x"}`},
		{"application/json", `{"@odata.nextLink":"GATEbox/x"}`, `{"@odata.nextLink":"GATEbox/x"}`},
		{"application/json", `{"@odata.nextLink":null}`, `{"@odata.nextLink":null}`},
		{"text/plain", `{"@odata.nextLink":"GATE/x"}`, `{"@odata.nextLink":"GATE/x"}`},
	} {
		kind, say = c[0], c[1]
		res, err := http.Get(base + "/mail/v1.0/me/messages")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if want := strings.NewReplacer("DOOR", base+"/mail", "GATE", gate).Replace(c[2]); err != nil || string(b) != want || res.Header.Get("Location") != base+"/mail/x" {
			t.Errorf("%s: %s, want %s (%v, %s)", c[1], b, want, err, res.Header.Get("Location"))
		}
	}
}

// TestDoorStreams: an event arrives when it was sent, and the end when the gateway ends it.
func TestDoorStreams(t *testing.T) {
	next := make(chan bool)
	base, _, _ := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; <-next; i++ {
			fmt.Fprintf(w, "data: %d\n\n", i)
			http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler) // as the cord does
	})
	go func() { next <- true }()
	res, err := http.Get(base + "/notes/mcp")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	for i := range 3 {
		if i > 0 {
			next <- true
		}
		line, err := in.ReadString('\n')
		if _, _ = in.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("%q %v", line, err)
		}
	}
	next <- false
	if rest, err := io.ReadAll(in); err == nil {
		t.Errorf("cut, it ended well: %q", rest)
	}
}

func FuzzDoor(f *testing.F) {
	f.Add("/mail/x", "127.0.0.1", "", []byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	f.Add("/SECRET/mail", "evil.example", "https://evil.example", []byte("x"))
	const gate = "unreachable.invalid"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { l.Close() })
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	source, err := client.New(client.Config{Issuer: "http://" + gate, Identity: "spiffe://lanyard.local/agent/bot", Key: key, Base: never{}})
	if err != nil {
		f.Fatal(err)
	}
	d := &door{source: source, secret: "SECRET", host: l.Addr().String(), refused: func(*client.Error) {}}
	f.Fuzz(func(t *testing.T, path, host, origin string, body []byte) {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
		r.URL.Path, r.Host = path, host
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r) // it has no upstreams: whatever comes in, nothing may go on
		if w.Code < 400 {
			t.Errorf("%q of %q from %q: %d", path, host, origin, w.Code)
		}
		if keepBody(r) == nil && r.GetBody != nil {
			callID(r)
		}
	})
}

type never struct{}

func (never) RoundTrip(*http.Request) (*http.Response, error) { panic("it went on") }

func TestCleanEnv(t *testing.T) {
	env, left := cleanEnv([]string{"PATH=/bin", "LC_ALL=C", "AWS_SECRET_ACCESS_KEY=x", "GITHUB_TOKEN=x", "KEYBOARD=de", "DB_PASSWD=x", "GOOGLE_APPLICATION_CREDENTIALS=x", "API_KEYS=x", "NEEDED_TOKEN=y", "SSH_AUTH_SOCK=/x", "openai_api_key=x"}, []string{"NEEDED_TOKEN"})
	if want := []string{"PATH=/bin", "LC_ALL=C", "NEEDED_TOKEN=y"}; !slices.Equal(env, want) {
		t.Errorf("it inherits %v, want %v", env, want)
	}
	if want := []string{"API_KEYS", "AWS_SECRET_ACCESS_KEY", "DB_PASSWD", "GITHUB_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "openai_api_key"}; !slices.Equal(left, want) {
		t.Errorf("it is told of %v, want %v", left, want)
	}
}

func TestNamedUpstreams(t *testing.T) {
	for _, bad := range [][2][]string{{{"Mail"}, nil}, {{"a/b"}, nil}, {{"a-b", "a.b"}, nil}, {nil, {"notes=mcp"}}, {nil, {"notes=/mcp?x"}}, {nil, {"=/mcp"}}} {
		if all, err := namedUpstreams(bad[0], bad[1]); err == nil {
			t.Errorf("%q became %v", bad, all)
		}
	}
	for _, bad := range [][]string{{}, {"--graph", "Graph"}, {"--gmail", "mail", "--mcp", "office"}} { // it has nothing to use, a name that is none, one that is taken
		args := append(append([]string{"run", "--as", "reader", "--key", keyFile(t)}, bad...), "--", "true")
		if code := run(t.Context(), args, strings.NewReader(""), io.Discard, io.Discard); code != exitUsage {
			t.Errorf("%q: exit %d", bad, code)
		}
	}
	all, err := namedUpstreams([]string{"mail", "notes"}, []string{"notes", "files=/v1/mcp"})
	if err != nil || fmt.Sprint(all) != "map[files:/v1/mcp mail: notes:/mcp]" {
		t.Errorf("%v %v", all, err)
	}
}
