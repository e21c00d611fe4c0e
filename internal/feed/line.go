package feed

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// maxLine bounds one line. The largest there is has the description of an upstream, or who was killed, one by one.
const maxLine = 64 << 20

var errLine = errors.New("a line that the feed does not have")

// LineReader reads what [Line.Append] made. It is for one goroutine.
type LineReader struct {
	r    *bufio.Reader
	long []byte // of a line that does not fit r's buffer
}

// NewLineReader reads from r.
func NewLineReader(r io.Reader) *LineReader { return &LineReader{r: bufio.NewReaderSize(r, 64<<10)} }

// Next returns the next line. io.EOF is only the end between two; within one it is io.ErrUnexpectedEOF.
func (l *LineReader) Next() (Line, error) {
	raw, err := l.raw()
	if err != nil {
		return Line{}, err
	}
	return parseLine(raw)
}

func (l *LineReader) raw() ([]byte, error) {
	part, err := l.r.ReadSlice('\n')
	if err == nil {
		return part, nil
	}
	l.long = append(l.long[:0], part...)
	for errors.Is(err, bufio.ErrBufferFull) {
		if len(l.long) > maxLine {
			return nil, fmt.Errorf("%w: it is longer than %d MB", errLine, maxLine>>20)
		}
		part, err = l.r.ReadSlice('\n')
		l.long = append(l.long, part...)
	}
	if errors.Is(err, io.EOF) && len(l.long) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return l.long, err
}

var lineMembers = []string{"version", "trust", "needs", "change", "alive", "fault"}

// parseLine reads one line, and refuses what it does not know where that might be a change.
func parseLine(raw []byte) (l Line, err error) {
	var change jsontext.Value
	unknown := func(names []string, known ...string) string {
		i := slices.IndexFunc(names, func(n string) bool { return !slices.Contains(known, n) })
		if i < 0 {
			return ""
		}
		return names[i]
	}
	names, values, err := members(raw)
	if err != nil {
		return l, err
	}
	if n := unknown(names, lineMembers...); n != "" {
		return l, older(n)
	}
	if i := slices.Index(names, "change"); i >= 0 {
		change = values[i]
	}
	if change != nil {
		inside, _, err := members(change)
		if err != nil {
			return l, err
		}
		if n := unknown(inside, changeMembers...); n != "" {
			return l, older(n)
		}
	}
	if err := json.Unmarshal(raw, &l); err != nil {
		return Line{}, fmt.Errorf("%w: a member of it is of another type", errLine)
	}
	if l.Needs > Version {
		return Line{}, fmt.Errorf("%w: a change needs version %d of the feed, and this gateway has %d: it is older than its control plane; update it", ErrVersion, l.Needs, Version)
	}
	says := 0
	for _, set := range []bool{l.Version > 0, l.Version == 0 && len(l.Trust) > 0, l.Change != nil, l.Alive, l.Fault != nil} {
		if set {
			says++
		}
	}
	if says != 1 {
		return Line{}, fmt.Errorf("%w: it says %d things, not one", errLine, says)
	}
	return l, nil
}

func older(name string) error {
	return fmt.Errorf("%w: a change says %.40q, which this gateway does not know: it is older than its control plane; update it", ErrVersion, name)
}

// changeMembers are what a Change can have.
var changeMembers = []string{"cursor", "owner", "identity", "credential", "upstream", "grant", "guardrail", "task", "token", "kill", "keys", "account", "approval", "removed", "synced"}

// members splits an object. Names that come twice, and what is no JSON in UTF-8, are refused.
func members(raw []byte) (names []string, values []jsontext.Value, err error) {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, nil, fmt.Errorf("%w: it is no object", errLine)
	}
	for d.PeekKind() == '"' {
		name, err1 := d.ReadToken()
		if err1 != nil {
			return nil, nil, fmt.Errorf("%w: it is no JSON, or has a member twice", errLine)
		}
		n := name.String()
		value, err2 := d.ReadValue()
		if err2 != nil {
			return nil, nil, fmt.Errorf("%w: it is no JSON, or has a member twice", errLine)
		}
		names, values = append(names, n), append(values, value.Clone())
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, nil, fmt.Errorf("%w: it is no JSON", errLine)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("%w: something follows the object", errLine)
	}
	return names, values, nil
}

// Append adds the line to b, with its end.
func (l Line) Append(b []byte) ([]byte, error) {
	raw, err := json.Marshal(l)
	return append(append(b, raw...), '\n'), err
}
