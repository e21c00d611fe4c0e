package issuer

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// scopes are the classes of actions a client may limit its token to.
var scopes = []string{"read", "write", "delete", "admin"}

// issue is one request for a token on its way through the phases.
type issue struct {
	now      time.Time
	form     map[string]string
	client   client
	claimed  string // who the client says it is
	upstream string
	proof    *token.Proof
	claims   token.Claims
	behalf   *behalf           // in an exchange: for whom
	tried    []string          // in an exchange: the chain it is about, once that is known to be true
	said     []string          // until then: the chain that what was shown says
	given    *given            // with a code, a refresh token or a provider's word
	told     map[string]string // for the record: what was shown, once it is known whose it is
	work     *registry.Work    // a task to be opened
	task     *policy.Task      // that the token is for
	status   *store.Status     // its place in a status list; nil: it has none
}

// token is the frame: the phases that every grant type goes through, in this
// order. Proof and assertion count as used only when all else about them is
// right, so that the answer to use_dpop_nonce may carry the same assertion.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	q := &issue{now: i.Now()}
	w.Header().Set("DPoP-Nonce", i.nonces.Make(q.now))
	raw, err := i.issue(w, r, q)
	if err := i.note(r, q, err); err != nil {
		replyError(w, r, fmt.Errorf("record: %w", err)) // no record, no token
		return
	}
	if err != nil {
		replyError(w, r, err)
		return
	}
	i.Touch(q.client.credential.ID, q.now)
	kind := "DPoP"
	if q.claims.Key.JKT == "" {
		kind = "Bearer" // also when bound to a certificate, RFC 8705 section 3
	}
	reply(w, http.StatusOK, struct {
		Token string   `json:"access_token"`
		Type  string   `json:"token_type"`
		Life  int64    `json:"expires_in"`
		Scope string   `json:"scope,omitempty"`
		Next  string   `json:"refresh_token,omitempty"`
		Is    string   `json:"issued_token_type,omitempty"` // RFC 8693 section 2.2.1
		Tasks []detail `json:"authorization_details,omitempty"`
	}{raw, kind, int64(q.claims.Expires.Sub(q.claims.Issued) / time.Second), q.claims.Scope, q.given.next(), q.behalf.is(), i.granted(q)})
}

func (i *Issuer) issue(w http.ResponseWriter, r *http.Request, q *issue) (raw string, err error) {
	if err := i.View.Live(); err != nil {
		return "", refuse("temporarily_unavailable", "The server is starting; try again.")
	}
	if q.form, err = readForm(w, r); err != nil {
		return "", err
	}
	kind := q.form["grant_type"]
	switch {
	case kind == "client_credentials":
		q.client, q.claimed, err = i.authenticate(r, q.form, q.now)
	case kind == "authorization_code" && i.Registry != nil:
		err = i.byCode(r, q)
	case kind == "refresh_token" && i.Registry != nil:
		err = i.byRefresh(r, q)
	case kind == token.GrantExchange:
		err = i.byExchange(r, q)
	case kind == token.GrantJWT && i.Registry != nil:
		err = i.byVoucher(r, q)
	case kind == "":
		err = refuse("invalid_request", "grant_type is missing.")
	default:
		err = refuse("unsupported_grant_type", "This grant_type is not supported; the metadata at /.well-known/oauth-authorization-server lists those that are.")
	}
	if err != nil {
		return "", err
	}
	for _, phase := range []func(*http.Request, *issue) error{i.resource, i.reach, i.scope, i.task, i.bind, i.held, i.once, i.exchange, i.open} {
		if err := phase(r, q); err != nil {
			return "", err
		}
	}
	return i.mint(q)
}

// resource finds the one upstream the token is for (RFC 8707 section 2).
func (i *Issuer) resource(_ *http.Request, q *issue) error {
	resource := q.form["resource"]
	if resource == i.URL && q.given == nil { // what an identity asks the control plane for itself
		q.claims.Audience = i.URL
		return nil
	}
	if resource == "" && q.given != nil { // it was said when the person was asked
		resource = i.GatewayURL + "/" + q.given.upstream
	}
	name, ok := i.upstreamOf(resource)
	if !ok {
		return refuse("invalid_target", "resource must be the URL of an upstream at the gateway, as in "+i.GatewayURL+"/<upstream>, or "+i.URL+" for the control plane itself.")
	}
	if q.given != nil && name != q.given.upstream {
		return refuse("invalid_target", "This is for "+q.given.upstream+", and for nothing else; ask again for another resource.")
	}
	if q.given.born() {
		q.upstream, q.claims.Audience = name, i.GatewayURL+"/"+name
		return nil
	}
	who := q.client.subject.Identity.ID.Name()
	line, err := i.View.Line(q.client.subject.Identity.ID, q.now)
	if _, ok := i.View.Upstream(name); ok && err == nil && i.View.Holds(line, name, q.now) {
		q.upstream, q.claims.Audience = name, i.GatewayURL+"/"+name
		return nil
	}
	// The same whether there is no such upstream or no grant: what exists is not everybody's to know.
	return refuse("invalid_target", fmt.Sprintf("%s holds no grant on %q that is still in force; an owner of that upstream can give one.", who, name))
}

