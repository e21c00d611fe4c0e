package toolbox

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gmail is mail over Gmail's interface (gmail/v1).
type gmail struct{ api }

const gmailUser = "/gmail/v1/users/me"

// gmailMessage is the part of a message that is read here.
type gmailMessage struct {
	ID           string    `json:"id"`
	ThreadID     string    `json:"threadId"`
	LabelIDs     []string  `json:"labelIds"`
	Snippet      string    `json:"snippet"`
	InternalDate string    `json:"internalDate"` // milliseconds
	Payload      gmailPart `json:"payload"`
}

type gmailPart struct {
	MimeType string                         `json:"mimeType"`
	Filename string                         `json:"filename"`
	Headers  []struct{ Name, Value string } `json:"headers"`
	Body     struct {
		AttachmentID string `json:"attachmentId"`
		Size         int64  `json:"size"`
		Data         string `json:"data"` // base64url
	} `json:"body"`
	Parts []gmailPart `json:"parts"`
}

func (p *gmailPart) header(name string) string {
	for _, h := range p.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// people are the addresses in a header, as people write them.
func (p *gmailPart) people(name string) (list []string) {
	value := p.header(name)
	if value == "" {
		return nil
	}
	all, err := mail.ParseAddressList(value)
	if err != nil {
		return []string{value}
	}
	for _, a := range all {
		list = append(list, said(a))
	}
	return list
}

func (m *gmailMessage) line() MailLine {
	l := MailLine{ID: m.ID, ThreadID: m.ThreadID, From: strings.Join(m.Payload.people("From"), ", "), To: m.Payload.people("To"), Subject: m.Payload.header("Subject"), Begins: brief(plain("text/html", m.Snippet)), Unread: slices.Contains(m.LabelIDs, "UNREAD")}
	if ms, err := strconv.ParseInt(m.InternalDate, 10, 64); err == nil {
		l.Date = time.UnixMilli(ms).UTC().Format(time.RFC3339)
	}
	return l
}

// gmailLabels are Gmail's names of the folders that every mailbox has.
var gmailLabels = map[string]string{"inbox": "INBOX", "sent": "SENT", "drafts": "DRAFT", "trash": "TRASH", "spam": "SPAM"}

// label is the id of the label of that name.
func (g gmail) label(ctx context.Context, name string) (string, error) {
	if id := gmailLabels[strings.ToLower(name)]; id != "" {
		return id, nil
	}
	var all struct {
		Labels []struct{ ID, Name string } `json:"labels"`
	}
	if err := g.call(ctx, "GET", gmailUser+"/labels", nil, nil, &all); err != nil {
		return "", err
	}
	var names []string
	for _, l := range all.Labels {
		if strings.EqualFold(l.Name, name) || l.ID == name {
			return l.ID, nil
		}
		names = append(names, l.Name)
	}
	return "", fmt.Errorf("there is no folder or label %.60q; there is %s", name, strings.Join(names, ", "))
}

// gmailQuery is a search in Gmail's words.
func gmailQuery(in SearchMail) (string, error) {
	terms := words(in.Query)
	for _, of := range []struct{ name, value string }{{"from", in.From}, {"to", in.To}, {"subject", in.Subject}} {
		for _, w := range words(of.value) {
			terms = append(terms, of.name+":"+w)
		}
	}
	if in.Unread {
		terms = append(terms, "is:unread")
	}
	for _, of := range []struct{ name, value string }{{"after", in.After}, {"before", in.Before}} {
		if of.value == "" {
			continue
		}
		t, err := day(of.name, of.value)
		if err != nil {
			return "", err
		}
		terms = append(terms, of.name+":"+t.Format("2006/01/02"))
	}
	return strings.Join(terms, " "), nil
}

func (g gmail) search(ctx context.Context, in SearchMail) (Mails, error) {
	out := Mails{Mails: []MailLine{}}
	text, err := gmailQuery(in)
	if err != nil {
		return out, err
	}
	q := url.Values{"maxResults": {strconv.Itoa(many(in.Limit))}}
	if text != "" {
		q.Set("q", text)
	}
	if in.Cursor != "" {
		q.Set("pageToken", in.Cursor)
	}
	if in.Folder != "" {
		id, err := g.label(ctx, in.Folder)
		if err != nil {
			return out, err
		}
		q.Set("labelIds", id)
	}
	var list struct {
		Messages []struct {
			ID string `json:"id"`
		} `json:"messages"`
		Next string `json:"nextPageToken"`
	}
	if err := g.call(ctx, "GET", gmailUser+"/messages", q, nil, &list); err != nil {
		return out, err
	}
	found := make([]*gmailMessage, len(list.Messages))
	err = each(len(found), func(i int) error {
		id, err := segment(list.Messages[i].ID)
		if err != nil {
			return err
		}
		var m gmailMessage
		if err := g.call(ctx, "GET", gmailUser+"/messages/"+id, url.Values{"format": {"metadata"}}, nil, &m); err != nil {
			if missing(err) { // it was deleted since
				return nil
			}
			return err
		}
		found[i] = &m
		return nil
	})
	for _, m := range found {
		if m != nil {
			out.Mails = append(out.Mails, m.line())
		}
	}
	out.Next = list.Next
	return out, err
}

func (g gmail) read(ctx context.Context, in ReadMail) (Mail, error) {
	id, err := segment(in.ID)
	if err != nil {
		return Mail{}, err
	}
	var m gmailMessage
	if err := g.call(ctx, "GET", gmailUser+"/messages/"+id, url.Values{"format": {"full"}}, nil, &m); err != nil {
		return Mail{}, err
	}
	out := Mail{MailLine: m.line(), Cc: m.Payload.people("Cc"), ReplyTo: m.Payload.people("Reply-To")}
	text, html := m.Payload.content(&out.Attachments, 0)
	if text == "" {
		text = plain("text/html", html)
	}
	if in.Attachment != "" {
		if text, err = g.attachment(ctx, id, in.Attachment, out.Attachments); err != nil {
			return Mail{}, err
		}
	}
	out.Text, out.Next, err = cut(text, in.Cursor, maxText)
	return out, err
}

// content is the text of a mail, once as plain text and once as HTML, as far as it has them, and what is attached.
func (p *gmailPart) content(attached *[]Attachment, depth int) (text, html string) {
	if p.Filename != "" || p.Body.AttachmentID != "" {
		*attached = append(*attached, Attachment{p.Body.AttachmentID, p.Filename, p.MimeType, p.Body.Size})
		return "", ""
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(p.Body.Data, "="))
	switch {
	case err != nil || depth > 50:
	case p.MimeType == "text/plain":
		text = plain("text/plain", string(b))
	case p.MimeType == "text/html":
		html = string(b)
	}
	for i := range p.Parts {
		t, h := p.Parts[i].content(attached, depth+1)
		text, html = text+t, html+h
	}
	return text, html
}

func (g gmail) attachment(ctx context.Context, mail, id string, all []Attachment) (string, error) {
	i := slices.IndexFunc(all, func(a Attachment) bool { return a.ID == id })
	if i < 0 {
		return "", errors.New("attachment: the mail has none of that id that may be opened")
	}
	if !textual(all[i].Type) {
		return "", fmt.Errorf("attachment: %s is of type %s, and only text can be read", all[i].Name, all[i].Type)
	}
	part, err := segment(id)
	if err != nil {
		return "", err
	}
	var content struct {
		Data string `json:"data"`
	}
	if err := g.call(ctx, "GET", gmailUser+"/messages/"+mail+"/attachments/"+part, nil, nil, &content); err != nil {
		return "", err
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(content.Data, "="))
	if err != nil {
		return "", errors.New("the attachment is no base64")
	}
	return plain(all[i].Type, string(b)), nil
}

// raw is a letter as RFC 5322 has it, and the thread that it belongs to. The same letter has the same bytes, so that
// what was approved is what is sent.
func (g gmail) raw(ctx context.Context, l letter) (map[string]string, error) {
	var head []string
	out := map[string]string{}
	if l.reply != "" {
		id, err := segment(l.reply)
		if err != nil {
			return nil, err
		}
		var m gmailMessage
		if err := g.call(ctx, "GET", gmailUser+"/messages/"+id, url.Values{"format": {"metadata"}}, nil, &m); err != nil {
			return nil, err
		}
		to := m.Payload.header("Reply-To")
		if to == "" {
			to = m.Payload.header("From")
		}
		who, err := mail.ParseAddressList(to)
		if err != nil {
			return nil, errors.New("reply_to: who wrote that mail is not known, or not shown")
		}
		l.to = append(who, l.to...)
		if l.subject == "" {
			l.subject = m.Payload.header("Subject")
			if len(l.subject) < 3 || !strings.EqualFold(l.subject[:3], "re:") {
				l.subject = "Re: " + l.subject
			}
		}
		if parent := m.Payload.header("Message-ID"); parent != "" && !strings.ContainsAny(parent, "\r\n") {
			head = append(head, "In-Reply-To: "+parent, "References: "+strings.Join(strings.Fields(m.Payload.header("References")+" "+parent), "\r\n "))
		}
		out["threadId"] = m.ThreadID
	}
	out["raw"] = base64.URLEncoding.EncodeToString(l.bytes(head))
	return out, nil
}

// bytes are a letter as RFC 5322 has it, with more lines in its head.
func (l letter) bytes(head []string) []byte {
	var b bytes.Buffer
	for _, of := range []struct {
		name string
		who  []*mail.Address
	}{{"To", l.to}, {"Cc", l.cc}, {"Bcc", l.bcc}} {
		if len(of.who) > 0 {
			all := make([]string, len(of.who))
			for i, a := range of.who {
				all[i] = a.String()
			}
			fmt.Fprintf(&b, "%s: %s\r\n", of.name, strings.Join(all, ",\r\n "))
		}
	}
	fmt.Fprintf(&b, "Subject: %s\r\n", mime.QEncoding.Encode("utf-8", strings.Join(strings.Fields(l.subject), " ")))
	for _, h := range head {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(l.text)) // memory does not fail
	_ = w.Close()
	return b.Bytes()
}

func (g gmail) draft(ctx context.Context, l letter) (out Draft, err error) {
	raw, err := g.raw(ctx, l)
	if err == nil {
		var made struct {
			ID string `json:"id"`
		}
		err = g.call(ctx, "POST", gmailUser+"/drafts", nil, map[string]any{"message": raw}, &made)
		out.ID = made.ID
	}
	return out, err
}

func (g gmail) send(ctx context.Context, l letter, draft string) (Sent, error) {
	path, in := gmailUser+"/drafts/send", map[string]string{"id": draft}
	if draft == "" {
		var err error
		if in, err = g.raw(ctx, l); err != nil {
			return Sent{}, err
		}
		path = gmailUser + "/messages/send"
	}
	var made struct {
		ID string `json:"id"`
	}
	err := g.call(ctx, "POST", path, nil, in, &made)
	return Sent{err == nil, made.ID}, err
}

func (g gmail) move(ctx context.Context, in MoveMail) (Moved, error) {
	id, err := segment(in.ID)
	if err != nil {
		return Moved{}, err
	}
	put, take := []string{}, []string{}
	switch to := strings.ToLower(in.To); to {
	case "":
	case "archive":
		take = []string{"INBOX"}
	case "inbox":
		put, take = []string{"INBOX"}, []string{"TRASH", "SPAM"}
	default:
		label, err := g.label(ctx, in.To)
		if err != nil {
			return Moved{}, err
		}
		put, take = []string{label}, []string{"INBOX"}
	}
	if in.Read != nil {
		if *in.Read {
			take = append(take, "UNREAD")
		} else {
			put = append(put, "UNREAD")
		}
	}
	var now gmailMessage
	if err := g.call(ctx, "POST", gmailUser+"/messages/"+id+"/modify", nil, map[string]any{"addLabelIds": put, "removeLabelIds": take}, &now); err != nil {
		return Moved{}, err
	}
	if strings.EqualFold(in.To, "archive") && slices.Contains(now.LabelIDs, "INBOX") { // where mail lies in folders, as with IMAP
		return Moved{}, errors.New("to: this mailbox has no archive; name one of its folders")
	}
	if now.ID == "" {
		now.ID = in.ID
	}
	return Moved{now.ID}, nil
}
