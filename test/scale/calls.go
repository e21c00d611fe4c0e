package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

func b64(b bytesOf) string { return base64.RawURLEncoding.EncodeToString(b[:]) }

// callers is how many requests run at one time; hot, of how many identities.
const (
	callers = 8
	hot     = 1000
)

// load is the requests of some identities to one gateway.
type load struct {
	s      *stack
	tokens []string
	client *http.Client
}

func newLoad(s *stack, n int) (*load, error) {
	l := &load{s: s, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}}
	for range hot {
		i := rand.IntN(n)
		if i%100 == 99 { // it is suspended
			i--
		}
		t, err := s.token(i)
		if err != nil {
			return nil, err
		}
		l.tokens = append(l.tokens, t)
	}
	return l, nil
}

// run sends requests for a while and returns how many, and the gateway's processor time for them, in seconds.
func (l *load) run(d time.Duration) (requests, seconds float64, err error) {
	var n atomic.Int64
	var failed atomic.Pointer[error]
	before, begun := l.s.gateway.cpu(), time.Now()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for time.Since(begun) < d && failed.Load() == nil {
				if err := l.one(l.tokens[n.Add(1)%int64(len(l.tokens))]); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, 0, *err
	}
	return float64(n.Load()), l.s.gateway.cpu() - before, nil
}

func (l *load) one(token string) error {
	req, err := http.NewRequest("GET", "http://"+l.s.gate+"/mail/things/1", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for n := 0; ; n++ {
		res, err := l.client.Do(req)
		if err != nil {
			return err
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		switch {
		case res.StatusCode == http.StatusOK:
			return nil
		case res.StatusCode != http.StatusServiceUnavailable || n == 200: // then its events wait for the ledger, and so does who asks
			return fmt.Errorf("through the gateway: %s %s", res.Status, b)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// cost compares what a request costs two gateways, in turn, in microseconds of processor time: over all rounds, as the
// collector of the large one comes in few of them.
func cost(small, large *load, rounds int, each time.Duration) (a, b float64, err error) {
	var requests, seconds [2]float64
	for round := range rounds + 1 {
		for k, l := range []*load{small, large} {
			n, took, err := l.run(each)
			if err != nil {
				return 0, 0, err
			}
			if round > 0 { // the first warms
				requests[k] += n
				seconds[k] += took
			}
		}
	}
	return seconds[0] / requests[0] * 1e6, seconds[1] / requests[1] * 1e6, nil
}

func median[T float64 | time.Duration](v []T) T {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
