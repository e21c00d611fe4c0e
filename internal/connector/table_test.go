package connector

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/policy"
)

func table(t testing.TB, lines ...string) (*Table, error) {
	t.Helper()
	var list []Operation
	for i, l := range lines {
		m, p, _ := strings.Cut(l, " ")
		list = append(list, Operation{Method: m, Path: p, Action: policy.Action{Name: fmt.Sprint("a", i), Class: policy.Read}})
	}
	return NewTable(list)
}

func TestNarrowestWins(t *testing.T) {
	tab, err := table(t, "GET /files/{id}", "DELETE /files/trash", "GET /files/{id}/export", "POST /files/{id}:archive",
		"GET /v1/{name=shelves/*/books/*}", "GET /v1/{name=shelves/*}", "POST /v1/{name=shelves/*}:move", "GET /raw/{+path}", "GET /raw/index",
		"GET /odd/n-{x}.json", "GET /odd/{x}", "GET /end/", "GET /end")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ request, want string }{
		{"GET /files/7", "a0 files/7 map[id:7]"},
		{"GET /files/a%20b%25", "a0 files/a b% map[id:a b%]"},
		{"DELETE /files/trash", "a1 files/trash map[]"},
		{"GET /files/trash", ""}, // the literal path is meant, and lacks GET
		{"GET /files/trash/export", "a2 files/trash/export map[id:trash]"},
		{"POST /files/7:archive", "a3 files/7:archive map[id:7]"},
		{"POST /files/7%3Aarchive", ""},
		{"GET /files/7%3Aarchive", ""},
		{"GET /files/7:unknown", ""},
		{"GET /files/:archive", ""},
		{"GET /files/7:archive", ""},
		{"GET /v1/shelves/1/books/2", "a4 v1/shelves/1/books/2 map[name:shelves/1/books/2]"},
		{"GET /v1/shelves/1", "a5 v1/shelves/1 map[name:shelves/1]"},
		{"POST /v1/shelves/1:move", "a6 v1/shelves/1:move map[name:shelves/1]"},
		{"GET /v1/shelves", ""},
		{"GET /raw/a/b/c", "a7 raw/a/b/c map[path:a/b/c]"},
		{"GET /raw/index", "a8 raw/index map[]"},
		{"GET /raw/", ""},
		{"GET /raw/a/", ""},
		{"GET /odd/n-5.json", "a9 odd/n-5.json map[x:5]"},
		{"GET /odd/n-.json", "a10 odd/n-.json map[x:n-.json]"},
		{"GET /end/", "a11 end/ map[]"},
		{"GET /end", "a12 end map[]"},
		{"GET /files//export", ""},
		{"GET /Files/7", ""},
		{"GET /%66iles/7", ""},
		{"GET " + strings.Repeat("/x", 40), ""},
	} {
		m, p, _ := strings.Cut(c.request, " ")
		call, err := tab.Recognise(&Request{Method: m, Path: p})
		got := ""
		if err == nil {
			got = fmt.Sprintf("%s %s %v", call.Action, call.Resource, call.Arguments)
		} else if !errors.Is(err, ErrUnrecognised) {
			t.Errorf("%s: %v", c.request, err)
		}
		if got != c.want {
			t.Errorf("%s: %q (%v), want %q", c.request, got, err, c.want)
		}
	}
}

func TestRefusedAtOpen(t *testing.T) {
	for _, c := range []struct{ lines, want string }{
		{"GET /a/{x}|GET /a/{y}", "has the same form"},
		{"GET /a/{x}/c|POST /{y}/b/c", "ambiguous"},
		{"GET /a/b{x}|GET /a/{x}c", "ambiguous"},
		{"GET /v/{+n}:go|GET /v/{a}/{b}", "ambiguous"},
		{"GET /v/{+n}/x", "must stand last"},
		{"GET /a/{x}{y}", "one parameter a segment"},
		{"GET /a/{x}/{x}", "twice"},
		{"GET /a/{x", "braces"},
		{"GET /a/x}", "braces"},
		{"GET /a/{}", "no name"},
		{"GET a", "slash"},
		{"GET /a//b", "empty"},
		{"GET /a/../b", "no request can have it"},
		{"GET /a?b", "no ?"},
		{"get /a", "method"},
		{"GET /a/p{x=b/*}", "not supported"},
		{"GET /a/{x=b*}", "not supported"},
		{"GET " + strings.Repeat("/x", 33), "more than 32 segments"},
	} {
		if _, err := table(t, strings.Split(c.lines, "|")...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.lines, err, c.want)
		}
	}
	for _, ok := range []string{"GET /a/{x}|POST /a/{y}", "GET /a/{x}|GET /a/b", "GET /a/{x}:b|GET /a/{x}:c|GET /a/{y}", "GET /{+x}|GET /a/{y}|GET /a/b{y}|GET /a/{+z}", "GET /v/{+n}:go|GET /v/{+n}"} {
		if _, err := table(t, strings.Split(ok, "|")...); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
}

