package google

import (
	"strings"

	"github.com/lanyard-dev/lanyard/internal/policy"
)

// class says what a method does to the world. Its HTTP method tells most; what
// follows is known of Google's APIs. An operator can override each.
func class(m *method) policy.Class {
	id := "." + m.ID + "."
	verb := m.ID[strings.LastIndexByte(m.ID, '.')+1:]
	switch {
	case m.HTTPMethod == "GET", reads[m.ID]:
		return policy.Read
	case administers(id, verb):
		return policy.Admin
	case m.HTTPMethod == "DELETE", deletes[verb]:
		return policy.Delete
	}
	return policy.Write
}

// administers: who may see and do what, and where copies and notices go. A watch
// has every change told to an address that the caller chooses, as forwarding does.
func administers(id, verb string) bool {
	for _, part := range []string{".settings.", ".permissions.", ".acl.", ".delegates.", ".accessproposals."} {
		if strings.Contains(id, part) {
			return true
		}
	}
	switch verb {
	case "watch", "transferOwnership", "setIamPolicy":
		return true
	}
	// Whoever may change a shared drive changes who may share what is in it.
	return verb != "delete" && (strings.HasPrefix(id, ".drive.drives.") || strings.HasPrefix(id, ".drive.teamdrives."))
}

// deletes are verbs that lose data for good without being a DELETE. Trash is not
// one of them: what is in it can be taken out again.
var deletes = map[string]bool{"batchDelete": true, "emptyTrash": true, "clear": true, "obliterate": true}

// reads are queries that are a POST because of their size or because they take long.
var reads = map[string]bool{"calendar.freebusy.query": true, "drive.files.download": true}
