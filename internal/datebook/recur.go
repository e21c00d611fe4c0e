package datebook

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-ical"
	"github.com/teambition/rrule-go"
)

// Limits of recurrence. A rule that goes beyond them is not followed: of its event there is the first.
const (
	maxRule     = 1000               // bytes of a rule
	maxInterval = 10_000             // days, weeks, months or years
	maxTimes    = 24                 // times in one day
	maxSteps    = 100_000            // occurrences looked at
	maxDays     = 60_000             // days looked at for those of a rule of days: 164 years of all
	maxRules    = 2                  // rules of one event; section 3.8.5.3 knows of one
	maxDates    = 10_000             // dates of one event that are near those asked for
	near        = 4 * 24 * time.Hour // more than clocks of two zones differ by
)

// rule reads a recurrence rule (RFC 5545 section 3.3.10), nil if it is none that is followed here.
func rule(s string) *rrule.ROption {
	if len(s) > maxRule {
		return nil
	}
	o, err := rrule.StrToROption(s)
	if err != nil || o.Freq > rrule.DAILY || o.Interval > maxInterval || o.Interval < 0 || !o.Dtstart.IsZero() ||
		max(1, len(o.Byhour))*max(1, len(o.Byminute))*max(1, len(o.Bysecond)) > maxTimes ||
		o.Freq == rrule.DAILY && len(o.Byweekno)+len(o.Byyearday)+len(o.Byeaster) > 0 { // of which a rule of days has none
		return nil
	}
	return o
}

// occurrences are the wall times of a rule, up to one. A rule that the library cannot follow has none.
func occurrences(o rrule.ROption, to time.Time) func(func(time.Time) bool) {
	return func(yield func(time.Time) bool) {
		if o.Until.IsZero() || o.Until.After(to) {
			o.Until = to
		}
		if o.Freq == rrule.DAILY {
			daily(o, new(int))(yield)
			return
		}
		next := func() (t time.Time, ok bool) { return }
		step := func(f func()) {
			defer func() {
				if recover() != nil { // an index of its own that is out of range
					next = func() (time.Time, bool) { return time.Time{}, false }
				}
			}()
			f()
		}
		step(func() {
			if r, err := rrule.NewRRule(o); err == nil {
				next = r.Iterator()
			}
		})
		for range maxSteps {
			var t time.Time
			var ok bool
			step(func() { t, ok = next() })
			if !ok || t.After(to) || !yield(t) {
				return
			}
		}
	}
}

// daily are the wall times of a rule of days, each of which is looked at here: the library looks for the next one until the year 9999,
// and for the 31st of February that is three million days.
func daily(o rrule.ROption, looked *int) func(func(time.Time) bool) {
	return func(yield func(time.Time) bool) {
		if _, err := rrule.NewRRule(o); err != nil { // it has an hour 25
			return
		}
		begin := o.Dtstart.Truncate(time.Second)
		times, n := clocks(&o, begin), 0
		for day := begin; !day.After(o.Until.Add(24*time.Hour)) && *looked < maxDays; day = day.AddDate(0, 0, max(1, o.Interval)) {
			if *looked++; !on(&o, day) {
				continue
			}
			for _, at := range times {
				t := time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, day.Location()).Add(at)
				if t.After(o.Until) {
					return
				}
				if t.Before(begin) {
					continue
				}
				if n++; !yield(t) || n == o.Count || n == maxSteps {
					return
				}
			}
		}
	}
}

