package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

// problem is a refusal, told to the caller as RFC 9457 problem details.
type problem struct {
	status int
	kind   string // last word of the problem's type, and of the event's reason in the metrics
	detail string // one sentence for people; never internal text
	oauth  string // RFC 6750 section 3.1 error code, RFC 9449 section 9; only with 401 and 403
	scope  string
	cause  error // what the connector said, when it did not recognise the request

	approval *feed.Approval // that it waits for
	maxAge   time.Duration  // how long ago who approves may have signed in (RFC 9470 section 3)
	elicits  bool           // the caller can show its person an address
}

func (p *problem) Error() string { return p.detail }

func malformed(detail string) error {
	return &problem{status: http.StatusBadRequest, kind: "malformed", detail: detail}
}

func unauthorized(oauth, detail string) error {
	return &problem{status: http.StatusUnauthorized, kind: "unauthorized", oauth: oauth, detail: detail}
}

func unavailable(detail string) error {
	return &problem{status: http.StatusServiceUnavailable, kind: "unavailable", detail: detail}
}

func cutOff(upstream string) error {
	return &problem{status: http.StatusForbidden, kind: "killed", oauth: "insufficient_scope", detail: upstream + " is cut off: the cord was pulled on it."}
}

// quote shortens and quotes what a caller sent, so that it can be shown.
func quote(s string) string { return strconv.QuoteToASCII(s[:min(len(s), 80)]) }

// document is the problem as JSON. Clients that know Google's error model (and
// many others) print error.message, so the sentence stands there too.
type document struct {
	Type     string      `json:"type"`
	Title    string      `json:"title"`
	Status   int         `json:"status"`
	Detail   string      `json:"detail"`
	Instance string      `json:"instance"`
	Error    googleError `json:"error"`
	*approvalDocument
}

// approvalDocument is what a problem has beside, when people can change its answer.
type approvalDocument struct {
	Approval string    `json:"approval"`
	URL      string    `json:"approve_at,omitempty"`
	Expires  time.Time `json:"expires"`
	Who      string    `json:"who"`
}

type googleError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Status  string `json:"status"`
}

// codes maps a status to the title of the problem and Google's word for it.
func codes(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "UNAUTHENTICATED"
	case http.StatusForbidden:
		return "PERMISSION_DENIED"
	case http.StatusNotFound:
		return "NOT_FOUND"
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return "UNAVAILABLE"
	case http.StatusGatewayTimeout:
		return "DEADLINE_EXCEEDED"
	case http.StatusInternalServerError:
		return "INTERNAL"
	}
	return "INVALID_ARGUMENT"
}

// problemHeader is in each refusal of the gateway's own, and in no reply of an upstream, which could have the same body.
const problemHeader = "Lanyard-Problem"

// answer writes p as the reply of r.
func (g *Gateway) answer(r *request, p *problem) {
	h := r.w.Header()
	clear(h)
	if r.nonce != "" {
		h.Set("DPoP-Nonce", r.nonce)
	}
	if status, kind, body := r.spoken(p); status != 0 {
		h.Set("Content-Type", kind)
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		r.status = status
		r.w.WriteHeader(r.status)
		_, _ = r.w.Write(body) // the caller may be gone, the event says what it was told
		return
	}
	if p.oauth != "" || p.status == http.StatusUnauthorized {
		g.challenge(r, p)
	}
	if p.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	if p.status == http.StatusRequestTimeout && r.in.ProtoMajor == 1 {
		h.Set("Connection", "close") // RFC 9110 section 15.5.9
	}
	h.Set(problemHeader, p.kind)
	h.Set("Content-Type", "application/problem+json")
	if r.backend != nil {
		if _, ok := r.backend.connector.(connector.Layered); ok { // clients of Google's and Microsoft's for JavaScript read an error in no other type
			h.Set("Content-Type", "application/json")
		}
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.status == http.StatusBadRequest || r.in.Header["Upgrade"] != nil {
		h.Set("Connection", "close") // what follows on the connection may not be what it seems, or is not followed by Strict
	}
	d := document{"urn:lanyard:problem:" + p.kind, http.StatusText(p.status), p.status, p.detail, "urn:uuid:" + r.id,
		googleError{p.status, p.detail, codes(p.status)}, nil}
	if a := p.approval; a != nil {
		d.approvalDocument = &approvalDocument{a.ID, g.approveAt(*a), a.Expires.UTC(), a.Who}
	}
	b, err := json.Marshal(d)
	if err != nil {
		b = []byte("{}")
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	r.w.WriteHeader(p.status)
	if r.in.Method != http.MethodHead {
		_, _ = r.w.Write(b) // the caller may be gone, the event says what it was told
	}
}

// spoken is p in the protocol of the upstream's clients, when it is a no to this one request; status 0 when it is not.
func (r *request) spoken(p *problem) (status int, contentType string, body []byte) {
	if r.backend == nil {
		return 0, "", nil
	}
	switch p.kind {
	case "denied", "forbidden", "unrecognised", "changed", "loop", "no-account", "upstream-refuses", "task", "uncounted", "budget-spent":
	case "approval-needed", "approval-denied":
		if c, ok := r.backend.connector.(connector.Asker); ok && p.approval != nil {
			a := p.approval
			return c.Asked(&r.ask, connector.Pending{ID: a.ID, URL: r.g.approveAt(*a), Who: a.Who, Reason: p.detail, Expires: a.Expires, Elicit: p.elicits && p.kind == "approval-needed"})
		}
	default:
		return 0, "", nil
	}
	if r.steps(p) {
		return 0, "", nil
	}
	if c, ok := r.backend.connector.(connector.Refuser); ok {
		return c.Refusal(&r.ask, p.detail, p.cause)
	}
	return 0, "", nil
}

// steps reports whether the caller is a client that a person connected, and so can ask
// that person for more: it hears which scope (RFC 6750 section 3.1), and asks again.
func (r *request) steps(p *problem) bool {
	_, inward := r.w.(*reply) // at a joined upstream the caller is not on the other end
	return p.kind == "denied" && p.scope != "" && !inward && r.subject != nil && r.subject.Identity.Client.ID != ""
}

// challenge says how to come back (RFC 6750 section 3, RFC 9449 section 7.1, RFC 9728 section 5.1).
func (g *Gateway) challenge(r *request, p *problem) {
	var b strings.Builder
	if p.oauth != "" {
		b.WriteString(` error="` + p.oauth + `", error_description="` + headerText(p.detail) + `",`)
	}
	if p.maxAge > 0 {
		b.WriteString(` max_age="` + strconv.Itoa(int(p.maxAge/time.Second)) + `",`)
	}
	if p.scope != "" {
		b.WriteString(` scope="` + headerText(p.scope) + `",`)
	}
	within := ""
	if !r.byHost && r.path != "/" && plain(r.path) {
		within = r.path
	}
	b.WriteString(` resource_metadata="` + g.metadataURL(r.name, within) + `"`)
	h := r.w.Header()
	h["Www-Authenticate"] = []string{`DPoP algs="EdDSA ES256",` + b.String()}
	if p.oauth != "use_dpop_nonce" && p.oauth != "invalid_dpop_proof" {
		h["Www-Authenticate"] = append(h["Www-Authenticate"], "Bearer"+b.String())
	}
	if p.status == http.StatusUnauthorized {
		h.Set("DPoP-Nonce", g.nonces.Make(r.start))
	}
}

// headerText keeps of s what may stand in a quoted error_description (RFC 6750 section 3).
func headerText(s string) string {
	return strings.Map(func(c rune) rune {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return '\''
		}
		return c
	}, s)
}
