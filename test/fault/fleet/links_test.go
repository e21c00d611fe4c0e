package fleet

import (
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/test/fault/history"
)

// cut is a gateway that no control node can reach any more.
func cut(gateways ...string) history.Broken { return history.Broken{Cuts: gateways} }

// touch are gateways that may refuse for a while.
func touch(gateways ...string) history.Broken { return history.Broken{Touches: gateways} }

// nobody is to be away for longer than a moment: there is another control node.
var nobody = history.Broken{}

// long is a little more than a lease, so that one that goes on is seen.
const long = lease + 2*time.Second

// TestLinks: what the network does to a fleet.
func TestLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	n := w.net
	both := func(do func(from, to string) func(), g string) func() { return together(do(g, "c1"), do(g, "c2")) }
	back := func(from, to string) func() { return n.drop(to, from) }

	w.fault("gw-a is cut off", cut("gw-a"), func() func() { return both(n.cut, "gw-a") }, long)
	w.fault("nothing from gw-b arrives", cut("gw-b"), func() func() { return both(n.drop, "gw-b") }, long)
	w.fault("nothing arrives at gw-c", cut("gw-c"), func() func() { return both(back, "gw-c") }, long)
	w.fault("gw-a has one control node only", nobody, func() func() { return n.cut("gw-a", "c1") }, long)
	w.fault("c1 is cut off from all gateways", nobody, func() func() {
		return together(n.cut("c1", "gw-a"), n.cut("c1", "gw-b"), n.cut("c1", "gw-c"))
	}, 15*time.Second)
	w.during("the links of gw-b flap", touch("gw-b"), func() func() { return func() {} }, func() {
		for range 12 {
			mend := both(n.cut, "gw-b")
			time.Sleep(700 * time.Millisecond)
			mend()
			time.Sleep(500 * time.Millisecond)
		}
	})
	w.fault("the link of gw-c is slow", touch("gw-c"), func() func() { return n.narrow("gw-c", "64kbit") }, long)
	w.judge()
}

// TestDatabaseLinks: what the network does between control nodes and their database.
func TestDatabaseLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	n := w.net
	w.fault("c1 is cut off from the database", nobody, func() func() { return n.cut("c1", "db1") }, 20*time.Second)
	w.fault("nothing from the database arrives at c2", nobody, func() func() { return n.drop("db1", "c2") }, 10*time.Second)
	w.fault("nothing from c2 arrives at the database", nobody, func() func() { return n.drop("c2", "db1") }, 10*time.Second)
	w.fault("the database is cut off", cut("gw-a", "gw-b", "gw-c"), func() func() { return together(n.cut("c1", "db1"), n.cut("c2", "db1")) }, long)
	w.judge()
}
