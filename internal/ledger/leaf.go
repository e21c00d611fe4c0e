package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The version of the Open Cybersecurity Schema Framework that leaves are written in.
const ocsfVersion = "1.9.0"

// MaxLeaf is the size of the largest leaf, in bytes.
const MaxLeaf = 64 << 10

// Leaf returns e as one line of OCSF JSON, without the line's end: class API
// Activity for requests, Authorize Session for tokens, Entity Management for
// everything else. The same event always gives the same bytes. What OCSF has no
// word for is under "unmapped". Bytes that are not UTF-8 become U+FFFD. No leaf is larger
// than MaxLeaf, which [Parse] does not read: of an event that would be, the texts are cut.
func (e Event) Leaf() []byte {
	b := e.leaf()
	if len(b) > MaxLeaf {
		b = e.short().leaf()
	}
	return b
}

// Bounds of a short event, which even in \u escapes make less than a MaxLeaf.
const (
	shortText = 128 // bytes
	shortList = 16  // texts of a list, details
)

// short is e with all its texts cut, and a detail that says so.
func (e Event) short() Event {
	text := func(s string) string { return s[:min(len(s), shortText)] }
	list := func(all []string) []string {
		out := make([]string, min(len(all), shortList))
		for i := range out {
			out[i] = text(all[i])
		}
		return out
	}
	detail := map[string]string{"cut": "true"}
	for _, name := range slices.Sorted(maps.Keys(e.Detail))[:min(len(e.Detail), shortList)] {
		detail[text(name)] = text(e.Detail[name])
	}
	for _, s := range []*string{&e.ID, &e.Type, (*string)(&e.Outcome), &e.Actor, &e.Owner, &e.Credential, &e.Token, &e.Action, &e.Class, &e.Upstream, &e.Resource, &e.Reason, &e.Request, &e.Trace, &e.Source, &e.Gateway} {
		*s = text(*s)
	}
	e.Chain, e.Policies, e.Detail = list(e.Chain), list(e.Policies), detail
	return e
}

func (e Event) leaf() []byte {
	class, activity := e.ocsf()
	status, statusName := e.status()
	ms := e.Time.UnixMilli()
	b := make([]byte, 0, 768)
	b = append(b, `{"activity_id":`...)
	b = strconv.AppendInt(b, int64(activity), 10)
	b = append(b, `,"category_uid":`...)
	b = strconv.AppendInt(b, int64(class/1000), 10)
	b = append(b, `,"class_uid":`...)
	b = strconv.AppendInt(b, int64(class), 10)
	b = append(b, `,"type_uid":`...)
	b = strconv.AppendInt(b, int64(class*100+activity), 10)
	b = append(b, `,"time":`...)
	b = strconv.AppendInt(b, ms, 10)
	b = append(b, `,"severity_id":1,"status_id":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, `,"status":"`...)
	b = append(b, statusName...)
	b = append(b, `","metadata":{"version":"`+ocsfVersion+`","product":{"name":"Lanyard","vendor_name":"Lanyard"},"uid":`...)
	b = appendString(b, e.ID)
	b = append(b, `},"actor":{"user":{"uid":`...)
	b = appendString(b, e.Actor)
	b = appendMember(b, "credential_uid", e.Credential)
	b = append(b, '}')
	if e.Token != "" {
		b = append(b, `,"session":{"uid":`...)
		b = append(appendString(b, e.Token), '}')
	}
	b = append(b, `},"api":{"operation":`...)
	b = appendString(b, e.Action)
	b = append(b, `,"request":{"uid":`...)
	b = append(appendString(b, e.Request), '}')
	if e.Status != 0 {
		b = append(b, `,"response":{"code":`...)
		b = append(strconv.AppendInt(b, int64(e.Status), 10), '}')
	}
	b = append(b, `,"service":{"name":`...)
	b = append(appendString(b, e.Upstream), '}', '}')
	if e.Resource != "" {
		b = append(b, `,"resources":[{"name":`...)
		b = append(appendString(b, e.Resource), '}', ']')
	}
	b = append(b, `,"src_endpoint":{"ip":`...)
	b = append(appendString(b, e.Source), '}')
	b = appendMember(b, "status_detail", e.Reason)
	b = append(b, `,"duration":`...)
	b = strconv.AppendInt(b, e.Duration.Milliseconds(), 10)
	b = append(b, `,"unmapped":{"type":`...)
	b = appendString(b, e.Type)
	b = appendMember(b, "outcome", string(e.Outcome))
	b = appendMember(b, "owner", e.Owner)
	b = appendMember(b, "class", e.Class)
	b = appendMember(b, "gateway", e.Gateway)
	b = appendMember(b, "trace", e.Trace)
	b = appendList(b, "chain", e.Chain)
	b = appendList(b, "policies", e.Policies)
	b = appendDetail(b, e.Detail)
	b = append(b, `,"us":`...) // the microseconds that time, in milliseconds, leaves out
	b = strconv.AppendInt(b, e.Time.UnixMicro()-ms*1000, 10)
	b = append(b, `,"duration_us":`...)
	b = strconv.AppendInt(b, e.Duration.Microseconds(), 10)
	return append(b, '}', '}')
}

// ocsf returns the event's class_uid and activity_id.
func (e Event) ocsf() (class, activity int) {
	noun, verb, _ := strings.Cut(e.Type, ".")
	switch noun {
	case "request":
		switch e.Class {
		case "read":
			return 6003, 2
		case "write":
			return 6003, 3
		case "delete":
			return 6003, 4
		}
		return 6003, 99
	case "token":
		if verb == "issue" {
			return 3003, 1
		}
		return 3003, 99
	}
	switch verb {
	case "register", "add", "create":
		return 3004, 1
	case "remove", "retire":
		return 3004, 4
	}
	return 3004, 3
}

func (e Event) status() (id int, name string) {
	switch e.Outcome {
	case Allowed:
		return 1, "Success"
	case Refused, Failed:
		return 2, "Failure"
	}
	return 99, "Pending"
}

func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendString(b, value)
}

