package registry

import (
	"errors"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// PutReceiver adds or changes a receiver. authorization is what it wants in that header; nil: what it has stays.
func (c *Change) PutReceiver(r identity.Receiver, authorization *string) (Outcome, error) {
	if r.Audience == "" {
		r.Audience = r.URL
	}
	if err := checkReceiver(r, authorization); err != nil {
		return Outcome{}, err
	}
	old, err := c.Receiver(r.Name)
	created := errors.Is(err, store.ErrNotFound)
	if err != nil && !created {
		return Outcome{}, err
	}
	if r.Stream = old.Stream; created {
		if r.Stream, err = c.newID("stream_"); err != nil {
			return Outcome{}, err
		}
	}
	r.Version, r.Secret = old.Version, old.Secret
	if authorization != nil {
		r.Secret = *authorization != ""
	} else if r.URL != old.URL { // what was for one server is shown to no other
		r.Secret = false
	}
	out := compare(old, r, created)
	if authorization != nil && r.Secret && old.Secret {
		if kept, err := c.Secret(store.ReceiverSecret(r.Name)); err != nil {
			return out, err
		} else if string(kept) != *authorization {
			out.Fields = append(out.Fields, Diff{"authorization", "set", "changed"})
		}
	}
	if !out.Changed() {
		return out, nil
	}
	r.Version++
	kind := "receiver.change"
	if created {
		kind = "receiver.add"
	}
	err = errors.Join(c.Tx.PutReceiver(r), c.record(kind, r.Name, "", "", out.detail()))
	switch {
	case err != nil:
	case !r.Secret:
		err = c.DeleteSecret(store.ReceiverSecret(r.Name))
	case authorization != nil:
		err = c.PutSecret(store.ReceiverSecret(r.Name), []byte(*authorization))
	}
	return out, err
}

func checkReceiver(r identity.Receiver, authorization *string) error {
	var wrong []error
	bad := func(field, text string) { wrong = append(wrong, &Invalid{"receiver " + r.Name, field, text}) }
	if !identity.ValidName(r.Name) {
		bad("", "a name is 1 to 64 of a-z 0-9 . _ -, beginning and ending with a letter or digit")
	}
	u, err := url.Parse(r.URL)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Contains(r.URL, "#") || u.Scheme != "https" && !(u.Scheme == "http" && fetch.Loopback(u.Hostname())) {
		bad("url", "it is to be https://host with a path, or http on this machine, without a user")
	}
	if authorization != nil && !httpguts.ValidHeaderFieldValue(*authorization) {
		bad("authorization", "it cannot be sent in HTTP")
	}
	return errors.Join(wrong...)
}

// RemoveReceiver removes a receiver. What it was still to be told it is not told any more.
func (c *Change) RemoveReceiver(name string) error {
	if err := c.DeleteReceiver(name); err != nil {
		return missing(err, "receiver", name)
	}
	return c.record("receiver.remove", name, "", "", nil)
}
