package office

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/lanyard-dev/lanyard/internal/layer"
)

// structured are the terms of Gmail's search that only ask what headers say; from:, to: and
// subject: ask for what is shown from headers on.
var structured = map[string]bool{"in": true, "is": true, "label": true, "after": true, "before": true, "older": true, "newer": true, "older_than": true, "newer_than": true, "has": true, "category": true, "larger": true, "smaller": true, "size": true}

var spoken = map[string]bool{"from": true, "to": true, "cc": true, "bcc": true, "subject": true, "deliveredto": true}

var fileTerm = regexp.MustCompile(`(?i)\bfullText\b|\bproperties\b|\bappProperties\b`)

// Search refuses a search by which could be found out, word by word, what is not shown:
// that something is found says that it has what was searched for.
func Search(q string, k layer.Kind, rules []*layer.Rules) error {
	if q == "" {
		return nil
	}
	l := level(rules)
	for _, r := range rules {
		if r.Masks() && guesses(q, r.Guessable()) {
			return errors.New("a search for numbers, keys or parts of words could find what is masked; search for words")
		}
	}
	if k == layer.File {
		if l < Text && fileTerm.MatchString(q) || l == There && strings.Contains(strings.ToLower(q), "name") {
			return errors.New("a search in what the layers of the grant do not show is not allowed")
		}
		return nil
	}
	if l == Text {
		return nil
	}
	if k == layer.Event {
		return errors.New("a search in what the layers of the grant do not show is not allowed; leave q away")
	}
	for word := range strings.FieldsSeq(strings.NewReplacer("(", " ", ")", " ", "{", " ", "}", " ").Replace(q)) {
		name, _, ok := strings.Cut(strings.TrimPrefix(word, "-"), ":")
		name = strings.ToLower(name)
		if word == "OR" || word == "AND" || ok && !strings.ContainsAny(word, `"`) && (structured[name] || l == Headers && spoken[name]) {
			continue
		}
		return fmt.Errorf("a search for %.40q is one in what the layers of the grant do not show; search by from:, subject:, label: or dates", word)
	}
	return nil
}

// guesses reports whether a search holds what may be a piece of what is masked: so many digits, or a
// long word of letters and digits, or an asterisk.
func guesses(q string, most int) bool {
	q = strings.ToValidUTF8(q, "")
	for word := range strings.FieldsSeq(q) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(word, "-"), ":"); ok && structured[strings.ToLower(name)] && !strings.ContainsAny(value, "*\"") {
			continue
		}
		digits, letters := 0, 0
		for _, r := range word {
			switch {
			case r == '*':
				return true
			case unicode.IsDigit(r):
				digits++
			case unicode.IsLetter(r):
				letters++
			}
		}
		if digits >= most || digits > 0 && letters+digits >= 12 {
			return true
		}
	}
	return false
}

// Limits reports whether some of the text is not shown, or not as it is.
func Limits(rules []*layer.Rules) bool {
	for _, r := range rules {
		if !r.Bodies() || r.Masks() {
			return true
		}
	}
	return false
}

// Bare reports whether not even headers are shown.
func Bare(rules []*layer.Rules) bool { return level(rules) == There }

// Guess refuses a value to compare with that may be a piece of what is masked.
func Guess(value string, rules []*layer.Rules) error {
	for _, r := range rules {
		if r.Masks() && guesses(value, r.Guessable()) {
			return errors.New("to compare with numbers, keys or parts of words could find what is masked")
		}
	}
	return nil
}
