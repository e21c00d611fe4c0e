package office

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// usual are values that every account has, and that nobody need have read anywhere: the account itself, its folders and labels.
var usual = func() map[string]bool {
	all := map[string]bool{}
	for w := range strings.FieldsSeq(`me primary root inbox sent sentitems drafts draft trash deleteditems junkemail spam archive outbox unread starred important default
		recoverableitemsdeletions category_personal category_social category_promotions category_updates category_forums`) {
		all[w] = true
	}
	return all
}()

// saying are members of bodies that say something, under the name that tells so; all that stands below one is said too.
var saying = map[string]bool{"subject": true, "body": true, "content": true, "comment": true, "summary": true, "description": true, "location": true, "name": true, "displayName": true, "title": true, "text": true, "snippet": true, "bodyPreview": true}

// encoded are members whose value is content in base64, and others that hold no text of anybody's.
var encoded = map[string]bool{"raw": true, "data": true, "contentBytes": true, "id": true, "iCalUId": true, "iCalUID": true, "etag": true, "timeZone": true, "dateTime": true, "contentType": true, "mimeType": true, "kind": true}

// Says is [connector.Speaker]'s: the arguments of a call that say something, and what its body says beside them.
func (d *Dialect) Says(r *connector.Request, call policy.Call) (list []provenance.Argument) {
	for _, a := range call.Texts() {
		switch {
		case strings.HasPrefix(a.Name, "$"), strings.HasSuffix(a.Name, "_domains"), options[a.Name], usual[strings.ToLower(a.Value)]:
			continue // a domain is of an address that is there itself
		case strings.EqualFold(a.Name, "userId"), a.Name == "user-id", a.Name == "base":
			continue // the account, which the credential says
		}
		list = append(list, a)
	}
	m, known := d.Of[call.Action]
	var o Object
	body := metadataOf(r)
	if !connector.Few(body, maxMade) { // what is not read could be anything
		return append(list, provenance.Argument{Name: "body", Value: Unread})
	}
	if len(r.Body) == 0 || json.Unmarshal(body, &o) != nil {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "text/") && m.Kind == layer.File {
			list = append(list, provenance.Argument{Name: "content", Value: string(r.Body)})
		}
		return list
	}
	if known && m.Body != nil { // what is a destination or a role is among the arguments
		return said(list, "", o, 0)
	}
	b, err := json.Marshal(o, json.Deterministic(true))
	if err == nil {
		list, _ = connector.Texts(list, "", b)
	}
	return list
}

// Implies is [connector.Speaker]'s.
func (d *Dialect) Implies(call policy.Call) bool {
	m := d.Of[call.Action]
	_, said := addressed(m, call)
	return m.ToOn && !said && m.Kind == layer.Mail && call.Word == "mail.send"
}

// options are arguments that say how a request or its reply is set.
var options = map[string]bool{"alt": true, "fields": true, "uploadType": true, "format": true, "sendUpdates": true, "sendNotifications": true, "conferenceDataVersion": true, "maxAttendees": true, "orderBy": true, "corpora": true,
	"spaces": true, "includeLabels": true, "includePermissionsForView": true, "ocrLanguage": true, "maxResults": true, "pageSize": true, "pageToken": true, "projection": true, "internalDateSource": true, "size": true, "attachments": true}

// metadataOf is the part of a body that is JSON.
func metadataOf(r *connector.Request) []byte {
	if base, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); strings.HasPrefix(base, "multipart/") {
		b, _, _ := Upload(r)
		return b
	}
	return r.Body
}

