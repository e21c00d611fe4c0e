package office

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"
)

// message is one mail, as sent.
type message struct {
	id, thread string
	labels     []string
	raw        []byte // RFC 5322
	at         time.Time
}

type draft struct {
	id      string
	message *message
}

// Mail is a mail that went out.
type Mail struct{ ID, From, To, Subject, Text string }

// Sent are the mails that went out, the oldest first; what was seeded is not among them.
func (o *Office) Sent() (list []Mail) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.messages {
		if slices.Contains(m.labels, "SENT") {
			p := parseMail(m.raw)
			list = append(list, Mail{m.id, p.get("From"), p.get("To"), p.get("Subject"), p.text()})
		}
	}
	return list
}

var _ http.Handler = (*Office)(nil)

func (o *Office) mail() {
	const base = "/gmail/v1/users/{userId}/"
	user := func(pattern string, f func(*http.Request) (any, error)) {
		method, path, _ := strings.Cut(pattern, " ")
		checked := func(r *http.Request) (any, error) {
			if u := r.PathValue("userId"); u != "me" && u != Mailbox {
				return nil, &failure{http.StatusForbidden, "forbidden", "Delegation denied for " + Mailbox}
			}
			return f(r)
		}
		o.handle(method+" "+base+path, checked)
		if path == "messages/send" || path == "drafts" && method == "POST" {
			o.handle(method+" /upload"+base+path, checked)
		}
	}
	user("GET profile", o.profile)
	user("GET labels", o.labels)
	user("GET messages", o.listMessages)
	user("GET messages/{id}", o.getMessage)
	user("GET messages/{messageId}/attachments/{id}", o.getAttachment)
	user("POST messages/send", o.send)
	user("POST messages/{id}/trash", o.relabel([]string{"TRASH"}, []string{"INBOX"}))
	user("POST messages/{id}/untrash", o.relabel(nil, []string{"TRASH"}))
	user("POST messages/{id}/modify", o.modify)
	user("DELETE messages/{id}", o.deleteMessage)
	user("GET threads", o.listThreads)
	user("GET threads/{id}", o.getThread)
	user("GET drafts", o.listDrafts)
	user("GET drafts/{id}", o.getDraft)
	user("POST drafts", o.createDraft)
	user("POST drafts/send", o.sendDraft)
}

func (o *Office) profile(*http.Request) (any, error) {
	threads := map[string]bool{}
	for _, m := range o.messages {
		threads[m.thread] = true
	}
	return map[string]any{"emailAddress": Mailbox, "messagesTotal": len(o.messages), "threadsTotal": len(threads), "historyId": strconv.Itoa(o.serial)}, nil
}

// systemLabels are those that every mailbox has.
var systemLabels = []string{"INBOX", "SENT", "DRAFT", "TRASH", "SPAM", "UNREAD", "STARRED", "IMPORTANT"}

func (o *Office) labels(*http.Request) (any, error) {
	var list []any
	for _, l := range systemLabels {
		list = append(list, map[string]any{"id": l, "name": l, "type": "system"})
	}
	return map[string]any{"labels": list}, nil
}

// newest are the messages that a request asks for, the newest first.
func (o *Office) newest(r *http.Request) (list []*message) {
	q := r.URL.Query()
	hidden := func(m *message) bool {
		return q.Get("includeSpamTrash") != "true" && !slices.Contains(q["labelIds"], "TRASH") && slices.Contains(m.labels, "TRASH")
	}
	for _, m := range slices.Backward(o.messages) {
		all := true
		for _, l := range q["labelIds"] {
			all = all && slices.Contains(m.labels, l)
		}
		if all && !hidden(m) && m.matches(q.Get("q")) {
			list = append(list, m)
		}
	}
	return list
}

