package office

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/mail"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// JSON reads a body of JSON. A member that a server could take for one of names, and that is
// spelled in another way, is refused: so nothing is said that is not read here.
func JSON(b []byte, names ...string) (Object, error) {
	if !connector.Few(b, maxMade) {
		return nil, fmt.Errorf("it holds more than %d values and names", maxMade)
	}
	var o Object
	if err := json.Unmarshal(b, &o); err != nil || o == nil {
		return nil, errors.New("it is no JSON object")
	}
	known := map[string]string{}
	for _, n := range names {
		known[plain(n)] = n
	}
	var check func(any, int) error
	check = func(v any, depth int) error {
		switch v := v.(type) {
		case Object:
			for name, inner := range v {
				if exact, ok := known[plain(name)]; ok && name != exact {
					return fmt.Errorf("write %s, not %.40q", exact, name)
				}
				if err := check(inner, depth+1); err != nil {
					return err
				}
			}
		case []any:
			for _, inner := range v {
				if err := check(inner, depth+1); err != nil {
					return err
				}
			}
		}
		if depth > 100 {
			return errors.New("it is nested too deep")
		}
		return nil
	}
	return o, check(o, 0)
}

// maxMade is how many values and names a text may hold of which maps are made.
const maxMade = 1 << 16

// plain is what the spellings of a member that servers take have in common. U+017F and the Kelvin sign are letters of ASCII to who
// compares without case.
func plain(name string) string {
	return strings.ToLower(strings.ToUpper(strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' {
			return -1
		}
		return r
	}, name)))
}

// Strings are the strings of a list; ok is false when it is there and is none.
func Strings(v any) (list []string, ok bool) {
	if v == nil {
		return nil, true
	}
	all, ok := v.([]any)
	if !ok {
		return nil, false
	}
	for _, one := range all {
		s, text := one.(string)
		if !text {
			return nil, false
		}
		list = append(list, s)
	}
	return list, true
}

// SetPeople puts who is written to, and their domains, among the arguments.
func SetPeople(call *policy.Call, name, domains string, people []string) {
	list, names := []string{}, []string{}
	for _, p := range people {
		if a := layer.Address(p); !slices.Contains(list, a) {
			list = append(list, a)
		}
		if d := layer.Domain(p); !slices.Contains(names, d) {
			names = append(names, d)
		}
	}
	call.Arguments[name], call.Arguments[domains] = list, names
}

// MailArgs are the arguments that SetMail gives.
var MailArgs = []policy.Parameter{{Name: "recipients", Type: "strings", Format: "email"}, {Name: "recipient_domains", Type: "strings"}, {Name: "subject", Type: "string"}, {Name: "attachments", Type: "integer"}, {Name: "size", Type: "integer"}}

// Base64 decodes what is sent as base64 of either alphabet, with or without its padding.
func Base64(s string) ([]byte, error) {
	s = strings.NewReplacer("-", "+", "_", "/", "\r", "", "\n", "").Replace(strings.TrimRight(s, "=\r\n"))
	return base64.RawStdEncoding.DecodeString(s)
}

// Recipients and Answers are the headers of a mail that say whom it is for, and where what it brings about goes: the same
// ones are read in what is sent and in what is shown.
var (
	Recipients = []string{"To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc", "Apparently-To"}
	Answers    = []string{"Reply-To", "Mail-Reply-To", "Mail-Followup-To", "Resent-Reply-To", "Disposition-Notification-To", "Return-Receipt-To"}
)

// Unread stands for text that is not looked at: an address that nobody has seen anywhere.
const Unread = "https://unread.invalid/"

