package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Classes lists the classes of action, in the order shown to people.
var Classes = []Class{Read, Write, Delete, Admin}

// The names of the Cedar model.
const (
	actionType   = types.EntityType("Lanyard::Action")
	resourceType = types.EntityType("Lanyard::Resource")
	upstreamType = types.EntityType("Lanyard::Upstream")
)

// principalType is the Cedar entity type of a kind of identity.
func principalType(k identity.Kind) types.EntityType {
	switch k {
	case identity.Agent:
		return "Lanyard::Agent"
	case identity.Service:
		return "Lanyard::Service"
	case identity.Bot:
		return "Lanyard::Bot"
	case identity.APIKey:
		return "Lanyard::ApiKey"
	case identity.OAuthClient:
		return "Lanyard::OAuthClient"
	}
	return "Lanyard::Nobody"
}

// ClassOf is the class of an action on an upstream: what the operator says, else
// what the description says. Among the operator's patterns (path.Match) the longest wins.
func ClassOf(u Upstream, a Action) Class {
	class, longest := a.Class, -1
	for pattern, c := range u.Classes {
		if ok, _ := path.Match(pattern, a.Name); ok && len(pattern) > longest {
			class, longest = c, len(pattern)
		}
	}
	return class
}

// Described is an upstream with what can be done on it.
type Described struct {
	Upstream Upstream
	Actions  []Action
}

// Schema is the Cedar schema that policies on those upstreams are checked against.
func Schema(upstreams ...Described) string {
	var b strings.Builder
	b.WriteString(`namespace Lanyard {
  entity Agent, Service, Bot, ApiKey, OAuthClient {
    name: String, owner: String, environment: String
  };
  entity Upstream;
  entity Resource in [Upstream] {
    path: String, upstream: String, environment: String
  };
`)
	for _, c := range Classes {
		writeAction(&b, string(c), nil, nil)
	}
	done := map[string]bool{"read": true, "write": true, "delete": true, "admin": true}
	for _, d := range upstreams {
		for _, a := range d.Actions {
			if done[a.Name] {
				continue
			}
			done[a.Name] = true
			parents, parameters := merged(a.Name, upstreams)
			writeAction(&b, a.Name, parents, parameters)
		}
	}
	b.WriteString("}\n")
	return b.String()
}

// merged joins the actions of one name of several upstreams: a policy over all may meet any of them.
func merged(name string, upstreams []Described) (parents []Class, parameters []Parameter) {
	for _, d := range upstreams {
		for _, a := range d.Actions {
			if a.Name != name {
				continue
			}
			if c := ClassOf(d.Upstream, a); !slices.Contains(parents, c) {
				parents = append(parents, c)
			}
			for _, p := range a.Parameters {
				if !slices.ContainsFunc(parameters, func(q Parameter) bool { return q.Name == p.Name }) {
					parameters = append(parameters, p)
				}
			}
		}
	}
	return parents, parameters
}

func writeAction(b *strings.Builder, name string, parents []Class, parameters []Parameter) {
	fmt.Fprintf(b, "  action %s", quote(name))
	if len(parents) > 0 {
		in := make([]string, len(parents))
		for i, p := range parents {
			in[i] = quote(string(p))
		}
		fmt.Fprintf(b, " in [%s]", strings.Join(in, ", "))
	}
	b.WriteString(" appliesTo {\n    principal: [Agent, Service, Bot, ApiKey, OAuthClient], resource: [Resource],\n    context: { now: datetime, source: String, args: {")
	for i, p := range parameters {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(b, " %s?: %s", quote(p.Name), cedarTypes[p.Type])
	}
	b.WriteString(" } }\n  };\n")
}

var cedarTypes = map[string]string{"string": "String", "integer": "Long", "boolean": "Bool", "strings": "Set<String>"}

func quote(s string) string { return string(types.String(s).MarshalCedar()) }

// validateAll checks policies against the schema of upstreams.
func validateAll(policies cedar.PolicyList, upstreams ...Described) error {
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(Schema(upstreams...))); err != nil {
		return fmt.Errorf("schema of the upstreams: %w", err)
	}
	resolved, err := s.Resolve()
	if err != nil {
		return fmt.Errorf("schema of the upstreams: %w", err)
	}
	v := validate.New(resolved)
	for i, p := range policies {
		if err := v.Policy(fmt.Sprint("policy ", i+1), (*xast.Policy)(p.AST())); err != nil {
			return err
		}
	}
	return nil
}
