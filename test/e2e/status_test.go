package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// elsewhere is a receiver: it keeps what go-jose verifies of what is pushed to it.
type elsewhere struct {
	mu   sync.Mutex
	sets []string
	at   []time.Time
}

func (e *elsewhere) take(h *house) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		var keys jose.JSONWebKeySet
		_, set := h.get(h.control+"/oauth/jwks", "")
		if err == nil {
			err = json.Unmarshal([]byte(set), &keys)
		}
		if err != nil || r.Header.Get("Content-Type") != "application/secevent+jwt" || r.Header.Get("Authorization") != "Bearer crm-secret" {
			h.Errorf("%v %v", err, r.Header)
		}
		signed, err := jose.ParseSignedCompact(string(raw), []jose.SignatureAlgorithm{jose.EdDSA})
		if err != nil {
			h.Error(err)
			return
		}
		body, err := signed.Verify(keys)
		if err != nil || signed.Signatures[0].Header.ExtraHeaders["typ"] != "secevent+jwt" {
			h.Errorf("%v %v", err, signed.Signatures[0].Header)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.sets, e.at = append(e.sets, string(body)), append(e.at, time.Now())
		w.WriteHeader(http.StatusAccepted)
	})
}

// TestElsewhere: a resource server that verifies tokens itself, with another library, learns from either of two control nodes
// that the cord was pulled at one of them; and a receiver is pushed an event that it can verify.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	const issuer, gate = "http://127.0.0.1:1", "http://127.0.0.1:2" // what lies before both nodes
	file, _ := postgres(t)
	h := build(t, "--database-file", file, "--feed-listen", "127.0.0.1:0", "--url", issuer, "--gateway-url", gate)
	h.settle()
	other := h.node()
	h.gate = gate
	h.do("upstream", "put", "mail", "--url", h.office, "--google", "gmail/v1", "--owner", "maya", "--status-list")
	token, spared := h.keyed("reader2"), h.keyed("reader3")
	type look struct {
		Status, TTL, Places, Set int
		Type, Cache              string
	}
	status := func(token string) (list []look) {
		t.Helper()
		var out struct{ Seen []look }
		node(t, "status.mjs", map[string]any{"issuer": issuer, "resource": gate + "/mail", "token": token, "at": []string{h.control, other.control}}, &out)
		if len(out.Seen) != 2 {
			t.Fatalf("%+v", out)
		}
		return out.Seen
	}
	for _, s := range status(token) {
		if s.Status != 0 || s.Set != 0 || s.TTL != 10 || s.Places != 1<<16 || s.Type != "application/statuslist+jwt" || s.Cache != "public, max-age=5" {
			t.Errorf("%+v", s)
		}
	}
	e := &elsewhere{}
	crm := httptest.NewServer(e.take(h))
	defer crm.Close()
	h.Setenv("CRM_TOKEN", "crm-secret")
	h.do("receiver", "put", "crm", "--url", crm.URL+"/events", "--audience", "https://crm.example.com", "--authorization-env", "CRM_TOKEN")
	if out := h.do("receiver", "verify", "crm"); !strings.Contains(out, "took it in") || len(e.sets) != 1 || !strings.Contains(e.sets[0], "/ssf/event-type/verification") {
		t.Errorf("%s %v", out, e.sets)
	}
	var took []time.Duration
	kill := func(n *house, who string) {
		t.Helper()
		begun := time.Now()
		n.do("kill", who, "--reason", "a word of Maya's")
		h.eventually("the receiver is told of "+who, func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			for i, s := range e.sets {
				if strings.Contains(s, "/caep/event-type/session-revoked") && strings.Contains(s, `"sub_id":{"format":"iss_sub","iss":"`+issuer+`","sub":"spiffe://lanyard.local/api_key/`+who+`"}`) {
					took = append(took, e.at[i].Sub(begun))
					return true
				}
			}
			return false
		})
	}
	kill(other, "reader2")
	time.Sleep(time.Second) // for so long a list may be served
	for n, s := range status(token) {
		if s.Status != 1 || s.Set != 1 {
			t.Errorf("at node %d after a kill: %+v", n, s)
		}
	}
	for n, s := range status(spared) {
		if s.Status != 0 {
			t.Errorf("at node %d the neighbour: %+v", n, s)
		}
	}
	for n := range 20 { // how long it takes
		who := "more" + string(rune('a'+n))
		h.do("identity", "register", who, "--kind", "api_key", "--owner", "maya", "--purpose", "Reads")
		kill([]*house{h, other}[n%2], who)
	}
	t.Logf("from the command to the receiver: %v", took)
	for _, s := range e.sets {
		if strings.Contains(s, "Maya") || strings.Contains(s, `"sub":"spiffe`) && !strings.Contains(s, `"sub_id"`) || !strings.Contains(s, `"aud":"https://crm.example.com"`) {
			t.Error(s)
		}
	}
	if log := h.log.String() + other.log.String() + h.do("audit", "search", "--limit", "1000"); strings.Contains(log, "crm-secret") {
		t.Error("the receiver's secret is in the log or in the record")
	}
	h.eventually("nothing waits", func() bool { return strings.HasSuffix(strings.TrimSpace(h.do("receiver", "list")), " 0") })
	// One token alone, at the other node.
	other.do("revoke", "token", spared, "--reason", "test")
	time.Sleep(time.Second)
	for n, s := range status(spared) {
		if s.Status != 1 {
			t.Errorf("at node %d after its token was revoked: %+v", n, s)
		}
	}
	h.do("receiver", "remove", "crm")
}
