package control

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// ear is a resource server elsewhere: it takes what is pushed to it if another library verifies it.
type ear struct {
	*httptest.Server
	p       *plane
	mu      sync.Mutex
	heard   []heard
	refuse  int    // with that status, if it is one
	says    string // and this
	headers http.Header
}

type heard struct {
	Issuer   string                     `json:"iss"`
	ID       string                     `json:"jti"`
	Issued   int64                      `json:"iat"`
	Audience string                     `json:"aud"`
	Cause    string                     `json:"txn"`
	Subject  map[string]string          `json:"sub_id"`
	Events   map[string]json.RawMessage `json:"events"`
	Sub      any                        `json:"sub"`
	Expires  any                        `json:"exp"`
	at       time.Time
}

// String is the event in one line: what, about whom, and what it says besides.
func (h heard) String() string {
	for name, raw := range h.Events {
		var e struct {
			By                        string            `json:"initiating_entity"`
			Why                       map[string]string `json:"reason_admin"`
			Type, Change, Name, State string
			Claims                    json.RawMessage
		}
		var m map[string]json.RawMessage
		if json.Unmarshal(raw, &e) != nil || json.Unmarshal(raw, &m) != nil {
			return "no event"
		}
		if strings.HasPrefix(name, caep) && (e.Why["en"] == "" || string(m["event_timestamp"]) == "") {
			return "an event without a reason or a time"
		}
		about := h.Subject["id"]
		if h.Subject["format"] == "iss_sub" {
			about = h.Subject["sub"][strings.LastIndexByte(h.Subject["sub"], '/')+1:]
		}
		return strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s %s", name[strings.LastIndexByte(name, '/')+1:], about, e.By, m["change_type"], m["credential_type"], e.Claims))
	}
	return "nothing"
}

func (p *plane) listens() *ear {
	e := &ear{p: p}
	e.Server = httptest.NewServer(e)
	p.Cleanup(e.Close)
	return e
}

func (e *ear) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	raw, _ := io.ReadAll(r.Body)
	if e.headers = r.Header; e.refuse > 0 {
		w.Header().Set("Location", "http://169.254.169.254/")
		w.WriteHeader(e.refuse)
		io.WriteString(w, e.says)
		return
	}
	var keys jose.JSONWebKeySet
	var h heard
	res, err := http.Get(e.p.network.URL + "/oauth/jwks")
	if err == nil {
		err = json.NewDecoder(res.Body).Decode(&keys)
		res.Body.Close()
	}
	parsed, err2 := jose.ParseSignedCompact(string(raw), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil || err2 != nil {
		e.p.Error(err, err2)
		return
	}
	body, err := parsed.Verify(keys)
	if err == nil {
		err = json.Unmarshal(body, &h)
	}
	if err != nil || parsed.Signatures[0].Header.ExtraHeaders["typ"] != "secevent+jwt" || h.Sub != nil || h.Expires != nil || h.ID == "" || h.Issuer != e.p.URL || len(h.Events) != 1 {
		e.p.Errorf("%v %s", err, body)
	}
	h.at = time.Now()
	e.heard = append(e.heard, h)
	w.WriteHeader(http.StatusAccepted)
}

// take returns what was heard since, in one line each, sorted.
func (e *ear) take(n int) (list []string) {
	e.p.Helper()
	eventually(e.p.T, fmt.Sprintf("%d events are heard", n), func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(e.heard) >= n })
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.heard {
		list = append(list, h.String())
	}
	e.heard = nil
	slices.Sort(list)
	return list
}

