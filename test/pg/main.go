// Pg runs a command with a PostgreSQL of its own, which ends with it:
//
//	go run ./test/pg go test ./internal/control/...
//
// Its address is in LANYARD_TEST_DATABASE, and tests that open a store open it there.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "pg: which command?")
		os.Exit(64)
	}
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	s, err := pgserver.Start()
	if errors.Is(err, pgserver.ErrMissing) && !pgserver.CI() {
		fmt.Println("not run:", err)
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pg:", err)
		return 1
	}
	defer s.Stop()
	c := exec.Command(args[0], args[1:]...)
	c.Env = append(os.Environ(), storetest.DatabaseVariable+"="+s.URL())
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "pg:", err)
		return 1
	}
	return 0
}
