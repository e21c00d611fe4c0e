package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// children measures on the built binary how many children an agent can start, and how
// long it takes from asking for the kill of one to the refusal of all that descend from
// it, as their number grows.
func children() error {
	s, err := startServed()
	if err != nil {
		return err
	}
	defer s.end()
	if err := s.spawnRate(); err != nil {
		return err
	}
	sizes := []int{100, 1000, 10_000}
	ms, whole := map[int]float64{}, map[int]float64{}
	for _, n := range sizes {
		var took, answered []float64
		for round := range 3 {
			if n == sizes[2] && round > 0 {
				break // it takes a while to start them
			}
			t, a, err := s.killTree(fmt.Sprintf("root-%d-%d", n, round), n)
			if err != nil {
				return fmt.Errorf("%d descendants: %w", n, err)
			}
			took, answered = append(took, t), append(answered, a)
		}
		ms[n], whole[n] = median(took), median(answered)
		figure(fmt.Sprintf("kill_tree_%d_ms", n), ms[n], "ms")
		figure(fmt.Sprintf("kill_tree_%d_written_ms", n), whole[n], "ms")
	}
	figure("kill_tree_ms", ms[10_000], "ms")
	ratio("kill_tree_10000_vs_100", ms[10_000]/ms[100])
	return nil
}

// spawnRate has one agent start children over 16 connections.
func (s *served) spawnRate() error {
	h, err := s.enrol("parent", "--children", "100000")
	if err != nil {
		return err
	}
	token, err := s.token(h, agentPrefix+"parent", s.control)
	if err != nil {
		return err
	}
	var failed atomic.Value
	addr := strings.TrimPrefix(s.control, "http://")
	t := target{name: "spawn", addr: addr, fresh: true, request: func(int) []byte {
		k, err := newHolder()
		if err != nil {
			failed.Store(err)
		}
		body := childBody(k)
		return fmt.Appendf(nil, "POST /v1/children HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", addr, token, len(body), body)
	}}
	var rates []float64
	for range 5 {
		r, err := t.load(16, 2*time.Second, 4000)
		if err != nil {
			return err
		}
		rates = append(rates, r.perSecond)
	}
	figure("spawn_per_s", median(rates), "children/s")
	err, _ = failed.Load().(error)
	return err
}

func childBody(k holder) string {
	return `{"purpose":"Measures","children":{"at_once":0,"depth":0},"public_key":` + k.jwk + `}`
}

// born is a child that can ask for tokens.
type born struct {
	holder
	id string
}

// spawn starts a child with a parent's token, that may start others itself or not.
func (s *served) spawn(token string, parent bool) (born, error) {
	k, err := newHolder()
	if err != nil {
		return born{}, err
	}
	body := childBody(k)
	if parent {
		body = strings.Replace(body, `"children":{"at_once":0,"depth":0},`, "", 1)
	}
	req, err := http.NewRequest("POST", s.control+"/v1/children", strings.NewReader(body))
	if err != nil {
		return born{}, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return born{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	var made struct{ ID string }
	if err == nil {
		err = json.Unmarshal(b, &made)
	}
	if err != nil || made.ID == "" {
		return born{}, fmt.Errorf("no child: %s %w", b, err)
	}
	return born{k, made.ID}, nil
}

// killTree starts n descendants of one identity, a tenth of a hundredth of them (at
// least ten) its children and the others theirs, kills it, and returns in milliseconds
// when all were refused, and when the kill was answered, with each of them written down.
func (s *served) killTree(root string, n int) (refused, answered float64, err error) {
	h, err := s.enrol(root, "--children", "100000", "--depth", "2")
	if err != nil {
		return 0, 0, err
	}
	own, err := s.token(h, agentPrefix+root, s.control)
	if err != nil {
		return 0, 0, err
	}
	middle := max(10, n/100)
	parents := make([]string, middle)
	tokens := make([]string, n)
	if err := many(middle, func(i int) error {
		b, err := s.spawn(own, true)
		var err2 error
		if err == nil {
			parents[i], err = s.token(b.holder, b.id, s.control)
			tokens[i], err2 = s.token(b.holder, b.id, s.gate+"/mail")
		}
		return errors.Join(err, err2)
	}); err != nil {
		return 0, 0, err
	}
	if err := many(n-middle, func(i int) error {
		b, err := s.spawn(parents[i%middle], false)
		if err == nil {
			tokens[middle+i], err = s.token(b.holder, b.id, s.gate+"/mail")
		}
		return err
	}); err != nil {
		return 0, 0, err
	}
	refused, answered, err = s.kill(root, func() string { return tokens[rand.IntN(n)] })
	if err != nil {
		return 0, 0, err
	}
	return refused, answered, many(n, func(i int) error {
		req, err := http.NewRequest("GET", s.gate+"/mail/things/1", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+tokens[i])
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if b, _ := io.ReadAll(res.Body); res.StatusCode != 401 || !bytes.Contains(b, []byte("no longer good")) {
			return fmt.Errorf("descendant %d: %s %s", i, res.Status, b)
		}
		return nil
	})
}

// many calls f for 0 to n-1, sixteen at a time.
func many(n int, f func(int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for w := range errs {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && errs[w] == nil; i = next.Add(1) - 1 {
				errs[w] = f(int(i))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