// matches knows the commonest operators of Gmail's search; all words must match.
func (m *message) matches(query string) bool {
	p := parseMail(m.raw)
	has := func(s, part string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(part)) }
	for _, word := range strings.Fields(query) {
		operator, value, _ := strings.Cut(word, ":")
		ok := false
		switch operator {
		case "from", "to", "subject":
			ok = has(p.get(operator), strings.Trim(value, `"`))
		case "in", "is", "label":
			ok = slices.Contains(m.labels, strings.ToUpper(value))
		case "has":
			ok = value == "attachment" && len(p.Parts) > 1
		default:
			ok = has(p.get("Subject")+"\n"+p.get("From")+"\n"+p.text(), word)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (o *Office) listMessages(r *http.Request) (any, error) {
	all := o.newest(r)
	from, to, next, err := page(r, len(all), "maxResults", 100)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, m := range all[from:to] {
		list = append(list, map[string]any{"id": m.id, "threadId": m.thread})
	}
	return listing(map[string]any{"messages": list, "resultSizeEstimate": len(all)}, next), nil
}

func listing(v map[string]any, next string) map[string]any {
	if next != "" {
		v["nextPageToken"] = next
	}
	return v
}

func (o *Office) message(id string) (*message, error) {
	for _, m := range o.messages {
		if m.id == id {
			return m, nil
		}
	}
	return nil, &failure{http.StatusNotFound, "notFound", "Requested entity was not found."}
}

func (o *Office) getMessage(r *http.Request) (any, error) {
	m, err := o.message(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return m.show(r.URL.Query().Get("format"), r.URL.Query()["metadataHeaders"])
}

// show is the message as JSON in one of the formats of users.messages.get.
func (m *message) show(format string, headers []string) (any, error) {
	p := parseMail(m.raw)
	text := []rune(strings.Join(strings.Fields(p.text()), " "))
	v := map[string]any{"id": m.id, "threadId": m.thread, "labelIds": m.labels, "snippet": string(text[:min(len(text), 100)]),
		"sizeEstimate": len(m.raw), "internalDate": strconv.FormatInt(m.at.UnixMilli(), 10), "historyId": strconv.FormatInt(m.at.Unix(), 10)}
	switch format {
	case "", "full":
		v["payload"] = p
	case "metadata":
		p.Body, p.Parts = nil, nil
		if len(headers) > 0 {
			p.Headers = slices.DeleteFunc(p.Headers, func(h header) bool {
				return !slices.ContainsFunc(headers, func(s string) bool { return strings.EqualFold(s, h.Name) })
			})
		}
		v["payload"] = p
	case "minimal":
	case "raw":
		v["raw"] = base64.URLEncoding.EncodeToString(m.raw)
	default:
		return nil, invalid("Invalid value for format.")
	}
	return v, nil
}

func (o *Office) getAttachment(r *http.Request) (any, error) {
	m, err := o.message(r.PathValue("messageId"))
	if err != nil {
		return nil, err
	}
	for _, p := range parseMail(m.raw).Parts {
		if p.Body.AttachmentID == r.PathValue("id") {
			return map[string]any{"size": p.Body.Size, "data": base64.URLEncoding.EncodeToString(p.data)}, nil
		}
	}
	return nil, notFound("Attachment")
}

// take makes a message of what a request brings: {"raw": …}, or an upload.
func (o *Office) take(r *http.Request, labels ...string) (*message, error) {
	var in struct {
		Raw      string `json:"raw"`
		ThreadID string `json:"threadId"`
		Message  *struct {
			Raw      string `json:"raw"`
			ThreadID string `json:"threadId"`
		} `json:"message"` // of a draft
	}
	metadata, raw := io.Reader(r.Body), []byte(nil)
	if strings.HasPrefix(r.URL.Path, "/upload/") {
		var content media
		var err error
		if metadata, content, err = upload(r); err != nil {
			return nil, err
		}
		raw = content.data
	}
	if err := json.NewDecoder(metadata).Decode(&in); err != nil && err != io.EOF {
		return nil, invalid("Invalid JSON payload received.")
	}
	if in.Message != nil {
		in.Raw, in.ThreadID = in.Message.Raw, in.Message.ThreadID
	}
	if raw == nil {
		var err error
		if raw, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(in.Raw, "=")); err != nil {
			return nil, invalid("Invalid value for raw: Base64 decoding failed.")
		}
	}
	parsed, err := mail.ReadMessage(strings.NewReader(string(raw)))
	if err != nil {
		return nil, invalid("The message is not RFC 5322.")
	}
	if to, err := parsed.Header.AddressList("To"); labels[0] == "SENT" && (err != nil || len(to) == 0) {
		return nil, &failure{http.StatusBadRequest, "invalidArgument", "Recipient address required"}
	}
	if parsed.Header.Get("From") == "" {
		raw = append([]byte("From: Maya Lind <"+Mailbox+">\r\n"), raw...)
	}
	return o.put(raw, in.ThreadID, labels...), nil
}

// put stores a mail; without a thread it begins one.
func (o *Office) put(raw []byte, thread string, labels ...string) *message {
	id, at := o.stamp()
	if thread == "" {
		thread = id
	}
	m := &message{id, thread, labels, raw, at}
	o.messages = append(o.messages, m)
	return m
}

func (o *Office) send(r *http.Request) (any, error) {
	m, err := o.take(r, "SENT")
	if err != nil {
		return nil, err
	}
	return m.show("minimal", nil)
}

func (o *Office) relabel(add, remove []string) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) { return o.change(r.PathValue("id"), add, remove) }
}

func (o *Office) modify(r *http.Request) (any, error) {
	var in struct{ AddLabelIds, RemoveLabelIds []string }
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	for _, l := range append(slices.Clone(in.AddLabelIds), in.RemoveLabelIds...) {
		if !slices.Contains(systemLabels, l) {
			return nil, invalid(fmt.Sprintf("Invalid label: %q", l))
		}
	}
	return o.change(r.PathValue("id"), in.AddLabelIds, in.RemoveLabelIds)
}

func (o *Office) change(id string, add, remove []string) (any, error) {
	m, err := o.message(id)
	if err != nil {
		return nil, err
	}
	m.labels = slices.DeleteFunc(slices.Clone(m.labels), func(l string) bool { return slices.Contains(remove, l) || slices.Contains(add, l) })
	m.labels = append(m.labels, add...)
	return m.show("minimal", nil)
}

func (o *Office) deleteMessage(r *http.Request) (any, error) {
	m, err := o.message(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	o.messages = slices.DeleteFunc(o.messages, func(x *message) bool { return x == m })
	return nil, nil
}

// All are the ids of all mails, the oldest first.
func (o *Office) All() (list []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.messages {
		list = append(list, m.id)
	}
	return list
}

// Draft puts a draft to an address into the mailbox, as a person would, and returns its id.
func (o *Office) Draft(to string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.put([]byte("From: Maya Lind <"+Mailbox+">\r\nTo: "+to+"\r\nSubject: A draft\r\n\r\nText.\r\n"), "", "DRAFT")
	d := &draft{"r" + m.id, m}
	o.drafts = append(o.drafts, d)
	return d.id
}
