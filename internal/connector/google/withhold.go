package google

import (
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector/office"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Withholds is true of what Drive says, but for content.
func (a api) Withholds(call policy.Call) bool {
	switch call.Action {
	case "drive.files.get", "drive.revisions.get":
		return call.Arguments["alt"] != "media"
	case "drive.files.export":
		return false
	}
	return strings.HasPrefix(call.Action, "drive.")
}

// Withhold leaves out addresses of content (of a download that takes long), of previews and pictures that are "short-lived links", and of
// what is published on the web; and the token that opens what is encrypted by the client.
func (a api) Withhold(reply []byte, keeps func(int64) error) ([]byte, error) {
	return office.Withhold(reply, keeps, gives)
}

func gives(_, m *office.Value) bool {
	switch m.Name() {
	case "downloadUri", "thumbnailLink", "backgroundImageLink", "publishedLink", "jwt":
		return true
	}
	return false
}