// on reports whether a rule of days is for that day.
func on(o *rrule.ROption, day time.Time) bool {
	last := time.Date(day.Year(), day.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return (len(o.Bymonth) == 0 || slices.Contains(o.Bymonth, int(day.Month()))) &&
		(len(o.Bymonthday) == 0 || slices.Contains(o.Bymonthday, day.Day()) || slices.Contains(o.Bymonthday, day.Day()-last-1)) &&
		(len(o.Byweekday) == 0 || slices.ContainsFunc(o.Byweekday, func(w rrule.Weekday) bool { return w.Day() == (int(day.Weekday())+6)%7 }))
}

// clocks are the times of the day of a rule, in their order: of those that it has, the ones in the places that it names, if it names some.
func clocks(o *rrule.ROption, begin time.Time) (list []time.Duration) {
	or := func(given []int, own int) []int {
		if len(given) == 0 {
			return []int{own}
		}
		return given
	}
	for _, h := range or(o.Byhour, begin.Hour()) {
		for _, m := range or(o.Byminute, begin.Minute()) {
			for _, s := range or(o.Bysecond, begin.Second()) {
				list = append(list, time.Duration(h)*time.Hour+time.Duration(m)*time.Minute+time.Duration(s)*time.Second)
			}
		}
	}
	slices.Sort(list)
	if len(o.Bysetpos) == 0 {
		return list
	}
	var some []time.Duration
	for _, p := range o.Bysetpos {
		if p < 0 {
			p += len(list) + 1
		}
		if p >= 1 && p <= len(list) && !slices.Contains(some, list[p-1]) {
			some = append(some, list[p-1])
		}
	}
	slices.Sort(some)
	return some
}

// moment is a value of date or of date and time.
type moment struct {
	wall time.Time
	day  bool // it is a whole day
	zone *zone
	at   time.Time // when that is
}

func newMoment(wall time.Time, day bool, zone *zone) moment {
	return moment{wall, day, zone, zone.at(wall)}
}

func (m moment) time() time.Time { return m.at }

// moment reads the value v of a property.
func (zs *zones) moment(p *ical.Prop, v string) (m moment, ok bool) {
	v = strings.TrimSpace(v)
	if m.wall, ok = wallTime(v); !ok || m.wall.Year() < 2 || m.wall.Year() > 9998 { // so that it has four digits in any zone
		return m, false
	}
	z := utc
	day := len(v) == len("20060102")
	if day {
		z = zs.floating
	} else if !strings.HasSuffix(v, "Z") {
		z = zs.named(p.Params.Get(ical.PropTimezoneID))
	}
	if z == nil {
		return m, false
	}
	return newMoment(m.wall, day, z), true
}

// prop is the moment of a property that has one, false if it has none that can be read.
func (zs *zones) prop(c *ical.Component, name string) (moment, bool) {
	p := c.Props.Get(name)
	if p == nil {
		return moment{}, false
	}
	return zs.moment(p, p.Value)
}

// like is m as clocks of base's zone show it.
func (m moment) like(base moment) time.Time {
	if m.day || base.day {
		return m.wall
	}
	return base.zone.of(m.time())
}

// span is begin and end of an event; without an end it is a day long, or takes no time (section 3.6.1).
func (zs *zones) span(c *ical.Component) (begin, end moment, ok bool) {
	if begin, ok = zs.prop(c, ical.PropDateTimeStart); !ok {
		return begin, end, false
	}
	if end, ok = zs.prop(c, ical.PropDateTimeEnd); ok && end.day == begin.day && !end.time().Before(begin.time()) {
		return begin, end, true
	}
	var long time.Duration
	if p := c.Props.Get(ical.PropDuration); p != nil {
		if d, err := p.Duration(); err == nil && d > 0 {
			long = d
		}
	}
	switch {
	case !begin.day:
		return begin, newMoment(begin.zone.of(begin.time().Add(long)), false, begin.zone), true
	case long == 0:
		long = 24 * time.Hour
	}
	return begin, newMoment(begin.wall.Add(long), true, begin.zone), true
}

// series is an event that recurs: its first, and those that differ from it.
type series struct {
	zones  *zones
	master *ical.Component // nil: only those that differ are here
	others []*ical.Component
}

// recurs reports whether there may be more than one of it.
func (s *series) recurs() bool {
	return s.master != nil && (s.master.Props.Get(ical.PropRecurrenceRule) != nil || s.master.Props.Get(ical.PropRecurrenceDates) != nil)
}

// walls are the wall times at which the series has one, without those that are excepted, to one and from about another.
func (s *series) walls(begin moment, from, to time.Time) []time.Time {
	list := []time.Time{begin.wall}
	for n, p := range s.master.Props.Values(ical.PropRecurrenceRule) {
		if n == maxRules {
			break
		}
		o := rule(p.Value)
		if o == nil {
			continue
		}
		o.Dtstart = begin.wall
		if !o.Until.IsZero() {
			switch v := until(p.Value); {
			case len(v) == len("20060102"):
				o.Until = o.Until.Add(24*time.Hour - time.Second)
			case strings.HasSuffix(v, "Z") && !begin.day:
				o.Until = begin.zone.of(o.Until)
			}
		}
		o.Dtstart = ahead(o, from)
		for t := range occurrences(*o, to) {
			list = append(list, t)
		}
	}
	excepted, read := map[time.Time]bool{}, 0
	for _, name := range []string{ical.PropRecurrenceDates, ical.PropExceptionDates} {
		for _, p := range s.master.Props.Values(name) {
			for v := range strings.SplitSeq(p.Value, ",") {
				v, _, _ = strings.Cut(v, "/") // of a period its begin
				if w, ok := wallTime(v); !ok || w.Before(from.Add(-near)) || w.After(to.Add(near)) || read == maxDates {
					continue // of zones that take long, only what may count is asked
				}
				read++
				m, ok := s.zones.moment(&p, v)
				if !ok {
					continue
				}
				if w := m.like(begin); name == ical.PropExceptionDates {
					excepted[w] = true
				} else if !w.After(to) && len(list) < maxSteps {
					list = append(list, w)
				}
			}
		}
	}
	list = slices.DeleteFunc(list, func(w time.Time) bool { return excepted[w] })
	slices.SortFunc(list, time.Time.Compare)
	return slices.CompactFunc(list, time.Time.Equal)
}

// ahead is a begin of a rule that says the same from one time on, and needs fewer steps to get there.
func ahead(o *rrule.ROption, from time.Time) time.Time {
	days := map[rrule.Frequency]int{rrule.DAILY: 1, rrule.WEEKLY: 7}[o.Freq] * max(1, o.Interval)
	if days == 0 || o.Count > 0 {
		return o.Dtstart
	}
	periods := int((from.Unix()-o.Dtstart.Unix())/86400)/days - 2 // a Duration would not hold that many years
	return o.Dtstart.AddDate(0, 0, max(0, periods)*days)
}

func until(rule string) string {
	for part := range strings.SplitSeq(strings.ToUpper(rule), ";") {
		if v, ok := strings.CutPrefix(part, "UNTIL="); ok {
			return v
		}
	}
	return ""
}

// occurrence is one of a series, or an event that does not recur.
type occurrence struct {
	event      *ical.Component
	begin, end moment
	original   moment // when it would be by the series; its wall time is zero in an event of its own
}

// between are the occurrences that end after from and begin before to.
func (s *series) between(ctx context.Context, from, to time.Time) (list []occurrence, err error) {
	inside := func(o occurrence) bool {
		begin, end := o.begin.time(), o.end.time()
		return begin.Before(to) && (end.After(from) || end.Equal(begin) && !begin.Before(from))
	}
	base, have := moment{}, false
	var end moment
	if s.master != nil {
		base, end, have = s.zones.span(s.master)
	}
	differs := map[time.Time]bool{}
	for _, c := range s.others {
		original, ok := s.zones.prop(c, ical.PropRecurrenceID)
		if !ok {
			continue
		}
		if have {
			original = newMoment(original.like(base), base.day, base.zone)
		}
		differs[original.wall] = true
		if o := (occurrence{event: c, original: original}); s.place(&o) && inside(o) {
			list = append(list, o)
		}
	}
	if !have {
		return list, nil
	}
	if !s.recurs() {
		if o := (occurrence{event: s.master, begin: base, end: end}); inside(o) {
			list = append(list, o)
		}
		return list, nil
	}
	for _, w := range s.walls(base, base.zone.of(from.Add(base.time().Sub(end.time()))), base.zone.of(to)) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if differs[w] {
			continue
		}
		if o := s.regular(base, end, w); inside(o) {
			list = append(list, o)
		}
	}
	return list, nil
}

