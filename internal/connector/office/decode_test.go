package office

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
)

// plainly is v as the library would have it.
func plainly(v *Value) any {
	switch {
	case v.IsObject():
		o := Object{}
		for m := range v.All() {
			o[m.Name()] = plainly(m)
		}
		return o
	case v.IsList():
		list := []any{}
		for _, one := range v.Items() {
			list = append(list, plainly(one))
		}
		return list
	case v.IsText():
		return v.Text()
	case v.is('0'):
		n, _ := json.Number(v.text).Float64()
		return n
	case v.Some():
		return v.IsTrue()
	}
	return nil
}

// FuzzDecode: what is read, and how, is what the library reads; and what is written is read as the same again.
func FuzzDecode(f *testing.F) {
	f.Add(`{"a":[1,-2.5e3,true,false,null,{"b":"x\"\\\u00e9\ud83d\ude00"}],"":{} , "c":"ü"}`)
	f.Add(" {\"a\" : [ ] , \"b\":[{},{\"c\":1},{\"c\":2}]}\n")
	f.Add(`{"a":1,"a":2}`)
	f.Add(`{"a":1,"\u0061":2}`)
	f.Add(`{"a":1e400}`)
	f.Add(`{"a":[01,+1,1.,.1,-,1e,1.0e5,-0]}`)
	f.Add("{\"a\":\"\xff\"}")
	f.Add("{\"a\":\"é\x01\"}")
	f.Add(`{"a":"\ud83d"}`)
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := Decode([]byte(s))
		var want Object
		err := jsonv2.Unmarshal([]byte(s), &want)
		if ok != (err == nil && want != nil) {
			t.Fatalf("%q: %v, and the library says %v", s, ok, err)
		}
		if !ok {
			return
		}
		if !reflect.DeepEqual(plainly(got), any(want)) {
			t.Fatalf("%q: %v, want %v", s, plainly(got), want)
		}
		out := got.Append(nil)
		var again Object
		if err := jsonv2.Unmarshal(out, &again); err != nil || !reflect.DeepEqual(again, want) {
			t.Fatalf("%q is written as %s", s, out)
		}
	})
}

// TestDecodeLikeTheLibrary has what a fuzzer does not come to: bounds, and objects of many members.
func TestDecodeLikeTheLibrary(t *testing.T) {
	many := func(names ...string) string { return `{"` + strings.Join(names, `":1,"`) + `":1}` }
	var names []string
	for i := range 200 {
		names = append(names, strings.Repeat("n", i/50)+string(rune('a'+i%50)))
	}
	for name, s := range map[string]string{
		"as deep as may be":     strings.Repeat(`{"":`, maxDepth) + "1" + strings.Repeat("}", maxDepth),
		"too deep":              strings.Repeat(`{"":`, maxDepth+1) + "1" + strings.Repeat("}", maxDepth+1),
		"lists too deep":        `{"":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + "}",
		"many members":          many(names...),
		"the last one twice":    many(slices.Concat(names, []string{names[199]})...),
		"the first one twice":   many(slices.Concat(names, []string{names[0]})...),
		"twice among few":       many(slices.Concat(names[:maxFew], []string{names[3]})...),
		"the last of few twice": many(slices.Concat(names[:maxFew+1], []string{names[maxFew]})...),
		"a name escaped twice":  many(slices.Concat(names[:5], []string{`\u0061`})...),
		"a large number":        `{"a":12345678901234567890123}`,
		"nothing":               "",
		"blanks":                " \n",
		"cut off":               `{"a":"b\`,
		"a word cut off":        `{"a":tru`,
		"more after it":         `{} {}`,
		"a list":                `[{}]`,
		"null":                  `null`,
		"a comma too many":      `{"a":1,}`,
		"in a list":             `{"a":[1,]}`,
		"no colon":              `{"a" 1}`,
		"a name of no quotes":   `{a:1}`,
		"another blank":         "{\"a\":\u00a01}",
		"a mark of order":       "\ufeff{}",
	} {
		var want Object
		err := jsonv2.Unmarshal([]byte(s), &want)
		got, ok := Decode([]byte(s))
		if ok != (err == nil && want != nil) || ok && !reflect.DeepEqual(plainly(got), any(want)) {
			t.Errorf("%s: %v, and the library says %v", name, ok, err)
		}
	}
}

// TestTooMany: a reply of more values than there is room for is not read.
func TestTooMany(t *testing.T) {
	for n, want := range map[int]bool{maxUncounted / 2: true, maxUncounted + 1: false} {
		if _, ok := Decode([]byte(`{"a":[` + strings.Repeat("0,", n) + `0]}`)); ok != want {
			t.Errorf("%d values: %v", n, ok)
		}
	}
}

// TestWritten: what is not changed is written as it was read, but for blanks and escapes, which are in one form.
func TestWritten(t *testing.T) {
	v, ok := Decode([]byte(` {"b" : 12345678901234567890123, "\u0061":["\u0040\/", "ü\u00fc\n", -0.10e2 ,true,null,{}] } `))
	if !ok {
		t.Fatal("it cannot be read")
	}
	if got, want := string(v.Append(nil)), `{"b":12345678901234567890123,"a":["@/","üü\n",-0.10e2,true,null,{}]}`; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
}

// FuzzWithhold: nothing of that name is left, however it is spelled and wherever it stands, and all else is what it was.
func FuzzWithhold(f *testing.F) {
	f.Add(`{"a":[{"x":1,"b":"x"},[{"\u0078":{"x":2}}]],"x":null}`)
	f.Add(`{ "a" : "x" }`)
	var without func(v any) any
	without = func(v any) any {
		switch v := v.(type) {
		case Object:
			delete(v, "x")
			for name, inner := range v {
				v[name] = without(inner)
			}
		case []any:
			for i, inner := range v {
				v[i] = without(inner)
			}
		}
		return v
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Withhold([]byte(s), nil, func(_, m *Value) bool { return m.Name() == "x" })
		v, ok := Decode([]byte(s))
		if (err == nil) != ok {
			t.Fatalf("%q: %v, and it is read: %v", s, err, ok)
		}
		if !ok {
			return
		}
		had := plainly(v)
		want, _ := Decode(got)
		if left := plainly(want); !reflect.DeepEqual(left, without(plainly(v))) {
			t.Fatalf("%q became %q", s, got)
		} else if reflect.DeepEqual(left, had) && string(got) != s {
			t.Fatalf("%q was spelled anew: %q", s, got)
		}
	})
}
