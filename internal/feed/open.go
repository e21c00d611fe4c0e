package feed

import (
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// opened is the identity that changes: what is changed of it is unpacked, and packed again when another's turn
// comes, or at once if anybody reads the state. In a snapshot most of what is one identity's own comes one after the other.
type opened struct {
	id      identity.ID // zero: there is none
	at      place
	was     *held // nil: nothing was held
	changed bool
	parts
	has struct{ credentials, grants bool } // these stand in the place of what is packed

	credentialList []identity.Credential // their memory is used again for the next
	grantList      []policy.Grant
}

// open has an identity be the one that changes.
func (st *state) open(id identity.ID) *opened {
	o := &st.opened
	if o.id == id {
		return o
	}
	st.close()
	o.id = id
	o.was, o.at = st.subjects.find(id)
	o.parts = o.was.parts()
	return o
}

// known reports whether something of it is, or was.
func (o *opened) known() bool { return o.was != nil || o.changed }

// theirCredentials are for the caller to change.
func (o *opened) theirCredentials(st *state) *[]identity.Credential {
	if !o.has.credentials {
		o.credentialList = append(o.credentialList[:0], st.credentials(o.parts, o.id)...)
	}
	o.has.credentials = true
	return &o.credentialList
}

// theirGrants are for the caller to change.
func (o *opened) theirGrants(st *state) *[]policy.Grant {
	if !o.has.grants {
		o.grantList = append(o.grantList[:0], st.grants(o.parts, o.id)...)
	}
	o.has.grants = true
	return &o.grantList
}

// close has the state hold what the identity that changed is now.
func (st *state) close() {
	o := &st.opened
	if o.has.credentials {
		o.credentials = st.packer.credentials(o.credentialList)
	}
	if o.has.grants {
		o.grants = st.packer.grants(o.id, o.grantList)
	}
	if o.changed {
		st.hold(o.at, o.id, o.parts, o.was)
	}
	*o = opened{credentialList: o.credentialList, grantList: o.grantList}
}

// hold puts in what is held of an identity now, in the place of what was.
func (st *state) hold(at place, id identity.ID, p parts, was *held) {
	if was != nil && st == st.view.next { // nobody else reads it
		was.all = p.all(st.packer.b, id)
		return
	}
	st.subjects.put(at, id, p.of(id))
	if was != nil {
		was.pack()
	}
}
