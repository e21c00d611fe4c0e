package main

import (
	"github.com/spf13/pflag"

	"github.com/lanyard-dev/lanyard/internal/layer"
)

// layerFlags are those by which a grant holds back a part of a mailbox, a drive or a calendar.
func layerFlags(f *pflag.FlagSet, l *layer.Layers) {
	f.StringVar(&l.Show, "show", "", "how much of each mail, file or event: full, redacted, headers or nothing (default full)")
	f.StringArrayVar(&l.Contacts.See, "see", nil, "shown is only what has nobody on it but these: an address, example.com, or *.example.com; can be given again")
	f.StringArrayVar(&l.Contacts.Write, "write-to", nil, "only these are written to, invited or shared with (default those of --see); can be given again")
	f.StringArrayVar(&l.Contacts.Never, "never", nil, "these are neither shown nor written to; can be given again")
	f.IntVar(&l.Time.Days, "days", 0, "nothing older than so many days")
	f.StringVar(&l.Time.Hours, "hours", "", `only then, as in "Mon-Fri 08:00-18:00 Europe/Berlin"`)
	f.StringArrayVar(&l.Within.Labels, "label", nil, "only mail with this label, or in this folder: inbox, sent, or one of the account's own; can be given again")
	f.StringArrayVar(&l.Within.Folders, "folder", nil, "only files that lie in this folder, by id; can be given again")
	f.StringArrayVar(&l.Within.Calendars, "calendar", nil, "only events of this calendar, by id, or primary; can be given again")
	f.StringArrayVar(&l.Within.Drives, "drive", nil, "only files of this drive, by id, or own; can be given again")
	f.StringArrayVar(&l.Reduce.Mask, "mask", nil, "cards, accounts, identities or secrets are masked; can be given again")
	f.StringArrayVar(&l.Reduce.Patterns, "mask-pattern", nil, "regular expression of more to mask; can be given again")
	f.StringArrayVar(&l.Reduce.Strip, "strip", nil, "html, invisible or tracking is taken out; can be given again")
	f.StringArrayVar(&l.Reduce.Attachments, "attachment", nil, "type of content that may be opened: text, pdf, image, office, calendar, archive, a media type, or none; can be given again")
}
