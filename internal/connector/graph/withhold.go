package graph

import (
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector/office"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Withholds is true of what is said of files, and of what was uploaded.
func (a api) Withholds(call policy.Call) bool {
	return (strings.HasPrefix(call.Action, "graph.items.") || call.Action == "graph.drive.get" || begins(call)) && !a.Follows(call)
}

// Withhold leaves out addresses of content ("Authentication is not required with this URL", driveItem), of previews, and of where content
// is put; and of sharing links those that are good for everybody (sharingLink.scope), with their other form, the shareId.
func (a api) Withhold(reply []byte, keeps func(int64) error) ([]byte, error) {
	return office.Withhold(reply, keeps, gives)
}

func gives(of, m *office.Value) bool {
	switch name := strings.ToLower(m.Name()); name {
	case "uploadurl", "thumbnails", "shareid":
		return true
	case "weburl", "webhtml":
		return of.Name() == "link" && !signsIn(of.Member("scope").Text())
	default:
		return strings.HasSuffix(name, ".downloadurl") // @microsoft.graph.downloadUrl, @content.downloadUrl
	}
}

// signsIn reports whether who follows a sharing link of that scope has to be somebody.
func signsIn(scope string) bool {
	switch scope {
	case "organization", "users", "existingAccess":
		return true
	}
	return false
}
