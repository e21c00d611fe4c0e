package feed

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// held is one identity as the view has it: packed, and as a [Subject] while it is in use. Of most
// identities nothing is asked for hours, and what they are takes a quarter of the memory so.
// While anybody reads it, it never changes but for live: a change makes another.
type held struct {
	all  string // its ID and its [parts], one after the other: a million identities are a million pieces of memory to look through, not four
	live atomic.Pointer[Subject]
}

// parts are what is known of an identity, each packed.
type parts struct {
	identity    string // empty: only what is its own is known so far
	credentials string
	grants      string
}

func (p parts) of(id identity.ID) *held { return &held{all: p.all(nil, id)} }

// all is made in b, if that is large enough.
func (p parts) all(b []byte, id identity.ID) string {
	name := id.String()
	b = append(binary.AppendUvarint(b[:0], uint64(len(name))), name...)
	b = append(binary.AppendUvarint(b, uint64(len(p.identity))), p.identity...)
	b = append(binary.AppendUvarint(b, uint64(len(p.credentials))), p.credentials...)
	return string(append(b, p.grants...))
}

// parts are of nothing when there is nothing.
func (h *held) parts() (p parts) {
	if h == nil {
		return p
	}
	u := unpacker{s: h.all}
	u.text()
	p.identity, p.credentials, p.grants = u.text(), u.text(), u.s
	return p
}

// known reports whether there is more than what is its own.
func (h *held) known() bool { return h.parts().identity != "" }

func (h *held) id() identity.ID {
	u := unpacker{s: h.all}
	return identity.MustID(u.text()) // it was one
}

func (h *held) is(id identity.ID) bool {
	u := unpacker{s: h.all}
	return u.text() == id.String()
}

// words are strings that many things have in common, and shapes what many grants have. Both only grow, up to a bound
// behind which things hold their own; a new snapshot begins anew.
type words struct {
	index  map[string]uint64 // of Apply
	list   atomic.Pointer[[]string]
	shaped map[string]uint64 // of Apply, by what packer.key makes of a shape
	shapes atomic.Pointer[[]policy.Grant]
}

const (
	maxWords  = 1 << 16
	maxShapes = 4096
)

func newWords() *words {
	w := &words{index: map[string]uint64{}, shaped: map[string]uint64{}}
	w.list.Store(&[]string{})
	w.shapes.Store(&[]policy.Grant{})
	return w
}

// packer makes what unpacker reads. All numbers are varints; a text is its length and its bytes.
type packer struct {
	*words
	b      []byte
	common []byte // Cedar
	key    []byte // of a shape
}

func (p *packer) number(n uint64)  { p.b = binary.AppendUvarint(p.b, n) }
func (p *packer) signed(n int64)   { p.b = binary.AppendVarint(p.b, n) }
func (p *packer) text(s string)    { p.number(uint64(len(s))); p.b = append(p.b, s...) }
func (p *packer) raw(b []byte)     { p.number(uint64(len(b))); p.b = append(p.b, b...) }
func (p *packer) take() (s string) { s = string(p.b); p.b = p.b[:0]; return s }

// word is a string that is probably known: its number, or 0 and the text.
func (p *packer) word(s string) {
	n, ok := p.index[s]
	if !ok && len(p.index) < maxWords {
		s = strings.Clone(s)
		list := append(*p.list.Load(), s) // whoever reads has the list of before, which is as long as it was
		n, ok = uint64(len(list)), true
		p.index[s] = n
		p.list.Store(&list)
	}
	if p.number(n); !ok {
		p.text(s)
	}
}

// moment is a time in UTC, to the nanosecond: 0 for none, 1 and microseconds for what the store has, else 2.
func (p *packer) moment(t time.Time) {
	switch {
	case t.IsZero():
		p.number(0)
	case t.Nanosecond()%1000 == 0 && t.Year() > 1 && t.Year() < 10000:
		p.number(1)
		p.signed(t.UnixMicro())
	default:
		p.number(2)
		p.signed(t.Unix())
		p.number(uint64(t.Nanosecond()))
	}
}

// print is a thumbprint: 32 bytes in base64url mostly, which begin with a 1.
func (p *packer) print(s string) {
	var b [32]byte
	if n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(s)); len(s) == 43 && err == nil && n == 32 {
		p.b = append(append(p.b, 1), b[:]...)
		return
	}
	p.b = append(p.b, 0)
	p.text(s)
}

// name is the id of a credential: a prefix and a UUID mostly.
func (p *packer) name(s string) {
	if u, ok := strings.CutPrefix(s, identity.CredentialPrefix); ok && len(u) == 36 {
		var b [16]byte
		if n, err := hex.Decode(b[:], []byte(u[:8]+u[9:13]+u[14:18]+u[19:23]+u[24:])); err == nil && n == 16 && uuid(b[:]) == s {
			p.b = append(append(p.b, 1), b[:]...)
			return
		}
	}
	p.b = append(p.b, 0)
	p.text(s)
}

