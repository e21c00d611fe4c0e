package registry

import (
	"context"
	"strconv"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// KillBelow stops what an identity that was killed had started, and what that had. None
// of it can act since that kill, because its chain is not good any more: here it comes
// into the states, the credentials and the record, however much it is, and nobody waits.
func (c *Change) KillBelow(k Killed, reason string) (Killed, error) {
	if k.Root.IsZero() {
		return k, nil
	}
	if left, err := c.Orphaned(k.Root); err != nil || !left {
		return k, err
	}
	root, err := c.Identity(k.Root)
	if err != nil {
		return k, err
	}
	ids, credentials, err := c.Tx.Kill(k.ID, store.Selector{Below: k.Root})
	if err != nil {
		return k, err
	}
	k.Identities, k.Credentials = append(k.Identities[:len(k.Identities):len(k.Identities)], ids...), k.Credentials+credentials
	return k, c.record("identity.kill", root.ID.String(), string(root.Owner), reason, map[string]string{"kill": k.ID, "started_by": root.ID.Name(),
		"count": strconv.Itoa(len(ids)), "credentials": strconv.Itoa(credentials), "identities": someNames(ids)})
}

// tidied is how many at once: others want to write, too.
const tidied = 500

// Tidy does what can wait: it stops what was started by somebody who is stopped, if a
// kill could not do it, and forgets children that ended some time ago. What the ledger
// has of them stays, and neither their names nor their keys come again.
func (r *Registry) Tidy(ctx context.Context) error {
	var bereft []store.Bereft
	var over []identity.ID
	for {
		if err := r.Store.Read(ctx, func(tx *store.Tx) (err error) {
			if bereft, err = tx.Bereft(tidied); err != nil {
				return err
			}
			over, err = tx.Forgettable(tx.Now().Add(-r.keepEnded()), tidied)
			return err
		}); err != nil || len(bereft)+len(over) == 0 {
			return err
		}
		if _, err := r.Do(ctx, Self, func(c *Change) (err error) {
			for _, b := range bereft {
				if _, err := c.KillBelow(Killed{ID: b.Kill, Root: b.Identity}, "It was started by "+b.Identity.Name()+", which was stopped."); err != nil {
					return err
				}
			}
			return c.forgetChildren(over)
		}); err != nil {
			return err
		}
	}
}

func (c *Change) forgetChildren(over []identity.ID) error {
	if len(over) == 0 {
		return nil
	}
	for _, id := range over {
		if err := c.Forget(id); err != nil {
			return err
		}
	}
	return c.record("identity.forget", "children", "", "They ended more than "+c.r.keepEnded().String()+" ago.",
		map[string]string{"count": strconv.Itoa(len(over)), "identities": someNames(over)})
}

func (r *Registry) keepEnded() time.Duration {
	if r.KeepEnded <= 0 {
		return 24 * time.Hour
	}
	return r.KeepEnded
}
