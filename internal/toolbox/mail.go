package toolbox

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// mailbox is mail over one interface.
type mailbox interface {
	search(ctx context.Context, in SearchMail) (Mails, error)
	read(ctx context.Context, in ReadMail) (Mail, error)
	draft(ctx context.Context, l letter) (Draft, error)
	send(ctx context.Context, l letter, draft string) (Sent, error)
	move(ctx context.Context, in MoveMail) (Moved, error)
}

func (a api) mailbox() mailbox {
	if a.Graph {
		return graphMail{a}
	}
	return gmail{a}
}

// SearchMail is what search_mail takes.
type SearchMail struct {
	Query   string `json:"query,omitempty" jsonschema:"words that are anywhere in the mail"`
	From    string `json:"from,omitempty" jsonschema:"who wrote it: an address, or words of a name"`
	To      string `json:"to,omitempty" jsonschema:"whom it is for: an address, or words of a name"`
	Subject string `json:"subject,omitempty" jsonschema:"words in its subject"`
	Folder  string `json:"folder,omitempty" jsonschema:"inbox, sent, drafts, trash, spam, or the name of another folder or label; all but trash and spam when left away"`
	Unread  bool   `json:"unread,omitempty" jsonschema:"only what was not read"`
	After   string `json:"after,omitempty" jsonschema:"came on that day or later, as 2026-11-01"`
	Before  string `json:"before,omitempty" jsonschema:"came before that day, as 2026-12-01"`
	Limit   int    `json:"limit,omitempty" jsonschema:"how many to return, at most 50 (default 20)"`
	Cursor  string `json:"cursor,omitempty" jsonschema:"what the last call returned as next, for what follows"`
}

// Mails is a page of mails, the newest first.
type Mails struct {
	Mails []MailLine `json:"mails"`
	Next  string     `json:"next,omitempty" jsonschema:"cursor of the next page; none at the end"`
}

// MailLine is a mail in a list. Of what the agent may not see, nothing is there.
type MailLine struct {
	ID       string   `json:"id"`
	ThreadID string   `json:"thread_id,omitempty" jsonschema:"the same for all mails of a conversation"`
	From     string   `json:"from,omitempty"`
	To       []string `json:"to,omitempty"`
	Date     string   `json:"date,omitempty" jsonschema:"when it came"`
	Subject  string   `json:"subject,omitempty"`
	Begins   string   `json:"begins,omitempty" jsonschema:"how its text begins"`
	Unread   bool     `json:"unread,omitempty"`
}

// ReadMail is what read_mail takes.
type ReadMail struct {
	ID         string `json:"id" jsonschema:"id of the mail, from search_mail"`
	Attachment string `json:"attachment,omitempty" jsonschema:"id of one of its attachments, to read that in place of the mail's text; only text can be read"`
	Cursor     string `json:"cursor,omitempty" jsonschema:"what the last call returned as next, for the rest of a long text"`
}

// Mail is one mail.
type Mail struct {
	MailLine
	Cc          []string     `json:"cc,omitempty"`
	ReplyTo     []string     `json:"reply_to,omitempty" jsonschema:"where answers go, if not to from"`
	Text        string       `json:"text,omitempty" jsonschema:"plain text of the mail, or of the attachment"`
	Next        string       `json:"next,omitempty" jsonschema:"cursor of the rest of the text; none at its end"`
	Attachments []Attachment `json:"attachments,omitempty"`
}

// Attachment is what comes with a mail.
type Attachment struct {
	ID   string `json:"id,omitempty" jsonschema:"none if it may not be opened"`
	Name string `json:"name,omitempty"`
	Type string `json:"type,omitempty"`
	Size int64  `json:"size,omitempty" jsonschema:"bytes"`
}

// DraftMail is what draft_mail takes.
type DraftMail struct {
	To      []string `json:"to,omitempty" jsonschema:"addresses, as ann@example.com or Ann Lee <ann@example.com>"`
	Cc      []string `json:"cc,omitempty"`
	Bcc     []string `json:"bcc,omitempty"`
	Subject string   `json:"subject,omitempty" jsonschema:"of a reply: that of the mail it answers when left away"`
	Text    string   `json:"text,omitempty" jsonschema:"plain text"`
	ReplyTo string   `json:"reply_to,omitempty" jsonschema:"id of the mail that this answers: it goes to who wrote that one, and to those in to and cc besides"`
}

