package issuer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// lead is for how long a new key is published before it signs, so that every
// gateway knows it before the first token that needs it.
const lead = 5 * time.Second

// Vault keeps signing keys, sealed by whoever fills it in.
type Vault struct {
	// Load returns every key kept, by kid. The values are secret.
	Load func(context.Context) (map[string][]byte, error)
	// Save puts and drops keys, publishes the set and records the event, all in one transaction. It returns
	// ErrOtherKeys, and does nothing, when there is a key that is neither put nor dropped.
	Save func(ctx context.Context, put map[string][]byte, drop []string, keys feed.Keys, e ledger.Event) error
}

// ErrOtherKeys means that another node has made a key since ours were loaded.
var ErrOtherKeys = errors.New("another node has made a signing key")

// KeyRing holds the signing keys: the current one, the next for the first
// seconds after a rotation, and old ones until the last token they signed has expired.
type KeyRing struct {
	Vault  Vault
	Now    func() time.Time
	Rand   io.Reader
	MaxTTL time.Duration // of any token; default LongestTTL

	mu    sync.Mutex // held while keys change
	keys  []token.SigningKey
	state atomic.Pointer[ringState]
}

type ringState struct {
	signer   *token.Signer
	verifier *token.Verifier
}

// KeyInfo is a key as shown to people.
type KeyInfo struct {
	ID      string    `json:"id"`
	State   string    `json:"state"` // next, current, retired
	Created time.Time `json:"created"`
	Until   time.Time `json:"until,omitzero"`
}

// sealedKey is what the vault keeps of one key.
type sealedKey struct {
	Seed    []byte    `json:"seed"`
	Created time.Time `json:"created"`
	From    time.Time `json:"from"`
	Until   time.Time `json:"until,omitzero"`
}

// Open loads the keys, and makes the first on the first start. It must succeed before anything else is called.
func (r *KeyRing) Open(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.load(ctx)
	if err == nil && len(r.keys) == 0 {
		if _, err = r.rotate(ctx, "lanyard", 0); errors.Is(err, ErrOtherKeys) { // which started at the same moment
			err = r.load(ctx)
		}
	}
	return err
}

// Refresh loads the keys again, since another node may have changed them.
func (r *KeyRing) Refresh(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.load(ctx)
}

// load brings the ring to what is kept.
func (r *KeyRing) load(ctx context.Context) error {
	kept, err := r.Vault.Load(ctx)
	if err != nil {
		return fmt.Errorf("load signing keys: %w", err)
	}
	var keys []token.SigningKey
	for id, b := range kept {
		var s sealedKey
		if err := json.Unmarshal(b, &s); err != nil {
			return fmt.Errorf("load signing key %s: it is damaged", id)
		}
		k, err := token.KeyFromSeed(s.Seed, s.Created, s.From, s.Until)
		if err != nil || k.ID != id {
			return fmt.Errorf("load signing key %s: it is damaged", id)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil
	}
	return r.use(keys)
}

// Rotate makes a new key, which signs from a few seconds from now on, and returns its id.
func (r *KeyRing) Rotate(ctx context.Context, actor string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.keys) == 0 {
		return "", errors.New("rotate signing key: the ring is not open")
	}
	id, err := r.rotate(ctx, actor, lead)
	if errors.Is(err, ErrOtherKeys) {
		if err = r.load(ctx); err == nil {
			id, err = r.rotate(ctx, actor, lead)
		}
	}
	return id, err
}

func (r *KeyRing) rotate(ctx context.Context, actor string, lead time.Duration) (string, error) {
	now := r.Now().UTC()
	next, err := token.NewKey(r.Rand, now)
	if err != nil {
		return "", err
	}
	next.From = now.Add(lead)
	keys := []token.SigningKey{next}
	for _, k := range r.keys {
		if k.Until.IsZero() {
			k.Until = next.From.Add(r.longest() + token.Skew)
		}
		keys = append(keys, k)
	}
	return next.ID, r.keep(ctx, keys, ledger.Event{Type: "key.rotate", Actor: actor, Resource: "keys/" + next.ID})
}

// Prune drops the keys whose last token has expired, if there are any.
func (r *KeyRing) Prune(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.keys {
		if r.over(k) {
			if err := r.load(ctx); err != nil || !slices.ContainsFunc(r.keys, func(l token.SigningKey) bool { return l.ID == k.ID }) {
				return err // another node was first
			}
			return r.keep(ctx, r.keys, ledger.Event{Type: "key.drop", Actor: "lanyard", Resource: "keys/" + k.ID})
		}
	}
	return nil
}

func (r *KeyRing) over(k token.SigningKey) bool { return !k.Until.IsZero() && !r.Now().Before(k.Until) }

// keep saves those of keys that are not over, publishes them and uses them.
func (r *KeyRing) keep(ctx context.Context, keys []token.SigningKey, e ledger.Event) (err error) {
	now := r.Now().UTC()
	e.Time, e.Outcome = now.Truncate(time.Microsecond), ledger.Allowed
	if e.ID, err = ledger.NewID(r.Rand, now); err != nil {
		return err
	}
	put, drop, good := map[string][]byte{}, []string(nil), []token.SigningKey(nil)
	for _, k := range keys {
		if r.over(k) {
			drop = append(drop, k.ID)
			continue
		}
		good = append(good, k)
		if put[k.ID], err = json.Marshal(sealedKey{k.UnsafeSeed(), k.Created, k.From, k.Until}); err != nil {
			return fmt.Errorf("saving signing keys: %w", err)
		}
	}
	signer, err := token.NewSigner(good...)
	if err != nil {
		return err
	}
	if err := r.Vault.Save(ctx, put, drop, feed.Keys{JWKS: signer.JWKS()}, e); err != nil {
		return fmt.Errorf("saving signing keys: %w", err)
	}
	return r.use(good)
}

func (r *KeyRing) longest() time.Duration {
	if r.MaxTTL <= 0 || r.MaxTTL > LongestTTL {
		return LongestTTL
	}
	return r.MaxTTL
}

// use signs and verifies with keys from now on. Without r.mu readers see the old or the new, never a mix.
func (r *KeyRing) use(keys []token.SigningKey) error {
	signer, err := token.NewSigner(keys...)
	if err != nil {
		return err
	}
	verifier, err := token.ParseJWKS(signer.JWKS())
	if err != nil {
		return err
	}
	r.keys = keys
	r.state.Store(&ringState{signer, verifier})
	return nil
}

// Signer mints with the key that is current.
func (r *KeyRing) Signer() *token.Signer { return r.state.Load().signer }

// Verifier knows every key that is published.
func (r *KeyRing) Verifier() *token.Verifier { return r.state.Load().verifier }

// Keys lists what is in the ring, newest first.
func (r *KeyRing) Keys() []KeyInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := slices.Clone(r.keys)
	slices.SortFunc(keys, func(a, b token.SigningKey) int { return b.From.Compare(a.From) })
	now, newer := r.Now(), time.Time{}
	var list []KeyInfo
	for _, k := range keys {
		list = append(list, KeyInfo{k.ID, k.State(now, newer), k.Created, k.Until})
		newer = k.From
	}
	return list
}
