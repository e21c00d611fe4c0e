package mcp

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// suspicions are what poisoned descriptions have been seen to do: they speak to the
// model behind the person's back. They find the known ways of saying it, not every one;
// what was approved is pinned either way.
var suspicions = []struct {
	what    string
	pattern *regexp.Regexp
}{
	{"it has a tag that only a model heeds", regexp.MustCompile(`(?i)<\s*/?\s*(important|system|instructions?|secret|hidden|admin|priority)\b[^>]*>`)},
	{"it asks to keep something from the person", regexp.MustCompile(`(?i)\b(do not|don't|never|without|must not|should not|no need to)\s+(\w+\s+){0,2}(tell|telling|mention|mentioning|inform|informing|show|showing|notify|notifying|reveal|revealing|alert|alerting|ask|asking)\b[^.\n]{0,60}\b(user|human|person|anyone|them)\b`)},
	{"it overrides other instructions", regexp.MustCompile(`(?i)\b(ignore|disregard|override|forget|bypass)\s+(all|any|the|every|previous|prior|other|earlier|your)\b[^.\n]{0,40}\b(instructions?|rules?|prompts?|guidelines|restrictions|tools?)\b`)},
	{"it names files that hold secrets", regexp.MustCompile(`(?i)(~|\$home|/home/\w+|/root|/users/\w+)/\.(ssh|aws|cursor|gnupg|kube|docker|netrc|config|claude|env)|\bid_(rsa|ed25519|ecdsa)\b|/etc/(passwd|shadow)|\b\.cursor/mcp\.json|\bmcp\.json\b`)},
	{"it changes how another tool is used", regexp.MustCompile(`(?i)\b(when|whenever|if|before|after)\b[^.\n]{0,60}\b(tool|send_\w+|mcp_\w+|\w+_tool)\b[^.\n]{0,40}\b(is|are|was|gets?)\s+(called|invoked|used|available|present)\b|\bbefore (using|calling|invoking|you (use|call|invoke))\s+(this|any|other|another)\b[^.\n]{0,40}\b(read|call|send|pass|first)\b|\b(instead of|rather than)\s+(using|calling)\s+(any|the|other)\b[^.\n]{0,40}\btool`)},
	{"it holds a long text in code", regexp.MustCompile(`[A-Za-z0-9+/_-]{200,}={0,2}`)},
}

// Suspicious says what in a tool's definition speaks to a model behind the back of the
// person who is to approve it, with the words; "" when nothing was found.
func Suspicious(tool []byte) string {
	var found []string
	d := jsontext.NewDecoder(bytes.NewReader(tool))
	for {
		t, err := d.ReadToken()
		if err != nil {
			return strings.Join(found, "; ")
		}
		if t.Kind() != '"' {
			continue
		}
		for _, s := range suspicions {
			if words := s.pattern.FindString(t.String()); words != "" {
				found = append(found, s.what+": "+strconv.Quote(clipped(strings.Join(strings.Fields(words), " "))))
			}
		}
	}
}

func clipped(s string) string {
	if r := []rune(s); len(r) > 100 {
		return string(r[:100]) + "…"
	}
	return s
}
