package datebook

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-ical"
)

const events = "calendars/home/events"

func (w *world) stored(name string) string {
	w.shelf.mu.Lock()
	defer w.shelf.mu.Unlock()
	return w.shelf.objects["/dav/c/maya/home/"+name]
}

func TestInsert(t *testing.T) {
	w := open(t, nil)
	status, v := w.ask("POST", events+"?sendUpdates=all", `{"summary":"Lunch, with Ben\nX-A: b","location":"Cafe","start":{"dateTime":"2026-11-26T12:00:00+01:00"},"end":{"dateTime":"2026-11-26T13:00:00+01:00"},
		"attendees":[{"email":"ben@example.com","displayName":"Ben \"B\"\r\nATTENDEE:mailto:eve@evil.example\u2028","optional":true}],"reminders":{"useDefault":false,"overrides":[{"method":"popup","minutes":10}]},"visibility":"private","transparency":"transparent","status":"tentative"}`)
	if status != 200 || v["id"] != eventID("new1.ics") || v["iCalUID"] != "new1" {
		t.Fatalf("%d %v", status, v)
	}
	got := w.stored("new1.ics")
	for _, want := range []string{"UID:new1\r\n", "DTSTART:20261126T110000Z\r\n", "DTEND:20261126T120000Z\r\n", "SUMMARY:Lunch\\, with Ben\\nX-A: b\r\n", "ORGANIZER:mailto:maya@example.com\r\n",
		`ATTENDEE;CN="Ben 'B'ATTENDEE:mailto:eve@evil.example";PARTSTAT=NEEDS-ACTION;ROLE=OPT-PARTICIPANT;RSVP=TRUE:mailto:ben@example.com` + "\r\n", "TRIGGER:-PT10M\r\n", "CLASS:PRIVATE\r\n", "TRANSP:TRANSPARENT\r\n", "STATUS:TENTATIVE\r\n", "SEQUENCE:0\r\n", "DTSTAMP:20261120T090000Z\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\r\nATTENDEE"); n != 1 {
		t.Errorf("%d are invited:\n%s", n, got)
	}
	if v["reminders"].(object)["overrides"].([]any)[0].(object)["minutes"] != 10.0 {
		t.Errorf("reminders: %v", v["reminders"])
	}
	// A series in a zone: the zone is described, and no clock is an hour off.
	status, v = w.ask("POST", events, `{"summary":"Weekly","start":{"dateTime":"2026-10-20T09:00:00","timeZone":"Europe/Berlin"},"end":{"dateTime":"2026-10-20T10:00:00","timeZone":"Europe/Berlin"},"recurrence":["RRULE:FREQ=WEEKLY;COUNT=3","EXDATE;TZID=Europe/Berlin:20261103T090000"]}`)
	if status != 200 || !strings.Contains(w.stored("new2.ics"), "BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\n") {
		t.Errorf("series: %d %v\n%s", status, v, w.stored("new2.ics"))
	}
	if got := w.lines(events + "/" + v["id"].(string) + "/instances"); !slices.Equal(got, []string{"2026-10-20T09:00:00+02:00 Weekly", "2026-10-27T09:00:00+01:00 Weekly"}) {
		t.Errorf("instances: %q", got)
	}
	if status, v = w.ask("POST", events, `{"summary":"Days","start":{"date":"2026-11-26"},"end":{"date":"2026-11-28"},"kind":"calendar#event","colorId":"","guestsCanModify":false}`); status != 200 || !strings.Contains(w.stored("new3.ics"), "DTSTART;VALUE=DATE:20261126\r\n") {
		t.Errorf("days: %d %v", status, v)
	}
	times := `"start":{"dateTime":"2026-11-26T12:00:00Z"},"end":{"dateTime":"2026-11-26T13:00:00Z"}`
	for name, body := range map[string]string{
		"no JSON": "x", "a list": "[]", "nothing": "{}", "twice": `{` + times + `,"summary":"a","summary":"b"}`, "no end": `{"start":{"date":"2026-11-26"}}`, "backwards": `{"start":{"date":"2026-11-26"},"end":{"date":"2026-11-26"}}`,
		"two kinds": `{"start":{"date":"2026-11-26"},"end":{"dateTime":"2026-11-26T13:00:00Z"}}`, "no zone": `{"start":{"dateTime":"2026-11-26T12:00:00"},"end":{"dateTime":"2026-11-26T13:00:00Z"}}`,
		"no such zone": `{"start":{"dateTime":"2026-11-26T12:00:00Z","timeZone":"Local"},"end":{"dateTime":"2026-11-26T13:00:00Z"}}`, "id": `{"id":"abc",` + times + `}`, "conference": `{"conferenceData":{"x":1},` + times + `}`,
		"cancelled": `{"status":"cancelled",` + times + `}`, "status": `{"status":"done",` + times + `}`, "mail": `{"reminders":{"overrides":[{"method":"email","minutes":1}]},` + times + `}`,
		"seconds": `{"recurrence":["RRULE:FREQ=SECONDLY"],` + times + `}`, "rule": `{"recurrence":["RRULE:FREQ=DAILY\r\nATTENDEE:mailto:eve@evil.example"],` + times + `}`, "attendee as a rule": `{"recurrence":["ATTENDEE:mailto:eve@evil.example"],` + times + `}`,
		"parameter": `{"recurrence":["EXDATE;X-A=b:20261126T120000Z"],` + times + `}`, "two rules": `{"recurrence":["RRULE:FREQ=DAILY","RRULE:FREQ=DAILY"],` + times + `}`, "date": `{"recurrence":["RDATE:x"],` + times + `}`,
	} {
		if status, v := w.ask("POST", events, body); status != 400 {
			t.Errorf("%s: %d %v", name, status, v)
		}
	}
	for _, who := range []string{"", "ben", "Ben <ben@example.com>", "ben@example.com,eve@evil.example", "ben@example.com?cc=eve@evil.example", "ben%40x@example.com", "mailto:ben@example.com", "ben@example.com\r\nX:y", "\"a b\"@example.com", "ben@example.com;eve@evil.example"} {
		b, _ := json.Marshal(who)
		if status, v := w.ask("POST", events, `{"attendees":[{"email":`+string(b)+`}],`+times+`}`); status != 400 {
			t.Errorf("%q is invited: %d %v", who, status, v)
		}
	}
	if status, v := w.ask("POST", "calendars/nowhere/events", `{`+times+`}`); status != 404 {
		t.Errorf("no calendar: %d %v", status, v)
	}
}

