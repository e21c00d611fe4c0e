package toolbox

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// graphEvents is a calendar over Microsoft Graph: the person's own.
type graphEvents struct{ api }

const (
	graphEventPath = graphUser + "/events"
	graphTime      = "2006-01-02T15:04:05"
)

// graphMoment is a time without its offset, in a zone that is named beside it.
type graphMoment struct {
	DateTime string `json:"dateTime"`
	TimeZone string `json:"timeZone"`
}

type graphEvent struct {
	ID       string       `json:"id,omitempty"`
	Etag     string       `json:"@odata.etag,omitempty"`
	Subject  string       `json:"subject,omitempty"`
	Body     *graphText   `json:"body,omitempty"`
	Preview  string       `json:"bodyPreview,omitempty"`
	Start    *graphMoment `json:"start,omitempty"`
	End      *graphMoment `json:"end,omitempty"`
	IsAllDay *bool        `json:"isAllDay,omitempty"`
	Location *struct {
		DisplayName string `json:"displayName"`
	} `json:"location,omitempty"`
	Organizer *graphPerson  `json:"organizer,omitempty"`
	Attendees []graphPerson `json:"attendees,omitempty"`
}

func (m *graphMoment) read(whole bool) string {
	if m == nil {
		return ""
	}
	zone, err := time.LoadLocation(m.TimeZone)
	t, bad := time.ParseInLocation(graphTime, m.DateTime, zone) // with a fraction, too
	if err != nil || bad != nil || m.TimeZone == "Local" {
		return strings.TrimSpace(m.DateTime + " " + m.TimeZone) // a zone by a name of Windows
	}
	return moment{t, whole}.String()
}

func (v *graphEvent) event() Event {
	whole := v.IsAllDay != nil && *v.IsAllDay
	e := Event{ID: v.ID, Title: v.Subject, Start: v.Start.read(whole), End: v.End.read(whole), Description: brief(v.Preview), Attendees: graphAddresses(v.Attendees), Version: v.Etag}
	if v.Body != nil && e.Description == "" {
		kind := "text/plain"
		if strings.EqualFold(v.Body.ContentType, "html") {
			kind = "text/html"
		}
		e.Description = brief(plain(kind, v.Body.Content))
	}
	if v.Location != nil {
		e.Location = v.Location.DisplayName
	}
	if v.Organizer != nil {
		e.Organizer = v.Organizer.EmailAddress.Address
	}
	return e
}

func graphAddresses(list []graphPerson) (out []string) {
	for _, p := range list {
		out = append(out, p.EmailAddress.Address)
	}
	return out
}

// graph is an entry as Graph has it.
func (e entry) graph() graphEvent {
	v := graphEvent{Subject: e.Title}
	if e.Description != "" {
		v.Body = &graphText{"text", e.Description}
	}
	if e.Location != "" {
		v.Location = &struct {
			DisplayName string `json:"displayName"`
		}{e.Location}
	}
	if !e.start.IsZero() {
		v.Start, v.End = &graphMoment{e.start.UTC().Format(graphTime), "UTC"}, &graphMoment{e.end.UTC().Format(graphTime), "UTC"}
		v.IsAllDay = &e.start.whole
	}
	for _, a := range e.Attendees {
		var p graphPerson
		p.EmailAddress.Address = a
		v.Attendees = append(v.Attendees, p)
	}
	return v
}

func (g graphEvents) list(ctx context.Context, from, to time.Time, in ListEvents) (Events, error) {
	out := Events{Events: []Event{}}
	q := url.Values{"startDateTime": {from.UTC().Format(time.RFC3339)}, "endDateTime": {to.UTC().Format(time.RFC3339)}, "$orderby": {"start/dateTime"}, "$top": {strconv.Itoa(many(in.Limit))}}
	if err := turn(q, in.Cursor); err != nil {
		return out, err
	}
	var list struct {
		page
		Value []graphEvent `json:"value"`
	}
	if err := g.call(ctx, "GET", graphUser+"/calendarView", q, nil, &list); err != nil {
		return out, err
	}
	for i := range list.Value {
		out.Events = append(out.Events, list.Value[i].event())
	}
	out.Next = list.cursor()
	return out, nil
}

func (g graphEvents) create(ctx context.Context, e entry) (Event, error) {
	v := e.graph()
	var made graphEvent
	err := g.call(ctx, "POST", graphEventPath, nil, v, &made)
	v.ID, v.Etag = made.ID, made.Etag
	return v.event(), err
}

func (g graphEvents) update(ctx context.Context, id string, e entry) (Event, error) {
	part, err := segment(id)
	if err != nil {
		return Event{}, err
	}
	v := e.graph()
	var now graphEvent
	err = g.call(ctx, "PATCH", graphEventPath+"/"+part, nil, v, &now)
	v.ID, v.Etag = id, now.Etag
	return v.event(), err
}

func (g graphEvents) remove(ctx context.Context, id string) error {
	part, err := segment(id)
	if err != nil {
		return err
	}
	return g.call(ctx, "DELETE", graphEventPath+"/"+part, nil, nil, nil)
}
