package gateway

//lint:file-ignore SA1019 clients of all revisions ask for log messages, which the newest one only still allows

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Several MCP upstreams behind one endpoint. Each caller has a door of its own: an MCP
// server of the official SDK toward it, and a session with each upstream that it may
// use, opened when it is first needed. What the caller asks for goes on to the upstream
// as a request through this same gateway (within.go), in the caller's name: it is
// decided, recorded and cut there like any other. So nothing is allowed here, and the
// two sides may speak different revisions of the protocol.

const (
	maxDoors    = 1024             // of one upstream; the one that was longest idle makes room
	maxOwnDoors = 256              // of those, for whom one root of a chain asks
	maxSessions = 256              // at one door; the one that was longest not used makes room
	doorIdle    = 15 * time.Minute // without a request, and the door is closed
	pageSize    = 100              // tools, resources or prompts in one page of a list
	maxTools    = 100              // more than that, and a caller is given a search instead of a list
	maxFound    = 20               // what a search finds at most
	openTime    = 15 * time.Second // for opening a session with an upstream
	readTime    = 30 * time.Second // for a client to take what it is told
	sessionIdle = time.Hour        // without a message, and a session at a door ends
)

// doorKey is whose a door is: all of a caller that decides what it may do, so that no
// request is made with what another may. A kill changes the generation, so it opens another.
type doorKey struct {
	chain, credential, scope, task, source string
}

type doors struct {
	mu   sync.Mutex
	open map[doorKey]*door
}

// door is what one caller sees of the upstreams that are joined.
type door struct {
	g      *Gateway
	name   string // of the upstream that joins them
	joined []string
	// Toward clients of revisions with sessions, and of those without.
	stateful, stateless http.Handler

	server *sdk.Server

	caller atomic.Pointer[caller] // with its last token
	used   atomic.Int64           // when, in nanoseconds
	inside atomic.Int64           // requests that run, streams included
	ctx    context.Context
	close  context.CancelFunc

	seats map[string]int64 // when a session was last used, by its id: the request of turn
	turn  int64

	mu       sync.Mutex
	attempts map[lineKey]*attempt        // lines that are being opened
	lines    map[*line]bool              // whether it is free for a call; nil once the door is shut
	mending  map[lineKey]bool            // lines that somebody opens anew
	guests   map[*sdk.ServerSession]bool // that have lines of their own
	parked   map[string]*parked
	progress map[string]progress // by the token that the upstream was given
	calls    int
	level    sdk.LoggingLevel // the most verbose that was asked for
	follows  []following
	pages    map[string]opening // that people were sent to, by their ids
	tending  bool               // somebody completes those that are over

	news    news
	hearing chan struct{}
	seen    []any // the ground that oversee saw
}

type progress struct {
	ctx     context.Context // of the request, on whose stream it is told
	session *sdk.ServerSession
	token   any
	member  string // the upstream that tells
}

// enter answers r at its caller's door.
func (g *Gateway) enter(r *request, j connector.Joiner) {
	d := g.door(r, j)
	d.caller.Store(&caller{r.claims, r.access, r.source})
	d.used.Store(r.start.UnixNano())
	d.inside.Add(1)
	defer func() {
		d.used.Store(g.Now().UnixNano())
		d.inside.Add(-1)
	}()
	in := r.in.WithContext(r.ctx)
	in.URL.Path, in.URL.RawPath, in.URL.RawQuery = r.path, "", ""
	handler := d.stateful
	if keeper, ok := r.backend.connector.(connector.SessionKeeper); ok {
		if _, has := keeper.Session(&r.ask); !has {
			handler = d.stateless
		}
	}
	if id := in.Header.Get(r.session); handler == d.stateful && (id != "" || r.in.Method == http.MethodPost) {
		d.seat(id)
	}
	w := &doorway{r: r, stream: tells(r.in)}
	defer w.leave()
	if r.in.Method == http.MethodGet {
		for s := range d.server.Sessions() {
			if id := in.Header.Get(r.session); id != "" && s.ID() == id {
				d.hear(guestOf(s))
			}
		}
	}
	handler.ServeHTTP(w, in)
}

// seat notes that a session is used. Where one may be about to be opened it sees to it that there are not too many.
func (d *door) seat(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn++
	if id != "" {
		d.seats[id] = d.turn
		return
	}
	seats, last := map[string]int64{}, (*sdk.ServerSession)(nil)
	for s := range d.server.Sessions() {
		if s.ID() == "" { // of one request
			continue
		}
		used, known := d.seats[s.ID()]
		if !known { // it was opened since
			used = d.turn
		}
		if seats[s.ID()] = used; last == nil || used < seats[last.ID()] {
			last = s
		}
	}
	if d.seats = seats; len(seats) >= maxSessions {
		seats[last.ID()] = math.MaxInt64 // it is ending
		go func() { _ = last.Close() }() // it waits for what runs in it
	}
}

