package manifest

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

func (m *Manifest) upstream(r *reader, name string, key, n *yaml.Node) {
	u := upstream{at: r.at(key), ownerAt: r.at(key), descriptionAt: r.at(key),
		value: policy.Upstream{Name: name, Environment: "production"}}
	v := &u.value
	r.object(n, "an upstream", fields{
		"url": func(n *yaml.Node) {
			v.URL = r.text(n, "url")
			if p, err := url.Parse(v.URL); v.URL != "" && (err != nil || p.Scheme != "http" && p.Scheme != "https" || p.Host == "") {
				r.wrong(n, "url is to be http://host or https://host")
			}
		},
		"owner":        func(n *yaml.Node) { u.ownerAt, v.Owner = r.at(n), identity.OwnerID(r.text(n, "owner")) },
		"environment":  func(n *yaml.Node) { v.Environment = r.name(n, "environment") },
		"websocket":    &v.WebSocket,
		"status_list":  &v.StatusList,
		"agent":        func(n *yaml.Node) { u.agentAt, u.agent = r.at(n), r.text(n, "agent") },
		"chain_header": func(n *yaml.Node) { v.ChainHeader = r.scalar(n, "chain_header") },
		"description":  func(n *yaml.Node) { u.descriptionAt = r.at(n); m.description(r, n, v) },
		"credential":   func(n *yaml.Node) { u.secret = m.secret(r, n) },
		"oauth":        func(n *yaml.Node) { u.oauthAt = r.at(n); v.OAuth, u.client = m.oauth(r, n) },
		"provenance":   func(n *yaml.Node) { v.Provenance = provenanceOf(r, n) },
		"counters": func(n *yaml.Node) {
			v.Counters = map[string]policy.Counter{}
			r.members(n, "counters", func(key, value *yaml.Node) {
				var c policy.Counter
				r.object(value, "a counter", fields{
					"actions":  func(n *yaml.Node) { c.Actions = r.list(n, "actions") },
					"argument": &c.Argument,
				})
				v.Counters[key.Value] = c
			})
		},
		"consent": func(n *yaml.Node) {
			r.object(n, "consent", fields{
				"owners": func(n *yaml.Node) {
					for _, o := range r.list(n, "owners") {
						v.Consent.Owners = append(v.Consent.Owners, identity.OwnerID(o))
					}
				},
				"classes": func(n *yaml.Node) {
					for _, class := range r.list(n, "classes") {
						v.Consent.Classes = append(v.Consent.Classes, policy.Class(class))
					}
				},
			})
		},
		"classes": func(n *yaml.Node) {
			v.Classes = map[string]policy.Class{}
			r.members(n, "classes", func(key, value *yaml.Node) {
				class := policy.Class(r.text(value, "a class"))
				if class != "" && !slices.Contains(policy.Classes, class) {
					r.wrong(value, "class %q: use read, write, delete or admin", class)
				}
				if _, err := path.Match(key.Value, ""); err != nil {
					r.wrong(key, "%q is no pattern", key.Value)
				}
				v.Classes[key.Value] = class
			})
		},
	})
	if v.URL == "" && v.Family != "join" {
		r.wrong(key, "upstream %s needs a url", name)
	}
	if v.Family == "" {
		r.wrong(key, "upstream %s needs a description, as in description: {google: gmail/v1}", name)
	}
	m.upstreams = append(m.upstreams, u)
}

// provenanceOf reads what is known beforehand of where values on an upstream come from.
func provenanceOf(r *reader, n *yaml.Node) *policy.Provenance {
	p := &policy.Provenance{}
	r.object(n, "provenance", fields{
		"members":  func(n *yaml.Node) { p.Members = r.list(n, "members") },
		"contacts": func(n *yaml.Node) { p.Contacts = r.list(n, "contacts") },
		"roles": func(n *yaml.Node) {
			p.Roles = map[string]provenance.Role{}
			r.members(n, "roles", func(key, value *yaml.Node) { p.Roles[key.Value] = provenance.Role(r.text(value, "a role")) })
		},
		"effects": func(n *yaml.Node) {
			p.Effects = map[string]provenance.Effect{}
			r.members(n, "effects", func(key, value *yaml.Node) { p.Effects[key.Value] = provenance.Effect(r.text(value, "an effect")) })
		},
		"labels": func(n *yaml.Node) {
			p.Labels = map[string][]string{}
			r.members(n, "labels", func(key, value *yaml.Node) { p.Labels[key.Value] = r.list(value, "labels") })
		},
	})
	return p
}

// description reads {family: name, ./file or list of lines}.
func (m *Manifest) description(r *reader, n *yaml.Node, u *policy.Upstream) {
	r.members(n, "description", func(key, value *yaml.Node) {
		if u.Family != "" {
			r.wrong(key, "a description is of one family; it is already of %s", u.Family)
			return
		}
		u.Family = key.Value
		switch {
		case value.Kind == yaml.SequenceNode:
			u.Description = []byte(strings.Join(r.list(value, key.Value), "\n"))
		case isPath(value.Value):
			u.Description = m.file(r, value)
		default:
			u.Description = []byte(r.text(value, key.Value))
		}
	})
}

// oauth reads how an upstream is signed in to that wants OAuth of its own.
func (m *Manifest) oauth(r *reader, n *yaml.Node) (*policy.OAuth, *secret) {
	o := &policy.OAuth{Account: policy.Own}
	var client *secret
	var shared bool
	r.object(n, "oauth", fields{
		"issuer": &o.Issuer, "client_id": &o.Client, "shared": &shared,
		"client_secret": func(n *yaml.Node) { client = m.secret(r, n) },
		"scopes":        func(n *yaml.Node) { o.Scopes = r.list(n, "scopes") },
		"parameters": func(n *yaml.Node) {
			o.Parameters = map[string]string{}
			r.members(n, "parameters", func(key, value *yaml.Node) { o.Parameters[key.Value] = r.scalar(value, key.Value) })
		},
	})
	if shared {
		o.Account = policy.Shared
	}
	if client != nil && (client.header != "" || client.prefix != "") {
		r.wrong(n, "a client_secret has no header and no prefix; give value_from alone")
	}
	return o, client
}

// secret reads what the gateway shows the upstream: never the value itself, only where it is.
func (m *Manifest) secret(r *reader, n *yaml.Node) *secret {
	s := &secret{at: r.at(n)}
	from := 0
	r.object(n, "a credential", fields{
		"header": &s.header, "prefix": &s.prefix,
		"value": func(n *yaml.Node) {
			r.wrong(n, "a secret does not belong in a manifest; use value_from: {env: NAME} or {file: ./path}")
		},
		"value_from": func(n *yaml.Node) {
			r.object(n, "value_from", fields{
				"env": func(n *yaml.Node) {
					from++
					v := r.text(n, "env")
					s.at, s.ref = r.at(n), SecretRef{Name: "env:" + v, Env: v, At: r.at(n).String()}
				},
				"file": func(n *yaml.Node) {
					from++
					p := r.text(n, "file")
					if !path.IsAbs(p) {
						p = path.Join(path.Dir(r.file), p)
					}
					s.at, s.ref = r.at(n), SecretRef{Name: "file:" + p, File: p, At: r.at(n).String()}
				},
			})
		},
	})
	if from != 1 {
		r.wrong(n, "a credential needs value_from with env or file")
		return nil
	}
	m.secrets = append(m.secrets, s.ref)
	return s
}
