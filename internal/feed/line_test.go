package feed_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

func TestLines(t *testing.T) {
	kill := feed.Change{Cursor: feed.Cursor{Epoch: "e", Seq: 7}, Kill: &feed.Kill{ID: "kill_1", Identities: []identity.ID{agent("a").Identity.ID}, At: time.Unix(1, 0).UTC()}}
	var wire []byte
	want := []feed.Line{{Version: 1, Trust: [][]byte{{1}}}, {Change: &kill}, {Alive: true}, {Trust: [][]byte{{2}}}, {Fault: &feed.Fault{Code: "compacted", Text: "x"}}}
	for _, l := range want {
		var err error
		if wire, err = l.Append(wire); err != nil {
			t.Fatal(err)
		}
	}
	r := feed.NewLineReader(bytes.NewReader(wire))
	for i, w := range want {
		got, err := r.Next()
		if err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("line %d: %+v %v, want %+v", i, got, err, w)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("the end is %v", err)
	}
}

// TestLinesRefused: what is not of the feed is refused, and what a newer control plane says is told as that.
func TestLinesRefused(t *testing.T) {
	const cursor = `"cursor":{"epoch":"e","seq":1}`
	for name, c := range map[string]struct{ line, says string }{
		"a kind of change that is unknown":    {`{"change":{` + cursor + `,"lease":{}}}`, `says "lease", which this gateway does not know: it is older than its control plane`},
		"a modifier that is unknown":          {`{"change":{` + cursor + `,"kill":{"id":"k"},"undone":true}}`, `"undone"`},
		"a kind of line that is unknown":      {`{"change":{` + cursor + `,"synced":true},"but":1}`, `"but"`},
		"a change that needs a newer gateway": {`{"needs":99,"change":{` + cursor + `,"synced":true}}`, "needs version 99"},
		"two things":                          {`{"alive":true,"change":{` + cursor + `,"synced":true}}`, "2 things"},
		"nothing":                             {`{}`, "0 things"},
		"a member twice":                      {`{"alive":true,"alive":true}`, "twice"},
		"a member twice within":               {`{"change":{` + cursor + `,"kill":{"id":"a","id":"b"}}}`, "twice"},
		"two things after each other":         {`{"change":{"grant":{"id":"a"}},"fault":{"code":"a"}}`, "2 things"},
		"two kinds of change":                 {`{"change":{"grant":{"id":"a"},"lease":{}}}`, `"lease"`},
		"a member twice in a grant":           {`{"change":{"grant":{"id":"a","id":"b"}}}`, "twice"},
		"a grant of another type":             {`{"change":{"grant":{"id":1}}}`, "another type"},
		"another case":                        {`{"Alive":true}`, `"Alive"`},
		"no JSON":                             {`HTTP/1.1 200 OK`, "no object"},
		"no object":                           {`[1]`, "no object"},
		"two values":                          {`{"alive":true}{"alive":true}`, "follows"},
		"no UTF-8":                            {"{\"alive\":true,\"\xff\":1}", "no JSON"},
		"another type":                        {`{"change":{` + cursor + `,"kill":[]}}`, "another type"},
		"half a line":                         {`{"alive":tr`, "unexpected EOF"},
	} {
		end := "\n"
		if name == "half a line" {
			end = ""
		}
		if l, err := feed.NewLineReader(strings.NewReader(c.line + end)).Next(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v %v", name, l, err)
		}
	}
	if l, err := feed.NewLineReader(strings.NewReader(`{"change":{"grant":{"id":"a"},"removed":true}}` + "\n")).Next(); err != nil || !l.Change.Removed || l.Change.Grant.ID != "a" {
		t.Errorf("what is removed is read as %+v, %v", l, err)
	}
	if l, err := feed.NewLineReader(strings.NewReader(`{"change":{` + cursor + `,"kill":{"id":"k","new":1}}}` + "\n")).Next(); err != nil || l.Change.Kill.ID != "k" {
		t.Errorf("what is unknown within what changed is not ignored: %v", err)
	}
}

