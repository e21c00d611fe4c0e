package toolbox

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lanyard-dev/lanyard/internal/layer"
)

const (
	maxText  = 20_000 // bytes of text that one call returns
	maxLines = 50     // mails, files or events that one call returns
	lines    = 20     // unless it asks for another number
	maxBrief = 300    // bytes of text beside each of a list
)

// plain is text of that type as people read it: of HTML what they see.
func plain(kind, s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\r\n", "\n"), "\uFFFD")
	if mediaType(kind) != "text/html" {
		return s
	}
	r, err := layer.New(layer.Layers{Reduce: layer.Reduce{Strip: []string{"html"}}})
	if err != nil {
		return ""
	}
	s, _ = r.Content("text/html", s)
	return s
}

// cut is what a call returns of a text, at most so many bytes, from where the last one ended; next is where it goes on.
func cut(s, cursor string, most int) (part, next string, err error) {
	from := 0
	if cursor != "" {
		if from, err = strconv.Atoi(cursor); err != nil || from < 0 || from > len(s) {
			return "", "", errors.New("cursor: give it as the last call returned it")
		}
	}
	for from < len(s) && !utf8.RuneStart(s[from]) {
		from++
	}
	if s = s[from:]; len(s) <= most {
		return s, "", nil
	}
	n := most
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n], strconv.Itoa(from + n), nil
}

// brief is the beginning of a text, on one line.
func brief(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= maxBrief {
		return s
	}
	return strings.ToValidUTF8(s[:maxBrief], "") + "…"
}

// many is how many a caller wants.
func many(limit int) int {
	if limit < 1 {
		return lines
	}
	return min(limit, maxLines)
}

// day reads a date; name is the argument's.
func day(name, s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return t, fmt.Errorf("%s: write a day as 2026-12-01", name)
	}
	return t, nil
}

// moment is a time, or a whole day.
type moment struct {
	time.Time
	whole bool
}

func (m moment) String() string {
	if m.whole {
		return m.Format(time.DateOnly)
	}
	return m.Format(time.RFC3339)
}

func readMoment(name, s string) (m moment, err error) {
	if m.Time, err = time.Parse(time.RFC3339, s); err == nil {
		return m, nil
	}
	if m.Time, err = time.Parse(time.DateOnly, s); err == nil {
		m.whole = true
		return m, nil
	}
	return m, fmt.Errorf("%s: write a time as 2026-12-01T10:00:00+01:00, or a whole day as 2026-12-01", name)
}

// words are those of a search, each without what search languages give a meaning.
func words(s string) []string {
	return strings.Fields(strings.Map(func(r rune) rune {
		if strings.ContainsRune(`(){}"'\:`, r) {
			return ' '
		}
		return r
	}, s))
}

// textual reports whether content of that type is text.
func textual(kind string) bool {
	return layer.Text(mediaType(kind)) || slices.Contains([]string{"application/x-yaml", "application/yaml", "application/javascript"}, mediaType(kind))
}
