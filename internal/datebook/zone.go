package datebook

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-ical"
	"github.com/teambition/rrule-go"
)

// A wall time is what a clock shows, as a time in UTC whatever its zone.

// zone is a time zone: one of the IANA's, or one that an object describes.
type zone struct {
	location *time.Location // nil: by its shifts
	shifts   []shift
}

// shift is a rule by which a zone changes its distance from UTC (a part of VTIMEZONE).
type shift struct {
	begin    time.Time // wall time
	from, to int       // seconds east of UTC, before and after
	rule     *rrule.ROption
	dates    []time.Time // wall times
	years    *years      // of the rule
}

var utc = &zone{location: time.UTC}

// wall is the wall time of t.
func wall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// at is when the clocks of the zone show w.
func (z *zone) at(w time.Time) time.Time {
	if z.location != nil {
		return time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), 0, z.location)
	}
	off := z.offset(w, false)
	return w.Add(-time.Duration(off) * time.Second).In(time.FixedZone("", off))
}

// of is what the clocks of the zone show at t.
func (z *zone) of(t time.Time) time.Time {
	if z.location != nil {
		return wall(t.In(z.location))
	}
	return wall(t.UTC().Add(time.Duration(z.offset(t.UTC(), true)) * time.Second))
}

// offset is the distance from UTC, in seconds, by the shift that happened last at t, which is a time or a wall time.
func (z *zone) offset(t time.Time, absolute bool) int {
	var latest time.Time
	off := slices.MinFunc(z.shifts, func(a, b shift) int { return a.begin.Compare(b.begin) }).from
	for _, s := range z.shifts {
		var ahead time.Duration // of wall time
		if absolute {
			ahead = time.Duration(s.from) * time.Second
		}
		if on := s.last(t.Add(ahead)); !on.IsZero() && on.Add(-ahead).After(latest) {
			latest, off = on.Add(-ahead), s.to
		}
	}
	return off
}

// last is when the shift last happened by w, zero if it had not.
func (s shift) last(w time.Time) (last time.Time) {
	for _, d := range append(s.dates, s.begin) {
		if !d.After(w) && d.After(last) {
			last = d
		}
	}
	if s.rule == nil || s.begin.After(w) {
		return last
	}
	list := s.by(w.Year())
	n, on := slices.BinarySearchFunc(list, w, time.Time.Compare)
	if on {
		n++
	}
	if n > 0 && list[n-1].After(last) {
		last = list[n-1]
	}
	return last
}

// years is what is known of a rule, by the year up to whose end it is; an object may ask for each thousands of times.
type years struct {
	mu    sync.Mutex
	known map[int][]time.Time
}

// maxYears is how many are kept.
const maxYears = 100

// by are wall times of the rule up to the end of a year, among them the last.
func (s shift) by(year int) []time.Time {
	s.years.mu.Lock()
	defer s.years.mu.Unlock()
	if list, ok := s.years.known[year]; ok {
		return list
	}
	rule, end := *s.rule, time.Date(year, 12, 31, 23, 59, 59, 0, time.UTC)
	if !rule.Until.IsZero() && rule.Until.Before(end) {
		end = rule.Until
	}
	if rule.Dtstart = s.begin; s.begin.Year() < end.Year()-2 {
		rule.Dtstart = s.begin.AddDate(end.Year()-2-s.begin.Year(), 0, 0) // the years before say the same
	}
	list := slices.Collect(occurrences(rule, end))
	if len(s.years.known) < maxYears {
		s.years.known[year] = list
	}
	return list
}

// zones are those of one object, and the one of its calendar.
type zones struct {
	object   *ical.Component
	floating *zone // where no zone is named
	known    map[string]*zone
}

func newZones(object *ical.Component, floating *zone) *zones {
	if floating == nil {
		floating = utc
	}
	return &zones{object: object, floating: floating, known: map[string]*zone{}}
}

// named is a zone by its TZID, nil if there is no telling what it is.
func (zs *zones) named(id string) *zone {
	if id == "" {
		return zs.floating
	}
	z, ok := zs.known[id]
	if !ok {
		z = zs.find(id)
		zs.known[id] = z
	}
	return z
}

func (zs *zones) find(id string) *zone {
	if l := location(id); l != nil {
		return &zone{location: l}
	}
	if parts := strings.Split(id, "/"); len(parts) > 2 { // "/vendor.example/20261101/Europe/Berlin"
		for _, n := range []int{2, 3} {
			if l := location(strings.Join(parts[max(0, len(parts)-n):], "/")); l != nil {
				return &zone{location: l}
			}
		}
	}
	if zs.object == nil {
		return nil
	}
	for _, c := range zs.object.Children {
		if c.Name != ical.CompTimezone || text(c, ical.PropTimezoneID) != id {
			continue
		}
		if l := location(text(c, "X-LIC-LOCATION")); l != nil {
			return &zone{location: l}
		}
		z := &zone{}
		for _, part := range c.Children {
			if s, ok := newShift(part); ok && len(z.shifts) < maxShifts {
				z.shifts = append(z.shifts, s)
			}
		}
		if len(z.shifts) > 0 {
			return z
		}
	}
	return nil
}

