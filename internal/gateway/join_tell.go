package gateway

//lint:file-ignore SA1019 servers of all revisions send log messages, which the newest one only still allows

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// What the upstreams tell without being asked (that a list or a resource has changed, log
// messages), and that here it was changed what the caller may do, goes to those who listen at the
// caller's door: sessions on their stream, clients of 2026-07-28 that called
// subscriptions/listen. A door has one caller, so nobody hears what is another's. What comes
// quickly is told together, what nobody takes is dropped.

const (
	tellEvery   = 250 * time.Millisecond // what comes within that is told together
	maxTold     = 256                    // log messages that wait to be told
	maxFollowed = 64                     // resources that one caller follows at an endpoint
	mendTime    = 5 * time.Second        // before a session with an upstream that ended is opened anew for who listens; doubled each time that it is in vain
	mendMost    = 5 * time.Minute        // between two tries
	viewTime    = 100 * time.Millisecond // changes of grants and upstreams within that are looked at together
	maxHearing  = 4                      // that begin to listen at a door at one time
	levelTime   = 5 * time.Second        // for an upstream to take a log level
)

// Lists that can change.
const (
	toolList = iota
	promptList
	resourceList
)

// news is what is to be told at a door.
type news struct {
	mu      sync.Mutex
	telling bool // somebody sees to it
	lists   [3]bool
	uris    map[string]bool
	logs    []*sdk.LoggingMessageParams
}

// following is a session at the door, or a call of subscriptions/listen, that follows a resource.
type following struct {
	uri     string
	session *sdk.ServerSession
}

func (d *door) tell(put func(*news)) {
	n := &d.news
	n.mu.Lock()
	defer n.mu.Unlock()
	put(n)
	if !n.telling {
		n.telling = true
		time.AfterFunc(tellEvery, d.deliver)
	}
}

func (d *door) changed(lists ...int) {
	d.tell(func(n *news) {
		for _, i := range lists {
			n.lists[i] = true
		}
	})
}

// deliver tells what there is, and comes again until there is nothing.
func (d *door) deliver() {
	n := &d.news
	n.mu.Lock()
	lists, uris, logs := n.lists, n.uris, n.logs
	n.lists, n.uris, n.logs = [3]bool{}, nil, nil
	if n.telling = lists != [3]bool{} || uris != nil || logs != nil; n.telling {
		defer time.AfterFunc(tellEvery, d.deliver)
	}
	n.mu.Unlock()
	d.toggle(lists)
	for uri := range uris {
		_ = d.server.ResourceUpdated(d.ctx, &sdk.ResourceUpdatedNotificationParams{URI: uri}) // who followed it may have gone
	}
	for _, p := range logs {
		for s := range d.server.Sessions() {
			if !guestOf(s).stateless { // they are told within their calls
				_ = s.Log(d.ctx, p) // it may have gone
			}
		}
	}
}

// toggle has the SDK tell that lists have changed, which it does when what its server has
// does. Nobody is shown what that is: answer sees to every list and call.
func (d *door) toggle(lists [3]bool) {
	const blank = "lanyard.blank"
	if lists[toolList] {
		d.server.AddTool(&sdk.Tool{Name: blank, InputSchema: json.RawMessage(`{"type":"object"}`)}, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) { return nil, errShut })
		d.server.RemoveTools(blank)
	}
	if lists[promptList] {
		d.server.AddPrompt(&sdk.Prompt{Name: blank}, func(context.Context, *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) { return nil, errShut })
		d.server.RemovePrompts(blank)
	}
	if lists[resourceList] {
		d.server.AddResource(&sdk.Resource{Name: blank, URI: "lanyard:blank"}, func(context.Context, *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) { return nil, errShut })
		d.server.RemoveResources("lanyard:blank")
	}
}

// hears reports whether what an upstream tells of itself is heard on l. On a line for one call it is not: another line of its door hears it.
func (l *line) hears() bool { return l.key.can == "" || l.key.session != "" }

