// Simulate says how a fleet behaves that nobody has here: a hundred million identities, ten thousand gateways. It takes
// what was measured on one machine (measured.txt, from make scale and make bench), has changes go from a commit
// through control nodes to gateways and acknowledgements come back, and prints tables in Markdown.
//
//	go run ./test/simulate [-gateways 10000] [-identities 1e8] [-set kill_fleet_control_cpu_us=80]
//
// What is simulated: each control node has some cores and one queue; a line that goes down, and an acknowledgement that
// comes up, take processor time there; ways through networks are drawn from a distribution with a long tail, and now and then a
// packet is lost and sent again. What is not: other load on the same nodes, and gateways that are slow themselves.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
)

//go:embed measured.txt
var measured string

// constants are what was measured, by name.
type constants map[string]float64

// parse reads lines as make scale and make bench print them: a word, a name, a value, a unit.
func parse(text string) (constants, error) {
	c := constants{}
	for n, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) < 3 {
			return nil, fmt.Errorf("line %d: want a word, a name, a value and a unit", n+1)
		}
		v, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		c[f[1]] = v
	}
	return c, c.check()
}

// used are the names without which nothing can be said.
var used = []string{"gateway_memory_per_identity", "wire_bytes_per_identity", "identities", "snapshot_cpu_gateway", "snapshot_cpu_control", "kill_fleet_control_cpu_us",
	"pg_commit_ms", "events_per_s_into_pg", "request_cpu"}

func (c constants) check() error {
	for _, name := range used {
		if c[name] <= 0 {
			return fmt.Errorf("%s is not measured: run make scale and make bench, and put their lines into test/simulate/measured.txt", name)
		}
	}
	return nil
}

// sets are constants that the command line says.
type sets constants

func (s sets) String() string { return "" }
func (s sets) Set(text string) error {
	name, value, _ := strings.Cut(text, "=")
	v, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return fmt.Errorf("%s: want name=number", text)
	}
	s[name] = v
	return nil
}

func main() {
	log.SetFlags(0)
	m := model{}
	over := sets{}
	file := flag.String("measured", "", "other measurements than those in the repository")
	flag.Float64Var(&m.identities, "identities", 1e8, "how many there are")
	flag.IntVar(&m.gateways, "gateways", 10_000, "how many there are")
	flag.IntVar(&m.cores, "cores", 8, "of each control node")
	flag.IntVar(&m.kills, "kills", 300, "how many are simulated of each fleet")
	flag.Float64Var(&m.loss, "loss", 0.001, "how many of the packets are lost, and sent again after 200 ms")
	flag.Float64Var(&m.lease, "lease", 10, "seconds")
	flag.Uint64Var(&m.seed, "seed", 1, "of chance")
	flag.Var(over, "set", "name=value: another constant")
	flag.Parse()
	if *file != "" {
		b, err := os.ReadFile(*file)
		if err != nil {
			log.Fatal("simulate: ", err)
		}
		measured = string(b)
	}
	var err error
	if m.constants, err = parse(measured); err == nil {
		for name, v := range over {
			m.constants[name] = v
		}
		err = m.check()
	}
	if err != nil {
		log.Fatal("simulate: ", err)
	}
	m.report(os.Stdout)
}

// report prints all tables.
func (m *model) report(w io.Writer) {
	fmt.Fprintf(w, "%.0f identities, %d gateways, control nodes of %d cores, a lease of %.0f s\n\n", m.identities, m.gateways, m.cores, m.lease)
	m.size(w)
	m.rates(w)
	m.latency(w)
}
