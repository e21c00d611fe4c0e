package control

import (
	"encoding/json"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/manifest"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
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
	Gone    bool     `json:"gone,omitempty" doc:"The owner has left: what it owns goes to its backup, or is suspended"`
}

// OwnerView is an owner with what it owns.
type OwnerView struct {
	identity.Owner
	Identities int `json:"identities" doc:"How many identities it owns, retired ones not counted"`
}

// IdentityInput is PUT /v1/identities/{name}.
type IdentityInput struct {
	Kind        string `json:"kind" enum:"agent,service,bot,api_key,oauth_client" example:"agent"`
	Owner       string `json:"owner" example:"maya" minLength:"1" maxLength:"64"`
	Backup      string `json:"backup,omitempty" doc:"Takes over when the owner leaves; default the owner's own backup" maxLength:"64"`
	Purpose     string `json:"purpose" doc:"One sentence, for people" example:"Reads invoices that arrive by mail and files them" minLength:"1" maxLength:"500"`
	Environment string `json:"environment,omitempty" doc:"Default production" example:"production" maxLength:"64"`
	Expires     string `json:"expires,omitempty" doc:"When it stops by itself: 90d, 2027-01-31, or RFC 3339; default 90d" example:"90d" maxLength:"64"`
	Pending     bool   `json:"pending,omitempty" doc:"Register it, but do not let it act yet"`
}

// IdentityView is an identity with all that belongs to it.
type IdentityView struct {
	identity.Identity
	Name        string                `json:"name" example:"invoice-bot"`
	Kind        identity.Kind         `json:"kind"`
	OwnerName   string                `json:"owner_name,omitempty" example:"Maya Lind"`
	Usable      bool                  `json:"usable" doc:"It may act at this moment"`
	Why         string                `json:"why,omitempty" doc:"Why it may not"`
	LastUsed    time.Time             `json:"last_used,omitzero" doc:"Of any of its credentials, within a minute"`
	Credentials []identity.Credential `json:"credentials"`
	Grants      []policy.Grant        `json:"grants"`
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
	URL         string            `json:"url,omitempty" doc:"Base; the request's path is appended. None for one that joins others" example:"http://127.0.0.1:8442" maxLength:"2048"`
	Owner       string            `json:"owner,omitempty" example:"priya" maxLength:"64"`
	Environment string            `json:"environment,omitempty" doc:"Default production" maxLength:"64"`
	Family      string            `json:"family" doc:"How it describes itself" example:"google" maxLength:"64"`
	Description string            `json:"description" doc:"The family's input: a document, its name, or lines of patterns" example:"gmail/v1"`
	Classes     map[string]string `json:"classes,omitempty" doc:"Action or pattern to class (read, write, delete, admin)"`
	WebSocket   bool              `json:"websocket,omitempty"`
	Consent     *ConsentInput     `json:"consent,omitempty" doc:"Who may connect a client of theirs to it; left out, its owner alone"`
	Secret      *SecretInput      `json:"credential,omitempty" doc:"What the gateway shows the upstream; left out, the one it has stays"`
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
}

// ActionView is one thing that can be done on an upstream.
type ActionView struct {
	Name       string            `json:"name" example:"gmail.users.messages.send"`
	Class      policy.Class      `json:"class"`
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
	Record     string                      `json:"record,omitempty" enum:"before,within" doc:"The event is durable before the reply, or within 100 ms"`
	Approve    string                      `json:"approve,omitempty" doc:"Who must say yes to each call: owner, upstream, person, operator, or names of owners; 2 of ben kim maya" example:"owner" maxLength:"512"`
	Fresh      string                      `json:"fresh,omitempty" doc:"And how long ago they may have signed in" example:"5m" maxLength:"16"`
	Until      string                      `json:"until,omitempty" doc:"Its end; default the identity's expiry" example:"2027-01-31" maxLength:"64"`
}

// GuardrailInput is PUT /v1/guardrails/{guardrail}.
type GuardrailInput struct {
	Description string `json:"description,omitempty" doc:"One sentence, shown to who is refused" maxLength:"500"`
	Cedar       string `json:"cedar" doc:"forbid(...)" minLength:"1" maxLength:"65536"`
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

// ExplainRequest is POST /v1/explain: a request (method and path), or a call (action).
type ExplainRequest struct {
	Identity  string         `json:"identity" example:"invoice-bot" maxLength:"512"`
	Upstream  string         `json:"upstream" example:"mail" maxLength:"64"`
	Method    string         `json:"method,omitempty" example:"POST" maxLength:"16"`
	Path      string         `json:"path,omitempty" doc:"With query, as it would be sent" example:"/gmail/v1/users/me/messages/send" maxLength:"8192"`
	Body      string         `json:"body,omitempty" maxLength:"1048576"`
	Action    string         `json:"action,omitempty" example:"gmail.users.messages.send" maxLength:"512"`
	Resource  string         `json:"resource,omitempty" example:"users/me/messages/17c2" maxLength:"2048"`
	Arguments map[string]any `json:"args,omitempty"`
}

// ExplainResult is the decision and what made it.
type ExplainResult struct {
	Allow     bool           `json:"allow"`
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
	// What each policy that was looked at had to do with it.
	Guardrails []policy.Verdict `json:"guardrails"`
	Grants     []policy.Verdict `json:"grants"`
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
	At     time.Time   `json:"at"`
	Behind uint64      `json:"behind" doc:"Changes it has not confirmed"`
}

// UpstreamSummary is one upstream in the status.
type UpstreamSummary struct {
	Name   string `json:"name"`
	URL    string `json:"url"`
	Killed bool   `json:"killed,omitempty"`
	Secret bool   `json:"credential"`
}
