package gateway

import (
	"container/list"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
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

// memories are those of the work that was seen last, so many and of so many bytes together.
type memories struct {
	mu    sync.Mutex
	of    map[string]*list.Element
	used  list.List // of *memory, the last used first
	most  int
	bytes int       // that all may take
	size  int       // that they take
	lost  time.Time // when the last one was lost
}

type memory struct {
	key string
	*provenance.Memory
	size int // as it was last counted
}

// get is the memory of that key, made by fresh if there is none, which is told when the last one was lost.
func (m *memories) get(key string, now time.Time, fresh func(lost time.Time) *provenance.Memory) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.of[key]; ok {
		m.used.MoveToFront(e)
		return e.Value.(*memory)
	}
	if m.of == nil {
		m.of = map[string]*list.Element{}
	}
	for len(m.of) >= m.most {
		m.lose(m.used.Back(), now)
	}
	one := &memory{key: key, Memory: fresh(m.lost)}
	m.of[key] = m.used.PushFront(one)
	return one
}

func (m *memories) lose(e *list.Element, now time.Time) {
	one := m.used.Remove(e).(*memory)
	delete(m.of, one.key)
	m.size -= one.size
	m.lost = now
}

// grown counts one that has read something. When all take too much, the largest are lost, this one not excepted.
func (m *memories) grown(one *memory, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.of[one.key]; !ok || e.Value.(*memory) != one { // lost by now
		return
	}
	size := one.Size()
	m.size, one.size = m.size+size-one.size, size
	for m.size > m.bytes {
		var largest *list.Element
		for e := m.used.Front(); e != nil; e = e.Next() {
			if largest == nil || e.Value.(*memory).size > largest.Value.(*memory).size {
				largest = e
			}
		}
		m.lose(largest, now)
	}
}

// traced finds what is known of the work that r is of, if any policy that may decide asks for it, and judges
// r by that.
func (g *Gateway) traced(r *request) error {
	basic := r.backend.basic[r.call.Action]
	task, known := g.View.Task(r.claims.Task)
	if basic && r.in.Method != http.MethodGet || !g.traces(r.claims.Chain) && !(known && scopeTraces(task)) { // a stream of a session may bring what was asked for before
		return nil
	}
	if _, joins := r.backend.connector.(connector.Joiner); joins { // what it asks for is judged where it goes on
		return nil
	}
	r.memory = g.memories.get(workOf(r.claims.Task, r.claims.Chain), r.start, func(lost time.Time) *provenance.Memory {
		if !known {
			m := provenance.New("")
			m.Label(provenance.Untrusted)
			if !lost.IsZero() { // it may have been this one's
				m.Lose()
			}
			return m
		}
		m := provenance.New(task.Said())
		if !task.Created.After(lost) {
			m.Lose()
		}
		if task.Created.Before(g.began) || r.start.Sub(task.Created) > fresh {
			m.Label(provenance.Untrusted) // it may have read before this gateway looked
		}
		return m
	})
	if basic {
		return nil
	}
	unread, err := r.says()
	if err != nil {
		return err
	}
	facts := r.memory.Judge(r.backend.directory, r.tool(), r.texts)
	switch {
	case r.in.Header["Upgrade"] != nil: // it begins as a read, and may become anything
		facts.Unread("What goes over a WebSocket, which is not read, may say where it goes.")
	case unread && facts.Effect != provenance.Reads:
		facts.Unread("The body of the request, which is not read, may say where it goes.")
	}
	if s, ok := r.backend.connector.(connector.Speaker); ok && s.Implies(r.call) {
		facts.Unread("It goes to who is on what it answers or sends, which the request does not say.")
	}
	r.facts = &facts
	return nil
}

// says takes in the texts of r, those of its body among them. unread is that there is one that may say where something goes, and
// is not understood.
func (r *request) says() (unread bool, err error) {
	speaker, speaks := r.backend.connector.(connector.Speaker)
	carries := speaks && speaker.Carries(r.call)
	kind, _, _ := mime.ParseMediaType(r.in.Header.Get("Content-Type"))
	more := false
	if r.ask.Body == nil && r.in.ContentLength != 0 {
		plain := kind == "application/json" || strings.HasSuffix(kind, "+json") || kind == "application/x-www-form-urlencoded" || carries && strings.HasPrefix(kind, "text/") && r.in.ContentLength > 0
		if plain = plain && r.in.ContentLength <= maxPut && r.in.Header["Content-Encoding"] == nil && r.in.Header["Upgrade"] == nil && len(r.in.Trailer) == 0; plain {
			if r.ask.Body, err = r.read(maxPut); err != nil {
				return false, err
			}
		}
		more, unread = plain, !plain && !carries
	}
	switch {
	case speaks:
		r.texts = speaker.Says(&r.ask, r.call)
	case more && kind == "application/x-www-form-urlencoded":
		r.texts = r.call.Texts()
		form, err := url.ParseQuery(string(r.ask.Body))
		for _, name := range slices.Sorted(maps.Keys(form)) {
			for _, v := range form[name] {
				r.texts = append(r.texts, provenance.Argument{Name: name, Value: v})
			}
		}
		unread = err != nil
	case more:
		r.texts, err = connector.Texts(r.call.Texts(), "", r.ask.Body)
		unread = err != nil
	default:
		r.texts = r.call.Texts()
	}
	return unread, nil
}

// tool is what r does.
func (r *request) tool() *provenance.Tool {
	if t := r.backend.tools[r.call.Action+" "+r.call.Word]; t != nil {
		return t
	}
	return r.backend.tool(r.call.Action)
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
		for _, w := range a.Words {
			all[a.Name+" "+w] = u.Worded(a, w)
		}
	}
	return all
}

// confirmed notes what people said yes to. A yes that stands is to what may come, of which they have seen no value.
func (r *request) confirmed() {
	if r.memory != nil && r.approval.State == feed.Approved {
		r.memory.Confirm(r.tool(), r.texts)
	}
}

// told is what a reply says, as it is noted; nil when nobody wants to know.
func (r *request) told() func(connector.Told) {
	if r.memory == nil {
		return nil
	}
	g, m, d, tool, args := r.g, r.memory, r.backend.directory, r.tool(), r.texts
	return func(t connector.Told) {
		m.Read(d, tool, args, t.Text, t.Whole)
		g.memories.grown(m, g.Now())
	}
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
	if s, ok := r.backend.connector.(connector.Speaker); ok {
		call, as, plain := r.call, res.Header.Get("Content-Type"), tell
		tell = func(t connector.Told) {
			if t.Whole {
				t.Text = string(s.Hears(call, as, []byte(t.Text)))
			}
			plain(t)
		}
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
