package main

import (
	"container/heap"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// model is a fleet.
type model struct {
	constants
	identities float64
	gateways   int
	cores      int
	kills      int
	loss       float64
	lease      float64 // in seconds
	seed       uint64
}

// sending is which part of what a change costs a control node for each gateway goes into the line down; the rest is the acknowledgement.
const sending = 0.25

func (m *model) each() float64 { return m.constants["kill_fleet_control_cpu_us"] / 1e6 }

// size is what a gateway and a control node hold, and how long it takes to fill one.
func (m *model) size(w io.Writer) {
	c := m.constants
	memory := m.identities * c["gateway_memory_per_identity"]
	wire := m.identities * c["wire_bytes_per_identity"]
	gateway, control := m.identities*c["snapshot_cpu_gateway"]/c["identities"], m.identities*c["snapshot_cpu_control"]/c["identities"]
	fmt.Fprintf(w, "| a view of all of it | |\n|---|---|\n")
	fmt.Fprintf(w, "| memory at rest, of each gateway and of each control node | %.0f GiB |\n", memory/(1<<30))
	fmt.Fprintf(w, "| memory while a new snapshot is read beside the one in use | %.0f GiB |\n", 2*memory/(1<<30))
	fmt.Fprintf(w, "| a snapshot on the wire | %.0f GB; at 10 Gbit/s %s |\n", wire/1e9, human(wire*8/10e9))
	fmt.Fprintf(w, "| reading it, one core of the gateway | %s |\n", human(gateway))
	fmt.Fprintf(w, "| sending it, one core of a control node | %s |\n", human(control))
	fmt.Fprintf(w, "| all %d gateways anew, from 10 control nodes, 3 at a time each | %s |\n\n", m.gateways, human(float64(m.gateways)/30*max(gateway, control)))
}

// rates is what a fleet takes of control nodes and of the database, by how many nodes there are.
func (m *model) rates(w io.Writer) {
	fmt.Fprintf(w, "| control nodes | changes/s that reach every gateway, at most | of one core, for leases alone | reads/s of the database for leases |\n|---|---|---|---|\n")
	renewals := float64(m.gateways) / (m.lease / 3)
	for _, nodes := range []int{1, 3, 10, 30} {
		mine := float64(m.gateways) / float64(nodes)
		leases := renewals / float64(nodes) * m.each() * (1 - sending)
		fmt.Fprintf(w, "| %d | %.0f | %.0f %% | %.0f |\n", nodes, max(0, float64(m.cores)-leases)/(mine*m.each()), leases*100, renewals*2)
	}
	events := m.constants["events_per_s_into_pg"]
	fmt.Fprintf(w, "\nOne database takes %.0f events/s as measured: of %d gateways, %.1f requests/s each. One core of a gateway serves %.0f/s.\n\n", events, m.gateways, events/float64(m.gateways), 1e6/m.constants["request_cpu"])
}

// latency is how long a kill takes, from its commit on.
func (m *model) latency(w io.Writer) {
	fmt.Fprintf(w, "| control nodes | network | refused p50 | refused by the last of a kill, p50 | p99 | all confirmed, p50 | p99 |\n|---|---|---|---|---|---|---|\n")
	for _, nodes := range []int{1, 3, 10, 30} {
		for _, n := range networks {
			r := rand.New(rand.NewPCG(m.seed, uint64(nodes)))
			var all, last, confirmed []float64
			for range m.kills {
				k := m.kill(r, nodes, n)
				all = append(all, k.refused[len(k.refused)/2])
				last, confirmed = append(last, k.refused[len(k.refused)-1]), append(confirmed, k.confirmed)
			}
			fmt.Fprintf(w, "| %d | %s | %s | %s | %s | %s | %s |\n", nodes, n.name, human(at(all, 50)), human(at(last, 50)), human(at(last, 99)), human(at(confirmed, 50)), human(at(confirmed, 99)))
		}
	}
	fmt.Fprintf(w, "\nA gateway that cannot be reached has stopped after %.0f s at most, however many there are: that is its lease, and no simulation.\n", m.lease)
}

// network is the way between a control node and a gateway: how long it takes once, at the median, and how that varies.
type network struct {
	name   string
	median float64 // seconds
	sigma  float64 // of the logarithm
}

var networks = []network{{"one site", 0.0003, 0.5}, {"across the world", 0.06, 0.6}}

// way draws one.
func (m *model) way(r *rand.Rand, n network) float64 {
	d := n.median * math.Exp(n.sigma*r.NormFloat64())
	for r.Float64() < m.loss {
		d += 0.2
	}
	return d
}

// killed is one kill: when each gateway refused, in order, and when the last has confirmed. In seconds from its commit.
type killed struct {
	refused   []float64
	confirmed float64
}

// kill has a change go down to all gateways and be confirmed by them.
func (m *model) kill(r *rand.Rand, nodes int, n network) (k killed) {
	for node := range nodes {
		mine := m.gateways / nodes
		if node < m.gateways%nodes {
			mine++
		}
		hears := m.constants["pg_commit_ms"] / 1000 / 2 // a notification and a look at the head: half of what a commit is
		k.node(m, r, mine, hears, n)
	}
	slices.Sort(k.refused)
	return k
}

// node is one control node with its gateways: jobs in the order in which they can begin, on as many cores as it has.
func (k *killed) node(m *model, r *rand.Rand, gateways int, from float64, n network) {
	cores := make(queue, m.cores) // when each is free
	for c := range cores {
		cores[c] = from
	}
	heap.Init(&cores)
	run := func(ready, takes float64) (done float64) {
		begin := max(ready, cores[0])
		cores[0] = begin + takes
		heap.Fix(&cores, 0)
		return begin + takes
	}
	applied := 50e-6 // by the gateway, from the line until the view has it
	var acks queue
	for range gateways {
		refuses := run(from, m.each()*sending) + m.way(r, n) + applied
		k.refused = append(k.refused, refuses)
		acks = append(acks, refuses+m.way(r, n))
	}
	slices.Sort(acks)
	for _, at := range acks { // lines go first: they were there before
		k.confirmed = max(k.confirmed, run(at, m.each()*(1-sending)))
	}
}

// queue is a heap of times.
type queue []float64

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i] < q[j] }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(v any)        { *q = append(*q, v.(float64)) }
func (q *queue) Pop() any {
	v := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return v
}

// at is a percentile.
func at(v []float64, percent int) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)*percent/100]
}

// human is seconds as people read them.
func human(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", s*1000)
	case d < 2*time.Minute:
		return fmt.Sprintf("%.1f s", s)
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}
