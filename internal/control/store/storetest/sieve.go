package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// sieves: a search passes over what it does not select, and finds the same before there are sieves, with them, and as they are made.
func sieves(t *testing.T, k kit) {
	db := k.open()
	rare := map[int64]bool{3: true, 255: true, 256: true, 5000: true, 30_001: true, 44_000: true}
	record := func(from, to int) {
		var list []ledger.Event
		for n := from; n < to; n++ {
			e := Event("request")
			e.Time, e.Actor, e.Chain, e.Owner = Epoch.Add(time.Duration(n)*time.Second), fmt.Sprint("spiffe://lanyard.local/agent/a", n%50), nil, "maya"
			if rare[int64(n)] {
				e.Actor = "spiffe://lanyard.local/agent/rare"
			}
			list = append(list, e)
		}
		k.must(db.Record(t.Context(), list))
	}
	all := func(q ledger.Query) (found []int64, pages int) {
		for before := int64(0); ; pages++ {
			f, err := db.Search(t.Context(), q, before, 4)
			k.must(err)
			for _, e := range f.Entries {
				found = append(found, e.Index)
			}
			if f.Next == 0 {
				return found, pages
			}
			if f.Next >= before && before > 0 || len(f.Entries) < 4 == f.BackTo.IsZero() {
				t.Fatalf("%d follows %d, back to %s", f.Next, before, f.BackTo)
			}
			before = f.Next
		}
	}
	const size = 45_000
	for n := 0; n < size; n += 3000 {
		record(n, n+3000)
	}
	want := fmt.Sprint([]int64{44_000, 30_001, 5000, 256, 255, 3})
	if got, _ := all(ledger.Query{Identity: "rare"}); fmt.Sprint(got) != want {
		t.Errorf("while sieves are made: %v, want %s", got, want)
	}
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if got, pages := all(ledger.Query{Owner: "nobody"}); len(got) == 0 && pages == 0 { // more than one part reads
			break
		} else if time.Since(begun) > time.Minute {
			t.Fatalf("of nobody: %v after %d pages", got, pages+1)
		}
	}
	if got, pages := all(ledger.Query{Identity: "agent/rare"}); fmt.Sprint(got) != want || pages > 1 {
		t.Errorf("with sieves: %v in %d pages, want %s", got, pages+1, want)
	}
	if got, pages := all(ledger.Query{Text: "nowhere"}); len(got) > 0 || pages < size/20_000 {
		t.Errorf("a text that is nowhere: %v, and each part is to be bounded: there were %d", got, pages+1)
	}
	if got, _ := all(ledger.Query{Since: Epoch.Add(44_990 * time.Second), Until: Epoch.Add(44_992 * time.Second)}); fmt.Sprint(got) != "[44991 44990]" {
		t.Errorf("of two seconds: %v", got)
	}
	report, err := db.Verify(t.Context())
	if k.must(err); !report.OK() {
		t.Errorf("%+v", report.Problems)
	}
	k.must(db.UnsafeExec("UPDATE sieves SET bits = $1 WHERE n = 7", make([]byte, 100)))
	report, err = db.Verify(t.Context())
	if k.must(err); report.OK() {
		t.Error("a sieve that hides events is not found")
	}
}