func appendList(b []byte, name string, values []string) []byte {
	if len(values) == 0 {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':', '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, v)
	}
	return append(b, ']')
}

func appendDetail(b []byte, detail map[string]string) []byte {
	if len(detail) == 0 {
		return b
	}
	names := make([]string, 0, len(detail))
	for name := range detail {
		names = append(names, name)
	}
	slices.Sort(names)
	b = append(b, `,"detail":{`...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
		b = appendString(b, detail[name])
	}
	return append(b, '}')
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Control characters, and the two line
// separators that some readers take for a line's end, are escaped.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[from:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if (r == utf8.RuneError && size == 1) || r == '\u2028' || r == '\u2029' {
			b = append(b, s[from:i]...)
			b = append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
			from = i + size
		}
		i += size
	}
	return append(append(b, s[from:]...), '"')
}

// wire is the leaf as encoding/json reads it.
type wire struct {
	Time     int64 `json:"time"`
	Metadata struct {
		UID string `json:"uid"`
	} `json:"metadata"`
	Actor struct {
		User struct {
			UID        string `json:"uid"`
			Credential string `json:"credential_uid"`
		} `json:"user"`
		Session struct {
			UID string `json:"uid"`
		} `json:"session"`
	} `json:"actor"`
	API struct {
		Operation string `json:"operation"`
		Request   struct {
			UID string `json:"uid"`
		} `json:"request"`
		Response struct {
			Code int `json:"code"`
		} `json:"response"`
		Service struct {
			Name string `json:"name"`
		} `json:"service"`
	} `json:"api"`
	Resources []struct {
		Name string `json:"name"`
	} `json:"resources"`
	Source struct {
		IP string `json:"ip"`
	} `json:"src_endpoint"`
	Reason   string `json:"status_detail"`
	Unmapped struct {
		Type     string            `json:"type"`
		Outcome  Outcome           `json:"outcome"`
		Owner    string            `json:"owner"`
		Class    string            `json:"class"`
		Gateway  string            `json:"gateway"`
		Trace    string            `json:"trace"`
		Chain    []string          `json:"chain"`
		Policies []string          `json:"policies"`
		Detail   map[string]string `json:"detail"`
		US       int64             `json:"us"`
		Duration int64             `json:"duration_us"`
	} `json:"unmapped"`
}

// Parse returns the event of a leaf.
func Parse(leaf []byte) (Event, error) {
	if len(leaf) > MaxLeaf {
		return Event{}, errors.New("leaf is larger than 64 KiB")
	}
	var w wire
	if err := json.Unmarshal(leaf, &w); err != nil {
		return Event{}, fmt.Errorf("leaf is no event: %w", err)
	}
	u := w.Unmapped
	e := Event{
		ID: w.Metadata.UID, Time: time.UnixMicro(w.Time*1000 + u.US).UTC(), Type: u.Type, Outcome: u.Outcome,
		Actor: w.Actor.User.UID, Chain: u.Chain, Owner: u.Owner, Credential: w.Actor.User.Credential, Token: w.Actor.Session.UID,
		Action: w.API.Operation, Class: u.Class, Upstream: w.API.Service.Name, Reason: w.Reason, Policies: u.Policies,
		Request: w.API.Request.UID, Trace: u.Trace, Source: w.Source.IP, Gateway: u.Gateway, Status: w.API.Response.Code,
		Duration: time.Duration(u.Duration) * time.Microsecond, Detail: u.Detail,
	}
	if len(w.Resources) > 0 {
		e.Resource = w.Resources[0].Name
	}
	return e, nil
}
