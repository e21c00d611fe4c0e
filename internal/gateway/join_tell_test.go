package gateway

//lint:file-ignore SA1019 servers of all revisions send log messages, which the newest one only still allows

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// talkative is an MCP server that tells of itself.
func talkative(version string) *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "talkative", Version: "1"}, &sdk.ServerOptions{SupportedProtocolVersions: []string{version},
		Capabilities:       &sdk.ServerCapabilities{Logging: &sdk.LoggingCapabilities{}, Prompts: &sdk.PromptCapabilities{ListChanged: true}, Resources: &sdk.ResourceCapabilities{ListChanged: true, Subscribe: true}},
		SubscribeHandler:   func(context.Context, *sdk.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *sdk.UnsubscribeRequest) error { return nil }})
	sdk.AddTool(s, &sdk.Tool{Name: "say", Description: "Says."}, func(ctx context.Context, r *sdk.CallToolRequest, in order) (*sdk.CallToolResult, any, error) {
		for _, level := range []sdk.LoggingLevel{"debug", "warning"} {
			if err := r.Session.Log(ctx, &sdk.LoggingMessageParams{Level: level, Logger: "kitchen", Data: string(level) + " " + in.Dish}); err != nil {
				return nil, nil, err
			}
		}
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "said"}}}, nil, nil
	})
	for _, uri := range []string{"menu://today", "menu://secret"} {
		s.AddResource(&sdk.Resource{Name: "menu", URI: uri}, func(context.Context, *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
			return &sdk.ReadResourceResult{}, nil
		})
	}
	return s
}

// keep has the sessions of a server end when the test does, and no sooner: on a busy machine those that
// end because nobody calls for a while would end in the midst of it.
func keep(t *testing.T, s *sdk.Server) {
	t.Cleanup(func() {
		for session := range s.Sessions() {
			session.Close()
		}
	})
}

// gossip is a world with a talkative server behind it, and behind a joined endpoint.
func gossip(t *testing.T, version string) (*world, *sdk.Server, func(streams int64)) {
	s, n := talkative(version), new(atomic.Int64)
	own := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, &sdk.StreamableHTTPOptions{Stateless: version == withoutSessions})
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tells(r) {
			w = &opened{ResponseWriter: w, n: n}
		}
		own.ServeHTTP(w, r)
	}), func(c *Config) {
		c.Families = append(c.Families, mcp.Family(), mcp.JoinFamily())
	})
	keep(t, s)
	w.applyUpstream(&policy.Upstream{Name: "talk", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "mcp", Version: 1,
		Description: []byte(`{"path":"/mcp","tools":[{"name":"say","description":"Says.","inputSchema":{"type":"object","properties":{"dish":{"type":"string"}},"required":["dish"],"additionalProperties":false}}]}`)})
	w.applyUpstream(&policy.Upstream{Name: "office", Owner: "maya", Environment: "production", Family: "join", Description: []byte("talk\n"), Version: 1})
	for _, who := range []string{"bot", "other"} {
		if who == "other" {
			w.enrol(who)
		}
		for _, u := range []string{"talk", "office"} {
			grant := all(who)
			grant.ID, grant.Upstream = who+"/"+u, u
			if u == "talk" {
				grant.Cedar = `permit(principal, action, resource) unless { context.args has uri && context.args.uri == "menu://secret" };`
			}
			w.apply(feed.Change{Grant: grant})
		}
	}
	return w, s, func(streams int64) {
		t.Helper()
		eventually(t, "the endpoint listens to its server", func() bool { return n.Load() >= streams })
	}
}

// ear is what a client was told.
type ear struct {
	mu    sync.Mutex
	heard []string
}

func (e *ear) hear(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, what)
}

func (e *ear) has(what string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.heard, func(s string) bool { return strings.Contains(s, what) })
}