func uuid(b []byte) string {
	h := hex.EncodeToString(b)
	return identity.CredentialPrefix + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// has says which of several are there, in one number.
func has(list ...bool) (n uint64) {
	for i, is := range list {
		if is {
			n |= 1 << i
		}
	}
	return n
}

// identity packs all but the id, by which it is held.
func (p *packer) identity(i *identity.Identity) string {
	p.number(has(i.Backup != "", i.KilledBy != "", i.KilledFrom != "", i.Set != "", i.Client != (identity.Client{}), i.Tasks != "",
		i.Parent != (identity.Link{}), i.Inherits, i.Children != (identity.Children{})))
	p.word(string(i.State)) // here: retired reads no more
	p.word(string(i.Owner))
	p.text(i.Purpose)
	p.word(i.Environment)
	p.moment(i.Created)
	p.moment(i.Expires)
	p.number(i.Generation)
	p.signed(i.Version)
	if i.Backup != "" {
		p.word(string(i.Backup))
	}
	if i.KilledBy != "" {
		p.text(i.KilledBy)
	}
	if i.KilledFrom != "" {
		p.word(string(i.KilledFrom))
	}
	if i.Set != "" {
		p.word(i.Set)
	}
	if i.Client != (identity.Client{}) {
		p.text(i.Client.ID)
		p.text(i.Client.Name)
		p.text(string(i.Client.Person))
	}
	if i.Tasks != "" {
		p.word(i.Tasks)
	}
	if i.Parent != (identity.Link{}) {
		p.text(i.Parent.ID.String())
		p.number(i.Parent.Generation)
	}
	if i.Children != (identity.Children{}) {
		p.signed(int64(i.Children.AtOnce))
		p.signed(int64(i.Children.Depth))
	}
	return p.take()
}

func (p *packer) credentials(list []identity.Credential) string {
	for i := range list {
		c := &list[i]
		p.number(has(c.PublicKey != nil, c.KeyPrint != "", c.NotAfter != nil, !c.LastUsed.IsZero(), !c.Revoked.IsZero(), c.Provider != ""))
		p.name(c.ID)
		p.word(string(c.Kind))
		p.print(c.Thumbprint)
		p.moment(c.Created)
		p.moment(c.Expires)
		if c.PublicKey != nil {
			p.raw(c.PublicKey)
		}
		if c.KeyPrint != "" {
			p.print(c.KeyPrint)
		}
		if c.NotAfter != nil {
			p.moment(*c.NotAfter)
		}
		if !c.LastUsed.IsZero() {
			p.moment(c.LastUsed)
		}
		if !c.Revoked.IsZero() {
			p.moment(c.Revoked)
		}
		if c.Provider != "" {
			p.word(c.Provider)
		}
	}
	return p.take()
}

// grants packs grants of an identity; of their Cedar, what they have in common with others.
func (p *packer) grants(of identity.ID, list []policy.Grant) string {
	for i := range list {
		g := &list[i]
		rest, own := strings.CutPrefix(g.ID, of.Name()+"/")
		if !own {
			rest = g.ID
		}
		p.number(has(own, g.ForOthers, g.Plain, g.Record != "", g.Approve != "", g.Fresh != "", g.Set != ""))
		p.word2(own, rest)
		p.word(g.Upstream)
		p.moment(g.Until)
		p.shape(g)
		for _, s := range []string{g.Record, g.Approve, g.Fresh, g.Set} {
			if s != "" {
				p.word(s)
			}
		}
	}
	return p.take()
}

// word2 is a word if it is likely to be one.
func (p *packer) word2(likely bool, s string) {
	if likely {
		p.word(s)
	} else {
		p.text(s)
	}
}

// shape is what a grant says of actions, resources, arguments and layers: the number of what others say, too, or 0 and JSON.
func (p *packer) shape(g *policy.Grant) {
	p.common = g.AppendCommon(p.common[:0])
	p.key = appendKey(p.key[:0], p.common, g)
	n, ok := p.shaped[string(p.key)]
	if ok {
		p.number(n)
		return
	}
	s := policy.Grant{Cedar: string(p.common), Actions: g.Actions, Resources: g.Resources, Where: g.Where, Layers: g.Layers}
	if len(p.shaped) < maxShapes {
		list := append(*p.shapes.Load(), s)
		n, ok = uint64(len(list)), true
		p.shaped[string(p.key)] = n
		p.shapes.Store(&list)
	}
	if p.number(n); !ok {
		p.raw(encoded(s))
	}
}

// appendKey adds what tells one shape from another.
func appendKey(b, cedar []byte, s *policy.Grant) []byte {
	b = append(binary.AppendUvarint(b, uint64(len(cedar))), cedar...)
	for _, list := range [...][]string{s.Actions, s.Resources} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, text := range list {
			b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
		}
	}
	if b = append(b, 0); len(s.Where) > 0 {
		b = append(b, encoded(s.Where)...)
	}
	if b = append(b, 0); s.Layers != nil {
		b = append(b, encoded(s.Layers)...)
	}
	return b
}

// encoded is what came as JSON, as JSON.
func encoded(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
