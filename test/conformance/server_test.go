package conformance

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lanyard-dev/lanyard/test/port"
)

// TestServer: what the Go SDK's own conformance server passes directly it passes behind the gateway,
// check by check, in both eras of the protocol.
func TestServer(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	compile(t, bin, "everything-server", "github.com/modelcontextprotocol/go-sdk/conformance/everything-server")
	h := build(t)
	for _, era := range []struct {
		name, revision, stateless string
		passed                    int // checks of the direct run
	}{
		{"stateful", "2025-11-25", "false", 82},
		{"stateless", "2026-07-28", "true", 165}, // all required and pending ones; its extension for tasks is not in that server
	} {
		t.Run(era.revision, func(t *testing.T) {
			// One server for each run: the scenarios change what it offers.
			direct := suite(t, era.revision, everything(t, bin, era.stateless)+"/mcp")
			behind := suite(t, era.revision, h.upstream(era.name, everything(t, bin, era.stateless)))
			if n := passed(direct); n != era.passed {
				t.Errorf("directly %d checks pass, want %d: the suite or the server is not what was pinned", n, era.passed)
			}
			if n := passed(behind); n < era.passed {
				t.Errorf("behind the gateway %d checks pass, directly %d", n, era.passed)
			}
			for _, scenario := range slices.Sorted(maps.Keys(direct)) {
				had := byName(behind[scenario])
				for name, c := range byName(direct[scenario]) {
					if got := had[name]; c.Status == "SUCCESS" && got.Status != "SUCCESS" {
						t.Errorf("%s: %s passes directly, behind the gateway it is %q: %s\n%.2000s", scenario, name, got.Status, got.ErrorMessage, got.Details)
					}
				}
			}
		})
	}
}

// everything starts the Go SDK's conformance server and returns its URL.
func everything(t *testing.T, bin, stateless string) string {
	t.Helper()
	at := port.Free()
	start(t, func(string) bool {
		c, err := net.Dial("tcp", at)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, filepath.Join(bin, "everything-server"), "-http", at, "-stateless="+stateless)
	return "http://" + at
}

func passed(scenarios map[string][]check) (n int) {
	for _, checks := range scenarios {
		for _, c := range checks {
			if c.Status == "SUCCESS" {
				n++
			}
		}
	}
	return n
}

// byName tells checks of one scenario apart, of which some have the same id.
func byName(checks []check) map[string]check {
	out := map[string]check{}
	for _, c := range checks {
		name := c.ID + " " + c.Name
		for n := 2; ; n++ {
			if _, taken := out[name]; !taken {
				break
			}
			name = fmt.Sprint(c.ID, " ", c.Name, " ", n)
		}
		out[name] = c
	}
	return out
}
