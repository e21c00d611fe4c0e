package gateway

//lint:file-ignore SA1019 servers of all revisions ask for what the newest one only still allows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// In the midst of a call an upstream may ask something of the client. Revisions with
// sessions send a request of their own for it; 2026-07-28 answers the call with what is
// asked, and the client makes the call again with the answers. Each client at the door
// is asked in its own way, whichever way the upstream has. Where a client without
// sessions is asked by an upstream with sessions, the call at the upstream goes on
// meanwhile: it is parked, until the client makes the call again.

const (
	askTime   = 5 * time.Minute // for an answer
	maxAsked  = 32              // questions in the midst of one call
	maxParked = 16              // calls of one caller at a time that wait for an answer
	theOne    = "answer"        // name of the question of a parked call
)

// The state that a client brings back says whose it is, and of which upstream the call.
const (
	parkedState   = "door"
	upstreamState = "upstream"
)

func stateOf(whose, member, state string) string { return whose + ":" + member + ":" + state }

// memberOf is the upstream that a state is of, "" if it is none of ours.
func memberOf(state string) (whose, member, rest string) {
	if parts := strings.SplitN(state, ":", 3); len(parts) == 3 && (parts[0] == parkedState || parts[0] == upstreamState) {
		return parts[0], parts[1], parts[2]
	}
	return "", "", ""
}

// errand is a call at the door.
type errand struct {
	guest
	member  string
	what    string // the same in every round
	answers sdk.InputResponseMap
	state   string // that the client brought back
	token   any    // for progress, nil for none
	call    func(ctx context.Context, s *sdk.ClientSession, in sdk.InputResponseMap, state, token string) outcome
}

// outcome is how a call ended, or what is asked before it goes on.
type outcome struct {
	result   sdk.Result
	requests sdk.InputRequestMap
	state    string
	err      error
}

// asker is a call that runs on a line.
type asker struct {
	guest
	d         *door
	member    string
	ctx       context.Context
	to        progress      // where log messages go; the door's lock is held
	questions chan question // where they go, for a guest without sessions
	asked     atomic.Int32
}

type question struct {
	request sdk.InputRequest
	answer  chan sdk.InputResponse
}

// parked is a call whose client is to answer a question first.
type parked struct {
	asker
	what   string
	token  string // under which the upstream tells of progress
	open   question
	end    context.CancelFunc
	timer  *time.Timer
	result chan outcome
}

func invalidParams(format string, args ...any) error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: fmt.Sprintf(format, args...)}
}

// run makes a call at an upstream.
func (d *door) run(ctx context.Context, e errand) outcome {
	if e.state != "" {
		whose, member, rest := memberOf(e.state)
		switch {
		case member != e.member:
			return outcome{err: invalidParams("this requestState is none of ours")}
		case whose == parkedState:
			return d.resume(ctx, rest, e)
		}
		e.state = rest
	}
	var key lineKey
	key, e.can = d.at(e.member, e.guest)
	var o outcome
	for range 2 {
		l, err := d.line(key, e.can, e.session)
		if err != nil {
			return outcome{err: err}
		}
		if l.alone() {
			o = d.detached(ctx, l, e)
		} else {
			o = d.carried(ctx, l, e)
		}
		if !errors.Is(o.err, sdk.ErrSessionMissing) {
			break
		}
		d.drop(l) // the upstream has forgotten it, and so has not done what was asked
	}
	return o
}

// carried makes a call on a line, in as many rounds as it takes.
func (d *door) carried(ctx context.Context, l *line, e errand) outcome {
	a := &asker{d: d, guest: e.guest, member: e.member, ctx: ctx, to: progress{ctx: ctx, session: e.session}}
	defer l.carry(a)()
	token, done := d.follow(ctx, e.member, e.session, e.token)
	defer done()
	for range maxAsked {
		o := e.call(ctx, l.ClientSession, e.answers, e.state, token)
		d.sent(e.guest, e.member, o.err)
		if o.err != nil || o.requests == nil {
			return o
		}
		for _, q := range o.requests {
			if err := a.able(q); err != nil {
				return outcome{err: err}
			}
		}
		if e.stateless {
			o.state = stateOf(upstreamState, e.member, o.state)
			return o
		}
		answers, err := a.askAll(o.requests)
		if err != nil {
			return outcome{err: err}
		}
		e.answers, e.state = answers, o.state
	}
	return outcome{err: fmt.Errorf("%s asked more than %d times for something in the midst of one call", e.member, maxAsked)}
}

// carry has what the upstream asks go to a, until the call is over.
func (l *line) carry(a *asker) (over func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, a)
	return func() {
		l.mu.Lock()
		l.calls = slices.DeleteFunc(l.calls, func(b *asker) bool { return a == b })
		l.mu.Unlock()
		l.leave()
	}
}

// detached makes a call that may outlive the request which asked for it.
func (d *door) detached(ctx context.Context, l *line, e errand) outcome {
	p := &parked{asker: asker{d: d, guest: e.guest, member: e.member, to: progress{ctx: ctx, session: e.session}, questions: make(chan question)}, what: e.what, result: make(chan outcome, 1)}
	p.ctx, p.end = context.WithCancel(d.ctx)
	over := l.carry(&p.asker)
	token, done := d.follow(ctx, e.member, e.session, e.token)
	p.token = token
	go func() {
		o := e.call(p.ctx, l.ClientSession, nil, "", token)
		done()
		over()
		p.end()
		p.result <- o
	}()
	return d.wait(ctx, p)
}

