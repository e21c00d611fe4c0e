package graph

import (
	"errors"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/office"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// An answer goes to who is on the mail that it answers, which the request names by its id alone. Graph cannot be told to send it to
// these and nobody else, but of a mail that came it lets nobody change who wrote it and where answers go (replyTo is "updatable only
// if isDraft = true", and from is refused with "Message is not draft"). A draft may become another, so no answer to one is complete.

const onAnswered = "{base}/messages/{message-id}?%24select=id%2Cfrom%2Csender%2CreplyTo%2CtoRecipients%2CccRecipients%2CbccRecipients%2CisDraft%2CinternetMessageHeaders"

// answers reports whether an action answers a mail, or drafts an answer.
func answers(action string) bool {
	switch action {
	case "graph.messages.reply", "graph.messages.replyAll", "graph.messages.createReply", "graph.messages.createReplyAll":
		return true
	}
	return false
}

// answered are the arguments of an answer that say whom it goes to: whom the mail says, and those that the request adds.
func answered(r *connector.Request, call policy.Call, look connector.Look) (map[string]any, error) {
	added := policy.Call{Action: "graph.messages.forward", Arguments: map[string]any{}}
	if len(r.Body) > 0 {
		if err := answer(r, &added); err != nil {
			return nil, err
		}
	}
	to, _ := added.Arguments["recipients"].([]string)
	on := policy.Call{Arguments: map[string]any{"base": base(call), "message-id": call.Arguments["message-id"]}}
	targets := office.Fill(onAnswered, on)
	if len(targets) != 1 {
		return nil, layer.ErrHidden
	}
	_, reply, err := look(targets[0])
	if err != nil {
		return nil, err
	}
	o, err := office.JSON(reply)
	if err != nil {
		return nil, errors.New("the mail that it answers cannot be read")
	}
	who, err := goesTo(o, strings.HasSuffix(call.Action, "All"))
	if err != nil {
		return nil, err
	}
	out := policy.Call{Arguments: map[string]any{}}
	office.SetPeople(&out, "recipients", "recipient_domains", append(who, to...))
	return out.Arguments, nil
}

// goesTo are those that an answer to a mail goes to: replyTo, or who wrote it (who sent it for them counts as well); to all, also those
// whom the mail was for. Of a mail that the account itself may have sent nobody knows whether an answer goes back to it or on to whom that
// was for, so these count.
func goesTo(o office.Object, all bool) ([]string, error) {
	if o["isDraft"] != false {
		return nil, errors.New("it answers a draft, which may become another before it goes; answer a mail that came")
	}
	lists := map[string][]string{}
	for _, name := range []string{"replyTo", "toRecipients", "ccRecipients", "bccRecipients"} {
		list, err := people(o[name])
		if _, there := o[name].([]any); err != nil || !there {
			return nil, errors.New("the mail that it answers does not say whom an answer goes to")
		}
		lists[name] = list
	}
	var from []string
	for _, name := range []string{"from", "sender"} {
		if o[name] == nil {
			continue
		}
		list, err := people([]any{o[name]})
		if err != nil {
			return nil, errors.New("the mail that it answers does not say whom an answer goes to")
		}
		from = append(from, list...)
	}
	to := lists["replyTo"]
	if len(to) == 0 {
		to = from
	}
	if len(to) == 0 {
		return nil, errors.New("the mail that it answers does not say whom an answer goes to")
	}
	others := slices.Concat(lists["toRecipients"], lists["ccRecipients"], lists["bccRecipients"])
	own := !came(o) || slices.ContainsFunc(from, func(a string) bool {
		return slices.ContainsFunc(others, func(b string) bool { return layer.Address(a) == layer.Address(b) })
	})
	if all || own {
		to = slices.Concat(to, others)
	}
	return to, nil
}

// came reports whether a mail was delivered to the mailbox: what was sent from it has no trace of its way (RFC 5321 section 4.4).
func came(o office.Object) bool {
	list, _ := o["internetMessageHeaders"].([]any)
	return slices.ContainsFunc(list, func(v any) bool {
		h, _ := v.(office.Object)
		return strings.EqualFold(text(h["name"]), "Received")
	})
}
