package provenance

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// blocks reads the block style of YAML as programs write it: maps and lists by indentation, texts plain,
// quoted or as blocks. Tags, anchors, and maps and lists in one line are not read.
type blocks struct {
	text  string
	lines []string
	from  []int // where each line begins in text
	at    int
	left  int
	bad   bool
}

func parseYAML(s string) (node, bool) {
	if strings.ContainsAny(s, "\t\r") && strings.Contains("\n"+s, "\n\t") || !utf8.ValidString(s) {
		return node{}, false
	}
	s = strings.TrimRight(s, "\n")
	y := &blocks{text: s, lines: strings.Split(s, "\n"), left: maxNodes}
	at := 0
	for _, l := range y.lines {
		y.from = append(y.from, at)
		at += len(l) + 1
	}
	if y.lines[0] == "---" {
		y.at++
	}
	y.blanks()
	n := y.block(0, 0)
	y.blanks()
	return n, !y.bad && y.at == len(y.lines) && n.kind != 's' && len(n.kids) > 0
}

func (y *blocks) blanks() {
	for y.at < len(y.lines) && strings.TrimSpace(y.lines[y.at]) == "" {
		y.at++
	}
}

func (y *blocks) fail() node {
	y.bad = true
	return node{kind: 's'}
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// block reads what begins at the current line with that indentation.
func (y *blocks) block(in, depth int) node {
	if y.left--; y.left < 0 || depth > maxDepth || y.at >= len(y.lines) || indent(y.lines[y.at]) != in {
		return y.fail()
	}
	if l := y.lines[y.at][in:]; l == "-" || strings.HasPrefix(l, "- ") {
		return y.list(in, depth)
	}
	return y.fields(in, depth)
}

func (y *blocks) list(in, depth int) node {
	n := node{kind: 'l'}
	for y.blanks(); !y.bad && y.at < len(y.lines) && indent(y.lines[y.at]) == in; y.blanks() {
		l := y.lines[y.at][in:]
		if l != "-" && !strings.HasPrefix(l, "- ") {
			break
		}
		rest := strings.TrimLeft(l[1:], " ")
		if rest == "" {
			y.at++
			y.blanks()
			if y.at < len(y.lines) && indent(y.lines[y.at]) > in {
				n.kids = append(n.kids, y.block(indent(y.lines[y.at]), depth+1))
			} else {
				n.kids = append(n.kids, node{kind: 's'})
			}
			continue
		}
		deeper := in + len(l) - len(rest)
		if _, _, ok := key(rest); ok || rest == "-" || strings.HasPrefix(rest, "- ") {
			y.lines[y.at] = strings.Repeat(" ", deeper) + rest
			n.kids = append(n.kids, y.block(deeper, depth+1))
			continue
		}
		n.kids = append(n.kids, y.scalar(rest, in))
	}
	return n
}

func (y *blocks) fields(in, depth int) node {
	n := node{kind: 'm'}
	for y.blanks(); !y.bad && y.at < len(y.lines) && indent(y.lines[y.at]) == in; y.blanks() {
		name, rest, ok := key(y.lines[y.at][in:])
		if !ok {
			return y.fail()
		}
		var k node
		if rest != "" {
			k = y.scalar(rest, in)
		} else {
			y.at++
			y.blanks()
			k = node{kind: 's'}
			if y.at < len(y.lines) {
				at, l := indent(y.lines[y.at]), strings.TrimLeft(y.lines[y.at], " ")
				if at > in || at == in && strings.HasPrefix(l, "- ") {
					if _, _, isKey := key(l); isKey || strings.HasPrefix(l, "- ") || l == "-" {
						k = y.block(at, depth+1)
					} else {
						k = y.scalar(l, in)
					}
				}
			}
		}
		k.key = name
		n.kids = append(n.kids, k)
	}
	return n
}

// key takes the name of a field from the beginning of a line.
func key(l string) (name, rest string, ok bool) {
	if l == "" || strings.ContainsRune("[]{}&*!|>%@`?#,", rune(l[0])) {
		return "", "", false
	}
	end := 0
	if q := l[0]; q == '\'' || q == '"' {
		var text string
		text, end, ok = quoted(l)
		if !ok || end >= len(l) || l[end] != ':' {
			return "", "", false
		}
		name = text
	} else {
		if end = strings.Index(l, ": "); end < 0 {
			if !strings.HasSuffix(l, ":") {
				return "", "", false
			}
			end = len(l) - 1
		}
		if name = l[:end]; strings.Contains(name, " #") {
			return "", "", false
		}
	}
	if end+1 < len(l) && l[end+1] != ' ' {
		return "", "", false
	}
	return name, strings.TrimSpace(l[end+1:]), true
}

// quoted reads a quoted text that ends in s, and returns where.
func quoted(s string) (text string, end int, ok bool) {
	var b []byte
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == s[0] && c == '\'' && i+1 < len(s) && s[i+1] == '\'':
			b = append(b, c)
			i++
		case c == s[0]:
			return string(b), i + 1, true
		case c == '\\' && s[0] == '"':
			n := 0
			if b, n = escaped(b, s[i+1:]); n == 0 {
				return "", 0, false
			}
			i += n
		case c == '\n': // folded: one is a blank, more are one less
			b = bytes.TrimRight(b, " ")
			n := 0
			for ; i < len(s) && (s[i] == '\n' || s[i] == ' '); i++ {
				if s[i] == '\n' {
					n++
				}
			}
			i--
			if n == 1 {
				b = append(b, ' ')
			}
			b = append(b, strings.Repeat("\n", n-1)...)
		default:
			b = append(b, c)
		}
	}
	return "", 0, false
}

