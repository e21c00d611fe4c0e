package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanyard-dev/lanyard/test/port"
)

// relay passes connections on to an address, until it is cut: then nothing comes through any more, and nothing says so.
type relay struct {
	to   string
	l    net.Listener
	mu   sync.Mutex
	open []net.Conn
	cut  bool
}

func newRelay(to string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{to: to, l: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.pass(c)
		}
	}()
	return r, nil
}

func (r *relay) pass(c net.Conn) {
	far, err := net.Dial("tcp", r.to)
	if err != nil {
		c.Close()
		return
	}
	r.mu.Lock()
	r.open = append(r.open, c, far)
	r.mu.Unlock()
	one := func(to, from net.Conn) {
		b := make([]byte, 32<<10)
		for {
			n, err := from.Read(b)
			r.mu.Lock()
			cut := r.cut
			r.mu.Unlock()
			if cut { // what was read is lost
				return
			}
			if _, e := to.Write(b[:n]); err != nil || e != nil {
				to.Close()
				from.Close()
				return
			}
		}
	}
	go one(far, c)
	one(c, far)
}

// sever has nothing come through; mend ends what there was, and lets new connections through.
func (r *relay) sever() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = true
}

func (r *relay) mend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.open {
		c.Close()
	}
	r.open, r.cut = nil, false
}

// cutLease is the lease of the measurement, and cutKills how often a gateway is cut off.
const (
	cutLease = 3 * time.Second
	cutKills = 10
)

// cutOff cuts a gateway off, pulls the cord, and takes the time from asking until the last call that it allowed. Later than its
// lease is an error, and so is later than what the receipt promises.
func cutOff() error {
	at := port.Free()
	s, err := startServed("--role", "control", "--feed-listen", at, "--lease", cutLease.String())
	if err != nil {
		return err
	}
	defer s.end()
	r, err := newRelay(at)
	if err != nil {
		return err
	}
	defer r.l.Close()
	gate, end, err := s.outpost("gw-cut", r.l.Addr().String())
	if err != nil {
		return err
	}
	defer end()
	defer r.mend()
	latest, all := 0.0, []float64{}
	for n := range cutKills {
		name := fmt.Sprint("bot-", n)
		h, err := newHolder()
		if err != nil {
			return err
		}
		err = errors.Join(s.post("PUT", "identities/"+name, map[string]any{"kind": "agent", "owner": "maya", "purpose": "Measures"}, nil),
			s.post("POST", "identities/"+name+"/credentials", map[string]any{"public_key": json.RawMessage(h.jwk)}, nil),
			s.post("PUT", "identities/"+name+"/grants/read", map[string]any{"upstream": "mail", "actions": []string{"read"}}, nil))
		if err != nil {
			return err
		}
		token, err := s.token(h, agentPrefix+name, s.gate+"/mail")
		if err != nil {
			return err
		}
		ms, err := s.killCut(r, name, gate, token)
		if err != nil {
			return err
		}
		latest, all = max(latest, ms), append(all, ms)
		r.mend()
	}
	figure("kill_cut_off_p50_ms", median(all), "ms")
	figure("kill_cut_off_latest_ms", latest, "ms")
	ratio("kill_cut_off_vs_lease", latest/float64(cutLease.Milliseconds()))
	return nil
}

// killCut returns how long after the cord was pulled the last call was allowed that had begun after it.
func (s *served) killCut(r *relay, name, gate, token string) (float64, error) {
	begin := time.Now()
	var allowed, last atomic.Int64 // how many, and when the last of them was answered
	over := make(chan struct{})
	go func() {
		defer close(over)
		for refused := 0; refused < 200 && time.Since(begin) < 60*time.Second; {
			req, _ := http.NewRequest("GET", gate+"/mail/things/1", nil)
			req.Header.Set("Authorization", "Bearer "+token)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				continue
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				last.Store(int64(time.Since(begin)))
				allowed.Add(1)
				refused = 0
			} else if allowed.Load() > 20 {
				refused++
			}
			time.Sleep(time.Millisecond)
		}
	}()
	for allowed.Load() < 50 && time.Since(begin) < 30*time.Second {
		time.Sleep(time.Millisecond)
	}
	r.sever()
	asked := time.Since(begin)
	var k struct{ Receipt struct{ Bound time.Time } }
	if err := s.post("POST", "kill", map[string]any{"identity": name, "reason": "measured"}, &k); err != nil {
		return 0, err
	}
	<-over
	at := time.Duration(last.Load())
	switch {
	case allowed.Load() < 50:
		return 0, fmt.Errorf("%d calls were allowed before the gateway was cut off", allowed.Load())
	case at-asked > cutLease:
		return 0, fmt.Errorf("a gateway that was cut off allowed a call %s after the kill, with a lease of %s", at-asked, cutLease)
	case begin.Add(at).After(k.Receipt.Bound):
		return 0, fmt.Errorf("a gateway that was cut off allowed a call at %s, and the receipt says that it had stopped at %s", begin.Add(at), k.Receipt.Bound)
	}
	return float64((at - asked).Microseconds()) / 1000, nil
}
