package port

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// TestFree: what was given out is given to nobody else, also after a while.
func TestFree(t *testing.T) {
	const many = 300
	if os.Getenv("LANYARD_TEST_PORTS") != "" { // another process
		for range many {
			os.Stdout.WriteString(Free() + "\n")
		}
		return
	}
	seen := map[string]bool{}
	take := func(address string) {
		if seen[address] {
			t.Errorf("%s was given out twice", address)
		}
		seen[address] = true
	}
	for range many {
		take(Free())
		runtime.GC() // which closes what nobody holds
	}
	c := exec.Command(os.Args[0], "-test.run", "^TestFree$")
	c.Env = append(os.Environ(), "LANYARD_TEST_PORTS=yes")
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "127.") {
			take(strings.TrimSpace(line))
		}
	}
	if len(seen) != 2*many {
		t.Errorf("%d ports", len(seen))
	}
}
