package feed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	json2 "github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/journal"
)

// Keep is a view and its lease on disk, sealed, so that a gateway whose process ends goes
// on without its control plane, for as long as its lease does.
//
// The view is one file, the lease another, which names the cursor of the view it is for and
// the start of the machine it was measured in. The rule is: **what was acknowledged is never
// taken back.** Before a later cursor is acknowledged the lease of an earlier view is removed, and
// it is written when the view of that cursor is on disk. So a process that finds a lease
// finds with it all that the one before had confirmed. With no lease, or one that is not for
// that view, the view may not serve; it is the place from which to follow on.
//
// Someone who can write to the folder can put back both files as they were. What that
// gains is what is left of that old lease: never more than a gateway that was cut off
// at that moment, and so never beyond the bound of a receipt.
type Keep struct {
	dir, name string
	seal      journal.Sealer
	boot      string // which start of the machine this is; empty: not known, and no lease is kept

	mu      sync.Mutex
	view    Cursor    // of the view on disk; zero: none
	lease   Cursor    // for which there is a lease on disk; zero: none
	unsure  bool      // there may be a lease on disk of which nothing is known
	last    kept      // the last renewal; zero while a later cursor is being acknowledged
	writing bool      // the view, beside all else
	next    time.Time // not before then is it written again
}

// kept is the lease on disk.
type kept struct {
	At    Cursor        `json:"at"`
	Boot  string        `json:"boot"`
	From  Instant       `json:"from"`
	Lease time.Duration `json:"lease"`
}

const (
	viewFile  = "view"
	leaseFile = "lease"
	chunk     = 1 << 20 // of a view's file, before it is sealed
)

// NewKeep keeps the view of the gateway of that name in a folder, which is made if it is not
// there. boot is this machine's [BootID].
func NewKeep(dir, name, boot string, seal journal.Sealer) (*Keep, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the view: %w", err)
	}
	return &Keep{dir: dir, name: name, seal: seal, boot: boot, unsure: true}, nil
}

func (k *Keep) path(file string) string { return filepath.Join(k.dir, file) }

func (k *Keep) place(file string, part int) string {
	return fmt.Sprintf("lanyard %s of %s, part %d", file, k.name, part)
}

// Load fills a view that knows nothing with what is on disk, and its lease with what is left
// of that. It returns os.ErrNotExist when there is nothing. After another error the view
// knows nothing, and follows from a snapshot.
func (k *Keep) Load(v *View) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, err := k.load(v)
	if err == nil && l.At == k.view && l.Boot == k.boot && k.boot != "" && v.Lease != nil {
		k.lease, k.unsure = l.At, false
		return v.Lease.Renew(l.From, l.Lease)
	}
	return errors.Join(err, k.void()) // the view may be good to follow on from
}

func (k *Keep) load(v *View) (l kept, err error) {
	b, err := os.ReadFile(k.path(viewFile))
	if err != nil {
		return l, err
	}
	v.Restart()
	at, err := k.parse(b, func(c Change) error {
		if err := v.Apply(c); err != nil {
			return fmt.Errorf("the view on disk is not whole: %w", err)
		}
		return nil
	})
	if err == nil {
		err = v.Apply(Change{Cursor: at, Synced: true})
	}
	if err != nil {
		v.Restart() // nothing of it was read by anyone
		return l, err
	}
	k.view = at
	return k.readLease()
}

// parse reads parts of changes, one a line, and gives them to take. The first has only the cursor, the last nothing.
// After an error nothing of it is good.
func (k *Keep) parse(b []byte, take func(Change) error) (at Cursor, err error) {
	for part := 0; ; part++ {
		plain, rest, err := k.seal.Next(b, k.place(viewFile, part))
		if b = rest; err != nil {
			return at, fmt.Errorf("part %d of the view on disk: %w", part, err) // also io.EOF: then its end is missing
		}
		if part == 0 {
			if err := json.Unmarshal(plain, &at); err != nil {
				return at, fmt.Errorf("the view on disk: %w", err)
			}
			if at == (Cursor{}) {
				return at, errors.New("the view on disk is of no place in the feed")
			}
			continue
		}
		if len(plain) == 0 {
			if len(b) > 0 {
				return at, errors.New("the view on disk goes on behind its end")
			}
			return at, nil
		}
		for line := range bytes.Lines(plain) {
			c, err := parseChange(line)
			if err != nil {
				return at, fmt.Errorf("the view on disk: %w", err)
			}
			if c.Synced {
				return at, errors.New("the view on disk ends in its midst")
			}
			c.Cursor = at
			if err := take(c); err != nil {
				return at, err
			}
		}
	}
}

func (k *Keep) readLease() (l kept, err error) {
	b, err := os.ReadFile(k.path(leaseFile))
	if errors.Is(err, os.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		b, _, err = k.seal.Next(b, k.place(leaseFile, 0))
	}
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	if err != nil {
		return kept{}, fmt.Errorf("the lease on disk: %w", err)
	}
	return l, nil
}

