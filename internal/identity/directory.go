package identity

import (
	"slices"
	"strings"
	"time"
)

// Directory is an organisation's list of its people, which brings them here as owners, and takes them away, over SCIM
// 2.0 (RFC 7643, RFC 7644).
type Directory struct {
	Name    string            `json:"name"`
	Domains []string          `json:"domains,omitempty"` // of the email addresses that it answers for; none: any
	Roles   map[string][]Role `json:"roles,omitempty"`   // group, by its display name → roles of its members
	Keys    []DirectoryKey    `json:"keys,omitempty"`    // that it shows; one is enough, and a second while they are exchanged
	Version int64             `json:"version"`           // grows with each change
}

// DirectoryKey is a secret that a directory shows, as far as it is kept.
type DirectoryKey struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

// AnswersFor reports whether d may say whose an email address is.
func (d Directory) AnswersFor(email string) bool {
	_, domain, _ := strings.Cut(email, "@")
	return len(d.Domains) == 0 || slices.ContainsFunc(d.Domains, func(one string) bool { return strings.EqualFold(one, domain) })
}

// RolesOf are the roles of who is in groups of those display names.
func (d Directory) RolesOf(groups []string) (list []Role) {
	for _, g := range groups {
		list = append(list, d.Roles[g]...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}
