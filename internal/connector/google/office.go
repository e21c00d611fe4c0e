package google

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/office"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

const (
	gmailBase   = "/gmail/v1/users/{userId}/"
	messageLook = gmailBase + "messages/{id}?format=metadata"
	threadLook  = gmailBase + "threads/{id}?format=metadata"
	draftLook   = gmailBase + "drafts/{id}?format=metadata"
	fileFields  = "?supportsAllDrives=true&fields=id%2CmimeType%2Cparents%2CdriveId%2CmodifiedTime%2CcreatedTime%2Cowners%28emailAddress%2Cme%29%2Cpermissions%28type%2CemailAddress%2Cdomain%2Cdeleted%29%2CsharingUser%28emailAddress%29"
	eventLook   = "/calendar/v3/calendars/{calendarId}/events/{eventId}"
)

func words(list ...string) []string { return list }

func strs(names ...string) (list []policy.Parameter) {
	for _, n := range names {
		p := policy.Parameter{Name: n, Type: "strings"}
		if n == "attendees" || n == "shared_with" {
			p.Format = "email"
		}
		list = append(list, p)
	}
	return list
}

// dialect is what the methods of Gmail, Drive and Calendar mean.
var dialect = &office.Dialect{
	Of:      meanings(),
	Item:    item,
	Place:   place,
	Members: members,
	Never:   []string{"thumbnailLink", "thumbnailVersion", "exportLinks", "webContentLink", "contentHints", "raw", "resourceKey", "linkShareMetadata"},
	Named:   named,
	Names:   []string{"kind", "id", "name", "type", "summary", "primary", "timeZone", "accessRole", "selected", "messageListVisibility", "labelListVisibility", "emailAddress"},
	Receipt: []string{"kind", "id", "threadId", "labelIds", "name", "mimeType", "status", "message"},
	Query:   query,
	File: func(m office.Meaning, call policy.Call) bool {
		return call.Arguments["alt"] == "media" && m.Kind == layer.File
	},
	Data: data,
}

