package registry

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Diff is one field that differs. Secrets show as "set" and "changed" only.
type Diff struct {
	Field string `json:"field"`
	From  string `json:"from,omitempty"`
	To    string `json:"to,omitempty"`
}

func (d Diff) String() string { return d.From + " → " + d.To }

// Outcome is what putting something did. The zero Outcome: it was so already.
type Outcome struct {
	Created bool
	Fields  []Diff
}

// Changed reports whether anything was put.
func (o Outcome) Changed() bool { return o.Created || len(o.Fields) > 0 }

// detail is the outcome as an event tells it.
func (o Outcome) detail() map[string]string {
	d := map[string]string{}
	for _, f := range o.Fields {
		if o.Created {
			d[f.Field] = f.To
		} else {
			d[f.Field] = f.String()
		}
	}
	return d
}

// bookkeeping are members that nobody puts.
var bookkeeping = []string{"id", "name", "identity", "version", "created", "generation", "stopped", "killed_by", "killed_from", "state", "owner_name", "plain"}

// compare says how two values of a kind differ, by their JSON members.
func compare[T any](from, to T, created bool) Outcome {
	a, b := members(from), members(to)
	o := Outcome{Created: created}
	if created {
		a = nil
	}
	all := maps.Clone(b)
	maps.Copy(all, a)
	for _, field := range slices.Sorted(maps.Keys(all)) {
		if string(a[field]) != string(b[field]) {
			o.Fields = append(o.Fields, Diff{field, shown(field, a[field]), shown(field, b[field])})
		}
	}
	return o
}

func members(v any) map[string]json.RawMessage {
	b, err := json.Marshal(v)
	m := map[string]json.RawMessage{}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		panic(err) // our own values always encode
	}
	for field, value := range m {
		if s := string(value); s == `""` || s == "null" || s == "false" || s == "[]" || s == "{}" || slices.Contains(bookkeeping, field) && field != "name" || field == "name" && m["email"] == nil {
			delete(m, field)
		}
	}
	return m
}

// shown is a value for people: short, and without JSON's dress where it has none of its own.
func shown(field string, v json.RawMessage) string {
	var s string
	var list []string
	switch {
	case v == nil:
		return ""
	case (field == "description" || field == "jwks") && json.Unmarshal(v, new([]byte)) == nil:
		var b []byte
		json.Unmarshal(v, &b)
		if s = string(b); len(s) > 60 || strings.Contains(s, "\n") {
			return fmt.Sprintf("%d bytes", len(b))
		}
		return s
	case json.Unmarshal(v, &s) == nil:
	case json.Unmarshal(v, &list) == nil:
		s = strings.Join(list, ", ")
	default:
		s = string(v)
	}
	if s = strings.Join(strings.Fields(s), " "); len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}
