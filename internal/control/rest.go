package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lanyard-dev/lanyard/internal/control/manifest"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// Handler serves the network: OAuth, REST with the admin token, health and metrics.
func (p *Plane) Handler() (http.Handler, error) {
	mux := http.NewServeMux()
	if err := p.issuer.Mount(mux); err != nil {
		return nil, err
	}
	p.accounts(mux)
	p.scim(mux)
	mux.HandleFunc("GET /.well-known/ssf-configuration", p.ssfConfiguration)
	health(mux, p.Ready)
	p.console(mux)
	p.rest(mux, p.networkOperator, p.session)
	return hardened(below(p.publicPath(), mux), p.bodyTime), nil
}

// LocalHandler serves operators over the socket of [LocalListener].
func (p *Plane) LocalHandler() http.Handler {
	mux := http.NewServeMux()
	health(mux, p.Ready)
	p.rest(mux, localOperator, func(*http.Request) (string, error) { return "", nil })
	return hardened(mux, p.bodyTime)
}

func hardened(next http.Handler, bodyTime time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 { // also of a body that nobody reads: the server waits for its end
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		w.Header().Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// rest puts the REST API on mux, for whom who knows, and for people whose session session finds.
func (p *Plane) rest(mux *http.ServeMux, who func(*http.Request) (string, bool), session func(*http.Request) (string, error)) {
	inner := http.NewServeMux()
	_, own := p.api(inner)
	guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del(operatorHeader) // ours alone to set
		r.Header.Del(identityHeader)
		r.Header.Del(chainHeader)
		r.Header.Del(scopeHeader)
		r.Header.Del(sessionHeader)
		name, ok := who(r)
		if text, err := session(r); !ok && err != nil {
			writeProblem(w, problem(err).(*Problem))
			return
		} else if !ok && text != "" {
			if _, pattern := inner.Handler(r); pattern == "" {
				writeProblem(w, nowhere(w, r, inner))
				return
			}
			r.Header.Set(sessionHeader, text)
			inner.ServeHTTP(w, r)
			return
		}
		if _, pattern := inner.Handler(r); !ok && own[pattern] {
			c, err := p.issuer.Caller(w, r)
			if err != nil {
				p.stranger(w, err)
				return
			}
			r.Header.Set(identityHeader, c.Actor().String())
			r.Header.Set(chainHeader, strings.Join(c.Chain.Texts(), " "))
			r.Header.Set(scopeHeader, c.Scope)
			inner.ServeHTTP(w, r)
			return
		}
		if !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeProblem(w, &Problem{Title: "Unauthorized", Status: http.StatusUnauthorized,
				Detail: "This needs somebody who is signed in: at " + p.URL + "/console/, or with lanyard login --server " + p.URL + ". A program sends the admin token (Authorization: Bearer lyd_admin_...); on the machine of the control plane, lanyard token admin makes one."})
			return
		}
		if _, pattern := inner.Handler(r); pattern == "" {
			writeProblem(w, nowhere(w, r, inner))
			return
		}
		r.Header.Set(operatorHeader, "operator:"+name)
		inner.ServeHTTP(w, r)
	})
	mux.Handle("/v1/", guarded)
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.Metrics, promhttp.HandlerOpts{}))
	for _, path := range []string{"/openapi.json", "/openapi.yaml"} { // what can be asked is no secret
		mux.Handle("GET "+path, inner)
	}
}

// nowhere says what is wrong with a request that no operation answers.
func nowhere(w http.ResponseWriter, r *http.Request, mux *http.ServeMux) *Problem {
	var allowed []string
	for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
		if _, pattern := mux.Handler(&http.Request{Method: method, URL: r.URL, Host: r.Host}); pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return refusal(http.StatusNotFound, "There is nothing at this path; /openapi.json lists what there is.")
	}
	can := strings.Join(allowed, ", ")
	w.Header().Set("Allow", can)
	return refusal(http.StatusMethodNotAllowed, "This path takes "+can+".")
}