func meanings() map[string]office.Meaning {
	mail := func(m office.Meaning) office.Meaning { m.Kind = layer.Mail; return m }
	file := func(m office.Meaning) office.Meaning { m.Kind = layer.File; return m }
	event := func(m office.Meaning) office.Meaning { m.Kind = layer.Event; return m }
	to, with := []string{"recipients"}, []string{"attendees"}
	attendees := strs("attendees", "attendee_domains")
	of := map[string]office.Meaning{
		"gmail.users.getProfile":               mail(office.Meaning{Words: words("mail.read"), Reply: office.Names}),
		"gmail.users.messages.get":             mail(office.Meaning{Words: words("mail.read"), Reply: office.One, Look: messageLook}),
		"gmail.users.messages.list":            mail(office.Meaning{Words: words("mail.search"), Reply: office.List, List: "messages", Counts: []string{"resultSizeEstimate"}, Keep: []string{"nextPageToken"}, Look: messageLook}),
		"gmail.users.messages.attachments.get": mail(office.Meaning{Words: words("mail.read"), Reply: office.Content, On: []string{gmailBase + "messages/{messageId}?format=metadata"}}),
		"gmail.users.threads.get":              mail(office.Meaning{Words: words("mail.read"), Reply: office.Thread, List: "messages", Keep: []string{"id"}, Look: messageLook}),
		"gmail.users.threads.list":             mail(office.Meaning{Words: words("mail.search"), Reply: office.List, List: "threads", Counts: []string{"resultSizeEstimate"}, Keep: []string{"nextPageToken"}, Look: threadLook, Many: "messages"}),
		"gmail.users.drafts.get":               mail(office.Meaning{Words: words("mail.read"), Reply: office.One, Within: "message", Look: draftLook}),
		"gmail.users.drafts.list":              mail(office.Meaning{Words: words("mail.search"), Reply: office.List, List: "drafts", Counts: []string{"resultSizeEstimate"}, Keep: []string{"nextPageToken"}, Within: "message", Look: draftLook}),
		"gmail.users.labels.list":              mail(office.Meaning{Words: words("mail.search"), Reply: office.Names, List: "labels"}),
		"gmail.users.labels.get":               mail(office.Meaning{Words: words("mail.search"), Reply: office.Names}),

		"gmail.users.messages.send": mail(office.Meaning{Words: words("mail.send"), Body: send, Large: true, Args: office.MailArgs, To: to}),
		"gmail.users.drafts.create": mail(office.Meaning{Words: words("mail.draft"), Body: send, Large: true, Args: office.MailArgs, To: to}),
		"gmail.users.drafts.update": mail(office.Meaning{Words: words("mail.draft"), Body: send, Large: true, Args: office.MailArgs, To: to, On: []string{draftLook}}),
		"gmail.users.drafts.send":   mail(office.Meaning{Words: words("mail.send"), Body: send, Large: true, Args: append(strs("draft"), office.MailArgs...), To: to, On: []string{gmailBase + "drafts/{draft}?format=metadata"}}),
		"gmail.users.drafts.delete": mail(office.Meaning{Words: words("mail.delete"), On: []string{draftLook}}),

		"gmail.users.messages.modify":      mail(office.Meaning{Words: words("mail.label", "mail.delete"), Body: labels, Args: strs("labels"), On: []string{messageLook}}),
		"gmail.users.messages.batchModify": mail(office.Meaning{Words: words("mail.label", "mail.delete"), Body: labels, Args: strs("labels", "ids"), On: []string{gmailBase + "messages/{ids}?format=metadata"}}),
		"gmail.users.threads.modify":       mail(office.Meaning{Words: words("mail.label", "mail.delete"), Body: labels, Args: strs("labels"), On: []string{threadLook}}),
		"gmail.users.messages.untrash":     mail(office.Meaning{Words: words("mail.label"), On: []string{messageLook}}),
		"gmail.users.threads.untrash":      mail(office.Meaning{Words: words("mail.label"), On: []string{threadLook}}),
		"gmail.users.labels.create":        mail(office.Meaning{Words: words("mail.label")}),
		"gmail.users.labels.patch":         mail(office.Meaning{Words: words("mail.label")}),
		"gmail.users.labels.update":        mail(office.Meaning{Words: words("mail.label")}),
		"gmail.users.messages.trash":       mail(office.Meaning{Words: words("mail.delete"), On: []string{messageLook}}),
		"gmail.users.threads.trash":        mail(office.Meaning{Words: words("mail.delete"), On: []string{threadLook}}),
		"gmail.users.messages.delete":      mail(office.Meaning{Words: words("mail.delete"), On: []string{messageLook}}),
		"gmail.users.threads.delete":       mail(office.Meaning{Words: words("mail.delete"), On: []string{threadLook}}),
		"gmail.users.messages.batchDelete": mail(office.Meaning{Words: words("mail.delete"), Body: labels, Args: strs("ids"), On: []string{gmailBase + "messages/{ids}?format=metadata"}}),

		"drive.files.list":         file(office.Meaning{Words: words("file.list"), Reply: office.List, List: "files", Keep: []string{"kind", "nextPageToken", "incompleteSearch"}, Look: "/drive/v3/files/{id}" + fileFields}),
		"drive.files.get":          file(office.Meaning{Words: words("file.read"), Reply: office.One, Look: "/drive/v3/files/{id}" + fileFields, On: []string{"/drive/v3/files/{fileId}" + fileFields}}),
		"drive.files.export":       file(office.Meaning{Words: words("file.export"), Reply: office.Content, On: []string{"/drive/v3/files/{fileId}" + fileFields}}),
		"drive.files.create":       file(office.Meaning{Words: words("file.write"), Body: metadata, Large: true, Args: strs("folders"), Place: true, Bare: true, Into: []string{"/drive/v3/files/{folders}" + fileFields}}),
		"drive.files.update":       file(office.Meaning{Words: words("file.write", "file.delete"), Body: metadata, Large: true, Args: strs("folders"), Bare: true, On: []string{"/drive/v3/files/{fileId}" + fileFields}, Into: []string{"/drive/v3/files/{addParents}" + fileFields}}),
		"drive.files.copy":         file(office.Meaning{Words: words("file.write"), Body: metadata, Args: strs("folders"), Place: true, Bare: true, On: []string{"/drive/v3/files/{fileId}" + fileFields}, Into: []string{"/drive/v3/files/{folders}" + fileFields}}),
		"drive.files.delete":       file(office.Meaning{Words: words("file.delete"), On: []string{"/drive/v3/files/{fileId}" + fileFields}}),
		"drive.permissions.list":   file(office.Meaning{Words: words("file.read"), Reply: office.Same, On: []string{"/drive/v3/files/{fileId}" + fileFields}}),
		"drive.permissions.get":    file(office.Meaning{Words: words("file.read"), Reply: office.Same, On: []string{"/drive/v3/files/{fileId}" + fileFields}}),
		"drive.permissions.create": file(office.Meaning{Words: words("file.share"), Body: share, Args: append(strs("shared_with", "shared_domains"), policy.Parameter{Name: "role", Type: "string"}), To: []string{"shared_with"}, On: []string{"/drive/v3/files/{fileId}" + fileFields}}),
		"drive.permissions.delete": file(office.Meaning{Words: words("file.share"), On: []string{"/drive/v3/files/{fileId}" + fileFields}}),

		"calendar.calendarList.list": event(office.Meaning{Words: words("event.read"), Reply: office.Names, List: "items", Keep: []string{"kind", "nextPageToken"}}),
		"calendar.calendarList.get":  event(office.Meaning{Words: words("event.read"), Reply: office.Names}),
		"calendar.events.list":       event(office.Meaning{Words: words("event.read"), Reply: office.List, List: "items", Keep: []string{"kind", "nextPageToken", "timeZone", "accessRole"}, Look: "/calendar/v3/calendars/{calendarId}/events/{id}"}),
		"calendar.events.instances":  event(office.Meaning{Words: words("event.read"), Reply: office.List, List: "items", Keep: []string{"kind", "nextPageToken", "timeZone", "accessRole"}, Look: "/calendar/v3/calendars/{calendarId}/events/{id}"}),
		"calendar.events.get":        event(office.Meaning{Words: words("event.read"), Reply: office.One}),
		"calendar.freebusy.query":    event(office.Meaning{Words: words("event.read"), Body: busy, Args: strs("calendars"), Reply: office.Same}),
		"calendar.events.insert":     event(office.Meaning{Words: words("event.create", "event.invite"), Body: invite, Args: attendees, To: with, Place: true}),
		"calendar.events.import":     event(office.Meaning{Words: words("event.create", "event.invite"), Body: invite, Args: attendees, To: with, Place: true}),
		"calendar.events.quickAdd":   event(office.Meaning{Words: words("event.invite"), To: with, Place: true}),
		"calendar.events.update":     event(office.Meaning{Words: words("event.update", "event.invite"), Body: invite, Args: attendees, To: with, ToOn: true, Place: true, On: []string{eventLook}}),
		"calendar.events.patch":      event(office.Meaning{Words: words("event.update", "event.invite"), Body: invite, Args: attendees, To: with, ToOn: true, Place: true, On: []string{eventLook}}),
		"calendar.events.delete":     event(office.Meaning{Words: words("event.delete"), ToOn: true, On: []string{eventLook}}),
	}
	return of
}

