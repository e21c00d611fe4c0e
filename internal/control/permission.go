package control

import (
	_ "embed"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// What people may do is Cedar, too: permissions.cedar, in the binary.

//go:embed permissions.cedar
var permissionsText []byte

// permissions are the rules.
var permissions = func() *cedar.PolicySet {
	set, err := cedar.NewPolicySetFromBytes("permissions.cedar", permissionsText)
	if err != nil {
		panic(err) // it is in the binary
	}
	return set
}()

// object is what an operation is done to.
type object struct {
	noun, name string
	owners     []identity.OwnerID // whose it is
	seen       []identity.OwnerID // who may see it, besides
}

// everything is nobody's.
var everything = object{noun: "everything"}

// plan is what is done to nothing: it is only looked at what it would do.
var plan = object{noun: "plan"}

// owned is what belongs to owner.
func owned(noun, name string, owner identity.OwnerID) object {
	return object{noun, name, []identity.OwnerID{owner}, nil}
}

// theirs is what a list is asked about of which somebody sees a part.
func theirs(v *registry.Visitor) object { return object{noun: "theirs", owners: v.Theirs} }

// permits reports whether a person may do an operation to what o is.
func permits(v *registry.Visitor, operation string, o object) bool {
	person := types.NewEntityUID("Person", types.String(v.Person))
	thing := types.NewEntityUID("Object", types.String(o.noun+"/"+o.name))
	if o.name == "" {
		thing.ID = types.String(o.noun)
	}
	roles := make([]types.EntityUID, len(v.Roles))
	for i, r := range v.Roles {
		roles[i] = types.NewEntityUID("Role", types.String(r))
	}
	entities := types.EntityMap{
		person: {UID: person, Parents: types.NewEntityUIDSet(roles...), Attributes: types.NewRecord(types.RecordMap{"theirs": names(v.Theirs)})},
		thing:  {UID: thing, Attributes: types.NewRecord(types.RecordMap{"owners": names(o.owners), "seen": names(append(slices.Clone(o.seen), o.owners...))})},
	}
	verdict, _ := cedar.Authorize(permissions, entities, cedar.Request{Principal: person, Action: types.NewEntityUID("Action", types.String(operation)), Resource: thing, Context: types.NewRecord(nil)})
	return verdict == cedar.Allow
}

func names(list []identity.OwnerID) types.Set {
	var values []types.Value
	for _, o := range list {
		if o != "" { // nobody owns nothing together with others
			values = append(values, types.String(o))
		}
	}
	return types.NewSet(values...)
}

// reach is how far a person gets with an operation.
type reach int

const (
	toNothing reach = iota
	toTheirs
	toAll
)

func reachOf(v *registry.Visitor, operation string) reach {
	switch {
	case permits(v, operation, everything):
		return toAll
	case permits(v, operation, theirs(v)), permits(v, operation, plan):
		return toTheirs
	}
	return toNothing
}
