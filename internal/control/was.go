package control

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// same refuses a change of what is not any more what its author read: was is that, as it was given, null for nothing, and
// empty for who does not say. found is the error with which now was found. What follows from other things, follows takes out of both.
func same[T any](what string, was json.RawMessage, now T, found error, follows func(*T)) error {
	none := errors.Is(found, store.ErrNotFound)
	switch {
	case len(was) == 0:
		return nil
	case found != nil && !none:
		return found
	case string(was) == "null" && none:
		return nil
	case string(was) == "null":
		return &registry.Conflict{Text: what + " is there already; look at it, and change that"}
	case none:
		return &registry.Conflict{Text: what + " was removed since you read it"}
	}
	var read T
	if err := json.Unmarshal(was, &read); err != nil {
		return invalid("was: it is what was given when it was read, unchanged: " + err.Error())
	}
	follows(&read)
	follows(&now)
	a, err := json.Marshal(read)
	b, err2 := json.Marshal(now)
	if err == nil && err2 == nil && !bytes.Equal(a, b) {
		return &registry.Conflict{Text: what + " was changed by somebody since you read it; look at it again"}
	}
	return errors.Join(err, err2)
}

// sameGrant is same of an identity's grant.
func sameGrant(c *registry.Change, ref, part string, was json.RawMessage) error {
	i, err := registry.FindIdentity(c.Tx, ref)
	if err != nil {
		return err
	}
	id := i.ID.Name() + "/" + part
	now, err := c.Grant(id)
	return same("grant "+id, was, now, err, func(g *policy.Grant) {
		if g.Plain { // from its fields, and the upstream
			g.Cedar = ""
		}
	})
}
