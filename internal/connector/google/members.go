package google

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector/office"
	"github.com/lanyard-dev/lanyard/internal/layer"
)

// members says what is shown of a mail, a file and an event, from which level on.
var members = map[layer.Kind]office.Members{
	layer.Mail: {
		"id": {}, "threadId": {}, "labelIds": {}, "internalDate": {},
		"sizeEstimate": {From: office.Headers},
		"payload":      {From: office.Headers, Func: payload},
		"snippet":      {From: office.Text, Line: true},
	},
	layer.File: {
		"kind": {}, "id": {}, "mimeType": {}, "trashed": {}, "modifiedTime": {}, "createdTime": {},
		"name": {From: office.Headers, Line: true}, "size": {From: office.Headers}, "parents": {From: office.Headers}, "driveId": {From: office.Headers},
		"owners": {From: office.Headers, Deep: true}, "permissions": {From: office.Headers, Deep: true}, "shared": {From: office.Headers}, "ownedByMe": {From: office.Headers},
		"lastModifyingUser": {From: office.Headers, Deep: true}, "starred": {From: office.Headers}, "version": {From: office.Headers}, "capabilities": {From: office.Headers, Deep: true},
		"description": {From: office.Text, Line: true}, "originalFilename": {From: office.Text, Line: true}, "fileExtension": {From: office.Text},
	},
	layer.Event: {
		"kind": {}, "id": {}, "status": {}, "start": {Deep: true}, "end": {Deep: true}, "transparency": {}, "recurringEventId": {}, "originalStartTime": {Deep: true}, "eventType": {}, "visibility": {},
		"summary": {From: office.Headers, Line: true}, "organizer": {From: office.Headers, Deep: true}, "creator": {From: office.Headers, Deep: true}, "attendees": {From: office.Headers, Func: attendees},
		"created": {From: office.Headers}, "updated": {From: office.Headers}, "iCalUID": {From: office.Headers}, "recurrence": {From: office.Headers}, "sequence": {From: office.Headers}, "reminders": {From: office.Headers, Deep: true}, "etag": {From: office.Headers},
		"location": {From: office.Text, Line: true}, "description": {From: office.Text, Func: description},
		"hangoutLink": {From: office.Text, Func: links}, "conferenceData": {From: office.Text, Func: links}, "attachments": {From: office.Text, Func: links}, "source": {From: office.Text, Func: links},
	},
}

// envelope are the headers of a mail that say who, when and what about.
var envelope = []string{"from", "sender", "reply-to", "to", "cc", "bcc", "subject", "date", "message-id", "in-reply-to", "references", "content-type"}

// payload shows a part of a mail, and what it is made of.
func payload(v *office.Value, rules []*layer.Rules, from office.Level) bool {
	return part(v, rules, from, 0)
}

func part(v *office.Value, rules []*layer.Rules, from office.Level, depth int) bool {
	if !v.IsObject() || depth > 50 {
		return false
	}
	was := v.Member("mimeType").Text()
	now := was
	if from >= office.Text {
		now = content(v, rules)
	}
	if headers := v.Put("headers"); !headers.IsList() {
		headers.SetItems()
	}
	v.Filter(func(m *office.Value) bool {
		switch m.Name() {
		case "partId", "mimeType":
			return m.IsText()
		case "filename":
			if !m.IsText() || from < office.Text && m.Text() != "" {
				return false
			}
			m.SetText(office.Line(m.Text(), rules))
		case "headers":
			m.Filter(func(h *office.Value) bool { return enveloped(h, rules, depth) })
		case "body":
			return from >= office.Text && m.IsObject()
		case "parts":
			if from < office.Text || !m.IsList() {
				return false
			}
			m.Filter(func(p *office.Value) bool { return part(p, rules, from, depth+1) })
		default:
			return false
		}
		return true
	})
	if now != was {
		v.Put("mimeType").SetText(now)
		v.Put("headers").SetItems(office.NewObject("name", "Content-Type", "value", now+"; charset=utf-8"))
	}
	return true
}

// enveloped shows a header, if it is one of the envelope.
func enveloped(h *office.Value, rules []*layer.Rules, depth int) bool {
	name, value := h.Member("name").Text(), h.Member("value").Text()
	if !slices.Contains(envelope, strings.ToLower(name)) {
		return false
	}
	if strings.EqualFold(name, "Subject") {
		value = office.Line(value, rules)
	}
	if strings.EqualFold(name, "Content-Type") && depth > 0 {
		value, _, _ = strings.Cut(value, ";") // its parameters may hold a name
	}
	h.Only("name", "value")
	h.Put("value").SetText(value)
	return true
}

// content shows the body of a part: text reduced, and content of other types where it may be opened. It returns of which type the part is then.
func content(of *office.Value, rules []*layer.Rules) string {
	kind, body := of.Member("mimeType").Text(), of.Member("body")
	if !body.IsObject() {
		return kind
	}
	id := body.Member("attachmentId").Text()
	b, err := office.Base64(body.Member("data").Text())
	body.Only("size")
	body.Put("size")
	if of.Member("filename").Text() != "" || id != "" || !strings.HasPrefix(kind, "text/") { // it is attached
		if id != "" && office.Opens(rules, kind, nil) {
			body.Put("attachmentId").SetText(id) // what it holds is looked at when it is asked for
		}
		if !office.Opens(rules, kind, b) {
			return kind
		}
	}
	full := kind
	if h := header(of, "Content-Type"); len(h) == 1 {
		full = h[0]
	}
	if err != nil || len(b) == 0 || !office.Readable(full, b) {
		return kind
	}
	s, now := office.Body(kind, string(b), rules)
	set(body, []byte(s))
	return now
}

func set(o *office.Value, b []byte) {
	o.Put("data").SetText(base64.URLEncoding.EncodeToString(b))
	o.Put("size").SetNumber(len(b))
}

func description(v *office.Value, rules []*layer.Rules, _ office.Level) bool {
	if !v.IsText() {
		return false
	}
	s, _ := office.Body("text/html", v.Text(), rules)
	v.SetText(s)
	return true
}

// attendees shows who is invited; what they wrote is text.
func attendees(v *office.Value, rules []*layer.Rules, from office.Level) bool {
	if !v.IsList() {
		v.SetItems()
	}
	v.Filter(func(o *office.Value) bool {
		if c := o.Member("comment"); c.IsText() && from >= office.Text {
			c.SetText(office.Line(c.Text(), rules))
		} else {
			o.Drop("comment")
		}
		return o.IsObject()
	})
	return true
}

// links shows what leads elsewhere where nothing is to be reduced.
func links(_ *office.Value, rules []*layer.Rules, _ office.Level) bool {
	return !slices.ContainsFunc(rules, func(r *layer.Rules) bool { return !r.AnyContent() })
}
