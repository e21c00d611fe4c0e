package control

import (
	"context"
	"net/http"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Me is GET /v1/me: the person who is signed in.
type Me struct {
	Name    string           `json:"name" example:"Maya Lind"`
	Email   string           `json:"email,omitempty"`
	Owner   identity.OwnerID `json:"owner,omitempty" doc:"Who they are as an owner; left out, they are none"`
	Roles   []identity.Role  `json:"roles" enum:"admin,security,operator,owner,auditor"`
	May     []string         `json:"may" doc:"Operations that they may do to something, at least"`
	ToAll   []string         `json:"may_to_all" doc:"Those of them that they may do to everything, not only to what is theirs"`
	Session MySession        `json:"session"`
}

// MySession is one place at which a person is signed in.
type MySession struct {
	ID      string       `json:"id" example:"ses_..."`
	Method  store.SignIn `json:"method" enum:"oidc,passkey,link,device"`
	Began   time.Time    `json:"began"`
	Expires time.Time    `json:"expires"`
	From    string       `json:"from,omitempty" doc:"Peer address"`
	With    string       `json:"with,omitempty" doc:"The browser or program, as it called itself"`
	Current bool         `json:"current,omitempty" doc:"It is the one that asks"`
}

func mySession(s store.Session, this string) MySession {
	return MySession{s.ID, s.Method, s.Began, s.Expires, s.From, s.With, s.ID == this}
}

// errNobody answers who has the admin token, or the socket: no person is signed in.
var errNobody = refusal(http.StatusNotFound, "No person is signed in here: the admin token and the Unix socket are nobody's.")

func (p *Plane) meRoutes(api door) {
	const tag = "me"
	handle(api, "GET", "/me", "get-me", tag, "The person who is signed in, and what they may do", func(ctx context.Context, in *none) (Me, error) {
		v := in.visitor
		if v == nil {
			return Me{}, errNobody
		}
		out := Me{Name: v.Name, Email: v.Email, Owner: v.Owner, Roles: v.Roles, May: []string{}, ToAll: []string{}, Session: mySession(v.Session, v.ID)}
		if out.Roles == nil {
			out.Roles = []identity.Role{}
		}
		for _, id := range api.operations() {
			reach := reachOf(v, id)
			if reach != toNothing {
				out.May = append(out.May, id)
			}
			if reach == toAll {
				out.ToAll = append(out.ToAll, id)
			}
		}
		return out, nil
	})
	handle(api, "GET", "/me/sessions", "list-sessions", tag, "Where the person is signed in", func(ctx context.Context, in *none) (Page[MySession], error) {
		if in.visitor == nil {
			return Page[MySession]{}, errNobody
		}
		return read(ctx, p, func(tx *store.Tx) (Page[MySession], error) {
			list, err := tx.Sessions(in.visitor.Person)
			var out []MySession
			for _, s := range list {
				out = append(out, mySession(s, in.visitor.ID))
			}
			return page(out), err
		})
	})
	handle(api, "DELETE", "/me/sessions/{name}", "end-session", tag, "End one of the person's sessions", func(ctx context.Context, in *byName) (struct{}, error) {
		if in.visitor == nil {
			return struct{}{}, errNobody
		}
		_, err := p.do(ctx, in.actor(), func(c *registry.Change) error { return c.EndSession(in.visitor.Person, in.Name) })
		return struct{}{}, err
	})
}
