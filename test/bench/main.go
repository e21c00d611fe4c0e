// Bench prints the figures of Lanyard, one a line:
//
//	ratio <name> <value>
//	bench <name> <value> <unit>
//
// What a ratio compares is measured in the same run, in turn, and the medians
// are divided. Load, proxies, gateway and upstream are processes of their own;
// a process's CPU seconds are read from /proc.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"slices"
	"strconv"
	"time"
)

func main() {
	log.SetFlags(0)
	conns := flag.Int("conns", 32, "connections")
	rounds := flag.Int("rounds", 7, "rounds of each comparison")
	each := flag.Duration("each", 2*time.Second, "time of one round")
	only := flag.String("only", "", "this part alone, such as kill; of one that there is not the answer is a list")
	flag.Parse()
	if err := run(flag.Args(), *only, *conns, *rounds, *each); err != nil {
		log.Fatal("bench: ", err)
	}
}

func run(args []string, only string, conns, rounds int, each time.Duration) error {
	if len(args) > 0 {
		return role(args)
	}
	parts := []struct {
		name string
		run  func() error
	}{
		{"proxies", func() error { return proxies(conns, rounds, each) }},
		{"mcp", func() error { return mcpCalls(conns, rounds, each) }},
		{"chain", func() error { return chains(conns, rounds, each) }},
		{"issue", func() error { return issuing(conns, rounds, each) }},
		{"decide", deciding},
		{"trace", tracing},
		{"page", func() error { return pages(rounds, each) }},
		{"kill", killing},
		{"fleet", fleetKilling},
		{"cut", cutOff},
		{"children", children},
		{"verify", verifying},
		{"append", func() error { return appending(each) }},
		{"pg", func() error { return onPostgres(conns, rounds, each) }},
		{"nodes", func() error { return twoNodes(conns, rounds, each) }},
		{"console", func() error { return console(rounds) }},
	}
	var failed error
	var names []string
	for _, p := range parts {
		if names = append(names, p.name); only == "" || only == p.name {
			failed = errors.Join(failed, p.run())
		}
	}
	if only != "" && !slices.Contains(names, only) {
		return fmt.Errorf("-only %s: there is %v", only, names)
	}
	return failed
}

// role is what a child does.
func role(args []string) error {
	switch {
	case args[0] == "upstream":
		return upstream()
	case args[0] == "bare" && len(args) == 2:
		return bare(args[1], nil)
	case args[0] == "bare-tls" && len(args) == 2:
		conf, _, err := serverTLS()
		if err != nil {
			return err
		}
		return bare(args[1], conf)
	case args[0] == "gateway" && len(args) == 4:
		return runWing(args[1], args[2], args[3])
	case args[0] == "mcp-server" && len(args) == 2, args[0] == "mcp-gateway" && len(args) == 3:
		n, err := strconv.Atoi(args[len(args)-1])
		if err != nil {
			return err
		}
		if len(args) == 2 {
			return runTools(n)
		}
		return runMCPWing(args[1], n)
	case args[0] == "page-upstream":
		return runPages()
	case args[0] == "page-gateway" && len(args) == 3:
		return runPageWing(args[1], args[2])
	case args[0] == "issuer" && len(args) == 3:
		return runIssuer(args[1], args[2])
	case args[0] == "chain":
		return runChain()
	case args[0] == "decide" && len(args) == 2:
		return runDecide(args[1])
	}
	return fmt.Errorf("role %q", args)
}

func ratio(name string, v float64)               { fmt.Printf("ratio %s %.3f\n", name, v) }
func figure(name string, v float64, unit string) { fmt.Printf("bench %s %.4g %s\n", name, v, unit) }