// TestSignals: what ends something, or changes what a token says, is told; each about whom it is.
func TestSignals(t *testing.T) {
	p := start(t)
	p.settle()
	e := p.listens()
	p.must("PUT", "/v1/receivers/crm", `{"url":"`+e.URL+`/events","audience":"https://crm.example.com"}`)
	p.telling()
	p.must("PUT", "/v1/owners/ben", `{"name":"Ben Okri","email":"ben@example.com"}`)
	p.must("PUT", "/v1/identities/other", `{"kind":"agent","owner":"maya","purpose":"tests"}`)
	bearer := p.keyed("other", p.URL)
	e.take(1)
	for _, c := range []struct {
		name, method, path, body string
		want                     []string
	}{
		{"another owner", "PUT", "/v1/identities/other", `{"kind":"agent","owner":"ben","purpose":"tests"}`, []string{`token-claims-change other admin   {"owner":"ben"}`}},
		{"a grant given and taken", "PUT", "/v1/identities/other/grants/read", `{"upstream":"mail","actions":["m.read"]}`, nil},
		{"a grant taken", "DELETE", "/v1/identities/other/grants/read", ``, []string{`token-claims-change other admin   {"aud":[]}`}},
		{"suspended", "POST", "/v1/identities/other/suspend", `{"reason":"a secret that Maya wrote"}`, []string{"session-revoked other admin"}},
		{"resumed", "POST", "/v1/identities/other/resume", `{"reason":"x"}`, nil},
		{"its purpose", "PUT", "/v1/identities/other", `{"kind":"agent","owner":"ben","purpose":"other tests"}`, nil},
		{"the cord on an upstream", "POST", "/v1/kill", `{"upstream":"mail","reason":"x"}`, []string{"session-revoked http://gateway.test/mail admin"}},
		{"a kill of an owner", "POST", "/v1/kill", `{"owner":"ben","reason":"a secret that Maya wrote"}`, []string{"session-revoked ben admin", "session-revoked other admin"}},
		{"all", "POST", "/v1/kill", `{"all":true,"reason":"x"}`, []string{"session-revoked bot admin"}},
		{"retired", "POST", "/v1/identities/other/retire", `{"reason":"x"}`, []string{"session-revoked other admin"}},
		{"a person leaves", "PUT", "/v1/owners/ben", `{"name":"Ben Okri","email":"ben@example.com","gone":true}`, []string{"session-revoked ben admin"}},
	} {
		p.must(c.method, c.path, c.body)
		if got := e.take(len(c.want)); len(c.want) > 0 && !slices.Equal(got, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, got, c.want)
		} else if len(c.want) == 0 && len(got) > 0 {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	_ = bearer
	eventually(t, "nothing waits", func() bool {
		return strings.Contains(p.must("GET", "/v1/receivers", ""), `"waiting":0`) && strings.HasPrefix(p.last().Type, "receiver.tell")
	})
	if last := p.last(); last.Resource != "crm" || last.Detail["event"] != "session-revoked" || last.Detail["count"] != "1" {
		t.Errorf("%+v", last)
	}
}

// TestSignalsOfCredentials: a credential that is revoked and one that is added are told with their ids, which tokens hold.
func TestSignalsOfCredentials(t *testing.T) {
	p := start(t)
	p.settle()
	e := p.listens()
	p.must("PUT", "/v1/receivers/crm", `{"url":"`+e.URL+`"}`)
	p.telling()
	p.keyed("bot", p.URL)
	if got := e.take(1); !slices.Equal(got, []string{`credential-change bot admin "create" "api_key"`}) {
		t.Errorf("%q", got)
	}
	var bot IdentityView
	json.Unmarshal([]byte(p.must("GET", "/v1/identities/bot", "")), &bot)
	id := ""
	for _, k := range bot.Credentials {
		if k.Kind == identity.Key {
			id = k.ID
		}
	}
	p.must("POST", "/v1/revoke", `{"credential":"`+id+`","reason":"x"}`)
	eventually(t, "it is told", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(e.heard) == 1 })
	e.mu.Lock()
	defer e.mu.Unlock()
	if h := e.heard[0]; h.String() != `credential-change bot admin "revoke" "api_key"` || !strings.Contains(string(h.Events[caep+"credential-change"]), `"friendly_name":"`+id+`"`) || h.Audience != e.URL {
		t.Errorf("%s %+v", h, h)
	}
}

