package registry_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
)

// Programs that nobody knows wait for people without a word in the ledger, and however many come from a source, or from many, others find a place.
func TestNobodyTakesAllPlacesOfPrograms(t *testing.T) {
	w := open(t)
	size := w.Store.Size()
	var first string
	ask := func(c *registry.Change, address string) (device string, err error) {
		device, _, _, err = c.BeginDevice(registry.Browser{Address: address, Name: "lanyard login"})
		return device, err
	}
	fill := func(n int, address func(int) string) (got int, err error) {
		_, err = w.Do(t.Context(), registry.Self, func(c *registry.Change) error {
			for i := range n {
				device, err := ask(c, address(i))
				if busy := (*registry.Conflict)(nil); errors.As(err, &busy) {
					return nil
				} else if err != nil {
					return err
				}
				if got++; first == "" {
					first = device
				}
			}
			return nil
		})
		return got, err
	}
	for name, test := range map[string]struct {
		address func(int) string
		most    int
	}{
		"one address":             {func(i int) string { return fmt.Sprint("192.0.2.1:", 1024+i) }, 50},
		"the same, written as v6": {func(i int) string { return fmt.Sprint("[::ffff:192.0.2.7]:", 1024+i) }, 50},
		"one site":                {func(i int) string { return fmt.Sprintf("[2001:db8:1:%x::%x]:443", i, i) }, 50},
	} {
		if got, err := fill(60, test.address); got != test.most || err != nil {
			t.Errorf("%s: %d %v", name, got, err)
		}
	}
	w.set(w.now.Add(time.Second))
	if got, err := fill(850, func(i int) string { return fmt.Sprintf("198.51.%d.%d:1", i/250, i%250) }); got != 850 || err != nil {
		t.Fatal(got, err)
	}
	waits := func(device string) error {
		return w.Store.Read(t.Context(), func(tx *store.Tx) error { _, err := registry.WaitingDevice(tx, device); return err })
	}
	if err := waits(first); !errors.Is(err, registry.ErrDeviceWaits) {
		t.Fatalf("all places are taken: %v", err)
	}
	var mine string
	if _, err := w.Do(t.Context(), registry.Self, func(c *registry.Change) (err error) { mine, err = ask(c, "203.0.113.9:1"); return err }); err != nil {
		t.Fatalf("who comes when all is full: %v", err)
	}
	if got, err := fill(60, func(i int) string { return fmt.Sprintf("203.0.%d.%d:1", i, i) }); got != 60 || err != nil {
		t.Fatal(got, err)
	}
	if err := waits(mine); !errors.Is(err, registry.ErrDeviceWaits) {
		t.Errorf("its place was given away before those of who has many: %v", err)
	}
	if err := w.Store.Read(t.Context(), func(tx *store.Tx) error {
		n, err := tx.CountTickets(store.UserCode)
		if n != 1000 {
			t.Errorf("%d wait", n)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if got := w.Store.Size(); got != size {
		t.Errorf("strangers wrote %d events", got-size)
	}
	w.set(w.now.Add(11 * time.Minute))
	if got, err := fill(1, func(int) string { return "192.0.2.1:1" }); got != 1 || err != nil {
		t.Errorf("their time is over: %d %v", got, err)
	}
}

// What was let in and has not come for its session gets none when who let it in has signed out.
func TestLetInBySomebodyWhoSignedOut(t *testing.T) {
	for name, out := range map[string]func(*registry.Change, string) error{
		"here":            func(c *registry.Change, s string) error { return c.SignOut(s, false) },
		"here everywhere": func(c *registry.Change, s string) error { return c.SignOut(s, true) },
	} {
		w := open(t)
		do := func(f func(*registry.Change) error) error {
			_, err := w.Do(t.Context(), registry.Self, f)
			return err
		}
		var device, session string
		if err := do(func(c *registry.Change) (err error) {
			if session, _, err = c.Begin(store.Session{Person: registry.Person("maya"), Owner: "maya", Method: store.ByLink}, registry.Browser{}); err != nil {
				return err
			}
			var user string
			if device, user, _, err = c.BeginDevice(registry.Browser{Address: "192.0.2.1:1"}); err != nil {
				return err
			}
			return c.AnswerDevice(user, session, true)
		}); err != nil {
			t.Fatal(err)
		}
		if err := do(func(c *registry.Change) error { return out(c, session) }); err != nil {
			t.Fatal(err)
		}
		if err := do(func(c *registry.Change) error { _, _, err := c.TakeDevice(device, registry.Browser{}); return err }); !errors.Is(err, registry.ErrDeviceDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
