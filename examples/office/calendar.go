package office

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

type event struct {
	Kind        string     `json:"kind"`
	ID          string     `json:"id"`
	Etag        string     `json:"etag"`
	Status      string     `json:"status"`
	Summary     string     `json:"summary,omitempty"`
	Description string     `json:"description,omitempty"`
	Location    string     `json:"location,omitempty"`
	Created     time.Time  `json:"created"`
	Updated     time.Time  `json:"updated"`
	Start       moment     `json:"start"`
	End         moment     `json:"end"`
	Attendees   []attendee `json:"attendees,omitempty"`
	Organizer   attendee   `json:"organizer"`
}

// moment is a time, or a whole day.
type moment struct {
	DateTime string `json:"dateTime,omitempty"`
	Date     string `json:"date,omitempty"`
	TimeZone string `json:"timeZone,omitempty"`
}

type attendee struct {
	Email          string `json:"email"`
	ResponseStatus string `json:"responseStatus,omitempty"`
}

func (m moment) time() (time.Time, error) {
	if m.DateTime != "" {
		return time.Parse(time.RFC3339, m.DateTime)
	}
	return time.Parse(time.DateOnly, m.Date)
}

func (o *Office) calendar() {
	o.handle("GET /calendar/v3/users/me/calendarList", o.calendars)
	const base = "/calendar/v3/calendars/{calendarId}/events"
	of := func(pattern string, f func(*http.Request) (any, error)) {
		method, path, _ := strings.Cut(pattern, " ")
		o.handle(method+" "+base+path, func(r *http.Request) (any, error) {
			if c := r.PathValue("calendarId"); c != "primary" && c != Mailbox {
				return nil, notFound("Calendar")
			}
			return f(r)
		})
	}
	of("GET ", o.listEvents)
	of("POST ", o.insertEvent)
	of("GET /{eventId}", func(r *http.Request) (any, error) { return o.event(r) })
	of("PATCH /{eventId}", o.patchEvent)
	of("DELETE /{eventId}", o.deleteEvent)
}

func (o *Office) calendars(*http.Request) (any, error) {
	return map[string]any{"kind": "calendar#calendarList", "items": []any{map[string]any{"kind": "calendar#calendarListEntry",
		"id": Mailbox, "summary": "Maya Lind", "timeZone": "UTC", "accessRole": "owner", "primary": true}}}, nil
}

func (o *Office) event(r *http.Request) (*event, error) {
	for _, e := range o.events {
		if e.ID == r.PathValue("eventId") {
			return e, nil
		}
	}
	return nil, notFound("Event")
}

func (o *Office) listEvents(r *http.Request) (any, error) {
	q := r.URL.Query()
	bound := func(name string) (t time.Time, err error) {
		if s := q.Get(name); s != "" {
			if t, err = time.Parse(time.RFC3339, s); err != nil {
				err = invalid("Invalid value for " + name + ".")
			}
		}
		return t, err
	}
	after, err := bound("timeMin")
	if err != nil {
		return nil, err
	}
	before, err := bound("timeMax")
	if err != nil {
		return nil, err
	}
	all := []*event{}
	for _, e := range o.events {
		start, _ := e.Start.time() // valid since it was stored
		end, _ := e.End.time()
		text := strings.ToLower(e.Summary + "\n" + e.Description + "\n" + e.Location)
		if (after.IsZero() || end.After(after)) && (before.IsZero() || start.Before(before)) && strings.Contains(text, strings.ToLower(q.Get("q"))) {
			all = append(all, e)
		}
	}
	if q.Get("orderBy") == "startTime" {
		slices.SortStableFunc(all, func(a, b *event) int {
			s, _ := a.Start.time()
			t, _ := b.Start.time()
			return s.Compare(t)
		})
	}
	from, to, next, err := page(r, len(all), "maxResults", 250)
	if err != nil {
		return nil, err
	}
	return listing(map[string]any{"kind": "calendar#events", "summary": "Maya Lind", "timeZone": "UTC", "accessRole": "owner", "items": all[from:to]}, next), nil
}

// read takes what a request says about e, and refuses what has no proper times.
func (e *event) read(from io.Reader) error {
	if err := json.NewDecoder(from).Decode(e); err != nil && err != io.EOF {
		return invalid("Invalid JSON payload received.")
	}
	start, err := e.Start.time()
	if err != nil {
		return &failure{http.StatusBadRequest, "required", "Missing or invalid start time."}
	}
	end, err := e.End.time()
	if err != nil || end.Before(start) {
		return &failure{http.StatusBadRequest, "timeRangeEmpty", "The specified time range is empty."}
	}
	return nil
}

func (o *Office) insertEvent(r *http.Request) (any, error) {
	e := &event{}
	if err := e.read(r.Body); err != nil {
		return nil, err
	}
	o.schedule(e)
	return e, nil
}

func (o *Office) schedule(e *event) {
	e.ID, e.Created = o.stamp()
	e.Kind, e.Status, e.Updated, e.Organizer = "calendar#event", "confirmed", e.Created, attendee{Email: Mailbox}
	e.tag()
	o.events = append(o.events, e)
}

func (o *Office) patchEvent(r *http.Request) (any, error) {
	e, err := o.eventToChange(r)
	if err != nil {
		return nil, err
	}
	changed := *e
	changed.Attendees = slices.Clone(e.Attendees)
	if err := changed.read(r.Body); err != nil {
		return nil, err
	}
	changed.Kind, changed.ID, changed.Created, changed.Organizer = e.Kind, e.ID, e.Created, e.Organizer
	_, changed.Updated = o.stamp()
	changed.tag()
	*e = changed
	return e, nil
}

// tag gives the event the entity tag of its last change.
func (e *event) tag() { e.Etag = fmt.Sprintf("%q", fmt.Sprint(e.Updated.UnixMilli())) }

// eventToChange is the event that a request changes, if it is still what the request says.
func (o *Office) eventToChange(r *http.Request) (*event, error) {
	e, err := o.event(r)
	if want := r.Header.Get("If-Match"); err == nil && want != "" && want != "*" && strings.TrimPrefix(want, "W/") != e.Etag {
		return nil, &failure{http.StatusPreconditionFailed, "conditionNotMet", "Precondition Failed"}
	}
	return e, err
}

func (o *Office) deleteEvent(r *http.Request) (any, error) {
	e, err := o.eventToChange(r)
	if err == nil {
		o.events = slices.DeleteFunc(o.events, func(x *event) bool { return x == e })
	}
	return nil, err
}
