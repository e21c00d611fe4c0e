package skew

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// program says, for each line it is told, its wall clock and how long it has run.
const program = `package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	begun := time.Now()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(time.Now().UnixMilli(), time.Since(begun).Milliseconds())
	}
}
`

// TestSkew: the wall clock steps, both ways, and the monotonic one does not.
func TestSkew(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"main.go": program, "go.mod": "module skewed\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bin, clock := filepath.Join(dir, "skewed"), Clock(filepath.Join(dir, "clock"))
	if err := Build(bin, dir, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if err := clock.Make(); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(bin)
	c.Env = append(os.Environ(), Variable+"="+string(clock))
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	for _, by := range []time.Duration{0, 3*time.Hour + 500*time.Millisecond, -3*time.Hour - 700*time.Millisecond, 0} {
		if err := clock.Step(by); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		io.WriteString(in, "\n")
		var wall, ran int64
		if !said.Scan() {
			t.Fatal("it says nothing")
		}
		if _, err := fmt.Sscan(said.Text(), &wall, &ran); err != nil {
			t.Fatal(err)
		}
		if off := time.UnixMilli(wall).Sub(before) - by; off < -time.Second || off > time.Minute {
			t.Errorf("set to %s, it is off by %s more", by, off)
		}
		if ran < 0 || ran > time.Minute.Milliseconds() {
			t.Errorf("set to %s, it has run for %d ms", by, ran)
		}
	}
	in.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}
