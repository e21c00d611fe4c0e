package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// providers: found by name and by exactly their issuer, which no two share; what stands on
// the word of one is found by it until it is revoked, and a kill revokes it, too.
func providers(t *testing.T, k kit) {
	db := k.open()
	k.write(db, world)
	okta := identity.Provider{Name: "okta", Issuer: "https://acme.example", Uses: []identity.ProviderUse{identity.IDJAG}, Claim: "email", Domains: []string{"acme.example"},
		People: map[string]identity.OwnerID{"00u1": "maya"}, Scopes: []string{"read"}, Life: "30d", Public: true, JWKS: []byte(`{"keys":[]}`), Set: "s", Version: 2}
	other := identity.Provider{Name: "another", Issuer: "https://acme.example/"}
	vouched := identity.Credential{ID: "cred_v", Identity: bot, Kind: identity.Vouched, Provider: "okta", Thumbprint: "tv", Created: Epoch, Expires: Epoch.Add(time.Hour)}
	k.write(db, func(tx *store.Tx) error {
		tx.Record(Event("provider.add"))
		return errors.Join(tx.PutProvider(okta), tx.PutProvider(other), tx.PutCredential(vouched))
	})
	k.read(db, func(tx *store.Tx) error {
		byName, err1 := tx.Provider("okta")
		byIssuer, err2 := tx.ProviderByIssuer("https://acme.example")
		all, err3 := tx.Providers()
		for _, got := range []identity.Provider{byName, byIssuer} {
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", okta) {
				t.Errorf("read %+v\nput  %+v", got, okta)
			}
		}
		if len(all) != 2 || all[0].Name != "another" {
			t.Errorf("%+v", all)
		}
		mine, err4 := tx.CredentialsOf("okta")
		none, err5 := tx.CredentialsOf("")
		if len(mine) != 1 || fmt.Sprintf("%+v", mine[0]) != fmt.Sprintf("%+v", vouched) || len(none) != 0 {
			t.Errorf("%+v %+v", mine, none)
		}
		for name, err := range map[string]error{"name": errOf(tx.Provider("x")), "issuer": errOf(tx.ProviderByIssuer("https://ACME.example"))} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s that is not there: %v", name, err)
			}
		}
		return errors.Join(err1, err2, err3, err4, err5)
	})
	other.Issuer = okta.Issuer
	for what, c := range map[string]struct {
		f    func(*store.Tx) error
		want error
	}{
		"an issuer once more": {func(tx *store.Tx) error { tx.Record(Event("x")); return tx.PutProvider(other) }, store.ErrExists},
		"without an event":    {func(tx *store.Tx) error { return tx.PutProvider(okta) }, store.ErrUnrecorded},
		"one that is none":    {func(tx *store.Tx) error { tx.Record(Event("x")); return tx.DeleteProvider("x") }, store.ErrNotFound},
	} {
		if _, err := db.Write(t.Context(), c.f); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	k.write(db, func(tx *store.Tx) error {
		tx.Record(Event("x"))
		_, _, err := tx.Kill("kill_1", store.Selector{Identity: bot})
		return errors.Join(err, tx.DeleteProvider("okta"))
	})
	k.read(db, func(tx *store.Tx) error {
		left, err := tx.CredentialsOf("okta")
		if _, gone := tx.Provider("okta"); len(left) != 0 || !errors.Is(gone, store.ErrNotFound) {
			t.Errorf("%+v %v", left, gone)
		}
		return err
	})
}
