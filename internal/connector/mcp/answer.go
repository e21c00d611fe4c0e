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

// Check watches that the reply to a request answers that one and no other, once. It keeps
// nothing of a reply but the names of its members and its id.
func (c *Connector) Check(r *connector.Request, contentType string) io.WriteCloser {
	if r.Method != http.MethodPost {
		return nil // a stream of the session: what it brings may have been asked for before
	}
	m, err := parseMessage(r.Body)
	if err != nil || m.id == nil || m.method == "" {
		return nil
	}
	switch kind, _, _ := mime.ParseMediaType(contentType); kind {
	case "application/json":
		return &answer{asked: m.id, alone: true}
	case "text/event-stream":
		return &events{answer: answer{asked: m.id}}
	}
	return nil
}

var errAnotherQuestion = errors.New("it answers another question than the one that was asked")

// answer reads one message as it goes by, only as far as its own members.
type answer struct {
	asked            jsontext.Value
	depth            int
	quoted, escaped  bool
	value, ended     bool   // at a member's value; after the message
	text             []byte // of the name, or of the value of id, so far
	name             string
	id               jsontext.Value
	method, hasError bool
	alone            bool // it is all of the reply
}

// maxText is how long the name of a member, or an id, may be.
const maxText = 1 << 10

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
		return a.keep(c)
	}
	switch c {
	case ' ', '\t', '\r', '\n':
		return nil
	case '"':
		a.quoted = true
	}
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
		}
		return nil
	case a.depth == 1 && c == ']':
		return errors.New("it is no JSON")
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

// keep takes c down if it is of a name, or of the id.
func (a *answer) keep(c byte) error {
	if a.depth != 1 || a.value && a.name != "id" {
		return nil
	}
	if len(a.text) == maxText {
		return errors.New("the name of a member, or the id, is too long")
	}
	a.text = append(a.text, c)
	return nil
}

// named ends the name of a member.
func (a *answer) named() error {
	b, err := jsontext.AppendUnquote(nil, a.text)
	if err != nil {
		return fmt.Errorf("a member's name: %w", err)
	}
	a.name, a.value, a.text = string(b), true, a.text[:0]
	for _, n := range []string{"id", "method", "error"} {
		if a.name != n && strings.EqualFold(a.name, n) {
			return fmt.Errorf("member %q differs from %q in case alone", a.name, n)
		}
	}
	switch a.name {
	case "method":
		a.method = true
	case "error":
		a.hasError = true
	}
	return nil
}

// member ends a member.
func (a *answer) member() error {
	if a.name == "id" && a.value {
		if a.id != nil || len(a.text) == 0 {
			return errors.New("it has more than one id, or none in its place")
		}
		a.id = bytes.Clone(a.text)
	}
	a.name, a.value, a.text = "", false, a.text[:0]
	return nil
}

// Close ends the message, which must be the answer.
func (a *answer) Close() error {
	switch {
	case !a.ended:
		return errors.New("it ends in the middle")
	case a.method:
		return errors.New("it is a question")
	case sameID(a.id, a.asked), a.hasError && string(a.id) == "null":
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
	e.answer, e.started = answer{asked: a.asked}, false
	if a.ended && a.method {
		return nil
	}
	if e.answered {
		return errors.New("it answers twice")
	}
	e.answered = true
	return a.Close()
}

// Close ends the stream. It may end without an answer, which is then asked for again.
func (e *events) Close() error { return nil }
