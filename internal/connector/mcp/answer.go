package mcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/connector"
)

// Check watches that the reply to a request answers that one and no other, once, and has
// what the server asks of its client judged. It keeps nothing of a reply but the names of its
// members, its id, and what is asked.
func (c *Connector) Check(r *connector.Request, contentType string, may func(connector.Question) error, tell func(connector.Told), holds func(int64) error) io.WriteCloser {
	kind, _, _ := mime.ParseMediaType(contentType)
	session := func() io.WriteCloser { // what it brings may have been asked for before
		return &events{answer: answer{may: may, tell: tell, holds: holds}, session: true}
	}
	switch {
	case r.Method == http.MethodGet && kind == "text/event-stream":
		return session()
	case r.Method == http.MethodGet: // some clients read a stream of events in whatever comes
		return unread{}
	case r.Method != http.MethodPost:
		return nil
	}
	m, err := parseMessage(r.Body)
	if err != nil || m.id == nil || m.method == "" { // it asks nothing; some clients read what comes all the same
		if kind == "text/event-stream" {
			return session()
		}
		return &thanks{answer: answer{may: may, holds: holds}}
	}
	switch kind {
	case "application/json":
		return &answer{asked: m.id, may: may, tell: tell, holds: holds, alone: true}
	case "text/event-stream":
		return &events{answer: answer{asked: m.id, may: may, tell: tell, holds: holds}}
	}
	return unread{}
}

// unread is a reply of a type that none of the protocol's has, in which nothing may be.
type unread struct{}

func (unread) Write(b []byte) (int, error) {
	if len(b) > 0 {
		return 0, errors.New("it is neither JSON nor an event stream")
	}
	return 0, nil
}

func (unread) Close() error { return nil }

// thanks is the reply to what asks nothing. It may be anything that is no message.
type thanks struct {
	answer
	begun, none bool // it has begun; it is nothing that could be a message
}

