package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/store/storetest/pgserver"
	"github.com/lanyard-dev/lanyard/test/port"
)

// postgres starts a PostgreSQL for a test, and returns flags with a place on it, and a folder for the file that names it.
func postgres(t *testing.T) (file string, s *pgserver.Server) {
	t.Helper()
	var shared pgserver.Shared
	s = shared.Get(t)
	t.Cleanup(shared.End)
	return databaseFile(t, s), s
}

func databaseFile(t *testing.T, s *pgserver.Server) string {
	t.Helper()
	url, err := s.New()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "database")
	if err := os.WriteFile(file, []byte(url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// node is another control node of the same database: its folder has the same seal key.
func (h *house) node() *house {
	h.Helper()
	other := *h
	other.data, other.controlA, other.gateA = h.data+"2", port.Free(), port.Free()
	other.control, other.gate = "http://"+other.controlA, "http://"+other.gateA
	h.copyKey(other.data)
	other.start()
	h.Cleanup(func() { other.stop() })
	return &other
}

// copyKey puts the seal key into another folder.
func (h *house) copyKey(data string) {
	h.Helper()
	key, err := os.ReadFile(filepath.Join(h.data, "seal.key"))
	if err == nil {
		err = os.MkdirAll(data, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(data, "seal.key"), key, 0o600)
	}
	if err != nil {
		h.Fatal(err)
	}
}

// TestPostgres: all of it on PostgreSQL, on two nodes, and the cord pulled at one of them is in force behind the other.
func TestPostgres(t *testing.T) {
	t.Parallel()
	file, _ := postgres(t)
	h := build(t, "--database-file", file, "--feed-listen", "127.0.0.1:0")
	h.settle()
	h.do(h.asReader("GET", profile)...)
	if _, err := os.Stat(filepath.Join(h.data, "lanyard.db")); err == nil {
		t.Error("there is a SQLite, too")
	}
	if strings.Contains(h.log.String(), "database") && strings.Contains(h.log.String(), "search_path") {
		t.Errorf("the log names the database's URL:\n%s", h.log)
	}
	other := h.node()
	other.do(other.asReader("GET", profile)...)
	other.do("owner", "put", "lina", "--name", "Lina", "--email", "lina@example.com")
	if out := h.do("owner", "list"); !strings.Contains(out, "lina") {
		t.Errorf("what the other node made is not there:\n%s", out)
	}
	// Either node signs with, and takes, what the other made of the keys.
	keys := func(h *house) string {
		var list []struct{ ID string }
		h.json(&list, "keys", "list")
		ids := ""
		for _, k := range list {
			ids += k.ID + "\n"
		}
		return ids
	}
	for n, node := range []*house{h, other} {
		node.do("keys", "rotate")
		h.eventually("both have the same keys", func() bool { return keys(h) == keys(other) && strings.Count(keys(h), "\n") == n+2 })
	}
	// Nor does the fleet have two authorities.
	for n, node := range []*house{h, other} {
		node.do("gateway", "ca", "rotate")
		h.eventually("both have the same authorities", func() bool {
			var one, two struct{ Items []struct{ ID, State string } }
			h.json(&one, "gateway", "ca", "list")
			other.json(&two, "gateway", "ca", "list")
			return reflect.DeepEqual(one, two) && len(one.Items) == n+2 && one.Items[0].State == "issues"
		})
	}
	h.do(h.asReader("GET", profile)...)
	other.do(other.asReader("GET", profile)...)
	if out := other.do("kill", "reader", "--reason", "test", "--wait"); strings.Count(out, "in force at gateway-1 (") != 2 || !strings.Contains(out, "in force everywhere") && strings.Contains(out, "waiting") {
		t.Errorf("the receipt does not name both nodes' gateways: %s", out)
	}
	h.eventually("the cord pulled at the other node", func() bool { return h.try(h.asReader("GET", profile)...).code != 0 })
	var a, b struct{ Ledger struct{ Size int } }
	h.do("audit", "verify")
	other.do("audit", "verify")
	h.json(&a, "status")
	other.json(&b, "status")
	if a.Ledger.Size != b.Ledger.Size || a.Ledger.Size == 0 {
		t.Errorf("one node has %d events, the other %d", a.Ledger.Size, b.Ledger.Size)
	}
	h.do("migrate", "--check", "--database-file", file)
	h.fails(1, "in use by a running lanyard serve", "store", "restore", h.backup("--database-file", file), "--database-file", file, "--force")
	// Without its seal key a node does not start, and makes no other.
	h.stop()
	if err := os.Remove(filepath.Join(h.data, "seal.key")); err != nil {
		t.Fatal(err)
	}
	h.fails(1, "seal key is missing", "serve", "--database-file", file, "--listen", port.Free(), "--gateway-listen", port.Free())
}

// backup makes one, and returns its file.
func (h *house) backup(flags ...string) string {
	h.Helper()
	file := filepath.Join(h.TempDir(), "backup")
	h.do(append([]string{"backup", file}, flags...)...)
	return file
}

// TestBackup: a backup of a store in use, put in place elsewhere and in its own place, by both engines.
func TestBackup(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	file := h.backup()
	h.fails(1, "is there already", "backup", file)
	h.do("kill", "reader", "--reason", "test")
	h.do("audit", "export", "after")
	h.fails(64, "store restore", "restore", file, "--reason", "x")
	h.fails(1, "in use by process", "store", "restore", file, "--force")
	h.stop()
	h.fails(1, "there is a store already", "store", "restore", file)
	h.fails(1, "older", "store", "restore", file, "--force", "--checkpoint", "after/checkpoint")
	h.fails(1, "seal key is missing", "--data", h.data+"3", "store", "restore", file)
	if out := h.do("store", "restore", file, "--force"); !strings.Contains(out, "which are what was recorded") {
		t.Errorf("said %s", out)
	}
	h.start()
	h.do(h.asReader("GET", profile)...) // as it was before the cord, which the words of the command and the guide warn of
	h.do("audit", "verify")
	if out := h.do("audit", "search", "--type", "store.restore"); !strings.Contains(out, "store.restore") {
		t.Errorf("the record says nothing of it:\n%s", out)
	}
	h.stop()

	database, s := postgres(t)
	h.do("store", "restore", file, "--database-file", database)
	h.flags = []string{"--database-file", database}
	h.start()
	h.do(h.asReader("GET", profile)...)
	h.do("audit", "verify")
	back := h.backup(h.flags...)
	h.stop()
	h.copyKey(h.data + "4")
	h.data, h.flags = h.data+"4", nil
	h.do("store", "restore", back)
	h.start()
	h.do(h.asReader("GET", profile)...)
	h.do("audit", "verify")
	h.stop()

	// And the move, which goes on with the same feed.
	var before, after struct {
		Cursor struct {
			Epoch string
			Seq   int
		}
	}
	h.start()
	h.json(&before, "status")
	moved := databaseFile(t, s)
	h.fails(1, "in use by process", "store", "copy", "--from", h.data, "--to-file", moved)
	h.stop()
	h.do("store", "copy", "--from", h.data, "--to-file", moved)
	h.fails(1, "there is a store already", "store", "copy", "--from", h.data, "--to-file", moved)
	h.flags = []string{"--database-file", moved}
	h.start()
	h.json(&after, "status")
	if before.Cursor.Epoch != after.Cursor.Epoch || after.Cursor.Seq < before.Cursor.Seq || before.Cursor.Seq == 0 {
		t.Errorf("the feed was at %+v and is at %+v", before.Cursor, after.Cursor)
	}
	h.do(h.asReader("GET", profile)...)
	h.do("audit", "verify")
	h.stop() // before its database
}

// TestTwinStart: two nodes that make a store at the same moment make one, with one signing key, and each takes the other's tokens.
func TestTwinStart(t *testing.T) {
	t.Parallel()
	first := build(t) // makes a seal key
	file, _ := postgres(t)
	var nodes []*house
	var all sync.WaitGroup
	for n := range 2 {
		h := *first
		h.data, h.controlA, h.gateA, h.flags = fmt.Sprint(first.data, n+2), port.Free(), port.Free(), []string{"--database-file", file}
		h.control, h.gate = "http://"+h.controlA, "http://"+h.gateA
		first.copyKey(h.data)
		nodes = append(nodes, &h)
		all.Go(h.start)
	}
	all.Wait()
	late := *nodes[0] // its key is elsewhere, and nobody has made it a folder
	late.data, late.controlA, late.gateA, late.flags = first.data+"4", port.Free(), port.Free(), append(nodes[0].flags, "--seal", "file:"+filepath.Join(first.data, "seal.key"))
	late.control, late.gate = "http://"+late.controlA, "http://"+late.gateA
	late.start()
	nodes = append(nodes, &late)
	nodes[0].settle()
	for _, h := range nodes {
		defer h.stop()
		h.do(h.asReader("GET", profile)...)
		h.do("audit", "verify")
	}
	var a, b []struct{ ID string }
	nodes[0].json(&a, "keys", "list")
	nodes[1].json(&b, "keys", "list")
	if len(a) != 1 || len(b) != 1 || a[0] != b[0] {
		t.Errorf("one node signs with %v, the other with %v", a, b)
	}
}
