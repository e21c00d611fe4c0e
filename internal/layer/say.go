package layer

import (
	"fmt"
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
