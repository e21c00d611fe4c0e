package layer

import (
	"fmt"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
)

// types are the words for types of content.
var types = map[string][]string{
	"text":     {"text/plain", "text/csv", "text/markdown", "application/json"},
	"pdf":      {"application/pdf"},
	"image":    {"image/png", "image/jpeg", "image/gif", "image/webp", "image/heic", "image/tiff", "image/bmp"},
	"calendar": {"text/calendar"},
	"archive":  {"application/zip", "application/gzip", "application/x-tar", "application/x-7z-compressed"},
	"office": {"application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint", "application/rtf", "application/vnd.oasis.opendocument.*",
		"application/vnd.openxmlformats-officedocument.*", "application/vnd.google-apps.*"},
}

// kinds checks the words of reduce.attachments.
func (r *Rules) kinds() error {
	for _, w := range r.Reduce.Attachments {
		if _, err := path.Match(w, ""); w != "none" && types[w] == nil && (!strings.Contains(w, "/") || err != nil) {
			return fmt.Errorf("reduce.attachments: %q is neither text, pdf, image, office, calendar, archive or none, nor a media type", w)
		}
	}
	return nil
}

// Opens reports whether content of that type may be opened. Its first bytes say what it is
// where they are known, whatever it is called; both must be allowed. Content that would have
// to be masked and is no text is not opened.
func (r *Rules) Opens(kind string, content []byte) bool {
	if r.Show == Redacted || !r.Bodies() {
		return false
	}
	kind, _, err := mime.ParseMediaType(kind)
	if err != nil {
		return len(r.Reduce.Attachments) == 0 && !r.Reduces()
	}
	if (r.Masks() || r.strips("html")) && !Text(kind) {
		return false
	}
	if content != nil {
		seen, _, _ := mime.ParseMediaType(http.DetectContentType(content))
		if (r.Masks() || r.strips("html")) && !Text(seen) {
			return false
		}
		if !r.allows(seen) && !(seen == "text/plain" && Text(kind)) && !(seen == "application/zip" && r.allows(kind) && officeKind(kind)) && seen != "application/octet-stream" {
			return false
		}
	}
	return r.allows(kind)
}

// AnyContent reports whether content of every type is handed on as it is.
func (r *Rules) AnyContent() bool {
	return r.Bodies() && r.Show != Redacted && len(r.Reduce.Attachments) == 0 && !r.Reduces()
}

func officeKind(kind string) bool {
	return slices.ContainsFunc(types["office"], func(g string) bool { ok, _ := path.Match(g, kind); return ok })
}

func (r *Rules) allows(kind string) bool {
	if len(r.Reduce.Attachments) == 0 {
		return true
	}
	for _, w := range r.Reduce.Attachments {
		globs := types[w]
		if globs == nil {
			globs = []string{w}
		}
		for _, g := range globs {
			if ok, _ := path.Match(g, kind); ok {
				return true
			}
		}
	}
	return false
}

// Text reports whether content of that type is text, which can be reduced.
func Text(kind string) bool {
	return strings.HasPrefix(kind, "text/") || kind == "application/json" || kind == "application/xml" || strings.HasSuffix(kind, "+xml") || strings.HasSuffix(kind, "+json")
}

func (r *Rules) strips(word string) bool {
	return r.Show == Redacted || len(r.Reduce.Strip) > 0 && slices.Contains(r.Reduce.Strip, word)
}

// Line is a line, or several, of plain text as it is shown: a subject, a name, a body.
func (r *Rules) Line(s string) string {
	if r.strips("invisible") {
		s = visible(s)
	}
	if r.strips("tracking") {
		s = unmarked(s)
	}
	return r.maskText(s)
}

// Content is text of that type as it is shown, and its type then: HTML may become plain text.
func (r *Rules) Content(kind, s string) (string, string) {
	base, _, _ := mime.ParseMediaType(kind)
	if !r.Reduces() || base != "text/html" && !strings.HasSuffix(base, "xml") {
		return r.Line(s), kind
	}
	// What is masked may be cut in two by a tag that nobody sees, so with masks HTML is shown as text.
	if r.strips("html") || r.Masks() {
		return r.Line(htmlText(s)), "text/plain"
	}
	return cleanHTML(s, r.strips("invisible"), r.strips("tracking")), kind
}
