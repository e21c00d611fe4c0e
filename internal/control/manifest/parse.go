package manifest

import (
	"path"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v3"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Manifest is what files say, as they say it: names are not resolved yet.
type Manifest struct {
	sets       map[string]bool
	owners     []owner
	upstreams  []upstream
	providers  []provider
	receivers  []receiver
	identities []subject
	guardrails []guardrail
	inputs     Inputs
	references []reference
	secrets    []SecretRef
	mistakes   Mistakes
}

type owner struct {
	at, backupAt place
	value        identity.Owner
}

type upstream struct {
	at, ownerAt, descriptionAt, oauthAt, agentAt place
	value                                        policy.Upstream
	agent                                        string // the name of the identity that it is
	secret                                       *secret
	client                                       *secret // of our client at its authorization server
}

type secret struct {
	at             place
	header, prefix string
	ref            SecretRef
}

type subject struct {
	at, ownerAt, backupAt, expiresAt place
	childrenAt                       place
	kind                             identity.Kind
	name                             string
	value                            identity.Identity // without ID and Expires
	expires                          registry.End
	credentials                      []credential
	grants                           []grant
	declared                         bool // credentials are listed
}

type credential struct {
	at        place
	kind      identity.CredentialKind
	publicKey []byte // JWK
	pem       []byte
	expires   registry.End
}

type grant struct {
	at      place
	fieldAt map[string]place // upstream, until, actions, conditions, cedar, ...
	name    string
	value   policy.Grant // without ID, Identity and Until
	pack    string       // whose grants these are, in place of value's actions
	until   registry.End
}

type guardrail struct {
	at, cedarAt place
	value       policy.Guardrail
}

// reference is a local file that a manifest names.
type reference struct {
	at   place
	path string
}

// Parse reads files. Every mistake that can be seen without knowing the current state is in the error, a [Mistakes].
func Parse(in Inputs) (*Manifest, error) {
	m := read(in)
	for _, f := range m.references {
		if _, ok := in.Attachments[f.path]; !ok {
			m.mistakes.add(f.at, "the file %s is not there, or cannot be read", f.path)
		}
	}
	return m, m.err()
}

// References names the local files and the secrets that the files need, to be
// handed to Parse beside them. Paths are relative to where the file names are.
func References(files []File) (paths []string, secrets []SecretRef, err error) {
	m := read(Inputs{Files: files})
	for _, f := range m.references {
		if !slices.Contains(paths, f.path) {
			paths = append(paths, f.path)
		}
	}
	for _, s := range m.secrets {
		if !slices.ContainsFunc(secrets, func(o SecretRef) bool { return o.Name == s.Name }) {
			secrets = append(secrets, s)
		}
	}
	return paths, secrets, m.err()
}

// err returns the mistakes in the order of their places, once each.
func (m *Manifest) err() error {
	if len(m.mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(m.mistakes, func(a, b Mistake) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	m.mistakes = slices.Compact(m.mistakes)
	return m.mistakes
}

func read(in Inputs) *Manifest {
	m := &Manifest{sets: map[string]bool{}, inputs: in}
	total := 0
	for _, f := range in.Files {
		total += len(f.Content)
	}
	if len(in.Files) > maxFiles || total > maxTotal {
		m.mistakes = Mistakes{{Text: "more than 500 files or 8 MiB at once; apply fewer"}}
		return m
	}
	for _, f := range in.Files {
		r := &reader{f.Name, &m.mistakes}
		for _, root := range r.documents(f.Content) {
			m.document(r, root)
		}
	}
	m.duplicates()
	return m
}

func (m *Manifest) document(r *reader, root *yaml.Node) {
	set, from := "", [6]int{len(m.owners), len(m.upstreams), len(m.identities), len(m.guardrails), len(m.providers), len(m.receivers)}
	r.object(root, "a manifest", fields{
		"set": func(n *yaml.Node) {
			if set = r.text(n, "set"); set != "" && !identity.ValidName(set) {
				r.wrong(n, "set %q is no name: 1 to 64 of a-z 0-9 . _ -", set)
			}
		},
		"owners":     r.named("owner", func(name string, k, v *yaml.Node) { m.owner(r, name, k, v) }),
		"upstreams":  r.named("upstream", func(name string, k, v *yaml.Node) { m.upstream(r, name, k, v) }),
		"providers":  r.named("provider", func(name string, k, v *yaml.Node) { m.provider(r, name, k, v) }),
		"receivers":  r.named("receiver", func(name string, k, v *yaml.Node) { m.receiver(r, name, k, v) }),
		"identities": r.named("identity", func(name string, k, v *yaml.Node) { m.identity(r, name, k, v) }),
		"packs":      func(n *yaml.Node) { m.packs(r, n) },
		"guardrails": r.named("guardrail", func(name string, k, v *yaml.Node) { m.guardrail(r, name, k, v) }),
	})
	if set == "" {
		return
	}
	m.sets[set] = true
	for i := range m.owners[from[0]:] {
		m.owners[from[0]+i].value.Set = set
	}
	for i := range m.upstreams[from[1]:] {
		m.upstreams[from[1]+i].value.Set = set
	}
	for i := range m.identities[from[2]:] {
		d := &m.identities[from[2]+i]
		d.value.Set = set
		for j := range d.grants {
			d.grants[j].value.Set = set
		}
	}
	for i := range m.guardrails[from[3]:] {
		m.guardrails[from[3]+i].value.Set = set
	}
	for i := range m.providers[from[4]:] {
		m.providers[from[4]+i].value.Set = set
	}
	for i := range m.receivers[from[5]:] {
		m.receivers[from[5]+i].value.Set = set
	}
}

// duplicates finds what is declared in two places.
func (m *Manifest) duplicates() {
	seen := map[string]place{}
	once := func(what, name string, at place) {
		if first, again := seen[what+" "+name]; again {
			m.mistakes.add(at, "%s %s is already at %s", what, name, first)
			return
		}
		seen[what+" "+name] = at
	}
	for _, o := range m.owners {
		once("owner", string(o.value.ID), o.at)
	}
	for _, u := range m.upstreams {
		once("upstream", u.value.Name, u.at)
	}
	for _, p := range m.providers {
		once("provider", p.value.Name, p.at)
	}
	for _, v := range m.receivers {
		once("receiver", v.value.Name, v.at)
	}
	for _, d := range m.identities {
		once("identity", d.name, d.at)
	}
	for _, g := range m.guardrails {
		once("guardrail", g.value.ID, g.at)
	}
}

func (m *Manifest) owner(r *reader, name string, key, n *yaml.Node) {
	o := owner{at: r.at(key), value: identity.Owner{ID: identity.OwnerID(name), State: identity.OwnerActive}}
	r.object(n, "an owner", fields{
		"name": &o.value.Name, "email": &o.value.Email, "team": &o.value.Team,
		"members": func(n *yaml.Node) {
			for _, m := range r.list(n, "members") {
				o.value.Members = append(o.value.Members, identity.OwnerID(m))
			}
		},
		"roles": func(n *yaml.Node) {
			o.value.Roles = []identity.Role{}
			for _, role := range r.list(n, "roles") {
				o.value.Roles = append(o.value.Roles, identity.Role(role))
			}
		},
		"backup": func(n *yaml.Node) { o.backupAt, o.value.Backup = r.at(n), identity.OwnerID(r.text(n, "backup")) },
	})
	if o.value.Name == "" {
		r.wrong(key, "owner %s needs a name", name)
	}
	if at := strings.LastIndexByte(o.value.Email, '@'); at < 1 || at == len(o.value.Email)-1 {
		r.wrong(key, "owner %s needs an email address", name)
	}
	m.owners = append(m.owners, o)
}

func (m *Manifest) guardrail(r *reader, name string, key, n *yaml.Node) {
	g := guardrail{at: r.at(key), cedarAt: r.at(key), value: policy.Guardrail{ID: name}}
	r.object(n, "a guardrail", fields{
		"description": &g.value.Description,
		"cedar":       func(n *yaml.Node) { g.cedarAt, g.value.Cedar = r.at(n), r.text(n, "cedar") },
	})
	if g.value.Cedar == "" {
		r.wrong(key, "guardrail %s needs cedar: 'forbid(...)'", name)
	}
	m.guardrails = append(m.guardrails, g)
}

// packs are sets of guardrails, each as if it were written out.
func (m *Manifest) packs(r *reader, n *yaml.Node) {
	for _, name := range r.list(n, "packs") {
		p, err := policy.FindPack(name)
		switch {
		case err != nil:
			r.wrong(n, "%s", err)
		case len(p.Guardrails) == 0:
			r.wrong(n, "pack %s is grants: name it in the grants of an identity", name)
		}
		for _, g := range p.Guardrails {
			m.guardrails = append(m.guardrails, guardrail{at: r.at(n), cedarAt: r.at(n), value: g})
		}
	}
}

func (m *Manifest) identity(r *reader, name string, key, n *yaml.Node) {
	d := subject{at: r.at(key), ownerAt: r.at(key), expiresAt: r.at(key), name: name,
		value: identity.Identity{Environment: "production"}}
	kind := ""
	r.object(n, "an identity", fields{
		"kind": func(n *yaml.Node) {
			if kind = r.text(n, "kind"); kind != "" && !identity.Kind(kind).Valid() {
				r.wrong(n, "kind %q%s", kind, didYouMean(kind, kinds()))
			}
		},
		"owner":       func(n *yaml.Node) { d.ownerAt, d.value.Owner = r.at(n), identity.OwnerID(r.text(n, "owner")) },
		"backup":      func(n *yaml.Node) { d.backupAt, d.value.Backup = r.at(n), identity.OwnerID(r.text(n, "backup")) },
		"purpose":     &d.value.Purpose,
		"environment": func(n *yaml.Node) { d.value.Environment = r.name(n, "environment") },
		"tasks":       &d.value.Tasks,
		"expires":     func(n *yaml.Node) { d.expiresAt, d.expires = r.at(n), r.end(n, "expires") },
		"children":    func(n *yaml.Node) { d.childrenAt, d.value.Children = r.at(n), r.children(n) },
		"credentials": func(n *yaml.Node) { d.declared, d.credentials = true, m.credentials(r, n) },
		"grants": r.named("grant", func(name string, key, value *yaml.Node) {
			d.grants = append(d.grants, r.grant(name, key, value))
		}),
	})
	d.kind = identity.Kind(kind)
	if kind == "" {
		r.wrong(key, "identity %s needs a kind: %s", name, strings.Join(kinds(), ", "))
	}
	if d.value.Owner == "" {
		r.wrong(key, "identity %s needs an owner, who is accountable for it", name)
	}
	if strings.TrimSpace(d.value.Purpose) == "" {
		r.wrong(key, "identity %s needs a purpose: one sentence on what it is for", name)
	}
	m.identities = append(m.identities, d)
}

func kinds() []string {
	var out []string
	for _, k := range identity.Kinds {
		out = append(out, string(k))
	}
	return out
}

func (r *reader) name(n *yaml.Node, what string) string {
	s := r.text(n, what)
	if s != "" && !identity.ValidName(s) {
		r.wrong(n, "%s %q is no name: 1 to 64 of a-z 0-9 . _ -", what, s)
	}
	return s
}

func (r *reader) end(n *yaml.Node, what string) registry.End {
	e, err := registry.ParseEnd(r.text(n, what))
	if err != nil {
		r.wrong(n, "%s: %v", what, err)
	}
	return e
}

// children reads how many an identity may start: {at_once: 100, depth: 2}.
func (r *reader) children(n *yaml.Node) identity.Children {
	k := identity.Children{Depth: 1}
	r.object(n, "children", fields{"at_once": func(n *yaml.Node) { k.AtOnce = r.integer(n, "at_once") }, "depth": func(n *yaml.Node) { k.Depth = r.integer(n, "depth") }})
	return k
}

func (r *reader) grant(name string, key, n *yaml.Node) grant {
	g := grant{at: r.at(key), name: name, fieldAt: map[string]place{}}
	v := &g.value
	list := func(field string, to *[]string) func(*yaml.Node) {
		return func(n *yaml.Node) { g.fieldAt[field], *to = r.at(n), r.list(n, field) }
	}
	r.object(n, "a grant", fields{
		"upstream":  func(n *yaml.Node) { g.fieldAt["upstream"], v.Upstream = r.at(n), r.text(n, "upstream") },
		"actions":   list("actions", &v.Actions),
		"resources": list("resources", &v.Resources),
		"conditions": func(n *yaml.Node) {
			g.fieldAt["conditions"], v.Where = r.at(n), map[string]policy.Condition{}
			r.members(n, "conditions", func(key, value *yaml.Node) {
				g.fieldAt["conditions."+key.Value], v.Where[key.Value] = r.at(key), r.condition(value)
			})
		},
		"cedar":           func(n *yaml.Node) { g.fieldAt["cedar"], v.Cedar = r.at(n), r.text(n, "cedar") },
		"record":          func(n *yaml.Node) { g.fieldAt["record"], v.Record = r.at(n), r.text(n, "record") },
		"approve":         func(n *yaml.Node) { g.fieldAt["approve"], v.Approve = r.at(n), r.text(n, "approve") },
		"fresh":           func(n *yaml.Node) { g.fieldAt["fresh"], v.Fresh = r.at(n), r.text(n, "fresh") },
		"until":           func(n *yaml.Node) { g.fieldAt["until"], g.until = r.at(n), r.end(n, "until") },
		"only_for_others": &v.ForOthers,
		"pack":            func(n *yaml.Node) { g.fieldAt["pack"], g.pack = r.at(n), r.text(n, "pack") },
		"layers":          func(n *yaml.Node) { g.fieldAt["layers"] = r.at(n); v.Layers = r.layers(n, g.fieldAt) },
	})
	if v.Plain = v.Cedar == ""; g.pack != "" && (len(v.Actions)+len(v.Resources)+len(v.Where) > 0 || v.Cedar != "" || v.Approve != "" || v.ForOthers || v.Record != "") {
		r.wrong(key, "grant %s is a pack: beside it stand upstream, layers and until alone", name)
	}
	if v.Upstream == "" {
		r.wrong(key, "grant %s needs an upstream", name)
	}
	return g
}

func (r *reader) condition(n *yaml.Node) (c policy.Condition) {
	r.object(n, "a condition", fields{
		"is":   func(n *yaml.Node) { c.Is = r.scalar(n, "is") },
		"like": &c.Like,
		"one_of": func(n *yaml.Node) {
			if n.Kind != yaml.SequenceNode {
				r.wrong(n, "one_of is to be a list: [one, two]")
			}
			for _, item := range n.Content {
				c.OneOf = append(c.OneOf, r.scalar(item, "one_of"))
			}
		},
		"min": func(n *yaml.Node) { c.Min = r.number(n, "min") },
		"max": func(n *yaml.Node) { c.Max = r.number(n, "max") },
	})
	return c
}

// file returns the content of a local file that n names, relative to the manifest.
func (m *Manifest) file(r *reader, n *yaml.Node) []byte {
	p := n.Value
	if !path.IsAbs(p) {
		p = path.Join(path.Dir(r.file), p)
	}
	m.references = append(m.references, reference{r.at(n), p})
	return m.inputs.Attachments[p]
}

func isPath(s string) bool {
	return strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../") || strings.HasPrefix(s, "/")
}

func (m *Manifest) credentials(r *reader, n *yaml.Node) (out []credential) {
	if n.Kind != yaml.SequenceNode {
		r.wrong(n, "credentials is to be a list: - public_key: ./x.jwk")
		return nil
	}
	for _, item := range n.Content {
		c := credential{at: r.at(item)}
		r.object(item, "a credential", fields{
			"public_key": func(n *yaml.Node) {
				c.at, c.kind = r.at(n), identity.PrivateKeyJWT
				switch {
				case n.Kind == yaml.MappingNode:
					jwk := map[string]string{}
					r.members(n, "public_key", func(key, value *yaml.Node) { jwk[key.Value] = r.scalar(value, key.Value) })
					c.publicKey, _ = json.Marshal(jwk, json.Deterministic(true))
				case isPath(n.Value):
					c.publicKey = m.file(r, n)
				default:
					c.publicKey = []byte(r.text(n, "public_key"))
				}
			},
			"certificate": func(n *yaml.Node) {
				c.at, c.kind = r.at(n), identity.Certificate
				if s := r.text(n, "certificate"); isPath(s) {
					c.pem = m.file(r, n)
				} else {
					c.pem = []byte(s)
				}
			},
			"expires": func(n *yaml.Node) { c.expires = r.end(n, "expires") },
		})
		if (c.publicKey == nil) == (c.pem == nil) && len(m.references) == 0 || c.kind == "" {
			r.wrong(item, "a credential is one public_key or one certificate; an API key is made with lanyard credential add")
		}
		out = append(out, c)
	}
	return out
}