// upstreamOf returns the upstream that resource is, or is within: an MCP client names
// the endpoint it talks to (<gateway>/notes/mcp), and the token is for all of <gateway>/notes.
func (i *Issuer) upstreamOf(resource string) (name string, ok bool) {
	rest, ours := strings.CutPrefix(resource, i.GatewayURL+"/")
	name, _, _ = strings.Cut(rest, "/")
	return name, ours && identity.ValidName(name) && !strings.ContainsAny(rest, "?#%\\")
}

// scope checks what the client limits the token to. Nothing means all that its grants allow.
func (i *Issuer) scope(_ *http.Request, q *issue) error {
	for s := range strings.FieldsSeq(q.form["scope"]) {
		if !slices.Contains(scopes, s) {
			return refuse("invalid_scope", "scope may hold read, write, delete and admin, or be left out for all that is granted.")
		}
	}
	q.claims.Scope = strings.Join(strings.Fields(q.form["scope"]), " ")
	if err := q.behalf.limit(&q.claims.Scope); err != nil {
		return err
	}
	return q.given.narrow(&q.claims.Scope)
}

// bind ties the token to a key the sender holds, whenever the client can.
func (i *Issuer) bind(r *http.Request, q *issue) error {
	headers := r.Header.Values("DPoP")
	switch {
	case len(headers) > 1:
		return &token.Error{Code: token.InvalidProof, Text: "There is more than one DPoP header."}
	case len(headers) == 1:
		p, err := token.ParseProof(headers[0])
		if err != nil {
			return err
		}
		fresh := func(nonce string) bool { return i.nonces.Valid(nonce, q.now) }
		jkt, err := p.Check(token.ProofWant{Method: r.Method, URL: i.URL + "/oauth/token", Nonce: fresh, Now: q.now})
		if err != nil {
			return err
		}
		q.proof, q.claims.Key.JKT = &p, jkt
		return q.given.bound(jkt)
	case r.TLS != nil && len(r.TLS.PeerCertificates) > 0:
		q.claims.Key.X5TS256 = token.CertThumbprint(r.TLS.PeerCertificates[0].Raw)
	case q.client.assertion != nil && !i.AllowBearer:
		return &token.Error{Code: token.InvalidProof, Text: "A client with a key binds its tokens: send a DPoP header (RFC 9449) " +
			"with htm=POST, htu=" + i.URL + "/oauth/token and the nonce of this response."}
	}
	return q.given.bound("")
}

// once refuses an assertion or a proof that was used before.
func (i *Issuer) once(r *http.Request, q *issue) error {
	if q.proof != nil && i.proofs.Seen(q.proof.Key(), q.now) {
		return &token.Error{Code: token.InvalidProof, Text: "The DPoP proof was used before; make a new one for each request."}
	}
	return i.onceAssertion(r.Context(), q.client, q.now)
}

// onceAssertion asks the other control nodes too, where there can be some. A proof has a nonce, which is good at the one that made it.
func (i *Issuer) onceAssertion(ctx context.Context, c client, now time.Time) error {
	if c.assertion == nil {
		return nil
	}
	used := i.assertions.Seen(c.assertion.Key(), now)
	if !used && i.Registry != nil && i.Registry.Store.Shared() {
		first, err := i.Registry.Store.Once(ctx, store.ClientAssertion, c.assertion.Key(), c.assertion.Expires.Add(token.Skew))
		if err != nil {
			return err
		}
		used = !first
	}
	if used {
		return refuse("invalid_client", "The client assertion was used before; make a new one for each request.")
	}
	return nil
}

// mint signs. The token never outlives the identity, the credential or what it is limited to.
func (i *Issuer) mint(q *issue) (string, error) {
	id, cred := q.client.subject.Identity, q.client.credential
	chain, err := i.View.Line(id.ID, q.now)
	if err != nil {
		return "", refuse("invalid_grant", err.Error()+".")
	}
	ends, limits := q.now.Add(i.TTL), []time.Time{id.Expires, cred.Expires}
	if q.behalf != nil {
		chain, limits, q.claims.From = q.behalf.chain, append(limits, q.behalf.ends), q.behalf.from
	}
	if chain, err = i.stands(q, chain); err != nil {
		return "", err
	}
	if q.task != nil {
		limits = append(limits, q.task.Until)
	}
	for _, t := range limits {
		if t.Before(ends) {
			ends = t
		}
	}
	name, err := i.random()
	if err != nil {
		return "", err
	}
	c := &q.claims
	c.ID, c.Issuer, c.Client = "tok_"+name, i.URL, id.ID.String()
	if q.given != nil {
		c.Client = q.given.client
	}
	c.Issued, c.Expires = q.now.UTC().Truncate(time.Second), ends.UTC().Truncate(time.Second)
	c.Chain, c.Owner, c.Credential = chain, id.Owner, cred.ID
	if !c.Expires.After(c.Issued) {
		return "", refuse("invalid_grant", "What the token would rest on ends within the second: the identity, its credential, its task or what was shown for another.")
	}
	if err := i.place(q); err != nil {
		return "", err
	}
	return i.Ring.Signer().Mint(*c)
}

func (i *Issuer) random() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(i.Rand, b[:]); err != nil {
		return "", fmt.Errorf("make token id: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// challenged reports whether err only asks the client to come again with a nonce.
func challenged(err error) bool {
	var t *token.Error
	return errors.As(err, &t) && t.Code == token.UseNonce
}