// place reads when o is.
func (s *series) place(o *occurrence) (ok bool) {
	o.begin, o.end, ok = s.zones.span(o.event)
	return ok
}

// find is the occurrence that would be at t by the series.
func (s *series) find(t time.Time) (o occurrence, ok bool) {
	for _, c := range s.others {
		if original, ok := s.zones.prop(c, ical.PropRecurrenceID); ok && original.time().Equal(t) {
			o = occurrence{event: c, original: original}
			return o, s.place(&o)
		}
	}
	if !s.recurs() {
		return o, false
	}
	base, end, ok := s.zones.span(s.master)
	if !ok || !slices.ContainsFunc(s.walls(base, base.zone.of(t), base.zone.of(t)), base.zone.of(t).Equal) {
		return o, false
	}
	return s.regular(base, end, base.zone.of(t)), true
}

// regular is an occurrence that is like the first, at a wall time of the series.
func (s *series) regular(base, end moment, w time.Time) occurrence {
	begin := newMoment(w, base.day, base.zone)
	last := w.Add(end.wall.Sub(base.wall))
	if !base.day {
		last = base.zone.of(begin.time().Add(end.time().Sub(base.time())))
	}
	return occurrence{event: s.master, begin: begin, end: newMoment(last, base.day, base.zone), original: begin}
}
