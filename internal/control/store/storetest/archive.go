package storetest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// Archives: what is backed up of one engine and put in place of another is the same store, and what was changed on the way is refused.
func Archives(t *testing.T, from, to func(*testing.T, *store.Config)) {
	c := Config(t)
	from(t, &c)
	k := kit{t, c}
	db := k.open()
	k.write(db, world)
	k.write(db, func(tx *store.Tx) error { return tx.PutSecret("upstream/mail", []byte("hush hush")) })
	var list []ledger.Event
	for range 700 {
		list = append(list, Event("x"))
	}
	k.must(db.Record(t.Context(), list))
	early, err := db.Checkpoint(t.Context())
	k.must(err)
	k.write(db, func(tx *store.Tx) error { return tx.PutOwner(maya) })
	var out bytes.Buffer
	said, err := store.Backup(t.Context(), c, &out) // while it is in use
	k.must(err)
	if said.Cursor() != db.Head() || said.Events != db.Size() || bytes.Contains(out.Bytes(), []byte("hush hush")) {
		t.Errorf("backed up %+v", said)
	}
	archive := out.Bytes()
	k.write(db, func(tx *store.Tx) error { return tx.PutOwner(maya) })
	late, err := db.Checkpoint(t.Context())
	k.must(err)

	target := func() store.Config {
		d := Config(t)
		d.Seal = c.Seal
		to(t, &d)
		return d
	}
	restore := func(d store.Config, b []byte, o store.Restoring) error {
		_, err := store.Restore(t.Context(), d, bytes.NewReader(b), o)
		return err
	}
	d := target()
	k.must(restore(d, archive, store.Restoring{Checkpoint: early, Key: db.Verifier()}))
	other := kit{t, d}.open()
	if other.Size() != said.Events || other.Head().Seq != said.Seq || other.Head().Epoch == said.Epoch || other.Verifier() != db.Verifier() {
		t.Errorf("restored %v %d, backed up %+v", other.Head(), other.Size(), said)
	}
	verified(t, other)
	k.read(other, func(tx *store.Tx) error {
		i, err := tx.Identity(bot)
		s, err2 := tx.Secret("upstream/mail")
		if fmt.Sprintf("%+v", i) != fmt.Sprintf("%+v", agent) || string(s) != "hush hush" {
			t.Errorf("%+v %q", i, s)
		}
		return errors.Join(err, err2)
	})
	for _, err := range other.Watch(t.Context(), said.Cursor()) {
		if !errors.Is(err, feed.ErrCompacted) {
			t.Errorf("a follower goes on in what was restored: %v", err)
		}
		break
	}
	k.write(other, func(tx *store.Tx) error { return tx.PutOwner(maya) })

	// It is not written over but by force, and not at all while it is in use.
	if err := restore(d, archive, store.Restoring{Force: true}); err == nil || !strings.Contains(err.Error(), "in use by") {
		t.Errorf("restored into a store that is in use: %v", err)
	}
	k.must(other.Close())
	if err := restore(d, archive, store.Restoring{}); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("written over: %v", err)
	}
	k.must(restore(d, archive, store.Restoring{Force: true}))

	for name, bad := range map[string]struct {
		archive []byte
		o       store.Restoring
		want    string
	}{
		"older than a checkpoint": {archive, store.Restoring{Checkpoint: late}, "older"},
		"of another ledger":       {archive, store.Restoring{Key: "lanyard.local/ledger+00000000+AAAA"}, "another ledger"},
		"changed":                 {changed(t, archive, "Maya Lind", "Mara Lind", 0), store.Restoring{}, "signature"},
		"a row less":              {changed(t, archive, "", "", 12), store.Restoring{}, ""},
		"cut off":                 {archive[:len(archive)/2], store.Restoring{}, ""},
		"without its end":         {changed(t, archive, "", "", -1), store.Restoring{}, ""},
		"no backup":               {[]byte("hello"), store.Restoring{}, "no backup"},
	} {
		d := target()
		if err := restore(d, bad.archive, bad.o); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: %v", name, err)
		}
		if fresh := (kit{t, d}).open(); fresh.Size() != 0 { // nothing of it was kept
			t.Errorf("%s: %d events are there", name, fresh.Size())
		}
	}
	d = target()
	d.Seal = Config(t).Seal
	if err := restore(d, archive, store.Restoring{}); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("with another seal key: %v", err)
	}
}

// changed is an archive with a text changed (in bytes of a row, too), or without the line with that number, from the end when it is below zero.
func changed(t *testing.T, archive []byte, old, new string, without int) []byte {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.SplitAfter(string(b), "\n")
	all = all[:len(all)-1]
	if old != "" {
		found := false
		for i, line := range all {
			if next := replaceIn(line, old, new); next != line {
				all[i], found = next, true
			}
		}
		if !found {
			t.Fatalf("%q is not in the archive", old)
		}
	}
	if without != 0 {
		at := (without + len(all)) % len(all)
		all = append(all[:at], all[at+1:]...)
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, strings.Join(all, "")); errors.Join(err, w.Close()) != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Moved: a copy in another engine goes on at the same cursor, and what it was copied from is another feed from then on.
func Moved(t *testing.T, from, to func(*testing.T, *store.Config)) {
	c := Config(t)
	from(t, &c)
	k := kit{t, c}
	db := k.open()
	k.write(db, world)
	at, size, root := db.Head(), db.Size(), db.Root()
	d := c
	d.Dir = ""
	to(t, &d)
	if _, err := store.Copy(t.Context(), c, d); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("copied while it is in use: %v", err)
	}
	k.must(db.UnsafeExec("CREATE TRIGGER unmarked BEFORE UPDATE OF epoch ON head BEGIN SELECT RAISE(ABORT, 'no'); END"))
	k.must(db.Close())
	if _, err := store.Copy(t.Context(), c, d); err == nil || !strings.Contains(err.Error(), "nothing was copied") {
		t.Errorf("copied, and what was copied goes on as the same: %v", err)
	}
	db = k.open()
	k.must(db.UnsafeExec("DROP TRIGGER unmarked"))
	k.must(db.Close())
	if _, err := store.Copy(t.Context(), c, d); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Copy(t.Context(), c, d); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("copied twice: %v", err)
	}
	moved := kit{t, d}.open()
	if moved.Head() != at || moved.Size() != size || moved.Root() != root {
		t.Errorf("the copy is at %v with %d events, it was %v with %d", moved.Head(), moved.Size(), at, size)
	}
	next := k.write(moved, func(tx *store.Tx) error { return tx.PutOwner(maya) })
	for c, err := range moved.Watch(t.Context(), at) { // no snapshot: it goes on
		if err != nil || c.Cursor != next || c.Owner == nil {
			t.Errorf("%+v %v", c, err)
		}
		break
	}
	verified(t, moved)
	if old := k.open(); old.Head().Epoch == at.Epoch || old.Size() != size {
		t.Errorf("what was copied is at %v with %d events", old.Head(), old.Size())
	}
}

// replaceIn changes a text in the bytes of a row.
func replaceIn(line, old, new string) string {
	for _, part := range strings.Split(line, `"`) {
		if b, err := base64.StdEncoding.DecodeString(part); err == nil && bytes.Contains(b, []byte(old)) {
			line = strings.Replace(line, part, base64.StdEncoding.EncodeToString(bytes.ReplaceAll(b, []byte(old), []byte(new))), 1)
		}
	}
	return line
}