// SendMail is what send_mail takes.
type SendMail struct {
	DraftMail
	Draft string `json:"draft_id,omitempty" jsonschema:"send this draft, as draft_mail returned it, in place of all else"`
}

// Draft is a draft that was made.
type Draft struct {
	ID string `json:"draft_id"`
}

// Sent is what was sent.
type Sent struct {
	Sent bool   `json:"sent"`
	ID   string `json:"id,omitempty" jsonschema:"of the mail, where the system says it"`
}

// MoveMail is what move_mail takes.
type MoveMail struct {
	ID   string `json:"id" jsonschema:"id of the mail, from search_mail"`
	To   string `json:"to,omitempty" jsonschema:"inbox, archive, trash, spam, or the name of another folder or label"`
	Read *bool  `json:"read,omitempty" jsonschema:"mark it as read, or as unread"`
}

// Moved is a mail that was moved or marked.
type Moved struct {
	ID string `json:"id" jsonschema:"its id now, which may be another than before"`
}

func mailTools(s *mcp.Server, c Config) {
	a := c.Mail
	add(s, a, reads, "search_mail", "Search mail", "Finds mails, the newest first: by words, by who wrote them, by when they came. All that is given must be so. Returns who, when and what about; read_mail has the text.",
		func(ctx context.Context, a api, in SearchMail) (Mails, error) { return a.mailbox().search(ctx, in) })
	add(s, a, reads, "read_mail", "Read a mail", "Returns one mail as plain text, with what is attached to it; or the text of one attachment. It does not mark the mail as read.",
		func(ctx context.Context, a api, in ReadMail) (Mail, error) { return a.mailbox().read(ctx, in) })
	add(s, a, adds, "draft_mail", "Draft a mail", "Puts a draft into the mailbox, for a person to send, or for send_mail with its draft_id. Nothing goes out.",
		func(ctx context.Context, a api, in DraftMail) (Draft, error) {
			l, err := in.letter()
			if err != nil {
				return Draft{}, err
			}
			return a.mailbox().draft(ctx, l)
		})
	add(s, a, adds, "send_mail", "Send a mail", "Sends a mail: a new one, a reply, or a draft. It cannot be taken back.",
		func(ctx context.Context, a api, in SendMail) (Sent, error) {
			l, err := in.letter()
			switch {
			case in.Draft != "":
				if len(in.To)+len(in.Cc)+len(in.Bcc) > 0 || in.Subject+in.Text+in.ReplyTo != "" {
					return Sent{}, errors.New("draft_id: a draft is sent as it is; give nothing else")
				}
			case err != nil:
				return Sent{}, err
			case len(l.to)+len(l.cc)+len(l.bcc) == 0 && l.reply == "":
				return Sent{}, errors.New("to: say whom it is for")
			}
			return a.mailbox().send(ctx, l, in.Draft)
		})
	add(s, a, destroys, "move_mail", "Move or mark a mail", "Moves a mail to another folder, or gives it a label: to archive it, to put it in the trash, to take it out again. Marks it as read or unread.",
		func(ctx context.Context, a api, in MoveMail) (Moved, error) {
			if in.To == "" && in.Read == nil {
				return Moved{}, errors.New("to: say where it goes, or in read how it is marked")
			}
			return a.mailbox().move(ctx, in)
		})
}

// letter is a mail to be written, checked.
type letter struct {
	to, cc, bcc   []*mail.Address
	subject, text string
	reply         string // id of the mail that it answers
}

func (in DraftMail) letter() (l letter, err error) {
	l = letter{subject: in.Subject, text: in.Text, reply: in.ReplyTo}
	for _, of := range []struct {
		name string
		from []string
		to   *[]*mail.Address
	}{{"to", in.To, &l.to}, {"cc", in.Cc, &l.cc}, {"bcc", in.Bcc, &l.bcc}} {
		for _, s := range of.from {
			a, err := mail.ParseAddress(s)
			if err != nil {
				return l, fmt.Errorf("%s: %.80q is no address as ann@example.com", of.name, s)
			}
			*of.to = append(*of.to, a)
		}
	}
	if strings.ContainsAny(l.subject, "\r\n") {
		return l, errors.New("subject: it is one line")
	}
	return l, nil
}

// said is an address as people write it.
func said(a *mail.Address) string {
	if a.Name == "" {
		return a.Address
	}
	return a.Name + " <" + a.Address + ">"
}
