package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/layer"
)

// Pack is a set of grants that an owner can pick by what an assistant is for, or of guardrails to switch on for the whole organisation.
type Pack struct {
	Name       string      `json:"name"`
	For        string      `json:"for"`   // one sentence: what it lets an assistant do, or what it stops
	Stops      []string    `json:"stops"` // what it stops, a sentence each
	Parts      []Part      `json:"parts,omitempty"`
	Guardrails []Guardrail `json:"guardrails,omitempty"` // as they are, or as a beginning
}

// Part is one grant of a pack, on whichever upstream has some of its words.
type Part struct {
	Name    string        `json:"name"`
	Words   []string      `json:"words"`
	Approve string        `json:"approve,omitempty"` // who must say yes to each
	Layers  *layer.Layers `json:"layers,omitempty"`
}

// unseen takes out what only a machine reads: text that is hidden from people, and what tells a sender that it was read.
func unseen(l layer.Layers) *layer.Layers {
	l.Reduce.Strip = []string{"invisible", "tracking"}
	l.Reduce.Mask = append(l.Reduce.Mask, "secrets")
	return &l
}

// Packs are all there are.
func Packs() []Pack { return append(assistants(), hijacked()) }

func assistants() []Pack {
	read := Part{Name: "read", Words: []string{"mail.read", "mail.search", "file.read", "file.list", "event.read"}, Layers: unseen(layer.Layers{})}
	return []Pack{
		{Name: "reader", For: "Reads mail, files and the calendar, and changes nothing.",
			Stops: []string{"It sends, drafts, labels and deletes no mail.", "It writes, shares, exports and deletes no file.", "It makes no events and invites nobody.", "Text that people do not see, and passwords, keys and codes, are taken out of what it reads."},
			Parts: []Part{read}},
		{Name: "drafter", For: "Reads, and writes drafts that a person sends.",
			Stops: []string{"It sends no mail.", "It labels and deletes none.", "It writes, shares, exports and deletes no file.", "It makes no events and invites nobody."},
			Parts: []Part{read, {Name: "draft", Words: []string{"mail.draft"}}}},
		{Name: "scheduler", For: "Sees who meets when and what about, and makes events; with somebody on one, its owner says yes first.",
			Stops: []string{"It reads no mail and no files.", "It sees no descriptions, places or links of events.", "It invites nobody, and tells nobody of a change, without its owner's yes.", "It deletes no events."},
			Parts: []Part{{Name: "read", Words: []string{"event.read"}, Layers: &layer.Layers{Show: layer.Headers}},
				{Name: "plan", Words: []string{"event.create"}, Layers: &layer.Layers{Show: layer.Headers}},
				{Name: "invite", Words: []string{"event.invite", "event.update"}, Approve: "owner", Layers: &layer.Layers{Show: layer.Headers}}}},
		{Name: "clerk", For: "Reads and labels mail, and files what comes with it.",
			Stops: []string{"It sends and drafts no mail.", "It deletes neither mail nor files: to label as trash or spam is to delete.", "It shares and exports no file.", "It changes no rules."},
			Parts: []Part{{Name: "read", Words: []string{"mail.read", "mail.search", "file.read", "file.list"}, Layers: unseen(layer.Layers{})}, {Name: "file", Words: []string{"mail.label", "file.write"}}}},
		{Name: "researcher", For: "Reads the last 90 days of mail, with numbers, secrets, addresses and links taken out, and sees which files there are.",
			Stops: []string{"It changes nothing, and nothing goes out.", "It sees no card, account or national numbers, no passwords, addresses or links in what it reads, and opens no files or attachments.", "It sees nothing that is older, and no calendar."},
			Parts: []Part{{Name: "read", Words: []string{"mail.read", "mail.search", "file.read", "file.list"}, Layers: &layer.Layers{Show: layer.Redacted, Time: layer.Time{Days: 90}}}}},
		{Name: "assistant", For: "Does all that an assistant does; what goes out, is shared or is lost waits for its owner's yes.",
			Stops: []string{"It sends no mail, shares and exports no file, invites nobody and tells nobody of a change of an event without its owner's yes.", "It deletes nothing without it.", "It changes no rules, forwarding or delegates at all."},
			Parts: []Part{read, {Name: "work", Words: []string{"mail.draft", "mail.label", "file.write", "event.create"}},
				{Name: "ask", Words: []string{"mail.send", "mail.delete", "file.share", "file.export", "file.delete", "event.invite", "event.update", "event.delete"}, Approve: "owner", Layers: unseen(layer.Layers{})}}},
	}
}

// FindPack returns a pack by its name.
func FindPack(name string) (Pack, error) {
	var names []string
	for _, p := range Packs() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Pack{}, fmt.Errorf("there is no pack %q; there is %s", name, strings.Join(names, ", "))
}

// On is the grants that a pack gives on an upstream, by the names of its parts: of each the words that
// the upstream has, with the layers of the part and what more narrows them.
func (p Pack) On(d Described, more layer.Layers) (list []Grant, err error) {
	if len(p.Parts) == 0 {
		return nil, fmt.Errorf("pack %s is guardrails for everybody, and no grants: lanyard pack put %s", p.Name, p.Name)
	}
	for _, part := range p.Parts {
		g := Grant{ID: part.Name, Upstream: d.Upstream.Name, Approve: part.Approve, Plain: true}
		for _, w := range part.Words {
			if slices.ContainsFunc(d.Actions, func(a Action) bool { return slices.Contains(a.Words, w) }) {
				g.Actions = append(g.Actions, w)
			}
		}
		if len(g.Actions) == 0 {
			continue
		}
		var l layer.Layers
		if part.Layers != nil {
			l = *part.Layers
		}
		if l = l.And(more); !l.Zero() {
			g.Layers = &l
		}
		list = append(list, g)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no mail, files or events that pack %s is about", d.Upstream.Name, p.Name)
	}
	return list, nil
}
