package gateway

import (
	"container/list"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// What was read under a task decides on what may be sent under it. Where a policy that may
// decide asks for that, the gateway has a memory for each task, or for each chain where there is none,
// and writes into it what each reply says before its end goes on to the caller. It is in memory
// alone: what is forgotten, by a restart or for others, is unseen, and the work that it was of counts as one
// that has read from outside.

// memories are those of the work that was seen last.
type memories struct {
	mu   sync.Mutex
	of   map[string]*list.Element
	used list.List // of *memory, the last used first
	most int
}

type memory struct {
	key string
	*provenance.Memory
}

// get is the memory of that key, made by fresh if there is none.
func (m *memories) get(key string, fresh func() *provenance.Memory) *provenance.Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.of[key]; ok {
		m.used.MoveToFront(e)
		return e.Value.(*memory).Memory
	}
	if m.of == nil {
		m.of = map[string]*list.Element{}
	}
	for len(m.of) >= m.most {
		last := m.used.Back()
		delete(m.of, m.used.Remove(last).(*memory).key)
	}
	one := &memory{key, fresh()}
	m.of[key] = m.used.PushFront(one)
	return one.Memory
}

// traced finds what is known of the work that r is of, if any policy that may decide asks for it, and judges
// r by that.
func (g *Gateway) traced(r *request) {
	basic := r.backend.basic[r.call.Action]
	task, known := g.View.Task(r.claims.Task)
	if basic && r.in.Method != http.MethodGet || !g.traces(r.claims.Chain) && !(known && scopeTraces(task)) { // a stream of a session may bring what was asked for before
		return
	}
	if _, joins := r.backend.connector.(connector.Joiner); joins { // what it asks for is judged where it goes on
		return
	}
	r.memory = g.memories.get(workOf(r.claims.Task, r.claims.Chain), func() *provenance.Memory {
		if !known {
			m := provenance.New("")
			m.Label(provenance.Untrusted)
			return m
		}
		m := provenance.New(task.Said())
		if task.Created.Before(g.began) || r.start.Sub(task.Created) > fresh {
			m.Label(provenance.Untrusted) // it may have read before this gateway looked
		}
		return m
	})
	if basic {
		return
	}
	facts := r.memory.Judge(r.backend.directory, r.backend.tool(r.call.Action), r.call.Texts())
	if r.ask.Body == nil && r.in.ContentLength != 0 && facts.Effect != provenance.Reads {
		facts.Unread("The body of the request, which its connector does not read, may say where it goes.")
	}
	r.facts = &facts
}

// fresh is how old a task may be of which this gateway sees the first request, and it is taken for the first.
const fresh = time.Minute

func workOf(task string, chain identity.Chain) string {
	if task != "" {
		return task
	}
	var b strings.Builder
	for _, l := range chain {
		b.WriteString(l.ID.String())
		b.WriteByte(' ')
		b.WriteString(strconv.FormatUint(l.Generation, 10))
		b.WriteByte(' ')
	}
	return b.String()
}

// traces reports whether any policy of those in a chain asks where values came from.
func (g *Gateway) traces(chain identity.Chain) bool {
	for _, l := range chain {
		s, ok := g.View.Subject(l.ID)
		if !ok {
			continue
		}
		if set, err := s.Set(); err == nil && set.Traces() {
			return true
		}
	}
	return false
}

func scopeTraces(t *feed.Task) bool {
	set, err := t.Set()
	return err == nil && set.Traces()
}

// tool is what is made of an action.
func (b *backend) tool(action string) *provenance.Tool {
	if t := b.tools[action]; t != nil {
		return t
	}
	return provenance.Describe(action, "", false, nil, "", nil)
}

func tools(u *policy.Upstream, actions []policy.Action) map[string]*provenance.Tool {
	all := make(map[string]*provenance.Tool, len(actions))
	for _, a := range actions {
		all[a.Name] = u.Tool(a)
	}
	return all
}

// confirmed notes what people said yes to.
func (r *request) confirmed() {
	if r.memory != nil && r.approval.ID != "" {
		r.memory.Confirm(r.backend.tool(r.call.Action), r.call.Texts())
	}
}

// told is what a reply says, as it is noted; nil when nobody wants to know.
func (r *request) told() func(connector.Told) {
	if r.memory == nil {
		return nil
	}
	m, b, action, args := r.memory, r.backend, r.call.Action, r.call.Texts()
	return func(t connector.Told) { m.Read(b.directory, b.tool(action), args, t.Text, t.Whole) }
}

// maxHeard is how much of a reply is read for what it says.
const maxHeard = 1 << 20

// hears has a reply noted whose connector does not see to it.
func (r *request) hears(res *http.Response) {
	tell := r.told()
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if tell == nil || res.StatusCode == http.StatusSwitchingProtocols {
		return
	}
	text := strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "json") || strings.HasSuffix(kind, "xml")
	if !text || res.Header.Get("Content-Encoding") != "" {
		tell(connector.Told{})
		return
	}
	res.Body = &heard{ReadCloser: res.Body, tell: tell, left: res.ContentLength, holds: r.holds}
}

// heard is a body that is noted when all of it was read, before the last of it goes on.
type heard struct {
	io.ReadCloser
	tell  func(connector.Told)
	holds func(int64) error
	text  []byte
	left  int64 // bytes to come; below 0: nobody knows
	cut   bool
	said  bool
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	keep := min(n, maxHeard-len(h.text))
	if h.said || h.holds(int64(keep)) != nil {
		keep = 0
	}
	h.text, h.cut = append(h.text, p[:keep]...), h.cut || keep < n
	if h.left -= int64(n); !h.said && (err != nil || h.left == 0 || h.cut) {
		h.said = true
		h.tell(connector.Told{Text: string(h.text), Whole: !h.cut && (err == nil || err == io.EOF)})
		h.text = nil
	}
	return n, err
}
