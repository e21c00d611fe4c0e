package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// ask is one question to the API, and how many it has to find at least.
type ask struct {
	name, path string
	least      int
}

// asks are the lists and searches that people and programs look at, at their first, a middle and the last page.
func asks(n int) []ask {
	mid, last := name(n/2), name(n-1)
	return []ask{
		{"identities", "identities", 100},
		{"identities_middle", "identities?after=" + after(name(n/2)), 1},
		{"identities_owner", "identities?owner=" + string(owner(7)), 1},
		{"identities_state", "identities?state=suspended", 1},
		{"identities_state_none", "identities?state=pending", 0},
		{"identities_kind", "identities?kind=service", 1},
		{"identities_kind_none", "identities?kind=oauth_client", 0},
		{"identities_roots", "identities?roots=true", 100},
		{"identities_owner_kind", "identities?owner=" + string(owner(7)) + "&kind=agent&state=active", 1},
		{"identities_unused", "identities?needs=unused", 0},
		{"identities_expiring", "identities?needs=expiring&sort=expires", 0},
		{"identities_used", "identities?sort=-last_used", 100},
		{"find_name", "identities?q=" + last, 1},
		{"find_common", "identities?q=invoice", 100},
		{"find_within", "identities?q=-" + regions[0] + "-", 1},
		{"find_none", "identities?q=qqqqq", 0},
		{"find_none_short", "identities?q=qq", 0},
		{"search_name", "identities?query=" + last, 1},
		{"search_part", "identities?query=" + mid[len(mid)-6:], 1},
		{"search_common", "identities?query=invoice", 100},
		{"search_within", "identities?query=-" + regions[0] + "-", 1},
		{"search_none", "identities?query=qqqqq", 0},
		{"search_none_short", "identities?query=qq", 0},
		{"identity", "identities/" + mid, -1},
		{"owners", "owners", 10},
		{"owner", "owners/" + string(owner(3)), -1},
		{"upstreams", "upstreams", 1},
		{"guardrails", "guardrails", 0},
		{"tasks", "tasks", 0},
		{"approvals", "approvals", 0},
		{"gateways", "gateways", 1},
		{"events", "ledger/events", 1},
	}
}

// after is how a page that ended with that name says where the next begins.
func after(name string) string {
	b, _ := json.Marshal(map[string]string{"s": "name", "m": name})
	return base64.RawURLEncoding.EncodeToString(b)
}

// api asks each question several times and prints the median. It returns the slowest.
func (s *stack) api(n int) (slowest time.Duration, err error) {
	for _, q := range asks(n) {
		var took []time.Duration
		for range 9 {
			var page struct{ Items []any }
			begun := time.Now()
			if err := s.call("GET", q.path, nil, &page); err != nil {
				return 0, err
			}
			took = append(took, time.Since(begun))
			if len(page.Items) < q.least {
				return 0, fmt.Errorf("%s: %d were found, and there are at least %d", q.path, len(page.Items), q.least)
			}
		}
		m := median(took[1:]) // the first has the connection made and the statement prepared
		print("api_"+q.name, float64(m.Microseconds())/1000, "ms", "")
		slowest = max(slowest, m)
	}
	return slowest, nil
}
