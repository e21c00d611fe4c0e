package feed

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	json2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
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
	return ParseLine(raw)
}

// more reports whether the next line is here.
func (l *LineReader) more() bool {
	b, _ := l.r.Peek(l.r.Buffered())
	return bytes.IndexByte(b, '\n') >= 0
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

// readLine is a line, and what of it is not known.
type readLine struct {
	Version int            `json:"version"`
	Trust   [][]byte       `json:"trust"`
	Needs   int            `json:"needs"`
	Change  *readChange    `json:"change"`
	Alive   bool           `json:"alive"`
	Fault   *Fault         `json:"fault"`
	Unknown jsontext.Value `json:",embed"`
}

type readChange struct {
	Change
	Unknown jsontext.Value `json:",embed"`
}

// ParseLine reads one line, and refuses what it does not know where that might be a change.
func ParseLine(raw []byte) (l Line, err error) {
	if rest, ok := bytes.CutPrefix(raw, []byte(beginning)); ok {
		if rest, ok = bytes.CutSuffix(bytes.TrimSuffix(rest, []byte("\n")), []byte("}}")); ok {
			if c, ok := common(rest); ok {
				return Line{Change: c}, nil
			}
		}
	}
	var r readLine
	if err := unmarshal(raw, &r); err != nil {
		return l, err
	}
	if err := known(r.Unknown); err != nil {
		return l, err
	}
	if r.Change != nil {
		if err := known(r.Change.Unknown); err != nil {
			return l, err
		}
		l.Change = &r.Change.Change
	}
	l.Version, l.Trust, l.Needs, l.Alive, l.Fault = r.Version, r.Trust, r.Needs, r.Alive, r.Fault
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

// beginning is how a line begins that says a change of a snapshot, written by [Encoded.Append].
const beginning = `{"change":{`

// common reads the members of a change, if that is one alone, which is whole, and of those that there are millions of.
// Whatever else it is, also what is wrong, is for others to read.
func common(members []byte) (c *Change, ok bool) {
	if v, is := bytes.CutPrefix(members, []byte(`"identity":{`)); is {
		i := new(identity.Identity)
		return &Change{Identity: i}, whole(members[len(members)-len(v)-1:], i)
	}
	if v, is := bytes.CutPrefix(members, []byte(`"credential":{`)); is {
		k := new(identity.Credential)
		return &Change{Credential: k}, whole(members[len(members)-len(v)-1:], k)
	}
	if v, is := bytes.CutPrefix(members, []byte(`"grant":{`)); is {
		g := new(policy.Grant)
		return &Change{Grant: g}, whole(members[len(members)-len(v)-1:], g)
	}
	return nil, false
}

// parseChange reads what [encoding/json] makes of a Change, on a line.
func parseChange(line []byte) (c Change, err error) {
	if rest, ok := bytes.CutPrefix(line, []byte(noCursor)); ok {
		if c, ok := common(bytes.TrimSuffix(rest, []byte("}\n"))); ok {
			return *c, nil
		}
	}
	return c, json.Unmarshal(line, &c)
}

// whole reports whether raw is one value, and reads it.
func whole(raw []byte, v any) bool { return json2.Unmarshal(raw, v, asWritten) == nil }

// asWritten has durations be numbers, as encoding/json writes them.
var asWritten = jsonv1.FormatDurationAsNano(true)

// unmarshal reads an object. Names that come twice, and what is no JSON in UTF-8, are refused.
func unmarshal(raw []byte, v any) error {
	if b := bytes.TrimLeft(raw, " \t\r\n"); len(b) == 0 || b[0] != '{' {
		return fmt.Errorf("%w: it is no object", errLine)
	}
	err := json2.Unmarshal(raw, v, asWritten)
	var wrong *json2.SemanticError
	var bad *jsontext.SyntacticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong):
		return fmt.Errorf("%w: a member of it is of another type", errLine)
	case errors.As(err, &bad) && bytes.HasPrefix(bytes.TrimLeft(raw[min(int64(len(raw)), bad.ByteOffset):], " \t"), []byte("{")):
		return fmt.Errorf("%w: something follows the object", errLine)
	}
	return fmt.Errorf("%w: it is no JSON, or has a member twice", errLine)
}

// known refuses an object with a member that was not known.
func known(unknown jsontext.Value) error {
	if len(unknown) == 0 {
		return nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(unknown))
	d.ReadToken()
	name, _ := d.ReadToken()
	return older(name.String())
}

func older(name string) error {
	return fmt.Errorf("%w: a change says %.40q, which this gateway does not know: it is older than its control plane; update it", ErrVersion, name)
}

// Append adds the line to b, with its end.
func (l Line) Append(b []byte) ([]byte, error) {
	raw, err := json.Marshal(l)
	return append(append(b, raw...), '\n'), err
}

// Encoded is a change as it travels, for who only passes it on.
type Encoded struct {
	Cursor Cursor
	Is     []byte // the members of the Change but the cursor, as JSON; nobody writes to it
	Part   bool   // of a snapshot: only its end, which is Synced, says the cursor, and not each of millions of lines
	Synced bool
}

// noCursor is how a Change begins that has no cursor yet.
const noCursor = `{"cursor":{"epoch":"","seq":0},`

// Encode makes one of a Change without a cursor, as JSON. What is not as this program writes it is read first.
func Encode(at Cursor, change []byte) (Encoded, error) {
	if !bytes.HasPrefix(change, []byte(noCursor)) || !bytes.HasSuffix(change, []byte("}")) {
		var c Change
		if err := json.Unmarshal(change, &c); err != nil {
			return Encoded{}, fmt.Errorf("change %d in the store is damaged: %w", at.Seq, err)
		}
		c.Cursor = Cursor{}
		var err error
		if change, err = json.Marshal(c); err != nil {
			return Encoded{}, err
		}
	}
	if len(change) <= len(noCursor) {
		return Encoded{}, fmt.Errorf("change %d in the store says nothing", at.Seq)
	}
	return Encoded{Cursor: at, Is: change[len(noCursor) : len(change)-1]}, nil
}

// Append adds a line that says c to b.
func (c *Encoded) Append(b []byte) []byte {
	return append(c.object(append(b, `{"change":`...)), "}\n"...)
}

func (c *Encoded) object(b []byte) []byte {
	if c.Part {
		return append(append(append(b, '{'), c.Is...), '}')
	}
	b, _ = jsontext.AppendQuote(append(b, `{"cursor":{"epoch":`...), c.Cursor.Epoch) // it is UTF-8, we made it
	b = strconv.AppendUint(append(b, `,"seq":`...), c.Cursor.Seq, 10)
	return append(append(append(b, "},"...), c.Is...), '}')
}

// Change reads it.
func (c *Encoded) Change() (Change, error) {
	if r, ok := common(c.Is); ok {
		if !c.Part {
			r.Cursor = c.Cursor
		}
		return *r, nil
	}
	var r Change
	err := json2.Unmarshal(c.object(nil), &r, asWritten)
	return r, err
}
