package provenance

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxDepth = 32
	maxNodes = 1 << 16
)

// parse reads a result that has a structure: a JSON object or list, or the block style of YAML, in
// which a program wrote down what it has. Whatever is not wholly that is no structure: what somebody wrote
// within a field must never be taken for fields.
func parse(s string) (n node, ok bool) {
	t := strings.TrimLeft(s, " \r\n\t")
	switch {
	case t == "":
		return n, false
	case t[0] == '{' || t[0] == '[':
		return parseJSON(t)
	case strings.HasPrefix(t, "- ") || strings.HasPrefix(t, "---") || strings.Contains(t, ":"):
		return parseYAML(s)
	}
	return n, false
}

func parseJSON(s string) (node, bool) {
	d := jsontext.NewDecoder(bytes.NewReader([]byte(s)))
	left := maxNodes
	n, err := jsonNode(d, &left, 0)
	if err != nil {
		return node{}, false
	}
	_, err = d.ReadToken()
	return n, errors.Is(err, io.EOF) && n.kind != 's'
}

func jsonNode(d *jsontext.Decoder, left *int, depth int) (n node, err error) {
	if *left--; *left < 0 || depth > maxDepth {
		return n, errors.New("too much")
	}
	t, err := d.ReadToken()
	if err != nil {
		return n, err
	}
	switch t.Kind() {
	case '{':
		n.kind = 'm'
		for d.PeekKind() != '}' {
			name, err := d.ReadToken()
			if err != nil {
				return n, err
			}
			key := name.String()
			k, err := jsonNode(d, left, depth+1)
			if err != nil {
				return n, err
			}
			k.key = key
			n.kids = append(n.kids, k)
		}
		_, err = d.ReadToken()
	case '[':
		n.kind = 'l'
		for d.PeekKind() != ']' {
			k, err := jsonNode(d, left, depth+1)
			if err != nil {
				return n, err
			}
			n.kids = append(n.kids, k)
		}
		_, err = d.ReadToken()
	case 'n':
		n.kind = 's'
	default:
		n.kind, n.text = 's', t.String()
	}
	return n, err
}
