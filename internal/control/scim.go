package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"golang.org/x/time/rate"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// Directories bring people, and take them away, over SCIM 2.0 (RFC 7644). Each shows a key of its own, sees what it told, and nothing else;
// every change is the registry's, with the directory as its actor. A user who is active no more leaves: what that means is for
// [registry.Change.PutOwner] to say.

const (
	scimBase      = "/scim/v2"
	scimBody      = 4 << 20 // bytes of a request
	scimPage      = 100     // resources, when nothing is said
	scimPageMost  = 200
	scimRate      = 100 // requests a second of one directory, and
	scimBurst     = 1000
	scimStrangers = 20  // with keys that are none, of everybody together
	scimChunk     = 500 // resources at once of those that a filter is held against
)

// scimDoor is what is remembered of who asks.
type scimDoor struct {
	mu        sync.Mutex
	rates     map[string]*rate.Limiter // by directory; "" for strangers
	strangers ledger.Strangers
}

// scimError is what a client is told (RFC 7644 section 3.12).
type scimError struct {
	status int
	kind   string // scimType, if there is one
	detail string
}

func (e *scimError) Error() string { return e.detail }

// scimCall is one request of a directory.
type scimCall struct {
	*Plane
	w    http.ResponseWriter
	r    *http.Request
	d    identity.Directory
	by   registry.Actor
	kind *scimKind
	at   feed.Cursor // of what was changed
	left bool        // somebody did by that
}

// scimAnswer is what is sent back; with no body, nothing.
type scimAnswer struct {
	status int
	body   map[string]any
}

func (p *Plane) scim(mux *http.ServeMux) {
	inner := http.NewServeMux()
	handle := func(method, path string, kind *scimKind, f func(*scimCall) (scimAnswer, error)) {
		inner.HandleFunc(method+scimBase+path, func(w http.ResponseWriter, r *http.Request) {
			c := &scimCall{Plane: p, w: w, r: r, kind: kind}
			a, err := scimAnswer{}, c.enter()
			if err == nil {
				a, err = f(c)
			}
			if err == nil && c.left { // who has left is out when their directory hears of it
				p.receipt(r.Context(), c.at, 0)
			}
			p.scimReply(w, r, a, err)
		})
	}
	handle("GET ", "/ServiceProviderConfig", nil, (*scimCall).config)
	handle("GET ", "/ResourceTypes", nil, (*scimCall).types)
	handle("GET ", "/ResourceTypes/{id}", nil, (*scimCall).types)
	handle("GET ", "/Schemas", nil, (*scimCall).schemas)
	handle("GET ", "/Schemas/{id}", nil, (*scimCall).schemas)
	for _, k := range scimKinds {
		handle("GET ", "/"+k.plural, k, (*scimCall).list)
		handle("POST ", "/"+k.plural, k, (*scimCall).create)
		handle("POST ", "/"+k.plural+"/.search", k, (*scimCall).search)
		handle("GET ", "/"+k.plural+"/{id}", k, (*scimCall).get)
		handle("PUT ", "/"+k.plural+"/{id}", k, (*scimCall).replace)
		handle("PATCH ", "/"+k.plural+"/{id}", k, (*scimCall).patch)
		handle("DELETE ", "/"+k.plural+"/{id}", k, (*scimCall).remove)
	}
	for _, path := range []string{"/.search", "/Bulk", "/Me"} { // RFC 7644 sections 3.4.3, 3.7 and 3.11
		handle("", path, nil, func(*scimCall) (scimAnswer, error) {
			return scimAnswer{}, &scimError{http.StatusNotImplemented, "", "there is none of this here"}
		})
	}
	handle("", "/", nil, func(c *scimCall) (scimAnswer, error) {
		var can []string
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			if _, pattern := inner.Handler(&http.Request{Method: method, URL: c.r.URL, Host: c.r.Host}); pattern != scimBase+"/" {
				can = append(can, method)
			}
		}
		if len(can) > 0 {
			c.w.Header().Set("Allow", strings.Join(can, ", "))
			return scimAnswer{}, &scimError{http.StatusMethodNotAllowed, "", "this path takes " + strings.Join(can, ", ")}
		}
		return scimAnswer{}, &scimError{http.StatusNotFound, "", "there is nothing at this path; " + scimBase + "/ResourceTypes lists what there is"}
	})
	mux.Handle(scimBase+"/", inner)
}

