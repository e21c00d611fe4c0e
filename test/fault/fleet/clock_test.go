package fleet

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/test/fault/skew"
)

// TestClocks: the wall clock of each kind of process steps by hours, both ways, in the midst of its work. Tokens that are not
// good by a clock are refused where that clock is; what was revoked stays so, and nothing that was recorded is lost.
func TestClocks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin, clock := filepath.Join(dir, "lanyard"), func(machine string) skew.Clock { return skew.Clock(filepath.Join(dir, machine)) }
	if err := skew.Build(bin, "../../../cmd/lanyard", t.TempDir()); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, setup{bin: func(string) string { return bin }, env: func(machine string) []string {
		if err := clock(machine).Make(); err != nil {
			t.Fatal(err)
		}
		return []string{skew.Variable + "=" + string(clock(machine))}
	}})
	step := func(machine string, by time.Duration) func() func() {
		return func() func() {
			w.must(clock(machine).Step(by))
			return func() { w.must(clock(machine).Step(0)) }
		}
	}
	for _, by := range []time.Duration{5 * time.Hour, -5 * time.Hour} {
		w.fault("the clock of gw-a is off by "+by.String(), touch("gw-a"), step("gw-a", by), 6*time.Second)
		w.fault("the clock of c1 is off by "+by.String(), everyone, step("c1", by), 6*time.Second)
	}
	w.fault("the clocks of all step", everyone, func() func() {
		return together(step("c1", 2*time.Hour)(), step("c2", -2*time.Hour)(), step("gw-b", 26*time.Hour)(), step("gw-c", -26*time.Hour)())
	}, 6*time.Second)
	w.judge()
}