// listener is a client of somebody's at the joined endpoint that listens.
func (w *world) listener(ctx context.Context, who, version string) (*sdk.ClientSession, *ear) {
	w.t.Helper()
	e := &ear{}
	claims := w.claims(who)
	claims.Audience = testScope + "/office"
	raw := w.mint(claims)
	client := sdk.NewClient(&sdk.Implementation{Name: who, Version: "1"}, &sdk.ClientOptions{
		ToolListChangedHandler:     func(context.Context, *sdk.ToolListChangedRequest) { e.hear("tools") },
		PromptListChangedHandler:   func(context.Context, *sdk.PromptListChangedRequest) { e.hear("prompts") },
		ResourceListChangedHandler: func(context.Context, *sdk.ResourceListChangedRequest) { e.hear("resources") },
		ResourceUpdatedHandler: func(_ context.Context, r *sdk.ResourceUpdatedNotificationRequest) {
			e.hear("updated " + r.Params.URI)
		},
		LoggingMessageHandler: func(_ context.Context, r *sdk.LoggingMessageRequest) {
			e.hear(fmt.Sprint(r.Params.Logger, " ", r.Params.Data))
		},
	})
	session, err := client.Connect(ctx, &sdk.StreamableClientTransport{Endpoint: w.front.URL + "/office/mcp", MaxRetries: -1,
		HTTPClient: &http.Client{Transport: carrying(raw)}}, &sdk.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { session.Close() })
	return session, e
}

// opened is a stream that counts itself when its server begins it.
type opened struct {
	http.ResponseWriter
	once sync.Once
	n    *atomic.Int64
}

func (o *opened) Flush() {
	_ = http.NewResponseController(o.ResponseWriter).Flush()
	o.once.Do(func() { o.n.Add(1) })
}

// TestNews: what a joined server tells reaches whoever listens, in every mix of revisions, and nobody else.
func TestNews(t *testing.T) {
	t.Parallel()
	before := runtime.NumGoroutine()
	for _, upstream := range []string{withSessions, withoutSessions} {
		for _, version := range []string{"2025-03-26", "2025-06-18", withSessions, withoutSessions} {
			t.Run(version+" to "+upstream, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				w, server, listens := gossip(t, upstream)
				s, e := w.listener(ctx, "bot", version)
				_, other := w.listener(ctx, "other", version)
				if c := s.InitializeResult().Capabilities; !c.Tools.ListChanged || !c.Prompts.ListChanged || !c.Resources.ListChanged || !c.Resources.Subscribe || c.Logging == nil {
					t.Errorf("it says it can %+v", c)
				}
				listens(2)
				for name, change := range map[string]func(){
					"tools":     func() { server.AddTool(&sdk.Tool{Name: "new", InputSchema: json.RawMessage(`{"type":"object"}`)}, nil) },
					"prompts":   func() { server.AddPrompt(&sdk.Prompt{Name: "new"}, nil) },
					"resources": func() { server.AddResource(&sdk.Resource{Name: "new", URI: "menu://new"}, nil) },
				} {
					change()
					eventually(t, name+" have changed", func() bool { return e.has(name) && other.has(name) })
				}
				if l, err := s.ListTools(ctx, nil); err != nil || len(l.Tools) != 1 || l.Tools[0].Name != "talk__say" {
					t.Errorf("the list: %v %v", l, err)
				}

				if err := s.Subscribe(ctx, &sdk.SubscribeParams{URI: "menu://today"}); err != nil {
					t.Fatal(err)
				}
				if err := s.Subscribe(ctx, &sdk.SubscribeParams{URI: "menu://secret"}); version != withoutSessions && (err == nil || !strings.Contains(err.Error(), "not allowed")) {
					t.Errorf("it follows what it may not read: %v", err)
				}
				eventually(t, "an update", func() bool {
					for _, uri := range []string{"menu://secret", "menu://today"} {
						if err := server.ResourceUpdated(ctx, &sdk.ResourceUpdatedNotificationParams{URI: uri}); err != nil {
							t.Error(err)
						}
					}
					return e.has("updated menu://today")
				})
				if e.has("secret") || other.has("updated") {
					t.Errorf("told: %q, another: %q", e.heard, other.heard)
				}

				meta := sdk.Meta{}
				if version == withoutSessions {
					meta[sdk.MetaKeyLogLevel] = "warning"
				} else if err := s.SetLoggingLevel(ctx, &sdk.SetLoggingLevelParams{Level: "warning"}); err != nil {
					t.Fatal(err)
				}
				for n := range 8 {
					dish := fmt.Sprint("soup ", n)
					if _, err := s.CallTool(ctx, &sdk.CallToolParams{Meta: meta, Name: "talk__say", Arguments: order{dish}}); err != nil {
						t.Fatal(err)
					}
					eventually(t, "the log of "+dish, func() bool { return e.has("talk__kitchen warning " + dish) })
				}
				if e.has("debug") || other.has("kitchen") {
					t.Errorf("told: %q, another: %q", e.heard, other.heard)
				}

				w.apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: []identity.ID{id("bot")}, At: time.Now()}})
				e.mu.Lock()
				e.heard = nil
				e.mu.Unlock()
				other.mu.Lock()
				other.heard = nil
				other.mu.Unlock()
				var said time.Time
				eventually(t, "the other is told", func() bool { // what a server says while its stream is being made anew, nobody hears
					if time.Since(said) > 3*time.Second { // it says what changes in quick succession once, at the end
						said = time.Now()
						server.AddTool(&sdk.Tool{Name: "newer", InputSchema: json.RawMessage(`{"type":"object"}`)}, nil)
						server.RemoveTools("new", "newer")
					}
					return other.has("tools")
				})
				e.mu.Lock()
				defer e.mu.Unlock()
				if len(e.heard) > 0 {
					t.Errorf("after the kill it is told %q", e.heard)
				}
			})
		}
	}
	eventually(t, "everything that was started has ended", func() bool {
		http.DefaultClient.CloseIdleConnections()
		return runtime.NumGoroutine() <= before+2
	})
}

