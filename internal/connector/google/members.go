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
func payload(v any, rules []*layer.Rules, from office.Level) any {
	return part(v, rules, from, 0)
}

func part(v any, rules []*layer.Rules, from office.Level, depth int) any {
	o, ok := v.(office.Object)
	if !ok || depth > 50 {
		return nil
	}
	out := office.Object{}
	for _, name := range []string{"partId", "mimeType"} {
		if s, ok := o[name].(string); ok {
			out[name] = s
		}
	}
	if s, ok := o["filename"].(string); ok && (from >= office.Text || s == "") {
		out["filename"] = office.Line(s, rules)
	}
	list, _ := o["headers"].([]any)
	headers := []any{}
	for _, v := range list {
		h, _ := v.(office.Object)
		name, value := text(h["name"]), text(h["value"])
		if !slices.Contains(envelope, strings.ToLower(name)) {
			continue
		}
		if strings.EqualFold(name, "Subject") {
			value = office.Line(value, rules)
		}
		if strings.EqualFold(name, "Content-Type") && depth > 0 {
			value, _, _ = strings.Cut(value, ";") // its parameters may hold a name
		}
		headers = append(headers, office.Object{"name": name, "value": value})
	}
	out["headers"] = headers
	if from < office.Text {
		return out
	}
	if body, ok := o["body"].(office.Object); ok {
		out["body"] = content(body, o, out, rules)
	}
	if parts, ok := o["parts"].([]any); ok {
		shown := []any{}
		for _, p := range parts {
			if one := part(p, rules, from, depth+1); one != nil {
				shown = append(shown, one)
			}
		}
		out["parts"] = shown
	}
	return out
}

// content shows the body of a part: text reduced, and content of other types where it may be opened.
func content(body, of, out office.Object, rules []*layer.Rules) office.Object {
	kind := text(of["mimeType"])
	shown := office.Object{"size": body["size"]}
	attached := text(of["filename"]) != "" || text(body["attachmentId"]) != "" || !strings.HasPrefix(kind, "text/")
	b, err := office.Base64(text(body["data"]))
	if attached {
		if id := text(body["attachmentId"]); id != "" && office.Opens(rules, kind, nil) {
			shown["attachmentId"] = id // what it holds is looked at when it is asked for
		}
		if len(b) == 0 || err != nil || !office.Opens(rules, kind, b) {
			return shown
		}
	}
	if err != nil || len(b) == 0 {
		return shown
	}
	full := kind
	if h := header(of, "Content-Type"); len(h) == 1 {
		full = h[0]
	}
	if !office.Readable(full, b) {
		return shown
	}
	s, now := office.Body(kind, string(b), rules)
	if now != kind {
		out["mimeType"] = now
		out["headers"] = []any{office.Object{"name": "Content-Type", "value": now + "; charset=utf-8"}}
	}
	set(shown, []byte(s))
	return shown
}

func set(o office.Object, b []byte) {
	o["data"], o["size"] = base64.URLEncoding.EncodeToString(b), float64(len(b))
}

func description(v any, rules []*layer.Rules, _ office.Level) any {
	s, ok := v.(string)
	if !ok {
		return nil
	}
	s, _ = office.Body("text/html", s, rules)
	return s
}

// attendees shows who is invited; what they wrote is text.
func attendees(v any, rules []*layer.Rules, from office.Level) any {
	list, _ := v.([]any)
	shown := []any{}
	for _, one := range list {
		o, ok := one.(office.Object)
		if !ok {
			continue
		}
		if c, ok := o["comment"].(string); ok && from >= office.Text {
			o["comment"] = office.Line(c, rules)
		} else {
			delete(o, "comment")
		}
		shown = append(shown, o)
	}
	return shown
}

// links shows what leads elsewhere where nothing is to be reduced.
func links(v any, rules []*layer.Rules, _ office.Level) any {
	if slices.ContainsFunc(rules, func(r *layer.Rules) bool { return !r.AnyContent() }) {
		return nil
	}
	return v
}
