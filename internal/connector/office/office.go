// Package office is what connectors of mailboxes, drives and calendars have in common: the
// words that they share, so that one grant reads the same for all of them, and how a
// request and its reply are held against a grant's layers.
//
// A family says in a [Dialect] what each of its actions means, what its JSON says of
// a mail, a file or an event, and which members of it are shown from which level on. Under
// layers only what is in these tables passes: an action, a member of a reply, an option of a
// query that is not there is refused or left out.
package office

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Object is a JSON object of a request, or a record.
type Object = map[string]any

// Words are all there are, by what they are about.
var Words = []string{
	"mail.read", "mail.search", "mail.draft", "mail.send", "mail.label", "mail.delete", "mail.rule",
	"file.read", "file.list", "file.write", "file.share", "file.delete", "file.export",
	"event.read", "event.create", "event.update", "event.invite", "event.delete",
}

// Meaning is what one action of a family is.
type Meaning struct {
	Words []string // the usual first
	Kind  layer.Kind

	Body  func(r *connector.Request, call *policy.Call) error // adds what the body says to the arguments, and may choose another word
	Args  []policy.Parameter                                  // that Body adds
	Large bool                                                // the body may have MaxMail bytes; else maxJSON

	To     []string // arguments that say who is written to
	ToOn   bool     // so does what it acts on
	On     []string // what it acts on: templates of targets, each of one item; see fill
	Into   []string // where it puts something: templates of targets of files, which are drives or folders
	Place  bool     // it makes something, in the calendar or drive that its path says
	Bare   bool     // it only makes, and On may name nothing
	Reply  Reply
	List   string   // of a reply that is a list: its member with the items
	Counts []string // members that say how many there are
	Keep   []string // members that say nothing of what is in the list: the next page
	Within string   // the member of an item that is the mail itself
	Look   string   // template of the target that says more of an item, with its id
	Many   string   // the member of what Look brings that holds several: one that is shown is enough
}

// Reply is how a reply is shown.
type Reply byte

const (
	Receipt  Reply = iota // what was done: ids alone
	One                   // it is an item
	List                  // it holds items
	Thread                // it is made of items: those that are shown, and at least one
	Content               // it is content of a file or an attachment
	Same                  // it says nothing that a layer could hold back
	Names                 // labels, folders or calendars
	Attached              // it is an attachment, or holds some
)

// Dialect is how one family speaks.
type Dialect struct {
	Of      map[string]Meaning // by action
	Item    func(k layer.Kind, o *Value, call policy.Call) layer.Item
	Place   func(call policy.Call) layer.Item // where something new goes
	Members map[layer.Kind]Members
	Never   []string // members that lead around the gateway: never shown under layers
	Named   func(m Meaning, o *Value, call policy.Call, rules []*layer.Rules) bool
	Names   []string // members of labels, folders and calendars that are shown
	Receipt []string // members of a receipt that are shown
	Query   func(m Meaning, call policy.Call, u connector.Under) error
	File    func(m Meaning, call policy.Call) bool // the reply is content, whatever m says
	Data    func(o *Value) ([]byte, func([]byte), bool)
	Attach  func(o *Value, rules []*layer.Rules) // shows an attachment
}

// Limits of bodies.
const (
	MaxMail  = 36 << 20 // 25 MB of attachments as base64
	maxJSON  = 1 << 20
	maxLooks = 8 // at once
)

// MaxBody is what the body of a request that means action may have, 0 if it need not be read.
func (d *Dialect) MaxBody(action string) int64 {
	switch m := d.Of[action]; {
	case m.Body == nil:
		return 0
	case m.Large:
		return MaxMail
	}
	return maxJSON
}

// Read adds what the body says to call.
func (d *Dialect) Read(r *connector.Request, call *policy.Call) error {
	m := d.Of[call.Action]
	if m.Body == nil || len(r.Body) == 0 {
		return nil
	}
	if call.Arguments == nil {
		call.Arguments = map[string]any{}
	}
	if err := m.Body(r, call); err != nil {
		*call = policy.Call{}
		return fmt.Errorf("%w: its body: %w", connector.ErrUnrecognised, err)
	}
	return nil
}

// Actions adds to those that a table has the arguments that Body gives.
func (d *Dialect) Actions(list []policy.Action) []policy.Action {
	for i := range list {
		m := d.Of[list[i].Name]
		have := list[i].Parameters
		list[i].Parameters = have[:len(have):len(have)]
		for _, p := range m.Args {
			if !slices.ContainsFunc(have, func(q policy.Parameter) bool { return q.Name == p.Name }) {
				list[i].Parameters = append(list[i].Parameters, p)
			}
		}
	}
	return list
}

// Admit is [connector.Layered]'s.
func (d *Dialect) Admit(r *connector.Request, call policy.Call, u connector.Under) error {
	m, ok := d.Of[call.Action]
	if !ok || len(m.Words) == 0 {
		return fmt.Errorf("%s cannot be held against the layers of its grant", call.Action)
	}
	if len(r.Header["Range"]) > 0 {
		return errors.New("a part of something cannot be held against the layers of its grant; ask for all of it")
	}
	if m.Body != nil && m.Args != nil && len(r.Body) == 0 && call.Class != policy.Read && !m.Bare {
		return errors.New("it has no body, so what it would do cannot be held against the layers of its grant")
	}
	to, said := addressed(m, call)
	for _, rule := range u.Rules {
		if err := rule.Open(u.Now); err != nil {
			return err
		}
		if err := rule.Writes(to); err != nil {
			return err
		}
		if rule.LimitsWriting() && len(m.To) > 0 && !said && !m.ToOn && !m.Bare {
			return errors.New("it does not say whom it is for")
		}
	}
	if err := d.Query(m, call, u); err != nil {
		return err
	}
	if m.Place {
		it := d.Place(call)
		it.At, it.Peopled = u.Now, true
		for _, rule := range u.Rules {
			if it.Kind != layer.Mail && !rule.Shows(it, u.Now) && !(it.Kind == layer.File && it.Drive == "") { // of a file, Into says which drive
				return errors.New("it would be put where the layers of the grant do not reach")
			}
		}
	}
	if u.Look == nil {
		return nil
	}
	return d.acts(m, call, u, m.ToOn && !(said && m.Kind == layer.Mail))
}

