// Package issuer is the OAuth authorization server (RFC 6749): an identity shows a
// credential of its own and gets an access token for one upstream, bound to a key
// that it holds. A client that a person connects is such an identity, too: on the
// consent page (authorize.go) it is born, and a code, then refresh tokens
// (exchange.go), are how it proves itself.
//
// The token endpoint is one frame of fixed phases (token.go) that no grant type
// can skip: read the form, authenticate the client, find the resource, bind the
// sender, refuse what was used before, decide the scope, mint, record, reply.
// Everything is decided from the [feed.View] in memory; what is waited for is that
// the event is durable, and for codes and refresh tokens that they are used up. A
// [KeyRing] holds the signing keys.
//
// Who acts for another asks by token exchange (behalf.go): with its own proof, and a
// token that says for whom.
//
// A token whose upstream asks for it says where its audience can read whether it is still good
// (status.go): who verifies tokens elsewhere learns so of a revocation.
//
// Beside it are metadata (RFC 8414), keys (RFC 7517), introspection (RFC 7662)
// and revocation (RFC 7009).
package issuer

import (
	"context"
	"errors"
	"html/template"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/token"
	"github.com/lanyard-dev/lanyard/web"
)

// The life of a token, when the configuration says nothing, and at most.
const (
	DefaultTTL = 5 * time.Minute
	LongestTTL = 15 * time.Minute
)

// replayed bounds the memory for assertions and for proofs, each.
const replayed = 1 << 20

// Issuer serves OAuth. All fields but those with a default are required.
type Issuer struct {
	URL        string // iss, and the base of the endpoints; no slash at the end
	GatewayURL string // an upstream's audience is GatewayURL/<upstream>
	View       *feed.View
	Ring       *KeyRing

	// Record must return nil only once the events are durable; without that no token is given out.
	Record func(context.Context, []ledger.Event) error
	// RecordStatus is Record for the event of a token that has a place in a status list; Statuses are the places after one that any
	// node gave, of tokens that go on, and the last change of the feed by then. Without them there are no status lists.
	RecordStatus func(context.Context, ledger.Event, store.Status) error
	Statuses     func(ctx context.Context, after int64) ([]store.Status, feed.Cursor, error)
	// RevokeToken ends one token before its time, durably, and waits a little for gateways, as Settle does. Actor is an identity or an operator.
	RevokeToken func(ctx context.Context, c token.Claims, actor string) error
	// Admin says which operator a request is from, who may introspect and revoke; nil means none is.
	Admin func(*http.Request) (operator string, ok bool)
	// Touch notes that a credential was used; it must not wait.
	Touch func(credential string, when time.Time)

	// What people need to connect clients; without a Registry there is no authorization endpoint.
	Registry *registry.Registry
	Settle   func(context.Context, feed.Cursor) // returns when what was committed there is enforced, or soon after
	Fetch    *fetch.Client                      // of clients' metadata documents
	Register bool                               // clients may register themselves (RFC 7591)

	Now         func() time.Time
	Rand        io.Reader
	Start       time.Time     // a whole second, before which this process answered nothing: assertions made before it are refused, so a restart forgets no jti
	TTL         time.Duration // default DefaultTTL
	MaxTTL      time.Duration // default, and at most, LongestTTL
	AllowBearer bool          // give unbound tokens to clients that could bind them

	pages              *template.Template
	proofs, assertions *token.Replay
	forms              *token.Replay // consent forms that were sent
	documents          documents
	published          published
	statuses           statuses
	strangers          ledger.Strangers
	nonces             *token.Nonces
	userOf             func(ctx context.Context, q *issue, raw, kind string, actor identity.ID) (identity.OwnerID, behalf, error) // user, where there is a Registry with providers
}