// stranger answers who is neither an operator nor an identity with a good token.
func (p *Plane) stranger(w http.ResponseWriter, err error) {
	told := &Problem{Status: http.StatusUnauthorized}
	var e *token.Error
	if !errors.As(err, &e) {
		p.Log.Error("token of a caller", "error", err)
		told = refusal(http.StatusInternalServerError, "It did not work, and nothing was changed. The log of lanyard serve says why.")
	} else { // whoever mistyped the admin token is told so, too
		told.Detail = "The " + e.Text + ". This needs an identity's access token for " + p.URL + " (resource=" + p.URL + " at the token endpoint), the admin token, or somebody who is signed in (lanyard login)."
	}
	told.Title = http.StatusText(told.Status)
	writeProblem(w, told)
}

// OpenAPI is the description of the REST API, as JSON (OpenAPI 3.1).
func (p *Plane) OpenAPI() ([]byte, error) {
	api, _ := p.api(http.NewServeMux())
	return api.OpenAPI().MarshalJSON()
}

// api registers every operation on mux; own are the patterns of those that identities call for themselves.
func (p *Plane) api(mux *http.ServeMux) (_ huma.API, own map[string]bool) {
	config := huma.DefaultConfig("Lanyard", p.Version)
	config.Info.Description = "Identities, owners, upstreams, grants, guardrails, the cord and the ledger. Over the network it needs the admin token, or a person's session, which may do what the roles of the person let it; on the machine itself the Unix socket serves the same as the admin token."
	config.Formats = map[string]huma.Format{"application/json": strict, "json": strict}
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"admin": {Type: "http", Scheme: "bearer", Description: "The admin token"},
		"session":  {Type: "apiKey", In: "cookie", Name: "lanyard", Description: "A person's session, which the console begins; __Host-lanyard with TLS, __Secure-lanyard below a path. lanyard login has one as a bearer token, lyd_user_..."},
		"identity": {Type: "http", Scheme: "DPoP", Description: "An identity's access token for the control plane: resource is its URL"}}
	config.Security = []map[string][]string{{"admin": {}}, {"session": {}}}
	// What was sent may hold a secret: a mistake in it is told by its place alone.
	config.Transformers = append(config.Transformers, func(_ huma.Context, _ string, v any) (any, error) {
		if e, ok := v.(*huma.ErrorModel); ok {
			for _, d := range e.Errors {
				d.Value = nil
			}
		}
		return v, nil
	})
	api := humago.New(mux, config)
	own = map[string]bool{}
	p.routes(door{api, p, p.Log, p.bodyTime, own})
	return api, own
}

// strict is JSON that means one thing: huma's own takes the last of two members
// of a name, in any case, so that "dry_run" could be taken back unseen.
var strict = huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: func(b []byte, v any) error {
	if err := jsonv2.Unmarshal(b, v, jsonv2.RejectUnknownMembers(true)); err != nil {
		// The library's text may quote what was sent.
		return errors.New("this is no JSON in UTF-8, or has a member twice, unknown, in another case or of another type")
	}
	return nil
}}

// door is the API while its operations are registered.
type door struct {
	huma.API
	plane    *Plane
	log      *slog.Logger
	bodyTime time.Duration
	own      map[string]bool // patterns of what identities call for themselves, see handleOwn
}

// operations are the ids of all that there are.
func (d door) operations() (list []string) {
	for _, item := range d.OpenAPI().Paths {
		for _, o := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete} {
			if o != nil {
				list = append(list, o.OperationID)
			}
		}
	}
	slices.Sort(list)
	return list
}

// answer turns an error into what the caller is told; what is kept back goes to the log.
func (d door) answer(operation string, err error) error {
	told := problem(err)
	var p *Problem
	if errors.As(told, &p) && p.cause != nil {
		d.log.Error("request", "operation", operation, "error", p.cause)
	}
	return told
}

// Caller is in every input: who asks, as the guard in front found out. It is exported for
// huma, which fills only fields it can see.
type Caller struct {
	Operator string `header:"Lanyard-Operator" hidden:"true"`
	Identity string `header:"Lanyard-Identity" hidden:"true"`
	Chain    string `header:"Lanyard-Chain" hidden:"true"`
	Scope    string `header:"Lanyard-Scope" hidden:"true"`
	Session  string `header:"Lanyard-Session" hidden:"true"`
	Wait     string `query:"wait" doc:"Answer when every gateway has confirmed the change or has stopped, at the latest after this time; without it, after two seconds at most" example:"30s" maxLength:"16"`
	remote   string
	patience time.Duration // of Wait
	visitor  *registry.Visitor
	still    func(*store.Tx) error // why they may not do it any more
	same     func(*store.Tx) error // why they are not who may do such things any more
	only     []identity.OwnerID    // of a list: what is theirs; nil: all of it
}

