package postbox

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/lanyard-dev/lanyard/internal/bridge"
)

// folder is one of the account's, with the label that it is.
type folder struct{ name, label string }

var special = map[imap.MailboxAttr]string{imap.MailboxAttrSent: "SENT", imap.MailboxAttrDrafts: "DRAFT", imap.MailboxAttrTrash: "TRASH", imap.MailboxAttrJunk: "SPAM"}

// usual are the names of folders on servers that do not say what they are for (RFC 6154).
var usual = map[string]string{"inbox": "INBOX", "sent": "SENT", "sent items": "SENT", "drafts": "DRAFT", "trash": "TRASH", "deleted items": "TRASH", "junk": "SPAM", "spam": "SPAM"}

// look learns which folders there are.
func (p *Postbox) look() error {
	list, err := p.client.List("", "*", nil).Collect()
	if err != nil {
		return fmt.Errorf("listing folders: %w", err)
	}
	p.folders = nil
	taken := map[string]bool{}
	for _, d := range list {
		if slices.Contains(d.Attrs, imap.MailboxAttrNoSelect) || slices.Contains(d.Attrs, imap.MailboxAttrAll) || slices.Contains(d.Attrs, imap.MailboxAttrFlagged) {
			continue
		}
		label := usual[strings.ToLower(d.Mailbox)]
		for attr, l := range special {
			if slices.Contains(d.Attrs, attr) {
				label = l
			}
		}
		if label == "" || taken[label] {
			label = d.Mailbox
		}
		taken[label] = true
		p.folders = append(p.folders, folder{d.Mailbox, label})
	}
	return nil
}

// folder is the one that a label is, made if it is one that every mailbox has.
func (p *Postbox) folder(label string) (folder, error) {
	for _, f := range p.folders {
		if strings.EqualFold(f.label, label) {
			return f, nil
		}
	}
	name, ok := map[string]string{"SENT": "Sent", "DRAFT": "Drafts", "TRASH": "Trash", "SPAM": "Junk"}[strings.ToUpper(label)]
	if !ok {
		return folder{}, bridge.Invalid("there is no label %.60q", label)
	}
	if err := p.client.Create(name, nil).Wait(); err != nil {
		return folder{}, fmt.Errorf("making folder %s: %w", name, err)
	}
	f := folder{name, strings.ToUpper(label)}
	p.folders = append(p.folders, f)
	return f, nil
}

func (p *Postbox) labels(*http.Request) (any, error) {
	list := []any{object{"id": "UNREAD", "name": "UNREAD", "type": "system"}, object{"id": "STARRED", "name": "STARRED", "type": "system"}}
	for _, f := range p.folders {
		kind := "user"
		if f.label != f.name || f.label == "INBOX" {
			kind = "system"
		}
		list = append(list, object{"id": f.label, "name": f.name, "type": kind})
	}
	return object{"labels": list}, nil
}

// place is where a message is. Its id says so, and in which life of the folder (UIDVALIDITY).
type place struct {
	folder   folder
	validity uint32
	uid      imap.UID
}

func (l place) id() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d %s", l.validity, l.uid, l.folder.name))
}

// find opens the folder of a message.
func (p *Postbox) find(id string, writes bool) (place, error) {
	b, err := base64.RawURLEncoding.DecodeString(id)
	parts := strings.SplitN(string(b), " ", 3)
	if err != nil || len(parts) != 3 {
		return place{}, bridge.ErrNone
	}
	validity, bad := strconv.ParseUint(parts[0], 10, 32)
	uid, worse := strconv.ParseUint(parts[1], 10, 32)
	n := slices.IndexFunc(p.folders, func(f folder) bool { return f.name == parts[2] })
	if bad != nil || worse != nil || n < 0 || uid == 0 {
		return place{}, bridge.ErrNone
	}
	l := place{p.folders[n], uint32(validity), imap.UID(uid)}
	now, err := p.open(l.folder, writes)
	if err != nil {
		return place{}, err
	}
	if now != l.validity || l.id() != id { // another life of the folder, or another spelling of the id
		return place{}, bridge.ErrNone
	}
	return l, nil
}

func (p *Postbox) open(f folder, writes bool) (validity uint32, err error) {
	d, err := p.client.Select(f.name, &imap.SelectOptions{ReadOnly: !writes}).Wait()
	if err != nil {
		return 0, fmt.Errorf("opening folder %s: %w", f.name, err)
	}
	return d.UIDValidity, nil
}

// criteria are what a search in Gmail's words asks for, and in which folders; what is not known is refused.
func (p *Postbox) criteria(q string, labels []string) (imap.SearchCriteria, []folder, error) {
	c := imap.SearchCriteria{}
	var in []folder
	label := func(l string) error {
		switch strings.ToUpper(l) {
		case "UNREAD":
			c.NotFlag = append(c.NotFlag, imap.FlagSeen)
		case "STARRED":
			c.Flag = append(c.Flag, imap.FlagFlagged)
		default:
			n := slices.IndexFunc(p.folders, func(f folder) bool { return strings.EqualFold(f.label, l) || strings.EqualFold(f.name, l) })
			if n < 0 {
				return bridge.Invalid("there is no label %.60q", l)
			}
			in = append(in, p.folders[n])
		}
		return nil
	}
	for _, l := range labels {
		if err := label(l); err != nil {
			return c, nil, err
		}
	}
	for word := range strings.FieldsSeq(q) {
		name, value, ok := strings.Cut(word, ":")
		value = strings.Trim(value, `"`)
		var err error
		switch strings.ToLower(name) {
		case "from", "to", "cc", "bcc", "subject":
			c.Header = append(c.Header, imap.SearchCriteriaHeaderField{Key: name, Value: value})
		case "in", "label", "is":
			if !strings.EqualFold(value, "read") {
				err = label(map[string]string{"sent": "SENT", "drafts": "DRAFT", "trash": "TRASH", "spam": "SPAM"}[strings.ToLower(value)])
				if err != nil {
					err = label(value)
				}
			} else {
				c.Flag = append(c.Flag, imap.FlagSeen)
			}
		case "after", "before":
			var t time.Time
			if t, err = time.Parse("2006/01/02", value); err != nil {
				err = bridge.Invalid("%s: wants a date as 2026/11/26", name)
			} else if name == "after" {
				c.Since = t
			} else {
				c.Before = t
			}
		default:
			if ok || strings.HasPrefix(word, "-") || word == "OR" {
				err = bridge.Invalid("a search for %.60q is not known here: words, from:, to:, cc:, bcc:, subject:, in:, is:, label:, after:, before:", word)
			}
			c.Text = append(c.Text, strings.Trim(word, `"`))
		}
		if err != nil {
			return c, nil, err
		}
	}
	if len(in) == 0 {
		for _, f := range p.folders {
			if f.label != "TRASH" && f.label != "SPAM" && f.label != "DRAFT" {
				in = append(in, f)
			}
		}
	} else if len(in) > 1 {
		return c, nil, nil // a mail lies in one folder
	}
	return c, in, nil
}
