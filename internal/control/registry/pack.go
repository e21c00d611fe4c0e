package registry

import (
	"errors"
	"fmt"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Unpack is the grants that a pack gives on an upstream, each with the name of its part for an id.
// what is the name of what is unpacked, for people.
func (c *Change) Unpack(what, pack, upstream string, more layer.Layers) ([]policy.Grant, error) {
	p, err := policy.FindPack(pack)
	if err != nil {
		return nil, &Invalid{what, "pack", err.Error()}
	}
	if _, err := layer.New(more); err != nil {
		field, text, _ := strings.Cut(err.Error(), ": ")
		return nil, &Invalid{what, "layers." + field, text}
	}
	u, err := c.Upstream(upstream)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &Invalid{what, "upstream", fmt.Sprintf("there is no upstream %q", upstream)}
	} else if err != nil {
		return nil, err
	}
	d, err := c.r.Describe(u)
	if err != nil {
		return nil, &Invalid{"upstream " + upstream, "description", err.Error()}
	}
	list, err := p.On(d, more)
	if err != nil {
		return nil, &Invalid{what, "upstream", err.Error()}
	}
	return list, nil
}

// PutPack gives an identity a pack on upstreams, in place of the pack that it had on each.
func (c *Change) PutPack(name, pack string, upstreams []string, more layer.Layers, until End) error {
	i, err := FindIdentity(c.Tx, name)
	if err != nil {
		return err
	}
	if len(upstreams) == 0 {
		return &Invalid{"pack " + pack, "upstreams", "say on which systems it is"}
	}
	had, err := c.Grants(i.ID)
	if err != nil {
		return err
	}
	given := map[string]bool{}
	for _, u := range upstreams {
		list, err := c.Unpack("pack "+pack, pack, u, more)
		if err != nil {
			return err
		}
		for _, g := range list {
			put, _, err := c.PutGrant(name, u+".pack-"+g.ID, g, until)
			if err != nil {
				return err
			}
			given[put.ID] = true
		}
		for _, g := range had {
			if strings.HasPrefix(g.ID, i.ID.Name()+"/"+u+".pack-") && !given[g.ID] {
				if err := c.RevokeGrant(g.ID, "Pack "+pack+" is in its place."); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