// SetMail puts what an RFC 5322 message says among the arguments. A message that two readers could
// read differently is refused.
func SetMail(call *policy.Call, raw []byte) error {
	if err := headerForm(raw); err != nil {
		return err
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return errors.New("the message cannot be read")
	}
	var to []string
	for _, name := range slices.Concat(Recipients, Answers) {
		for _, v := range m.Header[name] {
			to = append(to, layer.Addresses(v)...)
		}
	}
	SetPeople(call, "recipients", "recipient_domains", to)
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		subject = m.Header.Get("Subject")
	}
	call.Arguments["subject"] = strings.ToValidUTF8(subject, "\ufffd")
	call.Arguments["size"] = int64(len(raw))
	call.Arguments["attachments"] = int64(attachments(m.Header.Get("Content-Type"), m.Body, 0))
	texts, whole := Spoken(raw)
	for _, s := range texts {
		call.Rest = append(call.Rest, provenance.Argument{Name: "body", Value: s})
	}
	if !whole { // what is not read could be anything
		call.Rest = append(call.Rest, provenance.Argument{Name: "body", Value: Unread})
	}
	return nil
}

// headerForm refuses a header that is not lines of "Name: value" (RFC 5322 section 2.2), each with one end of line.
func headerForm(raw []byte) error {
	bad := errors.New("the message's header is not lines of Name: value")
	for first := true; ; first = false {
		line, rest, ok := bytes.Cut(raw, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		switch {
		case len(line) == 0 && first: // some look for the header after it
			return bad
		case len(line) == 0:
			return nil
		case bytes.ContainsAny(line, "\r\x00\v\f"), len(line) > 1<<16:
			return bad
		case line[0] == ' ' || line[0] == '\t':
			if first || len(bytes.TrimSpace(line)) == 0 {
				return bad
			}
		default:
			name, _, colon := bytes.Cut(line, []byte(":"))
			if !colon || len(name) == 0 || bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				return bad
			}
		}
		if raw = rest; !ok {
			return nil
		}
	}
}

// attachments counts parts that have a name or are no text.
func attachments(kind string, body io.Reader, depth int) (n int) {
	base, parameters, err := mime.ParseMediaType(kind)
	if err != nil || !strings.HasPrefix(base, "multipart/") || depth > 20 {
		return 0
	}
	in := multipart.NewReader(body, parameters["boundary"])
	for range 1000 {
		p, err := in.NextRawPart()
		if err != nil {
			return n
		}
		k := p.Header.Get("Content-Type")
		inner, _, _ := mime.ParseMediaType(k)
		switch {
		case strings.HasPrefix(inner, "multipart/"):
			n += attachments(k, p, depth+1)
		case p.FileName() != "" || strings.Contains(k, "name=") || inner != "" && !strings.HasPrefix(inner, "text/"):
			n++
		}
	}
	return n
}

// Upload takes an upload apart: of multipart/related, JSON and then content; else content alone.
func Upload(r *connector.Request) (metadata, content []byte, err error) {
	kind := r.Header.Get("Content-Type")
	base, parameters, err := mime.ParseMediaType(kind)
	if err != nil {
		return nil, nil, errors.New("its Content-Type cannot be read")
	}
	if !strings.HasPrefix(base, "multipart/") {
		return nil, r.Body, nil
	}
	in := multipart.NewReader(bytes.NewReader(r.Body), parameters["boundary"])
	for i := 0; ; i++ {
		p, err := in.NextRawPart()
		if errors.Is(err, io.EOF) && i == 2 {
			return metadata, content, nil
		}
		if err != nil || i == 2 {
			return nil, nil, errors.New("an upload in parts has two: what it is, and then its content")
		}
		if !connector.UTF8(p.Header.Get("Content-Type")) || len(p.Header["Content-Type"]) > 1 {
			return nil, nil, errors.New("what an upload is must be said in UTF-8")
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return nil, nil, errors.New("the upload is cut off")
		}
		switch e := strings.ToLower(p.Header.Get("Content-Transfer-Encoding")); e {
		case "", "7bit", "8bit", "binary":
		case "base64":
			if b, err = Base64(string(b)); err != nil {
				return nil, nil, errors.New("a part of the upload is no base64")
			}
		default:
			return nil, nil, fmt.Errorf("a part of the upload is encoded as %.20q, which is not read here", e)
		}
		if i == 0 {
			metadata = b
		} else {
			content = b
		}
	}
}

// sniffed is the type that content looks to be of.
func sniffed(data []byte) string { return http.DetectContentType(data) }
