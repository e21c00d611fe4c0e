package manifest

import (
	"errors"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

type receiver struct {
	at      place
	fieldAt map[string]place
	value   identity.Receiver
	secret  *secret // what it wants in the Authorization header
}

func (m *Manifest) receiver(r *reader, name string, key, n *yaml.Node) {
	v := receiver{at: r.at(key), fieldAt: map[string]place{}, value: identity.Receiver{Name: name}}
	r.object(n, "a receiver", fields{
		"url":      func(n *yaml.Node) { v.fieldAt["url"], v.value.URL = r.at(n), r.text(n, "url") },
		"audience": &v.value.Audience,
		"authorization": func(n *yaml.Node) {
			v.fieldAt["authorization"], v.secret = r.at(n), m.secret(r, n)
			if v.secret != nil && v.secret.header != "" {
				r.wrong(n, "the authorization of a receiver goes into the Authorization header; leave header out")
			}
		},
	})
	m.receivers = append(m.receivers, v)
}

func (a *applying) receivers() error {
	for _, v := range a.m.receivers {
		name := v.value.Name
		a.places["receiver "+name] = fieldPlaces(v.at, v.fieldAt)
		var authorization *string
		if s, ok := a.value(v.secret, "authorization", "receiver", name, store.ReceiverSecret(name)); ok {
			s = v.secret.prefix + s
			authorization = &s
		}
		out, err := a.c.PutReceiver(v.value, authorization)
		if err := a.put("receiver", name, out, err); err != nil {
			return err
		}
	}
	return nil
}

// dropReceivers takes away those that belong to one of the sets and are in no file any more.
func (a *applying) dropReceivers() error {
	all, err := a.c.Receivers()
	for _, v := range all {
		if !a.m.sets[v.Set] || slices.ContainsFunc(a.m.receivers, func(o receiver) bool { return o.value.Name == v.Name }) {
			continue
		}
		if e := a.c.RemoveReceiver(v.Name); e != nil {
			err = errors.Join(err, a.note(e, "receiver "+v.Name))
			continue
		}
		a.plan.Steps = append(a.plan.Steps, Step{Op: Remove, Noun: "receiver", Name: v.Name, Note: "it is not told any more"})
	}
	return err
}
