package main

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func of(t *testing.T) *model {
	c, err := parse(measured)
	if err != nil {
		t.Fatal(err)
	}
	return &model{constants: c, identities: 1e8, gateways: 1000, cores: 4, kills: 20, lease: 10}
}

// TestMeasured: what is in the repository is enough to say something, and it says the same each time.
func TestMeasured(t *testing.T) {
	m := of(t)
	var a, b strings.Builder
	m.report(&a)
	m.report(&b)
	if a.String() != b.String() || strings.Contains(a.String(), "NaN") || strings.Count(a.String(), "\n|") < 20 {
		t.Errorf("%s\nand then\n%s", a.String(), b.String())
	}
}

// TestNodes: with more control nodes, less to do for each gateway, and a shorter way, it is over sooner; all gateways refuse, and then confirm.
func TestNodes(t *testing.T) {
	m := of(t)
	kill := func(nodes int, n network) killed { return m.kill(rand.New(rand.NewPCG(1, 1)), nodes, n) }
	one, ten, far := kill(1, networks[0]), kill(10, networks[0]), kill(10, networks[1])
	for _, k := range []killed{one, ten, far} {
		if len(k.refused) != m.gateways || k.confirmed < k.refused[len(k.refused)-1] {
			t.Errorf("%d of %d refused, the last at %v, all confirmed at %v", len(k.refused), m.gateways, k.refused[len(k.refused)-1], k.confirmed)
		}
	}
	if ten.confirmed >= one.confirmed || far.confirmed <= ten.confirmed {
		t.Errorf("one node %v, ten %v, ten that are far %v", one.confirmed, ten.confirmed, far.confirmed)
	}
	// One node cannot be faster than its cores.
	if least := float64(m.gateways) * m.each() / float64(m.cores); one.confirmed < least {
		t.Errorf("confirmed after %v, and that much work takes %v", one.confirmed, least)
	}
	m.constants["kill_fleet_control_cpu_us"] /= 10
	if cheap := kill(1, networks[0]); cheap.confirmed >= one.confirmed {
		t.Errorf("a tenth of the work takes %v instead of %v", cheap.confirmed, one.confirmed)
	}
	m.loss = 0.05
	if lossy := kill(10, networks[0]); lossy.confirmed <= ten.confirmed+0.1 {
		t.Errorf("with losses it takes %v, without %v", lossy.confirmed, ten.confirmed)
	}
}

func TestRefused(t *testing.T) {
	for text, says := range map[string]string{"": "is not measured", "bench x": "line 1", "bench x y z": "line 1"} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
