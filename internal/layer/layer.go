// Package layer is what one grant shows of a mailbox, a drive or a calendar, and whom it
// may write to: six layers, each by itself, and all must pass. The actions are the
// grant's own; the other five are [Layers]: how much is shown, whose, how old, from where,
// and what is taken out of the text.
//
// The room knows no system. A connector says what is known of a mail, a file or an event
// ([Item]); [Rules] say whether it is shown, and what is left of its text. What a layer
// needs to know of an item and is not known hides it.
package layer

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Layers is what people write. The zero Layers hold nothing back.
type Layers struct {
	Show     string   `json:"show,omitempty" enum:"full,redacted,headers,nothing" doc:"How much of each mail, file or event: full; redacted (text with all that can be masked, addresses and links taken out, no attachments); headers (who, when, what about); nothing (that it is there, and when)"`
	Contacts Contacts `json:"contacts,omitzero"`
	Time     Time     `json:"time,omitzero"`
	Within   Within   `json:"within,omitzero"`
	Reduce   Reduce   `json:"reduce,omitzero"`
}

// Contacts are people and domains: ben@example.com, example.com, or *.example.com for what is below it.
type Contacts struct {
	See   []string `json:"see,omitempty" doc:"What is shown has nobody on it but these: list your own address, too" maxItems:"1000"`
	Write []string `json:"write,omitempty" doc:"Only these are written to, invited or shared with; default: those it may see" maxItems:"1000"`
	Never []string `json:"never,omitempty" doc:"What has these on it is not shown, and they are not written to" maxItems:"1000"`
}

// Time is how far back is seen, and when.
type Time struct {
	Days  int    `json:"days,omitempty" doc:"Nothing older than so many days" minimum:"0" maximum:"36500"`
	Hours string `json:"hours,omitempty" doc:"Only then: days, hours and a time zone" example:"Mon-Fri 08:00-18:00 Europe/Berlin" maxLength:"128"`
}

// Within is the part of the account that is seen. Of each kind, none means all.
type Within struct {
	Labels    []string `json:"labels,omitempty" doc:"Mail with one of these labels, or in one of these folders: inbox, sent, drafts, trash, spam, archive, or a name or id of the account's own" maxItems:"100"`
	Folders   []string `json:"folders,omitempty" doc:"Files that lie in one of these folders, by id" maxItems:"100"`
	Calendars []string `json:"calendars,omitempty" doc:"Events of these calendars, by id; primary is the account's own" maxItems:"100"`
	Drives    []string `json:"drives,omitempty" doc:"Files of these drives, by id; own is the account's own" maxItems:"100"`
}

// Reduce is what is taken out of what is shown.
type Reduce struct {
	Mask        []string `json:"mask,omitempty" doc:"cards, accounts (IBAN), identities (national numbers), secrets (keys, tokens, passwords)" maxItems:"4"`
	Patterns    []string `json:"patterns,omitempty" doc:"More to mask: regular expressions (RE2)" maxItems:"50"`
	Strip       []string `json:"strip,omitempty" doc:"html (shown as text), invisible (text that people do not see), tracking (remote pictures, marks in links)" maxItems:"3"`
	Attachments []string `json:"attachments,omitempty" doc:"Types of content that may be opened: text, pdf, image, office, calendar, archive, or a media type; none for none" maxItems:"50"`
}

// Rules is Layers made ready. It is shared, and never changed.
type Rules struct {
	Layers
	Text string // the Layers as JSON: alike Rules have the same

	see, write, never contacts
	hours             *hours
	mask              masks
	patterns          []*regexp.Regexp
}

// How much is shown, the least first.
const (
	Nothing  = "nothing"
	Headers  = "headers"
	Redacted = "redacted"
	Full     = "full"
)

// New makes Rules, or says which field is wrong and what it can be.
func New(l Layers) (*Rules, error) {
	r := &Rules{Layers: l}
	if err := among("show", []string{l.Show}, "", Full, Redacted, Headers, Nothing); err != nil {
		return nil, err
	}
	if err := among("reduce.mask", l.Reduce.Mask, "cards", "accounts", "identities", "secrets"); err != nil {
		return nil, err
	}
	if err := among("reduce.strip", l.Reduce.Strip, "html", "invisible", "tracking"); err != nil {
		return nil, err
	}
	if err := r.kinds(); err != nil {
		return nil, err
	}
	for _, c := range []struct {
		field string
		words []string
		to    *contacts
	}{{"see", l.Contacts.See, &r.see}, {"write", l.Contacts.Write, &r.write}, {"never", l.Contacts.Never, &r.never}} {
		for _, w := range c.words {
			if err := c.to.add(w, c.field == "never"); err != nil {
				return nil, fmt.Errorf("contacts.%s: %w", c.field, err)
			}
		}
	}
	if len(l.Contacts.Write) == 0 {
		r.write = r.see
	}
	for field, list := range map[string][]string{"labels": l.Within.Labels, "folders": l.Within.Folders, "calendars": l.Within.Calendars, "drives": l.Within.Drives} {
		if slices.Contains(list, "") {
			return nil, fmt.Errorf("within.%s: an empty name is none; leave the list away for all", field)
		}
	}
	if l.Time.Days < 0 || l.Time.Days > 36500 {
		return nil, fmt.Errorf("time.days: %d is not from 1 to 36500", l.Time.Days)
	}
	var err error
	if r.hours, err = parseHours(l.Time.Hours); err != nil {
		return nil, fmt.Errorf("time.hours: %w", err)
	}
	for _, p := range l.Reduce.Patterns {
		re, err := regexp.Compile(p)
		if err != nil {
			return nil, fmt.Errorf("reduce.patterns: %q is no regular expression (RE2): %v", p, err)
		}
		if re.MatchString("") {
			return nil, fmt.Errorf("reduce.patterns: %q fits the empty text, so it would mask everything and nothing", p)
		}
		r.patterns = append(r.patterns, re)
	}
	r.mask = masksOf(l)
	return r, nil
}