// self is the identity that calls for itself; false for an operator.
func (c *Caller) self() (identity.ID, bool) {
	id, err := identity.ParseID(c.Identity)
	return id, err == nil
}

func (c *Caller) Resolve(ctx huma.Context) []error {
	c.remote = ctx.RemoteAddr()
	// The body is here. With its deadline left in place, a change that takes longer would be taken for one whose caller went away.
	_ = ctx.SetReadDeadline(time.Time{})
	if c.Wait == "" || ctx.Operation().Metadata[ownWait] != nil {
		return nil
	}
	var err error
	if c.patience, err = time.ParseDuration(c.Wait); err != nil || c.patience <= 0 || c.patience > longestWait || ctx.Operation().Metadata[receipts] == nil {
		return []error{&huma.ErrorDetail{Location: "query.wait", Message: "it is a time like 30s, up to " + longestWait.String() + ", with what has a receipt"}}
	}
	return nil
}

func (c *Caller) actor() registry.Actor {
	a := registry.Actor{Name: c.Operator, Source: c.remote}
	if id, ok := c.self(); ok {
		a.Name = id.String()
	}
	if c.visitor != nil {
		if a.Name, a.Session, a.Still = c.visitor.Person, c.visitor.ID, c.still; c.only != nil {
			a.Sees = c.sees
		}
	}
	if strings.HasPrefix(c.remote, localPrefix) {
		a.Source = ""
	}
	return a
}

type none struct{ Caller }
type byName struct {
	Caller
	Name string `path:"name" maxLength:"512"`
}
type body[T any] struct {
	Caller
	Body T
}
type namedBody[T any] struct {
	Caller
	Name string `path:"name" maxLength:"512"`
	Body T
}
type reply[T any] struct{ Body T }

// handle registers one operation. Its errors become problems here and nowhere else.
func handle[I, O any](api door, method, path, id, tag, summary string, f func(context.Context, *I) (O, error)) {
	operation(api, huma.Operation{Method: method, Path: "/v1" + path, OperationID: id, Tags: []string{tag}, Summary: summary, MaxBodyBytes: 24 << 20}, f)
}

// handleList registers one operation of which a person may get a part: the handler looks at Caller.only.
func handleList[I, O any](api door, method, path, id, tag, summary string, f func(context.Context, *I) (O, error)) {
	operation(api, huma.Operation{Method: method, Path: "/v1" + path, OperationID: id, Tags: []string{tag}, Summary: summary, MaxBodyBytes: 1 << 20, Metadata: map[string]any{partly: true}}, f)
}

// handleOwn registers one operation that identities call for themselves, as well as operators.
func handleOwn[I, O any](api door, method, path, id, tag, summary string, f func(context.Context, *I) (O, error)) {
	api.own[method+" /v1"+path] = true
	operation(api, huma.Operation{Method: method, Path: "/v1" + path, OperationID: id, Tags: []string{tag}, Summary: summary, MaxBodyBytes: 256 << 10,
		Metadata: map[string]any{partly: true}, Security: []map[string][]string{{"identity": {}}, {"admin": {}}, {"session": {}}}}, f)
}

func operation[I, O any](api door, op huma.Operation, f func(context.Context, *I) (O, error)) {
	op.BodyReadTimeout, op.RejectUnknownQueryParameters = api.bodyTime, true
	if op.Metadata == nil {
		op.Metadata = map[string]any{}
	}
	if f, _ := reflect.TypeFor[I]().FieldByName("Wait"); len(f.Index) == 1 {
		op.Metadata[ownWait] = true
	}
	if _, ok := reflect.TypeFor[O]().FieldByName("Receipt"); ok || reflect.TypeFor[O]() == reflect.TypeFor[feed.Receipt]() {
		op.Metadata[receipts] = true
	} else { // there is nothing to wait for
		defer api.withoutWait(op)
	}
	op.Middlewares = huma.Middlewares{api.gate(op.OperationID)}
	huma.Register(api, op,
		func(ctx context.Context, in *I) (*reply[O], error) {
			err := api.plane.admit(ctx, &op, in)
			var out O
			if err == nil {
				run, end := api.plane.during(ctx, &op, in)
				out, err = f(run, in)
				err = cut(run, &op, err)
				end()
			}
			if err != nil {
				return nil, api.answer(op.OperationID, err)
			}
			return &reply[O]{out}, nil
		})
}