// rule reports whether a method changes what a mailbox does with mail by itself.
func rule(a policy.Action) bool {
	return a.Class == policy.Admin && strings.HasPrefix(a.Name, "gmail.users.settings.")
}

// send reads a mail, or a draft of one: {"raw": …}, {"message": {"raw": …}}, or an upload.
func send(r *connector.Request, call *policy.Call) error {
	body, raw := r.Body, []byte(nil)
	if strings.HasPrefix(r.Path, "/upload/") {
		var err error
		if body, raw, err = office.Upload(r); err != nil {
			return err
		}
	}
	o := office.Object{}
	if body != nil {
		var err error
		if o, err = office.JSON(body, "id", "raw", "message", "threadId", "payload"); err != nil {
			return err
		}
	}
	if inner, ok := o["message"]; ok {
		m, ok := inner.(office.Object)
		if !ok || m["message"] != nil || o["raw"] != nil {
			return errors.New("its message is no object, or there are two")
		}
		m["draft"] = o["id"]
		o = m
	} else {
		o["draft"] = o["id"]
	}
	if o["payload"] != nil { // the parsed form, which is only for reading: it is not what would be sent
		return errors.New("a mail is sent as raw, not as payload")
	}
	if s, ok := o["raw"].(string); ok {
		if raw != nil {
			return errors.New("there is a mail in raw and another in the upload")
		}
		var err error
		if raw, err = office.Base64(s); err != nil {
			return errors.New("raw is no base64")
		}
	} else if o["raw"] != nil {
		return errors.New("raw is no text")
	}
	if call.Action == "gmail.users.drafts.send" {
		if id, ok := o["draft"].(string); ok {
			call.Arguments["draft"] = []string{id}
		}
	}
	if raw == nil {
		if call.Action == "gmail.users.drafts.send" && call.Arguments["draft"] != nil {
			return nil // see Complete
		}
		raw = []byte("Subject:\r\n\r\n")
	}
	return office.SetMail(call, raw)
}