// said adds the texts in v: whatever is there can hold a link.
func said(list []provenance.Argument, name string, v any, depth int) []provenance.Argument {
	switch v := v.(type) {
	case string:
		if name == "" {
			name = "body"
		}
		list = append(list, provenance.Argument{Name: name, Value: v})
	case []any:
		for _, one := range v {
			list = said(list, name, one, depth+1)
		}
	case Object:
		var some [32]string
		names := some[:0]
		for n := range v {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names {
			if encoded[n] || strings.HasPrefix(n, "@odata") || depth > 50 {
				continue
			}
			as := name
			if saying[n] && name == "" {
				if as = n; n == "name" || n == "displayName" {
					as = "title"
				}
			}
			list = said(list, as, v[n], depth+1)
		}
	}
	return list
}

// maxSpoken is how much text of one mail is looked at.
const maxSpoken = 256 << 10

// Spoken are the texts in a message of RFC 5322: of each part that is text, as far as there is room. whole is false where there was more.
func Spoken(raw []byte) (texts []string, whole bool) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, false
	}
	left := maxSpoken
	whole = true
	var part func(kind, encoding string, body io.Reader, depth int)
	part = func(kind, encoding string, body io.Reader, depth int) {
		base, parameters, err := mime.ParseMediaType(kind)
		if err != nil {
			base = "text/plain"
		}
		switch {
		case strings.HasPrefix(base, "multipart/"):
			in := multipart.NewReader(body, parameters["boundary"])
			for n := 0; ; n++ {
				p, err := in.NextRawPart()
				if err != nil {
					whole = whole && err == io.EOF
					return
				}
				if depth > 20 || n > 1000 {
					whole = false
					return
				}
				part(p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p, depth+1)
			}
		case strings.HasPrefix(base, "text/") || base == "message/rfc822" || base == "application/json" || base == "application/ics":
			switch strings.ToLower(strings.TrimSpace(encoding)) {
			case "base64":
				body = base64.NewDecoder(base64.StdEncoding, body)
			case "quoted-printable":
				body = quotedprintable.NewReader(body)
			}
			b, err := io.ReadAll(io.LimitReader(body, int64(left)+1))
			if whole = whole && err == nil && len(b) <= left; len(b) > left {
				b = b[:left]
			}
			left -= len(b)
			texts = append(texts, strings.ToValidUTF8(string(b), "\ufffd"))
		}
	}
	part(m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body, 0)
	return texts, whole
}

// Records is a reply in which each mail, of which record makes one, is a plain record; as it is, if it is no JSON object.
func Records(reply []byte, record func(*Value) bool) []byte {
	var read decoder
	defer read.done()
	o, ok := read.decode(reply)
	if !ok {
		return reply
	}
	var walk func(v *Value)
	walk = func(v *Value) {
		if v.IsObject() && record(v) {
			return
		}
		for one := range v.All() {
			walk(one)
		}
	}
	walk(o)
	return o.Append(nil)
}

// headerNames are the headers of a mail that are fields of its record, and what they are called there.
var headerNames = []struct{ header, field string }{{"From", "from"}, {"Sender", "sender"}, {"Reply-To", "reply_to"}, {"To", "to"}, {"Cc", "cc"}, {"Bcc", "bcc"}, {"Subject", "subject"}, {"Date", "date"}}

// Record is a mail: of its headers those that say who, when and what about, and the texts in it. Who it is from is an address alone, and
// the name that stands beside it, which anybody may choose, is text.
func Record(header func(name string) []string, texts, files []string) *Value {
	o := NewObject()
	var loose []string
	for _, h := range headerNames {
		var people []string
		for _, v := range header(h.header) {
			switch h.field {
			case "subject", "date":
				if s, err := new(mime.WordDecoder).DecodeHeader(v); err == nil {
					v = s
				}
				o.Put(h.field).SetText(v)
				continue
			}
			list, err := mail.ParseAddressList(v)
			if err != nil {
				loose = append(loose, v)
				continue
			}
			for _, a := range list {
				if a.Name != "" {
					loose = append(loose, a.Name)
				}
				bare := layer.Address(a.Address)
				if h.field == "from" && len(list) == 1 {
					o.Put("from").SetText(bare)
					people = nil
				} else {
					people = append(people, bare)
				}
			}
		}
		if len(people) > 0 {
			o.Put(h.field).SetTexts(people)
		}
	}
	if len(texts) > 0 {
		o.Put("body").SetText(strings.Join(texts, "\n"))
	}
	if len(loose) > 0 {
		o.Put("text").SetTexts(loose)
	}
	if len(files) > 0 {
		o.Put("title").SetTexts(files)
	}
	return o
}

// Message is the record of a mail of RFC 5322.
func Message(raw []byte) (*Value, bool) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, false
	}
	texts, whole := Spoken(raw)
	if !whole {
		return nil, false
	}
	return Record(func(name string) []string { return m.Header[name] }, texts, nil), true
}
