package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// handler is what gateways can ask: what [feed.Client] does, and to join.
func (f *fleet) handler() http.Handler {
	const little, much = 1 << 20, 32 << 20
	type done struct{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+feed.PathWatch, f.watch)
	mux.HandleFunc("POST "+feed.PathJoin, f.join)
	mux.Handle("POST "+feed.PathAck, guarded(f, little, func(ctx context.Context, g store.Gateway, at feed.Cursor) (feed.LeaseAnswer, error) {
		head, err := f.p.Store.Latest(ctx)
		if err == nil && (at.Epoch != head.Epoch || at.Seq > head.Seq) {
			err = feed.ErrCompacted // what it has is of another history
		}
		if err != nil {
			return feed.LeaseAnswer{}, err
		}
		lease, err := f.source(g).Ack(ctx, at)
		if err == nil && f.p.acks.nodes.shared { // evicted by another node meanwhile: what began before that may be given, and no more
			var is store.Gateway
			if is, err = read(ctx, f.p, func(tx *store.Tx) (store.Gateway, error) { return tx.Gateway(g.Name) }); err == nil && (is.State != store.GatewayJoined || !is.Joined.Equal(g.Joined)) {
				err = feed.ErrEvicted
			}
		}
		if err != nil {
			return feed.LeaseAnswer{}, err
		}
		return feed.LeaseAnswer{Milliseconds: lease.Milliseconds()}, err
	}))
	mux.Handle("POST "+feed.PathRecord, guarded(f, much, func(ctx context.Context, g store.Gateway, in feed.Recording) (done, error) {
		for i := range in.Events {
			f.date(&in.Events[i])
			if err := f.own(g, &in.Events[i]); err != nil {
				return done{}, err
			}
		}
		return done{}, f.source(g).Record(ctx, in.Events)
	}))
	mux.Handle("POST "+feed.PathCredential, guarded(f, little, func(ctx context.Context, g store.Gateway, in feed.CredentialCall) (feed.UnsafeSecret, error) {
		if !g.For(in.Upstream) {
			return feed.UnsafeSecret{}, notFor(g, in.Upstream)
		}
		s, err := f.source(g).Credential(ctx, in.Upstream, in.Chain, feed.Secret(in.Refused))
		return feed.UnsafeSecret(s), err
	}))
	mux.Handle("POST "+feed.PathBudget, guarded(f, little, func(ctx context.Context, g store.Gateway, in feed.BudgetCall) (policy.Budget, error) {
		if err := f.forTask(ctx, g, in.Task); err != nil {
			return nil, err
		}
		return f.source(g).Draw(ctx, in.Task, in.Want)
	}))
	mux.Handle("POST "+feed.PathAsk, guarded(f, much, func(ctx context.Context, g store.Gateway, q feed.Question) (feed.Approval, error) {
		switch {
		case !g.For(q.Upstream):
			return feed.Approval{}, notFor(g, q.Upstream)
		case q.Gateway != g.Name:
			return feed.Approval{}, fmt.Errorf("%w: a question of gateway %.64q comes from %s", feed.ErrRefused, q.Gateway, g.Name)
		case q.Ask == nil || len(q.Chain) == 0 || q.Hash == "":
			return feed.Approval{}, errBody
		}
		return f.p.Desk().Ask(ctx, q)
	}))
	mux.Handle("POST "+feed.PathUse, guarded(f, little, func(ctx context.Context, g store.Gateway, in feed.UseCall) (done, error) {
		a, err := read(ctx, f.p, func(tx *store.Tx) (store.Approval, error) { return tx.Approval(in.ID) })
		if errors.Is(err, store.ErrNotFound) || err == nil && !g.For(a.Question.Upstream) {
			return done{}, feed.ErrUsed
		}
		if err != nil {
			return done{}, err
		}
		return done{}, f.p.Desk().Use(ctx, in.ID, in.Hash, in.Request)
	}))
	mux.Handle("POST "+feed.PathIntroduce, guarded(f, little, func(ctx context.Context, g store.Gateway, in feed.IntroduceCall) (feed.UnsafeIntroduction, error) {
		if !g.For(in.Upstream) {
			return feed.UnsafeIntroduction{}, notFor(g, in.Upstream)
		}
		i, err := f.source(g).Introduce(ctx, in.Upstream, in.Access)
		return feed.UnsafeIntroduction(i), err
	}))
	mux.Handle("POST "+feed.PathRotate, guarded(f, little, func(ctx context.Context, g store.Gateway, in feed.JoinCall) (feed.Membership, error) {
		der, made, err := f.certify(in.Request, g.Name)
		if err == nil {
			_, err = f.p.registry.Do(ctx, registry.Actor{Name: "gateway:" + g.Name}, func(c *registry.Change) error { return c.RotateGateway(g.Name, g.Current.Print, made) })
		}
		return f.membership(g.Name, der), err
	}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "Here gateways follow the feed; there is nothing else.", http.StatusNotFound)
	})
	return mux
}

func (f *fleet) source(g store.Gateway) source { return source{f.p, g.Name, g.Name, g.Joined} }

