package connector

import (
	"mime"
	"strings"
)

// UTF8 reports whether a body of that Content-Type, of which what it says is read here, is UTF-8 for its reader, too: JSON
// (RFC 8259 section 8.1) and forms, where another charset makes other text of the same bytes (in UTF-7 +ACI- is a quotation mark).
// Of other types, whose charset is no secret to who looks at them, it says nothing.
func UTF8(contentType string) bool {
	kind, parameters, err := mime.ParseMediaType(contentType)
	if contentType == "" || kind != "" && kind != "application/json" && !strings.HasSuffix(kind, "+json") && kind != "application/x-www-form-urlencoded" {
		return true
	}
	switch lower := strings.ToLower(contentType); strings.Count(lower, "charset") {
	case 0:
		return err == nil
	case 1: // charset*= (RFC 2231) is one that some do not read
		return err == nil && !strings.Contains(lower, "*") && strings.EqualFold(parameters["charset"], "utf-8")
	}
	return false
}