// wait is until the call ends, or something is asked.
func (d *door) wait(ctx context.Context, p *parked) outcome {
	select {
	case o := <-p.result:
		return o
	case p.open = <-p.questions:
	case <-ctx.Done():
		p.end()
		return outcome{err: ctx.Err()}
	}
	id, err := d.g.fresh(d.g.Now())
	if err != nil {
		p.end()
		return outcome{err: err}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.parked == nil { // shut meanwhile
		p.end()
		return outcome{err: errShut}
	}
	if len(d.parked) >= maxParked {
		p.end()
		return outcome{err: fmt.Errorf("%d calls of yours wait for an answer to what was asked; answer those first", maxParked)}
	}
	p.timer = time.AfterFunc(askTime, func() {
		p.end()
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.parked, id)
	})
	d.parked[id] = p
	return outcome{requests: sdk.InputRequestMap{theOne: p.open.request}, state: stateOf(parkedState, p.member, id)}
}

// resume goes on with a parked call.
func (d *door) resume(ctx context.Context, id string, e errand) outcome {
	answer := e.answers[theOne]
	d.mu.Lock()
	p := d.parked[id]
	if p == nil || p.what != e.what || !fits(p.open.request, answer) {
		d.mu.Unlock()
		return outcome{err: invalidParams("nothing waits for this: it is another call than the one that was asked something, or no answer to that, or too late")}
	}
	delete(d.parked, id)
	p.timer.Stop()
	p.to = progress{ctx: ctx, session: e.session}
	if _, ok := d.progress[p.token]; ok && e.token != nil {
		d.progress[p.token] = progress{ctx, e.session, e.token, e.member}
	} else {
		delete(d.progress, p.token)
	}
	d.mu.Unlock()
	p.open.answer <- answer
	return d.wait(ctx, p)
}

// fits reports whether an answer is of the sort that a question asks for.
func fits(q sdk.InputRequest, answer sdk.InputResponse) (ok bool) {
	switch q.(type) {
	case *sdk.ElicitParams:
		_, ok = answer.(*sdk.ElicitResult)
	case *sdk.ListRootsParams:
		_, ok = answer.(*sdk.ListRootsResult)
	default:
		_, ok = answer.(*sdk.CreateMessageWithToolsResult)
	}
	return ok
}

// able refuses what the guest has not said that it can be asked.
func (a *asker) able(q sdk.InputRequest) error {
	ok, what := false, ""
	switch q := q.(type) {
	case *sdk.ElicitParams:
		page := q.Mode == "url" || q.Mode == "" && q.URL != ""
		if what = "elicitation"; page {
			what = "elicitation with a page to open"
		}
		c := a.can.Elicitation
		ok = c != nil && (page && c.URL != nil || !page && (c.Form != nil || c.URL == nil))
	case *sdk.ListRootsParams:
		ok, what = a.can.RootsV2 != nil, "roots"
	default:
		ok, what = a.can.Sampling != nil, "sampling"
	}
	if !ok {
		return fmt.Errorf("%s asked its client for something (%s) that this client has not said it can do", a.member, what)
	}
	return nil
}

// ask puts a question to the guest, in the guest's own way.
func (a *asker) ask(of context.Context, q sdk.InputRequest) (sdk.InputResponse, error) {
	if err := a.able(q); err != nil {
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeMethodNotFound, Message: err.Error()}
	}
	if a.asked.Add(1) > maxAsked {
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidRequest, Message: fmt.Sprintf("more than %d questions in the midst of one call", maxAsked)}
	}
	from := a.ctx
	if !a.stateless { // it may be of another call of the session's, which goes on when this one ends
		from = context.WithoutCancel(a.ctx)
	}
	ctx, cancel := context.WithTimeout(from, askTime)
	defer cancel()
	defer context.AfterFunc(of, cancel)() // the upstream may no longer want to know
	if !a.stateless {
		answer, err := a.put(ctx, q)
		if err != nil && ctx.Err() != nil {
			err = errUnanswered
		}
		return answer, err
	}
	if a.questions == nil {
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidRequest, Message: "this revision asks in its answer to the call"}
	}
	put := question{q, make(chan sdk.InputResponse, 1)}
	select {
	case a.questions <- put:
	case <-ctx.Done():
		return nil, errUnanswered
	}
	select {
	case answer := <-put.answer:
		return answer, nil
	case <-ctx.Done():
		return nil, errUnanswered
	}
}

var errUnanswered = &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "the client did not answer in time, or is gone"}

// askAll puts the questions of one round to a guest with sessions, in an order.
func (a *asker) askAll(requests sdk.InputRequestMap) (sdk.InputResponseMap, error) {
	if len(requests) == 0 {
		return nil, fmt.Errorf("%s is busy; try again later", a.member)
	}
	answers := sdk.InputResponseMap{}
	var names []string
	for name := range requests {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		answer, err := a.ask(a.ctx, requests[name])
		if err != nil {
			return nil, err
		}
		answers[name] = answer
	}
	return answers, nil
}

// put asks on the stream of the guest's request.
func (a *asker) put(ctx context.Context, q sdk.InputRequest) (sdk.InputResponse, error) {
	switch q := q.(type) {
	case *sdk.ElicitParams:
		if q.ElicitationID != "" {
			a.d.opened(a.guest, a.member, q.ElicitationID)
		}
		return answered(a.session.Elicit(ctx, q))
	case *sdk.CreateMessageWithToolsParams:
		return answered(a.session.CreateMessageWithTools(ctx, q))
	case *sdk.ListRootsParams:
		return answered(a.session.ListRoots(ctx, q))
	}
	return nil, &jsonrpc.Error{Code: jsonrpc.CodeMethodNotFound, Message: "this cannot be asked"}
}

// answered keeps a nil pointer from becoming an answer.
func answered[T sdk.InputResponse](answer T, err error) (sdk.InputResponse, error) {
	if err != nil {
		return nil, err
	}
	return answer, nil
}
