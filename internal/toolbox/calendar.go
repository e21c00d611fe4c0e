package toolbox

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// googleCalendar is a calendar over Calendar's interface (calendar/v3): the person's own.
type googleCalendar struct{ api }

const calendarPath = "/calendar/v3/calendars/primary/events"

type googleMoment struct {
	DateTime string `json:"dateTime,omitempty"`
	Date     string `json:"date,omitempty"`
}

type googleGuest struct {
	Email string `json:"email"`
}

type googleEvent struct {
	ID          string        `json:"id,omitempty"`
	Etag        string        `json:"etag,omitempty"`
	Summary     string        `json:"summary,omitempty"`
	Location    string        `json:"location,omitempty"`
	Description string        `json:"description,omitempty"`
	Start       *googleMoment `json:"start,omitempty"`
	End         *googleMoment `json:"end,omitempty"`
	Organizer   *googleGuest  `json:"organizer,omitempty"`
	Attendees   []googleGuest `json:"attendees,omitempty"`
}

func (m *googleMoment) String() string {
	if m == nil {
		return ""
	}
	return m.DateTime + m.Date
}

func (v *googleEvent) event() Event {
	e := Event{ID: v.ID, Title: v.Summary, Start: v.Start.String(), End: v.End.String(), Location: v.Location, Description: brief(plain("text/html", v.Description)), Version: v.Etag}
	if v.Organizer != nil {
		e.Organizer = v.Organizer.Email
	}
	for _, a := range v.Attendees {
		e.Attendees = append(e.Attendees, a.Email)
	}
	return e
}

// google is an entry as Calendar has it, and who is told of it.
func (e entry) google() (googleEvent, url.Values) {
	v, q := googleEvent{Summary: e.Title, Location: e.Location, Description: e.Description}, url.Values{}
	at := func(m moment) *googleMoment {
		switch {
		case m.IsZero():
			return nil
		case m.whole:
			return &googleMoment{Date: m.String()}
		}
		return &googleMoment{DateTime: m.String()}
	}
	v.Start, v.End = at(e.start), at(e.end)
	for _, a := range e.Attendees {
		v.Attendees = append(v.Attendees, googleGuest{a})
	}
	if len(v.Attendees) > 0 {
		q.Set("sendUpdates", "all")
	}
	return v, q
}

func (c googleCalendar) list(ctx context.Context, from, to time.Time, in ListEvents) (Events, error) {
	out := Events{Events: []Event{}}
	q := url.Values{"timeMin": {from.Format(time.RFC3339)}, "timeMax": {to.Format(time.RFC3339)}, "singleEvents": {"true"}, "orderBy": {"startTime"}, "maxResults": {strconv.Itoa(many(in.Limit))}}
	if in.Cursor != "" {
		q.Set("pageToken", in.Cursor)
	}
	var list struct {
		Items []googleEvent `json:"items"`
		Next  string        `json:"nextPageToken"`
	}
	if err := c.call(ctx, "GET", calendarPath, q, nil, &list); err != nil {
		return out, err
	}
	for i := range list.Items {
		out.Events = append(out.Events, list.Items[i].event())
	}
	out.Next = list.Next
	return out, nil
}

func (c googleCalendar) create(ctx context.Context, e entry) (Event, error) {
	v, q := e.google()
	var made googleEvent
	err := c.call(ctx, "POST", calendarPath, q, v, &made)
	v.ID, v.Etag = made.ID, made.Etag
	return v.event(), err
}

func (c googleCalendar) update(ctx context.Context, id string, e entry) (Event, error) {
	part, err := segment(id)
	if err != nil {
		return Event{}, err
	}
	v, q := e.google()
	q.Set("sendUpdates", "all")
	var now googleEvent
	err = c.call(ctx, "PATCH", calendarPath+"/"+part, q, v, &now)
	v.ID, v.Etag = id, now.Etag
	return v.event(), err
}

func (c googleCalendar) remove(ctx context.Context, id string) error {
	part, err := segment(id)
	if err != nil {
		return err
	}
	return c.call(ctx, "DELETE", calendarPath+"/"+part, url.Values{"sendUpdates": {"all"}}, nil, nil)
}
