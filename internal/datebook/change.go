package datebook

import (
	"errors"
	"io"
	"maps"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-ical"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/bridge"
)

// change is what a request says of an event, by the members of Google's description.
type change struct {
	members map[string]jsontext.Value
	whole   bool // what it does not say is no more (update); else it stays as it is (patch)
}

// written are the members that can be set. Those of given say what somebody read before, and change nothing.
var written = []string{"summary", "description", "location", "start", "end", "attendees", "recurrence", "status", "visibility", "transparency", "reminders"}

var given = []string{"kind", "id", "etag", "created", "updated", "creator", "organizer", "iCalUID", "sequence", "eventType", "htmlLink", "recurringEventId", "originalStartTime", "endTimeUnspecified", "locked", "privateCopy", "attendeesOmitted"}

func newChange(body io.Reader, whole bool) (*change, error) {
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, &bridge.Failure{Status: 413, Message: "the request is too large or was cut off"}
	}
	c := &change{whole: whole}
	if err := json.Unmarshal(b, &c.members); err != nil || c.members == nil {
		return nil, bridge.Invalid("the request is no JSON object")
	}
	for name, v := range c.members {
		if k := v.Kind(); k != 'n' && k != 'f' && !slices.Contains(written, name) && !slices.Contains(given, name) && string(v) != "[]" && string(v) != "{}" && string(v) != `""` {
			return nil, bridge.Invalid("%.40s is nothing that a calendar of CalDAV keeps.", name)
		}
	}
	return c, nil
}

// read decodes a member; set is false where it is to stay as it is.
func (c *change) read(name string, to any) (set bool, err error) {
	v, ok := c.members[name]
	if !ok {
		return c.whole, nil
	}
	if v.Kind() == 'n' {
		return true, nil
	}
	if err := json.Unmarshal(v, to); err != nil {
		return false, bridge.Invalid("Invalid value for %s.", name)
	}
	return true, nil
}

// apply changes an event. first says that it is all of a series, or an event of its own.
func (d *Datebook) apply(c *change, e *entry, event *ical.Component, first bool) error {
	for name, member := range map[string]string{ical.PropSummary: "summary", ical.PropDescription: "description", ical.PropLocation: "location"} {
		var s string
		if set, err := c.read(member, &s); err != nil {
			return err
		} else if set {
			event.Props.Del(name) // with what else is said of it, such as the same as HTML
			setText(event, name, s)
		}
	}
	for name, member := range map[string]string{ical.PropStatus: "status", ical.PropClass: "visibility", ical.PropTransparency: "transparency"} {
		var s string
		set, err := c.read(member, &s)
		switch {
		case err != nil:
			return err
		case !set:
		case s == "cancelled":
			return bridge.Invalid("to cancel an event, delete it")
		case s == "", s == "default", s == "opaque":
			event.Props.Del(name)
		case words[member][s] == "":
			return bridge.Invalid("Invalid value for %s.", member)
		default:
			setText(event, name, strings.ToUpper(s))
		}
	}
	if err := d.setSpan(c, e, event); err != nil {
		return err
	}
	if err := setRules(c, e, event, first); err != nil {
		return err
	}
	if err := d.invite(c, event); err != nil {
		return err
	}
	return remind(c, event)
}

