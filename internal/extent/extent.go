// Package extent reads how one request of several says which part of a content it brings, as
// resumable uploads of Google's and upload sessions of Microsoft's do: Content-Range (RFC 9110
// section 14.4), in the one spelling that all servers read alike.
package extent

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Part is bytes First to Last of a content of Total bytes.
type Part struct {
	First, Last int64 // Last below First: none, it only asks how far the upload is
	Total       int64 // -1: not known yet
}

// Asks reports whether it brings nothing.
func (p Part) Asks() bool { return p.Last < p.First }

// Size is how many bytes it brings.
func (p Part) Size() int64 { return p.Last - p.First + 1 }

// Ends reports whether it is the end of the content.
func (p Part) Ends() bool { return p.Total >= 0 && p.Last+1 == p.Total }

// String is p as Content-Range has it.
func (p Part) String() string {
	total := "*"
	if p.Total >= 0 {
		total = strconv.FormatInt(p.Total, 10)
	}
	if p.Asks() {
		return "bytes */" + total
	}
	return fmt.Sprintf("bytes %d-%d/%s", p.First, p.Last, total)
}

var errForm = errors.New("its Content-Range is not of the form bytes 0-9/20, bytes 0-9/* or bytes */20")

// Parse reads a Content-Range.
func Parse(s string) (Part, error) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, all, cut := strings.Cut(rest, "/")
	if !ok || !cut {
		return Part{}, errForm
	}
	p := Part{Last: -1, Total: -1}
	if all != "*" {
		if p.Total, ok = Number(all); !ok {
			return Part{}, errForm
		}
	}
	if span == "*" {
		return p, nil
	}
	first, last, _ := strings.Cut(span, "-")
	if p.First, ok = Number(first); !ok {
		return Part{}, errForm
	}
	if p.Last, ok = Number(last); !ok || p.Last == math.MaxInt64 {
		return Part{}, errForm
	}
	if p.Last < p.First || p.Total >= 0 && p.Last >= p.Total {
		return Part{}, fmt.Errorf("its Content-Range, %s, ends before it begins or behind all that there is", s)
	}
	return p, nil
}

// Number reads a number of bytes: digits without a sign and without leading zeros.
func Number(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == s && n >= 0
}
