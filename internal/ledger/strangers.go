package ledger

import (
	"sync"
	"time"
)

// Strangers bounds how many events are recorded of callers who have proven
// nothing: without a bound, whoever reaches the port fills the disk with
// refusals. What is beyond it is counted and told with the next that is
// recorded. The zero Strangers is ready to use.
type Strangers struct {
	mu   sync.Mutex
	room float64
	at   time.Time
	left int
}

// How many a second, and at once after a quiet time.
const (
	strangersRate  = 50
	strangersBurst = 500
)

// Admit says whether one more is recorded now, and if so, how many were left out since the last.
func (s *Strangers) Admit(now time.Time) (leftOut int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() {
		s.room = strangersBurst
	} else if since := now.Sub(s.at); since > 0 {
		s.room = min(strangersBurst, s.room+since.Seconds()*strangersRate)
	}
	s.at = now
	if s.room < 1 {
		s.left++
		return 0, false
	}
	s.room--
	leftOut, s.left = s.left, 0
	return leftOut, true
}
