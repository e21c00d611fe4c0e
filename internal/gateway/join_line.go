package gateway

//lint:file-ignore SA1019 servers of all revisions ask for what the newest one only still allows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// maxLines is how many sessions a door may have with the upstreams.
const maxLines = 256

// line is a session of a door with an upstream. What the upstream asks of its client
// goes to whom the call is for that runs on the line. So a client that can be asked
// something has lines of its own: one with sessions a line for each of its sessions, one
// without a line for each call, unless the upstream has no sessions either and so
// asks in its answer to the call.
type line struct {
	*sdk.ClientSession
	d   *door
	key lineKey
	can sdk.ClientCapabilities
	who *sdk.ServerSession // whose line it is, if key has its session

	began  time.Time
	waited atomic.Int64 // how long it was waited before it was opened anew, in nanoseconds

	order   sequence
	follows map[string]bool // resources; the door's lock is held

	mu    sync.Mutex
	calls []*asker
}

// lineKey is what a line is for: an upstream; a session at the door, if it can be asked
// something; and what it can be asked, as the upstream is told.
type lineKey struct{ member, session, can string }

// guest is who is at the door with a request.
type guest struct {
	session   *sdk.ServerSession
	can       sdk.ClientCapabilities // what it can be asked
	stateless bool
}

func guestOf(session sdk.Session) guest {
	g := guest{}
	g.session, _ = session.(*sdk.ServerSession)
	if g.session == nil {
		return g
	}
	if p := g.session.InitializeParams(); p != nil {
		g.stateless = p.ProtocolVersion >= "2026-07-28"
		if c := p.Capabilities; c != nil {
			g.can.Sampling, g.can.Elicitation = c.Sampling, c.Elicitation
			if c.RootsV2 != nil {
				g.can.RootsV2 = &sdk.RootCapabilities{} // that they change is not passed on
			}
		}
	}
	return g
}

// at is what of a guest an upstream is told: what it may not ask anyhow is not offered.
func (d *door) at(member string, who guest) (lineKey, sdk.ClientCapabilities) {
	key, can := lineKey{member: member}, who.can
	if can.Elicitation == nil && can.Sampling == nil && can.RootsV2 == nil {
		return key, can
	}
	if !d.mayAsk(member, "mcp.elicit", policy.Read) {
		can.Elicitation = nil
	}
	if !d.mayAsk(member, "mcp.sample", policy.Write) {
		can.Sampling = nil
	}
	if !d.mayAsk(member, "mcp.roots", policy.Read) {
		can.RootsV2 = nil
	}
	if can.Elicitation == nil && can.Sampling == nil && can.RootsV2 == nil {
		return key, can
	}
	b, _ := json.Marshal([]any{can.Elicitation, can.Sampling, can.RootsV2 != nil}) // three small structs
	if key.can = string(b); !who.stateless {
		key.session = who.session.ID()
	}
	return key, can
}

// mayAsk reports whether an upstream may perhaps ask the caller for something.
func (d *door) mayAsk(member, action string, class policy.Class) bool {
	u, ok := d.g.View.Upstream(member)
	if !ok {
		return false
	}
	c := d.caller.Load()
	class = policy.ClassOf(*u, policy.Action{Name: action, Class: class})
	ask := policy.Request{Upstream: u, Now: d.g.Now(), Source: c.source, Chain: c.claims.Chain, Call: policy.Call{Action: action, Class: class, Upstream: member, Resource: "client"}}
	for _, l := range c.claims.Chain {
		subject, known := d.g.View.Subject(l.ID)
		if !known {
			return false
		}
		if set, err := subject.Set(); err != nil || !set.May(ask) {
			return false
		}
	}
	return inScope(c.claims.Scope, class)
}

// attempt is to open a line. Others that want one of its key wait for it.
type attempt struct {
	done chan struct{} // closed when it was made
	err  error         // that it was in vain
}

// line is one of that key for a call, opened if need be. It is given back with leave.
func (d *door) line(key lineKey, can sdk.ClientCapabilities, who *sdk.ServerSession) (*line, error) {
	for {
		if l, err := d.have(key); l != nil || err != nil {
			return l, err
		}
		d.mu.Lock()
		a, another := d.attempts[key]
		if !another {
			a = &attempt{done: make(chan struct{}), err: errShut}
			d.attempts[key] = a
		}
		d.mu.Unlock()
		if !another {
			return d.attempt(a, key, can, who)
		}
		if <-a.done; a.err != nil {
			return nil, a.err
		}
	}
}

// attempt opens a line.
func (d *door) attempt(a *attempt, key lineKey, can sdk.ClientCapabilities, who *sdk.ServerSession) (l *line, err error) {
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if delete(d.attempts, key); l != nil {
			a.err = nil
		} else if err != nil {
			a.err = err
		}
		close(a.done)
	}()
	if l, err := d.have(key); l != nil || err != nil { // another attempt has ended since
		return l, err
	}
	return d.openLine(key, can, who)
}

func (d *door) openLine(key lineKey, can sdk.ClientCapabilities, who *sdk.ServerSession) (*line, error) {
	l := &line{d: d, key: key, can: can, who: who, began: time.Now(), order: sequence{open: make(chan struct{}, maxAsked)}, follows: map[string]bool{}}
	if err := l.open(can); err != nil {
		return nil, err
	}
	if key.session != "" {
		d.watch(who)
	}
	level, err := d.add(l)
	if err != nil {
		return nil, err
	}
	l.setLevel(level)
	if l.hears() {
		go l.again()
	}
	go func() { // one that the upstream ends is opened anew when it is next needed
		_ = l.Wait()
		_ = l.Close() // it may have streams still
		d.mu.Lock()
		_, ended := d.lines[l]
		delete(d.lines, l)
		d.mu.Unlock()
		if ended && l.hears() {
			d.mend(l)
		}
	}()
	return l, nil
}