func (t *thanks) Write(b []byte) (int, error) {
	for i, c := range b {
		if !t.begun {
			switch c {
			case ' ', '\t', '\r', '\n':
				continue
			case '[':
				return i, errors.New("it is a batch, which nothing asked for")
			}
			t.begun, t.none = true, c != '{'
		}
		if t.none {
			return len(b), nil
		}
		if err := t.take(c); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

func (t *thanks) Close() error {
	if t.begun && !t.none && (!t.ended || t.method != nil || t.id != nil && string(t.id) != "null") {
		return errors.New("it is a message, which nothing asked for")
	}
	return nil
}

var errAnotherQuestion = errors.New("it answers another question than the one that was asked")

// answer reads one message as it goes by, only as far as its own members.
type answer struct {
	asked           jsontext.Value
	may             func(connector.Question) error
	tell            func(connector.Told) // nil: nobody wants to know what it says
	holds           func(int64) error    // takes what is kept into account
	held            int64                // that was
	result          []byte               // if somebody does
	resultCut       bool                 // it is not all of it
	depth           int
	quoted, escaped bool
	value, ended    bool   // at a member's value; after the message
	text            []byte // of the name, or of the value of id or method, so far
	name            string
	id, method      jsontext.Value
	seen            map[string]bool // members that may be there once
	inner           inner
	question        []byte // params or error, or the inputRequests of the result
	tooLong         bool   // question is not all of it
	alone           bool   // it is all of the reply
}

// inner is the members of the result, of which one is of interest.
type inner struct {
	text  []byte
	name  string
	value bool
}

// maxQuestion is how long a question to the client may be.
const maxQuestion = 1 << 20

// maxText is how long the name of a member, or an id, may be.
const maxText = 1 << 10

// add keeps one byte more in b, of at most so many; false if it may not.
func (a *answer) add(b *[]byte, c byte, most int) bool {
	if len(*b) == most {
		return false
	}
	if n := cap(*b); len(*b) == n {
		more := min(max(512, 2*n), most)
		if a.holds != nil {
			if a.holds(int64(more-n)) != nil {
				return false
			}
			a.held += int64(more - n)
		}
		*b = append(make([]byte, 0, more), *b...)
	}
	*b = append(*b, c)
	return true
}

// release gives back what was taken into account; nothing of it is needed any more.
func (a *answer) release() {
	if a.held > 0 {
		_ = a.holds(-a.held)
		a.held = 0
	}
}

func (a *answer) Write(b []byte) (int, error) {
	for i, c := range b {
		if err := a.take(c); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

func (a *answer) take(c byte) error {
	if a.quoted {
		switch {
		case a.escaped:
			a.escaped = false
		case c == '\\':
			a.escaped = true
		case c == '"':
			a.quoted = false
		}
		a.hear(c)
		return a.keep(c)
	}
	switch c {
	case ' ', '\t', '\r', '\n':
		return nil
	case '"':
		a.quoted = true
	}
	a.hear(c)
	switch {
	case a.ended:
		return errors.New("something follows the message")
	case a.depth == 0 && c != '{':
		return errors.New("it is no JSON object")
	case a.depth == 1 && c == ':' && !a.value:
		return a.named()
	case a.depth == 1 && (c == ',' || c == '}'):
		if err := a.member(); err != nil {
			return err
		}
		if c == '}' {
			a.depth, a.ended = 0, true
			if a.alone { // now, because who reads it would not wait for more
				return a.Close()
			}
			if err := a.judge(); err != nil {
				return err
			}
			a.told() // now, because some readers take it before an empty line ends the event
		}
		return nil
	case a.depth == 1 && c == ']':
		return errors.New("it is no JSON")
	case a.depth == 2 && a.name == "result":
		switch {
		case c == ':' && !a.inner.value:
			return a.inner.named()
		case c == ',':
			a.inner = inner{}
			return nil
		case c == '}':
			a.inner = inner{}
		}
	}
	if err := a.keep(c); err != nil {
		return err
	}
	switch c {
	case '{', '[':
		a.depth++
	case '}', ']':
		a.depth--
	}
	return nil
}

// keep takes c down if it is of a name, of the id or the method, or of a question.
func (a *answer) keep(c byte) error {
	switch {
	case a.depth == 1 && (!a.value || a.name == "id" || a.name == "method"):
		if len(a.text) == maxText {
			return errors.New("the name of a member, the id or the method is too long")
		}
		a.text = append(a.text, c)
	case a.value && (a.name == "params" || a.name == "error"), a.depth > 1 && a.name == "result" && a.inner.name == inputRequests:
		if !a.tooLong {
			a.tooLong = !a.add(&a.question, c, maxQuestion)
		}
	case a.depth == 2 && a.name == "result" && !a.inner.value && len(a.inner.text) < maxText:
		a.inner.text = append(a.inner.text, c)
	}
	return nil
}

// once are the members that a message, or its result, has once and in this case if it has them.
var once = []string{"id", "method", "params", "result", "error"}

const inputRequests = "inputRequests"

// named ends the name of a member.
func (a *answer) named() error {
	b, err := jsontext.AppendUnquote(nil, a.text)
	if err != nil {
		return fmt.Errorf("a member's name: %w", err)
	}
	a.name, a.value, a.text, a.inner = string(b), true, a.text[:0], inner{}
	for _, n := range once {
		if a.name != n && strings.EqualFold(a.name, n) {
			return fmt.Errorf("member %q differs from %q in case alone", a.name, n)
		}
		if a.name == n {
			if a.seen[n] {
				return fmt.Errorf("it has more than one %s", n)
			}
			if a.seen == nil {
				a.seen = map[string]bool{}
			}
			a.seen[n] = true
		}
	}
	return nil
}

// named ends the name of a member of the result.
func (i *inner) named() error {
	i.value = true
	if len(i.text) == maxText { // none of those that mean something here
		return nil
	}
	b, err := jsontext.AppendUnquote(nil, i.text)
	if err != nil {
		return fmt.Errorf("the name of a member of its result: %w", err)
	}
	if i.name = string(b); i.name != inputRequests && strings.EqualFold(i.name, inputRequests) {
		return fmt.Errorf("member %q differs from %q in case alone", i.name, inputRequests)
	}
	return nil
}

// member ends a member.
func (a *answer) member() error {
	if a.value && (a.name == "id" || a.name == "method") {
		if len(a.text) == 0 {
			return fmt.Errorf("it has no %s in its place", a.name)
		}
		if a.name == "id" {
			a.id = bytes.Clone(a.text)
		} else {
			a.method = bytes.Clone(a.text)
		}
	}
	a.name, a.value, a.text = "", false, a.text[:0]
	return nil
}

// judge has what the server asks of its client judged.
func (a *answer) judge() error {
	calls, err := asks(a)
	if err != nil {
		return err
	}
	var no []byte
	if a.method != nil && a.id != nil {
		no = fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"the client's side does not allow this question"}}`, a.id, Denied)
	}
	for _, c := range calls {
		if err := a.may(connector.Question{Call: c, No: no}); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the message, which must be the answer.
func (a *answer) Close() error {
	switch {
	case !a.ended:
		return errors.New("it ends in the middle")
	case a.method != nil:
		return errors.New("it is a question")
	case sameID(a.id, a.asked), a.seen["error"] && string(a.id) == "null":
		if a.alone {
			a.told()
			return a.judge()
		}
		return nil
	}
	return errAnotherQuestion
}

// events reads an event stream (HTML, section 9.2.6), in which questions and notifications
// may come before the answer.
type events struct {
	answer   answer
	line     []byte // its beginning, up to what tells data from the rest
	data     bool   // in a line of data
	started  bool   // this event has data
	answered bool
	cr       bool // the last byte was CR
	session  bool // the stream of a session, which answers nothing
}

func (e *events) Write(b []byte) (int, error) {
	for i, c := range b {
		if err := e.take(c); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

func (e *events) take(c byte) error {
	if c == 0xEF && len(e.line) == 0 && !e.data {
		return errors.New("a line begins with what some readers skip (a byte order mark)")
	}
	if c == '\n' && e.cr {
		e.cr = false
		return nil
	}
	e.cr = c == '\r'
	switch {
	case c == '\r' || c == '\n':
		empty := len(e.line) == 0 && !e.data
		e.line, e.data = e.line[:0], false
		if empty {
			return e.event()
		}
		if e.started {
			return e.answer.take('\n')
		}
		return nil
	case e.data:
		e.started = e.started || c != ' '
		if e.started {
			return e.answer.take(c)
		}
		return nil
	}
	if len(e.line) < len("data:") {
		e.line = append(e.line, c)
	}
	e.data = string(e.line) == "data:" && c == ':'
	return nil
}

// event ends an event.
func (e *events) event() error {
	if !e.started {
		return nil
	}
	a := e.answer
	e.answer, e.started = answer{asked: a.asked, may: a.may, tell: a.tell, holds: a.holds}, false
	defer a.release()
	if a.ended && (a.method != nil || e.session) {
		return nil
	}
	if e.answered {
		return errors.New("it answers twice")
	}
	e.answered = true
	return a.Close()
}

// Close ends the stream, and an event that is whole but for the empty line. It may end without an answer, which is then asked for again.
func (e *events) Close() error {
	if e.answer.ended {
		return e.event()
	}
	e.answer.release()
	return nil
}
