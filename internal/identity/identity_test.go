package identity

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseID(t *testing.T) {
	for _, good := range []string{"spiffe://lanyard.local/agent/invoice-bot", "spiffe://a.b-c_d/oauth_client/x", "spiffe://l/api_key/a.b_c-d9"} {
		id, err := ParseID(good)
		if err != nil || id.String() != good {
			t.Errorf("ParseID(%q) = %v, %v", good, id, err)
		}
		again, err := NewID(id.TrustDomain(), id.Kind(), id.Name())
		if err != nil || again != id {
			t.Errorf("parts of %q make %v, %v", good, again, err)
		}
	}
	for _, bad := range []string{
		"", "agent/x", "spiffe://", "spiffe://d/agent", "spiffe://d/agent/", "spiffe://d/human/x", "spiffe://d/agent/x/y",
		"spiffe://D/agent/x", "spiffe://d/agent/X", "spiffe://d/agent/.x", "spiffe://d/agent/x..y", "spiffe://d/agent/x%2fy",
		"spiffe://d:1/agent/x", "spiffe://u@d/agent/x", "spiffe://d/agent/x?y", "spiffe://d/agent/x#y", "spiffe://d/agent/" + strings.Repeat("x", 65),
		"SPIFFE://d/agent/x", "spiffe://d/agent/x\n",
	} {
		if id, err := ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) = %v", bad, id)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("spiffe://lanyard.local/agent/invoice-bot")
	f.Add("spiffe://d/agent/../x")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			return
		}
		if id.String() != s {
			t.Errorf("%q became %q", s, id)
		}
		if again, err := NewID(id.TrustDomain(), id.Kind(), id.Name()); err != nil || again != id {
			t.Errorf("%q: its parts make %v, %v", s, again, err)
		}
	})
}

func TestTransition(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	maya := Owner{ID: "maya", State: OwnerActive}
	base := Identity{ID: MustID("spiffe://d/agent/x"), Owner: "maya", Purpose: "files invoices", Expires: now.Add(time.Hour)}
	states := []State{Pending, Active, Suspended, Killed, Expired, Retired}
	allowed := 0
	for _, from := range states {
		for _, to := range states {
			i := base
			i.State, i.KilledBy = from, "kill_1"
			next, err := i.Transition(to, maya, now)
			if !from.may(to) {
				var e *TransitionError
				if !errors.As(err, &e) || next != i {
					t.Errorf("%s to %s: %v, %+v", from, to, err, next)
				}
				continue
			}
			allowed++
			if err != nil || next.State != to {
				t.Errorf("%s to %s: %v", from, to, err)
			}
			if killed := to == Killed; killed != (next.Generation == 1) {
				t.Errorf("%s to %s: generation %d", from, to, next.Generation)
			}
			if (to == Active || to == Suspended) && (next.KilledBy != "" || next.KilledFrom != "") {
				t.Errorf("%s to %s: still says it was killed by %s from %s", from, to, next.KilledBy, next.KilledFrom)
			}
			if to == Killed && next.KilledFrom != from {
				t.Errorf("%s to %s: from %q", from, to, next.KilledFrom)
			}
		}
	}
	if allowed != 16 {
		t.Errorf("%d transitions are allowed, the table says 16", allowed)
	}
	for name, broken := range map[string]func(*Identity, *Owner){
		"no owner":     func(i *Identity, o *Owner) { i.Owner, *o = "", Owner{} },
		"other owner":  func(i *Identity, o *Owner) { o.ID = "ben" },
		"owner left":   func(i *Identity, o *Owner) { o.State = OwnerGone },
		"no purpose":   func(i *Identity, o *Owner) { i.Purpose = " " },
		"no expiry":    func(i *Identity, o *Owner) { i.Expires = time.Time{} },
		"expires now":  func(i *Identity, o *Owner) { i.Expires = now },
		"owner's zero": func(i *Identity, o *Owner) { o.State = "" },
	} {
		i, o := base, maya
		i.State = Pending
		broken(&i, &o)
		if next, err := i.Transition(Active, o, now); err == nil || next.State != Pending {
			t.Errorf("%s: became %s", name, next.State)
		}
	}
}

func TestUsable(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	if (Identity{State: Active, Expires: now.Add(1)}).Usable(now) == nil {
		t.Error("the zero ID is usable")
	}
	i := Identity{ID: MustID("spiffe://d/agent/x"), State: Active, Expires: now}
	if i.Usable(now) == nil || i.Usable(now.Add(-1)) != nil {
		t.Error("an identity must stop at its expiry, not before and not after")
	}
	c := Credential{ID: "cred_1", Expires: now}
	if c.Usable(now) == nil || c.Usable(now.Add(-1)) != nil || (Credential{Expires: now}).Usable(now.Add(-1)) == nil {
		t.Error("a credential must stop at its expiry")
	}
	c.Revoked = now.Add(-time.Hour)
	if c.Usable(now.Add(-1)) == nil {
		t.Error("a revoked credential is usable")
	}
}