func notFor(g store.Gateway, upstream string) error {
	return fmt.Errorf("%w: gateway %s is not for the upstream %.64q", feed.ErrRefused, g.Name, upstream)
}

// forTask says whether the gateway is for an upstream that the task is about.
func (f *fleet) forTask(ctx context.Context, g store.Gateway, id string) error {
	t, err := read(ctx, f.p, func(tx *store.Tx) (policy.Task, error) { return tx.Task(id) })
	if errors.Is(err, store.ErrNotFound) {
		return &registry.Missing{Noun: "task", Name: id}
	}
	if err == nil && !slices.ContainsFunc(t.Scope, func(s policy.Grant) bool { return g.For(s.Upstream) }) {
		err = fmt.Errorf("%w: gateway %s is for no upstream of the task %.64q", feed.ErrRefused, g.Name, id)
	}
	return err
}

// date has an event whose time has not come be of now, and say which time it came with: a gateway's clock was wrong, or this one is.
// It is not refused for that: what comes after it from there would have to wait until that time.
func (f *fleet) date(e *ledger.Event) {
	now := f.p.Now()
	if !e.Time.After(now.Add(5 * time.Minute)) {
		return
	}
	if e.Detail == nil {
		e.Detail = map[string]string{}
	}
	e.Detail["dated"], e.Time = e.Time.UTC().Format(time.RFC3339), now
}

// own says what of an event is not the gateway's to record.
func (f *fleet) own(g store.Gateway, e *ledger.Event) error {
	wrong := ""
	switch {
	case e.Gateway != g.Name:
		wrong = fmt.Sprintf("it is of gateway %.64q", e.Gateway)
	case !ledger.OfGateways(e.Type):
		wrong = fmt.Sprintf("a gateway has no events of type %.64q", e.Type)
	case len(e.ID) < 8 || len(e.ID) > 64 || strings.ContainsFunc(e.ID, func(r rune) bool { return r <= ' ' || r > '~' }): // some databases take no NUL, in whose commit are others' events
		wrong = "it has no id"
	case e.Time.IsZero():
		wrong = "it has no time"
	}
	if wrong == "" {
		return nil
	}
	return fmt.Errorf("%w: an event that %s wants to record: %s", feed.ErrRefused, g.Name, wrong)
}

// certify issues a certificate for the key that made request.
func (f *fleet) certify(request []byte, name string) (der []byte, made store.GatewayCertificate, err error) {
	c, err := f.ca.Gateway(request, name)
	if err != nil {
		return nil, made, fmt.Errorf("%w: %w", feed.ErrRefused, err)
	}
	return c.Raw, store.GatewayCertificate{Serial: fmt.Sprintf("%x", c.SerialNumber), Print: token.CertThumbprint(c.Raw), Expires: c.NotAfter.UTC()}, nil
}

func (f *fleet) membership(name string, der []byte) feed.Membership {
	trust, _ := f.ca.Trust()
	return feed.Membership{Name: name, Domain: f.p.Domain, Issuer: f.p.URL, URL: f.p.GatewayURL, Certificate: der, Trust: trust}
}

// join takes a gateway into the fleet. It is the one thing that needs no certificate.
func (f *fleet) join(w http.ResponseWriter, r *http.Request) {
	m, err := f.joined(w, r)
	if err != nil {
		f.fail(w, r, err)
		return
	}
	deliver(w, http.StatusOK, m)
}

func (f *fleet) joined(w http.ResponseWriter, r *http.Request) (m feed.Membership, err error) {
	if err := spoken(r); err != nil {
		return m, err
	}
	var in feed.JoinCall
	if err := body1(w, r, 16<<10, &in); err != nil {
		return m, err
	}
	ctx, der := r.Context(), []byte(nil)
	certify := func(name string) (made store.GatewayCertificate, err error) {
		der, made, err = f.certify(in.Request, name)
		return made, err
	}
	// Whoever guesses does not hold up those who write.
	enter := func(c *registry.Change) (store.Gateway, bool, error) {
		return c.JoinGateway(in.Name, in.Secret, certify)
	}
	if in.Attest != "" {
		a, err := f.p.issuer.Attested(ctx, in.Attest)
		if err != nil {
			return m, err
		}
		enter = func(c *registry.Change) (store.Gateway, bool, error) { return c.JoinAttested(in.Name, a, certify) }
	} else if _, err := read(ctx, f.p, func(tx *store.Tx) (any, error) {
		var v any
		_, err := tx.Ticket(store.GatewayJoin, in.Secret, &v)
		return v, err
	}); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			err = registry.ErrToken
		}
		return m, err
	}
	var g store.Gateway
	var replaced bool
	if _, err := f.p.registry.Do(ctx, registry.Actor{Name: "gateway:", Source: r.RemoteAddr}, func(c *registry.Change) (err error) {
		g, replaced, err = enter(c)
		return err
	}); err != nil {
		return m, err
	}
	if replaced {
		f.evicted(g.Name, g.Current.Print, g.Joined) // whoever had its name
	}
	f.p.Log.Info("a gateway joined", "gateway", g.Name, "source", r.RemoteAddr)
	return f.membership(g.Name, der), nil
}
