package datebook

import (
	"encoding/base32"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-ical"

	"github.com/lanyard-dev/lanyard/internal/dav"
)

// entry is what lies under one name in a calendar: an event, or all of a series.
type entry struct {
	name     string
	etag     string
	calendar *calendar
	object   *ical.Component
	series
}

// newEntry reads what the server gave; false if it is no event, or cannot be read.
func newEntry(c *calendar, name, etag string, data []byte) (*entry, bool) {
	o, err := parse(data)
	if err != nil {
		return nil, false
	}
	e := &entry{name: name, etag: etag, calendar: c, object: o, series: series{zones: newZones(o, c.zone)}}
	for _, part := range o.Children {
		switch {
		case part.Name != ical.CompEvent:
		case part.Props.Get(ical.PropRecurrenceID) != nil:
			e.others = append(e.others, part)
		case e.master == nil:
			e.master = part
		default:
			return nil, false // two events under one name: one would hide the other
		}
	}
	return e, e.master != nil || len(e.others) > 0
}

// ids are in base32hex, lower case: all that Google's may have, and the same in whatever case they are compared.
var ids = base32.HexEncoding.WithPadding(base32.NoPadding)

func eventID(name string) string { return strings.ToLower(ids.EncodeToString([]byte(name))) }

// ref is what an event's id says: under which name, and which of its series.
type ref struct {
	name string
	at   time.Time // zero: all of it
	day  bool
}

// parseID reads an id, in the one spelling that it has.
func parseID(id string) (r ref, ok bool) {
	head, tail, of := strings.Cut(id, "_")
	b, err := ids.DecodeString(strings.ToUpper(head))
	if err != nil || eventID(string(b)) != head || dav.CheckName(string(b)) != nil {
		return r, false
	}
	r.name = string(b)
	if !of {
		return r, true
	}
	if r.day = len(tail) == len("20060102"); !r.day && !strings.HasSuffix(tail, "Z") {
		return r, false
	}
	r.at, ok = wallTime(tail)
	return r, ok && stamp(r.at, r.day) == tail
}

// stamp is the part of an id that says which of a series.
func stamp(t time.Time, day bool) string {
	if day {
		return t.Format("20060102")
	}
	return t.UTC().Format("20060102T150405Z")
}

func (o occurrence) stamp() string {
	if o.original.day {
		return stamp(o.original.wall, true)
	}
	return stamp(o.original.time(), false)
}

// object is the moment as EventDateTime of Google's description. In another zone it is shown there.
func (m moment) object(in *time.Location) object {
	if m.day {
		return object{"date": m.wall.Format(time.DateOnly)}
	}
	t := m.time()
	if in != nil {
		t = t.In(in)
	}
	v := object{"dateTime": t.Format(time.RFC3339)}
	if m.zone.location != nil && m.zone.location != time.UTC {
		v["timeZone"] = m.zone.location.String()
	} else if m.zone == utc {
		v["timeZone"] = "UTC"
	}
	return v
}

// whole is the entry as one event: the first of a series, with the rules of it. It may be one whose begin cannot be read.
func (e *entry) whole() occurrence {
	o := occurrence{event: e.master}
	_ = e.place(&o)
	return o
}

