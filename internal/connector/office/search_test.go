package office

import (
	"testing"

	"github.com/lanyard-dev/lanyard/internal/layer"
)

// TestSearchFiles: who sees no content searches none, in whatever case the term is written; who does may.
func TestSearchFiles(t *testing.T) {
	rules := func(show string) []*layer.Rules {
		r, err := layer.New(layer.Layers{Show: show})
		if err != nil {
			t.Fatal(err)
		}
		return []*layer.Rules{r}
	}
	for _, c := range []struct {
		q    string
		show string
		may  bool
	}{
		{"fullText contains 'merger'", layer.Headers, false}, {"FULLTEXT contains 'merger'", layer.Headers, false}, {"name contains 'a'", layer.Headers, true},
		{"name contains 'a'", layer.Nothing, false}, {"Name contains 'a'", layer.Nothing, false}, {"fulltext contains 'merger'", "", true},
	} {
		if err := Search(c.q, layer.File, rules(c.show)); (err == nil) != c.may {
			t.Errorf("%s, seeing %q: %v", c.q, c.show, err)
		}
	}
}
