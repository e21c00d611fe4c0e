package patterns

import (
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/connectortest"
)

const billing = `# what it looks like -> action class resource
GET  /invoices?status&page:integer&id:strings -> invoices.list read
GET  /invoices/{id}         -> invoices.get     read    /invoices/{id}  # one
POST /invoices/{id}:approve -> invoices.approve admin   /invoices/{id}

GET  /files/{path=**}?*     -> files.get        read`

func TestBilling(t *testing.T) {
	c, err := Open([]byte(billing))
	if err != nil {
		t.Fatal(err)
	}
	connectortest.Test(t, c, "testdata/billing")
}

func TestOpenRefuses(t *testing.T) {
	for lines, want := range map[string]string{
		"":                                       "there is none",
		"# nothing":                              "there is none",
		"GET /a -> a":                            "line 1: ",
		"GET /a => a read":                       "want METHOD",
		"\nget /a -> a read":                     "line 2: get /a: method",
		"GET /a -> a owner":                      "class",
		"GET /a/{x} -> a read /b/{y}":            "no parameter {y}",
		"GET /a?x:float -> a read":               "float",
		"GET /a?&x -> a read":                    "no name",
		"GET /{a} -> a read\nGET /{b} -> b read": "ambiguous",
		"GET /a -> a read x y":                   "want METHOD",
	} {
		if _, err := Open([]byte(lines)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", lines, err, want)
		}
	}
	_, err := Open([]byte("GET\nGET /a -> a read\nPUT"))
	if err == nil || !strings.Contains(err.Error(), "line 1") || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("%v does not name every bad line", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(billing)
	f.Fuzz(func(t *testing.T, lines string) {
		c, err := Open([]byte(lines))
		if (c == nil) == (err == nil) {
			t.Fatalf("%v and %v", c, err)
		}
		if err == nil {
			connectortest.Check(t, c, &connector.Request{Method: "GET", Path: "/invoices", Query: "page=1"})
		}
	})
}

func FuzzRecognise(f *testing.F) {
	f.Add("GET", "/invoices", "status=open&page=1&id=a&id=b")
	f.Add("POST", "/invoices/1:approve", "")
	f.Add("GET", "/files/a/b", "x=1")
	c, err := Open([]byte(billing))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path, query string) {
		connectortest.Check(t, c, &connector.Request{Method: method, Path: path, Query: query})
	})
}
