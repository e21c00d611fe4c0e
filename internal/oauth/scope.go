package oauth

import (
	"slices"
	"strings"
)

// offline asks for a refresh token, where the server knows it (OpenID Connect Core section 11).
const offline = "offline_access"

// scopes splits a scope string (RFC 6749 section 3.3). One that holds what no
// scope can hold is nil.
func scopes(s string) []string {
	list := strings.Fields(s)
	if !validScopes(list) {
		return nil
	}
	return union(list)
}

// validScopes reports whether each is a scope-token of RFC 6749 and there are not absurdly many.
func validScopes(list []string) bool {
	if len(list) > 256 {
		return false
	}
	for _, s := range list {
		if s == "" || len(s) > 512 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r > '~' }) {
			return false
		}
	}
	return true
}

// union is all of the lists in order, each scope once.
func union(lists ...[]string) []string {
	var all []string
	for _, list := range lists {
		for _, s := range list {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return all
}

// within reports whether have holds all of want.
func within(have, want []string) bool {
	return !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(have, s) })
}