// void removes the lease: a process that begins now has none.
func (k *Keep) void() error {
	k.unsure = true
	err := journal.Remove(k.path(leaseFile))
	if err == nil {
		k.lease, k.unsure = Cursor{}, false
	}
	return err
}

// end removes the lease because there is none any more.
func (k *Keep) end() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = kept{}
	return k.void()
}

// before is called before a cursor is acknowledged. After an error it must not be.
func (k *Keep) before(at Cursor) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last.At != at {
		k.last = kept{}
	}
	if !k.unsure && (k.lease == at || k.lease == (Cursor{})) {
		return nil
	}
	return k.void()
}

// after is called when a cursor was acknowledged and the lease renewed. It writes the lease
// down if the view of that cursor is on disk, and else has that written, if it was not a moment ago.
func (k *Keep) after(v *View, at Cursor, from Instant, lease time.Duration, onErr func(error)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.boot == "" || lease <= 0 {
		return
	}
	k.last = kept{at, k.boot, from, lease}
	if k.view == at {
		k.write(k.last, onErr)
	} else if !k.writing && time.Now().After(k.next) {
		k.writing = true
		go k.writeView(v, at, onErr)
	}
}

// writeView brings the view to disk, and then the lease if nothing later was acknowledged meanwhile.
func (k *Keep) writeView(v *View, at Cursor, onErr func(error)) {
	begun := time.Now()
	whole, err := k.dump(v, at)
	if err != nil {
		onErr(fmt.Errorf("keeping the view: %w", err))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.writing = false; whole {
		k.view = at
	}
	if whole && k.last.At == at {
		k.write(k.last, onErr)
	}
	k.next = time.Now().Add(max(time.Second, 10*time.Since(begun)))
	go settle(v.now.Load().subjects.len())
}

func (k *Keep) write(l kept, onErr func(error)) {
	plain, err := json.Marshal(l)
	var b []byte
	if err == nil {
		b, err = k.seal.Append(nil, plain, k.place(leaseFile, 0))
	}
	k.unsure = true
	if err == nil {
		err = journal.Put(k.path(leaseFile), b)
	}
	if err != nil {
		onErr(fmt.Errorf("keeping the lease: %w", err))
		return
	}
	k.lease, k.unsure = l.At, false
}

var errMoved = errors.New("the view has moved on")

// dump brings the view to disk, if it is at that cursor before and after. It holds up no change.
func (k *Keep) dump(v *View, at Cursor) (whole bool, err error) {
	version := v.version.Load()
	if v.Enforced() != at || version%2 != 0 {
		return false, nil
	}
	err = journal.Replace(k.path(viewFile), func(w io.Writer) (err error) {
		var part bytes.Buffer
		parts := 0
		line := func(v any) { // as encoding/json makes it, in half of the time
			if err == nil {
				err = json2.MarshalWrite(&part, v, jsonv1.DefaultOptionsV1())
				part.WriteByte('\n')
			}
		}
		flush := func() {
			var b []byte
			if err == nil {
				b, err = k.seal.Append(nil, part.Bytes(), k.place(viewFile, parts))
			}
			if err == nil {
				_, err = w.Write(b)
			}
			parts++
			part.Reset()
		}
		line(at)
		flush()
		v.now.Load().each(func(c Change) {
			line(&c)
			if part.Len() >= chunk {
				flush()
			}
		})
		if part.Len() > 0 {
			flush()
		}
		flush() // with nothing: the end
		if err == nil && v.version.Load() != version {
			err = errMoved
		}
		return err
	})
	if errors.Is(err, errMoved) {
		return false, nil
	}
	return err == nil, err
}

// each calls f with changes that make a state like st.
func (st *state) each(f func(Change)) {
	if keys := st.jwks.Load(); keys != nil {
		f(Change{Keys: &Keys{JWKS: *keys}})
	}
	st.owners.each(func(_ identity.OwnerID, o *identity.Owner) { f(Change{Owner: o}) })
	for _, u := range *st.upstreams.Load() {
		f(Change{Upstream: u})
	}
	for _, g := range *st.guardrails.Load() {
		f(Change{Guardrail: &g})
	}
	st.subjects.each(func(h *held) {
		s := st.copyOf(h)
		if !s.Identity.ID.IsZero() {
			f(Change{Identity: &s.Identity})
		}
		for i := range s.Credentials {
			f(Change{Credential: &s.Credentials[i]})
		}
		for i := range s.Grants {
			f(Change{Grant: &s.Grants[i]})
		}
	})
	st.tasks.each(func(_ string, t *Task) { f(Change{Task: &t.Task}) })
	st.revoked.each(func(id string, until time.Time) {
		f(Change{Token: &TokenRevocation{ID: id, Expires: until.Add(-time.Minute)}})
	})
	st.approvals.each(func(_ string, a *Approval) { f(Change{Approval: a}) })
}
