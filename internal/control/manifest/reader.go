package manifest

import (
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Limits of what is read. Aliases are refused, so nothing small can grow large.
const (
	maxFile  = 1 << 20
	maxFiles = 500
	maxTotal = 8 << 20
	maxDepth = 20
	maxNodes = 200_000
)

// place is where something stands.
type place struct {
	file         string
	line, column int
}

func (p place) String() string { return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column) }

// reader reads the nodes of one file strictly and notes every mistake.
type reader struct {
	file     string
	mistakes *Mistakes
}

func (r *reader) at(n *yaml.Node) place { return place{r.file, n.Line, n.Column} }

func (r *reader) wrong(n *yaml.Node, format string, args ...any) {
	r.mistakes.add(r.at(n), format, args...)
}

func (m *Mistakes) add(p place, format string, args ...any) {
	*m = append(*m, Mistake{p.file, p.line, p.column, fmt.Sprintf(format, args...)})
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)

// documents returns the roots of the file's documents that can be read at all.
func (r *reader) documents(content string) (roots []*yaml.Node) {
	if len(content) > maxFile {
		*r.mistakes = append(*r.mistakes, Mistake{File: r.file, Text: "the file is larger than 1 MiB; split it"})
		return nil
	}
	nodes := maxNodes
	for d := yaml.NewDecoder(strings.NewReader(content)); ; {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return roots
		}
		if err != nil {
			r.syntax(err)
			return roots
		}
		if len(doc.Content) != 1 || doc.Content[0].ShortTag() == "!!null" {
			continue // an empty document
		}
		if root := doc.Content[0]; r.tame(root, 0, &nodes) {
			roots = append(roots, root)
		}
	}
}

func (r *reader) syntax(err error) {
	m := Mistake{File: r.file, Line: 1, Column: 1, Text: strings.TrimPrefix(err.Error(), "yaml: ")}
	if f := yamlLine.FindStringSubmatch(err.Error()); f != nil {
		m.Line, _ = strconv.Atoi(f[1])
		m.Text = f[2]
	}
	m.Text = "this is not YAML: " + m.Text
	*r.mistakes = append(*r.mistakes, m)
}

// tame refuses what makes a small file large or a reader recurse, and what two readers read differently.
func (r *reader) tame(n *yaml.Node, depth int, nodes *int) bool {
	if *nodes--; *nodes < 0 || depth > maxDepth {
		r.wrong(n, "the file is nested too deep or has too many values")
		return false
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		r.wrong(n, "anchors and aliases are not read here; write it out")
		return false
	}
	if n.Style&yaml.TaggedStyle != 0 {
		r.wrong(n, "tags such as %s are not read here", n.Tag)
		return false
	}
	ok := true
	for _, c := range n.Content {
		ok = r.tame(c, depth+1, nodes) && ok
	}
	return ok
}

// fields says where the members of a mapping go: *string, *bool, *[]string, or
// func(*yaml.Node) for everything else.
type fields map[string]any

// object reads a mapping whose members are all known.
func (r *reader) object(n *yaml.Node, what string, to fields) {
	r.members(n, what, func(key, value *yaml.Node) {
		switch target := to[key.Value].(type) {
		case nil:
			names := make([]string, 0, len(to))
			for name := range to {
				names = append(names, name)
			}
			slices.Sort(names)
			r.wrong(key, "%s has no member %q%s", what, key.Value, didYouMean(key.Value, names))
		case *string:
			*target = r.text(value, key.Value)
		case *bool:
			*target = r.boolean(value, key.Value)
		case *[]string:
			*target = r.list(value, key.Value)
		case func(*yaml.Node):
			target(value)
		}
	})
}

// members goes through a mapping; a key that is there twice is a mistake.
func (r *reader) members(n *yaml.Node, what string, do func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		if n.ShortTag() != "!!null" {
			r.wrong(n, "%s is to be a mapping (name: value)", what)
		}
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
			r.wrong(key, "a name is to be plain text")
			continue
		}
		if line, again := first[key.Value]; again {
			r.wrong(key, "%q is already on line %d", key.Value, line)
			continue
		}
		first[key.Value] = key.Line
		do(key, value)
	}
}

// named goes through a mapping of names to objects.
func (r *reader) named(what string, do func(name string, key, value *yaml.Node)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		r.members(n, what+"s", func(key, value *yaml.Node) {
			if !identity.ValidName(key.Value) {
				r.wrong(key, "%s %q: a name is 1 to 64 of a-z 0-9 . _ -, beginning and ending with a letter or digit", what, key.Value)
				return
			}
			do(key.Value, key, value)
		})
	}
}

// text reads a string. A date counts as one; a number or a word like true must be quoted, to be what was meant.
func (r *reader) text(n *yaml.Node, what string) string {
	if tag := n.ShortTag(); n.Kind != yaml.ScalarNode || tag != "!!str" && tag != "!!timestamp" {
		r.wrong(n, "%s is to be text; if this is, put it in quotes", what)
		return ""
	}
	if strings.ContainsRune(n.Value, 0) {
		r.wrong(n, "%s holds a NUL", what)
		return ""
	}
	return n.Value
}

func (r *reader) boolean(n *yaml.Node, what string) bool {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		r.wrong(n, "%s is to be true or false", what)
	}
	return strings.EqualFold(n.Value, "true")
}

// scalar reads any single value as its text.
func (r *reader) scalar(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		r.wrong(n, "%s is to be one value", what)
		return ""
	}
	return n.Value
}

func (r *reader) integer(n *yaml.Node, what string) int {
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil {
		r.wrong(n, "%s is to be a whole number", what)
	}
	return v
}

func (r *reader) number(n *yaml.Node, what string) *float64 {
	v, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!float" || err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		r.wrong(n, "%s is to be a number", what)
	}
	return &v
}

func (r *reader) list(n *yaml.Node, what string) (out []string) {
	if n.Kind != yaml.SequenceNode {
		r.wrong(n, "%s is to be a list: [one, two]", what)
		return nil
	}
	for _, item := range n.Content {
		out = append(out, r.text(item, what))
	}
	return out
}

// didYouMean names the known word that is nearest to an unknown one.
func didYouMean(word string, known []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, k := range known {
		if d := distance(word, k); d < least || strings.HasPrefix(k, word) && len(word) > 2 && best == "" {
			best, least = k, min(d, least)
		}
	}
	if best != "" {
		return "; did you mean " + best + "?"
	}
	if len(known) > 0 && len(known) <= 20 {
		return "; there is " + strings.Join(known, ", ")
	}
	return ""
}

// distance is how many letters must be changed, added or dropped (Levenshtein).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
