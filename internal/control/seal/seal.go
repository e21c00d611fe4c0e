// Package seal keeps secrets unreadable at rest: a copy of the database without
// the key-encryption key gives away no signing key and no upstream's credential.
//
// Sealing is in two layers. A [Box] seals secrets with data keys, an AEAD keyset
// (AES-256-GCM, by Tink, which carries the key's id in every ciphertext so that
// keys can be rotated). The data keys are kept in the store, wrapped by a [KEK]: a
// key in a file, a key that never leaves an OpenBao, or whatever a program asks.
// The KEK is needed when a box is opened and when its keys change, and never in
// between. What is sealed is bound to a context, the place it is kept at: moved
// to another place, it does not open.
//
// A rotation adds a data key, which seals from then on, and takes the others away
// once nothing is sealed with them. Each step is a [Next]: made first, kept by the
// caller, used after that.
package seal

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrClosed means that the box has no data keys yet.
var ErrClosed = errors.New("the seal is closed: its keys were not opened")

// Box seals and unseals. It never prints. It is safe for concurrent use once it is open.
type Box struct {
	kek  KEK
	keys atomic.Pointer[keys]
}

// keys is what a box has opened.
type keys struct {
	kek    KEK
	handle *keyset.Handle
	aead   tink.AEAD
	kept   []byte
	since  time.Time // when the primary key became that
}

// record is how data keys are kept. By is for people: what unwraps is the KEK that can. Key is the one that seals, as all that it
// sealed says too; 0 in what was kept by versions before it was said.
type record struct {
	By    string    `json:"by"`
	Keys  []byte    `json:"keys"`
	Since time.Time `json:"since"`
	Key   uint32    `json:"key,omitempty"`
}

// Info is what can be told of a box.
type Info struct {
	KEK   string
	Keys  int // data keys; more than one while a rotation is under way
	Key   uint32
	Since time.Time
}

func (*Box) String() string   { return "[seal key]" }
func (*Box) GoString() string { return "[seal key]" }

// New makes a Box under a key that is kept nowhere.
func New() (*Box, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("making a seal key: %w", err)
	}
	f, err := fileKEK("", h)
	return Hold(f), err
}

// Hold makes a Box under a KEK. It is closed until Begin or Use.
func Hold(k KEK) *Box { return &Box{kek: k} }

// Begin makes the first data key of a new store. Where the store is older than data keys, and was sealed by the key file itself,
// that is taken in as one: anything else could not open what there is.
func (b *Box) Begin(ctx context.Context, old bool, now time.Time) (*Next, error) {
	if old {
		f, ok := b.kek.(*File)
		if !ok {
			return nil, fmt.Errorf("what is in it was sealed by a key file, not by %s: start once with --seal file:PATH, then run lanyard seal rewrap --to %s", b.kek.Name(), b.kek.Name())
		}
		return wrap(ctx, b.kek, f.handle, now)
	}
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("making a seal key: %w", err)
	}
	return wrap(ctx, b.kek, h, now)
}

// Use opens data keys as they were kept. Those in use already cost nothing.
func (b *Box) Use(ctx context.Context, kept []byte) error {
	if k := b.keys.Load(); k != nil && bytes.Equal(k.kept, kept) {
		return nil
	}
	kek := b.kek
	if k := b.keys.Load(); k != nil {
		kek = k.kek
	}
	k, err := unwrap(ctx, kek, kept)
	if err != nil {
		return err
	}
	b.keys.Store(k)
	return nil
}

// Seals reports whether the box seals with the data key that the kept ones seal with, whatever wraps those.
func (b *Box) Seals(kept []byte) bool {
	var r record
	return b.keys.Load() != nil && json.Unmarshal(kept, &r) == nil && r.Key != 0 && r.Key == b.Info().Key
}

func unwrap(ctx context.Context, kek KEK, kept []byte) (*keys, error) {
	var r record
	if err := json.Unmarshal(kept, &r); err != nil {
		return nil, errors.New("the kept seal keys are damaged")
	}
	plain, err := kek.Unwrap(ctx, r.Keys)
	if err != nil {
		return nil, &KEKError{fmt.Sprintf("opening the seal keys, which were wrapped by %s, with %s", r.By, kek.Name()), err}
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(plain)))
	clear(plain)
	if err != nil { // the cause is left out: it could quote a key
		return nil, fmt.Errorf("what %s unwrapped are no seal keys", kek.Name())
	}
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("using the seal keys: %w", err)
	}
	return &keys{kek, h, a, kept, r.Since}, nil
}

// Next is what the keys of a box will be. Keep it where After is still what is kept, then Apply it.
type Next struct {
	Kept  []byte
	After []byte // what was kept before; nil for the first
	keys  *keys
}

// Apply uses next from now on.
func (b *Box) Apply(n *Next) { b.keys.Store(n.keys) }

