package token

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// strict64 refuses padding and non-zero trailing bits, so that a value has one spelling.
var strict64 = base64.RawURLEncoding.Strict()

const (
	maxDepth   = 8
	maxMembers = 64
)

var (
	errBase64  = errors.New("is not base64url")
	errJSON    = errors.New("is not a JSON object in UTF-8 without duplicate members")
	errVariant = errors.New("has members that differ only in case")
	errDeep    = errors.New("is nested too deeply or too large")
)

// decode64 decodes one segment. The library skips CR and LF, so they are refused here.
func decode64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errBase64
	}
	b, err := strict64.DecodeString(s)
	if err != nil {
		return nil, errBase64
	}
	return b, nil
}

type member struct {
	name  string
	value jsontext.Value
}

// object is a strictly read JSON object. Values alias the input.
type object []member

// parseObject reads data as exactly one JSON object.
func parseObject(data []byte) (object, error) {
	if deep(data) {
		return nil, errDeep
	}
	if bytes.Contains(data, []byte(`\u0000`)) {
		return nil, errJSON
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(data))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, errJSON
	}
	o := make(object, 0, 12)
	for dec.PeekKind() == '"' {
		t, err := dec.ReadToken()
		if err != nil {
			return nil, errJSON
		}
		name := t.String()
		for _, m := range o {
			if strings.EqualFold(m.name, name) {
				return nil, errVariant
			}
		}
		v, err := dec.ReadValue()
		if err != nil {
			return nil, errJSON
		}
		end := dec.InputOffset() // v itself is the decoder's, and only until its next step
		if o = append(o, member{name, data[end-int64(len(v)) : end]}); len(o) > maxMembers {
			return nil, errDeep
		}
	}
	if _, err := dec.ReadToken(); err != nil { // the closing brace, or what is wrong
		return nil, errJSON
	}
	if len(bytes.TrimLeft(data[dec.InputOffset():], " \t\r\n")) > 0 {
		return nil, errJSON
	}
	return o, nil
}

// deep reports whether data nests more than maxDepth, without recursion.
func deep(data []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

func (o object) value(name string) jsontext.Value {
	for _, m := range o {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

func (o object) has(name string) bool { return o.value(name) != nil }

// other returns the first member that is not among the names allowed, or "".
func (o object) other(allowed ...string) string {
next:
	for _, m := range o {
		for _, a := range allowed {
			if m.name == a {
				continue next
			}
		}
		return m.name
	}
	return ""
}

// reader reads typed members and keeps the first error, so that callers check once.
type reader struct {
	object
	err error
}

func (r *reader) fail(name, want string) {
	if r.err == nil {
		r.err = errors.New(strconv.Quote(name) + " " + want)
	}
}

func (r *reader) text(name string, required bool) string {
	v := r.value(name)
	if v == nil {
		if required {
			r.fail(name, "is missing")
		}
		return ""
	}
	s, ok := unquote(v)
	if !ok || required && s == "" {
		r.fail(name, "is not a string with something in it")
	}
	return s
}

// texts reads a list of strings; single also allows one string (RFC 7519 section 4.1.3).
func (r *reader) texts(name string, single bool) []string {
	v := r.value(name)
	if v == nil {
		return nil
	}
	if s, ok := unquote(v); ok && single {
		return []string{s}
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(v))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '[' {
		r.fail(name, "is not a list of strings")
		return nil
	}
	var list []string
	for dec.PeekKind() == '"' {
		t, err := dec.ReadToken()
		if err != nil {
			break
		}
		list = append(list, t.String())
	}
	if dec.PeekKind() != ']' || len(list) == 0 || len(list) > maxMembers {
		r.fail(name, "is not a list of strings")
	}
	return list
}

// date reads a NumericDate (RFC 7519 section 2), in whole seconds.
func (r *reader) date(name string, required bool) time.Time {
	v := r.value(name)
	if v == nil {
		if required {
			r.fail(name, "is missing")
		}
		return time.Time{}
	}
	n, err := strconv.ParseFloat(string(v), 64)
	if v.Kind() != '0' || err != nil || n < 0 || n > 253402300799 { // the year 9999
		r.fail(name, "is not a time")
		return time.Time{}
	}
	return time.Unix(int64(math.Floor(n)), 0).UTC()
}

// numbers reads a list of whole numbers.
func (r *reader) numbers(name string) (list []uint64) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(r.value(name)))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '[' {
		r.fail(name, "is not a list of whole numbers")
		return nil
	}
	for dec.PeekKind() == '0' {
		v, err := dec.ReadValue()
		if err != nil {
			break
		}
		n, err := strconv.ParseUint(string(v), 10, 64)
		if err != nil {
			r.fail(name, "is not a list of whole numbers")
		}
		list = append(list, n)
	}
	if dec.PeekKind() != ']' || len(list) == 0 || len(list) > maxMembers {
		r.fail(name, "is not a list of whole numbers")
	}
	return list
}

func unquote(v jsontext.Value) (string, bool) {
	if v.Kind() != '"' {
		return "", false
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return string(v[1 : len(v)-1]), true
	}
	b, err := jsontext.AppendUnquote(nil, v)
	return string(b), err == nil
}
