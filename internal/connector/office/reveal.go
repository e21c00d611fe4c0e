package office

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Members says what is shown of an object: from which level on, and how.
type Members map[string]Member

// Member is how one member is shown.
type Member struct {
	From Level
	Line bool                                              // it is text
	Deep bool                                              // it is an object, or has some; else it is one value, or a list of values
	Func func(v any, rules []*layer.Rules, from Level) any // nil for nothing
}

// Level is how much is shown, as a number.
type Level byte

const (
	There   Level = iota // that it is there, and when
	Headers              // who, and what about
	Text                 // all that can be reduced
)

// level is what all of rules show.
func level(rules []*layer.Rules) Level {
	l := Text
	for _, r := range rules {
		switch r.Show {
		case layer.Nothing:
			return There
		case layer.Headers:
			l = Headers
		}
	}
	return l
}

// Whole reports whether what is shown is shown as it is.
func Whole(rules []*layer.Rules) bool {
	return !slices.ContainsFunc(rules, func(r *layer.Rules) bool { return !r.AnyContent() })
}

// Line is text as all of rules show it.
func Line(s string, rules []*layer.Rules) string {
	for _, r := range rules {
		s = r.Line(s)
	}
	return s
}

// Body is content of that type as all of rules show it.
func Body(kind, s string, rules []*layer.Rules) (string, string) {
	for _, r := range rules {
		s, kind = r.Content(kind, s)
	}
	return s, kind
}

// Opens reports whether all of rules open content of that type.
func Opens(rules []*layer.Rules, kind string, content []byte) bool {
	return !slices.ContainsFunc(rules, func(r *layer.Rules) bool { return !r.Opens(kind, content) })
}

// Trim leaves of o what is shown of it.
func (m Members) Trim(o Object, rules []*layer.Rules) {
	l := level(rules)
	for name, v := range o {
		known, ok := m[name]
		if !ok || known.From > l {
			delete(o, name)
			continue
		}
		switch s, text := v.(string); {
		case known.Func == nil && !known.Deep && !flat(v):
			delete(o, name)
		case known.Func != nil:
			if v = known.Func(v, rules, l); v == nil {
				delete(o, name)
			} else {
				o[name] = v
			}
		case known.Line && text:
			o[name] = Line(s, rules)
		case known.Line && v != nil:
			delete(o, name)
		}
	}
}

// flat reports whether v is one value, or a list of values.
func flat(v any) bool {
	if list, ok := v.([]any); ok {
		return !slices.ContainsFunc(list, func(v any) bool { return !flat(v) })
	}
	_, object := v.(Object)
	return !object
}

var errForm = errors.New("the reply has a form that cannot be held against the layers of the grant")

// object reads a reply of JSON.
func object(kind string, reply []byte) (Object, error) {
	if base, _, err := mime.ParseMediaType(kind); err != nil || base != "application/json" {
		return nil, errForm
	}
	o, ok := decode(reply)
	if !ok {
		return nil, errForm
	}
	return o, nil
}

// Reveal is [connector.Layered]'s.
func (d *Dialect) Reveal(r *connector.Request, call policy.Call, u connector.Under, kind string, reply []byte) ([]byte, string, error) {
	m, ok := d.Of[call.Action]
	if !ok || len(m.Words) == 0 {
		return nil, "", errForm
	}
	if len(reply) == 0 {
		return reply, kind, nil
	}
	if m.Reply == Same {
		return reply, kind, nil
	}
	content := m.Reply == Content || d.File != nil && d.File(m, call)
	if content && d.Data == nil || content && !jsonKind(kind) || content && m.Reply != Content {
		return d.content(u.Rules, kind, reply)
	}
	o, err := object(kind, reply)
	if err != nil {
		return nil, "", err
	}
	switch {
	case content:
		data, put, ok := d.Data(o)
		if !ok {
			return nil, "", errForm
		}
		seen, _, err := d.content(u.Rules, sniffed(data), data)
		if err != nil {
			return nil, "", err
		}
		put(seen)
	case m.Reply == Receipt:
		receipt(o, d.Receipt)
	case m.Reply == One:
		if !d.shows(m, o, call, u) {
			return nil, "", layer.ErrHidden
		}
		d.trim(m, o, u.Rules)
	case m.Reply == Attached && m.List == "":
		d.Attach(o, u.Rules)
	case m.Reply == Names && m.List == "":
		if !d.Named(m, o, call, u.Rules) {
			return nil, "", layer.ErrHidden
		}
		receipt(o, d.Names)
	default:
		if err := d.list(m, o, call, u); err != nil {
			return nil, "", err
		}
	}
	out, err := encode(slices.Grow(u.Room[:0], len(reply)), o)
	return out, kind, err
}

func jsonKind(kind string) bool {
	base, _, err := mime.ParseMediaType(kind)
	return err == nil && base == "application/json"
}

