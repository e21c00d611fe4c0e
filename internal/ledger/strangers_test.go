package ledger

import (
	"testing"
	"time"
)

func TestStrangers(t *testing.T) {
	var s Strangers
	now := time.Unix(1000, 0)
	count := func(n int) (admitted, told int) {
		for range n {
			left, ok := s.Admit(now)
			if told += left; ok {
				admitted++
			}
		}
		return admitted, told
	}
	if n, told := count(10_000); n != strangersBurst || told != 0 {
		t.Errorf("at once: %d admitted, %d told", n, told)
	}
	now = now.Add(2 * time.Second)
	if n, told := count(10_000); n != 2*strangersRate || told != 10_000-strangersBurst {
		t.Errorf("two seconds later: %d admitted, %d told", n, told)
	}
	now = now.Add(-time.Hour) // a clock that is set back opens nothing
	if n, _ := count(10); n != 0 {
		t.Errorf("in the past: %d admitted", n)
	}
	now = now.Add(48 * time.Hour)
	if n, told := count(1); n != 1 || told != 10_000-2*strangersRate+10 {
		t.Errorf("days later: %d admitted, %d told", n, told)
	}
}
