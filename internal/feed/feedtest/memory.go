package feedtest

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Memory is a Source in memory, the simplest that keeps the contract: for tests
// of what follows a feed. The zero Memory is not usable; see NewMemory.
type Memory struct {
	mu     sync.Mutex
	epoch  string
	seq    uint64
	log    []feed.Change          // after floor
	floor  uint64                 // changes up to here are forgotten
	things map[string]feed.Change // what a snapshot holds, by what it is about
	order  []string
	wake   chan struct{}
	acked  feed.Cursor
	events []ledger.Event
}

// NewMemory returns an empty Memory.
func NewMemory(epoch string) *Memory {
	return &Memory{epoch: epoch, things: map[string]feed.Change{}, wake: make(chan struct{})}
}

// Put makes a change and returns where it is.
func (m *Memory) Put(c feed.Change) feed.Cursor {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq++
	c.Cursor = feed.Cursor{Epoch: m.epoch, Seq: m.seq}
	m.log = append(m.log, c)
	m.remember(c)
	close(m.wake)
	m.wake = make(chan struct{})
	return c.Cursor
}

func (m *Memory) remember(c feed.Change) {
	if c.Kill != nil {
		for _, id := range c.Kill.Identities {
			m.killed(id, c.Kill)
		}
		if old, ok := m.things["upstream "+c.Kill.Upstream]; ok {
			u := *old.Upstream
			u.Killed = true
			m.set("upstream "+u.Name, feed.Change{Upstream: &u})
		}
		return
	}
	if c.Account != nil {
		return
	}
	if c.Removed {
		delete(m.things, Key(c))
		m.order = slices.DeleteFunc(m.order, func(key string) bool { return key == Key(c) })
		return
	}
	m.set(Key(c), c)
}

func (m *Memory) killed(id identity.ID, k *feed.Kill) {
	for key, c := range m.things {
		switch {
		case c.Identity != nil && c.Identity.ID == id:
			i := *c.Identity
			i.State, i.KilledBy = identity.Killed, k.ID
			i.Generation++
			m.things[key] = feed.Change{Identity: &i}
		case c.Credential != nil && c.Credential.Identity == id && c.Credential.Revoked.IsZero():
			n := *c.Credential
			n.Revoked = k.At
			m.things[key] = feed.Change{Credential: &n}
		}
	}
}

func (m *Memory) set(key string, c feed.Change) {
	if _, ok := m.things[key]; !ok {
		m.order = append(m.order, key)
	}
	m.things[key] = c
}

// Compact forgets the changes that were made so far; a snapshot still has what they led to.
func (m *Memory) Compact() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log, m.floor = nil, m.seq
}

// Restored begins another history, as a control plane does after a restore, and ends every Watch.
func (m *Memory) Restored(epoch string, forget ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range forget {
		delete(m.things, key)
	}
	m.epoch, m.log, m.floor = epoch, nil, m.seq
	close(m.wake)
	m.wake = make(chan struct{})
}

// Acked is the last cursor that a follower said it enforces.
func (m *Memory) Acked() feed.Cursor {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.acked
}

// Events are those that were recorded.
func (m *Memory) Events() []ledger.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]ledger.Event(nil), m.events...)
}

func (m *Memory) Watch(ctx context.Context, after feed.Cursor) iter.Seq2[feed.Change, error] {
	return func(yield func(feed.Change, error) bool) {
		at := after
		for {
			batch, wake, err := m.after(at)
			if err != nil {
				yield(feed.Change{}, err)
				return
			}
			for _, c := range batch {
				if ctx.Err() != nil || !yield(c, nil) {
					return
				}
				at = c.Cursor
			}
			if len(batch) > 0 {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-wake:
			}
		}
	}
}

// after is what follows at, as of now, and a channel that closes when there is more.
func (m *Memory) after(at feed.Cursor) ([]feed.Change, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	head := feed.Cursor{Epoch: m.epoch, Seq: m.seq}
	if at == (feed.Cursor{}) {
		var all []feed.Change
		for _, key := range m.order {
			if c, ok := m.things[key]; ok {
				c.Cursor = head
				all = append(all, c)
			}
		}
		return append(all, feed.Change{Cursor: head, Synced: true}), m.wake, nil
	}
	if at.Epoch != m.epoch || at.Seq < m.floor || at.Seq > m.seq {
		return nil, nil, feed.ErrCompacted
	}
	return m.log[at.Seq-m.floor:], m.wake, nil
}

func (m *Memory) Ack(_ context.Context, at feed.Cursor) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.acked = at
	return feed.DefaultLease, nil
}

func (m *Memory) Record(_ context.Context, events []ledger.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, events...)
	return nil
}

func (m *Memory) Credential(context.Context, string, identity.Chain, feed.Secret) (feed.Secret, error) {
	return feed.Secret{Header: "Authorization", Value: "Bearer secret", Expires: time.Time{}}, nil
}

func (m *Memory) Draw(_ context.Context, _ string, want policy.Budget) (policy.Budget, error) {
	return want, nil
}

func (m *Memory) Introduce(_ context.Context, upstream, _ string) (feed.Introduction, error) {
	return feed.Introduction{Token: "introduction to " + upstream}, nil
}

var _ feed.Source = (*Memory)(nil)