// content is content as it is shown.
func (d *Dialect) content(rules []*layer.Rules, kind string, data []byte) ([]byte, string, error) {
	if Whole(rules) {
		return data, kind, nil
	}
	if !Opens(rules, kind, data) {
		return nil, "", fmt.Errorf("content of type %.60q is not shown by the layers of the grant", kind)
	}
	for _, r := range rules {
		if r.Reduces() {
			if !Readable(kind, data) {
				return nil, "", errors.New("the content is text in an encoding that cannot be held against the layers of the grant")
			}
			var s string
			s, kind = r.Content(kind, string(data))
			data = []byte(s)
		}
	}
	return data, kind, nil
}

// Readable reports whether text of that type says what its letters say.
func Readable(kind string, data []byte) bool {
	_, parameters, err := mime.ParseMediaType(kind)
	if err != nil || bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) || bytes.IndexByte(data, 0) >= 0 {
		return false
	}
	c := strings.ToLower(parameters["charset"])
	return c == "" || c == "utf-8" || c == "us-ascii" || c == "ascii" || strings.HasPrefix(c, "iso-8859-") || strings.HasPrefix(c, "windows-125")
}

func receipt(o Object, names []string) {
	inner, _ := o["message"].(Object)
	for name, v := range o {
		if !slices.Contains(names, name) || !flat(v) {
			delete(o, name)
		}
	}
	if inner != nil && slices.Contains(names, "message") {
		receipt(inner, names)
		o["message"] = inner
	}
}

// list leaves out of a list what is not shown, and counts what is.
func (d *Dialect) list(m Meaning, o Object, call policy.Call, u connector.Under) error {
	all, _ := o[m.List].([]any)
	if _, ok := o[m.List]; ok && all == nil {
		return errForm
	}
	shown := make([]bool, len(all))
	var asked []int // of which the reply says too little
	for i, v := range all {
		one, ok := v.(Object)
		switch {
		case !ok:
		case m.Reply == Attached:
			shown[i] = true
		case m.Reply == Names:
			shown[i] = d.Named(m, one, call, u.Rules)
		default:
			var enough bool
			if shown[i], enough = d.seen(m, one, call, u); !enough {
				asked = append(asked, i)
			}
		}
	}
	each(len(asked), func(i int) {
		shown[asked[i]] = d.looked(m, all[asked[i]].(Object), call, u)
	})
	kept := all[:0]
	for i, v := range all {
		if !shown[i] {
			continue
		}
		one := v.(Object)
		switch m.Reply {
		case Names:
			receipt(one, d.Names)
		case Attached:
			d.Attach(one, u.Rules)
		default:
			d.trim(m, one, u.Rules)
		}
		kept = append(kept, one)
	}
	if m.Reply == Thread && len(kept) == 0 {
		return layer.ErrHidden
	}
	for name := range o {
		switch {
		case slices.Contains(m.Counts, name):
			o[name] = float64(len(kept))
		case name != m.List && !slices.Contains(m.Keep, name):
			delete(o, name)
		}
	}
	if o[m.List] != nil || len(kept) > 0 {
		o[m.List] = kept
	}
	return nil
}

// shows reports whether all of rules show o; where what it says is not enough, it is looked up.
func (d *Dialect) shows(m Meaning, o Object, call policy.Call, u connector.Under) bool {
	shown, enough := d.seen(m, o, call, u)
	return shown || !enough && d.looked(m, o, call, u)
}

// seen reports whether o says by itself that all of rules show it; if not enough, it has to be looked up.
func (d *Dialect) seen(m Meaning, o Object, call policy.Call, u connector.Under) (shown, enough bool) {
	if !slices.ContainsFunc(u.Rules, func(r *layer.Rules) bool { return r.Needs(m.Kind) }) {
		return true, true
	}
	if m.Within != "" {
		o, _ = o[m.Within].(Object)
	}
	shown = o != nil && m.Many == "" && all(d.Item(m.Kind, o, call), u)
	return shown, shown
}

// looked looks o up.
func (d *Dialect) looked(m Meaning, o Object, call policy.Call, u connector.Under) bool {
	id, _ := o["id"].(string)
	if m.Look == "" || id == "" || u.Look == nil {
		return false
	}
	targets := fill(m.Look, call, id)
	if len(targets) != 1 {
		return false
	}
	items, err := d.look(m, targets[0], call, u.Look)
	if err != nil || len(items) == 0 {
		return false
	}
	if m.Many != "" {
		return slices.ContainsFunc(items, func(it layer.Item) bool { return all(it, u) })
	}
	return !slices.ContainsFunc(items, func(it layer.Item) bool { return !all(it, u) })
}

// all reports whether all of the rules show it.
func all(it layer.Item, u connector.Under) bool {
	return !slices.ContainsFunc(u.Rules, func(r *layer.Rules) bool { return !r.Shows(it, u.Now) })
}

// trim leaves of an item what is shown of it.
func (d *Dialect) trim(m Meaning, o Object, rules []*layer.Rules) {
	for _, name := range d.Never {
		delete(o, name)
	}
	if m.Many != "" { // of a thread, which may hold what is not shown, that it is there
		receipt(o, []string{"id"})
		return
	}
	if Whole(rules) {
		return
	}
	if m.Within != "" {
		inner, _ := o[m.Within].(Object)
		if receipt(o, []string{"id"}); inner == nil {
			return
		}
		o[m.Within] = inner
		o = inner
	}
	d.Members[m.Kind].Trim(o, rules)
}
