package registry

import (
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// ChainHeader is where an upstream is told who is behind a request, unless it says another header.
const ChainHeader = "Lanyard-Chain"

// checkTold judges what an upstream is told of who is behind a request.
func checkTold(u *policy.Upstream) error {
	bad := func(field, text string) error { return &Invalid{"upstream " + u.Name, field, text} }
	switch u.ChainHeader {
	case "true":
		u.ChainHeader = ChainHeader
	case "false":
		u.ChainHeader = ""
	}
	switch {
	case u.Agent.Kind() == identity.Person:
		return bad("agent", "a person is no agent")
	case u.Family == "join" && (u.ChainHeader != "" || !u.Agent.IsZero()):
		return bad("chain_header", "one that joins others sends no request of its own and is no agent; say it where they are")
	case u.ChainHeader == "":
		return nil
	}
	u.ChainHeader = textproto.CanonicalMIMEHeaderKey(u.ChainHeader)
	ours := u.ChainHeader == ChainHeader || strings.HasPrefix(u.ChainHeader, "X-")
	if !ours || !httpguts.ValidHeaderFieldName(u.ChainHeader) || strings.Contains(u.ChainHeader, "_") || u.ChainHeader == u.Header {
		return bad("chain_header", "it is to be true, for "+ChainHeader+", or a header of its own that begins with X-")
	}
	return nil
}

// AgentID finds the identity that an upstream is said to be, among those that are to be
// registered with it and those that are.
func (c *Change) AgentID(ref string, coming map[string]identity.Kind) (identity.ID, error) {
	if ref == "" {
		return identity.ID{}, nil
	}
	for _, name := range []string{ref, ref[strings.LastIndexByte(ref, '/')+1:]} {
		if kind, ok := coming[name]; ok && slices.Contains([]string{name, string(kind) + "/" + name}, ref) {
			return identity.NewID(c.r.Domain, kind, name)
		}
	}
	i, err := FindIdentity(c.Tx, ref)
	return i.ID, err
}
