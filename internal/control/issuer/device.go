package issuer

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// A program that has no browser has its person let it in at one (RFC 8628): lanyard login does.

const (
	devicePage  = "/console/device"
	deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"
	devicePoll  = 2 // seconds
)

func (i *Issuer) devices(mux *http.ServeMux) {
	mux.HandleFunc("POST /console/device/authorization", i.deviceAsks)
	mux.HandleFunc("POST /console/device/token", i.deviceTakes)
	mux.HandleFunc("GET "+devicePage, i.deviceSheet)
	mux.HandleFunc("POST "+devicePage, SameOrigin(i.deviceAnswer))
}

// deviceAsks is RFC 8628 section 3.1.
func (i *Issuer) deviceAsks(w http.ResponseWriter, r *http.Request) {
	if _, err := readForm(w, r); err != nil {
		replyError(w, r, err)
		return
	}
	var device, user string
	var expires time.Time
	err := i.Registry.Store.Read(r.Context(), func(tx *store.Tx) error { // who gets no place does not hold up those who write
		_, err := registry.DevicePlace(tx, r.RemoteAddr)
		return err
	})
	if err == nil {
		_, err = i.Registry.Do(r.Context(), registry.Actor{Name: registry.Self.Name, Source: r.RemoteAddr}, func(c *registry.Change) (err error) {
			device, user, expires, err = c.BeginDevice(browser(r))
			return err
		})
	}
	var busy *registry.Conflict
	if errors.As(err, &busy) {
		err = refuse("temporarily_unavailable", capital(busy.Text)+".")
	}
	if err != nil {
		replyError(w, r, err)
		return
	}
	reply(w, http.StatusOK, map[string]any{"device_code": device, "user_code": user, "verification_uri": i.URL + devicePage,
		"verification_uri_complete": i.URL + devicePage + "?user_code=" + url.QueryEscape(user), "expires_in": int(expires.Sub(i.Now()) / time.Second), "interval": devicePoll})
}

// deviceTakes is RFC 8628 section 3.4.
func (i *Issuer) deviceTakes(w http.ResponseWriter, r *http.Request) {
	form, err := readForm(w, r)
	if err == nil && (form["grant_type"] != deviceGrant || form["device_code"] == "") {
		err = refuse("unsupported_grant_type", "Only "+deviceGrant+" is taken here, with a device_code.")
	}
	if err == nil { // who asks before there is an answer does not hold up those who write
		err = i.Registry.Store.Read(r.Context(), func(tx *store.Tx) error { _, err := registry.WaitingDevice(tx, form["device_code"]); return err })
	}
	var text string
	var s store.Session
	if err == nil {
		_, err = i.Registry.Do(r.Context(), registry.Actor{Source: r.RemoteAddr}, func(c *registry.Change) (err error) {
			text, s, err = c.TakeDevice(form["device_code"], browser(r))
			return err
		})
	}
	switch {
	case errors.Is(err, registry.ErrDeviceWaits):
		err = refuse("authorization_pending", "Nobody has answered yet.")
	case errors.Is(err, registry.ErrDeviceDenied):
		err = refuse("access_denied", "It was not let in.")
	case errors.Is(err, registry.ErrNoDevice):
		err = refuse("expired_token", "There is no such code, or it has expired.")
	}
	if err != nil {
		replyError(w, r, err)
		return
	}
	reply(w, http.StatusOK, map[string]any{"access_token": text, "token_type": "Bearer", "expires_in": int(s.Expires.Sub(i.Now()) / time.Second)})
}

// deviceSheetData is the page on which a person lets a program in.
type deviceSheetData struct {
	Person, Code, From, With, Form, Wrong string
}

// person is who is signed in, owner or not, or nobody, who is sent to sign in.
func (i *Issuer) anyone(w http.ResponseWriter, r *http.Request) (v registry.Visitor, session string, ok bool) {
	v, session, err := i.Visitor(r)
	switch {
	case errors.Is(err, store.ErrNotFound):
		http.Redirect(w, r, "/signin?return="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
	case err != nil:
		i.trouble(w, r, identity.Owner{}, err)
	}
	return v, session, err == nil
}

func (i *Issuer) deviceSheet(w http.ResponseWriter, r *http.Request) {
	v, session, ok := i.anyone(w, r)
	if !ok {
		return
	}
	i.showDevice(w, r, v, session, r.URL.Query().Get("user_code"))
}

func (i *Issuer) showDevice(w http.ResponseWriter, r *http.Request, v registry.Visitor, session, code string) {
	s := deviceSheetData{Person: v.Name}
	status := http.StatusOK
	if code != "" {
		err := i.Registry.Store.Read(r.Context(), func(tx *store.Tx) error {
			d, _, err := registry.FindDevice(tx, code)
			s.Code, s.From, s.With = d.Code, d.From, d.With
			return err
		})
		if err == nil {
			s.Form, err = i.sealAnswer("device "+s.Code, session)
		}
		switch {
		case errors.Is(err, registry.ErrNoDevice):
			s.Code, s.Wrong, status = "", capital(err.Error())+".", http.StatusNotFound
		case err != nil:
			i.trouble(w, r, v.As, err)
			return
		}
	}
	i.page(w, r, status, nil, "device", s)
}

func (i *Issuer) deviceAnswer(w http.ResponseWriter, r *http.Request) {
	v, session, ok := i.anyone(w, r)
	if !ok {
		return
	}
	form, err := readForm(w, r)
	tell := func(status int, title, text string) {
		i.page(w, r, status, nil, "notice", notice{Title: title, Text: text, Person: v.Name})
	}
	if err != nil {
		tell(http.StatusBadRequest, "That did not work", "The form could not be read.")
		return
	}
	if form["request"] == "" {
		i.showDevice(w, r, v, session, form["user_code"])
		return
	}
	yes := form["decision"] == "yes"
	if _, err = i.unsealAnswer(r.Context(), form["request"], "device "+form["user_code"], session); err != nil {
		tell(http.StatusForbidden, "Nothing was let in", capital(err.Error())+".")
		return
	}
	_, err = i.Registry.Do(r.Context(), registry.Actor{Source: r.RemoteAddr}, func(c *registry.Change) error {
		return c.AnswerDevice(form["user_code"], session, yes)
	})
	var no *registry.Refusal
	switch {
	case errors.Is(err, registry.ErrNoDevice), errors.As(err, &no):
		tell(http.StatusForbidden, "Nothing was let in", capital(err.Error())+".")
	case err != nil:
		i.trouble(w, r, v.As, err)
	case yes:
		tell(http.StatusOK, "The program is let in", "It may do what you may, for a day. You can close this page; your sessions, this one among them, are listed in the console.")
	default:
		tell(http.StatusOK, "The program is not let in", "If you did not start it, somebody tried to have you let them in.")
	}
}
