package provenance

import "strings"

// Effect is what a call does to the world, by its verb.
type Effect string

const (
	Reads   Effect = "read"
	Sends   Effect = "send"
	Pays    Effect = "pay"
	Creates Effect = "create"
	Shares  Effect = "share"
	Changes Effect = "change"
	Deletes Effect = "delete"
	Acts    Effect = "act" // something else, or unknown
)

// Effects lists the effects, for people.
var Effects = []Effect{Reads, Sends, Pays, Creates, Shares, Changes, Deletes, Acts}

// kinds is a set of effects.
type kinds uint16

const (
	kRead kinds = 1 << iota
	kSend
	kPay
	kCreate
	kShare
	kChange
	kDelete
)

// effects are in the order in which the first that a verb has is what it does.
var effects = []struct {
	kind   kinds
	effect Effect
}{{kDelete, Deletes}, {kPay, Pays}, {kShare, Shares}, {kSend, Sends}, {kCreate, Creates}, {kChange, Changes}, {kRead, Reads}}

// verbs are what tools are called by and what people ask for, with the kinds of things that each may mean. A tool
// is meant when a verb of the user's and its own have a kind in common.
var verbs = table(map[kinds]string{
	kRead: `get list search read find check view show fetch query count lookup look describe download browse summarize summarise retrieve
		load preview inspect see explain compare navigate click goto calculate compute analyze analyse recommend suggest verify visit ask`,
	kSend:             `send email mail message dm publish reply respond forward write notify submit comment announce text tweet broadcast post chat say answer ping tell`,
	kSend | kPay:      `pay transfer wire refund remit return reimburse settle donate`,
	kPay | kCreate:    `buy purchase order`,
	kCreate:           `create make generate draft save upload copy duplicate register book reserve plan record log open start compose`,
	kCreate | kChange: `add append insert put set schedule arrange attach upsert`,
	kCreate | kShare:  `new`,
	kShare:            `share invite grant include give permit allow expose onboard`,
	kChange: `update change edit modify adjust rename move reschedule correct replace convert mark label assign postpone extend adapt switch
		toggle enable disable complete close reopen merge fix patch configure reset restore star pin accept approve`,
	kDelete: `delete remove cancel trash clear erase drop purge unsubscribe kick ban revoke decline archive unshare destroy discard unfriend terminate deactivate wipe empty`,
})

// also are verbs whose people-facing use is wider than what a tool of that name does: "add her to the channel" shares.
var also = map[string]kinds{"add": kShare, "put": kSend, "send": kPay, "set": kPay, "write": kCreate, "post": kCreate, "schedule": kPay, "make": kPay}

// nouns are verbs that are as often things: "the email", "my order". They count where something is asked for.
var nouns = set(`email mail message text post comment order book record log plan schedule list search query count view show check copy draft
	answer chat transfer wire refund return label mark pin star switch update change move start open share new set drop reply purchase look preview load read download say give permit fix empty patch`)

// asks are words after which a verb of nouns is one.
var asks = set(`please and then to also you i should must can could will would or just now kindly let lets us me next first finally afterwards we`)

// mine are verbs of which only an answer is wanted when they are followed by me.
var mine = set(`tell give show`)

// light are verbs that say little: what is made, or done, is what counts.
var light = set(`make do perform place execute process start run new create submit initiate issue`)

// deeds are things that are done, as the verbs that do them.
var deeds = map[string]string{"payment": "pay", "payments": "pay", "transfer": "transfer", "transaction": "transfer", "refund": "refund", "reservation": "reserve", "booking": "book",
	"order": "order", "purchase": "purchase", "donation": "donate", "invitation": "invite", "invite": "invite", "share": "share", "deletion": "delete", "removal": "remove", "cancellation": "cancel",
	"message": "send", "reply": "reply", "post": "post"}

// hands are what a tool that only reads is said to do in its description: "returns the balance" pays nothing back.
var hands = set(`returns provides displays outputs gives shows tells reports`)

var negations = set(`not don't dont never without no avoid`)

func table(of map[kinds]string) map[string]kinds {
	all := map[string]kinds{}
	for k, list := range of {
		for w := range strings.FieldsSeq(list) {
			all[w] |= k
		}
	}
	return all
}

func set(list string) map[string]bool {
	all := map[string]bool{}
	for w := range strings.FieldsSeq(list) {
		all[w] = true
	}
	return all
}

// verb is what a word of a tool's name or description means, if it is a verb: "sends" is one.
func verb(w string) (kinds, bool) {
	for _, form := range [...]string{w, strings.TrimSuffix(w, "s"), strings.TrimSuffix(w, "es")} {
		if k, ok := verbs[form]; ok {
			return k, true
		}
	}
	return 0, false
}

// effectOf is what a tool of those kinds does.
func effectOf(k kinds) Effect {
	for _, e := range effects {
		if k&e.kind != 0 {
			return e.effect
		}
	}
	return Acts
}

// wanted are the kinds of things that a text asks for: the verbs in it that are meant as such.
func wanted(tokens []token) (k kinds) {
	for i, t := range tokens {
		w := t.text
		if strings.HasSuffix(w, "ing") {
			for _, stem := range [...]string{w[:len(w)-3], w[:len(w)-3] + "e", strings.TrimSuffix(w[:len(w)-3], w[max(0, len(w)-4):len(w)-3])} {
				if _, ok := verbs[stem]; ok {
					w = stem
				}
			}
		}
		v, ok := verbs[w]
		if !ok || t.quoted || i > 0 && !t.first && negations[tokens[i-1].text] {
			continue
		}
		if nouns[w] && !t.first && !asks[tokens[i-1].text] {
			continue
		}
		if mine[w] && i+1 < len(tokens) && (tokens[i+1].text == "me" || tokens[i+1].text == "us") { // tell me
			v = kRead
		} else {
			v |= also[w]
		}
		k |= v
	}
	return k
}