// TestLineTooLong: what never ends is not read for ever.
func TestLineTooLong(t *testing.T) {
	n := 0
	_, err := feed.NewLineReader(readerFunc(func(b []byte) (int, error) { n += len(b); return len(b), nil })).Next()
	if err == nil || n > 80<<20 {
		t.Errorf("%v after %d bytes", err, n)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestFaults: what gateways tell apart is told apart at the other end.
func TestFaults(t *testing.T) {
	for _, err := range []error{feed.ErrCompacted, feed.ErrUsed, feed.ErrEvicted, feed.ErrCertificate, feed.ErrVersion, feed.ErrRefused} {
		got := carried(t, errors.Join(errors.New("why"), err))
		if !errors.Is(got, err) || !strings.Contains(got.Error(), "why") {
			t.Errorf("%v becomes %v", err, got)
		}
		for _, other := range []error{feed.ErrCompacted, feed.ErrUsed, feed.ErrEvicted} {
			if other != err && errors.Is(got, other) {
				t.Errorf("%v becomes %v", err, other)
			}
		}
	}
	for _, err := range []error{&feed.NoAccount{Text: "sign in", URL: "https://x"}, &feed.Spent{Task: "t", Kind: "calls", Limit: 5, Left: 1}, &feed.NotAsked{Why: "nobody"}} {
		if got := carried(t, err); !reflect.DeepEqual(got, err) {
			t.Errorf("%#v becomes %#v", err, got)
		}
	}
	if feed.FaultOf(errors.New("secret of the store")) != nil {
		t.Error("any error is told")
	}
}

func carried(t *testing.T, err error) error {
	t.Helper()
	var f feed.Fault
	b, e := json.Marshal(feed.FaultOf(err))
	if e == nil {
		e = json.Unmarshal(b, &f)
	}
	if e != nil {
		t.Fatal(e)
	}
	return f.Err()
}

// TestNothingSecretPrints: secrets travel in types of their own alone.
func TestNothingSecretPrints(t *testing.T) {
	const secret = "s3cret-s3cret-s3cret-s3cret-s3cret"
	for _, v := range []any{feed.Secret{Value: secret}, feed.Introduction{Token: secret}, feed.JoinToken{Secret: secret}} {
		if b, err := json.Marshal(v); err != nil || bytes.Contains(b, []byte(secret)) {
			t.Errorf("%T as JSON: %s %v", v, b, err)
		}
	}
	token := feed.JoinToken{Secret: secret, Fingerprint: strings.Repeat("f", 43), Name: "gw.fra-1"}
	if got, err := feed.ParseJoinToken(token.UnsafeText()); err != nil || got != token {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "lyd_join_", secret, "lyd_join_a.b.c", token.UnsafeText() + "/x", "lyd_admin_" + secret} {
		if _, err := feed.ParseJoinToken(bad); err == nil {
			t.Errorf("%q is a join token", bad)
		}
	}
}

// FuzzLine: no bytes make the reader panic, and what it takes it writes as what it reads again.
func FuzzLine(f *testing.F) {
	for _, s := range []string{`{"version":1,"trust":["AQ=="]}`, `{"alive":true}`, `{"fault":{"code":"compacted","text":"x"}}`, `{"needs":2,"alive":true}`, `{"change":{"cursor":{"epoch":"e","seq":1},"synced":true}}`,
		`{"change":{"cursor":{"epoch":"e","seq":3},"kill":{"id":"k","identities":["spiffe://lanyard.local/agent/a"],"at":"2026-11-23T12:00:00Z"}}}`, `{"a":1}`, "{", "\x00", `{"change":null}`} {
		f.Add([]byte(s + "\n"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := feed.NewLineReader(bytes.NewReader(b))
		for {
			l, err := r.Next()
			if err != nil {
				return
			}
			again, err := l.Append(nil)
			if err != nil {
				t.Fatalf("%+v cannot be written: %v", l, err)
			}
			if _, err := feed.NewLineReader(bytes.NewReader(again)).Next(); err != nil {
				t.Fatalf("%q became %q: %v", b, again, err)
			}
		}
	})
}
