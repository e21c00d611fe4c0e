// Package patterns recognises requests from a few lines, for systems that have no
// description of their own:
//
//	# what it looks like          -> action           class   resource
//	GET    /invoices?status&page:integer -> invoices.list    read
//	GET    /invoices/{id}         -> invoices.get     read    /invoices/{id}
//	POST   /invoices/{id}:approve -> invoices.approve admin   /invoices/{id}
//	GET    /files/{path=**}?*     -> files.get        read
//
// Query parameters follow a question mark: name, name:integer, name:boolean or
// name:strings (it may stand there several times). Those not named are refused,
// or with * let through unread. The resource may be left out; it is the path then.
// Paths are the templates of [connector.Table]. A # begins a comment.
package patterns

import (
	"errors"
	"fmt"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Family makes connectors of patterns.
func Family() connector.Family { return connector.Family{Name: "patterns", Open: Open} }

// Open takes one pattern a line. It reports every bad line, each with its number.
func Open(description []byte) (connector.Connector, error) {
	var list []connector.Operation
	var wrong []error
	number := 0
	for line := range strings.Lines(string(description)) {
		number++
		if before, _, ok := strings.Cut(line, "#"); ok {
			line = before
		}
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		o, err := parse(line)
		if err == nil {
			_, err = connector.NewTable([]connector.Operation{o})
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("patterns: line %d: %w", number, err))
		}
		list = append(list, o)
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	if len(list) == 0 {
		return nil, errors.New("patterns: there is none")
	}
	table, err := connector.NewTable(list)
	if err != nil {
		return nil, fmt.Errorf("patterns: %w", err)
	}
	return table, nil
}

func parse(line string) (o connector.Operation, err error) {
	left, right, ok := strings.Cut(line, "->")
	request, meaning := strings.Fields(left), strings.Fields(right)
	if !ok || len(request) != 2 || len(meaning) < 2 || len(meaning) > 3 {
		return o, fmt.Errorf("%q: want METHOD /path/{x} -> action class /resource/{x}", line)
	}
	path, query, _ := strings.Cut(request[1], "?")
	o = connector.Operation{Method: request[0], Path: path, Action: policy.Action{Name: meaning[0], Class: policy.Class(meaning[1])}}
	if len(meaning) == 3 {
		o.Resource = meaning[2]
	}
	if query == "" {
		return o, nil
	}
	for name := range strings.SplitSeq(query, "&") {
		if name == "*" {
			o.OpenQuery = true
			continue
		}
		p, err := parameter(name)
		if err != nil {
			return o, err
		}
		o.Parameters = append(o.Parameters, p)
	}
	return o, nil
}

func parameter(s string) (connector.Parameter, error) {
	name, kind, typed := strings.Cut(s, ":")
	p := connector.Parameter{Name: name}
	switch {
	case name == "":
		return p, fmt.Errorf("a query parameter has no name")
	case !typed, kind == "string":
	case kind == "integer":
		p.Type = connector.Integer
	case kind == "boolean":
		p.Type = connector.Boolean
	case kind == "strings":
		p.Repeated = true
	default:
		return p, fmt.Errorf("query parameter %s: type %q: use string, integer, boolean or strings", name, kind)
	}
	return p, nil
}
