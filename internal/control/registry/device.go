package registry

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
)

// A program asks to be let in for a person, who says yes at a browser in which they are signed in (RFC 8628). What it then has is a session
// of that person, which ends with what theirs stands on.

const (
	deviceWait  = 10 * time.Minute // for the person
	devices     = 1000             // that may wait for people at one time
	devicesEach = 50               // of one source
)

// Device is a program that waits to be let in.
type Device struct {
	Code    string         `json:"code"` // that the person enters
	From    string         `json:"from"`
	With    string         `json:"with"`
	Denied  bool           `json:"denied,omitempty"`
	Session *store.Session `json:"session,omitempty"` // of who let it in; nil: nobody has
}

// Why a program is not let in.
var (
	ErrDeviceWaits  = errors.New("nobody has answered yet")
	ErrDeviceDenied = errors.New("it was not let in")
	ErrNoDevice     = errors.New("there is no such code, it was used, or it is older than ten minutes")
)

// source is where somebody comes from who is nobody yet: an address, or, of IPv6, a site's addresses (a /48): who has one has all of them.
func source(address string) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return address
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	site, err := ip.Prefix(48)
	if err != nil {
		return ip.String()
	}
	return site.String()
}

// DevicePlace says whether a program that comes from there may wait, and which other gives its place up for it when all are taken: the
// oldest one of the source that has the most. So nobody takes all places.
func DevicePlace(tx *store.Tx, address string) (instead string, err error) {
	all, err := store.Tickets[Device](tx, store.UserCode)
	if err != nil {
		return "", err
	}
	waits := map[string][]string{} // codes by source, the oldest first
	for _, d := range all {
		if d.Session == nil && !d.Denied {
			waits[source(d.From)] = append(waits[source(d.From)], d.Code)
		}
	}
	if len(waits[source(address)]) >= devicesEach {
		return "", &Conflict{"too many programs from there wait to be let in; try again in a few minutes"}
	}
	if len(all) < devices {
		return "", nil
	}
	most := 0
	for _, d := range all { // the oldest first, also of those that have as many
		if codes := waits[source(d.From)]; len(codes) > most {
			most, instead = len(codes), codes[0]
		}
	}
	if instead == "" {
		err = &Conflict{"too many programs are being let in; try again in a few minutes"}
	}
	return instead, err
}

// BeginDevice makes the two codes of a program that wants in: the one that it keeps, and the one for the person. The ledger hears of it
// when somebody has answered.
func (c *Change) BeginDevice(from Browser) (device, user string, expires time.Time, err error) {
	c.Unanswered()
	instead, err := DevicePlace(c.Tx, from.Address)
	if err == nil && instead != "" {
		err = c.DeleteTicket(store.UserCode, instead)
	}
	if err == nil {
		device, err = c.secret("")
	}
	if err == nil {
		user, err = c.secret("")
	}
	if err != nil {
		return "", "", expires, err
	}
	user, expires = strings.ToUpper(user[:4]+"-"+user[4:8]), c.Now().Add(deviceWait)
	if len(from.Name) > 300 {
		from.Name = from.Name[:300]
	}
	return device, user, expires, errors.Join(c.PutTicket(store.DeviceCode, device, expires, user), c.PutTicket(store.UserCode, user, expires, Device{Code: user, From: from.Address, With: from.Name}))
}

// FindDevice returns the program that waits with that code.
func FindDevice(tx *store.Tx, code string) (d Device, expires time.Time, err error) {
	expires, err = tx.Ticket(store.UserCode, SignInText(code), &d)
	if errors.Is(err, store.ErrNotFound) || err == nil && (d.Denied || d.Session != nil) {
		err = ErrNoDevice
	}
	return d, expires, err
}

// AnswerDevice lets a program in as the person of a session at a browser, or does not.
func (c *Change) AnswerDevice(code, session string, yes bool) error {
	v, err := Visit(c.Tx, session)
	if errors.Is(err, store.ErrNotFound) || err == nil && v.Method == store.ByDevice {
		return &Refusal{"nobody is signed in any more, or who was has left"}
	} else if err != nil {
		return err
	}
	d, expires, err := FindDevice(c.Tx, code)
	if err != nil {
		return err
	}
	c.by.Name = v.Person
	kind := "owner.device_denied"
	if d.Denied = !yes; yes {
		s := v.Session
		s.Method = store.ByDevice
		d.Session, kind = &s, "owner.device_allowed"
	}
	return errors.Join(c.PutTicket(store.UserCode, d.Code, expires, d), c.record(kind, resourceOf(v.Session), string(v.Owner), "", map[string]string{"from": d.From}))
}

// TakeDevice gives a program that was let in its session, once.
func (c *Change) TakeDevice(device string, from Browser) (text string, s store.Session, err error) {
	d, err := WaitingDevice(c.Tx, device)
	if err != nil {
		return "", s, err
	}
	if list, err := c.Sessions(d.Session.Person); err != nil {
		return "", s, err
	} else if !slices.ContainsFunc(list, func(s store.Session) bool { return s.ID == d.Session.ID }) { // who let it in has signed out since, here or at their provider
		return "", s, ErrDeviceDenied
	}
	if text, s, err = c.Begin(*d.Session, from); err != nil {
		return "", s, err
	}
	if _, err = Visit(c.Tx, text); errors.Is(err, store.ErrNotFound) { // who let it in has left since
		return "", s, ErrDeviceDenied
	}
	return text, s, errors.Join(err, c.DeleteTicket(store.DeviceCode, device), c.DeleteTicket(store.UserCode, d.Code))
}

// WaitingDevice says whether a program may have its session now, or why not yet or not at all.
func WaitingDevice(tx *store.Tx, device string) (d Device, err error) {
	var user string
	if _, err = tx.Ticket(store.DeviceCode, device, &user); err == nil {
		_, err = tx.Ticket(store.UserCode, user, &d)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		err = ErrNoDevice
	case err == nil && d.Denied:
		err = ErrDeviceDenied
	case err == nil && d.Session == nil:
		err = ErrDeviceWaits
	}
	return d, err
}
