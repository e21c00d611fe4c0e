package office

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"
)

// More of what Graph does: searches, and what changes things.

func (o *Office) graphChanges(me string) {
	o.handle("PATCH "+me+"/messages/{id}", o.graphMark)
	o.handle("POST "+me+"/messages/{id}/send", o.graphSendDraft)
	o.handle("POST "+me+"/messages/{id}/createReply", o.graphCreateReply)
	o.handle("POST "+me+"/drive/root/children", o.graphCreate)
	o.handle("POST "+me+"/drive/items/{fileId}/children", o.graphCreate)
	o.handle("PUT "+me+"/drive/items/{fileId}/content", o.graphContent)
	o.handle("PUT "+me+"/drive/items/{folder}/{name}/content", o.graphNamed)
	o.handle("GET "+me+"/drive/root/{search}", o.graphSearch)
}

var (
	receivedIs = regexp.MustCompile(`^receivedDateTime (ge|lt) (\S+)$`)
	senderIs   = regexp.MustCompile(`^from/emailAddress/address eq '([^']*)'$`)
	subjectHas = regexp.MustCompile(`^contains\(subject, ?'([^']*)'\)$`)
)

// filtered knows the commonest terms of a $filter of messages, joined by "and".
func (m *message) filtered(filter string) (bool, error) {
	p := parseMail(m.raw)
	for _, term := range strings.Split(filter, " and ") {
		var ok bool
		if x := receivedIs.FindStringSubmatch(term); x != nil {
			t, err := time.Parse(time.RFC3339, x[2])
			if err != nil {
				return false, invalid("Invalid filter clause.")
			}
			ok = m.at.Before(t) == (x[1] == "lt")
		} else if x := senderIs.FindStringSubmatch(term); x != nil {
			from, err := mail.ParseAddress(p.get("From"))
			ok = err == nil && strings.EqualFold(from.Address, x[1])
		} else if x := subjectHas.FindStringSubmatch(term); x != nil {
			ok = strings.Contains(strings.ToLower(p.get("Subject")), strings.ToLower(x[1]))
		} else if term == "isRead eq false" || term == "isRead eq true" {
			ok = slices.Contains(m.labels, "UNREAD") == (term == "isRead eq false")
		} else if term != "" {
			return false, invalid("Invalid filter clause.")
		} else {
			ok = true
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

// searched knows the commonest words of a $search of messages; all must be there.
func (m *message) searched(query string) bool {
	return m.matches(query)
}

func (o *Office) graphMark(r *http.Request) (any, error) {
	var in struct{ IsRead *bool }
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if in.IsRead != nil {
		add, remove := []string{"UNREAD"}, []string(nil)
		if *in.IsRead {
			add, remove = remove, add
		}
		if _, err := o.change(r.PathValue("id"), add, remove); err != nil {
			return nil, err
		}
	}
	return o.graphMessage(r)
}

func (o *Office) graphSendDraft(r *http.Request) (any, error) {
	m, err := o.message(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if !slices.Contains(m.labels, "DRAFT") {
		return nil, invalid("The item is no draft.")
	}
	m.labels = []string{"SENT"}
	return accepted{}, nil
}

func (o *Office) graphCreateReply(r *http.Request) (any, error) {
	m, err := o.message(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	var in struct{ Comment string }
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	p := parseMail(m.raw)
	return o.put([]byte("From: Maya Lind <"+Mailbox+">\r\nTo: "+p.get("From")+"\r\nSubject: Re: "+p.get("Subject")+"\r\n\r\n"+in.Comment), m.thread, "DRAFT").graph(), nil
}

func (o *Office) graphCreate(r *http.Request) (any, error) {
	var in struct {
		Name string
		File *struct{}
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	parent := r.PathValue("fileId")
	if parent == "" {
		parent = "root"
	}
	if slices.ContainsFunc(o.files, func(f *file) bool { return f.Name == in.Name && slices.Contains(f.Parents, parent) }) {
		return nil, &failure{http.StatusConflict, "nameAlreadyExists", "Name already exists"}
	}
	f := &file{Kind: "drive#file", Name: in.Name, MimeType: "application/octet-stream", Parents: []string{parent}}
	if in.File == nil {
		f.MimeType = folder
	}
	o.keep(f)
	return graphFile(f, false), nil
}

// graphNamed is /items/{folder}:/{name}:/content.
func (o *Office) graphNamed(r *http.Request) (any, error) {
	folder, ok := strings.CutSuffix(r.PathValue("folder"), ":")
	name, named := strings.CutSuffix(r.PathValue("name"), ":")
	if !ok || !named {
		return nil, notFound("Segment")
	}
	i := slices.IndexFunc(o.files, func(f *file) bool { return f.Name == name && slices.Contains(f.Parents, folder) })
	if i >= 0 && r.URL.Query().Get("@microsoft.graph.conflictBehavior") == "fail" {
		return nil, &failure{http.StatusConflict, "nameAlreadyExists", "Name already exists"}
	}
	f := &file{Kind: "drive#file", Name: name, Parents: []string{folder}}
	if i < 0 {
		o.keep(f)
	} else {
		f = o.files[i]
	}
	return f.take(o, r)
}

func (o *Office) graphContent(r *http.Request) (any, error) {
	f, err := o.file(r)
	if err != nil {
		return nil, err
	}
	return f.take(o, r)
}

// take has the body of a request be what is in the file.
func (f *file) take(o *Office, r *http.Request) (_ any, err error) {
	if f.content, err = io.ReadAll(r.Body); err != nil {
		return nil, err
	}
	f.MimeType, f.Size = r.Header.Get("Content-Type"), fmt.Sprint(len(f.content))
	_, f.ModifiedTime = o.stamp()
	return graphFile(f, false), nil
}

var searchFor = regexp.MustCompile(`^search\(q='([^']*)'\)$`)

func (o *Office) graphSearch(r *http.Request) (any, error) {
	m := searchFor.FindStringSubmatch(r.PathValue("search"))
	if m == nil {
		return nil, notFound("Segment")
	}
	all := []any{}
	for _, f := range o.files {
		if strings.Contains(strings.ToLower(f.Name+"\n"+string(f.content)), strings.ToLower(m[1])) {
			all = append(all, selected(r, graphFile(f, false)))
		}
	}
	return graphPage(r, all)
}

func (o *Office) graphEvents(r *http.Request) (any, error) {
	all := []any{}
	for _, e := range o.events {
		all = append(all, selected(r, graphEvent(e)))
	}
	return graphPage(r, all)
}

// graphView is the events of a span of time, in their order.
func (o *Office) graphView(r *http.Request) (any, error) {
	from, err := time.Parse(time.RFC3339, r.URL.Query().Get("startDateTime"))
	to, bad := time.Parse(time.RFC3339, r.URL.Query().Get("endDateTime"))
	if err != nil || bad != nil {
		return nil, invalid("This request requires a time window specified by the query string parameters StartDateTime and EndDateTime.")
	}
	list := slices.Clone(o.events)
	slices.SortStableFunc(list, func(a, b *event) int {
		s, _ := a.Start.time()
		t, _ := b.Start.time()
		return s.Compare(t)
	})
	all := []any{}
	for _, e := range list {
		start, _ := e.Start.time() // valid since it was stored
		end, _ := e.End.time()
		if end.After(from) && start.Before(to) {
			all = append(all, selected(r, graphEvent(e)))
		}
	}
	return graphPage(r, all)
}

// graphRead takes what a request says of e.
func (e *event) graphRead(r *http.Request) error {
	type at struct{ DateTime, TimeZone string }
	var in struct {
		Subject    *string
		Body       *struct{ Content string }
		Location   *struct{ DisplayName string }
		Start, End *at
		IsAllDay   bool
		Attendees  []struct{ EmailAddress struct{ Address string } }
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return invalid("Invalid JSON payload received.")
	}
	if in.Subject != nil {
		e.Summary = *in.Subject
	}
	if in.Body != nil {
		e.Description = in.Body.Content
	}
	if in.Location != nil {
		e.Location = in.Location.DisplayName
	}
	for _, m := range []struct {
		from *at
		to   *moment
	}{{in.Start, &e.Start}, {in.End, &e.End}} {
		if m.from == nil {
			continue
		}
		zone, err := time.LoadLocation(m.from.TimeZone)
		if err != nil {
			return invalid("Unknown time zone.")
		}
		t, err := time.ParseInLocation("2006-01-02T15:04:05", m.from.DateTime, zone)
		if err != nil {
			return invalid("Invalid start or end.")
		}
		if *m.to = (moment{DateTime: t.Format(time.RFC3339)}); in.IsAllDay {
			*m.to = moment{Date: t.Format(time.DateOnly)}
		}
	}
	if in.Attendees != nil {
		e.Attendees = nil
	}
	for _, a := range in.Attendees {
		e.Attendees = append(e.Attendees, attendee{a.EmailAddress.Address, "none"})
	}
	start, err := e.Start.time()
	end, bad := e.End.time()
	if err != nil || bad != nil || end.Before(start) {
		return invalid("Invalid start or end.")
	}
	return nil
}

func (o *Office) graphInsert(r *http.Request) (any, error) {
	e := &event{}
	if err := e.graphRead(r); err != nil {
		return nil, err
	}
	o.schedule(e)
	return graphEvent(e), nil
}

func (o *Office) graphPatch(r *http.Request) (any, error) {
	e, err := o.eventToChange(r)
	if err != nil {
		return nil, err
	}
	changed := *e
	if err := changed.graphRead(r); err != nil {
		return nil, err
	}
	_, changed.Updated = o.stamp()
	changed.tag()
	*e = changed
	return graphEvent(e), nil
}