// show is an occurrence as Google has it; of a series with its rules when it is all of it.
func (d *Datebook) show(e *entry, o occurrence, in *time.Location) object {
	c := o.event
	id := eventID(e.name)
	v := object{"kind": "calendar#event", "id": id, "status": "confirmed", "eventType": "default"}
	if dav.Strong(e.etag) { // another is matched by no If-Match
		v["etag"] = e.etag
	}
	if o.original.zone != nil {
		v["id"], v["recurringEventId"], v["originalStartTime"] = id+"_"+o.stamp(), id, o.original.object(in)
	} else if lines := rules(c); len(lines) > 0 {
		v["recurrence"] = lines
	}
	if o.begin.zone != nil {
		v["start"], v["end"] = o.begin.object(in), o.end.object(in)
	}
	for name, member := range map[string]string{ical.PropUID: "iCalUID", ical.PropSummary: "summary", ical.PropDescription: "description", ical.PropLocation: "location"} {
		if s := text(c, name); s != "" {
			v[member] = s
		}
	}
	for name, member := range map[string]string{ical.PropCreated: "created", ical.PropLastModified: "updated"} {
		if m, ok := e.zones.prop(c, name); ok {
			v[member] = m.time().UTC().Format("2006-01-02T15:04:05.000Z")
		}
	}
	if n, err := strconv.Atoi(text(c, ical.PropSequence)); err == nil {
		v["sequence"] = n
	}
	for name, member := range map[string]string{ical.PropStatus: "status", ical.PropClass: "visibility", ical.PropTransparency: "transparency"} {
		if s := strings.ToLower(text(c, name)); words[member][s] != "" {
			v[member] = words[member][s]
		}
	}
	organizers, attendees := c.Props.Values(ical.PropOrganizer), []any{}
	for i, p := range organizers {
		if i == 0 {
			v["organizer"] = d.person(p)
			continue
		}
		attendees = append(attendees, d.person(p)) // more than there may be, but none is left out
	}
	for _, p := range c.Props.Values(ical.PropAttendee) {
		a := d.person(p)
		a["responseStatus"] = answers[strings.ToUpper(p.Params.Get(ical.ParamParticipationStatus))]
		if a["responseStatus"] == "" {
			a["responseStatus"] = "needsAction"
		}
		if strings.EqualFold(p.Params.Get(ical.ParamRole), "OPT-PARTICIPANT") {
			a["optional"] = true
		}
		if k := strings.ToUpper(p.Params.Get(ical.ParamCalendarUserType)); k == "RESOURCE" || k == "ROOM" {
			a["resource"] = true
		}
		if len(organizers) > 0 && strings.EqualFold(address(organizers[0]), address(p)) {
			a["organizer"] = true
		}
		attendees = append(attendees, a)
	}
	if len(attendees) > 0 {
		v["attendees"] = attendees
	}
	v["reminders"] = object{"useDefault": false, "overrides": alarms(c)}
	return v
}

// words are what values of RFC 5545 are called by Google; what is not here is Google's default.
var words = map[string]map[string]string{
	"status":       {"confirmed": "confirmed", "tentative": "tentative", "cancelled": "cancelled"},
	"visibility":   {"private": "private", "confidential": "confidential", "public": "public"},
	"transparency": {"transparent": "transparent"},
}

var answers = map[string]string{"ACCEPTED": "accepted", "DECLINED": "declined", "TENTATIVE": "tentative", "NEEDS-ACTION": "needsAction"}

// address is who a property means: an address of mail, or what is written there, which is none.
func address(p ical.Prop) string {
	const scheme = "mailto:"
	if len(p.Value) > len(scheme) && strings.EqualFold(p.Value[:len(scheme)], scheme) {
		return strings.ToValidUTF8(p.Value[len(scheme):], "\ufffd")
	}
	if p.Value == "" {
		return "unknown:"
	}
	return strings.ToValidUTF8(p.Value, "\ufffd")
}

func (d *Datebook) person(p ical.Prop) object {
	v := object{"email": address(p)}
	if name := p.Params.Get(ical.ParamCommonName); name != "" {
		v["displayName"] = strings.ToValidUTF8(name, "\ufffd")
	}
	if strings.EqualFold(address(p), d.Address) {
		v["self"] = true
	}
	return v
}

// rules are the lines that say how an event recurs.
func rules(c *ical.Component) []string {
	var list []string
	for _, name := range []string{ical.PropRecurrenceRule, ical.PropRecurrenceDates, ical.PropExceptionDates} {
		for _, p := range c.Props.Values(name) {
			line := name
			for _, parameter := range []string{ical.PropTimezoneID, ical.ParamValue} {
				if v := p.Params.Get(parameter); v != "" {
					line += ";" + parameter + "=" + v
				}
			}
			list = append(list, strings.ToValidUTF8(line+":"+p.Value, "\ufffd"))
		}
	}
	return list
}

// alarms are how long before an event somebody is reminded of it.
func alarms(c *ical.Component) []any {
	list := []any{}
	for _, a := range c.Children {
		p := a.Props.Get(ical.PropTrigger)
		if a.Name != ical.CompAlarm || p == nil || p.Params.Get("RELATED") == "END" {
			continue
		}
		if before, err := p.Duration(); err == nil && before <= 0 && len(list) < 10 {
			list = append(list, object{"method": "popup", "minutes": int(-before / time.Minute)})
		}
	}
	return list
}
