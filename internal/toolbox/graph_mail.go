package toolbox

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// graphMail is mail over Microsoft Graph.
type graphMail struct{ api }

const graphUser = "/v1.0/me"

// page is what Graph says of the next page. Of its address only the part is used that says where the page
// begins: the rest is what was asked, and another host is not gone to.
type page struct {
	Next string `json:"@odata.nextLink"`
}

var places = []string{"$skip", "$skiptoken", "$skipToken"}

func (p page) cursor() string {
	u, err := url.Parse(p.Next)
	if err != nil {
		return ""
	}
	for _, name := range places {
		if v := u.Query().Get(name); v != "" {
			return name[1:] + ":" + v
		}
	}
	return ""
}

// turn puts a cursor into a query.
func turn(q url.Values, cursor string) error {
	if cursor == "" {
		return nil
	}
	name, v, ok := strings.Cut(cursor, ":")
	for _, known := range places {
		if ok && "$"+name == known {
			q.Set(known, v)
			return nil
		}
	}
	return errors.New("cursor: give it as the last call returned it")
}

type graphPerson struct {
	EmailAddress struct {
		Name    string `json:"name,omitempty"`
		Address string `json:"address"`
	} `json:"emailAddress"`
}

func (p graphPerson) String() string {
	a := &mail.Address{Name: p.EmailAddress.Name, Address: p.EmailAddress.Address}
	if a.Name == a.Address {
		a.Name = ""
	}
	return said(a)
}

func graphPeople(list []graphPerson) (out []string) {
	for _, p := range list {
		out = append(out, p.String())
	}
	return out
}

func toGraph(list []*mail.Address) []graphPerson {
	out := make([]graphPerson, len(list))
	for i, a := range list {
		out[i].EmailAddress.Name, out[i].EmailAddress.Address = a.Name, a.Address
	}
	return out
}

type graphText struct {
	ContentType string `json:"contentType"`
	Content     string `json:"content"`
}

// graphMessage is the part of a message that is read here.
type graphMessage struct {
	ID             string        `json:"id"`
	ConversationID string        `json:"conversationId"`
	From           *graphPerson  `json:"from"`
	ToRecipients   []graphPerson `json:"toRecipients"`
	CcRecipients   []graphPerson `json:"ccRecipients"`
	ReplyTo        []graphPerson `json:"replyTo"`
	Received       string        `json:"receivedDateTime"`
	Subject        string        `json:"subject"`
	BodyPreview    string        `json:"bodyPreview"`
	Body           graphText     `json:"body"`
	IsRead         *bool         `json:"isRead"`
	HasAttachments bool          `json:"hasAttachments"`
}

func (m *graphMessage) line() MailLine {
	l := MailLine{ID: m.ID, ThreadID: m.ConversationID, To: graphPeople(m.ToRecipients), Date: m.Received, Subject: m.Subject, Begins: brief(m.BodyPreview), Unread: m.IsRead != nil && !*m.IsRead}
	if m.From != nil {
		l.From = m.From.String()
	}
	return l
}

// graphFields are those that a list shows, and those that the gateway would else have to ask for.
const graphFields = "id,conversationId,from,sender,toRecipients,ccRecipients,bccRecipients,replyTo,receivedDateTime,subject,bodyPreview,isRead,isDraft,hasAttachments,parentFolderId,categories"

// graphFolders are Graph's names of the folders that every mailbox has.
var graphFolders = map[string]string{"inbox": "inbox", "sent": "sentitems", "drafts": "drafts", "trash": "deleteditems", "spam": "junkemail", "archive": "archive"}

// folder is the id of the folder of that name.
func (g graphMail) folder(ctx context.Context, name string) (string, error) {
	if id := graphFolders[strings.ToLower(name)]; id != "" {
		return id, nil
	}
	var all struct {
		Value []struct{ ID, DisplayName string } `json:"value"`
	}
	if err := g.call(ctx, "GET", graphUser+"/mailFolders", url.Values{"$top": {"200"}}, nil, &all); err != nil {
		return "", err
	}
	var names []string
	for _, f := range all.Value {
		if strings.EqualFold(f.DisplayName, name) || f.ID == name {
			return f.ID, nil
		}
		names = append(names, f.DisplayName)
	}
	return "", fmt.Errorf("there is no folder %.60q; there is %s", name, strings.Join(names, ", "))
}

