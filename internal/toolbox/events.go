package toolbox

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// calendar is a calendar over one interface.
type calendar interface {
	list(ctx context.Context, from, to time.Time, in ListEvents) (Events, error)
	create(ctx context.Context, e entry) (Event, error)
	update(ctx context.Context, id string, e entry) (Event, error) // what is still the version that the api matches
	remove(ctx context.Context, id string) error
}

func (a api) calendar() calendar {
	if a.Graph {
		return graphEvents{a}
	}
	return googleCalendar{a}
}

// ListEvents is what list_events takes.
type ListEvents struct {
	From   string `json:"from,omitempty" jsonschema:"a time as 2026-12-01T00:00:00+01:00, or a day as 2026-12-01 (default now)"`
	To     string `json:"to,omitempty" jsonschema:"a time, or a day that is not in it any more (default a week after from)"`
	Limit  int    `json:"limit,omitempty" jsonschema:"how many to return, at most 50 (default 20)"`
	Cursor string `json:"cursor,omitempty" jsonschema:"what the last call returned as next, for what follows"`
}

// Events is a page of events, in the order of their begin.
type Events struct {
	Events []Event `json:"events"`
	Next   string  `json:"next,omitempty" jsonschema:"cursor of the next page; none at the end"`
}

// Event is one event. Of what the agent may not see, nothing is there.
type Event struct {
	ID          string   `json:"id"`
	Title       string   `json:"title,omitempty"`
	Start       string   `json:"start,omitempty" jsonschema:"a time, or a day when it is for whole days"`
	End         string   `json:"end,omitempty"`
	Location    string   `json:"location,omitempty"`
	Description string   `json:"description,omitempty" jsonschema:"how it begins"`
	Organizer   string   `json:"organizer,omitempty"`
	Attendees   []string `json:"attendees,omitempty"`
	Version     string   `json:"version,omitempty" jsonschema:"of the event as it is here; another after each change"`
}

// Entry is what is said of an event.
type Entry struct {
	Title       string   `json:"title,omitempty"`
	Start       string   `json:"start,omitempty" jsonschema:"a time as 2026-12-01T10:00:00+01:00, or a day as 2026-12-01 when it is for whole days"`
	End         string   `json:"end,omitempty" jsonschema:"written as start is; of whole days, the first day after it"`
	Location    string   `json:"location,omitempty"`
	Description string   `json:"description,omitempty" jsonschema:"plain text"`
	Attendees   []string `json:"attendees,omitempty" jsonschema:"addresses of those who are invited, all of them; they are told"`
}

// UpdateEvent is what update_event takes.
type UpdateEvent struct {
	ID      string `json:"id" jsonschema:"id of the event, from list_events"`
	Version string `json:"version,omitempty" jsonschema:"the event's version from list_events: it is changed only if nobody else changed it since"`
	Entry
}

// DeleteEvent is what delete_event takes.
type DeleteEvent struct {
	ID      string `json:"id" jsonschema:"id of the event, from list_events"`
	Version string `json:"version,omitempty" jsonschema:"the event's version from list_events: it is deleted only if nobody changed it since"`
}

// Deleted is what was deleted.
type Deleted struct {
	ID string `json:"id"`
}

// entry is an Entry, checked.
type entry struct {
	Entry
	start, end moment // zero where nothing is said
}

func (in Entry) check() (e entry, err error) {
	e = entry{Entry: in}
	if (in.Start == "") != (in.End == "") {
		return e, errors.New("start and end are given together")
	}
	if in.Start != "" {
		if e.start, err = readMoment("start", in.Start); err != nil {
			return e, err
		}
		if e.end, err = readMoment("end", in.End); err != nil {
			return e, err
		}
		if e.start.whole != e.end.whole || e.end.Before(e.start.Time) || e.start.whole && !e.end.After(e.start.Time) {
			return e, errors.New("end: it is after start, and written as start is")
		}
	}
	e.Attendees = nil
	for _, s := range in.Attendees {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return e, fmt.Errorf("attendees: %.80q is no address as ann@example.com", s)
		}
		e.Attendees = append(e.Attendees, a.Address)
	}
	return e, nil
}

func eventTools(s *mcp.Server, c Config) {
	a := c.Calendar
	add(s, a, reads, "list_events", "List events", "Returns the events of the calendar that lie in a span of time, also in part, in their order.",
		func(ctx context.Context, a api, in ListEvents) (Events, error) {
			from, err := moment{Time: c.Now().UTC().Truncate(time.Second)}, error(nil)
			if in.From != "" {
				if from, err = readMoment("from", in.From); err != nil {
					return Events{}, err
				}
			}
			to := moment{Time: from.AddDate(0, 0, 7)}
			if in.To != "" {
				if to, err = readMoment("to", in.To); err != nil {
					return Events{}, err
				}
			}
			if !to.After(from.Time) {
				return Events{}, errors.New("to: it is after from")
			}
			return a.calendar().list(ctx, from.Time, to.Time, in)
		})
	add(s, a, adds, "create_event", "Create an event", "Puts an event into the calendar. With attendees it is an invitation, which is sent to them.",
		func(ctx context.Context, a api, in Entry) (Event, error) {
			e, err := in.check()
			if err == nil && (in.Title == "" || in.Start == "") {
				err = errors.New("title, start and end are required")
			}
			if err != nil {
				return Event{}, err
			}
			return a.calendar().create(ctx, e)
		})
	add(s, a, destroys, "update_event", "Change an event", "Changes what is given of an event and leaves the rest. Attendees are told. Give the version, so that no change of somebody else is lost.",
		func(ctx context.Context, a api, in UpdateEvent) (Event, error) {
			e, err := in.check()
			if err == nil {
				a, err = a.matching(in.Version)
			}
			if err != nil {
				return Event{}, err
			}
			return a.calendar().update(ctx, in.ID, e)
		})
	add(s, a, destroys, "delete_event", "Delete an event", "Deletes an event. Attendees are told that it is cancelled.",
		func(ctx context.Context, a api, in DeleteEvent) (Deleted, error) {
			a, err := a.matching(in.Version)
			if err != nil {
				return Deleted{}, err
			}
			return Deleted{in.ID}, a.calendar().remove(ctx, in.ID)
		})
}