// drafted is a request to send a draft that says what it sends: what is in the mailbox under its id may be changed at any time.
func drafted(call policy.Call, look connector.Look) ([]byte, error) {
	targets := office.Fill(gmailBase+"drafts/{draft}?format=raw", call)
	if len(targets) != 1 {
		return nil, layer.ErrHidden
	}
	_, reply, err := look(targets[0])
	if err != nil {
		return nil, err
	}
	o, err := office.JSON(reply)
	m, _ := o["message"].(office.Object)
	raw := text(m["raw"])
	if err != nil || raw == "" {
		return nil, errors.New("what is in the draft is not known")
	}
	inner := office.Object{"raw": raw}
	if thread := text(m["threadId"]); thread != "" {
		inner["threadId"] = thread
	}
	ids, _ := call.Arguments["draft"].([]string)
	return json.Marshal(office.Object{"id": ids[0], "message": inner}, json.Deterministic(true))
}

// labels reads which labels are put on and taken off which messages. To put TRASH or SPAM on deletes.
func labels(r *connector.Request, call *policy.Call) error {
	o, err := office.JSON(r.Body, "ids", "addLabelIds", "removeLabelIds")
	if err != nil {
		return err
	}
	ids, ok := office.Strings(o["ids"])
	add, okAdd := office.Strings(o["addLabelIds"])
	remove, okRemove := office.Strings(o["removeLabelIds"])
	if !ok || !okAdd || !okRemove {
		return errors.New("ids, addLabelIds and removeLabelIds are lists of text")
	}
	if strings.Contains(call.Action, ".batch") {
		if len(ids) == 0 || len(ids) > 100 {
			return errors.New("ids is to have 1 to 100 messages, for each is looked at")
		}
		call.Arguments["ids"] = ids
	}
	if call.Action != "gmail.users.messages.batchDelete" {
		call.Arguments["labels"] = append(slices.Clone(add), remove...)
		if slices.ContainsFunc(add, func(l string) bool { return strings.EqualFold(l, "TRASH") || strings.EqualFold(l, "SPAM") }) {
			call.Word = "mail.delete"
		}
	}
	return nil
}

// metadata reads what a file is called and where it goes. To put it in the trash deletes.
func metadata(r *connector.Request, call *policy.Call) error {
	body := r.Body
	if strings.HasPrefix(r.Path, "/upload/") && !begins(*call) {
		var err error
		if body, _, err = office.Upload(r); err != nil {
			return err
		}
	}
	o := office.Object{}
	if body != nil {
		var err error
		if o, err = office.JSON(body, "parents", "trashed", "permissions", "permissionIds", "owners", "driveId"); err != nil {
			return err
		}
	}
	parents, ok := office.Strings(o["parents"])
	if !ok || len(parents) > 10 {
		return errors.New("parents is a list of at most 10 folders")
	}
	if parents != nil {
		call.Arguments["folders"] = parents
	}
	for _, name := range []string{"permissions", "permissionIds", "owners"} {
		if o[name] != nil {
			return fmt.Errorf("%s are not given with a file; share it by itself", name)
		}
	}
	if o["trashed"] != nil && o["trashed"] != false {
		call.Word = "file.delete"
	}
	return nil
}

// share reads with whom a file is shared. Who has the link, and a whole domain, are no addresses.
func share(r *connector.Request, call *policy.Call) error {
	o, err := office.JSON(r.Body, "type", "role", "emailAddress", "domain", "id", "view")
	if err != nil {
		return err
	}
	kind, _ := o["type"].(string)
	address, _ := o["emailAddress"].(string)
	domain, _ := o["domain"].(string)
	var who []string
	switch kind {
	case "user", "group":
		who = []string{address}
	case "domain":
		who = []string{"everyone@" + domain}
	default:
		who = []string{"anyone"}
	}
	office.SetPeople(call, "shared_with", "shared_domains", who)
	role, _ := o["role"].(string)
	call.Arguments["role"] = role
	return nil
}

