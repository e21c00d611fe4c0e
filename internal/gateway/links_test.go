package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/graph"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestLinksLeadThroughTheGateway: the next page is at the gateway, with layers and without, and is all there is.
func TestLinksLeadThroughTheGateway(t *testing.T) {
	o := newOffice(t)
	for name, l := range map[string]layer.Layers{"none": {}, "headers": {Show: layer.Headers}} {
		o.grant("graph", l, "mail.read", "mail.search")
		pages, seen := 0, map[string]bool{}
		for target := "/v1.0/me/messages?$top=2"; target != ""; pages++ {
			status, v, s := o.ask("GET", "graph", target, nil)
			if status != http.StatusOK || strings.Contains(s, o.back.URL) {
				t.Fatalf("%s: %s: %d %s", name, target, status, s)
			}
			for _, m := range v["value"].([]any) {
				seen[m.(map[string]any)["id"].(string)] = true
			}
			next, ok := v["@odata.nextLink"].(string)
			rest, here := strings.CutPrefix(next, testScope+"/graph")
			if ok && !here {
				t.Fatalf("%s: the next page is at %s", name, next)
			}
			target = rest
		}
		if pages < 2 || len(seen) < 4 {
			t.Errorf("%s: %d pages of %d", name, pages, len(seen))
		}
	}
	for _, target := range []string{"/v1.0/me/messages?$skiptoken=x&access_token=y", "/https://graph.microsoft.com/v1.0/me/messages", "//evil.example/v1.0/me/messages", "/v1.0/me/messages?$next=https://evil.example"} {
		if status, _, s := o.ask("GET", "graph", target, nil); status < 400 {
			t.Errorf("%s: %d %s", target, status, s)
		}
	}
}

// TestLinksOfWhatIsShown: under layers a link leads here however its name is spelled, and the reply, which is all here, says how long it is.
func TestLinksOfWhatIsShown(t *testing.T) {
	long := strings.Repeat("x", 32<<10) // more than is looked at at once
	var back string
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{ "value" : [ {"id":"m1","subject":"`+long+`","from":{"emailAddress":{"addr\u0065ss":"ben@ex\u0061mple.com"},"inner\u0040odata.nextLink":"https:\/\/evil.example"}},
			{"id":"m2","from":{"emailAddress":{"address":"eve@evil.ex\u0061mple"}}} ], "@odata.nextLin\u006b" : "`+back+`/v1.0/me/messages?$skip=2" }`)
	}), func(c *Config) { c.Families = []connector.Family{graph.Family()} })
	back = w.back.URL
	w.applyUpstream(&policy.Upstream{Name: "mail", URL: back, Owner: "maya", Environment: "production", Family: "graph", Description: []byte("v1.0"), Version: 2})
	w.apply(feed.Change{Grant: &policy.Grant{ID: "bot/all", Identity: id("bot"), Upstream: "mail", Cedar: "permit(principal, action, resource);", Layers: &layer.Layers{Show: layer.Headers}, Until: time.Now().Add(time.Hour)}})
	res, s := w.do(w.request("GET", "/mail/v1.0/me/messages", w.mint(w.claims("bot")), nil))
	want := `{"value":[{"id":"m1","subject":"` + long + `","from":{"emailAddress":{"address":"ben@example.com"},"inner@odata.nextLink":null}},{"id":"m2","from":{"emailAddress":{"address":"eve@evil.example"}}}],` +
		`"@odata.nextLink":"` + testScope + `/mail/v1.0/me/messages?$skip=2"}`
	if res.StatusCode != http.StatusOK || s != want || res.ContentLength != int64(len(want)) {
		t.Fatalf("%d, %d bytes of %d: %s, want %s", res.StatusCode, res.ContentLength, len(want), strings.ReplaceAll(s, long, "…"), strings.ReplaceAll(want, long, "…"))
	}
}
