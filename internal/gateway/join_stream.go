package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/connector"
)

const (
	againFirst = time.Second // before a stream that ended is asked for again; doubled each time
	againTries = 5           // without anything in between, and without lasting for
	againLong  = 30 * time.Second
	orderTime  = time.Second // for what came before an answer to be passed on
	maxComing  = 64          // notifications on one line that came and were not passed on yet
	maxNews    = 256 << 10   // bytes of one
)

// sequence is what came on a line and waits. The SDK hands on an answer at once, and what came before it when it gets to it; and it
// takes in whatever comes, however much of it waits. So what waits is bounded here, and the rest waits at the upstream.
type sequence struct {
	came, done atomic.Int64  // notifications: those that came, and those that were passed on
	passed     atomic.Int64  // the same, with those that no answer waits for any longer
	open       chan struct{} // has a value for each request of the upstream's that was not answered yet
}

// notifications are those that the SDK is given. It has no use for others.
var notifications = []string{"notifications/progress", "notifications/message", "notifications/tools/list_changed", "notifications/prompts/list_changed",
	"notifications/resources/list_changed", "notifications/resources/updated", "notifications/elicitation/complete", "notifications/cancelled", "notifications/subscriptions/acknowledged"}

// take notes a message of so many bytes, and reports whether it goes on. An answer waits until all that came before it was passed on, what else
// the upstream says while too much of that waits; nothing longer than its stream's ctx.
func (o *sequence) take(ctx context.Context, method string, answer bool, size int) bool {
	switch {
	case answer:
		o.wait(ctx, &o.passed, 0, orderTime)
	case slices.Contains(notifications, method):
		if size > maxNews {
			return false
		}
		o.wait(ctx, &o.done, maxComing-1, 2*readTime)
		o.came.Add(1)
	case strings.HasPrefix(method, "notifications/"):
		return false
	case method != "":
		select {
		case o.open <- struct{}{}:
		case <-ctx.Done():
		}
	}
	return true
}

// wait is until all that came are among those, but for so many. After so long some were none that could be passed on.
func (o *sequence) wait(ctx context.Context, those *atomic.Int64, most int64, long time.Duration) {
	for end := time.Now().Add(long); o.came.Load()-those.Load() > most && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			those.Store(o.came.Load())
		}
	}
}

// pass notes that a notification was passed on.
func (o *sequence) pass() {
	o.done.Add(1)
	o.passed.Add(1)
}

// answered notes that a request of the upstream's was.
func (o *sequence) answered() {
	select {
	case <-o.open:
	default:
	}
}

// answers reports whether a request brings the upstream an answer.
func answers(out *http.Request) bool {
	if out.GetBody == nil {
		return false
	}
	body, err := out.GetBody()
	if err != nil {
		return false
	}
	_, answer := message(body)
	return answer
}

// data is the message in an event.
func data(event []byte) (data []byte) {
	for line := range bytes.Lines(event) {
		if text, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(data, text...)
		}
	}
	return data
}

// message is the method of a message, or that it is an answer. It reads no further than it needs to.
func message(data io.Reader) (method string, answer bool) {
	d := jsontext.NewDecoder(data)
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return "", false
	}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return "", false
		}
		switch t.String() {
		case "result", "error":
			return "", true
		case "method":
			if t, err = d.ReadToken(); err != nil || t.Kind() != '"' {
				return "", false
			}
			return t.String(), false
		}
		if d.SkipValue() != nil {
			return "", false
		}
	}
	return "", false
}

// orderly is an event stream of which one whole event at a time is handed on, none larger than maxList. What waits to become whole
// counts in the bound of what is held, and what is made of an answer until its request has ended.
type orderly struct {
	sieve
	take func(method string, answer bool, size int) bool
	end  func() // nothing of it is held any more
	rest bool   // it answers a request: what is left at the end is handed on
	id   string
	bad  error // why nothing more of it goes on

	instead func(why error) []byte // answers the request then; nil where it answers none
}

