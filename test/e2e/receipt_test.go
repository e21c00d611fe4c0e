package e2e

import (
	"crypto/rand"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store"
)

// TestReceipt: a gateway that does not confirm has stopped by the time that the receipt says, and --wait waits for that.
func TestReceipt(t *testing.T) {
	t.Parallel()
	h := build(t, "--lease", "6s")
	h.settle()
	if out := h.do("identity", "suspend", "reader", "--wait"); !strings.Contains(out, "in force at gateway-1 after ") || strings.Contains(out, "waiting") {
		t.Errorf("all have confirmed: %s", out)
	}
	h.do("identity", "resume", "reader")
	h.stop()
	box, err := seal.Open(filepath.Join(h.data, "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), store.Config{Dir: h.data, Now: time.Now, Rand: rand.Reader, Seal: box, Origin: "lanyard.local/ledger", Fatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	const lease = 8 * time.Second // longer than it is now
	if err := db.NoteAcks(t.Context(), []store.Ack{{Gateway: "gateway-2", At: time.Now(), Lease: lease}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	h.start()
	begun := time.Now()
	var k control.KillResult
	h.json(&k, "kill", "reader", "--reason", "test")
	if left := k.Receipt.Bound.Sub(k.Receipt.AsOf); left <= 0 || left > lease || len(k.Receipt.Waiting) != 1 || k.Receipt.Settled() {
		t.Errorf("%+v", k.Receipt)
	}
	out := h.do("grant", "revoke", "reader/read-mail", "--reason", "test", "--wait")
	for _, want := range []string{"in force at gateway-1 after ", "waiting for 1 gateway, until ", "gateway-2 has stopped: its lease ended at ", "in force everywhere after "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if took := time.Since(begun); took > 2*lease {
		t.Errorf("it waited for %s", took)
	}
	if out := h.do("restore", "reader", "--reason", "test", "--wait"); !strings.Contains(out, "gateway-2 has stopped") || strings.Contains(out, "NOT yet") {
		t.Errorf("who has stopped is not waited for: %s", out)
	}
	if out := h.try("doctor").out; !strings.Contains(out, "gateway gateway-2 has stopped") {
		t.Errorf("doctor: %s", out)
	}
	for _, flag := range []string{"500ms", "6m", "-1s"} {
		h.fails(64, "--lease", "serve", "--lease", flag)
	}
}

// TestSuspendedServe: serve that was stopped for longer than its lease goes on by itself.
func TestSuspendedServe(t *testing.T) {
	t.Parallel()
	h := build(t, "--lease", "1s")
	h.settle()
	h.do(h.asReader("GET", profile)...)
	h.serve.Process.Signal(syscall.SIGSTOP)
	time.Sleep(1500 * time.Millisecond)
	h.serve.Process.Signal(syscall.SIGCONT)
	h.eventually("it goes on", func() bool { return h.try(h.asReader("GET", profile)...).code == 0 })
	if out := h.do("kill", "reader", "--reason", "test", "--wait"); !strings.Contains(out, "in force at gateway-1") {
		t.Error(out)
	}
}