// Mount puts the endpoints on mux. The Issuer must not be changed after it.
func (i *Issuer) Mount(mux *http.ServeMux) error {
	if i.URL == "" || i.GatewayURL == "" || i.View == nil || i.Ring == nil || i.Record == nil ||
		i.RevokeToken == nil || i.Touch == nil || i.Now == nil || i.Rand == nil || i.Start.IsZero() {
		return errors.New("mount issuer: a field is missing")
	}
	if i.TTL <= 0 {
		i.TTL = DefaultTTL
	}
	if i.MaxTTL <= 0 || i.MaxTTL > LongestTTL {
		i.MaxTTL = LongestTTL
	}
	i.TTL = min(i.TTL, i.MaxTTL)
	i.proofs = token.NewReplay(token.ReplayWindow, replayed)
	i.assertions = token.NewReplay(token.MaxAssertion+2*token.Skew, replayed)
	var err error
	if i.nonces, err = token.NewNonces(i.Rand); err != nil {
		return err
	}
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", i.metadata)
	mux.HandleFunc("GET /oauth/jwks", i.jwks)
	mux.HandleFunc("POST /oauth/token", i.token)
	mux.HandleFunc("POST /oauth/introspect", i.introspect)
	mux.HandleFunc("POST /oauth/revoke", i.revoke)
	if i.Statuses != nil {
		mux.HandleFunc("GET /oauth/status/{list}", i.statusList)
	}
	if i.Registry == nil {
		return nil
	}
	if i.Settle == nil || i.Fetch == nil {
		return errors.New("mount issuer: Settle and Fetch are needed to connect clients")
	}
	i.pages = web.Pages(i.path())
	i.forms = token.NewReplay(formLife, replayed)
	i.userOf = i.user
	i.people(mux)
	if i.Register {
		mux.HandleFunc("POST /oauth/register", i.register)
	}
	return nil
}

// metadata is RFC 8414 section 2, and only what works.
func (i *Issuer) metadata(w http.ResponseWriter, r *http.Request) {
	methods := []string{"private_key_jwt", "self_signed_tls_client_auth", "client_secret_basic", "client_secret_post"}
	algs := []string{"EdDSA", "Ed25519", "ES256"}
	w.Header().Set("Cache-Control", "public, max-age=300")
	document := map[string]any{
		"issuer":                                i.URL,
		"token_endpoint":                        i.URL + "/oauth/token",
		"jwks_uri":                              i.URL + "/oauth/jwks",
		"introspection_endpoint":                i.URL + "/oauth/introspect",
		"revocation_endpoint":                   i.URL + "/oauth/revoke",
		"grant_types_supported":                 []string{"client_credentials", token.GrantExchange},
		"response_types_supported":              []string{},
		"scopes_supported":                      scopes,
		"token_endpoint_auth_methods_supported": methods,
		"token_endpoint_auth_signing_alg_values_supported":         algs,
		"introspection_endpoint_auth_methods_supported":            methods,
		"introspection_endpoint_auth_signing_alg_values_supported": algs,
		"revocation_endpoint_auth_methods_supported":               methods,
		"revocation_endpoint_auth_signing_alg_values_supported":    algs,
		"dpop_signing_alg_values_supported":                        algs,
		"tls_client_certificate_bound_access_tokens":               true,
		"authorization_details_types_supported":                    []string{token.TaskType}, // RFC 9396 section 10
	}
	if i.Registry != nil {
		document["authorization_endpoint"] = i.URL + "/oauth/authorize"
		document["grant_types_supported"] = []string{"client_credentials", token.GrantExchange, "authorization_code", "refresh_token"}
		if i.vouching(r.Context()) {
			document["grant_types_supported"] = []string{"client_credentials", token.GrantExchange, "authorization_code", "refresh_token", token.GrantJWT}
			document["authorization_grant_profiles_supported"] = []string{token.ProfileIDJAG}
		}
		document["response_types_supported"] = []string{"code"}
		document["response_modes_supported"] = []string{"query"}
		document["code_challenge_methods_supported"] = []string{"S256"}
		document["authorization_response_iss_parameter_supported"] = true
		document["client_id_metadata_document_supported"] = true
		document["token_endpoint_auth_methods_supported"] = append(methods, "none")
		document["revocation_endpoint_auth_methods_supported"] = append(methods, "none")
	}
	if i.Registry != nil && i.Register {
		document["registration_endpoint"] = i.URL + "/oauth/register"
	}
	reply(w, http.StatusOK, document)
}

func (i *Issuer) jwks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age="+strconv.Itoa(int(lead/time.Second))) // longer, and a new key would sign before it is seen
	w.Write(i.Ring.Signer().JWKS())
}
