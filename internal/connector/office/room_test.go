package office

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// heap is how much is in use.
func heap() int64 {
	var m runtime.MemStats
	for range 3 { // what a pool keeps goes with the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestRoom: what a reply takes beside its text and one copy of it is taken into account, and given back.
func TestRoom(t *testing.T) {
	names := &strings.Builder{}
	for i := range 60_000 {
		fmt.Fprintf(names, `"%x":0,`, i)
	}
	for name, s := range map[string]string{
		"numbers":      `{"a":[` + strings.Repeat("0,", 200_000) + `0]}`,
		"lists":        `{"a":[` + strings.Repeat("[],", 200_000) + `0]}`,
		"objects":      `{"a":[` + strings.Repeat(`{"":{}},`, 100_000) + `0]}`,
		"escapes":      `{"a":[` + strings.Repeat(`"\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9",`, 50_000) + `0]}`,
		"many members": `{` + names.String() + `"-":0}`,
	} {
		var counted int64
		d := decoder{keeps: func(n int64) error { counted += n; return nil }}
		before := heap()
		v, ok := d.decode([]byte(s))
		if !ok {
			t.Fatalf("%s: it is not read", name)
		}
		taken := heap() - before - int64(len(s))
		if taken > counted+64<<10 {
			t.Errorf("%s: of %d bytes of text, %d are taken and %d counted", name, len(s), taken, counted)
		}
		runtime.KeepAlive(v)
		if d.done(); counted != 0 {
			t.Errorf("%s: %d do not come back", name, counted)
		}
	}
	full := errors.New("full")
	for _, s := range []string{`{"a":[` + strings.Repeat("0,", 2000) + `0]}`, `{"a":"\n` + strings.Repeat("x", 200<<10) + `"}`} {
		left := int64(100 << 10)
		d := decoder{keeps: func(n int64) error {
			if left < n {
				return full
			}
			left -= n
			return nil
		}}
		if _, err := d.reply("application/json", []byte(s)); !errors.Is(err, full) {
			t.Errorf("%.20s: %v", s, err)
		}
		if d.done(); left != 100<<10 {
			t.Errorf("%.20s: %d are left", s, left)
		}
	}
}

// TestRoomOfBodies: a body cannot take many times its text, since the maps that are made of it are not counted.
func TestRoomOfBodies(t *testing.T) {
	const most = 16 << 20
	for name, s := range map[string]string{
		"numbers": strings.Repeat("0,", 4<<20),
		"lists":   strings.Repeat("[],", 2<<20),
		"objects": strings.Repeat(`{"":0},`, 1<<20),
		"deep":    strings.Repeat(`[[[[]]]],`, 1<<20),
	} {
		b := []byte(`{"a":[` + s + `0]}`)
		before := allocated()
		o, err := JSON(b)
		if n := allocated() - before; err == nil || o != nil || n > most {
			t.Errorf("%s: %d bytes are allocated for %d, %v", name, n, len(b), err)
		}
		before = allocated()
		call := connector.Request{Body: b}
		(&Dialect{}).Says(&call, policy.Call{Action: "x"})
		if n := allocated() - before; n > most {
			t.Errorf("%s: %d bytes are allocated to say what %d bytes do", name, n, len(b))
		}
	}
	for _, s := range []string{strings.Repeat("x,[{", 1<<20), strings.Repeat("x", 30<<20)} { // text is text
		if _, err := JSON([]byte(`{"a":["` + s + `"]}`)); err != nil {
			t.Error(err)
		}
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
