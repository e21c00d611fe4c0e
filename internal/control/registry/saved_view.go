package registry

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lanyard-dev/lanyard/internal/control/store"
)

// ViewLists are the lists that a person can keep views of.
var ViewLists = []string{"identities", "approvals", "ledger", "tasks", "upstreams", "owners"}

const (
	viewsMost = 50 // of one person, of one list
	viewParts = 20 // of one
	viewName  = 60 // characters
	viewValue = 256
)

var viewKey = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// PutSavedView keeps what a person looks at, under a name of theirs.
func (c *Change) PutSavedView(person string, v store.SavedView) error {
	what := "view " + v.Name
	switch {
	case !slices.Contains(ViewLists, v.List):
		return &Invalid{what, "list", "there are " + strings.Join(ViewLists, ", ")}
	case strings.TrimSpace(v.Name) != v.Name || v.Name == "" || utf8.RuneCountInString(v.Name) > viewName || strings.ContainsFunc(v.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return &Invalid{"view", "name", fmt.Sprintf("it has 1 to %d characters that can be seen, and no space around them", viewName)}
	case len(v.Query) > viewParts:
		return &Invalid{what, "query", fmt.Sprintf("there are more than %d parts", viewParts)}
	}
	for key, value := range v.Query {
		if !viewKey.MatchString(key) || len(value) > viewValue || strings.ContainsFunc(value, unicode.IsControl) {
			return &Invalid{what, "query", fmt.Sprintf("a part is named with a-z 0-9 _, and its value is %d bytes at most and has no character that cannot be seen", viewValue)}
		}
	}
	all, err := c.SavedViews(person)
	if err != nil {
		return err
	}
	n := 0
	for _, old := range all {
		if old.List == v.List && old.Name == v.Name {
			if maps.Equal(old.Query, v.Query) {
				return nil // it is as asked for
			}
			n = -viewsMost // it takes the place of itself
		}
		if old.List == v.List {
			n++
		}
	}
	if n >= viewsMost {
		return &Conflict{fmt.Sprintf("there are %d views of this list already; remove one first", viewsMost)}
	}
	return c.recordView("view.put", person, v, c.Tx.PutSavedView(person, v))
}

// RemoveSavedView forgets one of a person's views.
func (c *Change) RemoveSavedView(person, list, name string) error {
	return c.recordView("view.remove", person, store.SavedView{List: list, Name: name}, missing(c.DeleteSavedView(person, list, name), "view", name))
}

func (c *Change) recordView(kind, person string, v store.SavedView, err error) error {
	if err != nil {
		return err
	}
	return c.record(kind, person, string(OwnerOf(person)), "", map[string]string{"list": v.List, "name": v.Name})
}
