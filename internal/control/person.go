package control

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// People come in with a session: at a browser by its cookie, with lanyard login by a token. What they may do is asked where
// operations are registered, before the handler runs, and again in the transaction in which something is changed.

const sessionHeader = "Lanyard-Session"

// lookAgain is how often what runs for a person is held against their session.
const lookAgain = 2 * time.Second

// errSignedOut is what somebody is told whose session is over.
var errSignedOut = &Problem{Type: "urn:lanyard:signed-out", Title: http.StatusText(http.StatusUnauthorized), Status: http.StatusUnauthorized, Detail: "Nobody is signed in here, or not any more: sign in again, in the console or with lanyard login."}

// session finds what a request shows for a person's session; "" when it shows none. What comes with a cookie, another site may have had the browser send.
func (p *Plane) session(r *http.Request) (string, error) {
	if auth := r.Header.Values("Authorization"); len(auth) > 0 {
		text, ok := strings.CutPrefix(auth[0], "Bearer ")
		if len(auth) != 1 || !ok || !strings.HasPrefix(text, registry.DevicePrefix) {
			return "", nil
		}
		return text, nil
	}
	text := p.issuer.Cookie(r)
	if text == "" || strings.HasPrefix(text, registry.DevicePrefix) { // a program's is no cookie
		return "", nil
	}
	return text, p.ownPage(r)
}

// ownPage refuses what did not come from a page of ours: it would come with a person's cookie.
func (p *Plane) ownPage(r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	protection := http.NewCrossOriginProtection()
	if u, err := url.Parse(p.URL); err == nil {
		_ = protection.AddTrustedOrigin(u.Scheme + "://" + u.Host) // behind a proxy, Host may be another
	}
	if protection.Check(r) != nil || r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "" {
		return refusal(http.StatusForbidden, "This came from another site, or from no page at all, so it was not done.")
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); r.ContentLength != 0 && (err != nil || kind != "application/json") {
		return refusal(http.StatusUnsupportedMediaType, "The Content-Type must be application/json.")
	}
	return nil
}

// gate refuses people who may do an operation to nothing at all, before what they sent is read.
func (d door) gate(operation string) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		if text := hc.Header(sessionHeader); text != "" {
			err := d.plane.Store.Read(hc.Context(), func(tx *store.Tx) error {
				v, err := visit(tx, text)
				if err == nil && reachOf(&v, operation) == toNothing {
					err = forbidden(&v)
				}
				return err
			})
			if told, ok := d.answer(operation, err).(*Problem); err != nil && ok {
				hc.SetHeader("Content-Type", told.ContentType(""))
				hc.SetStatus(told.Status)
				_ = json.NewEncoder(hc.BodyWriter()).Encode(told) // the caller may be gone
				return
			}
		}
		next(hc)
	}
}

// caller is who asks, of every input.
func (c *Caller) caller() *Caller { return c }

// admit finds out whose session an input came with, if with one, and whether that person may do this; the error is what they are told.
func (p *Plane) admit(ctx context.Context, op *huma.Operation, in any) error {
	c := in.(interface{ caller() *Caller }).caller()
	if c.Session == "" {
		return nil
	}
	return p.Store.Read(ctx, func(tx *store.Tx) error {
		v, err := visit(tx, c.Session)
		if err != nil {
			return err
		}
		c.visitor = &v
		if c.only, err = p.may(tx, &v, op, in); err != nil {
			return err
		}
		c.same = func(tx *store.Tx) error {
			now, err := visit(tx, c.Session)
			switch {
			case err != nil:
				return err
			case reachOf(&now, op.OperationID) == toNothing:
				return forbidden(&now)
			case less(&v, &now):
				return errLess
			}
			return nil
		}
		c.still = func(tx *store.Tx) error {
			now, err := visit(tx, c.Session)
			if err == nil {
				_, err = p.may(tx, &now, op, in)
			}
			if err == nil && less(&v, &now) {
				err = errLess
			}
			return err
		}
		return nil
	})
}

// errLess is what somebody is told whose roles or teams became fewer meanwhile.
var errLess = refusal(http.StatusForbidden, "Your roles or teams were changed meanwhile, so this was ended. Ask again for what you may see now.")

