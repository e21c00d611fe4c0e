// Package connectortest is what every connector must pass: [Test] with a folder
// of requests, and [Check] as the property of a fuzz target.
package connectortest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Test holds c against the contract of [connector.Connector]. Each DIR/NAME.http
// is a request, and DIR/NAME.call.json what it must mean, or why it is refused;
// with GOLDEN=write the latter are written. Every request is then changed in ways
// that no connector may accept.
func Test(t *testing.T, c connector.Connector, dir string) {
	t.Helper()
	actions(t, c)
	files, err := filepath.Glob(filepath.Join(dir, "*.http"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no requests in %s (%v)", dir, err)
	}
	recognised := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".http"), func(t *testing.T) {
			r := read(t, file)
			golden(t, c, r, strings.TrimSuffix(file, ".http")+".call.json")
			if _, err := c.Recognise(r); err == nil {
				recognised++
				changed(t, c, r)
			}
		})
	}
	if recognised == 0 {
		t.Errorf("none of the requests in %s is recognised", dir)
	}
}

// Check holds one request against the contract: it is refused with
// ErrUnrecognised, or it is an action of the list, with arguments of its types.
func Check(t testing.TB, c connector.Connector, r *connector.Request) {
	t.Helper()
	call, err := c.Recognise(r)
	again, errAgain := c.Recognise(r)
	if !reflect.DeepEqual(call, again) || (err == nil) != (errAgain == nil) {
		t.Fatalf("%s %s?%s means %v, then %v", r.Method, r.Path, r.Query, call, again)
	}
	if err != nil {
		if !errors.Is(err, connector.ErrUnrecognised) {
			t.Fatalf("%s %s?%s: %v does not wrap ErrUnrecognised", r.Method, r.Path, r.Query, err)
		}
		if !reflect.DeepEqual(call, policy.Call{}) {
			t.Fatalf("%s %s?%s is refused and yet means %v", r.Method, r.Path, r.Query, call)
		}
		return
	}
	all := c.Actions()
	at := slices.IndexFunc(all, func(a policy.Action) bool { return a.Name == call.Action })
	if at < 0 || all[at].Class != call.Class || call.Upstream != "" {
		t.Fatalf("%s %s?%s means %+v, which is not in the list of actions", r.Method, r.Path, r.Query, call)
	}
	for name, v := range call.Arguments {
		n := slices.IndexFunc(all[at].Parameters, func(p policy.Parameter) bool { return p.Name == name })
		if n < 0 || all[at].Parameters[n].Type != kind(v) {
			t.Fatalf("%s %s?%s: argument %s = %v (%T) is not one of %s", r.Method, r.Path, r.Query, name, v, v, call.Action)
		}
	}
	for _, segment := range strings.Split(call.Resource, "/") {
		if segment == "." || segment == ".." || strings.ContainsAny(segment, "\\\x00\n") {
			t.Fatalf("%s %s?%s: resource %q can be misread", r.Method, r.Path, r.Query, call.Resource)
		}
	}
}

func kind(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case int64:
		return "integer"
	case bool:
		return "boolean"
	case []string:
		return "strings"
	}
	return "unknown"
}

func actions(t *testing.T, c connector.Connector) {
	t.Helper()
	all := c.Actions()
	if len(all) == 0 {
		t.Fatal("no actions")
	}
	seen := map[string]bool{}
	for _, a := range all {
		if a.Name == "" || seen[a.Name] {
			t.Errorf("action %q has no name, or another's", a.Name)
		}
		seen[a.Name] = true
		if !slices.Contains([]policy.Class{policy.Read, policy.Write, policy.Delete, policy.Admin}, a.Class) {
			t.Errorf("action %s has class %q", a.Name, a.Class)
		}
		for _, p := range a.Parameters {
			if p.Name == "" || !slices.Contains([]string{"string", "integer", "number", "boolean", "strings"}, p.Type) {
				t.Errorf("action %s: parameter %q has type %q", a.Name, p.Name, p.Type)
			}
		}
	}
}

// changed tries what must be refused whatever the description is.
func changed(t *testing.T, c connector.Connector, r *connector.Request) {
	t.Helper()
	with := func(change func(*connector.Request)) {
		t.Helper()
		q := *r
		change(&q)
		Check(t, c, &q)
		if call, err := c.Recognise(&q); err == nil {
			t.Errorf("%q %q ? %q means %+v", q.Method, q.Path, q.Query, call)
		}
	}
	for _, m := range []string{"", "get", "CONNECT", "TRACE", "PROPFIND", "GET ", r.Method + "\x00", strings.ToLower(r.Method)} {
		with(func(q *connector.Request) { q.Method = m })
	}
	for _, bad := range []string{"", "x", "//x", "/./x", "/../x", "/%2e%2e/x", "/%2E./x", "/a%2Fb", "/a%5Cb", "/a;b", "/a%3Bb", "/%00", "/%0A", "/%", "/%2", "/%zz", "/%252F", "/%FF", "/a b", "/a?b", "/a#b", "/\\", "/ü"} {
		with(func(q *connector.Request) { q.Path = bad })
		with(func(q *connector.Request) { q.Path += bad + "/%" })
		if len(bad) > 1 {
			with(func(q *connector.Request) { q.Path = bad + q.Path })
		}
	}
	for _, extra := range []string{"=", "a", "&", "%", "a=%", "a=%zz", "a=%00", "a;b=c", "a=b#c", "lanyard-unknown=1;x", "=x", "a=%FF"} {
		with(func(q *connector.Request) { q.Query = strings.TrimPrefix(q.Query+"&"+extra, "&"); q.Query += "&" })
		with(func(q *connector.Request) { q.Query = extra + "&" + q.Query + "&=" })
	}
}

func read(t *testing.T, file string) *connector.Request {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := textproto.NewReader(bufio.NewReader(bytes.NewReader(b)))
	line, err := in.ReadLine()
	f := strings.Fields(line)
	if err != nil || len(f) < 2 {
		t.Fatalf("%s: want METHOD target, then headers (%v)", file, err)
	}
	h, err := in.ReadMIMEHeader()
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("%s: %v", file, err)
	}
	path, query, _ := strings.Cut(f[1], "?")
	return &connector.Request{Method: f[0], Path: path, Query: query, Header: http.Header(h)}
}

// meaning is a call, or a refusal, as it stands in a golden file.
type meaning struct {
	Action    string         `json:"action,omitempty"`
	Class     policy.Class   `json:"class,omitempty"`
	Resource  string         `json:"resource,omitempty"`
	Arguments map[string]any `json:"arguments,omitempty"`
	Refused   string         `json:"refused,omitempty"`
}

func golden(t *testing.T, c connector.Connector, r *connector.Request, file string) {
	t.Helper()
	Check(t, c, r)
	call, err := c.Recognise(r)
	m := meaning{Action: call.Action, Class: call.Class, Resource: call.Resource, Arguments: call.Arguments}
	if err != nil {
		m.Refused = err.Error()
	}
	got, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if os.Getenv("GOLDEN") == "write" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (GOLDEN=write writes it)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("means\n%s, want\n%s", got, want)
	}
}