// addressed are those that a call is written to, and whether it says so at all.
func addressed(m Meaning, call policy.Call) (to []string, said bool) {
	for _, name := range m.To {
		list, ok := call.Arguments[name].([]string)
		to, said = append(to, list...), said || ok
	}
	return to, said
}

// acts looks at what a call acts on. Where no layer could hold it back there is nothing to look for. toOn is that it goes to who
// is on that, whoever it is.
func (d *Dialect) acts(m Meaning, call policy.Call, u connector.Under, toOn bool) error {
	needs := (toOn || len(m.Into) > 0) && slices.ContainsFunc(u.Rules, (*layer.Rules).LimitsWriting) ||
		slices.ContainsFunc(u.Rules, func(r *layer.Rules) bool { return r.Needs(m.Kind) || m.Reply == Content && !r.AnyContent() })
	if !needs {
		return nil
	}
	for _, template := range m.On {
		for _, target := range fill(template, call, "") {
			items, err := d.look(m, target, call, u)
			if err != nil {
				return err
			}
			for _, it := range items {
				for _, rule := range u.Rules {
					if !rule.Shows(it, u.Now) {
						return layer.ErrHidden
					}
					if toOn {
						if it.Draft && rule.LimitsWriting() { // now it is for these, and then perhaps for others
							return errors.New("a draft may become another between this look and its going out; send the mail itself, with all that it says")
						}
						if err := rule.Writes(it.People); err != nil || rule.LimitsWriting() && !it.Peopled {
							return errors.Join(errors.New("it goes to who is on what it answers or sends"), err)
						}
					}
				}
			}
		}
	}
	for _, template := range m.Into {
		for _, target := range fill(template, call, "") {
			items, err := d.look(m, target, call, u)
			if err != nil {
				return err
			}
			for _, it := range items {
				id, _, _ := strings.Cut(target, "?")
				id, err := url.PathUnescape(id[strings.LastIndexByte(id, '/')+1:]) // fill has escaped it
				if err != nil {
					return err
				}
				known := it.Peopled
				it.At, it.Peopled, it.Folders, it.Placed = u.Now, true, []string{id}, true
				for _, rule := range u.Rules { // who sees the folder will see what is put into it
					if !rule.Shows(it, u.Now) || rule.LimitsWriting() && (!known || rule.Writes(it.People) != nil) {
						return errors.New("it would be put where the layers of the grant do not reach")
					}
				}
			}
		}
	}
	return nil
}

// look asks for target, and says what is known of what it brings.
func (d *Dialect) look(m Meaning, target string, call policy.Call, u connector.Under) ([]layer.Item, error) {
	kind, reply, err := u.Look(target)
	if err != nil {
		return nil, err
	}
	read := reads(u)
	defer read.done()
	o, err := read.reply(kind, reply)
	if err != nil {
		return nil, err
	}
	return d.items(m, o, call), nil
}

// items are the items that an object is, or is made of.
func (d *Dialect) items(m Meaning, o *Value, call policy.Call) (list []layer.Item) {
	for _, name := range []string{m.Many, "messages"} {
		if many := o.Member(name); many.IsList() && name != "" {
			for one := range many.All() {
				if one.IsObject() {
					list = append(list, d.Item(m.Kind, one, call))
				}
			}
			return list
		}
	}
	if inner := o.Member("message"); inner.IsObject() {
		o = inner
	}
	return []layer.Item{d.Item(m.Kind, o, call)}
}

// Fill writes arguments into a template, as a Meaning's On has them.
func Fill(template string, call policy.Call) []string { return fill(template, call, "") }

// fill writes arguments, and an item's id, into a template: one target, or one for each value
// of a list; none where an argument is missing.
func fill(template string, call policy.Call, id string) []string {
	targets := []string{""}
	for rest := template; rest != ""; {
		text, after, more := strings.Cut(rest, "{")
		for i := range targets {
			targets[i] += text
		}
		if !more {
			break
		}
		var name string
		name, rest, _ = strings.Cut(after, "}")
		var values []string
		switch v := call.Arguments[name].(type) {
		case string:
			values = []string{v}
		case []string:
			values = v
		}
		if name == "id" && id != "" {
			values = []string{id}
		}
		if name == "base" && len(values) == 1 { // it is escaped already
			for i := range targets {
				targets[i] += values[0]
			}
			continue
		}
		var next []string
		for _, t := range targets {
			for _, v := range values {
				if v != "" && v != "." && v != ".." {
					next = append(next, t+url.PathEscape(v))
				}
			}
		}
		targets = next
	}
	return targets
}

// each runs f for each of n, some at once.
func each(n int, f func(int)) {
	var wg sync.WaitGroup
	places := make(chan struct{}, maxLooks)
	for i := range n {
		wg.Add(1)
		places <- struct{}{}
		go func() {
			defer wg.Done()
			f(i)
			<-places
		}()
	}
	wg.Wait()
}