// location is a zone of the IANA's by its name, else nil.
func location(name string) *time.Location {
	if name == "" || name == "Local" || strings.HasPrefix(name, "/") {
		return nil
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return l
}

// maxShifts is how many shifts of a zone are read, and how many dates of one.
const maxShifts = 40

func newShift(c *ical.Component) (s shift, ok bool) {
	var good [3]bool
	s.from, good[0] = seconds(text(c, ical.PropTimezoneOffsetFrom))
	s.to, good[1] = seconds(text(c, ical.PropTimezoneOffsetTo))
	s.begin, good[2] = wallTime(text(c, ical.PropDateTimeStart))
	if good != [3]bool{true, true, true} {
		return s, false
	}
	if p := c.Props.Get(ical.PropRecurrenceRule); p != nil {
		// The rules of zones are of years and months; others would take long, for each time that is read.
		if s.rule = rule(p.Value); s.rule == nil || s.rule.Freq != rrule.YEARLY || s.rule.Interval > 1 || s.rule.Count > 0 || len(s.rule.Bymonth) == 0 || len(s.rule.Byhour)+len(s.rule.Byminute)+len(s.rule.Bysecond) > 0 {
			return s, false
		}
		s.years = &years{known: map[int][]time.Time{}}
	}
	for _, p := range c.Props.Values(ical.PropRecurrenceDates) {
		for v := range strings.SplitSeq(p.Value, ",") {
			if d, ok := wallTime(v); ok && len(s.dates) < maxShifts {
				s.dates = append(s.dates, d)
			}
		}
	}
	return s, true
}

// seconds reads an offset such as +0100 or -023015.
func seconds(s string) (int, bool) {
	if len(s) != 5 && len(s) != 7 || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	t, err := time.Parse("150405", (s[1:] + "00")[:6])
	if err != nil {
		return 0, false
	}
	n := t.Hour()*3600 + t.Minute()*60 + t.Second()
	if s[0] == '-' {
		n = -n
	}
	return n, true
}

// wallTime reads a date, or a date and a time, without its zone.
func wallTime(s string) (time.Time, bool) {
	s = strings.TrimSuffix(strings.TrimSpace(s), "Z")
	if len(s) == len("20060102") {
		s += "T000000"
	}
	t, err := time.Parse("20060102T150405", s)
	return t, err == nil
}

// describe is a zone of the IANA's as an object has it, for years from one on.
func describe(l *time.Location, from int) *ical.Component {
	const years = 20
	c := ical.NewComponent(ical.CompTimezone)
	c.Props.SetText(ical.PropTimezoneID, l.String())
	type way struct{ from, to int }
	found := map[way][]time.Time{}
	var order []way
	begin := time.Date(from, 1, 1, 0, 0, 0, 0, l)
	for t := begin; t.Year() < from+years; {
		_, next := t.ZoneBounds()
		if next.IsZero() {
			break
		}
		if !next.After(t) { // on the last day of some years the bounds are those of the day before
			t = t.AddDate(0, 0, 1)
			continue
		}
		_, before := next.Add(-time.Second).In(l).Zone()
		_, after := next.In(l).Zone()
		if w := (way{before, after}); before != after {
			if found[w] == nil {
				order = append(order, w)
			}
			found[w] = append(found[w], next.UTC().Add(time.Duration(before)*time.Second))
		}
		t = next.In(l)
	}
	_, now := begin.Zone()
	add := func(name string, w way, begin time.Time, more []time.Time) {
		part := ical.NewComponent(name)
		set(part, ical.PropTimezoneOffsetFrom, offset(w.from))
		set(part, ical.PropTimezoneOffsetTo, offset(w.to))
		set(part, ical.PropDateTimeStart, begin.Format("20060102T150405"))
		for _, d := range more {
			p := ical.NewProp(ical.PropRecurrenceDates)
			p.Value = d.Format("20060102T150405")
			part.Props.Add(p)
		}
		c.Children = append(c.Children, part)
	}
	add(ical.CompTimezoneStandard, way{now, now}, wall(begin), nil)
	slices.SortFunc(order, func(a, b way) int { return found[a][0].Compare(found[b][0]) })
	for _, w := range order {
		name := ical.CompTimezoneStandard
		if w.to > w.from {
			name = ical.CompTimezoneDaylight
		}
		add(name, w, found[w][0], found[w][1:])
	}
	return c
}

func offset(seconds int) string {
	sign := "+"
	if seconds < 0 {
		sign, seconds = "-", -seconds
	}
	return sign + time.Time{}.Add(time.Duration(seconds)*time.Second).Format("1504")
}
