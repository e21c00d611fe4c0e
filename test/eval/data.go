package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// suite is one set of tools with tasks: what an owner knows before any task begins.
type suite struct {
	Name  string
	Tools map[string]struct {
		Description string
		Params      []string
	}
	Directory any
}

// run is one recorded run of an agent.
type run struct {
	ID        string
	Suite     string
	UserTask  string `json:"user_task"`
	Injection string `json:"injection_task"` // empty: nobody attacks
	Prompt    string
	Calls     []call
	Mut       []int
	U         string `json:"u_table"`
	S         string `json:"s_table"`
}

// call is one call of a run. By is for scoring, and for the owner who is asked; nothing else looks at it.
type call struct {
	Tool   string         `json:"f"`
	Args   map[string]any `json:"a"`
	Result string         `json:"r"`
	Error  any            `json:"e"`
	By     string
}

func (c *call) attacks() bool { return c.By == "i" }

// load reads the data set in dir.
func load(dir string) (map[string]*suite, []*run, error) {
	b, err := os.ReadFile(filepath.Join(dir, "suites.json"))
	if err != nil {
		return nil, nil, err
	}
	suites := map[string]*suite{}
	if err := json.Unmarshal(b, &suites); err != nil {
		return nil, nil, fmt.Errorf("suites.json: %w", err)
	}
	for name, s := range suites {
		s.Name = name
	}
	f, err := os.Open(filepath.Join(dir, "obedient.jsonl.gz"))
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, nil, err
	}
	var runs []*run
	for d := json.NewDecoder(bufio.NewReader(z)); ; {
		r := &run{}
		err := d.Decode(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("obedient.jsonl.gz, run %d: %w", len(runs)+1, err)
		}
		if suites[r.Suite] == nil {
			return nil, nil, fmt.Errorf("run %s is of suite %q, which is not in suites.json", r.ID, r.Suite)
		}
		runs = append(runs, r)
	}
	if len(runs) == 0 {
		return nil, nil, errors.New("obedient.jsonl.gz holds no runs")
	}
	return suites, runs, nil
}

// outcome is what the tables say of a run in which the calls of those indexes were refused.
func (r *run) outcome(refused map[int]bool) (done, attacked bool) {
	mask := 0
	for i, at := range r.Mut {
		if refused[at] {
			mask |= 1 << i
		}
	}
	return bit(r.U, mask), r.Injection != "" && bit(r.S, mask)
}

func bit(table string, n int) bool {
	v, ok := new(big.Int).SetString(table, 16)
	return ok && v.Bit(n) == 1
}

// known is the suite's directory as an operator would write it into an upstream's provenance: who writes in the
// organisation's name, by what the directory calls them, and everything else.
func (s *suite) known() (k provenance.Known) {
	var take func(v any, member bool)
	take = func(v any, member bool) {
		switch v := v.(type) {
		case string:
			if member {
				k.Members = append(k.Members, v)
			} else {
				k.Contacts = append(k.Contacts, v)
			}
		case []any:
			for _, one := range v {
				take(one, member)
			}
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				take(v[name], member || isMembers(name))
			}
		}
	}
	take(s.Directory, false)
	return k
}

func isMembers(name string) bool {
	for _, word := range []string{"user", "member", "employee", "colleague", "staff", "account"} {
		if strings.Contains(strings.ToLower(name), word) {
			return true
		}
	}
	return false
}

// schema is the input schema of a tool: its parameters with the types that recorded calls give them, which its server
// would declare.
func (s *suite) schema(tool string, runs []*run) map[string]any {
	types := map[string]map[string]bool{}
	for _, r := range runs {
		for _, c := range r.Calls {
			if r.Suite != s.Name || c.Tool != tool {
				continue
			}
			for name, v := range c.Args {
				if types[name] == nil {
					types[name] = map[string]bool{}
				}
				types[name][typeOf(v)] = true
			}
		}
	}
	properties := map[string]any{}
	for _, name := range s.Tools[tool].Params {
		seen := slices.DeleteFunc(slices.Sorted(maps.Keys(types[name])), func(t string) bool { return t == "null" })
		switch {
		case len(seen) == 0:
			properties[name] = map[string]any{"type": "string"}
		case len(seen) > 1:
			properties[name] = map[string]any{}
		case seen[0] == "strings":
			properties[name] = map[string]any{"type": "array", "items": map[string]any{"type": "string"}}
		default:
			properties[name] = map[string]any{"type": seen[0]}
		}
	}
	return map[string]any{"type": "object", "properties": properties}
}

func typeOf(v any) string {
	switch v := v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case float64:
		return "number"
	case map[string]any:
		return "object"
	case []any:
		for _, one := range v {
			if _, ok := one.(string); !ok {
				return "array"
			}
		}
		return "strings"
	}
	return "null"
}
