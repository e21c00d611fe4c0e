package lanyard

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestHouse holds the imports against the table of floors in ARCHITECTURE.md:
// a room imports only rooms on lower floors, the two wings never meet, and a
// package that is not on the table has no place yet.
func TestHouse(t *testing.T) {
	plan, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	floor := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| (\d) \| (\S+) \|`).FindAllStringSubmatch(string(plan), -1) {
		floor[m[2]] = m[1]
	}
	if len(floor) == 0 {
		t.Fatal("no floors in ARCHITECTURE.md")
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		from := strings.TrimPrefix(f[0], "github.com/lanyard-dev/lanyard/")
		if room(floor, from) == "" && from != "github.com/lanyard-dev/lanyard" {
			t.Errorf("%s is not on the plan: give it a floor in ARCHITECTURE.md", from)
		}
		for _, imp := range f[1:] {
			to, ours := strings.CutPrefix(imp, "github.com/lanyard-dev/lanyard/")
			if !ours {
				continue
			}
			a, b := room(floor, from), room(floor, to)
			if a != b && floor[a] <= floor[b] {
				t.Errorf("%s (floor %s) imports %s (floor %s)", from, floor[a], to, floor[b])
			}
			if wing(from) != "" && wing(to) != "" && wing(from) != wing(to) {
				t.Errorf("the wings meet: %s imports %s", from, to)
			}
		}
	}
}

// room is the longest row of the table that holds pkg: a family or a test kit lives in its parent's room.
func room(floor map[string]string, pkg string) string {
	for p := pkg; p != "."; {
		if floor[p] != "" {
			return p
		}
		i := strings.LastIndex(p, "/")
		if i < 0 {
			return ""
		}
		p = p[:i]
	}
	return ""
}

func wing(pkg string) string {
	for _, w := range []string{"internal/control", "internal/gateway"} {
		if pkg == w || strings.HasPrefix(pkg, w+"/") {
			return w
		}
	}
	return ""
}
