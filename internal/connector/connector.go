// Package connector says what a request means: which action of which upstream,
// on which resource, with which arguments. One folder per family of systems.
//
// A connector is pure: a request in, a [policy.Call] out. What it does not
// recognise is refused, never guessed. ([Pinner] and [Cataloguer] alone ask their upstream.)
package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// ErrUnrecognised means that the upstream's description has no such request.
// The caller must refuse it.
var ErrUnrecognised = errors.New("request not recognised")

// Request is a clean, bounded request: the gateway has already refused
// ambiguous paths and headers. Path is relative to the upstream, with its
// leading slash, escaped exactly as it will be sent.
type Request struct {
	Method string
	Path   string // "/gmail/v1/users/me/messages"
	Query  string // raw, as it will be sent
	Header http.Header
	Body   []byte  // whole, for a BodyReader that asked for it; else nil
	Upload *Upload // what r goes on with, for an Uploader that named it; else nil
}

// Connector recognises the requests of one upstream.
type Connector interface {
	// Actions lists all it can recognise; policies are validated against them.
	Actions() []policy.Action
	// Recognise says what r means, or returns an error wrapping ErrUnrecognised.
	// The Call's Upstream is left for the caller to fill.
	Recognise(r *Request) (policy.Call, error)
}

// BodyReader is a Connector for which method and path do not say what a request
// means. What it is given as the body is, byte for byte, what is sent on.
type BodyReader interface {
	Connector
	// MaxBody is how many bytes the body of r may have; the caller must refuse
	// one that has more. 0 means that the body need not be read.
	MaxBody(r *Request) int64
}

// Refuser is a Connector whose clients hear of a refusal in their own protocol,
// where an HTTP error would end more than the one request.
type Refuser interface {
	Connector
	// Refusal is the answer to r, refused for a reason; cause is what Recognise said, if it
	// was Recognise that refused. A status of 0 means that r is nothing that such an answer
	// could be for.
	Refusal(r *Request, reason string, cause error) (status int, contentType string, body []byte)
}

// Asker is a Connector whose requests say the same in different bytes, and whose clients
// can be told that people have to approve a request, and where.
type Asker interface {
	Connector
	// Exact is all that r asks for, in the one form that it has: an approval is of that.
	Exact(r *Request) ([]byte, error)
	// Asked is the answer to r while it waits for people, as Refusal is.
	Asked(r *Request, p Pending) (status int, contentType string, body []byte)
	// Elicits reports whether r says that its client can show its person an address.
	Elicits(r *Request) bool
	// Resume is the body of r without what an answer of Asked's brought into it; false if it did not.
	Resume(r *Request) (body []byte, ok bool)
}

// Layered is a Connector of mail, files or events, of which a grant may hold some back.
type Layered interface {
	Connector
	// Admit returns nil when r, which means call, passes the layers: whom it writes to, where, what
	// it searches for, and what it acts on, which the upstream is asked about. What it
	// cannot check it refuses. [layer.ErrHidden] means that what it acts on is not shown.
	Admit(r *Request, call policy.Call, under Under) error
	// Reveal returns what the layers leave of the reply to r, which was admitted, and its
	// type. An error means that nothing of it is shown.
	Reveal(r *Request, call policy.Call, under Under, contentType string, reply []byte) ([]byte, string, error)
}

// Completer is a Connector of which some requests name what they send, or whom they go to, by an id alone.
type Completer interface {
	Connector
	// Names reports whether call sends something, or goes to somebody, that it does not say.
	Names(call policy.Call) bool
	// Complete returns the rest of such a request, as look brings it: where the upstream can be told, the body that says all of it;
	// else nil, and arguments beside those of call, which are true of what it will do for as long as look brings the same.
	Complete(r *Request, call policy.Call, look Look) (body []byte, more map[string]any, err error)
}

// Under is what a request and its reply are held against.
type Under struct {
	Rules []*layer.Rules
	Now   time.Time
	Look  Look   // nil: only what the request itself says is looked at
	Room  []byte // that what is shown of a reply may be written into; nil: memory of its own
	Fixed Look   // the same, for what stays as it is as long as the account does: it is asked once
	// Keeps is what takes into account what is made of one reply beside its text, in bytes, and below 0 gives it back. What it
	// refuses is not kept. nil: nobody takes it into account.
	Keeps func() func(bytes int64) error
}

// Look asks the same upstream for target, as the same account: a path and a query, as they are
// sent. The reply is whole, and of status 200; [layer.ErrHidden] is what the upstream does not have.
type Look func(target string) (contentType string, reply []byte, err error)

// Pending is a request that waits for people.
type Pending struct {
	ID      string // of the approval
	URL     string // of the page where they decide
	Who     string // can
	Reason  string // one sentence or two
	Expires time.Time
	Elicit  bool // the client can show its person the address
}

