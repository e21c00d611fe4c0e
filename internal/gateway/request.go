package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/provenance"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// request is one request on its way. Each step fills its own fields, once.
// It also is the ResponseWriter that the proxy writes to.
type request struct {
	g *Gateway
	state
	proxy httputil.ReverseProxy // its hooks are bound to this value for its whole life
	// The list of running requests, see streams.go.
	next, prev *request
	shard      *shard
	sweeps     int  // seen running so many times; both are of note alone
	noted      bool // on record while it runs
}

// state is what is forgotten when a request ends.
type state struct {
	w        http.ResponseWriter
	in       *http.Request
	start    time.Time
	id       string // of the request and, with "evt_", of its event
	reserved bool   // room in the recorder for its event

	// clean
	name        string // of the upstream
	byHost      bool
	target      string // path and query as they will be sent
	path, query string // parts of target

	// authenticate
	claims  *token.Claims // shared, never changed
	access  string        // the access token that they are of
	subject *feed.Subject
	source  string // peer address
	nonce   string // for the caller's next proof, when it should take another

	// recognise
	backend *backend
	account *account          // what the backend is used with
	ask     connector.Request // what the connector was asked about
	call    policy.Call
	session string // header in which the upstream names sessions; empty when it keeps none
	bound   bool   // this request may have a session
	elicits bool   // the caller can show its person an address
	upload  upload

	// decide
	memory   *memory               // of the work that it is of; nil when no policy asks for it
	texts    []provenance.Argument // of it, where memory is there
	facts    *provenance.Facts     // what is known of its values
	added    map[string]any        // arguments that the upstream was asked for, see complete.go
	decision policy.Decision
	sets     sets           // that decided
	task     *feed.Task     // that it is under, nil for none
	waits    *feed.Question // to people, when they have to be asked
	approval feed.Approval  // what it goes on with, when they said yes
	wait     time.Duration  // how long the caller waits for people

	// inject
	secret       feed.Secret
	tracing      string // W3C traceparent as sent
	behind       string // the chain, where the upstream is told it
	introduction feed.Introduction

	// forward
	ctx    context.Context
	cancel context.CancelCauseFunc
	meter  *meter // of the bodies, when the task's budget limits their bytes

	// inspect
	status  int
	trailer bool   // the response has trailers
	asks    asks   // of the upstream's in it
	shown   []byte // of the reply, where layers hold some back

	refused *problem
	failure string
	cut     atomic.Bool

	passage
	holding holding
}

func newRequest(g *Gateway) *request {
	r := &request{g: g}
	r.proxy = httputil.ReverseProxy{
		Rewrite: r.rewrite, ModifyResponse: r.inspect, ErrorHandler: r.failed,
		Transport: r, BufferPool: &g.buffers, ErrorLog: g.errorLog(),
	}
	return r
}

// begin takes the request in. Randomness that cannot be read is refused in ServeHTTP by the missing id.
func (r *request) begin(w http.ResponseWriter, in *http.Request) {
	r.w, r.in, r.start = w, in, r.g.Now()
	r.id, _ = r.g.fresh(r.start)
}

// end forgets the request. Nobody holds r any more: it has left the list of running ones.
func (r *request) end() {
	r.letGo()
	r.clear()
	r.g.requests.Put(r)
}

func (r *request) clear() {
	r.w, r.in, r.start, r.id, r.reserved = nil, nil, time.Time{}, "", false
	r.name, r.byHost, r.target, r.path, r.query = "", false, "", "", ""
	r.claims, r.subject, r.source, r.nonce = nil, nil, "", ""
	r.backend, r.ask, r.call, r.decision, r.sets = nil, connector.Request{}, policy.Call{}, policy.Decision{}, sets{}
	r.account, r.session, r.bound, r.elicits, r.task, r.meter = nil, "", false, false, nil, nil
	r.memory, r.texts, r.facts, r.added = nil, nil, nil, nil
	r.upload = upload{}
	r.waits, r.approval, r.wait = nil, feed.Approval{}, 0
	r.secret, r.tracing, r.access, r.behind, r.introduction = feed.Secret{}, "", "", "", feed.Introduction{}
	r.sweeps, r.noted = 0, false
	r.ctx, r.cancel, r.passed = nil, nil, 0
	r.status, r.trailer, r.asks, r.shown, r.refused, r.failure = 0, false, asks{}, nil, nil, ""
	r.cut.Store(false)
}

// refuse answers with the problem that err is; anything else is ours and is not shown.
func (r *request) refuse(err error) {
	var p *problem
	if !errors.As(err, &p) {
		r.g.Log.Error("request failed", "request", r.id, "error", err)
		p = &problem{status: http.StatusInternalServerError, kind: "internal", detail: "The gateway could not handle the request; its log says why under this instance."}
	}
	r.refused, r.status = p, p.status
	r.g.metrics.refused(p.kind)
	r.g.answer(r, p)
}

// Header, Write, WriteHeader and Unwrap make r the proxy's ResponseWriter.
func (r *request) Header() http.Header { return r.w.Header() }
func (r *request) Write(b []byte) (int, error) {
	if r.meter != nil {
		if err := r.meter.count(len(b)); err != nil {
			r.sever(err)
			return 0, err
		}
	}
	return r.w.Write(b)
}
func (r *request) Unwrap() http.ResponseWriter { return r.w }
func (r *request) WriteHeader(status int) {
	if status == http.StatusContinue {
		return // net/http says it by itself when the body is first read
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		scrub(r.w.Header()) // an interim response does not meet inspect
	}
	r.w.WriteHeader(status)
}

var _ http.ResponseWriter = (*request)(nil)

// outcome is how the request ended, in the ledger's words.
func (r *request) outcome() ledger.Outcome {
	switch {
	case r.failure != "":
		return ledger.Failed
	case r.refused != nil:
		return ledger.Refused
	}
	return ledger.Allowed
}