// TestNewsHere: when what a caller may do changes here, its clients are told that their lists have, and no others.
func TestNewsHere(t *testing.T) {
	for _, version := range []string{withSessions, withoutSessions} {
		t.Run(version, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			w, _, listens := gossip(t, withoutSessions)
			_, e := w.listener(ctx, "bot", version)
			_, other := w.listener(ctx, "other", version)
			listens(2)
			grant := all("bot")
			grant.ID, grant.Upstream = "bot/more", "talk"
			w.apply(feed.Change{Grant: grant})
			eventually(t, "a grant", func() bool { return e.has("tools") && e.has("prompts") && e.has("resources") })
			if other.has("") {
				t.Errorf("another is told %q", other.heard)
			}
			u, _ := w.view.Upstream("talk")
			next := *u
			next.Version++
			w.applyUpstream(&next)
			eventually(t, "a catalogue", func() bool { return other.has("tools") })
		})
	}
}

// TestForgotten: a session that a joined server has forgotten is opened anew, and the call is made in it.
func TestForgotten(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	w, server, listens := gossip(t, withSessions)
	s, _ := w.listener(ctx, "bot", withoutSessions)
	listens(1)
	for range 3 {
		if text := said(s.CallTool(ctx, &sdk.CallToolParams{Name: "talk__say", Arguments: order{"soup"}})); text != "said" {
			t.Fatal(text)
		}
		for one := range server.Sessions() {
			if err := one.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestIdleEnded: a server that ends its idle sessions is listened to in a new one, with nobody calling, and what was followed is followed on.
func TestIdleEnded(t *testing.T) {
	t.Parallel()
	before := runtime.NumGoroutine()
	t.Run("ends", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		w, server, listens := gossip(t, withSessions)
		s, e := w.listener(ctx, "bot", withSessions)
		listens(1)
		if err := s.Subscribe(ctx, &sdk.SubscribeParams{URI: "menu://today"}); err != nil {
			t.Fatal(err)
		}
		end := func() {
			for one := range server.Sessions() {
				if err := one.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		end()
		listens(2)
		eventually(t, "what it followed is told", func() bool {
			_ = server.ResourceUpdated(ctx, &sdk.ResourceUpdatedNotificationParams{URI: "menu://today"})
			return e.has("updated menu://today")
		})
		w.apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: []identity.ID{id("bot")}, At: time.Now()}})
		end()
	})
	eventually(t, "everything that was started has ended", func() bool {
		http.DefaultClient.CloseIdleConnections()
		return runtime.NumGoroutine() <= before+2
	})
}

// TestMissed: a line that ended is opened anew for those who listen alone, later each time, and for nobody who is killed or gone.
func TestMissed(t *testing.T) {
	t.Parallel()
	w, _, listens := gossip(t, withSessions)
	_, _ = w.listener(t.Context(), "bot", withSessions)
	listens(1)
	d := w.g.doors()[0]
	var l *line
	eventually(t, "it has a line", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		for l = range d.lines {
		}
		return l != nil
	})
	if !d.misses(l) {
		t.Error("nobody misses what is listened to")
	}
	wait := mendTime
	for range 20 {
		if next := longer(wait); next < wait || next > mendMost || next == wait && next != mendMost {
			t.Errorf("%v comes after %v", next, wait)
		} else {
			wait = next
		}
	}
	for _, c := range []struct {
		session string
		began   time.Time
		down    bool
		want    int
	}{
		{"none", time.Now().Add(-againLong), false, lost}, // something on the way ended it, so it is asked for, and its session is gone
		{"none", time.Now(), false, silent},               // it ends at once, again and again
		{"none", time.Now(), true, lost},                  // its server cannot be reached
		{"", time.Now().Add(-againLong), false, silent},   // it is asked for, and there is none
	} {
		ctx, cancel := context.WithCancel(t.Context())
		out, err := http.NewRequestWithContext(ctx, "GET", w.g.URL+"/talk/mcp", nil)
		if err != nil {
			t.Fatal(err)
		}
		out.Header = http.Header{"Accept": {"text/event-stream"}, "Mcp-Session-Id": {c.session}, "Mcp-Protocol-Version": {withSessions}}
		if c.session == "" {
			delete(out.Header, "Mcp-Session-Id")
		}
		stream := lasting{t: &inward{l}, out: out, body: l.orderly(ctx, http.NoBody, false), tries: againTries, began: c.began, down: c.down}
		if got := stream.again(); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
		cancel()
	}
	inside := d.inside.Swap(0)
	if d.misses(l) {
		t.Error("it is opened for nobody")
	}
	d.inside.Store(inside)
	w.apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: []identity.ID{id("bot")}, At: time.Now()}})
	if d.misses(l) {
		t.Error("it is opened for who is killed")
	}
}

// deaf is a client that takes nothing it is told, until it is closed.
type deaf chan struct{}

func (d deaf) Connect(context.Context) (sdk.Connection, error) { return d, nil }
func (d deaf) Read(context.Context) (jsonrpc.Message, error)   { <-d; return nil, io.EOF }
func (d deaf) Write(context.Context, jsonrpc.Message) error    { <-d; return io.EOF }
func (d deaf) Close() error                                    { return nil }
func (d deaf) SessionID() string                               { return "" }

// TestDecidedSlow: a client that does not take what it is told holds up nobody else.
func TestDecidedSlow(t *testing.T) {
	w := newWorld(t, http.NotFoundHandler())
	ear := make(deaf)
	session, err := sdk.NewServer(&sdk.Implementation{Name: "t", Version: "1"}, nil).Connect(t.Context(), ear, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{g: w.g, ctx: t.Context(), lines: map[*line]bool{}, pages: map[string]opening{"appr_1": {session: session, seen: true}}}
	decided := make(chan struct{})
	go func() {
		d.decided()
		d.decided()
		close(decided)
	}()
	within(t, "it goes on", decided)
	close(ear)
	eventually(t, "nothing is left to tell", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.pages) == 0
	})
}
