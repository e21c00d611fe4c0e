package main

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/token"
)

const thing = "/things/17c2"

// proxies compares the gateway with the bare proxy before the same upstream.
func proxies(conns, rounds int, each time.Duration) error {
	up, err := child("upstream")
	if err != nil {
		return err
	}
	defer up.end()
	plain, err := child("bare", "http://"+up.addr)
	if err != nil {
		return err
	}
	defer plain.end()
	secure, err := child("bare-tls", "http://"+up.addr)
	if err != nil {
		return err
	}
	defer secure.end()
	h, err := newHolder()
	if err != nil {
		return err
	}
	client, der, err := serverTLS() // the client's certificate is made alike
	if err != nil {
		return err
	}
	client = &tls.Config{Certificates: client.Certificates, InsecureSkipVerify: true}
	gate, err := child("gateway", "http://"+up.addr, h.jkt, token.CertThumbprint(der))
	if err != nil {
		return err
	}
	defer gate.end()
	guarded, bearer, bound, certified := gate.more[0], gate.more[1], gate.more[2], gate.more[3]

	nonce, err := askNonce(gate.addr, h, bound)
	if err != nil {
		return err
	}
	dpop := func(int) []byte {
		return get("/mail"+thing, "Authorization: DPoP "+bound, "DPoP: "+h.proof("GET", "http://"+gate.addr+"/mail"+thing, bound, nonce))
	}
	same := func(b []byte) func(int) []byte { return func(int) []byte { return b } }
	got, err := compare(conns, rounds, each,
		target{name: "bare", addr: plain.addr, pid: plain.pid, request: same(get(thing))},
		target{name: "gateway", addr: gate.addr, pid: gate.pid, request: same(get("/mail"+thing, "Authorization: Bearer "+bearer))},
		target{name: "dpop", addr: gate.addr, pid: gate.pid, request: dpop, fresh: true},
		target{name: "bare-tls", addr: secure.addr, pid: secure.pid, tls: client, request: same(get(thing))},
		target{name: "mtls", addr: guarded, pid: gate.pid, tls: client, request: same(get("/mail"+thing, "Authorization: Bearer "+certified))},
	)
	if err != nil {
		return err
	}
	ratio("gateway_vs_bare", rate(got["gateway"])/rate(got["bare"]))
	ratio("gateway_cpu_vs_bare", cpu(got["gateway"])/cpu(got["bare"]))
	ratio("gateway_mtls_vs_bare_tls", rate(got["mtls"])/rate(got["bare-tls"]))
	ratio("gateway_dpop_vs_bare", rate(got["dpop"])/rate(got["bare"]))
	for _, name := range []string{"bare", "gateway", "dpop", "bare-tls", "mtls"} {
		figure(strings.ReplaceAll(name, "-", "_")+"_per_s", rate(got[name]), "requests/s")
		figure(strings.ReplaceAll(name, "-", "_")+"_cpu", cpu(got[name]), "s/1000_requests")
	}
	return nil
}

func get(path string, header ...string) []byte {
	s := "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	for _, h := range header {
		s += h + "\r\n"
	}
	return []byte(s + "\r\n")
}

// askNonce sends a proof without a nonce, to be told the nonce (RFC 9449 section 8).
func askNonce(addr string, h holder, access string) (string, error) {
	l, err := target{addr: addr}.dial()
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, header, body, err := l.do(get("/mail"+thing, "Authorization: DPoP "+access, "DPoP: "+h.proof("GET", "http://"+addr+"/mail"+thing, access, "")))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(header)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "DPoP-Nonce") {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("no DPoP-Nonce in the reply: %s %s", header, body)
}