func TestChanges(t *testing.T) {
	w := open(t, seed)
	lunch, series := events+"/"+eventID("lunch.ics"), events+"/"+eventID("standup.ics")
	status, v := w.ask("PATCH", lunch, `{"summary":"Dinner","attendees":[{"email":"ben@example.com","responseStatus":"declined"},{"email":"urn:uuid:1"},{"email":"priya@example.com"}]}`, "If-Match", `"1"`)
	if status != 200 || v["summary"] != "Dinner" || v["etag"] != `"2"` || v["location"] != "Cafe" {
		t.Fatalf("%d %v", status, v)
	}
	for _, want := range []string{"ATTENDEE;CN=\"Ben: B\";PARTSTAT=DECLINED;ROLE=REQ-PARTICIPANT:MAILTO:ben@example.com", ":urn:uuid:1\r\n", ":mailto:priya@example.com", "ORGANIZER;CN=Maya:mailto:maya@example.com", "SEQUENCE:1", "BEGIN:VALARM"} {
		if got := w.stored("lunch.ics"); !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	for _, tag := range []string{`"1"`, `W/"2"`, `"x"`} {
		if status, _ := w.ask("PATCH", lunch, `{"summary":"x"}`, "If-Match", tag); status != 412 {
			t.Errorf("a change of %s: %d", tag, status)
		}
		if status, _ := w.ask("DELETE", lunch, "", "If-Match", tag); status != 412 {
			t.Errorf("removal of %s: %d", tag, status)
		}
	}
	if status, v = w.ask("PUT", lunch, `{"summary":"Tea","start":{"date":"2026-11-24"},"end":{"date":"2026-11-25"}}`); status != 200 || v["attendees"] != nil || v["location"] != nil || v["start"].(object)["date"] != "2026-11-24" {
		t.Errorf("all of it: %d %v", status, v)
	}
	if status, _ = w.ask("PUT", lunch, `{"summary":"Tea"}`); status != 400 {
		t.Errorf("all of it without times: %d", status)
	}
	// One of a series.
	if status, v = w.ask("PATCH", series+"_20261123T080000Z", `{"summary":"Long","end":{"dateTime":"2026-11-23T10:00:00+01:00"}}`); status != 200 || v["recurringEventId"] != eventID("standup.ics") || v["recurrence"] != nil {
		t.Errorf("one of a series: %d %v", status, v)
	}
	if status, v = w.ask("PATCH", series+"_20261116T080000Z", `{"location":"Yard"}`); status != 200 || v["summary"] != "Stand-up, late" {
		t.Errorf("one that differs: %d %v", status, v)
	}
	if status, _ = w.ask("PATCH", series+"_20261123T080000Z", `{"recurrence":["RRULE:FREQ=DAILY"]}`); status != 400 {
		t.Errorf("one that recurs by itself: %d", status)
	}
	if status, _ = w.ask("DELETE", series+"_20261130T080000Z", ""); status != 204 {
		t.Errorf("one taken out: %d", status)
	}
	if status, _ = w.ask("DELETE", series+"_20261116T080000Z", ""); status != 204 {
		t.Errorf("one that differs taken out: %d", status)
	}
	want := []string{"2026-10-19T09:00:00+02:00 Stand-up", "2026-10-26T09:00:00+01:00 Stand-up", "2026-11-09T09:00:00+01:00 Stand-up", "2026-11-23T09:00:00+01:00 Long"}
	if got := w.lines(series + "/instances"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q\n%s", got, want, w.stored("standup.ics"))
	}
	// A series that changes loses what differed on days that it no longer has.
	if status, _ = w.ask("PATCH", series, `{"recurrence":["RRULE:FREQ=WEEKLY;COUNT=2"]}`); status != 200 || strings.Contains(w.stored("standup.ics"), "Long") {
		t.Errorf("a shorter series: %d\n%s", status, w.stored("standup.ics"))
	}
	if status, _ = w.ask("DELETE", series, ""); status != 204 || w.stored("standup.ics") != "" {
		t.Errorf("a series taken away: %d", status)
	}
	if status, _ = w.ask("DELETE", series, ""); status != 404 {
		t.Errorf("again: %d", status)
	}
}

// TestRules: rules that would take for ever, or more memory than there is, do not.
func TestRules(t *testing.T) {
	for _, s := range []string{"FREQ=SECONDLY", "FREQ=HOURLY", "FREQ=YEARLY;INTERVAL=9223372036854775807", "FREQ=DAILY;INTERVAL=-1", "FREQ=YEARLY;BYHOUR=" + strings.Repeat("1,", 23) + "1;BYMINUTE=1,2", "FREQ=DAILY;X=" + strings.Repeat("y", 1000), "DTSTART=20260101T000000Z;FREQ=DAILY", "x", ""} {
		if rule(s) != nil {
			t.Errorf("%.60s is followed", s)
		}
	}
	for s, want := range map[string]int{"FREQ=DAILY": 731, "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30": 0, "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30": 0, "FREQ=MONTHLY;BYDAY=-1FR": 24, "FREQ=MONTHLY;BYDAY=+50MO": 0, "FREQ=WEEKLY;BYDAY=MO,WE": 208} {
		o := rule(s)
		if o == nil {
			if want != 0 {
				t.Errorf("%s is not followed", s)
			}
			continue
		}
		o.Dtstart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		n, start := 0, worked(t)
		for range occurrences(*o, time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)) {
			n++
		}
		if n != want || worked(t)-start > 20*time.Second {
			t.Errorf("%s: %d, want %d, in %s", s, n, want, worked(t)-start)
		}
	}
}