// SessionKeeper is a Connector of upstreams that keep sessions, named in a header. A
// session is of the identity that opened it: the caller must see to that. Such upstreams
// are spoken to by programs, so a request that a web page made is to be refused.
type SessionKeeper interface {
	Connector
	// Session is the header that names the session, and whether r, or the reply to it, has
	// one at all; if not, the header means nothing and must not be sent on.
	Session(r *Request) (header string, has bool)
}

// Lister is a Connector of upstreams that say what they offer. What a caller may
// not do is left out of what it is told.
type Lister interface {
	Connector
	// Lists reports whether the reply to call is such a list.
	Lists(call policy.Call) bool
	// Filter returns the reply to r, or one event of it, without what may says no to, and
	// what it offers. An error means that it must not be sent on.
	Filter(r *Request, contentType string, reply []byte, may func(policy.Call) bool) ([]byte, Offers, error)
}

// Offers is what an upstream offers now: names of actions (or "prompts/<name>" and the
// like), to what differs in their definitions from what was approved; "" is nothing.
type Offers map[string]string

// Linker is a Connector of upstreams whose replies say by addresses of theirs where there is more.
type Linker interface {
	Connector
	// Links are ends of names of the members in the reply to call, which is JSON, that hold such addresses.
	Links(call policy.Call) []string
}

// Follower is a Connector of upstreams that answer with an address elsewhere, at which anybody gets what was asked for.
type Follower interface {
	Connector
	// Follows reports whether the reply to call is what is there.
	Follows(call policy.Call) bool
}

// Withholder is a Connector of upstreams whose replies hold what is good for everybody who has it: addresses at which nobody is
// asked to sign in, tokens. No caller is told it, with layers or without: it would go on being good when the caller is stopped.
type Withholder interface {
	Connector
	// Withholds reports whether the reply to call, which is a JSON object then, may hold some.
	Withholds(call policy.Call) bool
	// Withhold returns such a reply without it; byte for byte, when there is none. An error means that it must not be sent on.
	// keeps is what [Under.Keeps] gives.
	Withhold(reply []byte, keeps func(bytes int64) error) ([]byte, error)
}

// Checker is a Connector whose replies say which request they answer, and in which an
// upstream may ask something of its client.
type Checker interface {
	Connector
	// Check returns what the reply to r, of that type, is to be written to before it is sent
	// on, piece by piece, and closed where it ends. An error means that it is no answer to r,
	// or what may said of a question in it. nil means that any reply will do. If tell is not nil, it
	// is called with each text that the answer holds before the end of the answer is let go on. holds takes bytes into account that
	// are kept of the reply for that, or, below 0, gives them back; what it refuses is not kept.
	Check(r *Request, contentType string, may func(Question) error, tell func(Told), holds func(int64) error) io.WriteCloser
}

// Told is a text that a reply holds: JSON, or as it stands there. Whole is false when it is not all there was.
type Told struct {
	Text  string
	Whole bool
}

// Question is what an upstream asks of its client. No is the message that refuses it, to be
// sent to the upstream, which waits for one; nil where it does not wait.
type Question struct {
	policy.Call
	No []byte
}

// Pinner is a Connector whose description holds definitions as they were approved. An
// action whose definition is another one now is another action. It is the one part of
// a connector that is not pure: it asks the upstream.
type Pinner interface {
	Connector
	// Pin is the name, in Offers, of the definition that the description holds of what
	// call does; "" if it holds none.
	Pin(call policy.Call) string
	// Covers are the names of definitions of which one may stand for what call does, where
	// none is of that alone. While any of them differs, nobody knows that it is not that one.
	Covers(call policy.Call) []string
	// Survey asks the upstream at url, through client, what it offers now.
	Survey(ctx context.Context, client *http.Client, url string) (Offers, error)
}

// Cataloguer is a Connector whose description can be asked for anew. Like a [Pinner] it
// asks its upstream.
type Cataloguer interface {
	Connector
	// Catalogue is a description of what the upstream at url, asked through client, offers now.
	Catalogue(ctx context.Context, client *http.Client, url string) ([]byte, error)
}

// Endpointer is a Connector of upstreams that are spoken to at one path.
type Endpointer interface {
	Connector
	Endpoint() string // "/mcp"
}

// Joiner is a Connector of no upstream of its own: it puts several, each an
// [Endpointer], behind one endpoint. What is asked for there is decided at the
// upstream that it is for.
type Joiner interface {
	Connector
	Members() []string // names of upstreams
}

// Open makes the connector of a family, by its name, from an upstream's description.
func Open(families []Family, name string, description []byte) (Connector, error) {
	var names []string
	for _, f := range families {
		if f.Name == name {
			return f.Open(description)
		}
		names = append(names, f.Name)
	}
	return nil, fmt.Errorf("family %q: there is %s", name, strings.Join(names, ", "))
}

// Family makes connectors for one family of systems from an upstream's description.
type Family struct {
	Name string // google, graph, openapi, patterns, mcp, join
	Open func(description []byte) (Connector, error)
}