// listen has what the upstream tells come to the door.
func (l *line) listen(o *sdk.ClientOptions) {
	o.LoggingMessageHandler = l.logged
	if !l.hears() {
		return
	}
	o.ToolListChangedHandler = func(context.Context, *sdk.ToolListChangedRequest) { l.d.changed(toolList) }
	o.PromptListChangedHandler = func(context.Context, *sdk.PromptListChangedRequest) { l.d.changed(promptList) }
	o.ResourceListChangedHandler = func(context.Context, *sdk.ResourceListChangedRequest) { l.d.changed(resourceList) }
	o.ResourceUpdatedHandler = l.updated
}

// updated passes on that a resource has changed which somebody follows, and the caller may read.
func (l *line) updated(_ context.Context, n *sdk.ResourceUpdatedNotificationRequest) {
	uri := n.Params.URI
	l.d.mu.Lock()
	followed := slices.ContainsFunc(l.d.follows, func(f following) bool { return f.uri == uri })
	l.d.mu.Unlock()
	if followed && l.d.mayResource(l.key.member, "resources/read", uri) == nil {
		l.d.tell(func(n *news) {
			if n.uris == nil {
				n.uris = map[string]bool{}
			}
			n.uris[uri] = true
		})
	}
}

// logged passes on a log message: to whom the calls are for that run on the line, or, between calls, to the
// sessions at the door. The SDK holds back what is below the level that each has asked for.
func (l *line) logged(_ context.Context, n *sdk.LoggingMessageRequest) {
	p := *n.Params
	p.Meta = nil
	if p.Logger == "" {
		p.Logger = l.key.member
	} else {
		p.Logger = l.key.member + "__" + p.Logger
	}
	l.mu.Lock()
	calls := slices.Clone(l.calls)
	l.mu.Unlock()
	told := map[*sdk.ServerSession]bool{}
	for _, a := range slices.Backward(calls) {
		l.d.mu.Lock()
		to := a.to
		l.d.mu.Unlock()
		if to.session != nil && !told[to.session] {
			told[to.session] = true
			_ = to.session.Log(to.ctx, &p) // who asked may have gone
		}
	}
	if len(calls) == 0 && l.hears() {
		l.d.tell(func(n *news) {
			if len(n.logs) < maxTold {
				n.logs = append(n.logs, &p)
			}
		})
	}
}