// invite reads who is invited. An event with somebody on it is an invitation.
func invite(r *connector.Request, call *policy.Call) error {
	o, err := office.JSON(r.Body, "attendees", "email", "organizer", "creator")
	if err != nil {
		return err
	}
	all, ok := o["attendees"].([]any)
	if o["attendees"] == nil {
		office.SetPeople(call, "attendees", "attendee_domains", nil)
		return nil
	}
	var who []string
	for _, v := range all {
		a, isObject := v.(office.Object)
		email, _ := a["email"].(string)
		ok = ok && isObject && email != ""
		who = append(who, email)
	}
	if !ok {
		return errors.New("attendees is a list of those who are invited, each with an email")
	}
	office.SetPeople(call, "attendees", "attendee_domains", who)
	if len(who) > 0 {
		call.Word = "event.invite"
	}
	return nil
}

// busy reads whose free hours are asked for.
func busy(r *connector.Request, call *policy.Call) error {
	o, err := office.JSON(r.Body, "items", "id")
	if err != nil {
		return err
	}
	list := []string{}
	all, _ := o["items"].([]any)
	for _, v := range all {
		one, _ := v.(office.Object)
		id, ok := one["id"].(string)
		if !ok {
			return errors.New("items is a list of calendars, each with an id")
		}
		list = append(list, id)
	}
	call.Arguments["calendars"] = list
	return nil
}

func place(call policy.Call) layer.Item {
	if id, ok := call.Arguments["calendarId"].(string); ok {
		return layer.Item{Kind: layer.Event, Calendar: id}
	}
	if strings.HasPrefix(call.Action, "drive.") {
		folders, given := call.Arguments["folders"].([]string)
		if !given {
			return layer.Item{Kind: layer.File, Drive: "own", Folders: []string{"root"}, Placed: true}
		}
		return layer.Item{Kind: layer.File, Folders: folders, Placed: true} // which drive, the folder says
	}
	return layer.Item{Kind: layer.Mail}
}

// query refuses what a reply could not be held against, and a search for what is not shown.
func query(m office.Meaning, call policy.Call, u connector.Under) error {
	if format, _ := call.Arguments["format"].(string); strings.EqualFold(format, "raw") && !office.Whole(u.Rules) {
		return errors.New("a mail as raw cannot be held against the layers of its grant; ask for format=full")
	}
	if alt, _ := call.Arguments["alt"].(string); alt != "" && alt != "json" && !(alt == "media" && call.Action == "drive.files.get") {
		return fmt.Errorf("alt=%s cannot be held against the layers of its grant; ask for JSON", alt)
	}
	if _, ok := call.Arguments["fields"]; ok && m.Kind != layer.File && m.Reply != office.Receipt {
		return errors.New("fields cannot be held against the layers of its grant; leave it away")
	}
	if call.Action == "calendar.freebusy.query" {
		calendars, _ := call.Arguments["calendars"].([]string)
		for _, r := range u.Rules {
			if r.Time.Days > 0 {
				return errors.New("free hours cannot be held against a number of days; ask for events")
			}
			for _, c := range calendars {
				if it := (layer.Item{Kind: layer.Event, Calendar: c, Peopled: true, At: u.Now}); !r.Shows(it, u.Now) {
					return layer.ErrHidden
				}
				if a := layer.Addresses(c); len(a) == 1 && strings.Contains(c, "@") && !r.Shows(layer.Item{Kind: layer.Event, Calendar: c, People: a, Peopled: true, At: u.Now}, u.Now) {
					return layer.ErrHidden
				}
			}
		}
	}
	if call.Arguments["sharedExtendedProperty"] != nil || call.Arguments["privateExtendedProperty"] != nil || call.Arguments["syncToken"] != nil {
		return errors.New("this kind of search cannot be held against the layers of its grant")
	}
	q, _ := call.Arguments["q"].(string)
	return office.Search(q, m.Kind, u.Rules)
}

// header is the values of the headers of that name in a payload.
func header(payload *office.Value, name string) (values []string) {
	list := payload.Member("headers")
	if !list.IsList() {
		return nil
	}
	for h := range list.All() {
		if strings.EqualFold(h.Member("name").Text(), name) {
			values = append(values, h.Member("value").Text())
		}
	}
	return values
}

