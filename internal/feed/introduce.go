package feed

import (
	"context"
	"time"
)

// Introducer is a Source that introduces callers to the agents that they call.
type Introducer interface {
	// Introduce returns a token with which the agent that the upstream is, and nobody else,
	// gets tokens on behalf of those behind access: the access token that a caller of the
	// upstream showed, which is verified again. It ends no later than that one.
	Introduce(ctx context.Context, upstream, access string) (Introduction, error)
}

// Introduction is of no use to anybody but the agent it is for. It never prints.
type Introduction struct {
	Token   string
	Expires time.Time
}

func (Introduction) String() string               { return "[introduction]" }
func (Introduction) GoString() string             { return "[introduction]" }
func (Introduction) MarshalText() ([]byte, error) { return []byte("[introduction]"), nil }