// escaped adds what an escape in double quotes stands for, and returns how long it is after its backslash; 0 for none.
func escaped(b []byte, s string) ([]byte, int) {
	if s == "" {
		return b, 0
	}
	if i := strings.IndexByte("0abtnvfre \"/\\N_LP", s[0]); i >= 0 {
		return append(b, []string{"\x00", "\a", "\b", "\t", "\n", "\v", "\f", "\r", "\x1b", " ", "\"", "/", "\\", "\u0085", "\u00a0", "\u2028", "\u2029"}[i]...), 1
	}
	if s[0] == '\n' { // the line goes on
		return b, len(s) - len(strings.TrimLeft(s[1:], " "))
	}
	size := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]
	if size == 0 || len(s) <= size {
		return b, 0
	}
	r, err := strconv.ParseUint(s[1:1+size], 16, 32)
	if err != nil {
		return b, 0
	}
	return utf8.AppendRune(b, rune(r)), 1 + size
}

// scalar reads the text that begins with rest in the current line, of a field or an item with that indentation.
func (y *blocks) scalar(rest string, in int) node {
	if y.left--; y.left < 0 {
		return y.fail()
	}
	y.at++
	from := y.at
	switch rest[0] {
	case '\'', '"':
		rest = strings.TrimRightFunc(rest, unicode.IsSpace)
		at := y.from[from-1] + len(strings.TrimRightFunc(y.lines[from-1], unicode.IsSpace)) - len(rest)
		text, end, ok := quoted(y.text[at:])
		if !ok {
			return y.fail()
		}
		for end += at; y.at < len(y.lines) && y.from[y.at] < end; y.at++ {
		}
		tail := y.text[end:]
		if y.at < len(y.lines) {
			tail = y.text[end:y.from[y.at]]
		}
		if tail = strings.TrimSpace(tail); tail != "" && tail[0] != '#' {
			return y.fail()
		}
		return node{kind: 's', text: text}
	case '|', '>':
		if len(rest) > 3 {
			return y.fail()
		}
		for y.at < len(y.lines) && (strings.TrimSpace(y.lines[y.at]) == "" || indent(y.lines[y.at]) > in) {
			y.at++
		}
		return node{kind: 's', text: strings.Join(y.lines[from:y.at], "\n")}
	case '[', '{':
		if rest == "[]" || rest == "{}" {
			return node{kind: 'l'}
		}
		return y.fail()
	case '&', '*', '!', '%', '@', '`', '#', ',', ']', '}':
		return y.fail()
	}
	if text, _, comment := strings.Cut(rest, " #"); comment {
		return node{kind: 's', text: text}
	}
	var b strings.Builder
	b.WriteString(rest)
	for y.at < len(y.lines) {
		l := strings.TrimSpace(y.lines[y.at])
		if l != "" && indent(y.lines[y.at]) <= in {
			break
		}
		if strings.Contains(l, ": ") || strings.HasSuffix(l, ":") || strings.Contains(l, " #") {
			return y.fail()
		}
		b.WriteByte(' ')
		b.WriteString(l)
		y.at++
	}
	text := strings.TrimSpace(b.String())
	if text == "null" || text == "~" {
		text = ""
	}
	return node{kind: 's', text: text}
}
