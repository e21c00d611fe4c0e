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
func body(v *office.Value, rules []*layer.Rules, _ office.Level) bool {
	content := v.Member("content")
	if !content.IsText() {
		return false
	}
	kind := "text/html"
	if strings.EqualFold(v.Member("contentType").Text(), "text") {
		kind = "text/plain"
	}
	s, kind := office.Body(kind, content.Text(), rules)
	word := "html"
	if kind == "text/plain" {
		word = "text"
	}
	v.Only("contentType", "content")
	v.Put("contentType").SetText(word)
	content.SetText(s)
	return true
}

func location(v *office.Value, rules []*layer.Rules, _ office.Level) bool {
	if !v.IsObject() {
		return false
	}
	v.Only("displayName")
	name := v.Put("displayName")
	name.SetText(office.Line(name.Text(), rules))
	return true
}

// attached shows an attachment: what it is called, and its content where that may be opened.
// A mail, an event or a link that is attached is not looked into.
func attached(o *office.Value, rules []*layer.Rules) {
	if slices.ContainsFunc(rules, func(r *layer.Rules) bool { return !r.Bodies() }) {
		o.Only()
		return
	}
	o.Only("@odata.type", "id", "size", "isInline", "lastModifiedDateTime", "contentType", "name", "contentBytes")
	if name := o.Member("name"); name != nil {
		name.SetText(office.Line(name.Text(), rules))
	}
	content := o.Member("contentBytes")
	if content == nil || office.Whole(rules) {
		return
	}
	b, err := base64.StdEncoding.DecodeString(content.Text())
	kind := o.Member("contentType").Text()
	reduces := slices.ContainsFunc(rules, (*layer.Rules).Reduces)
	if err != nil || !office.Opens(rules, kind, b) || reduces && !office.Readable(kind, b) {
		o.Drop("contentBytes")
		return
	}
	if reduces {
		s, now := office.Body(kind, string(b), rules)
		content.SetText(base64.StdEncoding.EncodeToString([]byte(s)))
		o.Put("contentType").SetText(now)
	}
}
