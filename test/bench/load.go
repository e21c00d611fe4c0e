package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// target is what the load goes to.
type target struct {
	name string
	addr string
	pid  int // whose CPU seconds are counted
	tls  *tls.Config
	// request returns the bytes of one whole HTTP/1.1 request. It is called
	// before the clock starts, so what it costs (a signature, say) is not measured.
	request func(n int) []byte
	// fresh says that no two requests may be the same (DPoP proofs, assertions).
	fresh bool
}

// result is one round.
type result struct {
	perSecond float64
	cpu       float64 // CPU seconds per 1000 requests; 0 without a pid
}

// load sends requests over conns connections, each waiting for its reply, for
// about d, and fails on the first reply that is not 200.
func (t target) load(conns int, d time.Duration, estimate float64) (result, error) {
	stock := 1
	if t.fresh {
		stock = int(estimate*d.Seconds()*1.3)/conns + 1
	}
	work := make([][][]byte, conns)
	for c := range work {
		for i := range stock {
			work[c] = append(work[c], t.request(c*stock+i))
		}
	}
	links := make([]*link, conns)
	for c := range links {
		l, err := t.dial()
		if err != nil {
			return result{}, err
		}
		defer l.Close()
		links[c] = l
	}
	before, begun := cpuSeconds(t.pid), time.Now()
	end := begun.Add(d)
	var wg sync.WaitGroup
	counts, errs := make([]int, conns), make([]error, conns)
	for c := range conns {
		wg.Go(func() {
			for i := 0; time.Now().Before(end) && (!t.fresh || i < stock); i++ {
				if errs[c] = links[c].roundTrip(work[c][i%stock]); errs[c] != nil {
					return
				}
				counts[c]++
			}
		})
	}
	wg.Wait()
	took, n := time.Since(begun), 0
	for c := range conns {
		if errs[c] != nil {
			return result{}, fmt.Errorf("%s: %w", t.name, errs[c])
		}
		n += counts[c]
	}
	return result{float64(n) / took.Seconds(), (cpuSeconds(t.pid) - before) / float64(n) * 1000}, nil
}

// link is one keep-alive connection: as little client as HTTP/1.1 allows, so
// that on a small machine the load takes little from what it measures.
type link struct {
	net.Conn
	in *bufio.Reader
}

func (t target) dial() (*link, error) {
	c, err := net.Dial("tcp", t.addr)
	if err != nil {
		return nil, err
	}
	if t.tls != nil {
		c = tls.Client(c, t.tls)
	}
	return &link{c, bufio.NewReaderSize(c, 16<<10)}, nil
}

func (l *link) roundTrip(request []byte) error {
	status, _, body, err := l.do(request)
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	return err
}

// do returns the header only when the status is not 200; nobody looks at it otherwise.
func (l *link) do(request []byte) (status int, header, body []byte, err error) {
	if _, err := l.Write(request); err != nil {
		return 0, nil, nil, err
	}
	length, chunked := 0, false
	for first := true; ; first = false {
		line, err := l.in.ReadSlice('\n')
		if err != nil {
			return 0, nil, nil, err
		}
		if first {
			if len(line) < 12 {
				return 0, nil, nil, fmt.Errorf("status line %q", line)
			}
			status, _ = strconv.Atoi(string(line[9:12]))
			continue
		}
		if len(line) <= 2 {
			break
		}
		if status != 200 {
			header = append(header, line...)
		}
		switch {
		case len(line) > 16 && bytes.EqualFold(line[:15], []byte("content-length:")):
			length, _ = strconv.Atoi(string(bytes.TrimSpace(line[15:])))
		case len(line) > 18 && bytes.EqualFold(line[:18], []byte("transfer-encoding:")):
			chunked = true
		}
	}
	if !chunked {
		if status == 200 {
			_, err = l.in.Discard(length)
			return status, nil, nil, err
		}
		body = make([]byte, length)
		_, err = io.ReadFull(l.in, body)
		return status, header, body, err
	}
	for {
		line, err := l.in.ReadSlice('\n')
		if err != nil {
			return 0, nil, nil, err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return 0, nil, nil, err
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(l.in, chunk); err != nil {
			return 0, nil, nil, err
		}
		if n == 0 {
			return status, header, body, nil
		}
		body = append(body, chunk[:n]...)
	}
}

// cpuSeconds is what the process has used so far, all threads (proc(5), stat, fields 14 and 15, in 1/100 s).
func cpuSeconds(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return float64(user+system) / 100
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}

// compare loads the targets in turn, rounds times, so that what else the machine
// does meets all alike, and returns the results of each.
func compare(conns, rounds int, d time.Duration, targets ...target) (map[string][]result, error) {
	all := map[string][]result{}
	guess := map[string]float64{}
	for _, t := range targets { // warm, and for how many requests a round needs
		r, err := t.load(conns, d/4, 20_000)
		if err != nil {
			return nil, err
		}
		guess[t.name] = r.perSecond
	}
	for i := range rounds {
		for j := range targets {
			t := targets[(i+j)%len(targets)]
			r, err := t.load(conns, d, guess[t.name])
			if err != nil {
				return nil, err
			}
			all[t.name] = append(all[t.name], r)
		}
	}
	return all, nil
}

func rate(r []result) float64 {
	var v []float64
	for _, x := range r {
		v = append(v, x.perSecond)
	}
	return median(v)
}

func cpu(r []result) float64 {
	var v []float64
	for _, x := range r {
		v = append(v, x.cpu)
	}
	return median(v)
}
