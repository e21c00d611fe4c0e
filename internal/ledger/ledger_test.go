package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	crand "crypto/rand"

	"golang.org/x/mod/sumdb/tlog"
)

func sample(i int) Event {
	return Event{
		ID: fmt.Sprintf("evt_%06d", i), Time: time.UnixMicro(1763900000123456 + int64(i)).UTC(), Type: "request", Outcome: Allowed,
		Actor: "spiffe://lanyard.local/agent/invoice-bot", Chain: []string{"spiffe://lanyard.local/agent/invoice-bot"}, Owner: "maya",
		Credential: "cred_1", Token: "tok_1", Action: "gmail.users.messages.list", Class: "read", Upstream: "mail", Resource: "users/me/messages",
		Reason: "granted \"<by>\" \\ line\nbreak \u2028", Policies: []string{"invoice-bot/read-mail"}, Request: "req_1", Trace: "4bf92f3577b34da6a3ce929d0e0e4736",
		Source: "127.0.0.1", Gateway: "local", Status: 200, Duration: 1234 * time.Microsecond, Detail: map[string]string{"b": "2", "a": "1"},
	}
}

func TestLeafRoundTrip(t *testing.T) {
	for _, e := range []Event{sample(1), {ID: "e", Time: time.UnixMicro(-1).UTC(), Type: "token.issue", Outcome: Refused}, {Time: time.Unix(0, 0).UTC()}} {
		leaf := e.Leaf()
		if !json.Valid(leaf) || bytes.ContainsRune(leaf, '\n') {
			t.Errorf("not one line of JSON: %s", leaf)
		}
		back, err := Parse(leaf)
		if err != nil || !reflect.DeepEqual(back, e) {
			t.Errorf("parsed back\n%+v, want\n%+v (%v)", back, e, err)
		}
	}
}

