package feed

import "sync"

// Bell wakes all who wait for something. Its zero value is ready.
type Bell struct {
	mu sync.Mutex
	ch chan struct{}
}

// Listen returns what is closed with the next Ring. Listen before the look, so that nothing falls between.
func (b *Bell) Listen() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

// Ring wakes who listens now.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
