package graph

import (
	"encoding/base64"
	"mime"
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

// Carries reports whether it is content of a file. What begins an upload is read whole.
func (a api) Carries(call policy.Call) bool {
	return call.Action == "graph.items.content.put" || begins(call)
}

// Implies reports whether it goes to who is on what it answers, or to whom a draft is for by then.
func (a api) Implies(call policy.Call) bool { return dialect.Implies(call) }

// Hears has mail as records, and what is attached as what it is.
func (a api) Hears(call policy.Call, contentType string, reply []byte) []byte {
	if call.Action == "graph.messages.mime.get" {
		if o, ok := office.Message(reply); ok {
			if b, err := json.Marshal(o, json.Deterministic(true)); err == nil {
				return b
			}
		}
		return reply
	}
	return office.Records(reply, func(o office.Object) (office.Object, bool) {
		if s := text(o["contentBytes"]); s != "" {
			if b, err := base64.StdEncoding.DecodeString(s); err == nil {
				delete(o, "contentBytes")
				if kind, _, _ := mime.ParseMediaType(text(o["contentType"])); strings.HasPrefix(kind, "text/") {
					o["content"] = strings.ToValidUTF8(string(b), "\ufffd")
				}
			}
			return o, true
		}
		_, to := o["toRecipients"]
		_, from := o["from"].(office.Object)
		if !to && !from {
			return nil, false
		}
		var names []any
		one := func(v any) string {
			p, _ := v.(office.Object)
			e, _ := p["emailAddress"].(office.Object)
			if n := text(e["name"]); n != "" {
				names = append(names, n)
			}
			return text(e["address"])
		}
		for old, name := range map[string]string{"from": "from", "sender": "sender", "toRecipients": "to", "ccRecipients": "cc", "bccRecipients": "bcc", "replyTo": "reply_to"} {
			v := o[old]
			delete(o, old)
			switch v := v.(type) {
			case office.Object:
				o[name] = one(v)
			case []any:
				list := []any{}
				for _, p := range v {
					list = append(list, one(p))
				}
				o[name] = list
			}
		}
		if b, ok := o["body"].(office.Object); ok {
			o["body"] = b["content"]
		}
		if len(names) > 0 {
			o["text"] = names // which anybody may choose
		}
		return o, true
	})
}