func FuzzLeaf(f *testing.F) {
	f.Add("maya", "read-mail", "a reason")
	f.Add("\x00\x1f\"\\\u2028", "é", "\xff")
	f.Add("a", "\xc2", "\x80") // no text each, though together they are
	f.Fuzz(func(t *testing.T, actor, policy, reason string) {
		e := Event{ID: "e", Time: time.UnixMicro(1).UTC(), Type: "request", Actor: actor, Reason: reason, Policies: []string{policy}, Detail: map[string]string{policy: reason}}
		leaf := e.Leaf()
		if bytes.ContainsAny(leaf, "\n\r\u2028\u2029") {
			t.Fatalf("a leaf of more than one line: %q", leaf)
		}
		back, err := Parse(leaf)
		if err != nil {
			t.Fatalf("%q: %v", leaf, err)
		}
		if utf8.ValidString(actor) && utf8.ValidString(policy) && utf8.ValidString(reason) && !reflect.DeepEqual(back, e) {
			t.Fatalf("%+v became %+v", e, back)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(sample(1).Leaf())
	f.Fuzz(func(t *testing.T, leaf []byte) {
		e, err := Parse(leaf)
		if err != nil {
			return
		}
		if again, err := Parse(e.Leaf()); err != nil || !reflect.DeepEqual(again.Leaf(), e.Leaf()) {
			t.Fatalf("%q does not settle: %v", leaf, err)
		}
	})
}

// memory keeps what a database would.
type memory struct {
	tree   Tree
	leaves [][]byte
	tiles  map[[2]int64][]byte
}

func (m *memory) add(leaf []byte) {
	m.leaves = append(m.leaves, leaf)
	for _, t := range m.tree.Append(leaf) {
		m.tiles[[2]int64{t.Level, t.Index}] = t.Data()
	}
}

func (m *memory) read(level, index int64) ([]byte, error) {
	if data, ok := m.tiles[[2]int64{level, index}]; ok {
		return data, nil
	}
	return nil, os.ErrNotExist
}

func fill(n int) *memory {
	m := &memory{tiles: map[[2]int64][]byte{}}
	for i := range n {
		m.add(sample(i).Leaf())
	}
	return m
}

// TestTree holds our tree against tlog's own, at every size around the edges of tiles.
func TestTree(t *testing.T) {
	m := &memory{tiles: map[[2]int64][]byte{}}
	var stored []Hash
	reader := tlog.HashReaderFunc(func(idx []int64) (out []Hash, err error) {
		for _, i := range idx {
			out = append(out, stored[i])
		}
		return out, nil
	})
	for n := int64(0); n < 66000; n++ {
		check := n < 600 || n > 65500 || n%997 == 0
		if check {
			want, err := tlog.TreeHash(n, reader)
			if err != nil || m.tree.Root() != want {
				t.Fatalf("root of %d leaves is %v, want %v (%v)", n, m.tree.Root(), want, err)
			}
		}
		if check && n > 0 {
			loaded, err := Load(n, m.read, func(from int64) ([][]byte, error) { return m.leaves[from:], nil })
			if err != nil || loaded.Root() != m.tree.Root() || loaded.Size() != n {
				t.Fatalf("loading %d leaves: %v", n, err)
			}
			index := rand.Int64N(n)
			proof, err := tlog.ProveRecord(n, index, loaded.Reader(m.read))
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckRecord(proof, n, m.tree.Root(), index, tlog.RecordHash(m.leaves[index])); err != nil {
				t.Fatalf("proof of %d in %d: %v", index, n, err)
			}
		}
		leaf := fmt.Appendf(nil, "leaf %d", n)
		hashes, err := tlog.StoredHashes(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		m.add(leaf)
	}
}

// TestTreeCopy: a copy is the tree as it was, also across the end of a tile.
func TestTreeCopy(t *testing.T) {
	m := fill(250)
	before := m.tree
	root := before.Root()
	for i := range 20 {
		m.tree.Append(fmt.Appendf(nil, "aborted %d", i))
	}
	if before.Root() != root || before.Size() != 250 || len(before.Partial(0).Hashes) != 250 {
		t.Fatal("appending to a tree changed its copy")
	}
	again := fill(250).tree
	for i := range 300 {
		before.Append(sample(i).Leaf())
		again.Append(sample(i).Leaf())
		if before.Root() != again.Root() {
			t.Fatalf("after an abort, leaf %d gives another root", i)
		}
	}
}

func export(t *testing.T, m *memory) (dir, secret, verifier string) {
	t.Helper()
	secret, verifier, err := NewKey(crand.Reader, "lanyard.local/ledger")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := Checkpoint{"lanyard.local/ledger", m.tree.Size(), m.tree.Root()}.Sign(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "export")
	err = Export(dir, signed, verifier, func(yield func([]byte) error) error {
		for _, leaf := range m.leaves {
			if err := yield(leaf); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir, secret, verifier
}

// TestCheck damages an export in every way there is and asks where.
func TestCheck(t *testing.T) {
	const n = 1000
	dir, _, verifier := export(t, fill(n))
	good, err := os.ReadFile(filepath.Join(dir, EventsFile))
	if err != nil {
		t.Fatal(err)
	}
	check := func(events []byte) Report {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, EventsFile), events, 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := Check(os.DirFS(dir), verifier)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := check(good); !r.OK() || r.Events != n || r.Checkpoint.Size != n {
		t.Fatalf("the export itself: %+v", r)
	}
	lines := func() [][]byte { return bytes.SplitAfter(bytes.Clone(good), []byte("\n"))[:n] }
	expect := func(name string, events [][]byte, line int64, text string) {
		t.Helper()
		r := check(bytes.Join(events, nil))
		if len(r.Problems) == 0 || r.Problems[0].Line != line || !strings.Contains(r.Problems[0].What, text) {
			t.Errorf("%s: want line %d: …%s…, got %v", name, line, text, r.Problems)
		}
		if len(r.Problems) > 3 {
			t.Errorf("%s: one change gave %d problems: %v", name, len(r.Problems), r.Problems[:4])
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		i := random.IntN(n)
		l := lines()
		l[i][random.IntN(len(l[i])-1)] ^= 1 << random.IntN(7)
		if bytes.Count(l[i], []byte("\n")) != 1 {
			continue // the flip made or broke a line: not this test's case
		}
		expect("flip", l, int64(i+1), fmt.Sprintf("event %d was changed", i))
	}
	for range 100 {
		i := random.IntN(n - 1)
		l := lines()
		expect("drop", append(l[:i:i], l[i+1:]...), int64(i+1), fmt.Sprintf("events %d to %d, which belong before it, are missing", i, i))
		l = lines()
		expect("insert", append(append(l[:i:i], []byte("{\"forged\":1}\n")), l[i:]...), int64(i+1), "was added")
		l = lines()
		l[i], l[i+1] = l[i+1], l[i]
		r := check(bytes.Join(l, nil))
		if r.OK() || r.Problems[0].Line < int64(i+1) || r.Problems[0].Line > int64(i+2) {
			t.Errorf("swap of %d: %v", i, r.Problems)
		}
	}
	expect("cut tail", lines()[:n-3], 0, "the last 3 events, from event 997 on, are missing")
	expect("cut line", append(lines()[:n-1], []byte("{\"time")), int64(n), "event 999 was changed")
	expect("append", append(lines(), []byte("{}\n")), n+1, "was added after the last event")
	expect("empty", nil, 0, "the last 1000 events, from event 0 on, are missing")

	tile := filepath.Join(dir, TilePath(0, 1, 256))
	data, _ := os.ReadFile(tile)
	data[40] ^= 1
	os.WriteFile(tile, data, 0o644)
	if r := check(good); !r.OK() {
		t.Errorf("a damaged tile beside whole events: %v", r.Problems)
	}
	l := lines()
	l[5][20] ^= 1
	if r := check(bytes.Join(l, nil)); r.OK() || !strings.Contains(fmt.Sprint(r.Problems), "event 5 was changed") {
		t.Errorf("a change outside of the damaged tile: %v", r.Problems)
	}
}

func TestCheckpointMustBeSigned(t *testing.T) {
	dir, _, verifier := export(t, fill(10))
	path := filepath.Join(dir, CheckpointFile)
	good, _ := os.ReadFile(path)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		os.WriteFile(path, bad, 0o644)
		if r, err := Check(os.DirFS(dir), verifier); err == nil && r.Checkpoint.Size != 10 {
			t.Fatalf("flipping byte %d of the checkpoint gives %+v", i, r)
		}
	}
	_, other, _ := NewKey(crand.Reader, "lanyard.local/ledger")
	os.WriteFile(path, good, 0o644)
	if _, err := Check(os.DirFS(dir), other); err == nil {
		t.Fatal("another log's key verifies the checkpoint")
	}
}

func TestInclusion(t *testing.T) {
	m := fill(300)
	secret, verifier, _ := NewKey(crand.Reader, "x")
	signed, _ := Checkpoint{"x", 300, m.tree.Root()}.Sign(secret)
	proof, err := tlog.ProveRecord(300, 17, m.tree.Reader(m.read))
	if err != nil {
		t.Fatal(err)
	}
	p := Inclusion{17, string(m.leaves[17]), proof, string(signed)}
	if err := p.Check(verifier); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]Inclusion{
		"other index": {18, p.Leaf, proof, p.Checkpoint}, "other leaf": {17, p.Leaf + " ", proof, p.Checkpoint},
		"outside": {300, p.Leaf, proof, p.Checkpoint}, "negative": {-1, p.Leaf, proof, p.Checkpoint}, "unsigned": {17, p.Leaf, proof, "x"},
	} {
		if bad.Check(verifier) == nil {
			t.Errorf("%s: believed", name)
		}
	}
}

func TestMatch(t *testing.T) {
	e := sample(1)
	leaf := e.Leaf()
	for _, test := range []struct {
		Query
		want bool
	}{
		{Query{}, true}, {Query{Identity: "invoice-bot"}, true}, {Query{Identity: "bot"}, false}, {Query{Identity: e.Actor}, true}, {Query{Owner: "maya", Class: "read"}, true}, {Query{Owner: "ben"}, false},
		{Query{Action: "gmail.users.*"}, true}, {Query{Action: "gmail"}, false}, {Query{Type: "request"}, true}, {Query{Type: "token"}, false}, {Query{Text: "GRANTED"}, true}, {Query{Text: "zzz"}, false},
		{Query{Since: e.Time}, true}, {Query{Until: e.Time}, false}, {Query{Outcome: Refused}, false}, {Query{Upstream: "mail"}, true}, {Query{Outcome: Ended}, true}, {Query{By: "identity"}, true},
		{Query{Of: []string{"ben", "maya"}}, true}, {Query{Of: []string{"ben"}}, false}, {Query{Of: []string{}}, false}, {Query{Of: []string{""}}, false},
	} {
		if got := test.Match(e, leaf); got != test.want {
			t.Errorf("%+v: %v", test.Query, got)
		}
	}
	for actor, want := range map[string]bool{"": false, "owner:maya": false, "spiffe://acme.example/person/maya": false, "spiffe://acme.example/agent/maya": true} {
		if got := (Query{By: "identity"}).Match(Event{Actor: actor}, nil); got != want {
			t.Errorf("by an identity, of %q: %v", actor, got)
		}
	}
	if (Query{Outcome: Ended}).Match(Event{Outcome: Pending}, nil) {
		t.Error("what is pending has not ended")
	}
	own := Event{Type: "grant.put", Actor: "owner:maya"}
	if q := (Query{Of: []string{"maya"}}); !q.Match(own, nil) || q.Match(Event{Actor: "maya"}, nil) {
		t.Error("what maya did is hers to see, and what is called like her is not")
	}
}

func BenchmarkLeafAndHash(b *testing.B) {
	var t Tree
	e := sample(1)
	for b.Loop() {
		t.Append(e.Leaf())
	}
}

// TestLargeLeaf: an event that is too large for a leaf is recorded all the same, as one that can be read.
func TestLargeLeaf(t *testing.T) {
	long := strings.Repeat("\x01", MaxLeaf)
	fill := func(v reflect.Value) {
		for i := range v.NumField() {
			switch f := v.Field(i); f.Kind() {
			case reflect.String:
				f.SetString(long)
			case reflect.Slice:
				f.Set(reflect.ValueOf(slices.Repeat([]string{long}, 100)))
			case reflect.Map:
				m := map[string]string{}
				for n := range 100 {
					m[fmt.Sprintf("%d%s", n, long)] = long
				}
				f.Set(reflect.ValueOf(m))
			}
		}
	}
	var all Event
	fill(reflect.ValueOf(&all).Elem())
	host := Event{ID: "evt_1", Type: "request", Outcome: Refused, Upstream: strings.Repeat("a", MaxLeaf)}
	for _, e := range []Event{all, host} {
		leaf := e.Leaf()
		got, err := Parse(leaf)
		if err != nil || len(leaf) > MaxLeaf || got.Detail["cut"] != "true" || !bytes.Equal(leaf, e.Leaf()) {
			t.Errorf("%d bytes, %v, %v", len(leaf), got.Detail["cut"], err)
		}
	}
	fits := Event{ID: "evt_1", Type: "request", Outcome: Refused, Upstream: strings.Repeat("a", MaxLeaf-1024)}
	if got, err := Parse(fits.Leaf()); err != nil || got.Upstream != fits.Upstream {
		t.Errorf("one that fits is cut (%v)", err)
	}
}
