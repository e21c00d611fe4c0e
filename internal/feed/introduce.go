package feed

import "time"

// Introduction is of no use to anybody but the agent it is for. It never prints.
type Introduction struct {
	Token   string
	Expires time.Time
}

func (Introduction) String() string               { return "[introduction]" }
func (Introduction) GoString() string             { return "[introduction]" }
func (Introduction) MarshalText() ([]byte, error) { return []byte("[introduction]"), nil }