// doorway keeps of the reply what the record needs, and gives sessions the caller's
// names. Once the request has ended it leads nowhere: its request is another's by then.
type doorway struct {
	mu     sync.Mutex
	r      *request
	stream bool // of events: it ends for who does not read it
}

// maxWrite is how much of an event is to be read within readTime.
const maxWrite = 64 << 10

func (w *doorway) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.r = nil
}

func (w *doorway) Header() http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.r == nil {
		return http.Header{}
	}
	return w.r.Header()
}

func (w *doorway) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin(status)
}

func (w *doorway) begin(status int) {
	if w.r == nil || w.r.status != 0 {
		return
	}
	if w.r.status = status; w.r.session != "" {
		w.r.rename(w.r.Header())
	}
	w.stream = w.stream || streamed(w.r.Header().Get("Content-Type"))
	w.r.WriteHeader(status)
}

func (w *doorway) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.r == nil {
		return 0, errCut
	}
	w.begin(http.StatusOK)
	n := 0
	for {
		piece := b[n:min(len(b), n+maxWrite)]
		done := w.hurry()
		more, err := w.r.Write(piece)
		done()
		if n += more; err != nil || n == len(b) {
			return n, err
		}
	}
}

// hurry bounds how long a stream waits for its client to read.
func (w *doorway) hurry() (done func()) {
	if !w.stream {
		return func() {}
	}
	set := func(t time.Time) {
		_ = w.r.within(t) // one without deadlines is none of net/http
	}
	set(time.Now().Add(readTime))
	return func() { set(time.Time{}) }
}

func (w *doorway) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.r != nil {
		defer w.hurry()()
		_ = http.NewResponseController(w.r.w).Flush() // one that cannot be flushed is none of net/http
	}
}

func (g *Gateway) door(r *request, j connector.Joiner) *door {
	c := r.claims
	key := doorKey{fmt.Sprint(c.Chain), c.Credential, c.Scope, c.Task, r.source}
	b := r.backend
	b.doors.mu.Lock()
	defer b.doors.mu.Unlock()
	if d := b.doors.open[key]; d != nil {
		return d
	}
	b.doors.makeRoom(r.start, c.Chain.Root())
	d := &door{g: g, name: r.name, joined: j.Members(),
		lines: map[*line]bool{}, mending: map[lineKey]bool{}, attempts: map[lineKey]*attempt{}, guests: map[*sdk.ServerSession]bool{}, parked: map[string]*parked{}, progress: map[string]progress{}, seats: map[string]int64{}, hearing: make(chan struct{}, maxHearing)}
	d.caller.Store(&caller{r.claims, r.access, r.source})
	d.used.Store(r.start.UnixNano())
	d.seen = d.ground()
	d.ctx, d.close = context.WithCancel(context.Background())
	server := sdk.NewServer(&sdk.Implementation{Name: r.name, Title: "Lanyard", Version: "1"}, &sdk.ServerOptions{
		Capabilities: &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{ListChanged: true}, Resources: &sdk.ResourceCapabilities{ListChanged: true, Subscribe: true},
			Prompts: &sdk.PromptCapabilities{ListChanged: true}, Completions: &sdk.CompletionCapabilities{}, Logging: &sdk.LoggingCapabilities{}},
		SubscribeHandler: d.subscribe, UnsubscribeHandler: d.unsubscribe,
		SetCacheable: func(_ context.Context, _ sdk.Request, c *sdk.Cacheable) { c.CacheScope, c.TTLMs = "private", 0 },
	})
	server.AddReceivingMiddleware(d.answer)
	d.server = server
	same := func(*http.Request) *sdk.Server { return server }
	d.stateful = sdk.NewStreamableHTTPHandler(same, &sdk.StreamableHTTPOptions{SessionTimeout: sessionIdle, DisableLocalhostProtection: true})
	d.stateless = sdk.NewStreamableHTTPHandler(same, &sdk.StreamableHTTPOptions{Stateless: true, DisableLocalhostProtection: true, PropagateRequestCancellation: true})
	if b.doors.open == nil {
		b.doors.open = map[doorKey]*door{}
	}
	g.overseen.Do(func() { go g.oversee() })
	b.doors.open[key] = d
	return d
}

// sweepDoors closes what nobody has used for long.
func (g *Gateway) sweepDoors() {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, b := range g.backends {
		b.doors.mu.Lock()
		b.doors.makeRoom(g.Now(), identity.ID{})
		b.doors.mu.Unlock()
	}
}

