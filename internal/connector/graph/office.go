package graph

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/office"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

type dialectOf = office.Dialect

const (
	mailFields  = "?%24select=id%2Cfrom%2Csender%2CtoRecipients%2CccRecipients%2CbccRecipients%2CreplyTo%2CreceivedDateTime%2CparentFolderId%2Ccategories%2CisDraft"
	messageLook = "{base}/messages/{id}" + mailFields
	onMessage   = "{base}/messages/{message-id}" + mailFields
	onFile      = "{base}/items/{driveItem-id}?%24expand=permissions"
	eventFields = "?%24select=id%2Corganizer%2Cattendees%2Cstart%2Cend"
	onEvent     = "{base}/events/{event-id}" + eventFields
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

// dialect is what Graph's operations mean.
var dialect = &office.Dialect{
	Of:      meanings(),
	Item:    item,
	Place:   place,
	Members: members,
	Never:   []string{"@microsoft.graph.downloadUrl", "@content.downloadUrl", "webUrl", "webDavUrl", "thumbnails", "extensions", "singleValueExtendedProperties", "multiValueExtendedProperties", "internetMessageHeaders", "uniqueBody", "mentions"},
	Named:   named,
	Names:   []string{"@odata.type", "id", "displayName", "name", "parentFolderId", "isDefaultCalendar", "canEdit"},
	Receipt: []string{"id", "conversationId", "parentFolderId", "name", "isDraft", "message", "@odata.type"},
	Query:   query,
	Attach:  attached,
}

func meanings() map[string]office.Meaning {
	mail := func(m office.Meaning) office.Meaning { m.Kind = layer.Mail; return m }
	file := func(m office.Meaning) office.Meaning { m.Kind = layer.File; return m }
	event := func(m office.Meaning) office.Meaning { m.Kind = layer.Event; return m }
	to, with := []string{"recipients"}, []string{"attendees"}
	attendees := strs("attendees", "attendee_domains")
	counts, keep := []string{"@odata.count"}, []string{"@odata.context", "@odata.nextLink"}
	on := []string{onMessage}
	return map[string]office.Meaning{
		"graph.messages.list":             mail(office.Meaning{Words: words("mail.search"), Reply: office.List, List: "value", Counts: counts, Keep: keep, Look: messageLook}),
		"graph.messages.get":              mail(office.Meaning{Words: words("mail.read"), Reply: office.One, Look: messageLook}),
		"graph.messages.mime.get":         mail(office.Meaning{Words: words("mail.read"), Reply: office.Content, On: on}),
		"graph.messages.attachments.list": mail(office.Meaning{Words: words("mail.read"), Reply: office.Attached, List: "value", Counts: counts, Keep: keep, On: on}),
		"graph.messages.attachments.get":  mail(office.Meaning{Words: words("mail.read"), Reply: office.Attached, On: on}),
		"graph.mailFolders.list":          mail(office.Meaning{Words: words("mail.search"), Reply: office.Names, List: "value", Counts: counts, Keep: keep}),
		"graph.mailFolders.get":           mail(office.Meaning{Words: words("mail.search"), Reply: office.Names}),

		"graph.sendMail":                    mail(office.Meaning{Words: words("mail.send"), Body: send, Large: true, Args: office.MailArgs, To: to}),
		"graph.messages.create":             mail(office.Meaning{Words: words("mail.draft"), Body: send, Large: true, Args: office.MailArgs, To: to}),
		"graph.messages.update":             mail(office.Meaning{Words: words("mail.label", "mail.draft"), Body: change, Large: true, Args: append(strs("labels"), office.MailArgs...), To: to, Bare: true, On: on}),
		"graph.messages.send":               mail(office.Meaning{Words: words("mail.send"), ToOn: true, On: on}),
		"graph.messages.reply":              mail(office.Meaning{Words: words("mail.send"), Body: answer, Large: true, Args: office.MailArgs, To: to, ToOn: true, On: on}),
		"graph.messages.replyAll":           mail(office.Meaning{Words: words("mail.send"), Body: answer, Large: true, Args: office.MailArgs, To: to, ToOn: true, On: on}),
		"graph.messages.forward":            mail(office.Meaning{Words: words("mail.send"), Body: answer, Large: true, Args: office.MailArgs, To: to, On: on}),
		"graph.messages.createReply":        mail(office.Meaning{Words: words("mail.draft"), Body: answer, Large: true, Args: office.MailArgs, To: to, ToOn: true, Bare: true, On: on}),
		"graph.messages.createReplyAll":     mail(office.Meaning{Words: words("mail.draft"), Body: answer, Large: true, Args: office.MailArgs, To: to, ToOn: true, Bare: true, On: on}),
		"graph.messages.createForward":      mail(office.Meaning{Words: words("mail.draft"), Body: answer, Large: true, Args: office.MailArgs, To: to, Bare: true, On: on}),
		"graph.messages.attachments.create": mail(office.Meaning{Words: words("mail.draft"), On: on}),
		attachSession:                       mail(office.Meaning{Words: words("mail.draft"), Body: session, On: on}),
		"graph.messages.attachments.delete": mail(office.Meaning{Words: words("mail.draft"), On: on}),
		"graph.messages.move":               mail(office.Meaning{Words: words("mail.label", "mail.delete"), Body: move, Args: strs("labels"), On: on}),
		"graph.messages.copy":               mail(office.Meaning{Words: words("mail.label", "mail.delete"), Body: move, Args: strs("labels"), On: on}),
		"graph.messages.delete":             mail(office.Meaning{Words: words("mail.delete"), On: on}),
		"graph.messages.permanentDelete":    mail(office.Meaning{Words: words("mail.delete"), On: on}),
		"graph.messageRules.create":         mail(office.Meaning{Words: words("mail.rule")}),
		"graph.messageRules.update":         mail(office.Meaning{Words: words("mail.rule")}),
		"graph.messageRules.delete":         mail(office.Meaning{Words: words("mail.rule")}),
		"graph.mailboxSettings.update":      mail(office.Meaning{Words: words("mail.rule")}),

		"graph.items.children.list":      file(office.Meaning{Words: words("file.list"), Reply: office.List, List: "value", Counts: counts, Keep: keep, Look: "{base}/items/{id}?%24expand=permissions"}),
		"graph.items.search":             file(office.Meaning{Words: words("file.list"), Reply: office.List, List: "value", Counts: counts, Keep: keep, Look: "{base}/items/{id}?%24expand=permissions"}),
		"graph.items.get":                file(office.Meaning{Words: words("file.read"), Reply: office.One, Look: "{base}/items/{id}?%24expand=permissions"}),
		"graph.items.content.get":        file(office.Meaning{Words: words("file.read", "file.export"), Reply: office.Content, On: []string{onFile}}),
		"graph.items.children.create":    file(office.Meaning{Words: words("file.write"), Body: parent, Args: strs("folders"), Place: true, Into: []string{onFile}}),
		newFile:                          file(office.Meaning{Words: words("file.write"), Place: true, Into: []string{onFile}}),
		"graph.items.content.put":        file(office.Meaning{Words: words("file.write"), On: []string{onFile}}),
		newSession:                       file(office.Meaning{Words: words("file.write"), Body: session, Place: true, Into: []string{onFile}}),
		overSession:                      file(office.Meaning{Words: words("file.write"), Body: session, On: []string{onFile}}),
		"graph.items.update":             file(office.Meaning{Words: words("file.write"), Body: parent, Args: strs("folders"), On: []string{onFile}, Into: []string{"{base}/items/{folders}?%24expand=permissions"}}),
		"graph.items.copy":               file(office.Meaning{Words: words("file.write"), Body: parent, Args: strs("folders"), On: []string{onFile}, Into: []string{"{base}/items/{folders}?%24expand=permissions"}}),
		"graph.items.delete":             file(office.Meaning{Words: words("file.delete"), On: []string{onFile}}),
		"graph.items.permissions.list":   file(office.Meaning{Words: words("file.read"), Reply: office.Same, On: []string{onFile}}),
		"graph.items.permissions.delete": file(office.Meaning{Words: words("file.share"), On: []string{onFile}}),
		"graph.items.permissions.create": file(office.Meaning{Words: words("file.share"), Body: share, Args: append(strs("shared_with", "shared_domains"), policy.Parameter{Name: "role", Type: "string"}), To: []string{"shared_with"}, On: []string{onFile}}),
		"graph.items.invite":             file(office.Meaning{Words: words("file.share"), Body: share, Args: append(strs("shared_with", "shared_domains"), policy.Parameter{Name: "role", Type: "string"}), To: []string{"shared_with"}, On: []string{onFile}}),
		"graph.items.createLink":         file(office.Meaning{Words: words("file.share"), Body: link, Args: append(strs("shared_with", "shared_domains"), policy.Parameter{Name: "role", Type: "string"}), To: []string{"shared_with"}, On: []string{onFile}}),

		"graph.events.list":              event(office.Meaning{Words: words("event.read"), Reply: office.List, List: "value", Counts: counts, Keep: keep, Look: "{base}/events/{id}" + eventFields}),
		"graph.calendarView":             event(office.Meaning{Words: words("event.read"), Reply: office.List, List: "value", Counts: counts, Keep: keep, Look: "{base}/events/{id}" + eventFields}),
		"graph.events.instances":         event(office.Meaning{Words: words("event.read"), Reply: office.List, List: "value", Counts: counts, Keep: keep, Look: "{base}/events/{id}" + eventFields}),
		"graph.events.get":               event(office.Meaning{Words: words("event.read"), Reply: office.One, Look: "{base}/events/{id}" + eventFields}),
		"graph.calendars.list":           event(office.Meaning{Words: words("event.read"), Reply: office.Names, List: "value", Counts: counts, Keep: keep}),
		"graph.calendars.get":            event(office.Meaning{Words: words("event.read"), Reply: office.Names}),
		"graph.calendar.get":             event(office.Meaning{Words: words("event.read"), Reply: office.Names}),
		"graph.calendar.getSchedule":     event(office.Meaning{Words: words("event.read"), Body: schedules, Args: strs("calendars")}),
		"graph.events.create":            event(office.Meaning{Words: words("event.create", "event.invite"), Body: invite, Args: attendees, To: with, Place: true}),
		"graph.events.update":            event(office.Meaning{Words: words("event.update", "event.invite"), Body: invite, Args: attendees, To: with, ToOn: true, Place: true, On: []string{onEvent}}),
		"graph.events.delete":            event(office.Meaning{Words: words("event.delete"), ToOn: true, On: []string{onEvent}}),
		"graph.events.cancel":            event(office.Meaning{Words: words("event.delete"), ToOn: true, On: []string{onEvent}}),
		"graph.events.forward":           event(office.Meaning{Words: words("event.invite"), Body: answer, Args: append(attendees, office.MailArgs...), To: to, On: []string{onEvent}}),
		"graph.events.accept":            event(office.Meaning{Words: words("event.update"), ToOn: true, On: []string{onEvent}}),
		"graph.events.decline":           event(office.Meaning{Words: words("event.update"), ToOn: true, On: []string{onEvent}}),
		"graph.events.tentativelyAccept": event(office.Meaning{Words: words("event.update"), ToOn: true, On: []string{onEvent}}),
	}
}

// spelled are the members of bodies that are read; none may be there in another spelling.
var spelled = []string{"message", "toRecipients", "ccRecipients", "bccRecipients", "replyTo", "from", "sender", "emailAddress", "address", "attendees", "recipients", "email", "alias", "objectId", "roles", "scope",
	"parentReference", "id", "driveId", "path", "destinationId", "subject", "attachments", "schedules", "grantedToV2", "grantedToIdentitiesV2", "grantedTo", "grantedToIdentities", "link", "proposedNewTime", "singleValueExtendedProperties", "multiValueExtendedProperties"}

// object reads a body. It names nothing by an address: what is there could be anywhere, and be fetched from there.
func object(r *connector.Request, names ...string) (office.Object, error) {
	o, err := office.JSON(r.Body, names...)
	var check func(v any) error
	check = func(v any) error {
		switch v := v.(type) {
		case office.Object:
			for name, inner := range v {
				if lower := strings.ToLower(name); strings.HasSuffix(lower, "@odata.bind") || strings.HasSuffix(lower, "@odata.id") || strings.HasSuffix(lower, "sourceurl") {
					return fmt.Errorf("%.60q names something by an address; name it by its id", name)
				}
				if err := check(inner); err != nil {
					return err
				}
			}
		case []any:
			for _, inner := range v {
				if err := check(inner); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err == nil {
		err = check(o)
	}
	return o, err
}

// people are the addresses of a list of {"emailAddress": {"address": …}}.
func people(v any) (list []string, err error) {
	if v == nil {
		return nil, nil
	}
	all, ok := v.([]any)
	for _, one := range all {
		o, _ := one.(office.Object)
		e, _ := o["emailAddress"].(office.Object)
		a := text(e["address"])
		if a == "" {
			ok = false
		}
		list = append(list, a)
	}
	if !ok {
		return nil, errors.New("those it is for are a list, each with an emailAddress that has an address")
	}
	return list, nil
}

// written puts those that a message is for among the arguments.
func written(o office.Object, call *policy.Call, size int, lists ...string) error {
	var all []string
	for _, name := range lists {
		list, err := people(o[name])
		if err != nil {
			return err
		}
		all = append(all, list...)
	}
	if o["singleValueExtendedProperties"] != nil || o["multiValueExtendedProperties"] != nil {
		return errors.New("extended properties may say anything, whom it is for among it")
	}
	office.SetPeople(call, "recipients", "recipient_domains", all)
	attached, _ := o["attachments"].([]any)
	call.Arguments["subject"], call.Arguments["size"], call.Arguments["attachments"] = text(o["subject"]), int64(size), int64(len(attached))
	return nil
}

// send reads a message: as JSON, or in MIME as base64 (Content-Type text/plain).
func send(r *connector.Request, call *policy.Call) error {
	kind, _, _ := strings.Cut(strings.ToLower(r.Header.Get("Content-Type")), ";")
	if strings.TrimSpace(kind) == "text/plain" {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(r.Body)))
		if err != nil {
			return errors.New("a message as text/plain is base64")
		}
		return office.SetMail(call, raw)
	}
	o, err := object(r, spelled...)
	if err != nil {
		return err
	}
	if call.Action == "graph.sendMail" {
		m, ok := o["message"].(office.Object)
		if !ok {
			return errors.New("there is no message")
		}
		o = m
	}
	return written(o, call, len(r.Body), "toRecipients", "ccRecipients", "bccRecipients", "replyTo")
}

// answer reads a reply, or what is forwarded, with those that it adds.
func answer(r *connector.Request, call *policy.Call) error {
	o, err := object(r, spelled...)
	if err != nil {
		return err
	}
	m, _ := o["message"].(office.Object)
	if m == nil {
		m = office.Object{}
	}
	own, err := people(o["toRecipients"])
	if err != nil {
		return err
	}
	if err := written(m, call, len(r.Body), "toRecipients", "ccRecipients", "bccRecipients", "replyTo"); err != nil {
		return err
	}
	office.SetPeople(call, "recipients", "recipient_domains", append(own, call.Arguments["recipients"].([]string)...))
	if answers(call.Action) { // those that it adds are not all, see answered
		delete(call.Arguments, "recipients")
		delete(call.Arguments, "recipient_domains")
	}
	return nil
}

// change reads what is changed of a message: its labels, or, of a draft, what it says.
func change(r *connector.Request, call *policy.Call) error {
	o, err := object(r, append(spelled, "categories", "isRead", "flag", "importance", "inferenceClassification", "body")...)
	if err != nil {
		return err
	}
	labels, ok := office.Strings(o["categories"])
	if !ok {
		return errors.New("categories is a list of text")
	}
	for name := range o {
		if !slices.Contains([]string{"categories", "isRead", "flag", "importance", "inferenceClassification"}, name) {
			call.Word = "mail.draft"
			return written(o, call, len(r.Body), "toRecipients", "ccRecipients", "bccRecipients", "replyTo")
		}
	}
	call.Arguments["labels"] = append([]string{}, labels...)
	return nil
}

// move reads where a message goes. To put it into deleted or junk items deletes.
func move(r *connector.Request, call *policy.Call) error {
	o, err := object(r, spelled...)
	if err != nil {
		return err
	}
	to := text(o["destinationId"])
	if to == "" {
		return errors.New("destinationId is to say where it goes")
	}
	call.Arguments["labels"] = []string{to}
	switch strings.ToLower(to) {
	case "deleteditems", "junkemail", "recoverableitemsdeletions":
		call.Word = "mail.delete"
	}
	return nil
}

// parent reads where a file goes.
func parent(r *connector.Request, call *policy.Call) error {
	o, err := object(r, spelled...)
	if err != nil {
		return err
	}
	p, ok := o["parentReference"].(office.Object)
	if o["parentReference"] == nil {
		return nil
	}
	if !ok || p["path"] != nil || text(p["id"]) == "" || p["driveId"] != nil && text(p["driveId"]) != call.Arguments["drive-id"] {
		return errors.New("parentReference is to name a folder of the same drive by its id")
	}
	call.Arguments["folders"] = []string{text(p["id"])}
	return nil
}

// share reads with whom a file is shared: {"recipients": [{"email": …}], "roles": […]}.
func share(r *connector.Request, call *policy.Call) error {
	o, err := object(r, spelled...)
	if err != nil {
		return err
	}
	var who []string
	all, ok := o["recipients"].([]any)
	for _, one := range all {
		p, _ := one.(office.Object)
		if p["alias"] != nil || p["objectId"] != nil || text(p["email"]) == "" {
			who = append(who, "anyone") // who that is, is not known here
			continue
		}
		who = append(who, text(p["email"]))
	}
	if !ok || len(who) == 0 {
		who = []string{"anyone"}
	}
	office.SetPeople(call, "shared_with", "shared_domains", who)
	roles, _ := office.Strings(o["roles"])
	call.Arguments["role"] = strings.Join(roles, ",")
	return nil
}

// link reads what a link gives. Whoever has it may use it, or all of the organisation.
func link(r *connector.Request, call *policy.Call) error {
	o, err := object(r, append(spelled, "type")...)
	if err != nil {
		return err
	}
	if o["recipients"] != nil {
		if err := share(r, call); err != nil {
			return err
		}
	}
	office.SetPeople(call, "shared_with", "shared_domains", []string{"anyone"})
	call.Arguments["role"] = text(o["type"])
	return nil
}

// invite reads who is invited. An event with somebody on it is an invitation.
func invite(r *connector.Request, call *policy.Call) error {
	o, err := object(r, spelled...)
	if err != nil {
		return err
	}
	who, err := people(o["attendees"])
	if err != nil {
		return err
	}
	office.SetPeople(call, "attendees", "attendee_domains", who)
	if len(who) > 0 {
		call.Word = "event.invite"
	}
	return nil
}

// schedules reads whose free hours are asked for.
func schedules(r *connector.Request, call *policy.Call) error {
	o, err := object(r, spelled...)
	if err != nil {
		return err
	}
	list, ok := office.Strings(o["schedules"])
	if !ok {
		return errors.New("schedules is a list of addresses")
	}
	call.Arguments["calendars"] = append([]string{}, list...)
	return nil
}

func place(call policy.Call) layer.Item {
	kind := layer.File
	if strings.HasPrefix(call.Action, "graph.events.") {
		kind = layer.Event
	}
	return layer.Item{Kind: kind, Calendar: calendar(call, true), Drive: drive(call), Folders: []string{text(call.Arguments["driveItem-id"])}, Placed: true}
}

// calendar is the one that a path names. One event by its id alone may be of any.
func calendar(call policy.Call, list bool) string {
	if id := text(call.Arguments["calendar-id"]); id != "" {
		return id
	}
	if strings.Contains("/"+call.Resource, "/calendar/") || strings.HasSuffix(call.Resource, "/calendar") || strings.HasSuffix(call.Resource, "/calendarView") || list && strings.HasSuffix(call.Resource, "/events") {
		return "primary"
	}
	return ""
}

// drive is own, or the id of another.
func drive(call policy.Call) string {
	if id := text(call.Arguments["drive-id"]); id != "" {
		return id
	}
	return "own"
}

var quoted = regexp.MustCompile(`'([^']*)'|"([^"]*)"`)

// query refuses what a reply could not be held against, and a search for what is not shown.
func query(m office.Meaning, call policy.Call, u connector.Under) error {
	if call.Arguments["$expand"] != nil {
		return errors.New("$expand cannot be held against the layers of its grant; ask for that by itself")
	}
	if call.Action == "graph.messages.mime.get" && !office.Whole(u.Rules) {
		return errors.New("a mail in MIME cannot be held against the layers of its grant; ask for it as JSON")
	}
	if call.Arguments["format"] != nil {
		return errors.New("a file in another format cannot be held against the layers of its grant")
	}
	if call.Action == "graph.calendar.getSchedule" {
		return errors.New("free hours cannot be held against the layers of its grant; ask for events")
	}
	search := strings.Trim(text(call.Arguments["$search"]), `"`)
	if q := text(call.Arguments["q"]); q != "" {
		if office.Limits(u.Rules) {
			return errors.New("a search in files finds what the layers of the grant do not show; list a folder")
		}
		return office.Search(q, m.Kind, u.Rules)
	}
	if search != "" {
		if office.Limits(u.Rules) {
			return errors.New("a search by words finds what the layers of the grant do not show; use $filter")
		}
		if err := office.Search(search, m.Kind, u.Rules); err != nil {
			return err
		}
	}
	for _, name := range []string{"$filter", "$orderby"} {
		s := text(call.Arguments[name])
		lower := strings.ToLower(s)
		switch {
		case s == "":
		case strings.ContainsAny(s, "%\\"), office.Limits(u.Rules) && (strings.Contains(lower, "body") || strings.Contains(lower, "location") || strings.Contains(lower, "description") || strings.Contains(lower, "extended") || strings.Contains(lower, "attachment") && !strings.Contains(lower, "hasattachments")):
			return fmt.Errorf("%s asks for what the layers of the grant do not show", name)
		case office.Bare(u.Rules) && (strings.Contains(lower, "from") || strings.Contains(lower, "sender") || strings.Contains(lower, "subject") || strings.Contains(lower, "recipients") || strings.Contains(lower, "name") || strings.Contains(lower, "organizer") || strings.Contains(lower, "attendees") || strings.Contains(lower, "address")):
			return fmt.Errorf("%s asks for what the layers of the grant do not show", name)
		}
		for _, q := range quoted.FindAllString(s, -1) {
			if err := office.Guess(q, u.Rules); err != nil {
				return err
			}
		}
	}
	return nil
}

func text(v any) string { s, _ := v.(string); return s }

// address is that of {"emailAddress": {"address": …}}.
func address(v *office.Value) string { return v.Member("emailAddress").Member("address").Text() }

// item is what the JSON of a mail, a file or an event says of it.
func item(k layer.Kind, o *office.Value, call policy.Call) layer.Item {
	it := layer.Item{Kind: k}
	add := func(a string) {
		if a != "" {
			it.People = append(it.People, layer.Address(a))
		}
	}
	one := func(v *office.Value) {
		if a := address(v); a != "" {
			add(a)
		} else {
			it.People = append(it.People, "?") // somebody, and nobody knows who
		}
	}
	several := func(v *office.Value) {
		if v.IsList() {
			for v := range v.All() {
				one(v)
			}
		}
	}
	switch k {
	case layer.Mail:
		from := o.Member("from")
		for _, v := range []*office.Value{from, o.Member("sender")} {
			if v.Some() {
				one(v)
			}
		}
		all := true
		for _, name := range []string{"toRecipients", "ccRecipients", "bccRecipients", "replyTo"} {
			list := o.Member(name)
			several(list)
			all = all && list != nil
		}
		it.Draft = o.Member("isDraft").IsTrue()
		it.Peopled = (from.Some() || it.Draft) && all
		it.At, _ = time.Parse(time.RFC3339, o.Member("receivedDateTime").Text())
		it.Labels, _ = o.Member("categories").Strings()
		folder := o.Member("parentFolderId").Text()
		it.Placed = folder != ""
		it.Labels = append(it.Labels, folder)
	case layer.File:
		it.Drive = drive(call)
		it.At, _ = time.Parse(time.RFC3339, o.Member("lastModifiedDateTime").Text())
		if p := o.Member("parentReference"); p.IsObject() {
			it.Folders, it.Placed = []string{p.Member("id").Text()}, true
		}
		list := o.Member("permissions")
		for _, p := range list.Items() {
			before, link := len(it.People), p.Member("link")
			if link.IsObject() && link.Member("scope").Text() != "users" {
				it.People = append(it.People, "anyone")
			}
			it.People = append(it.People, granted(p.Member("grantedToV2"))...)
			for _, g := range p.Member("grantedToIdentitiesV2").Items() {
				it.People = append(it.People, granted(g)...)
			}
			add(p.Member("invitation").Member("email").Text())
			if len(it.People) == before && !link.IsObject() {
				it.People = append(it.People, "?")
			}
		}
		it.Peopled = list.IsList()
	case layer.Event:
		it.Calendar = calendar(call, true)
		organizer, attendees := o.Member("organizer"), o.Member("attendees")
		if organizer.Some() {
			one(organizer)
		}
		several(attendees)
		it.Peopled = organizer.Some() && attendees != nil
		it.At = moment(o.Member("start"))
	}
	return it
}

// granted are the addresses of an identity set; one without any is somebody unknown.
func granted(v *office.Value) []string {
	if !v.IsObject() {
		return nil
	}
	for _, kind := range []string{"user", "siteUser", "group", "siteGroup"} {
		for _, name := range []string{"email", "userPrincipalName"} {
			if a := v.Member(kind).Member(name).Text(); a != "" {
				return []string{layer.Address(a)}
			}
		}
	}
	return []string{"?"}
}

// moment is a time that is written without its offset, in a zone that is named beside it.
func moment(v *office.Value) time.Time {
	name := v.Member("timeZone").Text()
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return time.Time{}
	}
	t, _ := time.ParseInLocation("2006-01-02T15:04:05", v.Member("dateTime").Text(), zone) // with a fraction, too
	return t
}

// named reports whether a folder or a calendar is one of those that are seen.
func named(m office.Meaning, o *office.Value, call policy.Call, rules []*layer.Rules) bool {
	for _, r := range rules {
		list, id, name := r.Within.Labels, o.Member("id").Text(), o.Member("displayName").Text()
		if m.Kind == layer.Event {
			list, name = r.Within.Calendars, o.Member("name").Text()
			if o.Member("isDefaultCalendar").IsTrue() && slices.Contains(list, "primary") {
				continue
			}
		}
		if len(list) > 0 && !slices.ContainsFunc(list, func(w string) bool {
			return strings.EqualFold(w, id) || strings.EqualFold(w, name) && m.Kind == layer.Mail
		}) {
			return false
		}
	}
	return true
}
