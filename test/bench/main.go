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
	"flag"
	"fmt"
	"log"
	"os"
	"time"
)

func main() {
	log.SetFlags(0)
	conns := flag.Int("conns", 32, "connections")
	rounds := flag.Int("rounds", 7, "rounds of each comparison")
	each := flag.Duration("each", 2*time.Second, "time of one round")
	flag.Parse()
	if err := run(flag.Args(), *conns, *rounds, *each); err != nil {
		log.Fatal("bench: ", err)
	}
}

func run(args []string, conns, rounds int, each time.Duration) error {
	if len(args) > 0 {
		switch args[0] {
		case "upstream":
			return upstream()
		case "bare":
			return bare(args[1], nil)
		}
		return fmt.Errorf("role %q", args[0])
	}
	up, err := child("upstream")
	if err != nil {
		return err
	}
	proxy, err := child("bare", "http://"+up.addr)
	if err != nil {
		return err
	}
	get := func(path, header string) func(int) []byte {
		return func(int) []byte { return []byte("GET " + path + " HTTP/1.1\r\nHost: bench\r\n" + header + "\r\n") }
	}
	got, err := compare(conns, rounds, each,
		target{name: "direct", addr: up.addr, request: get("/things/17c2", "")},
		target{name: "bare", addr: proxy.addr, pid: proxy.pid, request: get("/things/17c2", "")},
	)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "direct %.0f/s, bare %.0f/s, bare CPU %.4f s per 1000\n", rate(got["direct"]), rate(got["bare"]), cpu(got["bare"]))
	return nil
}
