package google

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/lanyard-dev/lanyard/internal/connector"
)

// parameters are the method's own and those that every method has.
func (d *document) parameters(m *method) ([]connector.Parameter, error) {
	var list []connector.Parameter
	for _, name := range slices.Sorted(maps.Keys(m.Parameters)) {
		p, err := m.Parameters[name].parameter(name)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Parameters)) {
		if m.Parameters[name] != nil || uploads(name) {
			continue
		}
		p, err := d.Parameters[name].parameter(name)
		if err != nil {
			return nil, err
		}
		p.Refused, p.Silent = refused(name), silent(name)
		list = append(list, p)
	}
	for _, name := range []string{"access_token", "oauth_token", "key", "callback", "$.xgafv", "upload_protocol", "upload_id"} {
		if d.Parameters[name] == nil && m.Parameters[name] == nil {
			list = append(list, connector.Parameter{Name: name, Refused: refused(name)})
		}
	}
	return list, nil
}

// uploads are the legacy switches: at an upload path operation adds uploadType, elsewhere there is nothing to switch.
func uploads(name string) bool { return name == "uploadType" || name == "upload_protocol" }

// silent are the parameters that say how a reply is set, or whom to count it for.
func silent(name string) bool {
	return name == "prettyPrint" || name == "quotaUser" || name == "userIp"
}

func refused(name string) string {
	switch name {
	case "access_token", "oauth_token", "key":
		return "a credential does not belong in a query; the gateway adds the upstream's own"
	case "callback":
		return "JSONP is not let through"
	case "$.xgafv":
		return "another error format is not let through"
	case "upload_protocol", "upload_id":
		return "only a file is uploaded in several requests, with uploadType=resumable, and goes on at the address in the answer to the first; upload other things in one (uploadType media or multipart)"
	}
	return ""
}

func (p *parameter) parameter(name string) (connector.Parameter, error) {
	if p == nil {
		return connector.Parameter{}, fmt.Errorf("parameter %s is null", name)
	}
	q := connector.Parameter{Name: name, Path: p.Location == "path", Repeated: p.Repeated, Enum: p.Enum}
	switch p.Type {
	case "string", "number": // a number is left as it is written: policies compare whole numbers only
	case "boolean":
		q.Type = connector.Boolean
	case "integer":
		q.Type = connector.Integer
		switch p.Format {
		case "int32":
			q.Min, q.Max = math.MinInt32, math.MaxInt32
		case "uint32":
			q.Max = math.MaxUint32
		}
	default:
		return q, fmt.Errorf("parameter %s: type %q is not known", name, p.Type)
	}
	if p.Location != "path" && p.Location != "query" {
		return q, fmt.Errorf("parameter %s: location %q is not known", name, p.Location)
	}
	return q, nil
}
