package control

import (
	"encoding/json"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/manifest"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// This file is what REST takes and gives, for the CLI to encode and decode.
// Times that people write ("90d", "12h", "2027-01-31", RFC 3339) are strings;
// times that Lanyard gives are RFC 3339 in UTC.

// Page is one page of a list. Ask again with after=Next until Next is empty.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// Counted is a page of a list, and how long the list is.
type Counted[T any] struct {
	Page[T]
	Total int  `json:"total" doc:"All that were found, counted up to 100000, and up to 1000 when a text is searched"`
	More  bool `json:"more,omitempty" doc:"There are more than total"`
}

// Problem is an error (RFC 9457). Detail says what to do.
type Problem struct {
	Type     string             `json:"type,omitempty"` // about:blank, or urn:lanyard:<code>
	Title    string             `json:"title"`
	Status   int                `json:"status"`
	Detail   string             `json:"detail"`
	Errors   []ProblemError     `json:"errors,omitempty"`   // of a malformed request
	Mistakes []manifest.Mistake `json:"mistakes,omitempty"` // of a manifest

	cause error // what is not the caller's to know
}

// ProblemError is one member of a request that is not as it must be.
type ProblemError struct {
	Message  string `json:"message"`
	Location string `json:"location"` // body.kind, path.name, query.limit
	Value    any    `json:"value,omitempty"`
}

// Changed is the answer to a change: the receipt says which gateways enforce it.
type Changed struct {
	Receipt feed.Receipt `json:"receipt"`
}

// OwnerInput is PUT /v1/owners/{owner}.
type OwnerInput struct {
	Name    string   `json:"name" doc:"Full name, for people" example:"Maya Lind" minLength:"1" maxLength:"200"`
	Email   string   `json:"email" format:"email" example:"maya@example.com" maxLength:"254"`
	Team    bool     `json:"team,omitempty" doc:"It is a team, not a person"`
	Members []string `json:"members,omitempty" doc:"Of a team: who may approve in its name" maxItems:"500"`
	Backup  string   `json:"backup,omitempty" doc:"Owner who takes over" example:"ben" maxLength:"64"`
	Roles   []string `json:"roles,omitzero" required:"false" doc:"What they may do at the console and over REST, beside what is theirs; left out, the ones they have stay" enum:"admin,security,operator,owner,auditor" maxItems:"5"`
	Gone    bool     `json:"gone,omitempty" doc:"The owner has left: what it owns goes to its backup, or is suspended"`
}

// OwnerView is an owner with what it owns.
type OwnerView struct {
	identity.Owner
	Identities int    `json:"identities" doc:"How many identities it owns, retired ones not counted"`
	Directory  string `json:"directory,omitempty" doc:"The directory that tells of this person; left out, none does"`
}

// IdentityInput is PUT /v1/identities/{name}.
type IdentityInput struct {
	Kind        string         `json:"kind" enum:"agent,service,bot,api_key,oauth_client" example:"agent"`
	Owner       string         `json:"owner" example:"maya" minLength:"1" maxLength:"64"`
	Backup      string         `json:"backup,omitempty" doc:"Takes over when the owner leaves; default the owner's own backup" maxLength:"64"`
	Purpose     string         `json:"purpose" doc:"One sentence, for people" example:"Reads invoices that arrive by mail and files them" minLength:"1" maxLength:"500"`
	Environment string         `json:"environment,omitempty" doc:"Default production" example:"production" maxLength:"64"`
	Expires     string         `json:"expires,omitempty" doc:"When it stops by itself: 90d, 2027-01-31, or RFC 3339; default 90d" example:"90d" maxLength:"64"`
	Pending     bool           `json:"pending,omitempty" doc:"Register it, but do not let it act yet"`
	Tasks       string         `json:"tasks,omitempty" doc:"required: it acts under tasks alone" enum:"required"`
	Children    *ChildrenInput `json:"children,omitempty" doc:"How many identities it may start for pieces of its work; left out, none"`
}

// ChildrenInput is how many children an identity may have.
type ChildrenInput struct {
	AtOnce int `json:"at_once" doc:"Of its own, at one time" example:"100" minimum:"1" maximum:"100000"`
	Depth  int `json:"depth,omitempty" doc:"1 is children, 2 theirs too; default 1" minimum:"1" maximum:"6"`
}

func (c *ChildrenInput) value() identity.Children {
	if c == nil {
		return identity.Children{}
	}
	return identity.Children{AtOnce: c.AtOnce, Depth: max(1, c.Depth)}
}

// IdentityView is an identity with all that belongs to it.
type IdentityView struct {
	identity.Identity
	Name        string                `json:"name" example:"invoice-bot"`
	Kind        identity.Kind         `json:"kind"`
	OwnerName   string                `json:"owner_name,omitempty" example:"Maya Lind"`
	Usable      bool                  `json:"usable" doc:"It, and all that started it, may act at this moment"`
	Why         string                `json:"why,omitempty" doc:"Why it may not"`
	Odd         string                `json:"odd,omitempty" doc:"What is odd about what it did; left out, nothing is" example:"12 of its 30 requests in the last 24 hours were refused"`
	LastUsed    time.Time             `json:"last_used,omitzero" doc:"Of any of its credentials, within a minute"`
	Credentials []identity.Credential `json:"credentials"`
	Grants      []policy.Grant        `json:"grants"`
	Living      int                   `json:"living_children,omitempty" doc:"How many it has started that have not ended, up to 1000"`
}

// StateInput is POST /v1/identities/{name}/{activate,suspend,resume,retire,renew}.
type StateInput struct {
	Reason  string `json:"reason,omitempty" maxLength:"500"`
	Expires string `json:"expires,omitempty" doc:"renew only: the new end; default 90d" example:"90d" maxLength:"64"`
}

// CredentialInput is POST /v1/identities/{name}/credentials: a public key, a certificate, or, with neither, an API key is made.
type CredentialInput struct {
	PublicKey   json.RawMessage `json:"public_key,omitempty" doc:"JWK (RFC 7517) of an Ed25519 or P-256 public key"`
	Certificate string          `json:"certificate,omitempty" doc:"PEM; bound by its thumbprint (RFC 8705)" maxLength:"65536"`
	APIKey      bool            `json:"api_key,omitempty" doc:"Make an API key, for a client that can do no better"`
	Expires     string          `json:"expires,omitempty" doc:"Default and at most the identity's expiry; 90d for an API key" example:"90d" maxLength:"64"`
}

// CredentialCreated is the answer. APIKey is shown this once.
type CredentialCreated struct {
	identity.Credential
	APIKey  string       `json:"api_key,omitempty" doc:"The key itself; it is not stored and never shown again"`
	Receipt feed.Receipt `json:"receipt"`
}

// UpstreamInput is PUT /v1/upstreams/{upstream}.
type UpstreamInput struct {
	URL         string                    `json:"url,omitempty" doc:"Base; the request's path is appended. None for one that joins others" example:"http://127.0.0.1:8442" maxLength:"2048"`
	Owner       string                    `json:"owner,omitempty" example:"priya" maxLength:"64"`
	Environment string                    `json:"environment,omitempty" doc:"Default production" maxLength:"64"`
	Family      string                    `json:"family" doc:"How it describes itself" example:"google" maxLength:"64"`
	Description string                    `json:"description" doc:"The family's input: a document, its name, or lines of patterns" example:"gmail/v1"`
	Classes     map[string]string         `json:"classes,omitempty" doc:"Action or pattern to class (read, write, delete, admin)"`
	WebSocket   bool                      `json:"websocket,omitempty"`
	StatusList  bool                      `json:"status_list,omitempty" doc:"Its tokens have a place in a status list, for who verifies them elsewhere"`
	ChainHeader string                    `json:"chain_header,omitempty" doc:"Header in which it is told who is behind a request: true for Lanyard-Chain, or one that begins with X-; none: it is not told" maxLength:"64"`
	Agent       string                    `json:"agent,omitempty" doc:"It is this identity: each call gives it, in Lanyard-On-Behalf-Of, what it exchanges for tokens on behalf of its caller" maxLength:"512"`
	Counters    map[string]policy.Counter `json:"counters,omitempty" doc:"Amounts that a task's budget can limit: which argument of which actions"`
	Provenance  *policy.Provenance        `json:"provenance,omitempty" doc:"What is known beforehand of where values on it come from, and what of its tools' description is to be understood otherwise"`
	Consent     *ConsentInput             `json:"consent,omitempty" doc:"Who may connect a client of theirs to it; left out, its owner alone"`
	Secret      *SecretInput              `json:"credential,omitempty" doc:"What the gateway shows the upstream; left out, the one it has stays, as long as url leads to the same server"`
	OAuth       *OAuthInput               `json:"oauth,omitempty" doc:"It wants OAuth of its own: owners connect the account that they have there; left out, this stays as it is"`
}

// OAuthInput is how an upstream is signed in to that wants OAuth of its own.
type OAuthInput struct {
	Issuer       string            `json:"issuer,omitempty" doc:"Its authorization server; an MCP server says that itself" example:"https://accounts.google.com" maxLength:"2048"`
	ClientID     string            `json:"client_id,omitempty" doc:"Of the client that you registered there; left out, Lanyard makes itself known if the server lets it" maxLength:"2048"`
	ClientSecret string            `json:"client_secret,omitempty" doc:"Its secret, sealed at rest and never given back; left out, the one it has stays" maxLength:"4096"`
	Scopes       []string          `json:"scopes,omitempty" doc:"To ask for; left out, what the upstream says it needs" maxItems:"100"`
	Parameters   map[string]string `json:"parameters,omitempty" doc:"That its sign-in page wants besides, such as access_type"`
	Shared       bool              `json:"shared,omitempty" doc:"The account of the upstream's owner serves every agent; left out, each is served by its own owner's"`
	None         bool              `json:"none,omitempty" doc:"It wants none: the accounts that were connected are forgotten"`
}

// AccountView is an account that an owner connected at an upstream. Its tokens are never shown.
type AccountView struct {
	Owner     identity.OwnerID `json:"owner" example:"maya"`
	OwnerName string           `json:"owner_name"`
	Since     time.Time        `json:"since"`
	Renewed   time.Time        `json:"renewed" doc:"When the token of now was got"`
	Scopes    []string         `json:"scopes,omitempty" doc:"That were asked for"`
	Server    string           `json:"server,omitempty" doc:"The authorization server that it was signed in at"`
	Lapsed    string           `json:"lapsed,omitempty" doc:"Why it is no longer good: the owner has to connect it again"`
}

// ConsentInput says who may let a client of theirs act on an upstream, and how far.
type ConsentInput struct {
	Owners  []string `json:"owners" doc:"Names of owners, or * for every owner" maxItems:"1000"`
	Classes []string `json:"classes,omitempty" doc:"At most these; default read" enum:"read,write,delete,admin"`
}

// SignInCode is the answer of POST /v1/owners/{name}/sign-in.
type SignInCode struct {
	Code    string    `json:"code" example:"K7QF-2M9X-ABCD-EFGH" doc:"Good once; shown this once"`
	URL     string    `json:"url" doc:"Where the owner enters it"`
	Expires time.Time `json:"expires"`
}

// ProviderInput is PUT /v1/providers/{provider}.
type ProviderInput struct {
	Issuer   string            `json:"issuer" doc:"Exactly as the provider writes it in iss" example:"https://login.example.com" minLength:"1" maxLength:"512"`
	Uses     []string          `json:"uses" doc:"What it is trusted for; id_jag: clients act for people on its word (ID-JAG); on_behalf: agents act for people by the tokens it gave them (RFC 8693); attest: gateways join by the tokens it gave the workloads that they are; sign_in: people sign in with it" enum:"id_jag,on_behalf,attest,sign_in" minItems:"1" maxItems:"8"`
	Claim    string            `json:"claim,omitempty" doc:"How the owner is found: email (the default), or the claim that holds an owner's name, as in sub or preferred_username" maxLength:"128"`
	Domains  []string          `json:"domains,omitempty" doc:"Domains of email that it answers for; left out, any address that it says is verified counts" maxItems:"100"`
	People   map[string]string `json:"people,omitempty" doc:"From sub to the name of an owner; who is here is found by nothing else"`
	Scopes   []string          `json:"scopes,omitempty" doc:"What a client may get on its word, at most; default read" enum:"read,write,delete,admin"`
	Audience []string          `json:"audience,omitempty" doc:"With on_behalf: whom its tokens have to be for, as it writes them in aud and azp" maxItems:"100"`
	Life     string            `json:"life,omitempty" doc:"How long a client goes on without its word being heard anew; default 30d" example:"30d" maxLength:"16"`
	Public   bool              `json:"public_clients,omitempty" doc:"Clients that have no credential of their own may show its word, too"`
	JWKS     json.RawMessage   `json:"jwks,omitempty" doc:"Its keys (RFC 7517), pinned; left out, those it publishes are fetched"`

	Client string              `json:"client_id,omitempty" doc:"With sign_in: the client that you registered there, whose redirect URI is the control plane's URL and /console/oidc/callback" maxLength:"512"`
	Secret string              `json:"client_secret,omitempty" doc:"Its secret, sealed at rest and never given back; left out, the one it has stays" maxLength:"4096"`
	Label  string              `json:"label,omitempty" doc:"With sign_in: what people call it; default its name" maxLength:"64"`
	Groups string              `json:"groups,omitempty" doc:"With sign_in: the claim that holds a person's groups; default groups" maxLength:"128"`
	Roles  map[string][]string `json:"roles,omitempty" doc:"With sign_in: from a group to the roles (admin, security, operator, auditor, owner) of who is in it, whether they are an owner or not"`
}

// ProviderView is a provider, with how many clients act on its word.
type ProviderView struct {
	identity.Provider
	JWKS    json.RawMessage `json:"jwks,omitempty"`
	Clients int             `json:"clients" doc:"How many identities hold a credential that stands on its word"`
}

// ReceiverInput is PUT /v1/receivers/{receiver}.
type ReceiverInput struct {
	URL           string  `json:"url" doc:"Where events are pushed (RFC 8935)" example:"https://crm.example.com/events" minLength:"1" maxLength:"2048"`
	Audience      string  `json:"audience,omitempty" doc:"aud of what it gets; default its URL" maxLength:"2048"`
	Authorization *string `json:"authorization,omitempty" doc:"What it wants in the Authorization header, sealed at rest and never given back; empty: nothing; left out: what it has stays, if the URL does" maxLength:"4096"`
}

// ReceiverView is a receiver, with how much it has still to be told.
type ReceiverView struct {
	identity.Receiver
	Waiting int `json:"waiting" doc:"Signals that it has not taken yet"`
}

// ReceiverVerified is the answer of POST /v1/receivers/{receiver}/verify.
type ReceiverVerified struct {
	Seconds float64 `json:"seconds" doc:"How long it took to take the verification event"`
}

// ProviderKeys is GET /v1/providers/{provider}/keys.
type ProviderKeys struct {
	Keys   []string `json:"keys" doc:"Their ids (kid); one without is -"`
	Pinned bool     `json:"pinned" doc:"They are given in the entry, not fetched"`
}

// ReasonInput is POST /v1/providers/{provider}/{disable,enable} and /v1/gateways/{name}/evict.
type ReasonInput struct {
	Reason string `json:"reason,omitempty" maxLength:"500"`
}

// SecretInput is an upstream's credential. It is sealed at rest and never given back.
type SecretInput struct {
	Header string `json:"header,omitempty" doc:"Default Authorization" example:"Authorization" maxLength:"128"`
	Value  string `json:"value" doc:"The header's whole value" example:"Bearer ..." minLength:"1" maxLength:"16384"`
}

// UpstreamView is an upstream, its description shortened to its size when it is a document.
type UpstreamView struct {
	policy.Upstream
	Description string `json:"description" doc:"Its name or patterns; of a document only its size"`
	Audience    string `json:"audience" doc:"The resource (RFC 8707) that a token for it is asked for with"`
	Actions     int    `json:"actions" doc:"How many actions it has"`
	Secret      bool   `json:"credential" doc:"The gateway has a credential for it"`
	SignIn      string `json:"sign_in,omitempty" doc:"Where owners connect their account there"`
	Down        bool   `json:"down,omitempty" doc:"It is cut off, or nothing came of its last three requests"`
}

// Offer is GET /v1/upstreams/{name}/offer. Both are catalogues of the upstream's family.
type Offer struct {
	Approved string `json:"approved"`
	Now      string `json:"now" doc:"What it says it offers; nobody has read it yet"`
	Version  int64  `json:"version" doc:"Of the upstream, for the approval"`
}

// Described is GET /v1/upstreams/{name}/description.
type Described struct {
	Description string `json:"description" doc:"All of what it was put with, or approved as"`
}

// Approval is POST /v1/upstreams/{name}/approve.
type Approval struct {
	Description string `json:"description" minLength:"1" doc:"What is approved: what was offered, or a part of it"`
	Version     int64  `json:"version" doc:"Of the upstream when that was shown"`
}

// ActionView is one thing that can be done on an upstream.
type ActionView struct {
	Name       string            `json:"name" example:"gmail.users.messages.send"`
	Class      policy.Class      `json:"class"`
	Words      []string          `json:"words,omitempty" doc:"What systems of its sort call alike; with several, a call says which it is" example:"[\"mail.send\"]"`
	Summary    string            `json:"summary,omitempty"`
	Parameters map[string]string `json:"parameters,omitempty" doc:"Argument to type, for conditions"`
}

// GrantInput is PUT /v1/identities/{name}/grants/{grant}: plain fields, or Cedar.
type GrantInput struct {
	Upstream   string                      `json:"upstream" example:"mail" maxLength:"64"`
	Actions    []string                    `json:"actions,omitempty" doc:"Classes, actions or patterns of actions" example:"[\"read\"]" maxItems:"500"`
	Resources  []string                    `json:"resources,omitempty" doc:"Patterns with *; none means all" maxItems:"500"`
	Conditions map[string]policy.Condition `json:"conditions,omitempty" doc:"By argument: all must hold"`
	Cedar      string                      `json:"cedar,omitempty" doc:"Instead of the plain fields" maxLength:"65536"`
	ForOthers  bool                        `json:"only_for_others,omitempty" doc:"Only when the identity acts on behalf of another, never for itself"`
	Record     string                      `json:"record,omitempty" enum:"before,within" doc:"The event is durable before the reply, or within 100 ms"`
	Approve    string                      `json:"approve,omitempty" doc:"Who must say yes to each call: owner, upstream, person, operator, or names of owners; 2 of ben kim maya" example:"owner" maxLength:"512"`
	Fresh      string                      `json:"fresh,omitempty" doc:"And how long ago they may have signed in" example:"5m" maxLength:"16"`
	Layers     *layer.Layers               `json:"layers,omitempty" doc:"What of a mailbox, a drive or a calendar is seen, and who is written to"`
	Until      string                      `json:"until,omitempty" doc:"Its end; default the identity's expiry" example:"2027-01-31" maxLength:"64"`
	Was        json.RawMessage             `json:"was,omitempty" doc:"What it was when it was read, as it was given then, or null for none: refused if it is otherwise by now. Left out, whatever is there is replaced"`
}

// GuardrailInput is PUT /v1/guardrails/{guardrail}.
type GuardrailInput struct {
	Description string          `json:"description,omitempty" doc:"One sentence, shown to who is refused" maxLength:"500"`
	Cedar       string          `json:"cedar" doc:"forbid(...)" minLength:"1" maxLength:"65536"`
	Was         json.RawMessage `json:"was,omitempty" doc:"What it was when it was read, as it was given then, or null for none: refused if it is otherwise by now. Left out, whatever is there is replaced"`
}

// ApplyRequest is POST /v1/apply. What manifest.References names is in Attachments and Secrets.
type ApplyRequest struct {
	Files       []manifest.File   `json:"files" minItems:"1" maxItems:"500"`
	Attachments map[string][]byte `json:"attachments,omitempty" doc:"Local files the manifests name, by path"`
	Secrets     map[string]string `json:"secrets,omitempty" doc:"Secrets the manifests take, by name (env:NAME, file:PATH)"`
	DryRun      bool              `json:"dry_run,omitempty" doc:"Show the plan and change nothing"`
}

// PlanResult is its answer: the plan, and whether it was carried out. Mistakes come as a Problem instead.
type PlanResult struct {
	Sets    []string        `json:"sets,omitempty"`
	Steps   []manifest.Step `json:"steps"`
	Create  int             `json:"create"`
	Change  int             `json:"change"`
	Remove  int             `json:"remove"`
	Notes   []string        `json:"notes,omitempty" doc:"What the files cannot change, as in: invoice-bot is killed"`
	Applied bool            `json:"applied"`
	Receipt *feed.Receipt   `json:"receipt,omitempty"`
}

// Mistake is one mistake in a manifest.
type Mistake = manifest.Mistake

// KillRequest is POST /v1/kill. Exactly one of Identity, Owner, Upstream and All is given.
type KillRequest struct {
	Identity string `json:"identity,omitempty" doc:"Name, kind/name or SPIFFE ID" example:"invoice-bot" maxLength:"512"`
	Owner    string `json:"owner,omitempty" doc:"Every identity of this owner" maxLength:"64"`
	Upstream string `json:"upstream,omitempty" doc:"Every call to this upstream" maxLength:"64"`
	All      bool   `json:"all,omitempty" doc:"Every identity there is"`
	Reason   string `json:"reason" doc:"Why, for the record" example:"It answers mail nobody asked it to" minLength:"1" maxLength:"500"`
	DryRun   bool   `json:"dry_run,omitempty" doc:"Say what would stop, and stop nothing"`
}

// KillResult says what stopped, and where that is enforced. With Waiting empty
// in the receipt, the very next request is refused.
type KillResult struct {
	ID          string        `json:"id,omitempty" example:"kill_..."`
	DryRun      bool          `json:"dry_run,omitempty"`
	Identities  []identity.ID `json:"identities" doc:"What stopped; the first 1000"`
	Count       int           `json:"count" doc:"How many identities stopped"`
	Credentials int           `json:"credentials" doc:"How many of their credentials died with them"`
	Upstream    string        `json:"upstream,omitempty"`
	Providers   []string      `json:"providers,omitempty" doc:"Identity providers that were disabled, with all: or they could have others born"`
	Reason      string        `json:"reason"`
	Receipt     feed.Receipt  `json:"receipt"`
}

// RestoreRequest is POST /v1/restore. Exactly one of Identity, Owner, Upstream, Kill and All is given.
type RestoreRequest struct {
	Identity string `json:"identity,omitempty" example:"invoice-bot" maxLength:"512"`
	Owner    string `json:"owner,omitempty" doc:"Every killed identity of this owner" maxLength:"64"`
	Upstream string `json:"upstream,omitempty" maxLength:"64"`
	Kill     string `json:"kill,omitempty" doc:"What this kill stopped" example:"kill_..." maxLength:"64"`
	All      bool   `json:"all,omitempty" doc:"Every killed identity there is"`
	Reason   string `json:"reason" minLength:"1" maxLength:"500"`
	DryRun   bool   `json:"dry_run,omitempty"`
}

// RestoreResult says what came back and what did not. Nothing comes back with its old credentials.
type RestoreResult struct {
	DryRun   bool          `json:"dry_run,omitempty"`
	Restored []identity.ID `json:"restored" doc:"As they were before the kill, active or suspended, but without credentials: add new ones; the first 1000"`
	Count    int           `json:"count"`
	Upstream string        `json:"upstream,omitempty"`
	Left     []NotRestored `json:"left,omitempty" doc:"What did not come back"`
	Receipt  feed.Receipt  `json:"receipt"`
}

// NotRestored is an identity that did not come back.
type NotRestored struct {
	Identity identity.ID `json:"identity"`
	Why      string      `json:"why"`
}

// RevokeRequest is POST /v1/revoke. Exactly one of Token, Credential and Grant is given.
type RevokeRequest struct {
	Token      string `json:"token,omitempty" doc:"The access token itself, or its jti (tok_...)" maxLength:"8192"`
	Credential string `json:"credential,omitempty" example:"cred_..." maxLength:"64"`
	Grant      string `json:"grant,omitempty" example:"invoice-bot/read-mail" maxLength:"512"`
	Reason     string `json:"reason" minLength:"1" maxLength:"500"`
}

// RevokeResult says what was revoked.
type RevokeResult struct {
	What    string       `json:"what" enum:"token,credential,grant"`
	ID      string       `json:"id"`
	Receipt feed.Receipt `json:"receipt"`
}

// ExplainRequest is POST /v1/explain: an event; or who asks, and a request (method and path) or a call (action).
type ExplainRequest struct {
	Event     string         `json:"event,omitempty" doc:"What was decided then, and what would be now; nothing else is given with it" example:"evt_..." maxLength:"64"`
	Identity  string         `json:"identity,omitempty" doc:"Who asks" example:"invoice-bot" maxLength:"512"`
	As        []string       `json:"as,omitempty" doc:"All who are behind it, the one that acts first; a person, who is last, as person/NAME" example:"[\"invoice-bot\",\"person/maya\"]" maxItems:"8"`
	Upstream  string         `json:"upstream,omitempty" example:"mail" maxLength:"64"`
	Method    string         `json:"method,omitempty" example:"POST" maxLength:"16"`
	Path      string         `json:"path,omitempty" doc:"With query, as it would be sent" example:"/gmail/v1/users/me/messages/send" maxLength:"8192"`
	Body      string         `json:"body,omitempty" maxLength:"1048576"`
	Action    string         `json:"action,omitempty" example:"gmail.users.messages.send" maxLength:"512"`
	Resource  string         `json:"resource,omitempty" example:"users/me/messages/17c2" maxLength:"2048"`
	Arguments map[string]any `json:"args,omitempty"`
}

// ExplainResult is the decision and what made it.
type ExplainResult struct {
	Allow     bool           `json:"allow" doc:"Each of those behind it may"`
	Reason    string         `json:"reason" doc:"One sentence"`
	Policies  []string       `json:"policies" doc:"Ids of the grants and guardrails that decided"`
	Guardrail bool           `json:"guardrail,omitempty" doc:"A guardrail refused it: a grant will not help"`
	Ask       bool           `json:"ask,omitempty" doc:"It goes on when people say yes to it"`
	Record    string         `json:"record,omitempty" enum:"before,within"`
	Action    string         `json:"action,omitempty"`
	Class     policy.Class   `json:"class,omitempty"`
	Resource  string         `json:"resource,omitempty"`
	Arguments map[string]any `json:"args,omitempty"`
	Owner     string         `json:"owner,omitempty" doc:"Who can grant it"`
	// What each policy that was looked at had to do with it: of the first who is refused, else of the one that acts.
	Guardrails []policy.Verdict `json:"guardrails"`
	Grants     []policy.Verdict `json:"grants"`
	Links      []ExplainLink    `json:"links" doc:"The same of each who is behind it, the one that acts first"`
	Change     []ExplainChange  `json:"change,omitempty" doc:"What would let it happen, all of it"`
	Then       *ExplainThen     `json:"then,omitempty" doc:"What was decided, as it is on record; the rest is about now"`
}

// ExplainLink is what was decided about one of those behind a call.
type ExplainLink struct {
	Identity   identity.ID      `json:"identity"`
	Allow      bool             `json:"allow"`
	Ask        bool             `json:"ask,omitempty" doc:"It goes on when people say yes to it"`
	Reason     string           `json:"reason"`
	Policies   []string         `json:"policies"`
	Guardrails []policy.Verdict `json:"guardrails"`
	Grants     []policy.Verdict `json:"grants"`
	Change     []ExplainChange  `json:"change,omitempty"`
}

// ExplainChange is one thing that somebody could do.
type ExplainChange struct {
	Who     string `json:"who" example:"Priya Nair, owner of mail"`
	Command string `json:"command" example:"lanyard grant put invoice-bot send --upstream mail --action gmail.users.messages.send"`
}

// ExplainThen is an event of the ledger, as far as it explains something.
type ExplainThen struct {
	Event    string    `json:"event"`
	Time     time.Time `json:"time"`
	Type     string    `json:"type"`
	Outcome  string    `json:"outcome"`
	Reason   string    `json:"reason,omitempty"`
	Policies []string  `json:"policies"`
	Chain    []string  `json:"chain"`
	Upstream string    `json:"upstream,omitempty"`
	Action   string    `json:"action,omitempty"`
	Resource string    `json:"resource,omitempty"`
}

// Entry is one event of the ledger: its leaf, an OCSF 1.9 event. ledger.Parse reads it.
type Entry struct {
	Index int64           `json:"index"`
	Event json.RawMessage `json:"event"`
}

// VerifyResult is what the server found in its own ledger. For one that trusts no server, export and verify there.
type VerifyResult struct {
	OK     bool          `json:"ok"`
	Key    string        `json:"key" doc:"Verifier key of the checkpoints"`
	Report ledger.Report `json:"report"`
}

// LedgerKey is GET /v1/ledger/key.
type LedgerKey struct {
	Key string `json:"key" doc:"Verifier key of the checkpoints"`
}

// Schema is GET /v1/schema.
type Schema struct {
	Cedar string `json:"cedar" doc:"Cedar schema, in the human-readable form"`
}

// KeyView is one signing key.
type KeyView struct {
	ID      string    `json:"id"`
	State   string    `json:"state" enum:"next,current,retired,gone"`
	Created time.Time `json:"created"`
	Until   time.Time `json:"until,omitzero"`
}

// Rotated is POST /v1/keys/rotate.
type Rotated struct {
	ID   string    `json:"id" doc:"The new key, which signs from a few seconds from now on"`
	Keys []KeyView `json:"keys"`
}

// AdminToken is POST /v1/admin/token, over the Unix socket only: the old one is dead.
type AdminToken struct {
	Token string `json:"token" doc:"Shown this once"`
}

// AdminLink is POST /v1/admin/sign-in.
type AdminLink struct {
	URL     string    `json:"url" doc:"Signs the local administrator in at the console, once; shown this once"`
	Expires time.Time `json:"expires"`
}

// Status is GET /v1/status.
type Status struct {
	Version     string            `json:"version"`
	TrustDomain string            `json:"trust_domain"`
	URL         string            `json:"url"`
	GatewayURL  string            `json:"gateway_url"`
	Started     time.Time         `json:"started"`
	Now         time.Time         `json:"now"`
	Cursor      feed.Cursor       `json:"cursor"`
	Ledger      LedgerStatus      `json:"ledger"`
	Gateways    []GatewayStatus   `json:"gateways"`
	Owners      int               `json:"owners"`
	Identities  map[string]int    `json:"identities" doc:"By state"`
	Upstreams   []UpstreamSummary `json:"upstreams"`
	Guardrails  int               `json:"guardrails"`
	MaxExpiry   string            `json:"max_expiry" example:"365d"`
	TokenTTL    string            `json:"token_ttl" example:"5m0s"`
}

// LedgerStatus is how the ledger stands.
type LedgerStatus struct {
	Size     int64  `json:"size"`
	Root     string `json:"root"`
	Key      string `json:"key" doc:"Verifier key of its checkpoints"`
	Writable bool   `json:"writable"`
	Why      string `json:"why,omitempty" doc:"Why it cannot be written"`
}

// GatewayStatus is one gateway and how far it has come.
type GatewayStatus struct {
	Name   string      `json:"name"`
	Cursor feed.Cursor `json:"cursor"`
	At     time.Time   `json:"at,omitzero" doc:"When it was last heard of; left out, it has confirmed nothing since the control plane began"`
	Stops  time.Time   `json:"stops" doc:"It has stopped by then, if it is not heard of"`
	Behind uint64      `json:"behind" doc:"Changes it has not confirmed"`
}

// UpstreamSummary is one upstream in the status.
type UpstreamSummary struct {
	Name      string   `json:"name"`
	URL       string   `json:"url"`
	Killed    bool     `json:"killed,omitempty"`
	Secret    bool     `json:"credential"`
	OAuth     string   `json:"oauth,omitempty" enum:"own,shared" doc:"It is used with accounts that owners connect: each with its own, or all with that of its owner"`
	Owner     string   `json:"owner,omitempty" doc:"Whose account a shared one is"`
	Connected int      `json:"connected,omitempty" doc:"How many accounts are connected"`
	Lapsed    []string `json:"lapsed,omitempty" doc:"Owners who have to connect theirs again"`
}
