package control

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

// pod is what the cluster gave a workload for this control plane.
func (w *trust) pod(id string, change map[string]any) string {
	m := map[string]any{"iss": w.idp.URL, "sub": "system:serviceaccount:edge:lanyard", "aud": []string{w.URL}, "iat": storetest.Epoch.Unix(), "nbf": storetest.Epoch.Unix(),
		"exp": storetest.Epoch.Add(time.Hour).Unix(), "jti": id, "kubernetes.io": map[string]any{"namespace": "edge", "pod": map[string]string{"name": "gw-1"}}}
	for k, v := range change {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	b, _ := json.Marshal(m)
	return rs256(w.T, w.idp.keys["k1"], "k1", string(b))
}

// TestAttested: a workload that a trusted provider attests joins by the name it is admitted for, again and again, each time with another token,
// until it is evicted; no other does.
func TestAttested(t *testing.T) {
	t.Parallel()
	w := newTrust(t, "")
	at := w.abroad()
	fingerprint := w.fleet.ca.List()[0].Fingerprint
	join := func(name, attest string) (*far, error) {
		m, err := feed.JoinAttested(t.Context(), []string{at}, fingerprint, name, attest, w.Now, rand.Reader)
		if err != nil {
			return nil, err
		}
		return w.as(at, m), nil
	}
	refused := func(what, name, attest, why string) {
		t.Helper()
		w.log.Reset()
		if _, err := join(name, attest); !errors.Is(err, feed.ErrRefused) || strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", what, err)
		}
		if !strings.Contains(w.log.String(), why) {
			t.Errorf("%s: the log does not say %q:\n%s", what, why, w.log)
		}
	}
	const admission = `{"provider":"cluster","subject":"system:serviceaccount:edge:lanyard","upstreams":["files"]}`
	for body, want := range map[string]string{admission: "cluster", `{"provider":"acme","subject":"x"}`: "not trusted for attest", `{"provider":"acme","subject":""}`: "subject"} {
		if status, answer := w.ask("PUT", "/v1/gateways/gw-1/admission", body); status < 400 || !strings.Contains(answer, want) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	w.must("PUT", "/v1/providers/acme", `{"issuer":"https://elsewhere.example","uses":["id_jag"]}`)
	w.must("PUT", "/v1/providers/cluster", `{"issuer":"`+w.idp.URL+`","uses":["attest"]}`)
	refused("nobody is admitted", "gw-1", w.pod("0", nil), "no gateway of that name is admitted")
	var made GatewayAdmitted
	if err := json.Unmarshal([]byte(w.must("PUT", "/v1/gateways/gw-1/admission", admission)), &made); err != nil || made.Fingerprint != fingerprint || made.Audience != w.URL {
		t.Fatalf("%v %+v", err, made)
	}
	if e := w.last(); e.Type != "gateway.admit" || e.Detail["subject"] != "system:serviceaccount:edge:lanyard" || e.Detail["upstreams"] != "files" {
		t.Errorf("%+v", e)
	}
	for what, k := range map[string]struct {
		change map[string]any
		why    string
	}{
		"another workload":    {map[string]any{"sub": "system:serviceaccount:edge:other"}, "another workload"},
		"for somebody else":   {map[string]any{"aud": "https://kubernetes.default.svc"}, "is to be for"},
		"for others too":      {map[string]any{"aud": []string{w.URL, "https://kubernetes.default.svc"}}, "is to be for"},
		"expired":             {map[string]any{"exp": storetest.Epoch.Unix()}, "expired"},
		"not yet":             {map[string]any{"nbf": storetest.Epoch.Add(time.Hour).Unix()}, "not valid yet"},
		"for ever":            {map[string]any{"exp": storetest.Epoch.Add(1000 * time.Hour).Unix()}, "more than a day"},
		"of another issuer":   {map[string]any{"iss": "https://evil.example"}, "no provider"},
		"of another provider": {map[string]any{"iss": "https://elsewhere.example"}, "no provider that is trusted for attest"},
		"bound to a key":      {map[string]any{"cnf": map[string]string{"jkt": "x"}}, "cnf"},
		"no issuer":           {map[string]any{"iss": nil}, "iss"},
	} {
		refused(what, "gw-1", w.pod("1", k.change), k.why)
	}
	refused("another name", "gw-2", w.pod("2", nil), "no gateway of that name is admitted")
	refused("no token", "gw-1", "x.y.z", "subject token")
	good := w.pod("3", nil)
	forged := good[:len(good)-4] + "AAAA"
	refused("forged", "gw-1", forged, "signature")
	if _, err := feed.JoinAttested(t.Context(), []string{at}, strings.Repeat("A", 43), "gw-1", good, w.Now, rand.Reader); err == nil || !strings.Contains(err.Error(), "another authority") {
		t.Errorf("at who knows what control plane: %v", err)
	}
	g, err := join("gw-1", good)
	if err != nil {
		t.Fatal(err)
	}
	if lease, err := g.Ack(t.Context(), w.Store.Head()); err != nil || lease <= 0 {
		t.Errorf("%s %v", lease, err)
	}
	if _, err := g.Credential(t.Context(), "mail", nil, feed.Secret{}); !errors.Is(err, feed.ErrRefused) {
		t.Errorf("of an upstream that it is not for: %v", err)
	}
	refused("a second time", "gw-1", good, "used before")
	again, err := join("gw-1", w.pod("4", nil)) // it lost its folder
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Ack(t.Context(), w.Store.Head()); !errors.Is(err, feed.ErrEvicted) {
		t.Errorf("whose place was taken: %v", err)
	}
	w.must("POST", "/v1/providers/cluster/disable", `{"reason":"x"}`)
	refused("of a provider that is disabled", "gw-1", w.pod("5", nil), "no provider")
	if _, err := again.Ack(t.Context(), w.Store.Head()); err != nil {
		t.Errorf("one that has joined: %v", err)
	}
	w.must("POST", "/v1/providers/cluster/enable", `{}`)
	w.must("POST", "/v1/gateways/gw-1/evict", `{"reason":"x"}`)
	refused("one that was evicted", "gw-1", w.pod("6", nil), "no gateway of that name is admitted")
	w.must("PUT", "/v1/gateways/gw-1/admission", admission)
	if _, err := join("gw-1", w.pod("7", nil)); err != nil {
		t.Errorf("admitted anew: %v", err)
	}
}
