package office

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The same office as Microsoft Graph shows it: mail, files and the calendar of one person.

func (o *Office) graph() {
	for _, me := range []string{"/v1.0/me", "/v1.0/users/" + Mailbox} {
		o.handle("GET "+me+"/messages", o.graphMessages)
		o.handle("GET "+me+"/mailFolders", o.graphFolders)
		o.handle("GET "+me+"/mailFolders/{folder}", o.graphFolder)
		o.handle("GET "+me+"/mailFolders/{folder}/messages", o.graphMessages)
		o.handle("GET "+me+"/messages/{id}", o.graphMessage)
		o.handle("GET "+me+"/messages/{id}/attachments", o.graphAttachments)
		o.handle("POST "+me+"/messages", func(r *http.Request) (any, error) { return o.graphTake(r, "DRAFT") })
		o.handle("POST "+me+"/sendMail", o.graphSend)
		o.handle("POST "+me+"/messages/{id}/reply", o.graphReply)
		o.handle("POST "+me+"/messages/{id}/move", o.graphMove)
		o.handle("DELETE "+me+"/messages/{id}", o.deleteMessage)
		for _, calendar := range []string{"", "/calendar"} {
			o.handle("GET "+me+calendar+"/events", o.graphEvents)
			o.handle("POST "+me+calendar+"/events", o.graphInsert)
			o.handle("GET "+me+calendar+"/events/{eventId}", func(r *http.Request) (any, error) {
				e, err := o.event(r)
				return selected(r, graphEvent(e)), err
			})
			o.handle("PATCH "+me+calendar+"/events/{eventId}", o.graphPatch)
			o.handle("DELETE "+me+calendar+"/events/{eventId}", o.deleteEvent)
			o.handle("GET "+me+calendar+"/calendarView", o.graphView)
		}
		o.handle("GET "+me+"/drive/root/children", o.graphChildren)
		o.handle("GET "+me+"/drive/items/{fileId}", func(r *http.Request) (any, error) {
			f, err := o.file(r)
			if err != nil {
				return nil, err
			}
			return selected(r, graphFile(f, strings.Contains(r.URL.Query().Get("$expand"), "permissions"))), nil
		})
		o.handle("GET "+me+"/drive/items/{fileId}/children", o.graphChildren)
		o.handle("GET "+me+"/drive/items/{fileId}/content", func(r *http.Request) (any, error) {
			f, err := o.file(r)
			if err != nil {
				return nil, err
			}
			return media{f.MimeType, f.content}, nil
		})
		o.handle("POST "+me+"/drive/items/{fileId}/invite", o.graphInvite)
		o.graphChanges(me)
	}
}

type object = map[string]any

