package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// The processes beside the gateway: this program again, with a role.

// upstream answers every request with 1 KB of JSON.
func upstream() error {
	body := []byte(`{"id":"17c2","text":"`)
	body = append(body, bytes.Repeat([]byte("x"), 1024-len(body)-2)...)
	body = append(body, `"}`...)
	return serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	}), nil)
}

// bare is what a Go programmer would write in a minute: httputil.ReverseProxy,
// a transport that keeps enough connections, one header injected.
func bare(to string, conf *tls.Config) error {
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	return serve(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Header.Set("Authorization", "Bearer bench-upstream-secret")
		},
		Transport: &http.Transport{
			MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, IdleConnTimeout: time.Minute, DisableCompression: true,
		},
	}, conf)
}

// serve prints the address it listens on, and serves until it is killed or its parent ends.
func serve(h http.Handler, conf *tls.Config) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go exitWithParent()
	s := &http.Server{Handler: h, TLSConfig: conf}
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	return s.Serve(l)
}

// exitWithParent waits for the end of stdin, which ends with the parent.
func exitWithParent() {
	os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

// process is a child: it ends with us, or by end.
type process struct {
	addr string
	more []string // what else it printed on its first line
	pid  int
	life *os.File // our end of its stdin
}

// end ends it. It must be called: a lifeline that nobody refers to is closed by the collector.
func (p process) end() { p.life.Close() }

// child starts this program in a role.
func child(args ...string) (process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return process{}, err
	}
	c := exec.Command(os.Args[0], args...)
	c.Stdin, c.Stderr = r, os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return process{}, err
	}
	if err := c.Start(); err != nil {
		return process{}, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return process{}, fmt.Errorf("start %s: %w", args[0], err)
	}
	f := strings.Fields(line)
	return process{f[0], f[1:], c.Process.Pid, w}, nil
}