// TestSignalsOfMany: a kill of many is told of each once, in the same transaction in a few rows, and with its id.
func TestSignalsOfMany(t *testing.T) {
	p := start(t)
	p.settle()
	const many = 2*100 + 1
	for n := range many - 1 {
		p.must("PUT", fmt.Sprintf("/v1/identities/a%d", n), `{"kind":"agent","owner":"maya","purpose":"tests"}`)
	}
	e := p.listens()
	p.must("PUT", "/v1/receivers/crm", `{"url":"`+e.URL+`"}`)
	var k struct{ Kill string }
	json.Unmarshal([]byte(p.must("POST", "/v1/kill", `{"all":true,"reason":"x"}`)), &k)
	if list := p.must("GET", "/v1/receivers", ""); !strings.Contains(list, `"waiting":3`) {
		t.Error(list)
	}
	p.telling()
	eventually(t, "all is told", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(e.heard) == many })
	ids, about := map[string]bool{}, map[string]bool{}
	for _, h := range e.heard {
		ids[h.ID], about[h.Subject["sub"]] = true, true
		if !strings.HasPrefix(h.Cause, "kill_") {
			t.Errorf("%+v", h)
		}
	}
	if len(ids) != many || len(about) != many {
		t.Errorf("%d ids, %d identities", len(ids), len(about))
	}
}

// TestDeafReceiver: what a receiver does not take it is told again, with the same id; it keeps nothing from another, and after a week it is on
// record that it was not told.
func TestDeafReceiver(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.settle()
	deaf, good := p.listens(), p.listens()
	deaf.refuse, deaf.says = 400, `{"err":"invalid_key","description":"<script>"}`
	p.must("PUT", "/v1/receivers/deaf", `{"url":"`+deaf.URL+`"}`)
	p.must("PUT", "/v1/receivers/good", `{"url":"`+good.URL+`"}`)
	p.telling()
	p.must("POST", "/v1/identities/bot/suspend", `{"reason":"x"}`)
	if got := good.take(1); got[0] != "session-revoked bot admin" {
		t.Errorf("%q", got)
	}
	if list := p.must("GET", "/v1/receivers", ""); !strings.Contains(list, `"waiting":1`) {
		t.Error(list)
	}
	deaf.mu.Lock()
	deaf.refuse = 0
	deaf.mu.Unlock()
	p.must("POST", "/v1/identities/bot/resume", `{"reason":"x"}`)
	eventually(t, "it is told again", func() bool {
		p.ahead.Add(int64(lastRetry))
		deaf.mu.Lock()
		defer deaf.mu.Unlock()
		return len(deaf.heard) > 0
	})
	if got := deaf.take(1); got[0] != "session-revoked bot admin" {
		t.Errorf("%q", got)
	}
	deaf.mu.Lock()
	deaf.refuse = 302
	deaf.mu.Unlock()
	p.must("POST", "/v1/identities/bot/suspend", `{"reason":"x"}`)
	good.take(1)
	p.ahead.Add(int64(pushUntil))
	p.must("PUT", "/v1/owners/ben", `{"name":"Ben","email":"ben@example.com"}`)
	eventually(t, "it is given up", func() bool {
		p.ahead.Add(int64(lastRetry))
		return !strings.Contains(p.must("GET", "/v1/receivers", ""), `"waiting":1`)
	})
	found, err := p.Store.Search(t.Context(), ledger.Query{Type: "receiver.tell"}, 0, 10)
	var untold []string
	for _, e := range found.Entries {
		if e.Event.Reason != "" {
			untold = append(untold, e.Event.Resource)
		}
	}
	if err != nil || !slices.Equal(untold, []string{"deaf"}) {
		t.Errorf("on record as not told: %q, %v", untold, err)
	}
}

