package google

import (
	"strings"

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
		if o, ok := office.Decode(reply); ok {
			if b, _, ok := data(o); ok {
				return b
			}
		}
		return reply
	}
	return office.Records(reply, func(o *office.Value) bool {
		var record *office.Value
		if raw := o.Member("raw").Text(); raw != "" {
			b, err := office.Base64(raw)
			if err != nil {
				return false
			}
			if record, _ = office.Message(b); record == nil {
				return false
			}
		} else if payload := o.Member("payload"); payload.IsObject() {
			var texts, files []string
			spoken(payload, &texts, &files, 0)
			record = office.Record(func(name string) []string { return header(payload, name) }, texts, files)
		} else {
			return false
		}
		for _, name := range []string{"id", "threadId", "labelIds", "snippet"} {
			if v := o.Member(name); v.Some() {
				record.Put(name).Set(v)
			}
		}
		o.Set(record)
		return true
	})
}

// spoken are the texts in a part of a mail and in those that it is made of, and the names of its files.
func spoken(part *office.Value, texts, files *[]string, depth int) {
	if name := part.Member("filename").Text(); name != "" {
		*files = append(*files, name)
	}
	if strings.HasPrefix(part.Member("mimeType").Text(), "text/") {
		if b, err := office.Base64(part.Member("body").Member("data").Text()); err == nil && len(b) > 0 {
			*texts = append(*texts, strings.ToValidUTF8(string(b), "\ufffd"))
		}
	}
	for _, p := range part.Member("parts").Items() {
		if depth < 50 {
			spoken(p, texts, files, depth+1)
		}
	}
}
