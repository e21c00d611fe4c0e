package datebook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-ical"

	"github.com/lanyard-dev/lanyard/internal/bridge"
	"github.com/lanyard-dev/lanyard/internal/dav"
)

func (d *Datebook) insert(w http.ResponseWriter, r *http.Request) (any, error) {
	c, err := d.calendar(r.Context(), r.PathValue("calendar"))
	if err != nil {
		return nil, err
	}
	in, err := newChange(r.Body, true)
	if err != nil {
		return nil, err
	}
	if in.members["id"] != nil || in.members["iCalUID"] != nil {
		return nil, bridge.Invalid("Ids of events are given here: leave id and iCalUID away.")
	}
	uid := d.Name()
	o := ical.NewComponent(ical.CompCalendar)
	o.Props.SetText(ical.PropVersion, "2.0")
	o.Props.SetText(ical.PropProductID, "-//Lanyard//lanyard calendar run//EN")
	event := ical.NewComponent(ical.CompEvent)
	event.Props.SetText(ical.PropUID, uid)
	event.Props.SetDateTime(ical.PropCreated, d.Now().UTC().Truncate(time.Second))
	e := &entry{name: uid + ".ics", calendar: c, object: o, series: series{zones: newZones(o, c.zone), master: event}}
	if err := d.apply(in, e, event, true); err != nil {
		return nil, err
	}
	d.touch(event)
	set(event, ical.PropSequence, "0")
	if err := d.put(r.Context(), e, "", "*"); err != nil {
		return nil, err
	}
	return d.stored(w, r, e, ref{name: e.name})
}

// put writes an entry, over what has that entity tag, or where nothing is.
func (d *Datebook) put(ctx context.Context, e *entry, match, none string) error {
	b, err := e.data()
	if err != nil {
		return err
	}
	_, err = d.client.Send(ctx, dav.Request{Method: http.MethodPut, Path: e.calendar.path.Join(e.name), Body: bytes.NewReader(b), Size: int64(len(b)),
		Header: map[string]string{"Content-Type": "text/calendar; charset=utf-8", "If-Match": match, "If-None-Match": none}})
	if err != nil {
		return fmt.Errorf("writing an event: %w", err)
	}
	return nil
}

// stored is an event as the server keeps it after it was written.
func (d *Datebook) stored(w http.ResponseWriter, r *http.Request, e *entry, at ref) (any, error) {
	now, err := d.fetch(r.Context(), e.calendar, e.name)
	if err != nil {
		return nil, err
	}
	o, err := now.pick(at)
	if err != nil {
		return nil, err
	}
	if now.etag != "" {
		w.Header().Set("Etag", now.etag)
	}
	return d.show(now, o, nil), nil
}

// current is the event that a request is to change, and the entity tag that it must still have then.
func (d *Datebook) current(r *http.Request) (e *entry, at ref, o occurrence, match string, err error) {
	if e, at, err = d.find(r); err != nil {
		return e, at, o, "", err
	}
	if o, err = e.pick(at); err != nil {
		return e, at, o, "", err
	}
	if want := r.Header.Get("If-Match"); want != "" && want != "*" && (!dav.Strong(e.etag) || !slices.Contains(strings.Split(strings.ReplaceAll(want, " ", ""), ","), e.etag)) {
		return e, at, o, "", bridge.Refused(http.StatusPreconditionFailed)
	}
	if dav.Strong(e.etag) {
		match = e.etag
	}
	return e, at, o, match, nil
}

// patch changes an event, or all of it (PUT).
func (d *Datebook) patch(w http.ResponseWriter, r *http.Request) (any, error) {
	in, err := newChange(r.Body, r.Method == http.MethodPut)
	if err != nil {
		return nil, err
	}
	e, at, o, match, err := d.current(r)
	if err != nil {
		return nil, err
	}
	event := o.event
	if !at.at.IsZero() && event == e.master {
		event = e.depart(o)
	}
	if err := d.apply(in, e, event, at.at.IsZero()); err != nil {
		return nil, err
	}
	d.touch(event)
	if err := d.put(r.Context(), e, match, ""); err != nil {
		return nil, err
	}
	return d.stored(w, r, e, at)
}

// depart makes of an occurrence that is like its series one that may differ.
func (e *entry) depart(o occurrence) *ical.Component {
	c := ical.NewComponent(ical.CompEvent)
	for name, values := range e.master.Props {
		switch name {
		case ical.PropRecurrenceRule, ical.PropRecurrenceDates, ical.PropExceptionDates, "EXRULE", ical.PropDateTimeEnd, ical.PropDuration:
		default:
			c.Props[name] = slices.Clone(values)
		}
	}
	c.Children = slices.Clone(e.master.Children)
	original := o.begin.prop(ical.PropRecurrenceID, e.master)
	c.Props.Set(original)
	c.Props.Set(o.begin.prop(ical.PropDateTimeStart, e.master))
	c.Props.Set(o.end.prop(ical.PropDateTimeEnd, e.master))
	e.others = append(e.others, c)
	return c
}

// prop is a moment as a property, in the same zone as the begin of an event.
func (m moment) prop(name string, like *ical.Component) *ical.Prop {
	p := ical.NewProp(name)
	if m.day {
		p.SetDate(m.wall)
		return p
	}
	p.SetValueType(ical.ValueDateTime)
	p.Value = m.wall.Format("20060102T150405")
	begin := like.Props.Get(ical.PropDateTimeStart)
	if id := begin.Params.Get(ical.PropTimezoneID); id != "" {
		p.Params.Set(ical.PropTimezoneID, id)
	} else if strings.HasSuffix(begin.Value, "Z") {
		p.Value += "Z"
	}
	return p
}

// remove deletes an event, all of a series, or one of it, which is an exception from then on.
func (d *Datebook) remove(_ http.ResponseWriter, r *http.Request) (any, error) {
	e, at, o, match, err := d.current(r)
	if err != nil {
		return nil, err
	}
	if at.at.IsZero() || e.master == nil && len(e.others) == 1 {
		_, err = d.client.Send(r.Context(), dav.Request{Method: http.MethodDelete, Path: e.calendar.path.Join(e.name), Header: map[string]string{"If-Match": match}})
		return nil, err
	}
	e.others = slices.DeleteFunc(e.others, func(c *ical.Component) bool { return c == o.event })
	if e.master != nil {
		base, _, ok := e.zones.span(e.master)
		if !ok {
			return nil, errors.Join(bridge.Invalid("The series does not say when it begins."))
		}
		except := newMoment(o.original.like(base), base.day, base.zone)
		e.master.Props.Add(except.prop(ical.PropExceptionDates, e.master))
		d.touch(e.master)
	}
	return nil, d.put(r.Context(), e, match, "")
}