// setSpan sets when an event begins and ends.
func (d *Datebook) setSpan(c *change, e *entry, event *ical.Component) error {
	for _, m := range []struct{ member, name string }{{"start", ical.PropDateTimeStart}, {"end", ical.PropDateTimeEnd}} {
		var in struct {
			Date     string `json:"date"`
			DateTime string `json:"dateTime"`
			TimeZone string `json:"timeZone"`
		}
		set, err := c.read(m.member, &in)
		if err != nil {
			return err
		}
		if !set {
			continue
		}
		p := ical.NewProp(m.name)
		bad := bridge.Invalid(`Invalid value for %s: it is to be {"dateTime": "2026-11-26T09:00:00+01:00", "timeZone": "Europe/Berlin"} or {"date": "2026-11-26"}.`, m.member)
		zone := location(in.TimeZone)
		if in.TimeZone != "" && zone == nil || (in.Date == "") == (in.DateTime == "") {
			return bad
		}
		if in.Date != "" {
			day, err := time.Parse(time.DateOnly, in.Date)
			if err != nil {
				return bad
			}
			p.SetDate(day)
		} else {
			t, err := time.Parse(time.RFC3339, in.DateTime)
			if err != nil {
				if zone == nil {
					return bad
				}
				if t, err = time.ParseInLocation("2006-01-02T15:04:05", in.DateTime, zone); err != nil {
					return bad
				}
			}
			if t.Year() < 1 || t.Year() > 9999 {
				return bad
			}
			if zone == nil || zone == time.UTC {
				zone = time.UTC
			} else if err := e.describe(zone, t.Year()); err != nil {
				return err
			}
			p.SetDateTime(t.In(zone))
		}
		event.Props.Set(p)
		if m.member == "end" {
			event.Props.Del(ical.PropDuration)
		}
	}
	begin, ok := e.zones.prop(event, ical.PropDateTimeStart)
	if !ok {
		return bridge.Invalid("Missing start time.")
	}
	if event.Props.Get(ical.PropDuration) != nil {
		return nil
	}
	end, ok := e.zones.prop(event, ical.PropDateTimeEnd)
	if !ok {
		return bridge.Invalid("Missing end time.")
	}
	if end.day != begin.day || end.time().Before(begin.time()) || begin.day && !begin.wall.Before(end.wall) {
		return bridge.Invalid("The specified time range is empty: start and end are both dates or both times, and end is later.")
	}
	return nil
}

// describe adds a zone to the object, if it is not there.
func (e *entry) describe(l *time.Location, year int) error {
	for _, part := range e.object.Children {
		if part.Name == ical.CompTimezone && text(part, ical.PropTimezoneID) == l.String() {
			return nil
		}
	}
	e.object.Children = append([]*ical.Component{describe(l, year)}, e.object.Children...)
	return nil
}

// setRules sets how an event recurs. What is no rule that is followed here is refused.
func setRules(c *change, e *entry, event *ical.Component, first bool) error {
	var lines []string
	set, err := c.read("recurrence", &lines)
	if err != nil || !set || !first && len(lines) == 0 {
		return err
	}
	if !first {
		return bridge.Invalid("One event of a series does not recur by itself.")
	}
	before := rules(event)
	for _, name := range []string{ical.PropRecurrenceRule, ical.PropRecurrenceDates, ical.PropExceptionDates, "EXRULE"} {
		event.Props.Del(name)
	}
	for _, line := range lines {
		p, err := parseLine(line)
		bad := bridge.Invalid("Invalid value for recurrence: %.100q.", line)
		if err != nil {
			return bad
		}
		for name := range p.Params {
			if name != ical.PropTimezoneID && name != ical.ParamValue {
				return bad
			}
		}
		switch p.Name {
		case ical.PropRecurrenceRule:
			if rule(p.Value) == nil || event.Props.Get(p.Name) != nil {
				return bad
			}
		case ical.PropRecurrenceDates, ical.PropExceptionDates:
			for v := range strings.SplitSeq(p.Value, ",") {
				if _, ok := e.zones.moment(p, v); !ok {
					return bad
				}
			}
		default:
			return bad
		}
		event.Props.Add(p)
	}
	if len(e.others) > 0 && !slices.Equal(before, rules(event)) {
		e.others = slices.DeleteFunc(e.others, func(o *ical.Component) bool { // those of dates that the series no longer has
			original, ok := e.zones.prop(o, ical.PropRecurrenceID)
			base, _, whole := e.zones.span(event)
			if !ok || !whole {
				return false
			}
			at := original.like(base)
			return !slices.ContainsFunc(e.walls(base, at, at), at.Equal)
		})
	}
	return nil
}

