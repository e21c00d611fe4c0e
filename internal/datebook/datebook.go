// Package datebook puts a calendar account that speaks CalDAV (RFC 4791) behind the interface of
// Google Calendar, so that the gateway has it like any other: the same description, the same words, the
// same layers.
//
// Of Google's interface it has what calendars need: calendarList and calendars (get), events (list, get,
// instances, insert, patch, update, delete) and freebusy. It decides nothing: who may do what is the
// gateway's to say, which alone has its credential.
package datebook

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/bridge"
	"github.com/lanyard-dev/lanyard/internal/dav"
)

// Config says where the account is. URL, User, Password and Credential are required.
type Config struct {
	URL            string // of the server, or of the account's calendars there
	User, Password string
	Address        string // of mail, by which the account invites and is invited; default User
	Primary        string // the calendar that is called primary, by its id; default the first
	TLS            *tls.Config
	Credential     string           // expected as Authorization: Bearer
	Now            func() time.Time // default time.Now
	Name           func() string    // a name that nothing else has; default random
	Log            *slog.Logger
}

// maxBody is how large a request may be.
const maxBody = 1 << 20

// patience is how long one request may take.
const patience = time.Minute

// Datebook is an http.Handler.
type Datebook struct {
	Config
	handler http.Handler
	client  *dav.Client

	mu        sync.Mutex // guards all below
	homes     []dav.Path // where the account's calendars are; nil: not known yet
	calendars []*calendar
}

var _ http.Handler = (*Datebook)(nil)

// New makes a Datebook. It connects when it is first asked.
func New(c Config) (*Datebook, error) {
	if len(c.Credential) < bridge.MinCredential {
		return nil, errors.New("datebook: a Credential of 16 characters or more is required")
	}
	client, err := dav.New(dav.Config{URL: c.URL, User: c.User, Password: c.Password, TLS: c.TLS})
	if err != nil {
		return nil, fmt.Errorf("datebook: %w", err)
	}
	if c.Address == "" {
		c.Address = c.User
	}
	if a, err := mail.ParseAddress(c.Address); err != nil || a.Address != c.Address {
		return nil, fmt.Errorf("datebook: %q is no address of mail to invite from", c.Address)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Name == nil {
		c.Name = func() string { return strings.ToLower(rand.Text()) }
	}
	mux := http.NewServeMux()
	d := &Datebook{Config: c, client: client, handler: bridge.Guard(c.Credential, maxBody, mux)}
	const base, events = "/calendar/v3/", "/calendar/v3/calendars/{calendar}/events"
	for pattern, f := range map[string]func(http.ResponseWriter, *http.Request) (any, error){
		"GET " + base + "users/me/calendarList": d.listCalendars, "GET " + base + "users/me/calendarList/{calendar}": d.getCalendar("calendar#calendarListEntry"),
		"GET " + base + "calendars/{calendar}": d.getCalendar("calendar#calendar"), "POST " + base + "freeBusy": d.freeBusy,
		"GET " + events: d.list, "POST " + events: d.insert, "GET " + events + "/{event}": d.get, "GET " + events + "/{event}/instances": d.instances,
		"PATCH " + events + "/{event}": d.patch, "PUT " + events + "/{event}": d.patch, "DELETE " + events + "/{event}": d.remove,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			ctx, done := context.WithTimeout(r.Context(), patience)
			defer done()
			v, err := f(w, r.WithContext(ctx))
			bridge.Answer(w, v, said(err), c.Log, "the calendar server")
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		bridge.Answer(w, nil, bridge.Lacking("This is not done of a calendar of CalDAV: there are calendarList and calendars (get), events (list, get, instances, insert, patch, update, delete) and freeBusy."), c.Log, "")
	})
	return d, nil
}

type object = bridge.Object

func (d *Datebook) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.handler.ServeHTTP(w, r) }

// Close ends idle connections.
func (d *Datebook) Close() error { return d.client.Close() }

