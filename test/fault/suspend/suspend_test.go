// Package suspend puts a gateway's machine to sleep: ACPI S3, as closing a lid does, and not only its processes. The machine is
// one that QEMU emulates, with a kernel of Debian's; the control plane, the upstream and the agents are on this one. What is
// looked at is what the agents were answered, and what the upstream received.
package suspend

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

const (
	// asleep is for how long the machine sleeps at least. It measures that by a clock that knows seconds alone.
	asleep = lease + 4*time.Second
	// patience is more time than is taken by anything that works.
	patience = 5 * time.Minute
	lapsed   = "urn:lanyard:problem:lease"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until do works.
func eventually(t *testing.T, what string, do func() error) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		err := do()
		if err == nil {
			return
		}
		if time.Since(begun) > patience {
			t.Fatalf("after %s it is not so that %s: %v", patience, what, err)
		}
	}
}

// TestSuspended: a machine that slept for longer than the lease wakes up without one, though the clock that stands still in
// sleep says that it goes on; what was taken away meanwhile is never let pass.
func TestSuspended(t *testing.T) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skipf("not run: %v", errMissing)
	}
	root := os.Getenv("SUSPEND_KERNEL")
	if root == "" {
		t.Skipf("not run: %v", errMissing)
	}
	k, err := findKernel(root)
	must(t, err)
	dir := t.TempDir()
	build := func(name, from string) string {
		bin := filepath.Join(dir, name)
		c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, from)
		c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64") // there is nothing to link with
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("building %s: %v: %s", name, err, out)
		}
		return bin
	}
	lanyard := build("lanyard", "../../../cmd/lanyard")
	begun := time.Now()
	p := newPlane(t, lanyard)
	first, err := os.ReadFile(build("init", "./guest"))
	must(t, err)
	m := boot(t, qemu, k, p.gateway, append(p.files("sleeper"), file{"init", program, first}))
	steady := p.agent("steady")
	steady.passes()
	m.ask() // the first time takes longer

	// A part that fails leaves nothing for those after it to stand on.
	part := func(name string, do func(t *testing.T)) {
		t.Helper()
		if !t.Run(name, func(t *testing.T) {
			p.t, m.t = t, t
			do(t)
		}) {
			t.FailNow()
		}
	}
	part("it does not sleep", func(t *testing.T) {
		from := time.Now()
		end := p.load(steady)
		time.Sleep(asleep)
		steady.passes() // those before it had time
		until := time.Now()
		end()
		all := p.between(from, until)
		for _, a := range all {
			if a.status != 200 {
				t.Errorf("%d %s after %s, with its machine awake and its control plane there", a.status, a.problem, a.ended.Sub(from))
			}
		}
		t.Logf("%d requests passed in %s", len(all), until.Sub(from))
	})
	part("nobody is there when it wakes", func(t *testing.T) {
		prove(t, func(int) bool {
			steady.passes()
			before, fell := m.sleeps()
			must(t, p.process.Signal(syscall.SIGSTOP))
			defer p.process.Signal(syscall.SIGCONT)
			end := p.load(steady)
			woken := m.wakes(fell)
			answered := func(what string, enough func([]answer) bool) {
				t.Helper()
				eventually(t, what, func() error {
					if all := p.between(fell, time.Now()); !enough(all) {
						return fmt.Errorf("there are %d answers", len(all))
					}
					return nil
				})
			}
			answered("a request is answered", func(all []answer) bool { return len(all) > 0 })
			now := m.ask()
			answered("many are, and the one over the connection of before", func(all []answer) bool {
				return len(all) >= 20 && slices.ContainsFunc(all, func(a answer) bool { return a.kept })
			})
			until := time.Now()
			all := p.between(fell, until)
			for i, a := range all {
				if a.status != 503 || a.problem != lapsed {
					t.Errorf("answer %d is %d %s, %s after it was woken", i, a.status, a.problem, a.ended.Sub(woken))
				}
			}
			if n := p.received("", fell, until); n > 0 {
				t.Errorf("the upstream received %d requests", n)
			}
			t.Logf("%d answers: the first %s after it was woken, the last after %s", len(all), all[0].ended.Sub(woken), all[len(all)-1].ended.Sub(woken))
			must(t, p.process.Signal(syscall.SIGCONT))
			end()
			steady.passes() // by itself
			return proven(t, before, now)
		})
	})
	part("somebody is killed while it sleeps", func(t *testing.T) {
		prove(t, func(n int) bool {
			mortal := p.agent(fmt.Sprint("mortal", n))
			mortal.passes()
			steady.passes()
			before, fell := m.sleeps()
			receipt := p.kill(mortal.name)
			if _, confirmed := receipt.Confirmed["sleeper"]; confirmed || receipt.Waiting["sleeper"].IsZero() {
				t.Errorf("the receipt does not say that it waits for who sleeps: %+v", receipt)
			}
			end := p.load(mortal, steady)
			woken := m.wakes(fell)
			answered := func(what string, is func(answer) bool) {
				t.Helper()
				eventually(t, what, func() error {
					for _, a := range p.between(fell, time.Now()) {
						if a.who == mortal.name && is(a) {
							return nil
						}
					}
					return errors.New("not yet")
				})
			}
			answered("who was killed is answered", func(answer) bool { return true })
			now := m.ask()
			answered("who was killed is refused for that", func(a answer) bool { return a.problem != lapsed })
			steady.passes()
			until := time.Now()
			end()
			seen := map[string]int{}
			for _, a := range p.between(fell, until) {
				seen[fmt.Sprint(a.who, ": ", a.status, " ", a.problem)]++
				if a.who == mortal.name && a.status != 401 && a.status != 403 && a.problem != lapsed {
					t.Errorf("who was killed in its sleep is answered %d %s, %s after it was woken", a.status, a.problem, a.ended.Sub(woken))
				}
			}
			if n := p.received(mortal.name, fell, until); n > 0 {
				t.Errorf("the upstream received %d requests of who was killed in its sleep", n)
			}
			t.Log(seen)
			return proven(t, before, now)
		})
	})
	t.Logf("since the machine was started: %s", time.Since(begun))
}

// prove has something done again that could not show anything.
func prove(t *testing.T, do func(round int) bool) {
	for round := range 3 {
		if do(round) || t.Failed() {
			return
		}
	}
	t.Skip("not shown: waking up takes this machine longer than is left of the lease, which has ended by any clock then")
}

// proven reports whether only the sleep can have ended the lease: the clock that stands still in it says that the lease runs
// when the first has been refused already, and the one that goes on that it has ended.
func proven(t *testing.T, before, refused clocks) bool {
	t.Helper()
	steady, boot := refused.steady-before.steady, refused.boot-before.boot
	t.Logf("before it slept the lease had %s left; until the first was refused CLOCK_MONOTONIC went on by %s, CLOCK_BOOTTIME by %s", before.left, steady, boot)
	if boot-steady < lease {
		t.Errorf("CLOCK_BOOTTIME counted %s of a sleep of %s", boot-steady, asleep)
	}
	return steady < before.left
}
