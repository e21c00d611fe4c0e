package datebook

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-ical"

	"github.com/lanyard-dev/lanyard/internal/bridge"
	"github.com/lanyard-dev/lanyard/internal/dav"
)

const calendarQuery = `<?xml version="1.0" encoding="utf-8"?><c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop><d:getetag/><c:calendar-data/></d:prop><c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT">%s</c:comp-filter></c:comp-filter></c:filter></c:calendar-query>`

// entries are what a calendar has between two times; zero is no limit. What is no event, or cannot be read, is left out.
func (d *Datebook) entries(ctx context.Context, c *calendar, from, to time.Time) ([]*entry, error) {
	within := ""
	if !from.IsZero() || !to.IsZero() {
		within = "<c:time-range"
		if !from.IsZero() {
			within += ` start="` + from.UTC().Format("20060102T150405Z") + `"`
		}
		if !to.IsZero() {
			within += ` end="` + to.UTC().Format("20060102T150405Z") + `"`
		}
		within += "/>"
	}
	found, err := d.client.Ask(ctx, "REPORT", c.path, true, "1", fmt.Sprintf(calendarQuery, within))
	if err != nil {
		return nil, fmt.Errorf("reading calendar %s: %w", c.id, err)
	}
	var list []*entry
	for i := range found {
		names, ok := found[i].Path.Below(c.path)
		data := found[i].Prop(dav.CalDAV, "calendar-data")
		if !ok || len(names) != 1 || data == nil {
			continue
		}
		if e, ok := newEntry(c, names[0], found[i].Prop(dav.DAV, "getetag").Value(), []byte(data.Text)); ok {
			list = append(list, e)
		} else {
			d.Log.Warn("an object of a calendar cannot be read as an event", "calendar", c.id, "name", names[0])
		}
	}
	return list, nil
}

// fetch reads what lies under a name.
func (d *Datebook) fetch(ctx context.Context, c *calendar, name string) (*entry, error) {
	res, err := d.client.Do(ctx, dav.Request{Method: http.MethodGet, Path: c.path.Join(name)})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxObject+1))
	if err != nil {
		return nil, fmt.Errorf("reading an event: %w", err)
	}
	e, ok := newEntry(c, name, res.Header.Get("Etag"), b)
	if !ok {
		return nil, bridge.ErrNone
	}
	return e, nil
}

// find is the event that a request names.
func (d *Datebook) find(r *http.Request) (*entry, ref, error) {
	at, ok := parseID(r.PathValue("event"))
	c, err := d.calendar(r.Context(), r.PathValue("calendar"))
	if err != nil {
		return nil, at, err
	}
	if !ok {
		return nil, at, bridge.ErrNone
	}
	e, err := d.fetch(r.Context(), c, at.name)
	return e, at, err
}

// pick is what a ref means of an entry.
func (e *entry) pick(at ref) (occurrence, error) {
	if at.at.IsZero() {
		if e.master == nil {
			return occurrence{}, bridge.ErrNone
		}
		return e.whole(), nil
	}
	t := at.at
	if at.day {
		t = e.zones.floating.at(t)
	}
	o, ok := e.series.find(t)
	if !ok || o.stamp() != stamp(at.at, at.day) {
		return occurrence{}, bridge.ErrNone
	}
	return o, nil
}

func (d *Datebook) get(w http.ResponseWriter, r *http.Request) (any, error) {
	in, err := wanted(r.URL.Query())
	if err != nil {
		return nil, err
	}
	e, at, err := d.find(r)
	if err != nil {
		return nil, err
	}
	o, err := e.pick(at)
	if err != nil {
		return nil, err
	}
	if e.etag != "" {
		w.Header().Set("Etag", e.etag)
		if slices.Contains(tags(r.Header.Get("If-None-Match")), strings.TrimPrefix(e.etag, "W/")) {
			return nil, bridge.Refused(http.StatusNotModified)
		}
	}
	return d.show(e, o, in), nil
}

