package gateway

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/connector"
)

// Servers made with Rails, Laravel and Symfony take a POST for a PUT or a DELETE when its form, or its JSON, has a member
// _method. Where a body is not read to decide, it is looked through as it goes by: one that has it never arrives whole.

// overrides reports whether a parameter of that name overrides the method for some server. PHP skips blanks before a name, and
// takes dots and blanks in it for underscores.
func overrides(name string) bool {
	name = strings.TrimLeft(name, " ")
	if len(name) > len("x-http-method-override") {
		return false
	}
	for _, is := range []string{"x-http-method-override", "x-http-method", "x-method-override", "$httpmethod"} {
		if strings.EqualFold(name, is) {
			return true
		}
	}
	return len(name) == len("_method") && (name[0] == '_' || name[0] == '.') && strings.EqualFold(name[1:], "method")
}

// single has the body of r end where it overrides the method.
func (r *request) single() error {
	if _, reads := r.backend.connector.(connector.BodyReader); reads || r.in.Method != http.MethodPost || r.in.Body == nil || r.in.Body == http.NoBody {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(r.in.Header.Get("Content-Type")) // the type, also where a parameter is bad
	var look looker
	switch {
	case kind == "application/x-www-form-urlencoded", kind == "" && r.in.Header["Content-Type"] == nil: // Rack takes what has no type for a form
		look = &formNames{}
	case strings.HasPrefix(kind, "multipart/"):
		look = &partNames{}
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		if r.in.Header["Content-Encoding"] != nil { // many APIs take it so; none is known that does, and takes _method
			return nil
		}
		look = &jsonNames{}
	case kind == "":
		return malformed("The Content-Type cannot be read.")
	default:
		return nil
	}
	if r.in.Header["Content-Encoding"] != nil {
		return malformed("A form must not be compressed: it could override the method.")
	}
	r.in.Body = &looked{r.in.Body, look}
	return nil
}

// looker is told the bytes of a body, and says whether a name that overrides the method has been among them.
type looker interface {
	found(b []byte) bool
	ends() bool
}

type looked struct {
	io.ReadCloser
	look looker
}

func (l *looked) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if l.look.found(p[:n]) || err == io.EOF && l.look.ends() {
		return 0, malformed("The body overrides the method.")
	}
	return n, err
}

// maxOverride is how long the name of a parameter may be, encoded, to be one of those.
const maxOverride = 512

// short is text that is of interest while it is short.
type short []byte

func (s *short) add(c byte) {
	if len(*s) <= maxOverride {
		*s = append(*s, c)
	}
}

// formNames looks at the names of a form (application/x-www-form-urlencoded).
type formNames struct {
	name  short
	value bool
}

func (f *formNames) found(b []byte) bool {
	for _, c := range b {
		switch {
		case c == '&' || c == ';' || c == '=' && !f.value:
			if f.ends() {
				return true
			}
			f.name, f.value = f.name[:0], c == '='
		case !f.value:
			f.name.add(c)
		}
	}
	return false
}

func (f *formNames) ends() bool {
	if f.value {
		return false
	}
	var room [maxOverride + 1]byte
	b := room[:0]
	for i := 0; i < len(f.name); i++ {
		switch c := f.name[i]; {
		case c == '+':
			b = append(b, ' ')
		case c == '%' && i+2 < len(f.name) && isHex(f.name[i+1]) && isHex(f.name[i+2]):
			b = append(b, unhex(f.name[i+1])<<4|unhex(f.name[i+2]))
			i += 2
		case c == '\r' || c == '\n': // around the only one
		default:
			b = append(b, c)
		}
	}
	b, _, _ = bytes.Cut(b, []byte("["))
	if b = bytes.TrimLeft(b, " \t\v\f\x00"); len(b) > 64 {
		return false
	}
	return overrides(string(b))
}

// partNames looks at the header of each part (RFC 7578): at lines that say what it is called, and those that go on with one.
type partNames struct{ line short }

const disposition = "content-disposition:"

func (f *partNames) found(b []byte) bool {
	for _, c := range b {
		if c != '\n' {
			f.line.add(c)
			continue
		}
		if f.ends() {
			return true
		}
		f.line = f.line[:0]
	}
	return false
}

func (f *partNames) ends() bool {
	if len(f.line) == 0 || !strings.ContainsRune("cC \t", rune(f.line[0])) {
		return false
	}
	line := strings.ToLower(string(f.line))
	if !strings.HasPrefix(line, disposition) && line[0] == 'c' {
		return false
	}
	for _, part := range strings.FieldsFunc(strings.TrimPrefix(line, disposition), func(c rune) bool { return c == ';' || c == '\r' }) {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		value = strings.NewReplacer(`\`, "", `"`, "", "%5f", "_", "%2e", ".").Replace(strings.TrimSpace(value))
		value = value[strings.LastIndexByte(value, '\'')+1:] // name*=utf-8''_method
		if value, _, _ = strings.Cut(value, "["); ok && strings.HasPrefix(strings.TrimSpace(name), "name") && overrides(value) {
			return true
		}
	}
	return false
}

// jsonNames looks at the members of the outermost object.
type jsonNames struct {
	depth           int
	quoted, escaped bool
	text            short
}

func (f *jsonNames) found(b []byte) bool {
	for _, c := range b {
		if f.take(c) {
			return true
		}
	}
	return false
}

func (f *jsonNames) take(c byte) bool {
	switch {
	case f.quoted:
		f.text.add(c)
		switch {
		case f.escaped:
			f.escaped = false
		case c == '\\':
			f.escaped = true
		case c == '"':
			f.quoted = false
		}
	case c == '"':
		f.quoted, f.text = true, append(f.text[:0], c)
	case c == '{' || c == '[':
		f.depth++
	case c == '}' || c == ']':
		f.depth--
	case c == ':' && f.depth == 1:
		b, err := jsontext.AppendUnquote(nil, []byte(f.text))
		return err == nil && overrides(string(b))
	}
	return false
}

func (*jsonNames) ends() bool { return false }
