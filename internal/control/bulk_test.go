package control

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// What is done to many is done to each as the caller may do it to that one, and what cannot be done to one stops none of the others.
func TestBulk(t *testing.T) {
	p := start(t)
	office(p)
	maya, guard, run := p.begin("maya"), p.begin("", identity.RoleSecurity), p.begin("", identity.RoleOperator)
	state := func() string {
		var page Counted[IdentityView]
		if err := json.Unmarshal([]byte(p.must("GET", "/v1/identities", "")), &page); err != nil || page.Total != len(page.Items) {
			t.Fatal(page.Total, err)
		}
		var all []string
		for _, i := range page.Items {
			all = append(all, fmt.Sprint(i.Name, ":", i.Owner, ":", i.State))
		}
		return strings.Join(all, " ")
	}
	for _, test := range []struct {
		who, body, want, after string
	}{
		{maya, `{"do":"suspend","where":{},"reason":"x","preview":true}`, "mayas active → suspended; teams active → suspended", "bens:ben:active mayas:maya:active teams:billing:active"},
		{maya, `{"do":"suspend","identities":["bens","mayas","none"],"reason":"x"}`, `bens !there is no identity "bens"; mayas active → suspended; none !there is no identity "none"`, "bens:ben:active mayas:maya:suspended teams:billing:active"},
		{maya, `{"do":"resume","where":{"state":"suspended"},"reason":"x"}`, "mayas suspended → active", "bens:ben:active mayas:maya:active teams:billing:active"},
		{maya, `{"do":"transfer","where":{"q":"mail"},"owner":"ben","reason":"x"}`, `mayas !there is no owner "ben"`, "bens:ben:active mayas:maya:active teams:billing:active"},
		{maya, `{"do":"transfer","where":{"q":"mail"},"owner":"none","reason":"x"}`, `mayas !there is no owner "none"`, "bens:ben:active mayas:maya:active teams:billing:active"},
		{maya, `{"do":"transfer","identities":["bens"],"owner":"maya","reason":"x"}`, `bens !there is no identity "bens"`, "bens:ben:active mayas:maya:active teams:billing:active"},
		{maya, `{"do":"transfer","where":{"q":"mail"},"owner":"billing","reason":"x"}`, "mayas maya → billing", "bens:ben:active mayas:billing:active teams:billing:active"},
		{run, `{"do":"transfer","identities":["mayas"],"owner":"ben","reason":"x"}`, "mayas billing → ben", "bens:ben:active mayas:ben:active teams:billing:active"},
		{guard, `{"do":"transfer","identities":["teams"],"owner":"ben","reason":"x"}`, "teams !you may not do this to it", "bens:ben:active mayas:ben:active teams:billing:active"},
		{guard, `{"do":"kill","where":{"owner":"ben"},"reason":"x","preview":true}`, "bens active → killed; mayas active → killed", "bens:ben:active mayas:ben:active teams:billing:active"},
		{guard, `{"do":"kill","where":{"owner":"ben"},"reason":"x"}`, "bens active → killed; mayas active → killed", "bens:ben:killed mayas:ben:killed teams:billing:active"},
		{"", `{"do":"resume","identities":["bens","teams"],"reason":"x"}`, "bens !bens was killed; teams active → active", "bens:ben:killed mayas:ben:killed teams:billing:active"},
		{"", `{"do":"extend","identities":["teams"],"expires":"2026-12-24","reason":"x"}`, "teams ends 2026-12-24 instead of 2027-02-21", "bens:ben:killed mayas:ben:killed teams:billing:active"},
		{"", `{"do":"extend","identities":["teams"],"expires":"20y","reason":"x"}`, "teams !", "bens:ben:killed mayas:ben:killed teams:billing:active"},
	} {
		status, answer := 0, ""
		if test.who == "" {
			status, answer = p.ask("POST", "/v1/identities/bulk", test.body)
		} else {
			status, answer = p.visit(test.who, "POST", "/v1/identities/bulk", test.body)
		}
		var out BulkResult
		if err := json.Unmarshal([]byte(answer), &out); err != nil || status != 200 {
			t.Errorf("%s: %d %s", test.body, status, answer)
			continue
		}
		wants := strings.Split(test.want, "; ")
		for n, one := range out.Identities {
			did := one.Did
			if strings.Contains(test.body, "preview") {
				did = one.Would
			}
			if one.Error != "" {
				did = "!" + one.Error
			}
			got := one.ID[strings.LastIndex(one.ID, "/")+1:] + " " + did
			if len(wants) != len(out.Identities) || !strings.HasPrefix(got, wants[n]) {
				t.Errorf("%s: %s, want %s", test.body, answer, test.want)
				break
			}
		}
		if (out.Receipt == nil) != strings.Contains(test.body, "preview") {
			t.Errorf("%s: receipt %v", test.body, out.Receipt)
		}
		if got := state(); got != test.after {
			t.Errorf("after %s: %s, want %s", test.body, got, test.after)
		}
	}
	for _, body := range []string{`{"do":"kill","reason":"x"}`, `{"do":"kill","identities":["bens"],"where":{},"reason":"x"}`, `{"do":"transfer","identities":["teams"],"reason":"x"}`, `{"do":"suspend","identities":["teams"]}`} {
		if status, answer := p.ask("POST", "/v1/identities/bulk", body); status != 422 {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
}