func TestBadRows(t *testing.T) {
	good := Operation{Method: "GET", Path: "/a/{x}", Action: policy.Action{Name: "n", Class: policy.Read}}
	for want, change := range map[string]func(*Operation){
		"class":                 func(o *Operation) { o.Action.Class = "" },
		"no name":               func(o *Operation) { o.Action.Name = "" },
		"has no parameter {y}":  func(o *Operation) { o.Resource = "/{y}" },
		"does not stand":        func(o *Operation) { o.Parameters = []Parameter{{Name: "y", Path: true}} },
		"path and in the query": func(o *Operation) { o.Parameters = []Parameter{{Name: "x"}} },
		"described twice":       func(o *Operation) { o.Parameters = []Parameter{{Name: "y"}, {Name: "y"}} },
		"more than 256":         func(o *Operation) { o.Parameters = make([]Parameter, 257); number(o.Parameters) },
		"is both":               func(o *Operation) { o.Path, o.Action.Class = "/b", policy.Write },
		"both string":           func(o *Operation) { o.Path, o.Parameters = "/b", []Parameter{{Name: "x", Repeated: true}} },
	} {
		bad := good
		change(&bad)
		if _, err := NewTable([]Operation{good, bad}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func number(list []Parameter) {
	for i := range list {
		list[i].Name = fmt.Sprint("p", i)
	}
}

func TestArguments(t *testing.T) {
	rows := []Operation{{Method: "GET", Path: "/a", Action: policy.Action{Name: "a", Class: policy.Read}, Parameters: []Parameter{
		{Name: "n", Type: Integer}, {Name: "small", Type: Integer, Max: 10}, {Name: "b", Type: Boolean}, {Name: "s"},
		{Name: "many", Repeated: true}, {Name: "list", Repeated: true, Commas: true, Enum: []string{"x", "y"}},
		{Name: "e", Enum: []string{"json", "media"}}, {Name: "quiet", Type: Boolean, Silent: true}, {Name: "key", Refused: "no keys"}}},
		{Method: "GET", Path: "/open/{id}", OpenQuery: true, Action: policy.Action{Name: "o", Class: policy.Read}, Parameters: []Parameter{{Name: "s"}}}}
	tab, err := NewTable(rows)
	if err != nil {
		t.Fatal(err)
	}
	many := func(s ...string) []string { return s }
	for _, c := range []struct {
		target string
		want   map[string]any
	}{
		{"/a", nil},
		{"/a?n=12&b=true&s=a%20b+c", map[string]any{"n": int64(12), "b": true, "s": "a b c"}},
		{"/a?n=-9223372036854775808", map[string]any{"n": int64(-1 << 63)}},
		{"/a?many=a&s=&many=b", map[string]any{"many": many("a", "b"), "s": ""}},
		{"/a?list=x,y", map[string]any{"list": many("x", "y")}},
		{"/a?quiet=true&e=media", map[string]any{"e": "media"}},
		{"/open/1?anything=x&s=y&anything=z", map[string]any{"id": "1", "s": "y"}},
	} {
		path, query, _ := strings.Cut(c.target, "?")
		call, err := tab.Recognise(&Request{Method: "GET", Path: path, Query: query})
		if err != nil || !reflect.DeepEqual(call.Arguments, c.want) && len(call.Arguments)+len(c.want) > 0 {
			t.Errorf("%s: %v, %v; want %v", c.target, call.Arguments, err, c.want)
		}
	}
	for _, query := range []string{"n=+1", "n=%2B1", "n=01", "n=-0", "n=1.0", "n=1e3", "n=0x1", "n=", "n= 1", "n=9223372036854775808", "small=11", "small=-1",
		"b=True", "b=1", "b=", "b", "s=1&s=2", "s=1&%73=2", "S=1", "unknown=1", "s=a;b", "s=%", "s=%00", "s=%FF", "s=a#b", "list=x%2Cy", "list=x,z", "list=x&list=y",
		"e=JSON", "e=proto", "quiet=yes", "quiet=true&quiet=true", "key=x", "&", "s=1&", "=1", "s"} {
		if call, err := tab.Recognise(&Request{Method: "GET", Path: "/a", Query: query}); !errors.Is(err, ErrUnrecognised) {
			t.Errorf("%s: %v, %v", query, call, err)
		}
	}
	for _, query := range []string{"id=2", "s=1&s=2", "x", "x=%zz"} {
		if call, err := tab.Recognise(&Request{Method: "GET", Path: "/open/1", Query: query}); !errors.Is(err, ErrUnrecognised) {
			t.Errorf("open, %s: %v, %v", query, call, err)
		}
	}
}

// FuzzTable: a table finds a path where and only where some template has its
// form, read by a regular expression, and none that fits is narrower.
func FuzzTable(f *testing.F) {
	f.Add("/files/{id}|/files/trash|/files/{id}/export|/files/{id}:archive", "/files/trash")
	f.Add("/raw/{+path}|/raw/index|/raw/{x=a/*}", "/raw/a/b")
	f.Add("/raw/{+path}:go|/raw/{+path}|/{x}/", "/raw/a/b:go")
	f.Add("/n-{x}.json|/{y}|/n-{x}.{z}", "/n-.json")
	f.Add("/{a=x/**}|/{b}:x", "/x/y%3Ax")
	f.Fuzz(func(t *testing.T, templates, target string) {
		var lines []string
		for _, s := range strings.Split(templates, "|") {
			lines = append(lines, "GET "+s)
		}
		tab, err := table(t, lines...)
		if err != nil {
			return
		}
		var p path
		if p.parse(target) != nil {
			return
		}
		var fits []*leaf
		for _, l := range leaves(&tab.root) {
			if expression(l.template).MatchString(strings.Join(p.segment[:p.n], "\x00")) {
				fits = append(fits, l)
			}
		}
		got := tab.root.find(&p, 0)
		if got == nil {
			if len(fits) > 0 && !strings.Contains(strings.Join(p.segment[:p.n], "/"), ":") {
				t.Fatalf("%s is not found in %s", target, templates)
			}
			return
		}
		found := false
		for _, l := range fits {
			found = found || l == got
			if r := l.template.relation(got.template); l != got && r != wider {
				t.Fatalf("%s of %s: %s is found, and %s fits", target, templates, got.template.text, l.template.text)
			}
		}
		if !found {
			t.Fatalf("%s of %s: %s is found, and does not fit", target, templates, got.template.text)
		}
		if l := got.rows["GET"]; len(l.captures) > 0 && l.captures[0].of(&p) == "" {
			t.Fatalf("%s of %s: an empty parameter", target, templates)
		}
	})
}

func leaves(n *node) (all []*leaf) {
	if n == nil {
		return nil
	}
	if n.leaf != nil {
		all = append(all, n.leaf)
	}
	for _, c := range n.literals {
		all = append(all, leaves(c)...)
	}
	for _, b := range append(append([]branch{}, n.parts...), n.rests...) {
		all = append(all, leaves(b.to)...)
	}
	return append(all, leaves(n.any)...)
}

func expression(t template) *regexp.Regexp {
	var s []string
	for _, g := range t.segments {
		switch q := regexp.QuoteMeta; g.kind {
		case literal:
			s = append(s, q(g.text))
		case wild:
			s = append(s, q(g.prefix)+`[^\x00]+`+q(g.suffix))
		case rest:
			s = append(s, `([^\x00]+\x00)*[^\x00]+`+q(g.suffix))
		}
	}
	return regexp.MustCompile(`(?s)\A` + strings.Join(s, `\x00`) + `\z`)
}
