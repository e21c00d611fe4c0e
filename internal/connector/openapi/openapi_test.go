package openapi

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/connectortest"
)

func crm(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/crm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCRM(t *testing.T) {
	c, err := Open(crm(t))
	if err != nil {
		t.Fatal(err)
	}
	connectortest.Test(t, c, "testdata/crm")
}

// TestJSON: the same document in JSON means the same.
func TestJSON(t *testing.T) {
	var v map[string]any
	if err := yaml.Unmarshal(crm(t), &v); err != nil {
		t.Fatal(err)
	}
	paths := v["paths"].(map[string]any)
	delete(paths["/customers"].(map[string]any)["post"].(map[string]any), "responses") // its keys are numbers in YAML
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(b)
	if err != nil {
		t.Fatal(err)
	}
	connectortest.Test(t, c, "testdata/crm")
	d, err := Open(crm(t))
	if err != nil || !reflect.DeepEqual(c.Actions(), d.Actions()) {
		t.Errorf("actions differ (%v)", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for paths, want := range map[string]string{
		"":                           "no paths",
		"/a: ":                       "empty or missing",
		"/a: {$ref: './other.yaml'}": "only #/components/pathItems",
		"/a: {$ref: '#/components/pathItems/No'}":                                                      "empty or missing",
		"/a: {$ref: '#/components/pathItems/Loop'}":                                                    "circle",
		"/a: {get: {operationId: x}, put: {operationId: x}}":                                           "operationId x",
		"/a: {get: {parameters: [{name: q, in: query}, {name: q, in: query}]}}":                        "twice",
		"/a: {get: {parameters: [{in: query}]}}":                                                       "no name",
		"/a: {get: {parameters: [{name: id, in: path}]}}":                                              "does not stand in the path",
		"/a/{id}: {get: {parameters: [{name: id, in: query}]}}":                                        "path and in the query",
		"/a: {get: {parameters: [{name: q, in: query, schema: {$ref: '#/components/schemas/Loop'}}]}}": "circle",
		"/a: {get: {x-lanyard-class: owner}}":                                                          "class",
		"/a/{x}: {get: {}}\n  /a/{y}: {get: {}}":                                                       "ambiguous",
		"/a: {get: {}}\n  /a: {put: {}}":                                                               "already defined",
	} {
		doc := "openapi: 3.0.3\ncomponents: {pathItems: {Loop: {$ref: '#/components/pathItems/Loop'}}, schemas: {Loop: {$ref: '#/components/schemas/Loop'}}}\npaths:\n  " + paths
		if _, err := Open([]byte(doc)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", paths, err, want)
		}
	}
	for doc, want := range map[string]string{
		"":                               "version",
		"swagger: '2.0'\npaths: {/a: 1}": "reading",
		"openapi: 3.2.0":                 "version",
		`{"openapi":"3.1.0","paths":{},"paths":{}}`: "duplicate",
		"openapi: [": "reading",
	} {
		if _, err := Open([]byte(doc)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(string(crm(f)))
	f.Add(`{"openapi":"3.0.0","paths":{"/a/{id}":{"get":{"parameters":[{"name":"id","in":"path","schema":{"type":"integer"}}]}}}}`)
	f.Fuzz(func(t *testing.T, doc string) {
		c, err := Open([]byte(doc))
		if (c == nil) == (err == nil) {
			t.Fatalf("%v and %v", c, err)
		}
		if err == nil {
			connectortest.Check(t, c, &connector.Request{Method: "GET", Path: "/a/1", Query: "a=1"})
		}
	})
}

func FuzzRecognise(f *testing.F) {
	f.Add("GET", "/customers", "limit=20&tag=a&tag=b&fields=id,name&order=asc")
	f.Add("GET", "/customers/42", "")
	c, err := Open(crm(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path, query string) {
		connectortest.Check(t, c, &connector.Request{Method: method, Path: path, Query: query})
	})
}

func BenchmarkRecognise(b *testing.B) {
	c, err := Open(crm(b))
	if err != nil {
		b.Fatal(err)
	}
	r := &connector.Request{Method: "GET", Path: "/customers", Query: "limit=20&active=true"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Recognise(r); err != nil {
			b.Fatal(err)
		}
	}
}