// What is known of an operation: it answers with a receipt; it has another meaning of wait; its handler gives a person what is theirs.
const (
	receipts = "receipts"
	ownWait  = "wait"
	partly   = "partly"
)

// withoutWait takes Caller's Wait out of what is told of an operation.
func (d door) withoutWait(op huma.Operation) {
	f, _ := reflect.TypeFor[Caller]().FieldByName("Wait")
	item := d.OpenAPI().Paths[op.Path]
	for _, o := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete} {
		if o != nil && o.OperationID == op.OperationID {
			o.Parameters = slices.DeleteFunc(o.Parameters, func(p *huma.Param) bool { return p.Description == f.Tag.Get("doc") })
		}
	}
}

// problem is the one place where errors become RFC 9457 problems. What is not
// known here stays inside: the caller learns only that it did not work.
func problem(err error) error {
	p := &Problem{Status: http.StatusInternalServerError, Detail: "It did not work, and nothing was changed. The log of lanyard serve says why."}
	var invalid *registry.Invalid
	var conflict *registry.Conflict
	var state *identity.TransitionError
	var mistakes manifest.Mistakes
	var own *Problem
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &mistakes):
		p.Status, p.Mistakes = http.StatusUnprocessableEntity, mistakes
		p.Detail = "The files have mistakes; nothing was changed."
	case errors.As(err, &invalid):
		p.Status, p.Detail = http.StatusUnprocessableEntity, err.Error()
	case errors.As(err, &conflict), errors.As(err, &state), errors.Is(err, store.ErrExists), errors.Is(err, store.ErrInUse):
		p.Status, p.Detail = http.StatusConflict, err.Error()
	case errors.Is(err, store.ErrNotFound):
		p.Status, p.Detail = http.StatusNotFound, err.Error()
	case errors.Is(err, store.ErrFull):
		p.Status, p.Detail = http.StatusInsufficientStorage, "The disk is full, so nothing was changed. Make space and try again."
	case errors.Is(err, store.ErrNewer):
		p.Status, p.Detail = http.StatusServiceUnavailable, "A newer lanyard has changed the database: use that one here, too. Nothing was changed."
	case errors.Is(err, store.ErrUncertain):
		p.Status, p.Detail = http.StatusServiceUnavailable, "The database went away before it said whether this was changed. Look at what there is before trying again."
	case errors.Is(err, store.ErrUnavailable):
		p.Status, p.Detail = http.StatusServiceUnavailable, "The database cannot be reached, so nothing was changed. Try again in a moment."
	case errors.Is(err, store.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		p.Status, p.Detail = http.StatusServiceUnavailable, "The control plane is stopping; try again in a moment."
	default:
		p.cause = err
	}
	p.Title = http.StatusText(p.Status)
	return p
}

func (p *Problem) Error() string             { return p.Detail }
func (p *Problem) GetStatus() int            { return p.Status }
func (p *Problem) ContentType(string) string { return "application/problem+json" }
func invalid(detail string) *Problem         { return refusal(http.StatusUnprocessableEntity, detail) }
func refusal(status int, detail string) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Detail: detail}
}

// sinceOrUntil reads a time that people write: an RFC 3339 time, a date, or how long ago (90m, 12h, 7d).
func sinceOrUntil(s string, now time.Time) (time.Time, error) {
	e, err := registry.ParseEnd(s)
	if err != nil {
		return time.Time{}, invalid(strings.Replace(err.Error(), "is no end", "is no time", 1))
	}
	if e.Zero() {
		return time.Time{}, nil
	}
	at := e.From(now)
	if fixed := e.From(time.Time{}); !fixed.Equal(at) { // it is a duration: back from now
		at = now.Add(-at.Sub(now))
	}
	return at, nil
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller may be gone
}