// less reports whether a person has not all the roles any more, or not all that was theirs.
func less(before, now *registry.Visitor) bool {
	return slices.ContainsFunc(before.Roles, func(r identity.Role) bool { return !slices.Contains(now.Roles, r) }) ||
		slices.ContainsFunc(before.Theirs, func(o identity.OwnerID) bool { return !slices.Contains(now.Theirs, o) })
}

// sees reports whether the caller may know of what is an owner's.
func (c *Caller) sees(owner identity.OwnerID) bool {
	return c.only == nil || owner != "" && slices.Contains(c.only, owner)
}

// find finds an identity that the caller may know of.
func (c *Caller) find(tx *store.Tx, ref string) (identity.Identity, error) {
	i, err := registry.FindIdentity(tx, ref)
	if err == nil && !c.sees(i.Owner) {
		err = &registry.Missing{Noun: "identity", Name: ref}
	}
	return i, err
}

// upstreams are those that the caller sees.
func (c *Caller) upstreams(tx *store.Tx) ([]policy.Upstream, error) {
	all, err := tx.Upstreams()
	if err != nil || c.only == nil {
		return all, err
	}
	var list []policy.Upstream
	for _, u := range all {
		o, err := sawUpstream(tx, c.visitor, u)
		if err != nil {
			return nil, err
		}
		if permits(c.visitor, "get-upstream", o) {
			list = append(list, u)
		}
	}
	return list, nil
}

// visit says who a session is of. One that was shown as a cookie was no program's, and the other way round.
func visit(tx *store.Tx, text string) (registry.Visitor, error) {
	v, err := registry.Visit(tx, text)
	if errors.Is(err, store.ErrNotFound) || err == nil && (v.Method == store.ByDevice) != strings.HasPrefix(text, registry.DevicePrefix) {
		err = errSignedOut
	}
	return v, err
}

// may says why a person may not do an operation, or, of a list, of what they get the part that is theirs; nil: all.
func (p *Plane) may(tx *store.Tx, v *registry.Visitor, op *huma.Operation, in any) ([]identity.OwnerID, error) {
	switch reachOf(v, op.OperationID) {
	case toAll:
		return nil, nil
	case toNothing:
		return nil, forbidden(v)
	}
	objects, err := p.objectsOf(tx, v, op.Path, in)
	if err != nil {
		return nil, err
	}
	if len(objects) == 0 {
		if op.Metadata[partly] == nil {
			return nil, forbidden(v)
		}
		return v.Theirs, nil
	}
	return v.Theirs, mayAll(v, op.OperationID, objects...)
}

// mayAll says why a person may not do an operation to one of these.
func mayAll(v *registry.Visitor, operation string, objects ...object) error {
	if permits(v, operation, everything) {
		return nil
	}
	for _, o := range objects {
		if !permits(v, operation, o) {
			if permits(v, "get-"+o.noun, everything) || permits(v, "get-"+o.noun, o) { // they know of it
				return forbidden(v)
			}
			return &registry.Missing{Noun: o.noun, Name: o.name}
		}
	}
	return nil
}

func forbidden(v *registry.Visitor) error {
	words := make([]string, len(v.Roles))
	for i, r := range v.Roles {
		words[i] = string(r)
	}
	return refusal(http.StatusForbidden, "You may not do this: your roles are "+strings.Join(words, ", ")+". An administrator gives others.")
}

// during is a context for what runs as long as the caller's session lasts, and lets them see as much. What is made is made: then only
// the session and the roles count, for what it was done to may be theirs no more.
func (p *Plane) during(ctx context.Context, op *huma.Operation, in any) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	c := in.(interface{ caller() *Caller }).caller()
	if c.visitor != nil {
		look := c.still
		if op.Metadata[receipts] != nil {
			look = c.same
		}
		go func() {
			tick := time.NewTicker(lookAgain)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				if err := p.Store.Read(ctx, look); err != nil {
					cancel(err)
				}
			}
		}()
	}
	return ctx, func() { cancel(nil) }
}

// cut is why the caller gets no answer to what ran for longer than it might; nil: it did not.
func cut(run context.Context, op *huma.Operation, err error) error {
	if run.Err() == nil || err == nil && op.Method != http.MethodGet {
		return err // what was changed stays changed, and is told
	}
	return context.Cause(run)
}
