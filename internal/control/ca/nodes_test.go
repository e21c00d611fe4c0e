package ca

import (
	"context"
	"crypto/rand"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// shared is a vault that several nodes have.
func (s *safe) shared() Vault {
	v := s.vault()
	save := v.Save
	v.Save = func(ctx context.Context, put map[string][]byte, drop []string, e ledger.Event) error {
		for id := range s.kept {
			if put[id] == nil && !slices.Contains(drop, id) {
				return ErrOtherKeys
			}
		}
		return save(ctx, put, drop, e)
	}
	return v
}

// TestNodes: control planes that start at once, and that change the authority in turns, have one and the same.
func TestNodes(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s := &safe{kept: map[string][]byte{}}
	node := func() *Authority {
		return &Authority{Vault: s.shared(), Domain: "lanyard.local", Now: func() time.Time { return now }, Rand: rand.Reader}
	}
	a, b := node(), node()
	load := b.Vault.Load
	b.Vault.Load = func(ctx context.Context) (map[string][]byte, error) { // a starts when b has seen that there is nothing
		b.Vault.Load = load
		if err := a.Open(ctx); err != nil {
			t.Error(err)
		}
		return map[string][]byte{}, nil
	}
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	same := func(want int) {
		t.Helper()
		if err := a.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		if err := b.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		if !reflect.DeepEqual(a.List(), b.List()) || len(a.List()) != want || len(s.kept) != want {
			t.Errorf("one has %+v, the other %+v, want %d", a.List(), b.List(), want)
		}
		for i, r := range a.List() {
			if (r.State == "issues") != (i == 0) {
				t.Errorf("%d: %+v", i, r)
			}
		}
	}
	same(1)
	_, changed := b.Trust()
	same(1)
	select {
	case <-changed:
		t.Error("what is the same is told as changed")
	default:
	}
	for _, n := range []*Authority{a, b, a} {
		now = now.Add(time.Hour)
		if err := n.Rotate(t.Context(), "operator:x"); err != nil {
			t.Fatal(err)
		}
	}
	same(4)
	<-changed
	old := maps.Clone(s.kept)
	now = now.Add(overlap)
	events := len(s.events)
	for _, n := range []*Authority{a, b} {
		if err := n.Prune(t.Context()); err != nil {
			t.Error(err)
		}
	}
	same(1)
	if len(s.events) != events+1 {
		t.Fatalf("%d events of one clearing up", len(s.events)-events)
	}
	dropped := s.events[events].Detail["dropped"]
	for id := range old {
		if _, kept := s.kept[id]; !kept && !slices.Contains(strings.Split(dropped, ", "), id) {
			t.Errorf("%s is dropped, and not on record: %q", id, dropped)
		}
	}
}
