package provenance

import (
	"strings"
	"unicode"
)

// Role is what an argument is for.
type Role string

const (
	Destination Role = "destination" // where something goes, or who gets at it
	Object      Role = "object"      // what it is done to
	Text        Role = "content"     // what is said
	Privilege   Role = "privilege"   // who may do what: a permission, a role, a password, a rule
	Plain       Role = "plain"       // none of these: a date, an amount, a limit
)

// Roles lists the roles, for people.
var Roles = []Role{Destination, Object, Text, Privilege, Plain}

// OwnURI is the format of an address by which a server names what it has; one of the web is an address all the same.
const OwnURI = "own-uri"

// Parameter is one argument of a tool, as its schema tells of it.
type Parameter struct {
	Name, Type, Format, Description string
}

// Tool is what the rules make of one action.
type Tool struct {
	Name   string
	Effect Effect
	Labels []string // that reading with it gives
	kinds  kinds
	roles  map[string]Role // by the rules
	said   map[string]Role // by the operator
	urls   map[string]bool // arguments that are addresses on the web
	ids    map[string]bool // arguments that name a thing by its id
}

// Argument is one text in the arguments of a call: of a list each, of an object each member under its path.
type Argument struct {
	Name  string // "recipients", "attendees.email"
	Value string
}

var (
	people   = set(`to cc bcc recipient recipients participant participants attendee attendees invitee invitees guest guests user users username usernames member members contact contacts person people colleague follower followers payee beneficiary receiver receivers collaborator collaborators reviewer reviewers assignee assignees`)
	places   = set(`channel channels room rooms chat group groups conversation destination target inbox mailbox recipientid payto address addresses email emails mail phone telephone mobile iban account accounts wallet bic swift fax`)
	accounts = set(`account accounts iban phone telephone mobile wallet`)
	webs     = set(`url urls uri uris link links href website webpage site webhook endpoint host hostname domain callback`)
	contents = set(`body content contents text message subject title description summary note notes comment comments html markdown caption query prompt question answer reason headline data payload details memo keyword location venue place keywords bio`)
	grants   = set(`permission permissions role roles access scope scopes visibility password passwords passphrase secret secrets pin privilege privileges admin owner ownership rule rules forwarding policy credential credentials apikey token tokens acl public`)
	times    = set(`date time day start end when until month year hour duration deadline timezone tz amount limit offset page size sort order count number quantity price color colour language lang format currency unit units type kind status state priority sender from author street city country zip zipcode`)
	ids      = set(`id ids uuid key ref reference`)
)

// Describe makes a tool of what its description says. roles, by argument, and effect overrule the rules.
func Describe(name, summary string, reads bool, params []Parameter, effect Effect, roles map[string]Role) *Tool {
	t := &Tool{Name: name, roles: map[string]Role{}, said: roles, urls: map[string]bool{}, ids: map[string]bool{}}
	t.kinds = kindsOf(name, summary)
	switch {
	case effect != "":
		t.Effect, t.kinds = effect, kindOf(effect)
	case reads:
		t.Effect, t.kinds = Reads, kRead
	default:
		t.Effect = effectOf(t.kinds)
	}
	for _, p := range params {
		role, web := p.role()
		t.roles[p.Name], t.urls[p.Name] = role, web
		w := split(p.Name)
		t.ids[p.Name] = role == Object && len(w) > 0 && ids[w[len(w)-1]]
	}
	return t
}

// Doing is the tool where it is known to do that, the first of them above all.
func (t *Tool) Doing(effects ...Effect) *Tool {
	d := *t
	d.Effect, d.kinds = effects[0], 0
	for _, e := range effects {
		d.kinds |= kindOf(e)
	}
	return &d
}

// kindOf is that of an effect; none of acting.
func kindOf(effect Effect) kinds {
	for _, e := range effects {
		if e.effect == effect {
			return e.kind
		}
	}
	return 0
}