func (o *orderly) Read(p []byte) (int, error) {
	for len(o.out) == 0 {
		if o.bad != nil {
			if o.refuse(); len(o.out) > 0 {
				continue
			}
		} else if end := o.event(); end > 0 {
			o.hand(o.in[:end])
			o.in, o.line, o.seen = o.in[end:], 0, 0
			continue
		}
		if o.bad == nil && errors.Is(o.err, io.EOF) && o.rest && len(o.in) > 0 {
			o.hand(o.in)
			o.in = nil
			continue
		}
		if o.err != nil {
			if !o.rest {
				o.end()
			}
			return 0, o.err
		}
		if len(o.in) > maxList {
			o.bad = errLarge(maxList)
			continue
		}
		if o.piece == nil {
			o.piece = make([]byte, 8<<10)
		}
		n, err := o.ReadCloser.Read(o.piece)
		if o.bad = o.holds(int64(n)); o.bad == nil {
			o.in, o.err = append(o.in, o.piece[:n]...), err
		}
	}
	n := copy(p, o.out)
	o.out = o.out[n:]
	return n, nil
}

// refuse ends the stream, with an answer that says why where it owes one.
func (o *orderly) refuse() {
	o.in, o.err = nil, o.bad
	if o.instead == nil {
		return
	}
	if b := o.instead(o.bad); b != nil {
		o.out, o.instead, o.bad, o.err = fmt.Appendf(nil, "data: %s\n\n", b), nil, io.EOF, io.EOF
	}
}

func (o *orderly) hand(event []byte) {
	for line := range bytes.Lines(event) {
		if id, ok := bytes.CutPrefix(line, []byte("id:")); ok {
			o.id = string(bytes.TrimSpace(id))
		}
	}
	data := data(event)
	method, answer := message(bytes.NewReader(data))
	made := int64(-len(event))
	if answer && o.rest {
		made = (madeOf - 1) * int64(len(event))
	}
	if o.bad = o.holds(made); o.bad == nil && !connector.Few(data, maxValues) {
		o.bad = errValues
	}
	if o.bad == nil && o.take(method, answer, len(event)) {
		o.out = append(o.out[:0], event...)
	}
}

// lasting is a stream on which an upstream tells what nobody asked for. When it ends it is asked for
// again. Where the session has ended, or the upstream cannot be reached, the line ends, so that mend opens another; where there is
// no such stream any more nothing comes, and the line goes on.
type lasting struct {
	t     *inward
	out   *http.Request
	tries int
	began time.Time // the stream
	down  bool      // the last time the upstream could not be reached

	mu   sync.Mutex // of body, which Close may want while it is read
	body *orderly
}

func (l *lasting) Read(p []byte) (int, error) {
	for {
		n, err := l.body.Read(p)
		if n > 0 {
			l.tries = 0
			return n, nil
		}
		if err == nil {
			continue
		}
		switch l.again() {
		case lost:
			return 0, errLost
		case silent:
			<-l.out.Context().Done()
			return 0, l.out.Context().Err()
		}
	}
}

// What becomes of a stream that ended.
const (
	goesOn = iota
	silent // nothing more comes
	lost   // with its session, or its upstream
)

var errLost = errors.New("the upstream has ended the session, or cannot be reached")

func (l *lasting) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.body.Close()
}

// again asks for the stream again.
func (l *lasting) again() int {
	d, ctx := l.t.l.d, l.out.Context()
	if time.Since(l.began) >= againLong { // something on the way ends those that are idle
		l.tries = 0
	}
	switch {
	case l.tries == againTries && l.down:
		return lost
	case l.tries == againTries:
		return silent
	}
	select {
	case <-time.After(againFirst << l.tries):
	case <-ctx.Done():
		return silent
	}
	l.tries++
	if !d.stands(l.t.l.key.member) {
		return silent
	}
	out := l.out.Clone(ctx)
	if out.GetBody != nil {
		body, err := out.GetBody()
		if err != nil {
			return silent
		}
		out.Body = body
	}
	if l.body.id != "" && out.Method == http.MethodGet {
		out.Header.Set("Last-Event-Id", l.body.id)
	}
	res, err := l.t.once(out)
	l.began = time.Now()
	if l.down = err != nil || res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests; err != nil {
		return goesOn // to the next try, unless ctx is done
	}
	if res.StatusCode != http.StatusOK || !isStream(res) {
		_ = res.Body.Close()
		switch {
		case l.down:
			return goesOn // to the next try
		case res.StatusCode == http.StatusNotFound && out.Method == http.MethodGet: // MCP 2025-11-25, Transports, Session Management: a new one is to be begun
			return lost
		}
		return silent
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.body.id
	l.body = l.t.l.orderly(ctx, res.Body, false)
	l.body.id = id
	return goesOn
}