// tags are the entity tags of a header, as they are compared weakly.
func tags(header string) (list []string) {
	for s := range strings.SplitSeq(header, ",") {
		list = append(list, strings.TrimPrefix(strings.TrimSpace(s), "W/"))
	}
	return list
}

// Limits of a list.
const (
	usualPage, maxPage = 250, 2500
	maxEvents          = 20_000
	horizon            = 2 * 365 * 24 * time.Hour // how far series are followed when nobody says
)

// search is what a request for a list asks for.
type search struct {
	from, to, updated time.Time
	in                *time.Location
	single, cancelled bool
	order             string
	words             []string
	uid               string
	size, offset      int
}

func wanted(q url.Values) (*time.Location, error) {
	name := q.Get("timeZone")
	if l := location(name); l != nil || name == "" {
		return l, nil
	}
	return nil, bridge.Invalid("Invalid value for timeZone.")
}

func newSearch(q url.Values) (s search, err error) {
	for name, to := range map[string]*time.Time{"timeMin": &s.from, "timeMax": &s.to, "updatedMin": &s.updated} {
		if v := q.Get(name); v != "" {
			if *to, err = time.Parse(time.RFC3339, v); err != nil {
				return s, bridge.Invalid("Invalid value for %s: it is to be as 2026-11-26T09:00:00Z.", name)
			}
		}
	}
	if !s.from.IsZero() && !s.to.IsZero() && !s.from.Before(s.to) {
		return s, bridge.Invalid("The specified time range is empty.")
	}
	for name, to := range map[string]*bool{"singleEvents": &s.single, "showDeleted": &s.cancelled} {
		if v := q.Get(name); v != "" {
			if *to, err = strconv.ParseBool(v); err != nil {
				return s, bridge.Invalid("Invalid value for %s.", name)
			}
		}
	}
	s.size = usualPage
	for name, to := range map[string]*int{"maxResults": &s.size, "pageToken": &s.offset} {
		if v := q.Get(name); v != "" {
			if *to, err = strconv.Atoi(v); err != nil || *to < 0 {
				return s, bridge.Invalid("Invalid value for %s.", name)
			}
		}
	}
	s.size = min(max(s.size, 1), maxPage)
	switch s.order = q.Get("orderBy"); {
	case s.order != "" && s.order != "startTime" && s.order != "updated", s.order == "startTime" && !s.single:
		return s, bridge.Invalid("Invalid value for orderBy: startTime (with singleEvents) or updated.")
	}
	for _, name := range []string{"syncToken", "privateExtendedProperty", "sharedExtendedProperty"} {
		if q.Has(name) {
			return s, bridge.Lacking("%s is nothing that a calendar of CalDAV is searched by here.", name)
		}
	}
	s.words, s.uid = strings.Fields(strings.ToLower(q.Get("q"))), q.Get("iCalUID")
	s.in, err = wanted(q)
	return s, err
}

// found is one event of a list.
type found struct {
	entry *entry
	occurrence
}

func (d *Datebook) list(_ http.ResponseWriter, r *http.Request) (any, error) {
	s, err := newSearch(r.URL.Query())
	if err != nil {
		return nil, err
	}
	c, err := d.calendar(r.Context(), r.PathValue("calendar"))
	if err != nil {
		return nil, err
	}
	entries, err := d.entries(r.Context(), c, s.from, s.to)
	if err != nil {
		return nil, err
	}
	var all []found
	for _, e := range entries {
		list, err := d.of(r.Context(), e, s)
		if err != nil {
			return nil, err
		}
		if all = append(all, list...); len(all) > maxEvents {
			return nil, bridge.Invalid("There are more than %d events: give timeMin and timeMax.", maxEvents)
		}
	}
	return d.page(c, all, s), nil
}

