package control

import (
	"context"
	"errors"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/issuer"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Graph is GET /v1/identities/{name}/graph: who and what is around an identity.
type Graph struct {
	Nodes []GraphNode `json:"nodes"`
	Edges []GraphEdge `json:"edges"`
}

// GraphNode is a person or team, an identity, or an upstream.
type GraphNode struct {
	ID    string `json:"id" example:"upstream/mail"`
	Kind  string `json:"kind" enum:"person,identity,upstream"`
	Label string `json:"label"`
	State string `json:"state,omitempty"`
}

// GraphEdge is what one has to do with another. That it acted for somebody is of the last day.
type GraphEdge struct {
	From string `json:"from"`
	To   string `json:"to"`
	What string `json:"what" enum:"owns,started,may,acted for"`
}

// Stops is GET /v1/identities/{name}/stops: what the cord would stop.
type Stops struct {
	Identities []identity.ID `json:"identities" doc:"Itself, and what it started that has not ended; the first 1000"`
	Count      int           `json:"count" doc:"How many these are"`
	Running    int           `json:"running" doc:"Requests of theirs under way that were put on record before they began"`
	Tokens     int           `json:"tokens" doc:"Tokens given to them that have not ended by themselves"`
}

// around is how many children, and others, a graph shows.
const around = 100

type drawing struct {
	Graph
	known map[string]bool
}

func (g *drawing) node(id, kind, label, state string) string {
	if !g.known[id] {
		g.known[id] = true
		g.Nodes = append(g.Nodes, GraphNode{id, kind, label, state})
	}
	return id
}

func (g *drawing) edge(from, to, what string) { g.Edges = append(g.Edges, GraphEdge{from, to, what}) }

func (g *drawing) owner(tx *store.Tx, id identity.OwnerID) (string, error) {
	o, err := tx.Owner(id)
	if errors.Is(err, store.ErrNotFound) {
		o, err = identity.Owner{Name: string(id), State: identity.OwnerGone}, nil
	}
	return g.node("person/"+string(id), "person", o.Name, string(o.State)), err
}

func (g *drawing) identity(i identity.Identity) string {
	return g.node(i.ID.String(), "identity", i.ID.Name(), string(i.State))
}

// graph draws what the caller may know of.
func (p *Plane) graph(tx *store.Tx, who *Caller, i identity.Identity) (Graph, error) {
	g := &drawing{Graph{[]GraphNode{}, []GraphEdge{}}, map[string]bool{}}
	self := g.identity(i)
	var all error
	if i.Owner != "" {
		owner, err := g.owner(tx, i.Owner)
		g.edge(owner, self, "owns")
		all = err
	}
	for below, parent := self, i.Parent.ID; !parent.IsZero(); {
		above, err := tx.Identity(parent)
		if err != nil || !who.sees(above.Owner) {
			break // it is forgotten, or another's
		}
		g.edge(g.identity(above), below, "started")
		below, parent = above.ID.String(), above.Parent.ID
	}
	children, err := tx.Descendants(i.ID, around)
	all = errors.Join(all, err)
	for _, k := range children {
		if !who.sees(k.Owner) || !g.known[k.Parent.ID.String()] {
			continue
		}
		g.edge(k.Parent.ID.String(), g.identity(k), "started")
	}
	grants, err := tx.Grants(i.ID)
	all = errors.Join(all, err)
	for _, a := range grants {
		u, err := tx.Upstream(a.Upstream)
		all = errors.Join(all, err)
		state := "active"
		if u.Killed {
			state = "killed"
		}
		to := "upstream/" + u.Name
		if !a.Ended(tx.Now()) && !g.known[to] {
			g.edge(self, g.node(to, "upstream", u.Name, state), "may")
		}
	}
	_, _, behalf := p.tally.around(i.ID, tx.Now(), 0)
	for _, link := range behalf {
		if person, ok := strings.CutPrefix(link, "spiffe://"+p.Domain+"/"+string(identity.Person)+"/"); ok {
			if !who.sees(identity.OwnerID(person)) {
				continue
			}
			to, err := g.owner(tx, identity.OwnerID(person))
			g.edge(self, to, "acted for")
			all = errors.Join(all, err)
		} else if other, err := who.find(tx, link); err == nil {
			g.edge(self, g.identity(other), "acted for")
		}
	}
	return g.Graph, all
}

func (p *Plane) stops(tx *store.Tx, who *Caller, i identity.Identity) (s Stops, err error) {
	s.Identities = []identity.ID{}
	below, err := tx.Descendants(i.ID, shown-1)
	ttl := issuer.DefaultTTL
	if p.TokenTTL > 0 {
		ttl = min(p.TokenTTL, issuer.LongestTTL)
	}
	for _, k := range append([]identity.Identity{i}, below...) {
		alive := k.State == identity.Active || k.State == identity.Suspended
		if !alive && k.ID != i.ID || !who.sees(k.Owner) {
			continue
		}
		running, tokens, _ := p.tally.around(k.ID, tx.Now(), ttl)
		if !alive { // nor are its tokens
			tokens = 0
		}
		s.Identities, s.Running, s.Tokens = append(s.Identities, k.ID), s.Running+running, s.Tokens+tokens
	}
	s.Count = len(s.Identities)
	return s, err
}

func (p *Plane) graphRoutes(api door) {
	const tag = "identities"
	handle(api, "GET", "/identities/{name}/graph", "get-graph", tag, "Who and what is around an identity: people, those that started it and that it started, and upstreams", func(ctx context.Context, in *byName) (Graph, error) {
		return read(ctx, p, func(tx *store.Tx) (Graph, error) {
			i, err := registry.FindIdentity(tx, in.Name)
			if err != nil {
				return Graph{}, err
			}
			return p.graph(tx, &in.Caller, i)
		})
	})
	handle(api, "GET", "/identities/{name}/stops", "get-stops", tag, "What the cord would stop", func(ctx context.Context, in *byName) (Stops, error) {
		return read(ctx, p, func(tx *store.Tx) (Stops, error) {
			i, err := registry.FindIdentity(tx, in.Name)
			if err != nil {
				return Stops{}, err
			}
			return p.stops(tx, &in.Caller, i)
		})
	})
}
