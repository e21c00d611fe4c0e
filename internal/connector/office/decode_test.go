package office

import (
	"reflect"
	"testing"

	"github.com/go-json-experiment/json"
)

// FuzzDecode: what is read, and how, is what the library reads; and what is written is read as the same again.
func FuzzDecode(f *testing.F) {
	f.Add(`{"a":[1,-2.5e3,true,false,null,{"b":"x\"\\\u00e9\ud83d\ude00"}],"":{} , "c":"ü"}`)
	f.Add(" {\"a\" : [ ] , \"b\":[{},{\"c\":1},{\"c\":2}]}\n")
	f.Add(`{"a":1,"a":2}`)
	f.Add(`{"a":1e400}`)
	f.Add("{\"a\":\"\xff\"}")
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := decode([]byte(s))
		var want Object
		err := json.Unmarshal([]byte(s), &want)
		if ok != (err == nil && want != nil) {
			t.Fatalf("%q: %v, and the library says %v", s, ok, err)
		}
		if !ok {
			return
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %v, want %v", s, got, want)
		}
		out, err := encode(nil, got)
		if err != nil {
			t.Fatal(err)
		}
		if again, ok := decode(out); !ok || !reflect.DeepEqual(again, got) {
			t.Fatalf("%q is written as %s", s, out)
		}
	})
}
