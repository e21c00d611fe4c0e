package issuer

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// Who signs out at the provider is signed out here (OpenID Connect Back-Channel Logout 1.0): the provider says so itself, with a token.

const oidcLogout = "/console/oidc/logout/"

func (i *Issuer) oidcLogout(w http.ResponseWriter, r *http.Request) {
	form, err := readForm(w, r)
	if err == nil && form["logout_token"] == "" {
		err = refuse("invalid_request", "logout_token is missing.")
	}
	if err != nil {
		replyError(w, r, err)
		return
	}
	name := r.PathValue("provider")
	l, err := i.logoutToken(r.Context(), name, form["logout_token"])
	if err == nil {
		_, err = i.Registry.Do(r.Context(), registry.Actor{Name: "provider:" + name, Source: r.RemoteAddr}, func(c *registry.Change) error {
			return c.SignOutAt(name, l)
		})
	}
	var used *registry.Conflict
	var no *badLogout
	switch {
	case err == nil:
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusOK)
	case errors.As(err, &used), errors.As(err, &no):
		if left, ok := i.strangers.Admit(i.Now()); ok {
			e := ledger.Event{Type: "owner.sign_out", Outcome: ledger.Refused, Actor: registry.Self.Name, Reason: clip(err.Error()), Detail: map[string]string{"provider": clip(name)}}
			if left > 0 {
				e.Detail["left_out"] = strconv.Itoa(left)
			}
			if bad := i.say(r, e); bad != nil {
				replyError(w, r, bad)
				return
			}
		}
		replyError(w, r, refuse("invalid_request", capital(err.Error())+"."))
	default:
		replyError(w, r, err)
	}
}

// badLogout is why nobody is signed out.
type badLogout struct{ error }

// logoutToken reads and judges what is said to be the word of a provider that people sign in with.
func (i *Issuer) logoutToken(ctx context.Context, name, raw string) (l token.LogoutToken, err error) {
	l, err = token.ParseLogoutToken(raw)
	if err != nil {
		return l, &badLogout{errors.New("the logout token " + err.Error())}
	}
	var p identity.Provider
	err = i.Registry.Store.Read(ctx, func(tx *store.Tx) (err error) { p, err = tx.Provider(name); return err })
	if errors.Is(err, store.ErrNotFound) || err == nil && (!p.May(identity.SignIn) || l.Issuer != p.Issuer) {
		return l, &badLogout{errors.New("the logout token is not of the provider that people sign in with here")}
	} else if err != nil {
		return l, err
	}
	keys, err := i.keysOf(ctx, p, l.Knows)
	if err != nil {
		return l, err
	}
	if !l.SignedBy(keys) {
		return l, &badLogout{errors.New("the signature of the logout token is wrong, or by a key that the provider does not publish")}
	}
	if err := l.Judge(p.Client, i.Now()); err != nil {
		return l, &badLogout{errors.New("the logout token " + err.Error())}
	}
	return l, nil
}
