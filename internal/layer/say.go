package layer

import (
	"fmt"
	"slices"
	"strings"
)

// Say is what the layers do, in plain words: a sentence each.
func (l Layers) Say() (list []string) {
	add := func(format string, words ...string) {
		if len(words) > 0 && words[0] != "" {
			list = append(list, fmt.Sprintf(format, strings.Join(words, ", ")))
		}
	}
	switch l.Show {
	case Redacted:
		add("%s", "Shows text with numbers, secrets, addresses and links taken out, and no attachments.")
	case Headers:
		add("%s", "Shows who, when and what about, and no text.")
	case Nothing:
		add("%s", "Shows that something is there, and when.")
	}
	add("Sees only what has nobody on it but %s.", l.Contacts.See...)
	add("Writes only to %s.", l.Contacts.Write...)
	add("Neither sees nor writes to %s.", l.Contacts.Never...)
	if l.Time.Days > 0 {
		add("%s", fmt.Sprintf("Sees nothing older than %d days.", l.Time.Days))
	}
	add("Only %s.", l.Time.Hours)
	add("Of mail only %s.", l.Within.Labels...)
	add("Of files only the folders %s.", l.Within.Folders...)
	add("Of events only the calendars %s.", l.Within.Calendars...)
	add("Of files only the drives %s.", l.Within.Drives...)
	add("Masks %s.", append(append([]string{}, l.Reduce.Mask...), l.Reduce.Patterns...)...)
	add("Takes out %s.", l.Reduce.Strip...)
	add("Opens of attachments and files only %s.", l.Reduce.Attachments...)
	return list
}

// And is l narrowed by more: of what both say, more counts where it holds back at least as much
// (who, how old, from where, when), and of what is shown and taken out, the stricter of both.
func (l Layers) And(more Layers) Layers {
	strict := map[string]int{"": 0, Full: 0, Redacted: 1, Headers: 2, Nothing: 3}
	if strict[more.Show] > strict[l.Show] {
		l.Show = more.Show
	}
	or := func(a, b []string) []string {
		if len(b) > 0 {
			return b
		}
		return a
	}
	both := func(a, b []string) []string {
		list := slices.Concat(a, b)
		slices.Sort(list)
		return slices.Compact(list)
	}
	l.Contacts.See, l.Contacts.Write, l.Contacts.Never = or(l.Contacts.See, more.Contacts.See), or(l.Contacts.Write, more.Contacts.Write), both(l.Contacts.Never, more.Contacts.Never)
	if more.Time.Days > 0 && (l.Time.Days == 0 || more.Time.Days < l.Time.Days) {
		l.Time.Days = more.Time.Days
	}
	if more.Time.Hours != "" {
		l.Time.Hours = more.Time.Hours
	}
	l.Within.Labels, l.Within.Folders = or(l.Within.Labels, more.Within.Labels), or(l.Within.Folders, more.Within.Folders)
	l.Within.Calendars, l.Within.Drives = or(l.Within.Calendars, more.Within.Calendars), or(l.Within.Drives, more.Within.Drives)
	l.Reduce.Mask, l.Reduce.Patterns = both(l.Reduce.Mask, more.Reduce.Mask), both(l.Reduce.Patterns, more.Reduce.Patterns)
	l.Reduce.Strip, l.Reduce.Attachments = both(l.Reduce.Strip, more.Reduce.Strip), or(l.Reduce.Attachments, more.Reduce.Attachments)
	return l
}