// graphQuery is a search in Graph's words: a filter where that can say it, which says all that a grant may hold back; else a search by words.
func graphQuery(in SearchMail) (url.Values, error) {
	q := url.Values{}
	var dates [2]string // in the form of a filter
	for i, of := range []struct{ name, value string }{{"after", in.After}, {"before", in.Before}} {
		if of.value != "" {
			t, err := day(of.name, of.value)
			if err != nil {
				return nil, err
			}
			dates[i] = t.Format(time.RFC3339)
		}
	}
	_, err := mail.ParseAddress(in.From)
	if in.Query == "" && in.To == "" && (in.From == "" || err == nil) {
		terms := []string{"receivedDateTime ge 1900-01-01T00:00:00Z"} // what is sorted by comes first in a filter
		if dates[0] != "" {
			terms[0] = "receivedDateTime ge " + dates[0]
		}
		if dates[1] != "" {
			terms = append(terms, "receivedDateTime lt "+dates[1])
		}
		if in.From != "" {
			terms = append(terms, "from/emailAddress/address eq '"+strings.ReplaceAll(in.From, "'", "''")+"'")
		}
		for _, w := range words(in.Subject) {
			terms = append(terms, "contains(subject,'"+w+"')")
		}
		if in.Unread {
			terms = append(terms, "isRead eq false")
		}
		if len(terms) > 1 || dates[0] != "" {
			q.Set("$filter", strings.Join(terms, " and "))
		}
		q.Set("$orderby", "receivedDateTime desc")
		return q, nil
	}
	terms := words(in.Query)
	for _, of := range []struct{ name, value string }{{"from", in.From}, {"to", in.To}, {"subject", in.Subject}} {
		for _, w := range words(of.value) {
			terms = append(terms, of.name+":"+w)
		}
	}
	for i, operator := range []string{"received>=", "received<"} {
		if dates[i] != "" {
			terms = append(terms, operator+dates[i][:len(time.DateOnly)])
		}
	}
	q.Set("$search", `"`+strings.Join(terms, " ")+`"`)
	return q, nil
}

func (g graphMail) search(ctx context.Context, in SearchMail) (Mails, error) {
	q, err := graphQuery(in)
	if err != nil {
		return Mails{}, err
	}
	path := graphUser + "/messages"
	if in.Folder != "" {
		id, err := g.folder(ctx, in.Folder)
		if err != nil {
			return Mails{}, err
		}
		path = graphUser + "/mailFolders/" + url.PathEscape(id) + "/messages"
	}
	cursor, scanning := strings.CutPrefix(in.Cursor, scanned)
	if !scanning {
		q.Set("$top", strconv.Itoa(many(in.Limit)))
		q.Set("$select", graphFields)
		var unread func(*graphMessage) bool
		if in.Unread && q.Has("$search") { // which has no word for it
			unread = func(m *graphMessage) bool { return m.line().Unread }
		}
		out, err := g.page(ctx, path, q, cursor, unread)
		if !withheld(err) || !q.Has("$search") {
			return out, err
		}
	}
	return g.scan(ctx, path, in, cursor)
}

// page is one page of mails, of which keep says which.
func (g graphMail) page(ctx context.Context, path string, q url.Values, cursor string, keep func(*graphMessage) bool) (out Mails, err error) {
	out.Mails = []MailLine{}
	if err := turn(q, cursor); err != nil {
		return out, err
	}
	var list struct {
		page
		Value []graphMessage `json:"value"`
	}
	if err := g.call(ctx, "GET", path, q, nil, &list); err != nil {
		return out, err
	}
	for i := range list.Value {
		if keep == nil || keep(&list.Value[i]) {
			out.Mails = append(out.Mails, list.Value[i].line())
		}
	}
	out.Next = list.cursor()
	return out, nil
}

const (
	scanned  = "scan:" // begins the cursor of a search that is made here
	scanPage = 10      // mails that are looked at at a time
	maxScan  = 200     // that one call looks at
)

// scan searches by words where the layers of a grant let Graph not do so, as that would find what they do not show: it looks for them in what
// is shown of the mails, the newest first.
func (g graphMail) scan(ctx context.Context, path string, in SearchMail, cursor string) (Mails, error) {
	bare := SearchMail{Unread: in.Unread, After: in.After, Before: in.Before}
	all := func(text, of string) bool {
		text = strings.ToLower(text)
		for _, w := range words(strings.ToLower(of)) {
			if !strings.Contains(text, w) {
				return false
			}
		}
		return true
	}
	keep := func(m *graphMessage) bool {
		l := m.line()
		kind := "text/plain"
		if strings.EqualFold(m.Body.ContentType, "html") {
			kind = "text/html"
		}
		return all(l.From+"\n"+l.Subject+"\n"+plain(kind, m.Body.Content), in.Query) && all(l.From, in.From) && all(strings.Join(append(l.To, graphPeople(m.CcRecipients)...), "\n"), in.To) && all(l.Subject, in.Subject)
	}
	out := Mails{Mails: []MailLine{}}
	size := min(scanPage, many(in.Limit))
	for looked := 0; looked < maxScan && len(out.Mails)+size <= many(in.Limit); {
		q, err := graphQuery(bare)
		if err != nil {
			return out, err
		}
		q.Set("$top", strconv.Itoa(size))
		q.Set("$select", graphFields+",body")
		p, err := g.page(ctx, path, q, cursor, keep)
		if err != nil {
			return out, err
		}
		out.Mails = append(out.Mails, p.Mails...)
		if cursor = p.Next; cursor == "" {
			return out, nil
		}
		looked += size
	}
	out.Next = scanned + cursor
	return out, nil
}

