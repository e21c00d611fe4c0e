package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const shards = 64

// Replay remembers keys for at least a window, so that each is accepted once.
// It is bounded: when it is full it refuses what is new, because forgetting
// would accept what is old.
type Replay struct {
	window time.Duration
	limit  int // entries of one shard and generation
	shard  [shards]struct {
		sync.Mutex
		turned   time.Time // when fresh began
		fresh    map[[16]byte]struct{}
		previous map[[16]byte]struct{}
	}
}

// NewReplay makes a memory of at most about max keys (48 bytes each).
func NewReplay(window time.Duration, max int) *Replay {
	return &Replay{window: window, limit: max/(2*shards) + 1}
}

// Seen reports whether key was seen within the window, and remembers it. Of any
// number of concurrent callers with one key, exactly one is told false.
func (r *Replay) Seen(key string, now time.Time) bool {
	sum := sha256.Sum256([]byte(key))
	k := [16]byte(sum[:16])
	s := &r.shard[sum[16]%shards]
	s.Lock()
	defer s.Unlock()
	if now.Sub(s.turned) >= r.window {
		if now.Sub(s.turned) >= 2*r.window {
			s.fresh = nil
		}
		s.previous, s.fresh, s.turned = s.fresh, map[[16]byte]struct{}{}, now
	}
	_, a := s.fresh[k]
	_, b := s.previous[k]
	if a || b || len(s.fresh) >= r.limit {
		return true
	}
	s.fresh[k] = struct{}{}
	return false
}

// nonceWindow is half the time a nonce is good for.
const nonceWindow = 150 * time.Second

// Nonces makes and knows DPoP nonces (RFC 9449 section 8): the HMAC of a window
// of time under a secret made at start, so that nothing is stored, a nonce is
// good for two and a half to five minutes, and a proof made before a restart is
// not accepted after it.
type Nonces struct {
	secret [32]byte
	now    atomic.Pointer[noncePair]
}

type noncePair struct {
	window            int64
	current, previous string
}

func NewNonces(rand io.Reader) (*Nonces, error) {
	n := &Nonces{}
	if _, err := io.ReadFull(rand, n.secret[:]); err != nil {
		return nil, fmt.Errorf("make nonce secret: %w", err)
	}
	return n, nil
}

// Make returns the nonce of now.
func (n *Nonces) Make(now time.Time) string { return n.at(now).current }

// Valid reports whether nonce was made by n less than five minutes before now.
func (n *Nonces) Valid(nonce string, now time.Time) bool {
	p := n.at(now)
	return hmac.Equal([]byte(nonce), []byte(p.current)) || hmac.Equal([]byte(nonce), []byte(p.previous))
}

func (n *Nonces) at(now time.Time) *noncePair {
	w := now.UnixNano() / int64(nonceWindow)
	if p := n.now.Load(); p != nil && p.window == w {
		return p
	}
	p := &noncePair{w, n.mac(w), n.mac(w - 1)}
	n.now.Store(p)
	return p
}

func (n *Nonces) mac(window int64) string {
	h := hmac.New(sha256.New, n.secret[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(window)))
	return strict64.EncodeToString(h.Sum(nil)[:18])
}
