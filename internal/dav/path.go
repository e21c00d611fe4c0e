package dav

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Path is a place on the server: the segments of its path, decoded. The empty one is the server's root.
type Path []string

// maxName is how long a name may be, in bytes.
const maxName = 1024

// CheckName returns an error for what is no name of one thing in a folder: a name cannot lead elsewhere.
func CheckName(s string) error {
	switch {
	case s == "" || s == "." || s == ".." || len(s) > maxName:
		return fmt.Errorf("%.60q is no name", s)
	case !utf8.ValidString(s) || strings.ContainsAny(s, `/\`) || strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%.60q holds what no name may hold: slashes, backslashes, control characters", s)
	}
	return nil
}

// Join is the place of that name in p. The name is to have passed CheckName.
func (p Path) Join(names ...string) Path { return append(slices.Clone(p), names...) }

// Below returns the segments of p after base; false if p is not base or something in it.
func (p Path) Below(base Path) ([]string, bool) {
	if len(p) < len(base) || !slices.Equal(p[:len(base)], base) {
		return nil, false
	}
	return p[len(base):], true
}

// Escaped is the path as it is sent, of a folder with its last slash.
func (p Path) Escaped(folder bool) string {
	var b strings.Builder
	for _, s := range p {
		b.WriteString("/" + url.PathEscape(s))
	}
	if folder || len(p) == 0 {
		b.WriteString("/")
	}
	return b.String()
}

// errElsewhere is of an address on another server.
var errElsewhere = errors.New("it is on another server")

// ParsePath reads a path as it is sent.
func ParsePath(escaped string) (Path, error) {
	if !strings.HasPrefix(escaped, "/") {
		return nil, fmt.Errorf("%.60q is no path", escaped)
	}
	var p Path
	escaped = strings.TrimSuffix(strings.TrimPrefix(escaped, "/"), "/")
	if escaped == "" {
		return p, nil
	}
	for s := range strings.SplitSeq(escaped, "/") {
		name, err := url.PathUnescape(s)
		if err != nil {
			return nil, fmt.Errorf("%.60q is no path", escaped)
		}
		if err := CheckName(name); err != nil {
			return nil, err
		}
		p = append(p, name)
	}
	return p, nil
}

// Place reads what the server says of where something is: a URL of its own, or a path.
func (c *Client) Place(href string) (Path, error) {
	u, err := url.Parse(strings.TrimSpace(href))
	if err != nil {
		return nil, fmt.Errorf("%.60q is no address", href)
	}
	if u.Host != "" || u.Scheme != "" {
		if u.User != nil || !strings.EqualFold(u.Scheme, c.origin.Scheme) || !strings.EqualFold(authority(u), authority(&c.origin)) {
			return nil, fmt.Errorf("%.60q: %w", href, errElsewhere)
		}
	}
	if u.Path == "" {
		return nil, nil
	}
	return ParsePath(u.EscapedPath())
}

// authority is host and port, also where the port is the scheme's own.
func authority(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return u.Host + map[string]string{"http": ":80", "https": ":443"}[strings.ToLower(u.Scheme)]
}