// said is err as the caller hears it.
func said(err error) error {
	if refused := bridge.Refused(dav.Code(err)); refused != nil {
		return refused
	}
	return err
}

// calendar is one of the account's.
type calendar struct {
	id         string
	path       dav.Path
	name, text string
	writes     bool
	zone       *zone // of what names no zone
	zoneName   string
}

const discovery = `<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop><d:current-user-principal/><d:resourcetype/><c:calendar-home-set/></d:prop></d:propfind>`

var wellKnown = dav.Path{".well-known", "caldav"}

// discover finds where the account's calendars are (RFC 6764 section 6, RFC 5397, RFC 4791 section 6.2.1).
func (d *Datebook) discover(ctx context.Context) ([]dav.Path, error) {
	start := []dav.Path{d.client.Root()}
	if len(d.client.Root()) == 0 {
		start = []dav.Path{wellKnown, nil}
	}
	var last error
	for _, at := range start {
		found, err := d.look(ctx, at)
		if err != nil {
			last = err
			continue
		}
		if at, err := d.client.Place(found.Prop(dav.DAV, "current-user-principal").Find(dav.DAV, "href").Value()); err == nil && len(at) > 0 {
			if found, err = d.look(ctx, at); err != nil {
				last = err
				continue
			}
		}
		var homes []dav.Path
		if set := found.Prop(dav.CalDAV, "calendar-home-set"); set != nil {
			for i := range set.Nodes {
				at, err := d.client.Place(set.Nodes[i].Value())
				if err != nil {
					last = fmt.Errorf("the account's calendars: %w; give the URL there", err)
					continue
				}
				homes = append(homes, at)
			}
		}
		if homes == nil && len(at) > 0 && found.Prop(dav.DAV, "resourcetype").Find(dav.DAV, "collection") != nil && at[0] != wellKnown[0] {
			homes = []dav.Path{at} // the URL is that of the calendars themselves
		}
		if homes != nil {
			return homes, nil
		}
	}
	return nil, fmt.Errorf("finding the account's calendars: %w", errors.Join(errors.New("the server names none"), last))
}