// TestZones: a zone of the IANA's, the same as an object describes it, and as we describe it, show the same clock.
func TestZones(t *testing.T) {
	berlin := location("Europe/Berlin")
	o, err := parse([]byte(event(office, "UID:x\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	ours := ical.NewComponent(ical.CompCalendar)
	part := describe(berlin, 2024)
	if n := len(describe(berlin, 2030).Children); n != 3 { // past 2040 Go's bounds of a zone stand still for a day
		t.Errorf("%d parts", n)
	}
	part.Props.SetText(ical.PropTimezoneID, "Ours")
	ours.Children = []*ical.Component{part}
	for name, z := range map[string]*zone{"described": newZones(o, nil).named("W. Europe Standard Time"), "ours": newZones(ours, nil).named("Ours"), "vendor": newZones(nil, nil).named("/vendor.example/20261101/Europe/Berlin")} {
		if z == nil {
			t.Fatalf("%s is not known", name)
		}
		for at := time.Date(2024, 1, 2, 0, 30, 0, 0, time.UTC); at.Year() < 2030; at = at.Add(7 * time.Hour) {
			want := wall(at.In(berlin))
			if got := z.of(at); !got.Equal(want) {
				t.Fatalf("%s: at %s clocks show %s, want %s", name, at, got, want)
			}
			back := z.at(want)
			if want2 := time.Date(want.Year(), want.Month(), want.Day(), want.Hour(), want.Minute(), 0, 0, berlin); !back.Equal(want2) && !back.Equal(at) {
				t.Fatalf("%s: clocks show %s at %s, want %s", name, want, back, want2)
			}
		}
	}
	for _, id := range []string{"Local", "Nowhere", "../Nowhere", "/etc/localtime"} {
		if z := newZones(o, nil).named(id); z != nil {
			t.Errorf("%s is a zone", id)
		}
	}
}

// FuzzEntry: whatever lies in a calendar, it is shown as JSON in little time, with all who are on it, and it
// is read as go-ical reads it, where that does.
func FuzzEntry(f *testing.F) {
	for _, s := range seed {
		f.Add([]byte(s))
	}
	d := &Datebook{Config: Config{Address: "maya@example.com", Now: func() time.Time { return now }}}
	f.Fuzz(func(t *testing.T, data []byte) {
		if theirs := decode(data); theirs != nil {
			ours, err := parse(data)
			if err == nil && toJSON(t, ours) != toJSON(t, theirs) {
				t.Fatalf("read as %s, by go-ical as %s", toJSON(t, ours), toJSON(t, theirs))
			}
		}
		e, ok := newEntry(&calendar{zone: utc}, "x.ics", `"1"`, data)
		if !ok {
			return
		}
		ctx, done := context.WithTimeout(t.Context(), 5*time.Second)
		defer done()
		all, err := d.of(ctx, e, search{single: true, from: now.AddDate(0, -1, 0), to: now.AddDate(0, 1, 0)})
		if err != nil {
			return
		}
		some, err := d.of(ctx, e, search{})
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range append(all, some...) {
			v := d.show(e, one.occurrence, nil)
			if _, err := json.Marshal(v); err != nil {
				t.Fatal(err)
			}
			people, _ := v["attendees"].([]any)
			if n := len(one.event.Props.Values("ATTENDEE")) + max(0, len(one.event.Props.Values("ORGANIZER"))-1); len(people) != n {
				t.Fatalf("%d are on it, %d are shown", n, len(people))
			}
			if at, ok := parseID(v["id"].(string)); !ok || at.name != "x.ics" {
				t.Fatalf("its id %s is not read", v["id"])
			}
		}
	})
}

// decode is go-ical's decoder; nil where it refuses, or panics.
func decode(data []byte) (c *ical.Component) {
	defer func() { _ = recover() }()
	v, err := ical.NewDecoder(strings.NewReader(string(data))).Decode()
	if err != nil {
		return nil
	}
	return v.Component
}

// FuzzChange: whatever a request says, what is written has who is invited in it and nobody else, and one event.
func FuzzChange(f *testing.F) {
	f.Add("Lunch", "ben@example.com", "Ben", "RRULE:FREQ=DAILY", "Europe/Berlin")
	f.Add("a\nATTENDEE:mailto:x@y.example", "ben@example.com", "b\u0085ATTENDEE:mailto:x@y.example", "EXDATE;TZID=\"a\":20261126T120000Z", "")
	d := &Datebook{Config: Config{Address: "maya@example.com", Now: func() time.Time { return now }}}
	f.Fuzz(func(t *testing.T, summary, email, name, rule, zone string) {
		body, err := json.Marshal(object{"summary": summary, "description": name, "location": summary, "attendees": []any{object{"email": email, "displayName": name}}, "recurrence": []string{rule},
			"start": object{"dateTime": "2026-11-26T12:00:00Z", "timeZone": zone}, "end": object{"dateTime": "2026-11-26T13:00:00Z", "timeZone": zone}})
		if err != nil || !utf8.ValidString(email) {
			return
		}
		in, err := newChange(strings.NewReader(string(body)), true)
		if err != nil {
			return
		}
		o := ical.NewComponent(ical.CompCalendar)
		o.Props.SetText(ical.PropVersion, "2.0")
		o.Props.SetText(ical.PropProductID, "x")
		ev := ical.NewComponent(ical.CompEvent)
		ev.Props.SetText(ical.PropUID, "x")
		e := &entry{name: "x.ics", calendar: &calendar{zone: utc}, object: o, series: series{zones: newZones(o, utc), master: ev}}
		if d.apply(in, e, ev, true) != nil {
			return
		}
		d.touch(ev)
		out, err := e.data()
		if err != nil {
			return
		}
		back, ok := newEntry(&calendar{zone: utc}, "x.ics", "", out)
		if !ok || len(back.others) != 0 {
			t.Fatalf("it is not read back: %q", out)
		}
		people := back.master.Props.Values("ATTENDEE")
		if len(people) != 1 || address(people[0]) != email || len(back.master.Children) != 0 || len(back.master.Props.Values("ORGANIZER")) != 1 {
			t.Fatalf("%q invites %v", body, people)
		}
		for i := range 0x20 { // no line ends but by CR LF
			if c := string(rune(i)); c != "\r" && c != "\n" && c != "\t" && strings.Contains(string(out), c) {
				t.Fatalf("%q has a control character", out)
			}
		}
		if n := strings.Count(string(out), "\n"); n != strings.Count(string(out), "\r\n") || n != strings.Count(string(out), "\r") {
			t.Fatalf("%q has ends of lines that are none", out)
		}
	})
}

func FuzzID(f *testing.F) {
	f.Add(eventID("lunch.ics") + "_20261116T080000Z")
	f.Fuzz(func(t *testing.T, id string) {
		at, ok := parseID(id)
		if !ok {
			return
		}
		back := eventID(at.name)
		if !at.at.IsZero() {
			back += "_" + stamp(at.at, at.day)
		}
		if back != id || strings.ContainsAny(at.name, "/\\") || at.name == ".." {
			t.Fatalf("%q means %+v", id, at)
		}
	})
}

// TestAhead: a series that began long ago has, in a month, what it has when it is followed from its begin.
func TestAhead(t *testing.T) {
	from, to := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for _, s := range []string{"FREQ=DAILY;INTERVAL=3", "FREQ=DAILY;BYMONTH=11;BYDAY=MO", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;WKST=SU", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;WKST=MO", "FREQ=WEEKLY;INTERVAL=5", "FREQ=DAILY;COUNT=9000", "FREQ=MONTHLY;BYDAY=2TU", "FREQ=WEEKLY;BYDAY=TU,FR;BYSETPOS=-1", "FREQ=DAILY;UNTIL=20261110T000000Z"} {
		for _, begin := range []time.Time{time.Date(2003, 2, 27, 9, 30, 0, 0, time.UTC), time.Date(2026, 10, 28, 9, 30, 0, 0, time.UTC), time.Date(2026, 11, 28, 9, 30, 0, 0, time.UTC)} {
			c := ical.NewComponent(ical.CompEvent)
			set(c, ical.PropRecurrenceRule, s)
			e := &series{zones: newZones(nil, utc), master: c}
			all := slices.DeleteFunc(e.walls(newMoment(begin, false, utc), time.Time{}, to), func(w time.Time) bool { return w.Before(from) })
			some := slices.DeleteFunc(e.walls(newMoment(begin, false, utc), from, to), func(w time.Time) bool { return w.Before(from) })
			if !slices.EqualFunc(all, some, time.Time.Equal) {
				t.Errorf("%s from %s: %v, followed from its begin %v", s, begin, some, all)
			}
		}
	}
}

// TestPatience: what somebody sends to take the calendar's time takes little of it.
func TestPatience(t *testing.T) {
	zone := "BEGIN:VTIMEZONE\r\nTZID:Mine\r\n" + strings.Repeat("BEGIN:STANDARD\r\nDTSTART:16010101T000000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nRRULE:FREQ=YEARLY;BYMONTH=1,2,3,4,5,6,7,8,9,10,11,12\r\n"+strings.Repeat("RDATE:20260101T000000\r\n", 200)+"END:STANDARD\r\n", 200) + "END:VTIMEZONE\r\n"
	for name, data := range map[string]string{
		"zone":   event(zone, "UID:x\r\nDTSTART;TZID=Mine:20260101T000000\r\nRRULE:FREQ=DAILY\r\n"),
		"always": event("UID:x\r\nDTSTART:00020101T000000Z\r\nRRULE:FREQ=DAILY\r\n"),
		"times":  event("UID:x\r\nDTSTART:19700101T000000Z\r\nRRULE:FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23\r\n"),
		"never":  event("UID:x\r\nDTSTART:00020101T000000Z\r\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30\r\n"),
		"except": event("UID:x\r\nDTSTART:19700101T000000Z\r\nRRULE:FREQ=DAILY\r\nEXDATE:" + strings.Repeat("20260101T000000Z,", 100_000) + "20260102T000000Z\r\n"),
		"line":   event("UID:x\r\nDTSTART;X=\"" + strings.Repeat("a", 4<<20) + "\":20261101T000000Z\r\n"),
		"folded": event("UID:x\r\nDTSTART:20261101T000000Z\r\nSUMMARY:" + strings.Repeat("\r\n a", 1<<20) + "\r\n"),
	} {
		start := worked(t)
		e, ok := newEntry(&calendar{zone: utc}, "x.ics", "", []byte(data))
		if !ok {
			t.Errorf("%s is not read", name)
			continue
		}
		list, err := e.between(t.Context(), now, now.AddDate(0, 1, 0))
		want := map[string]int{"zone": 30, "always": 30, "times": 720, "except": 30}[name]
		if long := worked(t) - start; err != nil || len(list) != want || long > 10*time.Second {
			t.Errorf("%s: %d in %s, %v; want %d", name, len(list), long, err, want)
		}
	}
}

// TestWeakTag: an event is shown with the tag that a change can be held to, and with none where there is no such.
func TestWeakTag(t *testing.T) {
	for tag, want := range map[string]any{`"1"`: `"1"`, `W/"1"`: nil, "": nil} {
		e, ok := newEntry(&calendar{zone: utc}, "x.ics", tag, []byte("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:x\r\nDTSTART:20260101T000000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"))
		if !ok {
			t.Fatal("not read")
		}
		if v := (&Datebook{}).show(e, e.whole(), time.UTC); v["etag"] != want {
			t.Errorf("%s is shown as %v", tag, v["etag"])
		}
	}
}
