package feed

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// unpacker reads what packer made, from memory that nobody else writes: it is whole.
type unpacker struct {
	*words
	s string
}

func (u *unpacker) number() (n uint64) {
	for shift := 0; ; shift += 7 {
		b := u.s[0]
		u.s = u.s[1:]
		if n |= uint64(b&0x7f) << shift; b < 0x80 {
			return n
		}
	}
}

func (u *unpacker) signed() int64 {
	n := u.number()
	return int64(n>>1) ^ -int64(n&1)
}

func (u *unpacker) bytes(n int) (s string) {
	s, u.s = u.s[:n], u.s[n:]
	return s
}

// text is one in the memory of what is packed.
func (u *unpacker) text() string { return u.bytes(int(u.number())) }

func (u *unpacker) word() string {
	if n := u.number(); n > 0 {
		return (*u.list.Load())[n-1]
	}
	return u.text()
}

func (u *unpacker) moment() time.Time {
	switch u.number() {
	case 0:
		return time.Time{}
	case 1:
		return time.UnixMicro(u.signed()).UTC()
	}
	sec := u.signed()
	return time.Unix(sec, int64(u.number())).UTC()
}

func (u *unpacker) print() string {
	if u.bytes(1) == "\x01" {
		return base64.RawURLEncoding.EncodeToString([]byte(u.bytes(32)))
	}
	return u.text()
}

func (u *unpacker) name() string {
	if u.bytes(1) == "\x01" {
		return uuid([]byte(u.bytes(16)))
	}
	return u.text()
}

func (u *unpacker) identity(id identity.ID) (i identity.Identity) {
	has := u.number()
	is := func(n int) bool { return has>>n&1 == 1 }
	i.ID = id
	i.State, i.Owner, i.Purpose, i.Environment = identity.State(u.word()), identity.OwnerID(u.word()), u.text(), u.word()
	i.Created, i.Expires = u.moment(), u.moment()
	i.Generation, i.Version, i.Inherits = u.number(), u.signed(), is(7)
	if is(0) {
		i.Backup = identity.OwnerID(u.word())
	}
	if is(1) {
		i.KilledBy = u.text()
	}
	if is(2) {
		i.KilledFrom = identity.State(u.word())
	}
	if is(3) {
		i.Set = u.word()
	}
	if is(4) {
		i.Client = identity.Client{ID: u.text(), Name: u.text(), Person: identity.OwnerID(u.text())}
	}
	if is(5) {
		i.Tasks = u.word()
	}
	if is(6) {
		if text := u.text(); text != "" {
			i.Parent.ID = identity.MustID(text) // it was one
		}
		i.Parent.Generation = u.number()
	}
	if is(8) {
		i.Children = identity.Children{AtOnce: int(u.signed()), Depth: int(u.signed())}
	}
	return i
}

func (u *unpacker) credentials(id identity.ID) (list []identity.Credential) {
	for len(u.s) > 0 {
		has := u.number()
		is := func(n int) bool { return has>>n&1 == 1 }
		c := identity.Credential{ID: u.name(), Identity: id, Kind: identity.CredentialKind(u.word()), Thumbprint: u.print(), Created: u.moment(), Expires: u.moment()}
		if is(0) {
			c.PublicKey = []byte(u.text())
		}
		if is(1) {
			c.KeyPrint = u.print()
		}
		if is(2) {
			t := u.moment()
			c.NotAfter = &t
		}
		if is(3) {
			c.LastUsed = u.moment()
		}
		if is(4) {
			c.Revoked = u.moment()
		}
		if is(5) {
			c.Provider = u.word()
		}
		list = append(list, c)
	}
	return list
}

func (u *unpacker) grants(id identity.ID) (list []policy.Grant) {
	for len(u.s) > 0 {
		has := u.number()
		is := func(n int) bool { return has>>n&1 == 1 }
		g := policy.Grant{Identity: id, ForOthers: is(1), Plain: is(2)}
		if is(0) {
			g.ID = id.Name() + "/" + u.word()
		} else {
			g.ID = u.text()
		}
		g.Upstream, g.Until = u.word(), u.moment()
		u.shape(&g)
		for n, s := range []*string{&g.Record, &g.Approve, &g.Fresh, &g.Set} {
			if is(3 + n) {
				*s = u.word()
			}
		}
		list = append(list, g)
	}
	return list
}

func (u *unpacker) shape(g *policy.Grant) {
	var s policy.Grant
	if n := u.number(); n > 0 {
		s = (*u.shapes.Load())[n-1]
	} else if err := json.Unmarshal([]byte(u.text()), &s); err != nil {
		panic(err) // we wrote it
	}
	g.Cedar, g.Actions, g.Resources, g.Where, g.Layers = s.Cedar, s.Actions, s.Resources, s.Where, s.Layers
}

// unpacked is what is held of an identity, unpacked. More than so many are unpacked only while they are read.
func (st *state) unpacked(h *held) *Subject {
	if s := h.live.Load(); s != nil {
		if !s.used.Load() {
			s.used.Store(true)
		}
		return s
	}
	s := st.copyOf(h)
	if !h.live.CompareAndSwap(nil, s) {
		if other := h.live.Load(); other != nil {
			return other
		}
		return s
	}
	st.view.unpacked.keep(h)
	return s
}

// copyOf is what is held of an identity, for who does not keep it.
func (st *state) copyOf(h *held) *Subject {
	p, id := h.parts(), h.id()
	s := &Subject{of: st, Credentials: st.credentials(p, id), Grants: st.grants(p, id)}
	if p.identity != "" {
		s.Identity = (&unpacker{st.words, p.identity}).identity(id)
	}
	return s
}

func (st *state) credentials(p parts, of identity.ID) []identity.Credential {
	return (&unpacker{st.words, p.credentials}).credentials(of)
}

func (st *state) grants(p parts, of identity.ID) []policy.Grant {
	return (&unpacker{st.words, p.grants}).grants(of)
}

// retired reports whether it is over for good with an identity; not when it is not known yet.
func (st *state) retired(p parts) bool {
	u := unpacker{st.words, p.identity}
	if p.identity == "" {
		return false
	}
	u.number()
	return identity.State(u.word()) == identity.Retired
}