// levels are the log levels, the most verbose first.
var levels = []sdk.LoggingLevel{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

// verbose has the upstreams log at that level at least, for as long as the door is open.
func (d *door) verbose(level sdk.LoggingLevel) {
	at := slices.Index(levels, level)
	d.mu.Lock()
	if at < 0 || d.level != "" && at >= slices.Index(levels, d.level) {
		d.mu.Unlock()
		return
	}
	d.level = level
	var lines []*line
	for l := range d.lines {
		lines = append(lines, l)
	}
	d.mu.Unlock()
	for _, l := range lines {
		l.setLevel(level)
	}
}

// setLevel tells an upstream with sessions, if it logs at all; others are told with each call.
func (l *line) setLevel(level sdk.LoggingLevel) {
	r := l.InitializeResult()
	if level == "" || r.ProtocolVersion >= "2026-07-28" || r.Capabilities == nil || r.Capabilities.Logging == nil {
		return
	}
	ctx, cancel := context.WithTimeout(l.d.ctx, levelTime)
	defer cancel()
	if err := l.SetLoggingLevel(ctx, &sdk.SetLoggingLevelParams{Level: level}); err != nil {
		l.d.g.Log.Debug("a joined upstream's log level", "upstream", l.key.member, "door", l.d.name, "error", err)
	}
}

// onward is what of a message's metadata goes on to an upstream, with the log level where it is said with each call.
func (d *door) onward(m sdk.Meta, s *sdk.ClientSession) sdk.Meta {
	out := onward(m)
	if s.InitializeResult().ProtocolVersion < "2026-07-28" {
		return out
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.level != "" {
		if out == nil {
			out = sdk.Meta{}
		}
		out[sdk.MetaKeyLogLevel] = string(d.level)
	}
	return out
}

// hear opens a line to each upstream, so that what it tells is heard though nothing was asked yet.
func (d *door) hear(who guest) {
	select {
	case d.hearing <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-d.hearing }()
		d.each(who, func(string, *line) {})
	}()
}

// mend opens a line anew that has ended, for as long as somebody misses it. One that did not last longer than it was waited for was opened in vain.
func (d *door) mend(l *line) {
	wait := mendTime
	if waited := time.Duration(l.waited.Load()); time.Since(l.began) < waited {
		wait = longer(waited)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lines == nil || d.mending[l.key] { // shut, or somebody sees to it
		return
	}
	d.mending[l.key] = true
	go func() {
		next := d.reopened(l, wait)
		d.mu.Lock()
		delete(d.mending, l.key)
		_, open := d.lines[next]
		d.mu.Unlock()
		if next != nil && !open { // it ended while it was this one that saw to it
			d.mend(next)
		}
	}()
}

// reopened is the line that takes the place of l, nil if there is none any more.
func (d *door) reopened(l *line, wait time.Duration) *line {
	for ; ; wait = longer(wait) {
		select {
		case <-time.After(wait):
		case <-d.ctx.Done():
			return nil
		}
		if !d.misses(l) {
			return nil
		}
		next, err := d.line(l.key, l.can, l.who)
		if err != nil {
			continue
		}
		next.waited.Store(int64(wait))
		next.leave()
		d.changed(toolList, promptList, resourceList) // nobody knows what was missed
		return next
	}
}

// longer is how long is waited after wait was in vain.
func longer(wait time.Duration) time.Duration { return min(2*wait, mendMost) }

// misses reports whether somebody listens who would miss what is heard on a line.
func (d *door) misses(l *line) bool {
	d.mu.Lock()
	wanted := d.lines != nil && d.inside.Load() > 0 && (l.key.session == "" || d.guests[l.who])
	d.mu.Unlock()
	return wanted && d.stands(l.key.member)
}

// stands reports whether the caller may still ask, and an upstream be asked.
func (d *door) stands(member string) bool {
	u, ok := d.g.View.Upstream(member)
	return ok && !u.Killed && d.g.View.Check(*d.caller.Load().claims, d.g.Now()) == nil
}

// subscribe follows a resource for a session, or a call of subscriptions/listen.
func (d *door) subscribe(ctx context.Context, r *sdk.SubscribeRequest) error {
	f := following{r.Params.URI, r.Session}
	d.mu.Lock()
	switch {
	case d.lines == nil:
		d.mu.Unlock()
		return errShut
	case !slices.Contains(d.follows, f) && len(d.follows) >= maxFollowed:
		d.mu.Unlock()
		return invalidParams("you follow %d resources of %s, and may follow no more", maxFollowed, d.name)
	case !slices.Contains(d.follows, f):
		d.follows = append(d.follows, f)
	}
	d.mu.Unlock()
	who := guestOf(r.Session)
	if who.stateless {
		who = guest{}
	} else {
		d.watch(r.Session)
	}
	err, followed := invalidParams("no joined upstream lets this resource be followed"), false
	for _, member := range d.joined { // a URI does not say whose it is
		if no := d.mayResource(member, "resources/subscribe", f.uri); no != nil {
			err = no
			continue
		}
		key, can := d.at(member, who)
		l, no := d.line(key, can, who.session)
		if no == nil {
			no = l.follow(ctx, f.uri)
			l.leave()
		}
		if no != nil {
			err = no
			continue
		}
		followed = true
	}
	if followed {
		return nil
	}
	d.unfollow(f)
	return err
}

func (d *door) unsubscribe(_ context.Context, r *sdk.UnsubscribeRequest) error {
	d.unfollow(following{r.Params.URI, r.Session})
	return nil
}

// unfollow lets the upstreams know when nobody follows a resource any more.
func (d *door) unfollow(which ...following) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range which {
		d.follows = slices.DeleteFunc(d.follows, func(o following) bool { return o == f })
		if slices.ContainsFunc(d.follows, func(o following) bool { return o.uri == f.uri }) {
			continue
		}
		for l := range d.lines {
			if !l.follows[f.uri] {
				continue
			}
			delete(l.follows, f.uri)
			go func() {
				ctx, cancel := context.WithTimeout(d.ctx, levelTime)
				defer cancel()
				_ = l.Unsubscribe(ctx, &sdk.UnsubscribeParams{URI: f.uri}) // it may be gone already
			}()
		}
	}
}

// follow asks the upstream, once on a line, to tell of a resource.
func (l *line) follow(ctx context.Context, uri string) error {
	if c := l.InitializeResult().Capabilities; c == nil || c.Resources == nil || !c.Resources.Subscribe {
		return invalidParams("%s lets no resource be followed", l.key.member)
	}
	l.d.mu.Lock()
	had := l.follows[uri]
	l.follows[uri] = true
	l.d.mu.Unlock()
	if had {
		return nil
	}
	err := l.Subscribe(ctx, &sdk.SubscribeParams{URI: uri})
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if err != nil {
		delete(l.follows, uri)
	}
	if _, open := l.d.lines[l]; !open {
		go func() { _ = l.Close() }() // once more, for what it has just begun
	}
	return err
}

// again follows on a new line what was followed on the one before.
func (l *line) again() {
	l.d.mu.Lock()
	follows := slices.Clone(l.d.follows)
	l.d.mu.Unlock()
	ctx, cancel := context.WithTimeout(l.d.ctx, openTime)
	defer cancel()
	for _, f := range follows {
		who := guestOf(f.session)
		if who.stateless {
			who = guest{}
		}
		if key, _ := l.d.at(l.key.member, who); key == l.key && l.d.mayResource(l.key.member, "resources/subscribe", f.uri) == nil {
			_ = l.follow(ctx, f.uri) // the next look tells
		}
	}
}

// mayResource says why the caller may not do something with a resource of an upstream's, or nil.
func (d *door) mayResource(member, method, uri string) error {
	b, at, err := d.endpoint(member)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": map[string]any{"uri": uri}})
	if err != nil {
		return err
	}
	call, err := b.recognise(&connector.Request{Method: http.MethodPost, Path: at, Header: http.Header{"Content-Type": {"application/json"}}, Body: body})
	if err != nil {
		return err
	}
	c := d.caller.Load()
	var by sets
	decision, err := d.g.judge(c.claims, policy.Request{Call: call, Upstream: b.upstream, Now: d.g.Now(), Source: c.source, Chain: c.claims.Chain}, &by)
	if err != nil {
		return err
	}
	if !decision.Allow || !inScope(c.claims.Scope, call.Class) {
		return &jsonrpc.Error{Code: mcp.Denied, Message: fmt.Sprintf("%s of %s is not allowed: %s", call.Action, member, decision.Reason)}
	}
	return nil
}

// ground is what decides what is shown at the door: other values, and the lists may be others.
func (d *door) ground() []any {
	c := d.caller.Load()
	var all []any
	for _, member := range d.joined {
		u, _ := d.g.View.Upstream(member)
		all = append(all, u)
	}
	for _, l := range c.claims.Chain {
		s, ok := d.g.View.Subject(l.ID)
		if !ok {
			return nil
		}
		set, err := s.Set()
		if err != nil {
			return nil
		}
		all = append(all, set)
	}
	t, _ := d.g.View.Task(c.claims.Task)
	return append(all, t)
}

// oversee tells those who listen at doors when what they are shown may have changed here.
func (g *Gateway) oversee() {
	for {
		more := g.View.Changed() // before the look, so that nothing falls between
		for _, d := range g.doors() {
			now := d.ground()
			if d.seen != nil && !slices.Equal(now, d.seen) && d.inside.Load() > 0 {
				d.changed(toolList, promptList, resourceList)
				d.hear(guest{})
			}
			d.seen = now
			d.decided()
		}
		select {
		case <-more:
		case <-g.done:
			return
		}
		select {
		case <-time.After(viewTime):
		case <-g.done:
			return
		}
	}
}

// doors are all that are open.
func (g *Gateway) doors() (all []*door) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, b := range g.backends {
		b.doors.mu.Lock()
		for _, d := range b.doors.open {
			all = append(all, d)
		}
		b.doors.mu.Unlock()
	}
	return all
}
