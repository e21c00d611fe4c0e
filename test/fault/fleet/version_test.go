package fleet

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// before builds the version before: the last one of this line before a migration was added. Where that history is not
// at hand, as in a shallow clone, the test is skipped.
func before(t *testing.T) (bin, commit string) {
	t.Helper()
	git := func(args ...string) (string, error) {
		c := exec.Command("git", args...)
		c.Dir = "../../.."
		out, err := c.Output()
		return strings.TrimSpace(string(out)), err
	}
	changed, err := git("log", "-1", "--first-parent", "--diff-merges=first-parent", "--diff-filter=A", "--format=%H", "--", "internal/control/store/migrations")
	changed, _, _ = strings.Cut(changed, "\n")
	if err == nil && changed == "" {
		err = errors.New("no commit added a migration")
	}
	if err == nil {
		commit, err = git("rev-parse", changed+"^")
	}
	dir := t.TempDir()
	if err == nil {
		var archive []byte
		c := exec.Command("git", "archive", commit)
		c.Dir = "../../.."
		if archive, err = c.Output(); err == nil {
			untar := exec.Command("tar", "-x", "-C", dir)
			untar.Stdin = bytes.NewReader(archive)
			err = untar.Run()
		}
	}
	if err != nil {
		t.Skipf("not run: the history of versions is not here: %v", err)
	}
	bin = filepath.Join(dir, "lanyard-before")
	build := exec.Command("go", "build", "-o", bin, "./cmd/lanyard") // as built.Programs does: what is not of its own is there already
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("not run: the version before cannot be built here: %v: %s", err, out)
	}
	return bin, commit
}

// TestVersions: a fleet is updated while it works, the control plane first. Gateways of the version before follow the new one, and
// a control node of the version before does not start on the newer database.
func TestVersions(t *testing.T) {
	t.Parallel()
	old, commit := before(t)
	t.Logf("the version before is %.12s", commit)
	w := newWorld(t, setup{bin: func(string) string { return old }, folders: true})
	update := func(list ...*machine) func() func() {
		return func() func() {
			for _, m := range list {
				m.signal(syscall.SIGTERM)
			}
			for _, m := range list {
				if !m.gone(30 * time.Second) {
					t.Errorf("%s does not end when it is asked to", m.name)
				}
				m.kill()
				m.bin = program(t)
			}
			for _, m := range list {
				m.start()
			}
			return func() {}
		}
	}
	c2 := w.nodes[1]
	w.fault("the control plane is updated", everyone, update(w.nodes...), 0)
	w.fault("a control node is of the version before", nobody, func() func() {
		c2.kill()
		c2.bin = old
		c2.start()
		const refused = "its schema is version" // newer than it knows
		if !c2.gone(30*time.Second) || !strings.Contains(c2.said(), refused) {
			t.Errorf("it does not say %q: %s", refused, c2.said())
		}
		return func() {
			c2.kill()
			c2.bin = program(t)
			c2.start()
		}
	}, time.Second)
	for _, g := range w.gateways {
		w.fault(g.name+" is updated", touch(g.name), update(g), 0)
	}
	w.judge()
}

// gone says whether it ended within a time.
func (m *machine) gone(within time.Duration) bool {
	m.mu.Lock()
	ended := m.ended
	m.mu.Unlock()
	select {
	case <-ended:
		return true
	case <-time.After(within):
		return false
	}
}
