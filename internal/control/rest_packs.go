package control

import (
	"context"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// PackInput is PUT /v1/identities/{name}/packs/{pack}.
type PackInput struct {
	Upstreams []string      `json:"upstreams" doc:"The mailboxes, drives and calendars that it is on" example:"[\"mail\",\"drive\"]" minItems:"1" maxItems:"50"`
	Layers    *layer.Layers `json:"layers,omitempty" doc:"What more is held back"`
	Until     string        `json:"until,omitempty" doc:"Its end; default the identity's expiry" example:"2027-01-31" maxLength:"64"`
}

// PackList is GET /v1/packs.
type PackList struct {
	Items []policy.Pack `json:"items"`
}

type identityPack struct {
	Caller
	Name string `path:"name" maxLength:"512"`
	Pack string `path:"pack" maxLength:"64"`
	Body PackInput
}

func (p *Plane) packRoutes(api door) {
	const tag = "packs"
	handle(api, "GET", "/packs", "list-packs", tag, "Sets of grants to pick from, and what each one stops", func(context.Context, *Caller) (PackList, error) {
		return PackList{policy.Packs()}, nil
	})
	handle(api, "PUT", "/identities/{name}/packs/{pack}", "put-pack", tag, "Give a pack on some upstreams, in place of the one that it had there", func(ctx context.Context, in *identityPack) (Changed, error) {
		until, err := registry.ParseEnd(in.Body.Until)
		if err != nil {
			return Changed{}, invalid("until: " + err.Error())
		}
		var more layer.Layers
		if in.Body.Layers != nil {
			more = *in.Body.Layers
		}
		return p.change(ctx, in.Caller, func(c *registry.Change) error {
			return c.PutPack(in.Name, in.Pack, in.Body.Upstreams, more, until)
		})
	})
}
