package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Of a task's budget the control plane gives out parts, and a gateway counts them down
// in memory. So that nothing is used twice, what is given out counts as used until it is
// given back: when the task or the gateway closes, and when it has lain idle.

const (
	purseIdle  = time.Minute // for that long a part that nobody uses is kept
	maxSettled = 32          // tasks of which something is given back at one time
)

// purses is what is held of the budgets of tasks.
type purses struct {
	source   feed.Source
	patience time.Duration
	log      *slog.Logger

	mu   sync.Mutex
	of   map[string]*purse
	shed bool // closed: nothing is held any more

	going sync.WaitGroup // what later runs
}

// purse is what is held of one task's budget.
type purse struct {
	mu   sync.Mutex // also while more is asked for: who comes meanwhile waits for the same
	left policy.Budget
	used time.Time
	over bool // given back: there is another one
	dry  dry

	failure error     // the last draw had no answer in time
	failed  time.Time // the moment up to which it was waited for
}

// dry is that too little was left, which is believed for a moment: who is refused must not be able
// to keep the control plane busy.
type dry struct {
	spent *feed.Spent
	need  int64
	until time.Time
}

// take takes cost out of the task's purse, all of it or nothing, drawing what is missing.
func (s *purses) take(task string, cost policy.Budget, now time.Time) error {
	if len(cost) == 0 {
		return nil
	}
	p, err := s.open(task)
	if err != nil {
		return err
	}
	defer p.mu.Unlock()
	lack := policy.Budget{}
	for kind, n := range cost {
		if p.left[kind] < n {
			lack[kind] = n - p.left[kind]
		}
	}
	if len(lack) > 0 {
		if d := p.dry; d.spent != nil && now.Before(d.until) && lack[d.spent.Kind] >= d.need {
			return d.spent
		}
		if p.failure != nil && now.Before(p.failed) { // there was no answer while this caller waited
			return p.failure
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.patience)
		defer cancel()
		got, err := s.draw(ctx, task, lack)
		p.failure = nil
		if err != nil && ctx.Err() != nil {
			p.failure, p.failed = err, now.Add(s.patience)
		}
		if errors.As(err, &p.dry.spent) {
			p.dry.need, p.dry.until = lack[p.dry.spent.Kind], now.Add(time.Second)
		}
		if err != nil {
			return err
		}
		for kind, n := range got {
			p.left[kind] += max(n, 0)
		}
		for kind, n := range cost {
			if p.left[kind] < n {
				return &feed.Spent{Task: task, Kind: kind}
			}
		}
	}
	for kind, n := range cost {
		p.left[kind] -= n
	}
	p.used = now
	return nil
}

func (s *purses) draw(ctx context.Context, task string, want policy.Budget) (policy.Budget, error) {
	return s.source.Draw(ctx, task, want)
}

// open returns the task's purse, locked.
func (s *purses) open(task string) (*purse, error) {
	for {
		s.mu.Lock()
		p := s.of[task]
		if s.shed {
			s.mu.Unlock()
			return nil, errClosing
		}
		if p == nil {
			if s.of == nil {
				s.of = map[string]*purse{}
			}
			p = &purse{left: policy.Budget{}}
			s.of[task] = p
		}
		s.mu.Unlock()
		if p.mu.Lock(); !p.over {
			return p, nil
		}
		p.mu.Unlock()
	}
}

// put puts back what was taken for a call that was not made.
func (s *purses) put(t *feed.Task, cost policy.Budget) {
	if len(cost) == 0 {
		return
	}
	p, err := s.open(t.ID)
	if err != nil {
		return // it stays used: never too little is counted
	}
	defer p.mu.Unlock()
	for kind, n := range cost {
		p.left[kind] += n
	}
}

// settle gives back what is held of the budgets of tasks, several at a time and within patience. What that
// was too short for is held on to.
func (s *purses) settle(tasks ...string) {
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	var all sync.WaitGroup
	defer all.Wait()
	room := make(chan struct{}, maxSettled)
	for i, task := range tasks {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			s.log.Warn("giving back what tasks did not use", "tasks left", len(tasks)-i, "error", ctx.Err())
			return
		}
		all.Go(func() {
			s.close(ctx, task)
			<-room
		})
	}
}

// close gives back what is held of a task's budget.
func (s *purses) close(ctx context.Context, task string) {
	s.mu.Lock()
	p := s.of[task]
	delete(s.of, task)
	s.mu.Unlock()
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	back := policy.Budget{}
	for kind, n := range p.left {
		if n > 0 {
			back[kind] = -n
		}
	}
	if len(back) == 0 {
		return
	}
	if _, err := s.draw(ctx, task, back); err != nil { // not tried again: it might be given back twice
		s.log.Warn("giving back what a task did not use", "task", task, "error", err)
	}
}

// sweep gives back what has lain idle.
func (s *purses) sweep(now time.Time) {
	var idle []string
	s.mu.Lock()
	for task, p := range s.of {
		if p.mu.TryLock() { // one that is being used is not idle
			if now.Sub(p.used) >= purseIdle {
				idle = append(idle, task)
			}
			p.mu.Unlock()
		}
	}
	s.mu.Unlock()
	s.settle(idle...)
}

// later runs what asks the control plane, for which nobody waits but shut.
func (s *purses) later(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.shed {
		s.going.Go(f)
	}
}

// shut gives everything back; nothing can be taken any more.
func (s *purses) shut() {
	s.mu.Lock()
	s.shed = true
	var all []string
	for task := range s.of {
		all = append(all, task)
	}
	s.mu.Unlock()
	s.settle(all...)
	s.going.Wait()
}

// meter counts the bytes of the bodies of one request against the budget of its task.
// It outlives the request, whose body may still be read after the reply.
type meter struct {
	g    *Gateway
	task *feed.Task
}

// count takes n bytes, before they go on.
func (m *meter) count(n int) error {
	if n == 0 {
		return nil
	}
	return m.g.spend(m.task, policy.Budget{policy.Bytes: int64(n)})
}

// measure has the bodies of r counted, if its task limits their bytes.
func (r *request) measure() {
	if r.task == nil || r.task.Budget[policy.Bytes] == 0 {
		return
	}
	r.meter = &meter{r.g, r.task}
	if r.in.Body != nil && r.in.Body != http.NoBody {
		r.in.Body = &measured{r.in.Body, r.meter, r.cancel}
	}
}

// measured is a body that is counted as it is read.
type measured struct {
	io.ReadCloser
	m    *meter
	stop context.CancelCauseFunc
}

func (b *measured) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if spent := b.m.count(n); spent != nil {
		b.stop(spent)
		return 0, spent
	}
	return n, err
}

// both counts what goes over a connection that was upgraded, in both ways.
func (m *meter) both(body io.ReadCloser, stop context.CancelCauseFunc) io.ReadCloser {
	if c, ok := body.(io.ReadWriteCloser); ok {
		return &measuredConn{c, m, stop}
	}
	return body
}

type measuredConn struct {
	io.ReadWriteCloser
	m    *meter
	stop context.CancelCauseFunc
}

func (c *measuredConn) Read(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(p)
	if spent := c.m.count(n); spent != nil {
		c.stop(spent)
		return 0, spent
	}
	return n, err
}

func (c *measuredConn) Write(p []byte) (int, error) {
	if err := c.m.count(len(p)); err != nil {
		c.stop(err)
		return 0, err
	}
	return c.ReadWriteCloser.Write(p)
}
