// Package openapi recognises the requests that an OpenAPI 3.0 or 3.1 document
// (https://spec.openapis.org/oas/v3.1.1.html), in JSON or YAML, describes.
//
// Only what says how a request looks is read: paths, methods, parameters, and
// references among them. The upstream's URL stands for the document's servers. An
// action is an operationId or, without one, get.invoices.{id}. GET and HEAD
// read, DELETE deletes, all others write; x-lanyard-class on an operation says
// otherwise. A parameter whose style is not known here, and a credential in the
// query, is as good as not described: a request with one is refused.
package openapi

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v3"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// maxDocument is in bytes: several times the largest description in common use.
const maxDocument = 32 << 20

// Family makes connectors of OpenAPI documents.
func Family() connector.Family { return connector.Family{Name: "openapi", Open: Open} }

// Open takes a document.
func Open(description []byte) (connector.Connector, error) {
	d, err := parse(description)
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	operations, err := d.operations()
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	table, err := connector.NewTable(operations)
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	return table, nil
}

// document is the part of an OpenAPI document that says what requests look like.
type document struct {
	OpenAPI    string               `json:"openapi" yaml:"openapi"`
	Paths      map[string]*pathItem `json:"paths" yaml:"paths"`
	Components struct {
		Parameters map[string]*parameter `json:"parameters" yaml:"parameters"`
		Schemas    map[string]*schema    `json:"schemas" yaml:"schemas"`
		PathItems  map[string]*pathItem  `json:"pathItems" yaml:"pathItems"`
	} `json:"components" yaml:"components"`
}

type pathItem struct {
	Ref        string       `json:"$ref" yaml:"$ref"`
	Parameters []*parameter `json:"parameters" yaml:"parameters"`
	Get        *operation   `json:"get" yaml:"get"`
	Head       *operation   `json:"head" yaml:"head"`
	Post       *operation   `json:"post" yaml:"post"`
	Put        *operation   `json:"put" yaml:"put"`
	Patch      *operation   `json:"patch" yaml:"patch"`
	Delete     *operation   `json:"delete" yaml:"delete"`
	Options    *operation   `json:"options" yaml:"options"`
}

type operation struct {
	ID         string       `json:"operationId" yaml:"operationId"`
	Summary    string       `json:"summary" yaml:"summary"`
	Parameters []*parameter `json:"parameters" yaml:"parameters"`
	Class      policy.Class `json:"x-lanyard-class" yaml:"x-lanyard-class"`
}

func parse(b []byte) (*document, error) {
	d := &document{}
	if len(b) > maxDocument {
		return nil, fmt.Errorf("the document is larger than %d MiB", maxDocument>>20)
	}
	var err error
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		err = json.Unmarshal(b, d)
	} else {
		err = yaml.Unmarshal(b, d)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the document: %w", err)
	case !strings.HasPrefix(d.OpenAPI, "3.0.") && !strings.HasPrefix(d.OpenAPI, "3.1."):
		return nil, fmt.Errorf("the document's version is %q: 3.0 and 3.1 are understood", d.OpenAPI)
	case len(d.Paths) == 0:
		return nil, errors.New("the document has no paths")
	}
	return d, nil
}

func (d *document) operations() (list []connector.Operation, err error) {
	ids := map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		if strings.HasPrefix(path, "x-") {
			continue
		}
		item, err := d.item(d.Paths[path])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, m := range item.methods() {
			o, err := d.operation(m.method, path, item, m.operation)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", m.method, path, err)
			}
			if before := ids[o.Action.Name]; before != "" {
				return nil, fmt.Errorf("%s %s: operationId %s is that of %s too", m.method, path, o.Action.Name, before)
			}
			ids[o.Action.Name] = m.method + " " + path
			list = append(list, o)
		}
	}
	return list, nil
}

type methodOperation struct {
	method    string
	operation *operation
}

func (i *pathItem) methods() []methodOperation {
	all := []methodOperation{{"GET", i.Get}, {"HEAD", i.Head}, {"POST", i.Post}, {"PUT", i.Put}, {"PATCH", i.Patch}, {"DELETE", i.Delete}, {"OPTIONS", i.Options}}
	return slices.DeleteFunc(all, func(m methodOperation) bool { return m.operation == nil })
}

func (d *document) operation(method, path string, item *pathItem, o *operation) (connector.Operation, error) {
	out := connector.Operation{Method: method, Path: path, Action: policy.Action{Name: o.ID, Class: o.Class, Summary: o.Summary}}
	if out.Action.Name == "" {
		out.Action.Name = strings.ToLower(method) + strings.ReplaceAll(path, "/", ".") // so that globs work on it
	}
	if out.Action.Class == "" {
		out.Action.Class = class(method)
	}
	var err error
	out.Parameters, err = d.parameters(item.Parameters, o.Parameters)
	return out, err
}

func class(method string) policy.Class {
	switch method {
	case "GET", "HEAD", "OPTIONS":
		return policy.Read
	case "DELETE":
		return policy.Delete
	}
	return policy.Write
}