// enter finds out which directory asks.
func (c *scimCall) enter() error {
	auth := c.r.Header.Values("Authorization")
	var text string
	if len(auth) == 1 {
		if scheme, rest, _ := strings.Cut(auth[0], " "); strings.EqualFold(scheme, "Bearer") {
			text = strings.TrimSpace(rest)
		}
	}
	err := error(registry.ErrDirectory)
	if strings.HasPrefix(text, registry.DirectoryPrefix) {
		err = c.Store.Read(c.r.Context(), func(tx *store.Tx) (err error) { c.d, err = registry.Shows(tx, text); return err })
	}
	if errors.Is(err, registry.ErrDirectory) {
		if !c.Plane.scimDoor.take("", c.Now()) { // of strangers alone: they keep no directory out
			return c.tooMany()
		}
		c.w.Header().Set("WWW-Authenticate", "Bearer")
		if text != "" {
			if bad := c.refused(); bad != nil {
				return bad
			}
		}
		return &scimError{http.StatusUnauthorized, "", "this needs the key of a directory (Authorization: Bearer " + registry.DirectoryPrefix + "...); " + err.Error()}
	} else if err != nil {
		return err
	}
	if !c.Plane.scimDoor.take(c.d.Name, c.Now()) {
		return c.tooMany()
	}
	c.by = registry.Actor{Name: registry.DirectoryActor(c.d.Name), Source: c.r.RemoteAddr, Still: func(tx *store.Tx) (err error) {
		c.d, err = registry.Shows(tx, text)
		return err
	}}
	c.Store.TouchDirectory(c.d.Name, c.Now())
	return nil
}

func (c *scimCall) tooMany() error {
	c.w.Header().Set("Retry-After", "1")
	return &scimError{http.StatusTooManyRequests, "", fmt.Sprintf("a directory asks at most %d times a second; try again in a second", scimRate)}
}

// refused puts on record that somebody showed a key that is none.
func (c *scimCall) refused() error {
	left, ok := c.Plane.scimDoor.strangers.Admit(c.Now())
	if !ok {
		return nil
	}
	e := ledger.Event{Type: "directory.refuse", Time: c.Now().UTC().Truncate(time.Microsecond), Outcome: ledger.Refused, Actor: registry.Self.Name, Source: c.r.RemoteAddr, Reason: registry.ErrDirectory.Error()}
	if left > 0 {
		e.Detail = map[string]string{"left_out": strconv.Itoa(left)}
	}
	var err error
	if e.ID, err = ledger.NewID(c.Rand, c.Now()); err == nil {
		err = c.Store.Record(c.r.Context(), []ledger.Event{e})
	}
	return err
}

// take uses up one of what a directory may ask.
func (s *scimDoor) take(name string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rates == nil {
		s.rates = map[string]*rate.Limiter{}
	}
	l := s.rates[name]
	if l == nil {
		if l = rate.NewLimiter(scimRate, scimBurst); name == "" {
			l = rate.NewLimiter(scimStrangers, 10*scimStrangers)
		}
		s.rates[name] = l
	}
	return l.AllowN(now, 1)
}

// scimProblem says what a client is told of an error.
func (p *Plane) scimProblem(err error) *scimError {
	var own *scimError
	var taken *registry.Taken
	var invalid *registry.Invalid
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, registry.ErrDirectory):
		return &scimError{http.StatusUnauthorized, "", err.Error()}
	case errors.As(err, &taken):
		return &scimError{http.StatusConflict, "uniqueness", capital(err.Error()) + "."}
	case errors.As(err, &invalid):
		return &scimError{http.StatusBadRequest, "invalidValue", capital(err.Error()) + "."}
	}
	told := problem(err).(*Problem)
	if told.cause != nil {
		p.Log.Error("request", "operation", "scim", "error", told.cause)
	}
	return &scimError{told.Status, "", told.Detail}
}

func (p *Plane) scimReply(w http.ResponseWriter, r *http.Request, a scimAnswer, err error) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if err != nil {
		told := p.scimProblem(err)
		a = scimAnswer{told.status, map[string]any{"schemas": []string{scimAPI + "Error"}, "status": strconv.Itoa(told.status), "detail": told.detail}}
		if told.kind != "" {
			a.body["scimType"] = told.kind
		}
	} else if meta, ok := a.body["meta"].(map[string]any); ok {
		if version, ok := meta["version"].(string); ok {
			h.Set("ETag", version)
			if match := r.Header.Get("If-None-Match"); r.Method == http.MethodGet && match != "" && scimMatches(match, version) {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		if at, ok := meta["location"].(string); ok && a.status == http.StatusCreated {
			h.Set("Location", at)
		}
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	h.Set("Content-Type", "application/scim+json")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body) // the client may be gone
}

// scimMatches reports whether If-Match or If-None-Match names a version.
func scimMatches(header, version string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimSpace(one); one == "*" || strings.TrimPrefix(one, "W/") == strings.TrimPrefix(version, "W/") {
			return true
		}
	}
	return false
}