// TestVerifyReceiver: an operator hears at once whether a receiver takes events, and in which words not.
func TestVerifyReceiver(t *testing.T) {
	p := start(t)
	p.settle()
	e := p.listens()
	p.must("PUT", "/v1/receivers/crm", `{"url":"`+e.URL+`","authorization":"Bearer hush-hush"}`)
	p.must("POST", "/v1/receivers/crm/verify", "")
	if len(e.heard) != 1 || !strings.HasPrefix(e.heard[0].String(), "verification stream_") || e.heard[0].Subject["format"] != "opaque" || e.headers.Get("Authorization") != "Bearer hush-hush" {
		t.Errorf("%v %v", e.heard, e.headers)
	}
	p.must("PUT", "/v1/receivers/crm", `{"url":"`+e.URL+`","audience":"https://crm.example.com"}`) // what it has stays
	if p.must("POST", "/v1/receivers/crm/verify", ""); e.headers.Get("Authorization") != "Bearer hush-hush" || e.heard[1].Audience != "https://crm.example.com" {
		t.Error(e.headers)
	}
	e.refuse, e.says = 401, `{"err":"authentication_failed","description":"hush-hush"}`
	if status, answer := p.ask("POST", "/v1/receivers/crm/verify", ""); status != 502 || !strings.Contains(answer, "401, authentication_failed") || strings.Contains(answer, "hush") {
		t.Error(status, answer)
	}
	e.refuse = 302
	if status, answer := p.ask("POST", "/v1/receivers/crm/verify", ""); status != 502 || !strings.Contains(answer, "302") {
		t.Error(status, answer)
	}
	p.must("PUT", "/v1/receivers/crm", `{"url":"`+e.URL+`/moved"}`)
	if e.refuse = 0; p.must("POST", "/v1/receivers/crm/verify", "") == "" || e.headers.Get("Authorization") != "" {
		t.Error("what was for one address is shown to another")
	}
	p.Store.Read(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.Secret(store.ReceiverSecret("crm")); err == nil {
			t.Error("a secret that nobody gets any more is kept")
		}
		return nil
	})
	for body, field := range map[string]string{`{"url":"http://crm.example.com"}`: "url", `{"url":"https://a:b@crm.example.com"}`: "url", `{"url":"https://crm.example.com/#x"}`: "url", `{"url":"ftp://x"}`: "url",
		`{"url":"https://crm.example.com","authorization":"a\nb"}`: "authorization"} {
		if status, answer := p.ask("PUT", "/v1/receivers/bad", body); status != 422 && status != 400 || !strings.Contains(answer, field) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	p.must("DELETE", "/v1/receivers/crm", "")
	if status, _ := p.ask("POST", "/v1/receivers/crm/verify", ""); status != 404 {
		t.Error(status)
	}
	status, document := p.ask("GET", "/.well-known/ssf-configuration", "", "Authorization", "")
	for _, want := range []string{`"spec_version":"1_0"`, `"issuer":"` + p.URL + `"`, `"jwks_uri":"` + p.URL + `/oauth/jwks"`, `"urn:ietf:rfc:8935"`} {
		if status != 200 || !strings.Contains(document, want) {
			t.Errorf("%d %s has not %s", status, document, want)
		}
	}
}

// TestSignalsOfNodes: what one control node ends, the one that tells tells at once, though nobody has told it so.
func TestSignalsOfNodes(t *testing.T) {
	t.Parallel()
	nodes, _ := nodesOn(t, 2)
	teller, other := nodes[0], nodes[1]
	eventually(t, "one leads", func() bool { return teller.Store.Leads() != other.Store.Leads() })
	if !teller.Store.Leads() {
		teller, other = other, teller
	}
	e := teller.listens()
	teller.telling()
	other.telling()
	other.must("PUT", "/v1/receivers/crm", `{"url":"`+e.URL+`"}`)
	begin := time.Now()
	other.must("POST", "/v1/kill", `{"identity":"bot","reason":"x"}`)
	if got := e.take(1); got[0] != "session-revoked bot admin" {
		t.Errorf("%q", got)
	}
	t.Logf("told after %v", time.Since(begin))
}

// TestToldByNobody: without a receiver a kill leaves nothing in the outbox.
func TestToldByNobody(t *testing.T) {
	p := start(t)
	p.settle()
	p.must("POST", "/v1/kill", `{"all":true,"reason":"x"}`)
	p.Store.Read(t.Context(), func(tx *store.Tx) error {
		if notes, err := tx.Notes("", 10); err != nil || len(notes) > 0 {
			t.Error(notes, err)
		}
		return nil
	})
}