func (d *Datebook) instances(_ http.ResponseWriter, r *http.Request) (any, error) {
	s, err := newSearch(r.URL.Query())
	if err != nil {
		return nil, err
	}
	e, at, err := d.find(r)
	if err != nil {
		return nil, err
	}
	if !at.at.IsZero() || e.master == nil {
		return nil, bridge.ErrNone
	}
	s.single = true
	all, err := d.of(r.Context(), e, s)
	if err != nil {
		return nil, err
	}
	if v := r.URL.Query().Get("originalStart"); v != "" {
		all = slices.DeleteFunc(all, func(f found) bool {
			t, err := time.Parse(time.RFC3339, v)
			return err != nil || f.original.zone == nil || !f.original.time().Equal(t)
		})
	}
	return d.page(e.calendar, all, s), nil
}

// of are the events of an entry that a search finds.
func (d *Datebook) of(ctx context.Context, e *entry, s search) (list []found, err error) {
	from, to := s.from, s.to
	if to.IsZero() {
		if to = d.Now().Add(horizon); to.Before(from) {
			to = from.Add(horizon)
		}
		if !s.single {
			to = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		}
	}
	switch {
	case s.single:
		all, err := e.between(ctx, from, to)
		if err != nil {
			return nil, err
		}
		for _, o := range all {
			list = append(list, found{e, o})
		}
	default: // the server has seen to it that some of it is in that time
		if e.master != nil {
			list = append(list, found{e, e.whole()})
		}
		for _, c := range e.others {
			original, ok := e.zones.prop(c, ical.PropRecurrenceID)
			if !ok {
				continue
			}
			o := occurrence{event: c, original: original}
			_ = e.place(&o)
			list = append(list, found{e, o})
		}
	}
	return slices.DeleteFunc(list, func(f found) bool { return !s.finds(f) }), nil
}

func (s search) finds(f found) bool {
	c := f.event
	if !s.cancelled && strings.EqualFold(text(c, ical.PropStatus), "CANCELLED") || s.uid != "" && text(c, ical.PropUID) != s.uid {
		return false
	}
	if changed := f.changed(); !s.updated.IsZero() && !changed.IsZero() && changed.Before(s.updated) {
		return false
	}
	if len(s.words) == 0 {
		return true
	}
	all := []string{text(c, ical.PropSummary), text(c, ical.PropDescription), text(c, ical.PropLocation)}
	for _, p := range append(c.Props.Values(ical.PropAttendee), c.Props.Values(ical.PropOrganizer)...) {
		all = append(all, address(p), p.Params.Get(ical.ParamCommonName))
	}
	text := strings.ToLower(strings.Join(all, "\n"))
	return !slices.ContainsFunc(s.words, func(w string) bool { return !strings.Contains(text, w) })
}

// changed is when the event was last changed, zero if it does not say.
func (f found) changed() time.Time {
	for _, name := range []string{ical.PropLastModified, ical.PropDateTimeStamp} {
		if m, ok := f.entry.zones.prop(f.event, name); ok {
			return m.time()
		}
	}
	return time.Time{}
}

// page is a part of a list as Google has it.
func (d *Datebook) page(c *calendar, all []found, s search) object {
	begins := func(f found) time.Time {
		if f.begin.zone == nil {
			return time.Time{}
		}
		return f.begin.time()
	}
	slices.SortStableFunc(all, func(a, b found) int {
		if s.order == "updated" {
			return cmp.Or(a.changed().Compare(b.changed()), cmp.Compare(a.entry.name, b.entry.name))
		}
		return cmp.Or(begins(a).Compare(begins(b)), cmp.Compare(a.entry.name, b.entry.name))
	})
	from := min(s.offset, len(all))
	to := min(from+s.size, len(all))
	items := []any{}
	for _, f := range all[from:to] {
		items = append(items, d.show(f.entry, f.occurrence, s.in))
	}
	v := object{"kind": "calendar#events", "summary": c.name, "timeZone": c.zoneName, "accessRole": c.role(), "defaultReminders": []any{}, "items": items}
	if s.in != nil {
		v["timeZone"] = s.in.String()
	}
	if to < len(all) {
		v["nextPageToken"] = strconv.Itoa(to)
	}
	return v
}