type graphAttachment struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	ContentType  string `json:"contentType"`
	Size         int64  `json:"size"`
	ContentBytes string `json:"contentBytes"` // base64
}

func (g graphMail) read(ctx context.Context, in ReadMail) (Mail, error) {
	id, err := segment(in.ID)
	if err != nil {
		return Mail{}, err
	}
	var m graphMessage
	if err := g.call(ctx, "GET", graphUser+"/messages/"+id, nil, nil, &m); err != nil {
		return Mail{}, err
	}
	out := Mail{MailLine: m.line(), Cc: graphPeople(m.CcRecipients), ReplyTo: graphPeople(m.ReplyTo)}
	kind := "text/plain"
	if strings.EqualFold(m.Body.ContentType, "html") {
		kind = "text/html"
	}
	text := plain(kind, m.Body.Content)
	var all struct {
		Value []graphAttachment `json:"value"`
	}
	if m.HasAttachments {
		if err := g.call(ctx, "GET", graphUser+"/messages/"+id+"/attachments", nil, nil, &all); err != nil {
			var no *Refusal
			if in.Attachment != "" || !errors.As(err, &no) { // a mail may be read of which no attachment may be
				return Mail{}, err
			}
		}
	}
	for _, a := range all.Value {
		out.Attachments = append(out.Attachments, Attachment{a.ID, a.Name, a.ContentType, a.Size})
	}
	if in.Attachment != "" {
		if text, err = g.attachment(in.Attachment, all.Value); err != nil {
			return Mail{}, err
		}
	}
	out.Text, out.Next, err = cut(text, in.Cursor, maxText)
	return out, err
}

func (g graphMail) attachment(id string, all []graphAttachment) (string, error) {
	for _, a := range all {
		if a.ID != id {
			continue
		}
		if !textual(a.ContentType) {
			return "", fmt.Errorf("attachment: %s is of type %s, and only text can be read", a.Name, a.ContentType)
		}
		b, err := base64.StdEncoding.DecodeString(a.ContentBytes)
		if err != nil || a.ContentBytes == "" && a.Size > 0 {
			return "", fmt.Errorf("attachment: what is in %s is not shown", a.Name)
		}
		return plain(a.ContentType, string(b)), nil
	}
	return "", errors.New("attachment: the mail has none of that id")
}

// written is a letter in Graph's form. A reply has its text beside it, and its subject from the mail it answers.
func written(l letter) map[string]any {
	m := map[string]any{}
	for name, who := range map[string][]*mail.Address{"toRecipients": l.to, "ccRecipients": l.cc, "bccRecipients": l.bcc} {
		if len(who) > 0 {
			m[name] = toGraph(who)
		}
	}
	if l.subject != "" || l.reply == "" {
		m["subject"] = l.subject
	}
	if l.reply == "" {
		m["body"] = graphText{"text", l.text}
	}
	return m
}

// reply is an answer in Graph's form, which goes to who wrote the mail, and to those that it adds.
func reply(l letter) map[string]any {
	in := map[string]any{"comment": l.text}
	if m := written(l); len(m) > 0 {
		in["message"] = m
	}
	return in
}

func (g graphMail) draft(ctx context.Context, l letter) (Draft, error) {
	path, in := graphUser+"/messages", any(written(l))
	if l.reply != "" {
		id, err := segment(l.reply)
		if err != nil {
			return Draft{}, err
		}
		path, in = graphUser+"/messages/"+id+"/createReply", reply(l)
	}
	var made graphMessage
	err := g.call(ctx, "POST", path, nil, in, &made)
	return Draft{made.ID}, err
}

func (g graphMail) send(ctx context.Context, l letter, draft string) (Sent, error) {
	path, in := graphUser+"/sendMail", any(map[string]any{"message": written(l)})
	if id := l.reply + draft; id != "" {
		part, err := segment(id)
		if err != nil {
			return Sent{}, err
		}
		if path, in = graphUser+"/messages/"+part+"/send", nil; draft == "" {
			path, in = graphUser+"/messages/"+part+"/reply", reply(l)
		}
	}
	err := g.call(ctx, "POST", path, nil, in, nil)
	return Sent{Sent: err == nil}, err
}

func (g graphMail) move(ctx context.Context, in MoveMail) (Moved, error) {
	id, err := segment(in.ID)
	if err != nil {
		return Moved{}, err
	}
	now := graphMessage{ID: in.ID}
	if in.Read != nil { // first, as a mail that is moved has another id
		if err := g.call(ctx, "PATCH", graphUser+"/messages/"+id, nil, map[string]any{"isRead": *in.Read}, nil); err != nil {
			return Moved{}, err
		}
	}
	if in.To != "" {
		to, err := g.folder(ctx, in.To)
		if err != nil {
			return Moved{}, err
		}
		if err := g.call(ctx, "POST", graphUser+"/messages/"+id+"/move", nil, map[string]any{"destinationId": to}, &now); err != nil {
			return Moved{}, err
		}
	}
	return Moved{now.ID}, nil
}
