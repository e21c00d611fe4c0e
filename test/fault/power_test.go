package fault

import (
	"testing"

	"github.com/lanyard-dev/lanyard/test/fault/lossyfs"
)

// TestInstrument shows that the tests here can fail: with synchronous=NORMAL
// SQLite acknowledges before the disk has it, and a power cut must find that.
// With FULL the same cuts must find nothing.
func TestInstrument(t *testing.T) {
	needFUSE(t)
	n := rounds(t, 30)
	if s := powerless(t, bare, "NORMAL", n, lossyfs.DropAll); s.lost == 0 {
		t.Errorf("synchronous=NORMAL lost nothing, so a loss would not be seen: %v", s)
	} else {
		t.Logf("bare SQLite, synchronous=NORMAL: %v", s)
	}
	for loss, name := range map[lossyfs.Loss]string{lossyfs.DropAll: "dropped", lossyfs.Reorder: "reordered", lossyfs.TornLast: "torn"} {
		s := powerless(t, bare, "FULL", n, loss)
		t.Logf("bare SQLite, synchronous=FULL, %s: %v", name, s)
		if s.lost > 0 {
			t.Errorf("synchronous=FULL, %s: %v", name, s)
		}
	}
	if s := killed(t, bare, n); s.lost > 0 {
		t.Errorf("kill -9: %v", s)
	} else {
		t.Logf("bare SQLite, kill -9: %v", s)
	}
}
