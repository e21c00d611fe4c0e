package connector

import (
	"slices"
	"strings"
)

// node is a place in the tree of all templates: what the next segment can be.
type node struct {
	literals map[string]*node
	parts    []branch // parameters with text around them, the longest text first
	any      *node
	rests    []branch // what takes all that follows, the longest text first
	verbs    bool     // a colon in this segment sets a verb apart, as in {id}:archive
	leaf     *leaf
}

type branch struct {
	segment
	to *node
}

// leaf is where a template ends.
type leaf struct {
	template template
	rows     map[string]*row // by method
}

// add returns the leaf of a template's form, and whether it is new.
func (n *node) add(t template) (*leaf, bool) {
	for _, s := range t.segments {
		n = n.child(s)
	}
	if n.leaf != nil {
		return n.leaf, false
	}
	n.leaf = &leaf{t, map[string]*row{}}
	return n.leaf, true
}

func (n *node) child(s segment) *node {
	if s.kind == literal {
		if n.literals == nil {
			n.literals = map[string]*node{}
		}
		if n.literals[s.text] == nil {
			n.literals[s.text] = &node{}
		}
		return n.literals[s.text]
	}
	n.verbs = n.verbs || strings.HasPrefix(s.suffix, ":")
	if s.kind == rest {
		return grow(&n.rests, s)
	}
	if s.prefix+s.suffix != "" {
		return grow(&n.parts, s)
	}
	if n.any == nil {
		n.any = &node{}
	}
	return n.any
}

func grow(list *[]branch, s segment) *node {
	for _, b := range *list {
		if b.segment == s {
			return b.to
		}
	}
	to := &node{}
	*list = append(*list, branch{s, to})
	slices.SortStableFunc(*list, func(a, b branch) int {
		return len(b.prefix) + len(b.suffix) - len(a.prefix) - len(a.suffix)
	})
	return to
}

// find returns the narrowest template that p has the form of, from segment i on.
// A place in the tree has one depth, so no place is visited twice.
func (n *node) find(p *path, i int) *leaf {
	if i == p.n {
		return n.leaf
	}
	s := p.segment[i]
	if to := n.literals[s]; to != nil {
		if l := to.find(p, i+1); l != nil {
			return l
		}
	}
	if s == "" || n.verbs && p.colons&(1<<i) != 0 {
		return nil // an encoded colon is a verb's to some, an id's to others
	}
	for _, b := range n.parts {
		if b.fits(s) {
			if l := b.to.find(p, i+1); l != nil {
				return l
			}
		}
	}
	if n.verbs && strings.IndexByte(s, ':') >= 0 && i == p.n-1 {
		return n.findRest(p, i, true) // a verb that is not known
	}
	if n.any != nil {
		if l := n.any.find(p, i+1); l != nil {
			return l
		}
	}
	return n.findRest(p, i, n.verbs && strings.IndexByte(p.segment[p.n-1], ':') >= 0)
}

// findRest looks at what takes all segments from i on. With verb, only at those that name theirs.
func (n *node) findRest(p *path, i int, verb bool) *leaf {
	last := p.segment[p.n-1]
	if len(n.rests) == 0 || last == "" || n.verbs && p.colons&(1<<(p.n-1)) != 0 {
		return nil
	}
	for _, b := range n.rests {
		if strings.HasSuffix(last, b.suffix) && len(last) > len(b.suffix) && (!verb || b.suffix != "") {
			return b.to.leaf
		}
	}
	return nil
}
