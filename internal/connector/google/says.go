package google

import (
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/office"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// Says is [connector.Speaker]'s.
func (a api) Says(r *connector.Request, call policy.Call) []provenance.Argument {
	return dialect.Says(r, call)
}

// Carries reports whether it is content of a file, in an upload of nothing else. What begins a resumable one is read whole.
func (a api) Carries(call policy.Call) bool {
	return (call.Arguments["uploadType"] == "media" || begins(call)) && strings.HasPrefix(call.Action, "drive.")
}

// Implies reports whether it goes to somebody whom it does not say; a draft by its id does no more, see Complete.
func (a api) Implies(call policy.Call) bool { return dialect.Implies(call) }

// Hears has mail as records, and what is attached as what it is.
func (a api) Hears(call policy.Call, contentType string, reply []byte) []byte {
	if !strings.HasPrefix(call.Action, "gmail.") {
		return reply
	}
	if call.Action == "gmail.users.messages.attachments.get" {
		var o office.Object
		if json.Unmarshal(reply, &o) == nil {
			if b, _, ok := data(o); ok {
				return b
			}
		}
		return reply
	}
	return office.Records(reply, func(o office.Object) (office.Object, bool) {
		var record office.Object
		if raw := text(o["raw"]); raw != "" {
			b, err := office.Base64(raw)
			if err != nil {
				return nil, false
			}
			if record, _ = office.Message(b); record == nil {
				return nil, false
			}
		} else if payload, ok := o["payload"].(office.Object); ok {
			var texts, files []string
			spoken(payload, &texts, &files, 0)
			record = office.Record(func(name string) []string { return header(payload, name) }, texts, files)
		} else {
			return nil, false
		}
		for _, name := range []string{"id", "threadId", "labelIds", "snippet"} {
			if o[name] != nil {
				record[name] = o[name]
			}
		}
		return record, true
	})
}

// spoken are the texts in a part of a mail and in those that it is made of, and the names of its files.
func spoken(part office.Object, texts, files *[]string, depth int) {
	if name := text(part["filename"]); name != "" {
		*files = append(*files, name)
	}
	if body, ok := part["body"].(office.Object); ok && strings.HasPrefix(text(part["mimeType"]), "text/") {
		if b, err := office.Base64(text(body["data"])); err == nil && len(b) > 0 {
			*texts = append(*texts, strings.ToValidUTF8(string(b), "\ufffd"))
		}
	}
	parts, _ := part["parts"].([]any)
	for _, p := range parts {
		if one, ok := p.(office.Object); ok && depth < 50 {
			spoken(one, texts, files, depth+1)
		}
	}
}
