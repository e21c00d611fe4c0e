package control

import (
	"context"

	"github.com/lanyard-dev/lanyard/internal/feed"
)

var _ feed.Introducer = source{}

// Introduce has the issuer introduce who calls the agent that an upstream is.
func (s source) Introduce(ctx context.Context, upstream, access string) (feed.Introduction, error) {
	return s.p.issuer.Introduce(ctx, upstream, access, s.gateway)
}