// graphPage is one page of a list, as OData has it.
func graphPage(r *http.Request, all []any) (any, error) {
	q := r.URL.Query()
	top, skip := 10, 0
	var err error
	if s := q.Get("$top"); s != "" {
		if top, err = strconv.Atoi(s); err != nil || top < 1 {
			return nil, invalid("Invalid $top.")
		}
	}
	if s := q.Get("$skip"); s != "" {
		if skip, err = strconv.Atoi(s); err != nil || skip < 0 {
			return nil, invalid("Invalid $skip.")
		}
	}
	v := object{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata", "value": all[min(skip, len(all)):min(skip+top, len(all))]}
	if skip+top < len(all) {
		next := *r.URL
		q.Set("$skip", strconv.Itoa(skip+top))
		next.RawQuery = q.Encode()
		v["@odata.nextLink"] = "http://" + r.Host + next.String()
	}
	if q.Get("$count") == "true" {
		v["@odata.count"] = len(all)
	}
	return v, nil
}

// selected is what $select asks for, and the id.
func selected(r *http.Request, v object) object {
	names := strings.FieldsFunc(r.URL.Query().Get("$select"), func(c rune) bool { return c == ',' || c == ' ' })
	if len(names) == 0 || v == nil {
		return v
	}
	out := object{"id": v["id"]}
	for _, n := range names {
		if value, ok := v[n]; ok {
			out[n] = value
		}
	}
	return out
}

func graphAddress(a *mail.Address) object {
	return object{"emailAddress": object{"name": a.Name, "address": a.Address}}
}

func graphAddresses(header string) []any {
	list := []any{}
	all, _ := mail.ParseAddressList(header)
	for _, a := range all {
		list = append(list, graphAddress(a))
	}
	return list
}

// graphFolderOf is where a mail lies: one folder, unlike Gmail's labels.
func (m *message) graphFolderOf() string {
	for _, f := range graphFolderNames {
		if slices.Contains(m.labels, f.label) {
			return f.id
		}
	}
	return "AQ-archive"
}

var graphFolderNames = []struct{ id, known, name, label string }{
	{"AQ-deleted", "deleteditems", "Deleted Items", "TRASH"}, {"AQ-drafts", "drafts", "Drafts", "DRAFT"}, {"AQ-sent", "sentitems", "Sent Items", "SENT"}, {"AQ-inbox", "inbox", "Inbox", "INBOX"},
	{"AQ-archive", "archive", "Archive", ""},
}

func (m *message) graph() object {
	p := parseMail(m.raw)
	text := p.text()
	v := object{"@odata.etag": `W/"` + m.id + `"`, "id": m.id, "conversationId": m.thread, "subject": p.get("Subject"), "receivedDateTime": m.at.Format(time.RFC3339), "sentDateTime": m.at.Format(time.RFC3339),
		"bodyPreview": text[:min(len(text), 255)], "body": object{"contentType": "text", "content": text}, "isRead": !slices.Contains(m.labels, "UNREAD"), "isDraft": slices.Contains(m.labels, "DRAFT"),
		"parentFolderId": m.graphFolderOf(), "categories": []any{}, "hasAttachments": len(p.Parts) > 1, "importance": "normal",
		"toRecipients": graphAddresses(p.get("To")), "ccRecipients": graphAddresses(p.get("Cc")), "bccRecipients": graphAddresses(p.get("Bcc")), "replyTo": graphAddresses(p.get("Reply-To"))}
	if from := graphAddresses(p.get("From")); len(from) > 0 {
		v["from"], v["sender"] = from[0], from[0]
	}
	return v
}

func (o *Office) graphMessages(r *http.Request) (any, error) {
	q := r.URL.Query()
	all := []any{}
	for _, m := range slices.Backward(o.messages) {
		f := r.PathValue("folder")
		in := f == "" || m.graphFolderOf() == f || slices.ContainsFunc(graphFolderNames, func(n struct{ id, known, name, label string }) bool { return n.known == f && n.id == m.graphFolderOf() })
		filtered, err := m.filtered(q.Get("$filter"))
		if err != nil {
			return nil, err
		}
		if in && filtered && m.searched(strings.Trim(q.Get("$search"), `"`)) {
			all = append(all, selected(r, m.graph()))
		}
	}
	return graphPage(r, all)
}

func (o *Office) graphFolders(r *http.Request) (any, error) {
	all := []any{}
	for _, f := range graphFolderNames {
		all = append(all, object{"id": f.id, "displayName": f.name, "totalItemCount": len(o.messages), "unreadItemCount": 2})
	}
	return graphPage(r, all)
}

func (o *Office) graphFolder(r *http.Request) (any, error) {
	for _, f := range graphFolderNames {
		if name := r.PathValue("folder"); name == f.id || name == f.known {
			return selected(r, object{"id": f.id, "displayName": f.name, "totalItemCount": len(o.messages)}), nil
		}
	}
	return nil, notFound("Folder")
}

func (o *Office) graphMessage(r *http.Request) (any, error) {
	m, err := o.message(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	v := m.graph()
	if strings.Contains(r.URL.Query().Get("$select"), "internetMessageHeaders") {
		headers := []any{}
		if !slices.Contains(m.labels, "SENT") && !slices.Contains(m.labels, "DRAFT") { // it came from somewhere
			headers = append(headers, object{"name": "Received", "value": "from mx.example by mail.example"})
		}
		v["internetMessageHeaders"] = headers
	}
	return selected(r, v), nil
}

func (o *Office) graphAttachments(r *http.Request) (any, error) {
	m, err := o.message(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	all := []any{}
	for _, p := range parseMail(m.raw).Parts {
		if p.Filename != "" {
			all = append(all, object{"@odata.type": "#microsoft.graph.fileAttachment", "id": p.Body.AttachmentID, "name": p.Filename, "contentType": p.MimeType, "size": p.Body.Size, "contentBytes": base64.StdEncoding.EncodeToString(p.data)})
		}
	}
	return graphPage(r, all)
}

type graphMail struct {
	Subject string
	Body    struct{ ContentType, Content string }

	ToRecipients, CcRecipients, BccRecipients []struct {
		EmailAddress struct{ Name, Address string }
	}
}

// graphPut stores a mail that was written as JSON.
func (o *Office) graphPut(in graphMail, thread string, labels ...string) (*message, error) {
	list := func(people []struct {
		EmailAddress struct{ Name, Address string }
	}) string {
		var out []string
		for _, p := range people {
			out = append(out, p.EmailAddress.Address)
		}
		return strings.Join(out, ", ")
	}
	to, cc, bcc := list(in.ToRecipients), list(in.CcRecipients), list(in.BccRecipients)
	if labels[0] == "SENT" && to+cc+bcc == "" {
		return nil, &failure{http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient is not valid."}
	}
	return o.put([]byte(fmt.Sprintf("From: Maya Lind <%s>\r\nTo: %s\r\nCc: %s\r\nBcc: %s\r\nSubject: %s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s", Mailbox, to, cc, bcc, in.Subject, in.Body.Content)), thread, labels...), nil
}

func (o *Office) graphTake(r *http.Request, label string) (any, error) {
	var in graphMail
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	m, err := o.graphPut(in, "", label)
	if err != nil {
		return nil, err
	}
	return m.graph(), nil
}

func (o *Office) graphSend(r *http.Request) (any, error) {
	var in struct{ Message graphMail }
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	_, err := o.graphPut(in.Message, "", "SENT")
	return accepted{}, err
}

func (o *Office) graphReply(r *http.Request) (any, error) {
	m, err := o.message(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	var in struct {
		Comment string
		Message graphMail
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	p := parseMail(m.raw)
	to := p.get("From")
	if r := p.get("Reply-To"); r != "" {
		to = r
	}
	o.put([]byte("From: Maya Lind <"+Mailbox+">\r\nTo: "+to+"\r\nSubject: Re: "+p.get("Subject")+"\r\n\r\n"+in.Comment), m.thread, "SENT")
	return accepted{}, nil
}

// accepted is a reply without a body.
type accepted struct{}

func (o *Office) graphMove(r *http.Request) (any, error) {
	var in struct{ DestinationID string }
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	for _, f := range graphFolderNames {
		if in.DestinationID == f.id || in.DestinationID == f.known {
			if _, err := o.change(r.PathValue("id"), []string{f.label}, []string{"INBOX", "TRASH"}); err != nil {
				return nil, err
			}
			return o.graphMessage(r)
		}
	}
	return nil, notFound("Folder")
}

func graphFile(f *file, permissions bool) object {
	if f == nil {
		return nil
	}
	size, _ := strconv.Atoi(f.Size)
	v := object{"id": f.ID, "name": f.Name, "size": size, "createdDateTime": f.CreatedTime, "lastModifiedDateTime": f.ModifiedTime, "parentReference": object{"driveId": "b1", "id": f.Parents[0]},
		"createdBy": object{"user": object{"email": Mailbox}}, "@microsoft.graph.downloadUrl": "https://download.example/" + f.ID}
	if f.MimeType == folder {
		v["folder"] = object{"childCount": 0}
	} else {
		v["file"] = object{"mimeType": f.MimeType}
	}
	if permissions {
		list := []any{}
		for _, p := range f.Permissions {
			if p.Type == "anyone" {
				list = append(list, object{"id": p.ID, "link": object{"scope": "anonymous"}})
			} else {
				list = append(list, object{"id": p.ID, "roles": []any{p.Role}, "grantedToV2": object{"user": object{"email": p.EmailAddress}}})
			}
		}
		v["permissions"] = list
	}
	return v
}

func (o *Office) graphChildren(r *http.Request) (any, error) {
	parent := r.PathValue("fileId")
	if parent == "" {
		parent = "root"
	}
	all := []any{}
	for _, f := range o.files {
		if slices.Contains(f.Parents, parent) {
			all = append(all, selected(r, graphFile(f, false)))
		}
	}
	return graphPage(r, all)
}

func (o *Office) graphInvite(r *http.Request) (any, error) {
	f, err := o.file(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Recipients []struct{ Email string }
		Roles      []string
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	for _, p := range in.Recipients {
		f.Permissions = append(f.Permissions, permission{"drive#permission", strconv.Itoa(len(f.Permissions) + 1), "user", "reader", p.Email})
	}
	return object{"value": []any{}}, nil
}

func graphEvent(e *event) object {
	if e == nil {
		return nil
	}
	at := func(m moment) object {
		t, _ := m.time()
		return object{"dateTime": t.UTC().Format("2006-01-02T15:04:05.0000000"), "timeZone": "UTC"}
	}
	all := []any{}
	for _, a := range e.Attendees {
		all = append(all, object{"type": "required", "emailAddress": object{"address": a.Email}})
	}
	return object{"@odata.etag": "W/" + e.Etag, "id": e.ID, "subject": e.Summary, "bodyPreview": e.Description, "body": object{"contentType": "html", "content": e.Description}, "location": object{"displayName": e.Location},
		"start": at(e.Start), "end": at(e.End), "attendees": all, "organizer": object{"emailAddress": object{"address": e.Organizer.Email}}, "showAs": "busy", "isAllDay": e.Start.Date != ""}
}
