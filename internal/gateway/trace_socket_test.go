package gateway

import (
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestTraceSocket: a WebSocket begins as a read, and what goes over it nobody reads. Where policies ask where values come from, it is unseen.
func TestTraceSocket(t *testing.T) {
	up := &seen{}
	p := &people{}
	w := newWorld(t, up, func(c *Config) { p.view, c.Desk = c.View, p })
	auth := "Authorization: Bearer " + w.mint(w.claims("bot")) + "\r\n"
	open := func() (int, string) {
		return w.raw("GET /mail/ws HTTP/1.1\r\nHost: x\r\n" + auth + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	}
	if status, s := open(); status != 200 || len(up.take()) != 1 { // an upstream that does not upgrade
		t.Fatalf("without the pack: %d %s", status, s)
	}
	pack, _ := policy.FindPack("hijack")
	for _, g := range pack.Guardrails {
		w.apply(feed.Change{Guardrail: &g})
	}
	if status, s := open(); status != 403 || !strings.Contains(s, "WebSocket") || len(up.take()) != 0 {
		t.Errorf("with the pack: %d %s", status, s)
	}
	if status, s := w.raw("GET /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Connection: close\r\n\r\n"); status != 200 {
		t.Errorf("a read: %d %s", status, s)
	}
}