func (d *door) add(l *line) (sdk.LoggingLevel, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lines == nil { // shut meanwhile
		go func() { _ = l.Close() }() // it may be gone already
		return "", errShut
	}
	d.lines[l] = !l.alone()
	return d.level, nil
}

// watch ends what was opened for a session at the door when it ends.
func (d *door) watch(who *sdk.ServerSession) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.guests == nil || d.guests[who] {
		return
	}
	d.guests[who] = true
	go func() {
		_ = who.Wait()
		d.gone(who, who.ID())
	}()
}

var errShut = errors.New("the door is closed; open a new session")

// have is a line of the door's that is free, nil if one is to be opened.
func (d *door) have(key lineKey) (*line, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lines == nil {
		return nil, errShut
	}
	for l, free := range d.lines {
		if l.key == key && free {
			d.lines[l] = !l.alone()
			return l, nil
		}
	}
	if len(d.lines) >= maxLines {
		return nil, fmt.Errorf("%s has %d sessions with its upstreams for you, and may have no more", d.name, maxLines)
	}
	return nil, nil
}

// alone reports whether a line carries one call at a time.
func (l *line) alone() bool {
	return l.key.can != "" && l.key.session == "" && l.InitializeResult().ProtocolVersion < "2026-07-28"
}

// leave gives a line back.
func (l *line) leave() {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if _, ok := l.d.lines[l]; ok {
		l.d.lines[l] = true
	}
}

// drop lets go of a line that is of no use any more.
func (d *door) drop(l *line) {
	d.mu.Lock()
	delete(d.lines, l)
	d.mu.Unlock()
	go func() { _ = l.Close() }() // it may be gone already
}

// gone ends the lines of a session at the door.
func (d *door) gone(s *sdk.ServerSession, id string) {
	d.mu.Lock()
	delete(d.guests, s)
	maps.DeleteFunc(d.pages, func(_ string, p opening) bool { return p.session == s })
	for l := range d.lines {
		if l.key.session == id {
			delete(d.lines, l)
			go func() { _ = l.Close() }() // it may be gone already
		}
	}
	var follows []following
	for _, f := range d.follows {
		if f.session == s {
			follows = append(follows, f)
		}
	}
	d.mu.Unlock()
	d.unfollow(follows...)
}

// endpoint is a joined upstream, and the path at which it speaks MCP.
func (d *door) endpoint(member string) (*backend, string, error) {
	b, err := d.g.backend(member)
	if err != nil {
		return nil, "", err
	}
	at, ok := b.connector.(connector.Endpointer)
	if !ok {
		return nil, "", fmt.Errorf("%s is no MCP upstream", member)
	}
	return b, at.Endpoint(), nil
}

// open begins the session.
func (l *line) open(can sdk.ClientCapabilities) error {
	d, member := l.d, l.key.member
	_, at, err := d.endpoint(member)
	if err != nil {
		return err
	}
	o := &sdk.ClientOptions{Capabilities: &can, ProgressNotificationHandler: l.progressed, MultiRoundTrip: &sdk.MultiRoundTripOptions{Disabled: true},
		ElicitationCompleteHandler: l.completed}
	l.listen(o)
	client := sdk.NewClient(&sdk.Implementation{Name: "lanyard", Version: "1"}, o)
	client.AddReceivingMiddleware(l.asked)
	ctx, cancel := context.WithTimeout(d.ctx, openTime) // of opening it: the session itself goes on
	defer cancel()
	l.ClientSession, err = client.Connect(ctx, &sdk.StreamableClientTransport{Endpoint: d.g.URL + "/" + member + at,
		HTTPClient: &http.Client{Transport: &inward{l}}, MaxRetries: -1}, nil)
	return err
}

// asked takes what the upstream asks of its client to whom it is for.
func (l *line) asked(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
		var q sdk.InputRequest
		switch method {
		case "elicitation/create", "sampling/createMessage":
			q, _ = req.GetParams().(sdk.InputRequest)
		case "roots/list":
			q = &sdk.ListRootsParams{}
		default:
			if slices.Contains(notifications, method) {
				defer l.order.pass()
			}
			return next(ctx, method, req)
		}
		a := l.last()
		if q == nil || a == nil {
			return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidRequest, Message: "nobody waits for an answer of yours: ask in the midst of a call"}
		}
		answer, err := a.ask(ctx, q)
		for err != nil && ctx.Err() == nil { // the call on whose stream it was asked may have ended meanwhile, and is another's then
			b := l.last()
			if b == nil || !l.over(a) {
				break
			}
			a = b
			answer, err = a.ask(ctx, q)
		}
		if err != nil {
			return nil, err
		}
		result, ok := answer.(sdk.Result)
		if !ok {
			return nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "the answer cannot be read"}
		}
		return result, nil
	}
}

// last is the call that runs on the line; of several, all of one session's, the latest.
func (l *line) last() *asker {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) == 0 {
		return nil
	}
	return l.calls[len(l.calls)-1]
}

// over reports whether a call runs no longer.
func (l *line) over(a *asker) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !slices.Contains(l.calls, a)
}

// completed passes on that a page which a person was sent to for the upstream has been seen to.
func (l *line) completed(_ context.Context, n *sdk.ElicitationCompleteNotificationRequest) {
	l.d.complete(l.key.member, n.Params.ElicitationID)
}