// invite sets who is invited. What is known of somebody who stays is kept.
func (d *Datebook) invite(c *change, event *ical.Component) error {
	var in []struct {
		Email    string `json:"email"`
		Name     string `json:"displayName"`
		Status   string `json:"responseStatus"`
		Optional bool   `json:"optional"`
		Resource bool   `json:"resource"`
	}
	set, err := c.read("attendees", &in)
	if err != nil || !set {
		return err
	}
	before := event.Props.Values(ical.PropAttendee)
	event.Props.Del(ical.PropAttendee)
	for _, a := range in {
		p := ical.NewProp(ical.PropAttendee)
		p.Params.Set(ical.ParamParticipationStatus, "NEEDS-ACTION")
		p.Params.Set("RSVP", "TRUE")
		at := slices.IndexFunc(before, func(p ical.Prop) bool { return address(p) == a.Email })
		if at >= 0 {
			p = &ical.Prop{Name: ical.PropAttendee, Params: maps.Clone(before[at].Params), Value: before[at].Value}
		} else if err := checkAddress(a.Email); err != nil {
			return err
		} else {
			p.Value = "mailto:" + a.Email
		}
		if name := parameter(a.Name); name != "" {
			p.Params.Set(ical.ParamCommonName, name)
		}
		if a.Status != "" {
			said := ""
			for theirs, ours := range answers {
				if ours == a.Status {
					said = theirs
				}
			}
			if said == "" {
				return bridge.Invalid("Invalid value for responseStatus.")
			}
			p.Params.Set(ical.ParamParticipationStatus, said)
		}
		if role := p.Params.Get(ical.ParamRole); a.Optional {
			p.Params.Set(ical.ParamRole, "OPT-PARTICIPANT")
		} else if role == "" || strings.EqualFold(role, "OPT-PARTICIPANT") {
			p.Params.Set(ical.ParamRole, "REQ-PARTICIPANT")
		}
		if a.Resource {
			p.Params.Set(ical.ParamCalendarUserType, "RESOURCE")
		}
		event.Props.Add(p)
	}
	if len(in) > 0 && event.Props.Get(ical.PropOrganizer) == nil {
		organizer := ical.NewProp(ical.PropOrganizer)
		organizer.Value = "mailto:" + d.Address
		event.Props.Set(organizer)
	}
	return nil
}

// checkAddress returns an error for what is not one address of mail and nothing else: it is going to be a URL (RFC 6068).
func checkAddress(s string) error {
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || a.Name != "" || strings.ContainsAny(s, " ?&%#,;:<>\"\\()[]") || one(s) != s {
		return bridge.Invalid("%.80q is no address to invite.", s)
	}
	return nil
}

// parameter is a value as it can be one of a parameter: without quotes and ends of lines.
func parameter(s string) string { return strings.ReplaceAll(one(s), `"`, "'") }

// remind sets how long before an event somebody is reminded.
func remind(c *change, event *ical.Component) error {
	var in struct {
		Default   bool `json:"useDefault"`
		Overrides []struct {
			Method  string `json:"method"`
			Minutes int    `json:"minutes"`
		} `json:"overrides"`
	}
	if _, ok := c.members["reminders"]; !ok { // there is no default here that it could go back to
		return nil
	}
	if _, err := c.read("reminders", &in); err != nil {
		return err
	}
	event.Children = slices.DeleteFunc(event.Children, func(part *ical.Component) bool { return part.Name == ical.CompAlarm })
	for _, o := range in.Overrides {
		if o.Method != "popup" || o.Minutes < 0 || o.Minutes > 40320 || len(in.Overrides) > 5 {
			return bridge.Invalid("Invalid value for reminders: at most 5, each a popup of 0 to 40320 minutes.")
		}
		a := ical.NewComponent(ical.CompAlarm)
		setText(a, ical.PropAction, "DISPLAY")
		setText(a, ical.PropDescription, "Reminder")
		set(a, ical.PropTrigger, "-PT"+strconv.Itoa(o.Minutes)+"M")
		event.Children = append(event.Children, a)
	}
	return nil
}

// touch marks an event as changed.
func (d *Datebook) touch(event *ical.Component) {
	now := d.Now().UTC().Truncate(time.Second)
	event.Props.SetDateTime(ical.PropDateTimeStamp, now)
	event.Props.SetDateTime(ical.PropLastModified, now)
	n, _ := strconv.Atoi(text(event, ical.PropSequence))
	set(event, ical.PropSequence, strconv.Itoa(n+1))
}

// data is the entry as it is written. What is there and could not be written so is an error.
func (e *entry) data() ([]byte, error) {
	kept := slices.DeleteFunc(slices.Clone(e.object.Children), func(c *ical.Component) bool { return c.Name == ical.CompEvent })
	if e.master != nil {
		kept = append(kept, e.master)
	}
	out := *e.object
	out.Children = append(kept, e.others...)
	b, err := encode(&out)
	if err != nil {
		return nil, errors.Join(bridge.Invalid("The event on the server is not as it should be, and cannot be changed here."), err)
	}
	return b, nil
}
