package lanyard

import (
	"os"
	"os/exec"
	"path/filepath"
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

// TestDocs follows each link of the texts, and looks for each command that they show in the reference.
func TestDocs(t *testing.T) {
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts[name] = string(text)
		}
	}
	marks := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	anchors := map[string]bool{}
	for name, text := range texts {
		for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
			anchors[name+"#"+strings.ReplaceAll(marks.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
		}
	}
	commands, parents := map[string]bool{}, map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^## (lanyard.*)$`).FindAllStringSubmatch(texts["docs/reference/cli.md"], -1) {
		commands[m[1]] = true
		if i := strings.LastIndex(m[1], " "); i > 0 {
			parents[m[1][:i]] = true
		}
	}
	link := regexp.MustCompile(`\]\(([^)\s:]+)\)`)
	command := regexp.MustCompile("(?m)(?:`|^    (?:\\$ )?)(?:[A-Z_]+=\\S+ )*(lanyard(?: [a-z][a-z-]*)+)")
	links, shown := 0, 0
	for name, text := range texts {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			links++
			to, anchor, _ := strings.Cut(m[1], "#")
			if to = filepath.Join(filepath.Dir(name), to); strings.HasPrefix(m[1], "#") {
				to = name
			}
			if _, err := os.Stat(to); err != nil || anchor != "" && !anchors[to+"#"+anchor] {
				t.Errorf("%s: the link %s leads nowhere", name, m[1])
			}
		}
		for _, m := range command.FindAllStringSubmatch(text, -1) {
			shown++
			words := strings.Fields(m[1])
			n := len(words)
			for n > 1 && !commands[strings.Join(words[:n], " ")] {
				n--
			}
			if known := strings.Join(words[:n], " "); n < len(words) && (n == 1 || parents[known]) {
				t.Errorf("%s: there is no %s", name, m[1])
			}
		}
	}
	if links < 100 || shown < 100 {
		t.Errorf("only %d links and %d commands", links, shown)
	}
}