func wrap(ctx context.Context, kek KEK, h *keyset.Handle, since time.Time) (*Next, error) {
	var b bytes.Buffer
	// "Insecure" is that Tink does not wrap it: the next line does.
	if err := insecurecleartextkeyset.Write(h, keyset.NewBinaryWriter(&b)); err != nil {
		return nil, fmt.Errorf("writing the seal keys: %w", err)
	}
	wrapped, err := kek.Wrap(ctx, b.Bytes())
	clear(b.Bytes())
	if err != nil {
		return nil, &KEKError{"wrapping the seal keys with " + kek.Name(), err}
	}
	primary, err := h.Primary()
	if err != nil {
		return nil, fmt.Errorf("writing the seal keys: %w", err)
	}
	kept, err := json.Marshal(record{kek.Name(), wrapped, since.UTC(), primary.KeyID()})
	if err != nil {
		return nil, err
	}
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("using the seal keys: %w", err)
	}
	return &Next{Kept: kept, keys: &keys{kek, h, a, kept, since.UTC()}}, nil
}

// Rotate makes a data key that seals from then on. Those before still open what they sealed.
func (b *Box) Rotate(ctx context.Context, now time.Time) (*Next, error) {
	return b.change(ctx, nil, now, func(m *keyset.Manager, _ *keyset.Handle) error {
		id, err := m.Add(aead.AES256GCMKeyTemplate())
		if err != nil {
			return err
		}
		return m.SetPrimary(id)
	})
}

// Drop takes every data key away but the one that seals.
func (b *Box) Drop(ctx context.Context) (*Next, error) {
	return b.change(ctx, nil, time.Time{}, func(m *keyset.Manager, h *keyset.Handle) error {
		primary, err := h.Primary()
		for i := range h.Len() {
			e, err2 := h.Entry(i)
			if err = errors.Join(err, err2); err == nil && e.KeyID() != primary.KeyID() {
				err = m.Delete(e.KeyID())
			}
		}
		return err
	})
}

// Rewrap wraps the same data keys with another KEK, or with what the same one now wraps with when to is nil.
func (b *Box) Rewrap(ctx context.Context, to KEK) (*Next, error) {
	return b.change(ctx, to, time.Time{}, func(*keyset.Manager, *keyset.Handle) error { return nil })
}

func (b *Box) change(ctx context.Context, kek KEK, since time.Time, f func(*keyset.Manager, *keyset.Handle) error) (*Next, error) {
	k := b.keys.Load()
	if k == nil {
		return nil, ErrClosed
	}
	if kek == nil {
		kek = k.kek
	}
	if since.IsZero() {
		since = k.since
	}
	m := keyset.NewManagerFromHandle(k.handle)
	if err := f(m, k.handle); err != nil {
		return nil, fmt.Errorf("changing the seal keys: %w", err)
	}
	h, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("changing the seal keys: %w", err)
	}
	n, err := wrap(ctx, kek, h, since)
	if err != nil {
		return nil, err
	}
	if _, err := unwrap(ctx, kek, n.Kept); err != nil { // better now than at the next start
		return nil, err
	}
	n.After = k.kept
	return n, nil
}

// Check asks the KEK to open the data keys again, as the next start will.
func (b *Box) Check(ctx context.Context) error {
	k := b.keys.Load()
	if k == nil {
		return ErrClosed
	}
	kek := k.kek
	if f, ok := kek.(*File); ok && f.path != "" { // what is in the file now
		var err error
		if kek, err = OpenFile(f.path); err != nil {
			return err
		}
	}
	_, err := unwrap(ctx, kek, k.kept)
	return err
}

// Info tells how the box stands.
func (b *Box) Info() Info {
	k := b.keys.Load()
	if k == nil {
		return Info{KEK: b.kek.Name()}
	}
	i := Info{KEK: k.kek.Name(), Keys: k.handle.Len(), Since: k.since}
	if e, err := k.handle.Primary(); err == nil {
		i.Key = e.KeyID()
	}
	return i
}

// Prefix begins all that is sealed now, and nothing that was sealed with another data key.
func (b *Box) Prefix() []byte {
	return binary.BigEndian.AppendUint32([]byte{1}, b.Info().Key) // Tink's output prefix
}

// Seal returns plain sealed for one context, such as "upstream/mail".
func (b *Box) Seal(plain []byte, context string) ([]byte, error) {
	k := b.keys.Load()
	if k == nil {
		return nil, ErrClosed
	}
	sealed, err := k.aead.Encrypt(plain, []byte(context))
	if err != nil {
		return nil, fmt.Errorf("sealing %s: %w", context, err)
	}
	return sealed, nil
}

// Unseal returns what was sealed for that context.
func (b *Box) Unseal(sealed []byte, context string) ([]byte, error) {
	k := b.keys.Load()
	if k == nil {
		return nil, ErrClosed
	}
	plain, err := k.aead.Decrypt(sealed, []byte(context))
	if err != nil {
		return nil, fmt.Errorf("unsealing %s: it was changed, or sealed with another key", context)
	}
	return plain, nil
}
