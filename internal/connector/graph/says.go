package graph

import (
	"encoding/base64"
	"mime"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/office"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// Says is [connector.Speaker]'s.
func (a api) Says(r *connector.Request, call policy.Call) []provenance.Argument {
	list := dialect.Says(r, call)
	for i := range list {
		if list[i].Name == "filename" { // what it is to be called, and nothing that is there
			list[i].Name = "title"
		}
	}
	return list
}

// Carries reports whether it is content of a file. What begins an upload is read whole.
func (a api) Carries(call policy.Call) bool {
	return call.Action == "graph.items.content.put" || call.Action == newFile || begins(call)
}

// Implies reports whether it goes to who is on what it answers, or to whom a draft is for by then.
func (a api) Implies(call policy.Call) bool { return dialect.Implies(call) }

// Hears has mail as records, and what is attached as what it is.
func (a api) Hears(call policy.Call, contentType string, reply []byte) []byte {
	if call.Action == "graph.messages.mime.get" {
		if o, ok := office.Message(reply); ok {
			return o.Append(nil)
		}
		return reply
	}
	return office.Records(reply, func(o *office.Value) bool {
		if s := o.Member("contentBytes").Text(); s != "" {
			if b, err := base64.StdEncoding.DecodeString(s); err == nil {
				o.Drop("contentBytes")
				if kind, _, _ := mime.ParseMediaType(o.Member("contentType").Text()); strings.HasPrefix(kind, "text/") {
					o.Put("content").SetText(strings.ToValidUTF8(string(b), "\ufffd"))
				}
			}
			return true
		}
		if o.Member("toRecipients") == nil && !o.Member("from").IsObject() {
			return false
		}
		var names []string
		one := func(v *office.Value) {
			e := v.Member("emailAddress")
			if n := e.Member("name").Text(); n != "" {
				names = append(names, n)
			}
			v.SetText(e.Member("address").Text())
		}
		for _, as := range [][2]string{{"from", "from"}, {"sender", "sender"}, {"toRecipients", "to"}, {"ccRecipients", "cc"}, {"bccRecipients", "bcc"}, {"replyTo", "reply_to"}} {
			v := o.Member(as[0])
			o.Drop(as[0])
			switch {
			case v.IsObject():
				one(v)
			case v.IsList():
				for p := range v.All() {
					one(p)
				}
			default:
				continue
			}
			o.Put(as[1]).Set(v)
		}
		if b := o.Member("body"); b.IsObject() {
			b.Set(b.Member("content"))
		}
		if len(names) > 0 {
			o.Put("text").SetTexts(names) // which anybody may choose
		}
		return true
	})
}
