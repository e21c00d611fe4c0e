package connector

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// Speaker is a Connector that knows what its requests and replies say where they are no plain JSON or text of their own:
// mail in base64, mail as a list of headers.
type Speaker interface {
	Connector
	// Says are the texts of r, which means call, as arguments of it. The body is in r, unless Carries says that it need not be.
	Says(r *Request, call policy.Call) []provenance.Argument
	// Carries reports whether the body of call is content alone, and says nothing of where it goes.
	Carries(call policy.Call) bool
	// Implies reports whether call goes to somebody whom it does not say: a draft by its id, an answer that is not complete.
	Implies(call policy.Call) bool
	// Hears is the reply to call as text, or as records in JSON: the mail in it by whom it is from, what about, and what it says.
	Hears(call policy.Call, contentType string, reply []byte) []byte
}

// Texts adds to list the texts in v, wherever they stand, by the names that lead to them.
func Texts(list []provenance.Argument, at string, v jsontext.Value) ([]provenance.Argument, error) {
	d := jsontext.NewDecoder(bytes.NewReader(v))
	path := []string{at}
	for {
		depth := d.StackDepth()
		var parent jsontext.Kind
		var n int64
		if depth > 0 {
			parent, n = d.StackIndex(depth)
		}
		t, err := d.ReadToken()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		switch k := t.Kind(); {
		case k == '{' || k == '[':
			path = append(path, path[len(path)-1])
		case k == '}' || k == ']':
			path = path[:len(path)-1]
		case parent == '{' && n%2 == 0:
			path[len(path)-1] = strings.TrimPrefix(path[len(path)-2]+"."+t.String(), ".")
			if strings.ContainsAny(t.String(), "@.") { // {"ann@example.com": "read"}
				list = append(list, provenance.Argument{Name: path[len(path)-2], Value: t.String()})
			}
		case k == '"' || k == '0':
			list = append(list, provenance.Argument{Name: path[len(path)-1], Value: t.String()})
		}
	}
}
