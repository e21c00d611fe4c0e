package graph

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
		"@odata.type": {}, "@odata.etag": {}, "id": {}, "conversationId": {}, "receivedDateTime": {}, "sentDateTime": {}, "parentFolderId": {}, "isRead": {}, "isDraft": {}, "categories": {},
		"subject": {From: office.Headers, Line: true}, "from": {From: office.Headers, Deep: true}, "sender": {From: office.Headers, Deep: true}, "toRecipients": {From: office.Headers, Deep: true}, "ccRecipients": {From: office.Headers, Deep: true},
		"bccRecipients": {From: office.Headers, Deep: true}, "replyTo": {From: office.Headers, Deep: true}, "importance": {From: office.Headers}, "hasAttachments": {From: office.Headers}, "internetMessageId": {From: office.Headers}, "flag": {From: office.Headers, Deep: true},
		"bodyPreview": {From: office.Text, Line: true}, "body": {From: office.Text, Func: body},
	},
	layer.File: {
		"@odata.type": {}, "id": {}, "folder": {Deep: true}, "file": {Deep: true}, "lastModifiedDateTime": {}, "createdDateTime": {},
		"name": {From: office.Headers, Line: true}, "size": {From: office.Headers}, "parentReference": {From: office.Headers, Deep: true}, "createdBy": {From: office.Headers, Deep: true}, "lastModifiedBy": {From: office.Headers, Deep: true}, "shared": {From: office.Headers, Deep: true}, "eTag": {From: office.Headers},
		"description": {From: office.Text, Line: true},
	},
	layer.Event: {
		"@odata.type": {}, "@odata.etag": {}, "id": {}, "start": {Deep: true}, "end": {Deep: true}, "showAs": {}, "isAllDay": {}, "isCancelled": {}, "seriesMasterId": {}, "type": {}, "sensitivity": {},
		"subject": {From: office.Headers, Line: true}, "organizer": {From: office.Headers, Deep: true}, "attendees": {From: office.Headers, Deep: true}, "isOnlineMeeting": {From: office.Headers}, "responseStatus": {From: office.Headers, Deep: true},
		"recurrence": {From: office.Headers, Deep: true}, "createdDateTime": {From: office.Headers}, "lastModifiedDateTime": {From: office.Headers}, "iCalUId": {From: office.Headers}, "isOrganizer": {From: office.Headers},
		"bodyPreview": {From: office.Text, Line: true}, "body": {From: office.Text, Func: body}, "location": {From: office.Text, Func: location},
	},
}

// body shows {"contentType": "html", "content": …}.
func body(v any, rules []*layer.Rules, _ office.Level) any {
	o, ok := v.(office.Object)
	s, isText := o["content"].(string)
	if !ok || !isText {
		return nil
	}
	kind := "text/html"
	if strings.EqualFold(text(o["contentType"]), "text") {
		kind = "text/plain"
	}
	s, kind = office.Body(kind, s, rules)
	word := "html"
	if kind == "text/plain" {
		word = "text"
	}
	return office.Object{"contentType": word, "content": s}
}

func location(v any, rules []*layer.Rules, _ office.Level) any {
	o, ok := v.(office.Object)
	if !ok {
		return nil
	}
	return office.Object{"displayName": office.Line(text(o["displayName"]), rules)}
}

// attached shows an attachment: what it is called, and its content where that may be opened.
// A mail, an event or a link that is attached is not looked into.
func attached(o office.Object, rules []*layer.Rules) {
	whole := office.Whole(rules)
	if slices.ContainsFunc(rules, func(r *layer.Rules) bool { return !r.Bodies() }) {
		clear(o)
		return
	}
	b, err := base64.StdEncoding.DecodeString(text(o["contentBytes"]))
	kind := text(o["contentType"])
	for name, v := range o {
		switch name {
		case "@odata.type", "id", "size", "isInline", "lastModifiedDateTime", "contentType":
		case "name":
			s, _ := v.(string)
			o[name] = office.Line(s, rules)
		case "contentBytes":
			if whole {
				continue
			}
			if err != nil || !office.Opens(rules, kind, b) || !office.Readable(kind, b) && slices.ContainsFunc(rules, (*layer.Rules).Reduces) {
				delete(o, name)
				continue
			}
			if slices.ContainsFunc(rules, (*layer.Rules).Reduces) {
				s, now := office.Body(kind, string(b), rules)
				o[name], o["contentType"] = base64.StdEncoding.EncodeToString([]byte(s)), now
			}
		default:
			delete(o, name)
		}
	}
}