// makeRoom closes the doors that nobody uses any more, and where there are too many, or root has, one. The caller holds the lock.
func (all *doors) makeRoom(now time.Time, root identity.ID) {
	var each, own oldest
	for key, d := range all.open {
		used := d.used.Load()
		if now.UnixNano()-used > int64(doorIdle) && d.inside.Load() == 0 {
			d.shut()
			delete(all.open, key)
			continue
		}
		each.see(key, used)
		if d.caller.Load().claims.Chain.Root() == root {
			own.see(key, used)
		}
	}
	if own.n >= maxOwnDoors {
		each = own
	} else if each.n < maxDoors {
		return
	}
	all.open[each.key].shut()
	delete(all.open, each.key)
}

// oldest is the door that was longest not used, of n.
type oldest struct {
	key  doorKey
	used int64
	n    int
}

func (o *oldest) see(key doorKey, used int64) {
	if o.n++; o.n == 1 || used < o.used {
		o.key, o.used = key, used
	}
}

func (all *doors) shut() {
	all.mu.Lock()
	defer all.mu.Unlock()
	for key, d := range all.open {
		d.shut()
		delete(all.open, key)
	}
}

// shut ends the door's sessions with the upstreams.
func (d *door) shut() {
	d.mu.Lock()
	lines := d.lines
	for _, p := range d.parked {
		p.timer.Stop()
	}
	d.lines, d.guests, d.parked, d.pages = nil, nil, nil, nil
	d.mu.Unlock()
	go func() { // each says goodbye to its upstream, which may be slow
		for l := range lines {
			_ = l.Close() // it may be gone already
		}
		d.close()
		for s := range d.server.Sessions() {
			go func() { _ = s.Close() }() // it waits for what runs in it
		}
	}()
}

// answer sees to what is asked at the door. What is left to next are steps of the protocol.
func (d *door) answer(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, req sdk.Request) (_ sdk.Result, err error) {
		defer func() { // it runs in a goroutine of the SDK's, where a panic would end the process
			if p := recover(); p != nil {
				d.g.Log.Error("panic", "door", d.name, "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				err = &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "internal error"}
			}
			if said := (*jsonrpc.Error)(nil); errors.As(err, &said) { // as the upstream said it: wrapped, the SDK leaves out its data
				err = said
			}
		}()
		who := guestOf(req.GetSession())
		if who.stateless {
			if p := req.GetParams(); p != nil && !reflect.ValueOf(p).IsNil() {
				if level, ok := p.GetMeta()[sdk.MetaKeyLogLevel].(string); ok {
					d.verbose(sdk.LoggingLevel(level))
				}
			}
		}
		switch p := req.GetParams().(type) {
		case *sdk.ListToolsParams:
			return d.listTools(ctx, who, from(p))
		case *sdk.CallToolParamsRaw:
			return d.callTool(ctx, who, p)
		case *sdk.ListResourcesParams:
			return d.listResources(ctx, who, from(p))
		case *sdk.ListResourceTemplatesParams:
			return d.listTemplates(ctx, who, from(p))
		case *sdk.ReadResourceParams:
			return d.readResource(ctx, who, p)
		case *sdk.ListPromptsParams:
			return d.listPrompts(ctx, who, from(p))
		case *sdk.GetPromptParams:
			return d.getPrompt(ctx, who, p)
		case *sdk.CompleteParams:
			return d.completion(ctx, who, p)
		case *sdk.SubscriptionsListenParams:
			d.hear(who)
		case *sdk.SetLoggingLevelParams:
			if slices.Contains(levels, p.Level) {
				d.verbose(p.Level)
			}
		}
		return next(ctx, method, req)
	}
}

// to finds the upstream that a name at the door is of, and its name there.
func (d *door) to(name string) (member, inner string, _ error) {
	member, inner, ok := strings.Cut(name, "__")
	if ok && slices.Contains(d.joined, member) {
		return member, inner, nil
	}
	return "", "", &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: fmt.Sprintf("%.80q is nothing that %s has: names are <upstream>__<name>, and %s lists them", name, d.name, d.name)}
}

// progressed passes on how far an upstream has come with a call that it was given.
func (l *line) progressed(_ context.Context, n *sdk.ProgressNotificationClientRequest) {
	l.d.mu.Lock()
	to, ok := l.d.progress[fmt.Sprint(n.Params.ProgressToken)]
	l.d.mu.Unlock()
	if ok && to.member == l.key.member {
		p := *n.Params
		p.ProgressToken = to.token
		_ = to.session.NotifyProgress(to.ctx, &p) // who asked may have gone
	}
}

// follow has an upstream's progress come back to the caller under its own token, if it gave one, until done is called.
func (d *door) follow(ctx context.Context, member string, session *sdk.ServerSession, token any) (ours string, done func()) {
	if token == nil || session == nil {
		return "", func() {}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	ours = fmt.Sprint(d.calls)
	d.progress[ours] = progress{ctx, session, token, member}
	return ours, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.progress, ours)
	}
}
