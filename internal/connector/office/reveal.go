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
	Line bool                                                  // it is text
	Deep bool                                                  // it is an object, or has some; else it is one value, or a list of values
	Func func(v *Value, rules []*layer.Rules, from Level) bool // has of v what is shown, if anything is
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
func (m Members) Trim(o *Value, rules []*layer.Rules) {
	l := level(rules)
	o.Filter(func(v *Value) bool {
		known, ok := m[v.name]
		switch {
		case !ok || known.From > l:
			return false
		case known.Func != nil:
			return known.Func(v, rules, l)
		case !known.Deep && !v.flat():
			return false
		case known.Line && v.IsText():
			v.SetText(Line(v.text, rules))
		case known.Line:
			return !v.Some()
		}
		return true
	})
}

var errForm = errors.New("the reply has a form that cannot be held against the layers of the grant")

// reads is what reads one reply.
func reads(u connector.Under) *decoder {
	if u.Keeps == nil {
		return &decoder{}
	}
	return &decoder{keeps: u.Keeps()}
}

// reply reads a reply of JSON.
func (d *decoder) reply(kind string, b []byte) (*Value, error) {
	if !jsonKind(kind) {
		return nil, errForm
	}
	o, ok := d.decode(b)
	switch {
	case d.full != nil:
		return nil, d.full
	case !ok:
		return nil, errForm
	}
	return o, nil
}

// Withhold is [connector.Withholder]'s: it leaves out the members, wherever they stand, of which gives says that they give something to
// everybody who has them. of is the object that m is a member of.
func Withhold(reply []byte, keeps func(bytes int64) error, gives func(of, m *Value) bool) ([]byte, error) {
	read := decoder{keeps: keeps}
	defer read.done()
	o, ok := read.decode(reply)
	switch {
	case read.full != nil:
		return nil, read.full
	case !ok:
		return nil, errors.New("it is no JSON object")
	}
	some := false
	var within func(v *Value)
	within = func(v *Value) {
		if v.IsObject() {
			v.Filter(func(m *Value) bool {
				out := gives(v, m)
				some = some || out
				return !out
			})
		}
		for inner := range v.All() {
			within(inner)
		}
	}
	if within(o); !some {
		return reply, nil
	}
	return o.Append(make([]byte, 0, len(reply))), nil
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
	read := reads(u)
	defer read.done()
	o, err := read.reply(kind, reply)
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
	return o.Append(slices.Grow(u.Room[:0], len(reply))), kind, nil
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

// receipt leaves of o the members of these names that are one value or a list of them, and of a message in it the same.
func receipt(o *Value, names []string) {
	o.Filter(func(m *Value) bool {
		if m.name == "message" && m.IsObject() {
			receipt(m, names)
			return slices.Contains(names, "message")
		}
		return slices.Contains(names, m.name) && m.flat()
	})
}

// list leaves out of a list what is not shown, and counts what is.
func (d *Dialect) list(m Meaning, o *Value, call policy.Call, u connector.Under) error {
	list := o.Member(m.List)
	if list != nil && !list.IsList() {
		return errForm
	}
	all := list.Items()
	shown := make([]bool, len(all))
	var asked []int // of which the reply says too little
	for i, one := range all {
		switch {
		case !one.IsObject():
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
		shown[asked[i]] = d.looked(m, all[asked[i]], call, u)
	})
	kept := all[:0]
	for i, one := range all {
		if !shown[i] {
			continue
		}
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
	if list != nil {
		list.SetItems(kept...)
	}
	o.Filter(func(v *Value) bool {
		if slices.Contains(m.Counts, v.name) {
			v.SetNumber(len(kept))
			return true
		}
		return v == list || slices.Contains(m.Keep, v.name)
	})
	return nil
}

// shows reports whether all of rules show o; where what it says is not enough, it is looked up.
func (d *Dialect) shows(m Meaning, o *Value, call policy.Call, u connector.Under) bool {
	shown, enough := d.seen(m, o, call, u)
	return shown || !enough && d.looked(m, o, call, u)
}

// seen reports whether o says by itself that all of rules show it; if not enough, it has to be looked up.
func (d *Dialect) seen(m Meaning, o *Value, call policy.Call, u connector.Under) (shown, enough bool) {
	if !slices.ContainsFunc(u.Rules, func(r *layer.Rules) bool { return r.Needs(m.Kind) }) {
		return true, true
	}
	if m.Within != "" {
		o = o.Member(m.Within)
	}
	shown = o.IsObject() && m.Many == "" && all(d.Item(m.Kind, o, call), u)
	return shown, shown
}

// looked looks o up.
func (d *Dialect) looked(m Meaning, o *Value, call policy.Call, u connector.Under) bool {
	id := o.Member("id").Text()
	if m.Look == "" || id == "" || u.Look == nil {
		return false
	}
	targets := fill(m.Look, call, id)
	if len(targets) != 1 {
		return false
	}
	items, err := d.look(m, targets[0], call, u)
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
func (d *Dialect) trim(m Meaning, o *Value, rules []*layer.Rules) {
	o.Drop(d.Never...)
	if m.Many != "" { // of a thread, which may hold what is not shown, that it is there
		receipt(o, []string{"id"})
		return
	}
	if Whole(rules) {
		return
	}
	if m.Within != "" {
		o.Filter(func(v *Value) bool { return v.name == m.Within && v.IsObject() || v.name == "id" && v.flat() })
		if o = o.Member(m.Within); o == nil {
			return
		}
	}
	d.Members[m.Kind].Trim(o, rules)
}