// body reads what was sent, as one object.
func (c *scimCall) body() (map[string]any, error) {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/scim+json" && kind != "application/json" {
		return nil, &scimError{http.StatusUnsupportedMediaType, "", "the Content-Type must be application/scim+json, or application/json"}
	}
	b, err := io.ReadAll(io.LimitReader(c.r.Body, scimBody+1))
	if err != nil || len(b) > scimBody {
		return nil, &scimError{http.StatusRequestEntityTooLarge, "", fmt.Sprintf("the body could not be read, or is larger than %d MiB", scimBody>>20)}
	}
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{}) // it is here: what is done with it may take longer
	var v map[string]any
	if err := jsonv2.Unmarshal(b, &v); err != nil || v == nil { // the library's text may quote what was sent
		return nil, &scimError{http.StatusBadRequest, "invalidSyntax", "this is no object of JSON in UTF-8, or has a member twice"}
	}
	return v, nil
}

func (c *scimCall) write(f func(*registry.Change) error) (err error) {
	c.at, err = c.do(c.r.Context(), c.by, f)
	return err
}

func (c *scimCall) config() (scimAnswer, error) {
	no := map[string]any{"supported": false}
	return scimAnswer{body: map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"}, "patch": map[string]any{"supported": true},
		"bulk":   map[string]any{"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
		"filter": map[string]any{"supported": true, "maxResults": scimPageMost}, "changePassword": no, "sort": no, "etag": map[string]any{"supported": true},
		"authenticationSchemes": []any{map[string]any{"type": "oauthbearertoken", "name": "Key of the directory", "description": "A bearer token that lanyard directory key makes", "primary": true}},
		"meta":                  map[string]any{"resourceType": "ServiceProviderConfig", "location": c.URL + scimBase + "/ServiceProviderConfig"}}}, nil
}

// described is a list of what does not change, or the one of it that is asked for.
func (c *scimCall) described(all []map[string]any) (scimAnswer, error) {
	id := c.r.PathValue("id")
	for _, one := range all {
		if id != "" && one["id"] == id {
			return scimAnswer{body: one}, nil
		}
	}
	if id != "" {
		return scimAnswer{}, &scimError{http.StatusNotFound, "", "there is none of this name"}
	}
	if c.r.URL.Query().Has("filter") { // RFC 7644 section 4
		return scimAnswer{}, &scimError{http.StatusForbidden, "", "these are not filtered"}
	}
	return scimAnswer{body: map[string]any{"schemas": []string{scimAPI + "ListResponse"}, "totalResults": len(all), "startIndex": 1, "itemsPerPage": len(all), "Resources": all}}, nil
}

func (c *scimCall) types() (scimAnswer, error) {
	var all []map[string]any
	for _, k := range scimKinds {
		all = append(all, map[string]any{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"}, "id": k.noun, "name": k.noun, "description": k.about, "endpoint": "/" + k.plural, "schema": k.urn, "schemaExtensions": []any{},
			"meta": map[string]any{"resourceType": "ResourceType", "location": c.URL + scimBase + "/ResourceTypes/" + k.noun}})
	}
	return c.described(all)
}

func (c *scimCall) schemas() (scimAnswer, error) {
	var all []map[string]any
	for _, k := range scimKinds {
		all = append(all, map[string]any{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"}, "id": k.urn, "name": k.noun, "description": k.about, "attributes": k.attrs,
			"meta": map[string]any{"resourceType": "Schema", "location": c.URL + scimBase + "/Schemas/" + k.urn}})
	}
	return c.described(all)
}

// run does what a request asks to be changed, in one transaction, and shows what there is then.
func (c *scimCall) run(f func(*registry.Change) (id string, err error)) (a scimAnswer, err error) {
	err = c.write(func(ch *registry.Change) error {
		id, err := f(ch)
		if err == nil && id != "" {
			a.body, err = c.show(ch.Tx, id)
		}
		return err
	})
	return a, err
}