// kindsOf are those of the first verb of a name ("tools.send_email", "createEvent"), else of the description.
func kindsOf(name, summary string) kinds {
	parts := strings.Split(name, ".")
	for i := len(parts) - 1; i >= 0; i-- { // gmail.users.messages.send: the last part says it
		list := split(parts[i])
		for j, w := range list {
			k, ok := verbs[w]
			if !ok {
				continue
			}
			if w == "open" && j+1 < len(list) && webs[list[j+1]] {
				return kRead
			}
			for n, later := range list[j+1:] { // get_or_create, read_and_delete: the reading is not what matters
				more := verbs[later]
				joined := list[j+n] == "and" || list[j+n] == "or"
				if deed, ok := deeds[later]; ok && light[w] {
					return verbs[deed] | k
				}
				if k == kRead && more != 0 && more&kRead == 0 && (joined || !nouns[later]) {
					return more
				}
			}
			return k
		}
	}
	for _, t := range tokenize(summary) {
		if hands[t.text] {
			return kRead
		}
		if k, ok := verb(t.text); ok {
			return k
		}
	}
	return 0
}

// split takes a name apart: send_email, sendEmail, send-email.
func split(name string) (words []string) {
	var b strings.Builder
	end := func() {
		if b.Len() > 0 {
			words = append(words, b.String())
			b.Reset()
		}
	}
	lower := false
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			end()
			lower = false
			continue
		}
		if unicode.IsUpper(r) && lower {
			end()
		}
		lower = unicode.IsLower(r) || unicode.IsDigit(r)
		b.WriteRune(unicode.ToLower(r))
	}
	end()
	return words
}

// role follows from what an argument is called: its last telling word decides, an id names
// a thing unless what it is the id of is somebody or somewhere; then its format; then what its description says.
func (p Parameter) role() (r Role, web bool) {
	switch p.Format {
	case OwnURI:
		return Object, false
	case "email", "idn-email":
		return Destination, false
	case "uri", "url", "uri-reference", "iri", "hostname", "idn-hostname":
		return Destination, true
	}
	w := split(p.Name[strings.LastIndexByte(p.Name, '.')+1:])
	if p.Type == "boolean" || p.Type == "integer" || p.Type == "number" {
		for i, word := range w {
			switch {
			case grants[word]:
				return Privilege, false
			case accounts[word], ids[word] && i > 0 && people[w[i-1]]:
				return Destination, false
			}
		}
		return Plain, false
	}
	for i := len(w) - 1; i >= 0; i-- {
		switch word := w[i]; {
		case ids[word]:
			if i > 0 && (people[w[i-1]] || places[w[i-1]] && w[i-1] != "email" && w[i-1] != "mail") {
				return Destination, false
			}
			return Object, false
		case grants[word]:
			return Privilege, false
		case webs[word]:
			return Destination, true
		case people[word], places[word]:
			return Destination, false
		case contents[word]:
			return Text, false
		case times[word]:
			return Plain, false
		}
	}
	for _, t := range tokenize(p.Description) {
		switch {
		case webs[t.text]:
			return Destination, true
		case t.text == "recipient", t.text == "recipients", t.text == "iban", t.text == "email", t.text == "channel":
			return Destination, false
		}
	}
	if i := strings.LastIndexByte(p.Name, '.'); i > 0 { // attendees.name
		return Parameter{Name: p.Name[:i]}.role()
	}
	return Object, false
}

// Role is that of an argument with that value; one that the schema tells nothing of is judged by its name.
func (t *Tool) Role(name, value string) Role {
	if r, ok := t.said[name]; ok {
		return r
	}
	r, known := t.roles[name]
	web := t.urls[name]
	if !known {
		r, web = Parameter{Name: name}.role()
	}
	switch { // whatever it is called, an address is where something goes
	case r == Object && t.Effect != Reads && (mailLike(value) || iban(strings.ToLower(strings.ReplaceAll(value, " ", "")))), (r == Object || r == Plain) && onWeb(value):
		return Destination
	}
	if t.Effect == Reads && r == Destination && !web && !hasScheme(value) { // whose messages are read; nothing goes there
		return Object
	}
	return r
}