func among(field string, given []string, known ...string) error {
	for _, g := range given {
		if !slices.Contains(known, g) {
			return fmt.Errorf("%s: %q is not one of %s", field, g, strings.Join(slices.DeleteFunc(slices.Clone(known), func(s string) bool { return s == "" }), ", "))
		}
	}
	return nil
}

// Zero reports whether nothing is held back.
func (l Layers) Zero() bool {
	return l.Show == "" && len(l.Contacts.See)+len(l.Contacts.Write)+len(l.Contacts.Never) == 0 && l.Time == Time{} &&
		len(l.Within.Labels)+len(l.Within.Folders)+len(l.Within.Calendars)+len(l.Within.Drives) == 0 &&
		len(l.Reduce.Mask)+len(l.Reduce.Patterns)+len(l.Reduce.Strip)+len(l.Reduce.Attachments) == 0
}

// Kind is what an Item is.
type Kind byte

const (
	None Kind = iota
	Mail
	File
	Event
)

// Item is what is known of one mail, file or event.
type Item struct {
	Kind     Kind
	People   []string  // everybody on it: from, to, invited, shared with; each an address
	Peopled  bool      // People is all of them
	At       time.Time // when it came, was changed, or begins; zero: not known
	Labels   []string
	Folders  []string
	Placed   bool   // Labels or Folders are all of them
	Calendar string // empty: not known
	Drive    string // own, or its id; empty: not known
	Draft    bool   // a mail that may become another at any time
}

// ErrHidden means that a layer does not show something, or that it is not there: who asks is not told which.
var ErrHidden = errors.New("there is no such thing here, or the layers of the grant do not show it")

// Shows reports whether the layers show the item at all.
func (r *Rules) Shows(it Item, now time.Time) bool {
	if r.see.some() || r.never.some() {
		if !it.Peopled {
			return false
		}
		for _, p := range it.People {
			if r.see.some() && !r.see.have(p) || r.never.some() && (r.never.have(p) || canonical(p) == "") {
				return false
			}
		}
	}
	if r.Time.Days > 0 && it.At.Before(now.AddDate(0, 0, -r.Time.Days)) {
		return false
	}
	w := r.Within
	switch it.Kind {
	case Mail:
		return within(w.Labels, it.Labels, it.Placed)
	case File:
		return within(w.Folders, it.Folders, it.Placed) && within(w.Drives, []string{it.Drive}, it.Drive != "")
	case Event:
		return within(w.Calendars, []string{it.Calendar}, it.Calendar != "")
	}
	return false
}

func within(want, have []string, known bool) bool {
	if len(want) == 0 {
		return true
	}
	return known && slices.ContainsFunc(have, func(h string) bool {
		return slices.ContainsFunc(want, func(w string) bool { return strings.EqualFold(w, h) })
	})
}

// Needs reports whether something must be known of an item of kind k before it is shown.
func (r *Rules) Needs(k Kind) bool {
	w := r.Within
	return r.see.some() || r.never.some() || r.Time.Days > 0 || k == Mail && len(w.Labels) > 0 || k == File && len(w.Folders)+len(w.Drives) > 0 || k == Event && len(w.Calendars) > 0
}

// Writes returns nil when all of to may be written to. What has nobody to write to passes: it goes to nobody.
func (r *Rules) Writes(to []string) error {
	for _, p := range to {
		switch {
		case (r.write.some() || r.never.some()) && canonical(p) == "":
			return fmt.Errorf("%.80q is no address that can be checked", p)
		case r.never.have(p):
			return fmt.Errorf("%.80q is never to be written to", p)
		case r.write.some() && !r.write.have(p):
			return fmt.Errorf("%.80q is not among those that may be written to", p)
		}
	}
	return nil
}

// LimitsWriting reports whether it matters who is written to.
func (r *Rules) LimitsWriting() bool { return r.write.some() || r.never.some() }

// Open returns nil when now is one of the hours.
func (r *Rules) Open(now time.Time) error {
	if r.hours.hold(now) {
		return nil
	}
	return fmt.Errorf("it is for %s only", r.Time.Hours)
}

// Bodies reports whether text, content and attachments are shown, be it reduced.
func (r *Rules) Bodies() bool { return r.Show != Headers && r.Show != Nothing }

// Reduces reports whether text is changed before it is shown.
func (r *Rules) Reduces() bool {
	return r.Show == Redacted || len(r.Reduce.Mask)+len(r.Reduce.Patterns)+len(r.Reduce.Strip) > 0
}

// Masks reports whether values are masked in text, which then cannot be searched for either.
func (r *Rules) Masks() bool {
	return r.Show == Redacted || len(r.Reduce.Mask)+len(r.Reduce.Patterns) > 0
}

// Guessable is from how many digits on a word may be a piece of what is masked.
func (r *Rules) Guessable() int {
	if r.Show != Redacted && len(r.Reduce.Patterns) == 0 && !slices.ContainsFunc(r.Reduce.Mask, func(m string) bool { return m != "secrets" }) {
		return 6 // a code
	}
	return 4
}