// look asks for what discovery needs, and follows the server to other places of its own.
func (d *Datebook) look(ctx context.Context, at dav.Path) (*dav.Resource, error) {
	for range 5 {
		found, err := d.client.Ask(ctx, "PROPFIND", at, len(at) == 0 || at[0] != wellKnown[0], "0", discovery)
		var moved *dav.Status
		if errors.As(err, &moved) && moved.Location != "" {
			if at, err = d.client.Place(moved.Location); err != nil {
				return nil, fmt.Errorf("the server sends on to %w; give the URL there", err)
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, errors.New("the server says nothing of itself")
		}
		return &found[0], nil
	}
	return nil, errors.New("the server sends on and on")
}

const calendarProps = `<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop><d:resourcetype/><d:displayname/><d:current-user-privilege-set/><c:calendar-description/><c:supported-calendar-component-set/><c:calendar-timezone/></d:prop></d:propfind>`

// all are the account's calendars, asked for anew or as they were.
func (d *Datebook) all(ctx context.Context, anew bool) ([]*calendar, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.calendars != nil && !anew {
		return d.calendars, nil
	}
	if d.homes == nil {
		homes, err := d.discover(ctx)
		if err != nil {
			return nil, err
		}
		d.homes = homes
	}
	list := []*calendar{}
	for _, home := range d.homes {
		found, err := d.client.Ask(ctx, "PROPFIND", home, true, "1", calendarProps)
		if err != nil {
			d.homes = nil // they may have moved
			return nil, fmt.Errorf("listing calendars: %w", err)
		}
		for i := range found {
			if c := newCalendar(home, &found[i]); c != nil {
				list = append(list, c)
			}
		}
	}
	taken := map[string]bool{"primary": true}
	for _, c := range list { // a grant names calendars in whatever case
		if low := strings.ToLower(c.id); taken[low] {
			c.id = "~" + eventID(c.path.Escaped(false))
		} else {
			taken[low] = true
		}
	}
	d.calendars = list
	return list, nil
}

// newCalendar is the calendar that a resource is, nil if it is none for events.
func newCalendar(home dav.Path, r *dav.Resource) *calendar {
	names, ok := r.Path.Below(home)
	if !ok || len(names) > 1 || len(r.Path) == 0 || r.Prop(dav.DAV, "resourcetype").Find(dav.CalDAV, "calendar") == nil {
		return nil
	}
	if set := r.Prop(dav.CalDAV, "supported-calendar-component-set"); set != nil {
		events := len(set.Nodes) == 0
		for _, n := range set.Nodes {
			for _, a := range n.Attrs {
				events = events || a.Name.Local == "name" && strings.EqualFold(a.Value, "VEVENT")
			}
		}
		if !events {
			return nil
		}
	}
	c := &calendar{path: r.Path, id: r.Path[len(r.Path)-1], name: one(r.Prop(dav.DAV, "displayname").Value()), text: r.Prop(dav.CalDAV, "calendar-description").Value(), writes: true, zone: utc, zoneName: "UTC"}
	if c.name == "" {
		c.name = c.id
	}
	if set := r.Prop(dav.DAV, "current-user-privilege-set"); set != nil {
		c.writes = false
		for i := range set.Nodes {
			for _, name := range []string{"write", "write-content", "all"} {
				c.writes = c.writes || set.Nodes[i].Find(dav.DAV, name) != nil
			}
		}
	}
	if v, err := parse([]byte(r.Prop(dav.CalDAV, "calendar-timezone").Value())); err == nil {
		for _, part := range v.Children {
			if z := newZones(v, nil).named(text(part, "TZID")); part.Name == "VTIMEZONE" && text(part, "TZID") != "" && z != nil {
				if c.zone = z; z.location != nil {
					c.zoneName = z.location.String()
				}
			}
		}
	}
	return c
}

// calendar is the one with an id, or the primary one; there are no others.
func (d *Datebook) calendar(ctx context.Context, id string) (*calendar, error) {
	for _, anew := range []bool{false, true} {
		list, err := d.all(ctx, anew)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			if c.id == id || id == "primary" && c == d.primary(list) {
				return c, nil
			}
		}
	}
	return nil, bridge.ErrNone
}

func (d *Datebook) primary(list []*calendar) *calendar {
	for _, c := range list {
		if c.id == d.Primary {
			return c
		}
	}
	if d.Primary != "" || len(list) == 0 {
		return nil
	}
	return list[0]
}

// object is the calendar as Google has it.
func (c *calendar) object(kind string, primary bool) object {
	v := object{"kind": kind, "id": c.id, "summary": c.name, "timeZone": c.zoneName}
	if c.text != "" {
		v["description"] = c.text
	}
	if kind == "calendar#calendarListEntry" {
		v["accessRole"], v["selected"] = c.role(), true
		if primary {
			v["primary"] = true
		}
	}
	return v
}

func (c *calendar) role() string {
	if c.writes {
		return "owner"
	}
	return "reader"
}

func (d *Datebook) listCalendars(_ http.ResponseWriter, r *http.Request) (any, error) {
	list, err := d.all(r.Context(), true)
	if err != nil {
		return nil, err
	}
	items := []any{}
	for _, c := range list {
		items = append(items, c.object("calendar#calendarListEntry", c == d.primary(list)))
	}
	return object{"kind": "calendar#calendarList", "items": items}, nil
}

func (d *Datebook) getCalendar(kind string) func(http.ResponseWriter, *http.Request) (any, error) {
	return func(_ http.ResponseWriter, r *http.Request) (any, error) {
		c, err := d.calendar(r.Context(), r.PathValue("calendar"))
		if err != nil {
			return nil, err
		}
		list, err := d.all(r.Context(), false)
		return c.object(kind, c == d.primary(list)), err
	}
}