// item is what the JSON of a mail, a file or an event says of it.
func item(k layer.Kind, o *office.Value, call policy.Call) layer.Item {
	it := layer.Item{Kind: k}
	switch k {
	case layer.Mail:
		payload := o.Member("payload")
		for _, name := range slices.Concat([]string{"From", "Sender", "Resent-From", "Resent-Sender"}, office.Recipients, office.Answers) {
			for _, v := range header(payload, name) {
				it.People = append(it.People, layer.Addresses(v)...)
			}
		}
		from := header(payload, "From")
		it.Peopled = len(from) > 0 && !slices.ContainsFunc(from, func(v string) bool { return len(layer.Addresses(v)) == 0 }) // a group of nobody (RFC 6854) is from anybody
		if ms, err := strconv.ParseInt(o.Member("internalDate").Text(), 10, 64); err == nil {
			it.At = time.UnixMilli(ms)
		}
		it.Placed = o.Member("labelIds") != nil
		it.Labels, _ = o.Member("labelIds").Strings()
		if !slices.Contains(it.Labels, "INBOX") && !slices.Contains(it.Labels, "SENT") && !slices.Contains(it.Labels, "DRAFT") && !slices.Contains(it.Labels, "TRASH") && !slices.Contains(it.Labels, "SPAM") && it.Placed {
			it.Labels = append(it.Labels, "archive")
		}
		if it.Draft = slices.Contains(it.Labels, "DRAFT"); it.Draft {
			it.Labels, it.Peopled = append(it.Labels, "drafts"), it.Peopled || payload.Member("headers").Some()
		}
	case layer.File:
		owners, shared, parents := o.Member("owners"), o.Member("permissions"), o.Member("parents")
		for _, p := range append(owners.Items(), shared.Items()...) {
			switch address, domain := p.Member("emailAddress").Text(), p.Member("domain").Text(); {
			case address != "":
				it.People = append(it.People, layer.Address(address))
			case domain != "":
				it.People = append(it.People, layer.Address("everyone@"+domain))
			case p.Member("type").Text() == "anyone":
				it.People = append(it.People, "anyone")
			case !p.Member("me").IsTrue() && !p.Member("deleted").IsTrue(): // who shows strangers no address
				it.People = append(it.People, "?")
			}
		}
		it.Drive = o.Member("driveId").Text()
		it.Peopled = shared.IsList() && (owners.IsList() || it.Drive != "")
		it.At, _ = time.Parse(time.RFC3339, o.Member("modifiedTime").Text())
		it.Folders, it.Placed = parents.Strings()
		it.Placed = it.Placed && parents.Some()
		if it.Drive == "" && owners.IsList() {
			it.Drive = "own"
		}
	case layer.Event:
		it.Calendar = text(call.Arguments["calendarId"])
		for _, p := range append(o.Member("attendees").Items(), o.Member("organizer"), o.Member("creator")) {
			if a := p.Member("email").Text(); a != "" {
				it.People = append(it.People, layer.Address(a))
			} else if p.Some() && !p.Member("self").IsTrue() {
				it.People = append(it.People, "?") // somebody, and nobody knows who
			}
		}
		it.Peopled = o.Member("start").Some() && !o.Member("attendeesOmitted").IsTrue()
		it.At = moment(o.Member("start"))
	}
	return it
}

func text(v any) string { s, _ := v.(string); return s }

func moment(v *office.Value) time.Time {
	if t, err := time.Parse(time.RFC3339, v.Member("dateTime").Text()); err == nil {
		return t
	}
	t, _ := time.Parse(time.DateOnly, v.Member("date").Text())
	return t
}

// named reports whether a label or a calendar is one of those that are seen.
func named(m office.Meaning, o *office.Value, call policy.Call, rules []*layer.Rules) bool {
	if call.Action == "gmail.users.getProfile" {
		return true
	}
	for _, r := range rules {
		list, id := r.Within.Labels, o.Member("id").Text()
		if m.Kind == layer.Event {
			if list = r.Within.Calendars; o.Member("primary").IsTrue() && slices.Contains(list, "primary") {
				continue
			}
		}
		if len(list) > 0 && !slices.ContainsFunc(list, func(w string) bool { return strings.EqualFold(w, id) }) {
			return false
		}
	}
	return true
}

// data is the content of an attachment: {"size": …, "data": base64url}.
func data(o *office.Value) ([]byte, func([]byte), bool) {
	s := o.Member("data")
	b, err := office.Base64(s.Text())
	if !s.IsText() || err != nil {
		return nil, nil, false
	}
	return b, func(b []byte) { set(o, b) }, true
}
