// Package graph recognises the requests of Microsoft Graph v1.0 for mail, files and
// calendars: v1.0, whose description is built in, derived from Microsoft's own (gen).
//
// The upstream's URL is https://graph.microsoft.com, so a request's path begins with /v1.0.
// /me and /users/{user-id} are the same mailbox in two spellings, and a drive has three
// (/me/drive, /users/{user-id}/drive, /drives/{drive-id}); each action is one, whichever is
// used: graph.messages.list, graph.messages.send, graph.items.invite. Refused, because what they do is not
// decided here: batches ($batch), items by path (root:/a/b:, but for a new file in a
// folder, items/{driveItem-id}:/{filename}:/content, and for where an upload begins, see
// upload.go), and everything else that Graph has.
package graph

import (
	"embed"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/office"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

//go:generate go run ./gen .

//go:embed v1.0.json
var builtin embed.FS

// Family makes the connector of Microsoft Graph.
func Family() connector.Family { return connector.Family{Name: "graph", Open: Open} }

// Open takes the name of the description that is built in.
func Open(description []byte) (connector.Connector, error) {
	if text := strings.TrimSpace(string(description)); text != "v1.0" {
		return nil, fmt.Errorf("graph: no description %.40q is built in: use v1.0", text)
	}
	b, err := builtin.ReadFile("v1.0.json")
	if err != nil {
		return nil, fmt.Errorf("graph: %w", err)
	}
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("graph: reading the description: %w", err)
	}
	table, err := connector.NewTable(d.operations())
	if err != nil {
		return nil, fmt.Errorf("graph: %w", err)
	}
	return api{table}, nil
}

type document struct {
	Source  string                          `json:"source"`
	Mailbox map[string]map[string]operation `json:"mailbox"`
	Drive   map[string]map[string]operation `json:"drive"`
}

type operation struct {
	Summary string   `json:"summary"`
	Query   []string `json:"query"`
}

// mailboxes and drives are the spellings of one.
var (
	mailboxes = []string{"/me", "/users/{user-id}"}
	drives    = []string{"/me/drive", "/users/{user-id}/drive", "/drives/{drive-id}"}
)

func (d *document) operations() (list []connector.Operation) {
	list = uploads()
	add := func(bases []string, path string, methods map[string]operation) {
		for _, method := range slices.Sorted(maps.Keys(methods)) {
			if path == "" && method != "get" { // a drive itself
				continue
			}
			for _, base := range bases {
				o := connector.Operation{Method: strings.ToUpper(method), Path: "/v1.0" + base + path, Resource: strings.TrimPrefix(base+path, "/"), Parameters: parameters(methods[method].Query)}
				o.Action = policy.Action{Name: name(method, path), Summary: methods[method].Summary}
				o.Action.Class, o.Action.Words = class(method, path), dialect.Of[o.Action.Name].Words
				list = append(list, o)
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(d.Mailbox)) {
		add(mailboxes, path, d.Mailbox[path])
	}
	for _, path := range slices.Sorted(maps.Keys(d.Drive)) {
		add(drives, path, d.Drive[path])
		if below, ok := strings.CutPrefix(path, "/items/{driveItem-id}/"); ok && (below == "children" || strings.HasPrefix(below, "search(")) {
			add(drives, "/root/"+below, d.Drive[path]) // root is an item, too
		}
	}
	for _, base := range drives {
		list = append(list, anew(base))
	}
	return list
}

// conflict says what becomes of a new file where there is one of its name: by default it takes that one's place.
const conflict = "@microsoft.graph.conflictBehavior"

// anew makes a file with its content in one request. It is the one path that names something by what it is called, and holds for what
// is not there yet alone.
func anew(base string) connector.Operation {
	return connector.Operation{Method: "PUT", Path: "/v1.0" + base + "/items/{driveItem-id}:/{filename}:/content", Resource: strings.TrimPrefix(base, "/") + "/items/{driveItem-id}/children/{filename}",
		Parameters: append(parameters(nil), connector.Parameter{Name: conflict, Enum: []string{"fail", "rename"}}),
		Action:     policy.Action{Name: newFile, Class: policy.Write, Summary: "create a file with its content in a folder.", Words: dialect.Of[newFile].Words}}
}

const newFile = "graph.items.children.put"

// parameters are the options of OData that an operation has.
func parameters(query []string) (list []connector.Parameter) {
	for _, name := range query {
		p := connector.Parameter{Name: name}
		switch name {
		case "$top", "$skip":
			p.Type, p.Max = connector.Integer, 1<<31-1
		case "$count":
			p.Type = connector.Boolean
		}
		list = append(list, p)
	}
	if slices.Contains(query, "$top") {
		list = append(list, connector.Parameter{Name: "$skiptoken"}, connector.Parameter{Name: "$skipToken"}) // of the next page
	}
	return append(list, connector.Parameter{Name: "access_token", Refused: "a credential does not belong in a query; the gateway adds the upstream's own"})
}

// name is that of an action: what it is of, and its verb.
func name(method, path string) string {
	var nouns []string
	item := false // the path ends with one of several
	for _, s := range strings.Split(strings.Trim(path, "/"), "/") {
		if item = strings.HasPrefix(s, "{"); !item && s != "" {
			nouns = append(nouns, strings.Replace(strings.TrimSuffix(s, "(q='{q}')"), "$value", "mime", 1))
		}
	}
	switch {
	case len(nouns) == 0:
		return "graph.drive.get"
	case len(nouns) > 1 && (nouns[0] == "calendar" || nouns[0] == "calendars") && (nouns[1] == "events" || nouns[1] == "calendarView"):
		nouns = nouns[1:]
	case len(nouns) > 1 && nouns[0] == "mailFolders" && (nouns[1] == "messages" || nouns[1] == "messageRules"):
		nouns = nouns[1:]
	case nouns[0] == "root" && len(nouns) == 1:
		nouns, item = []string{"items"}, true
	case nouns[0] == "root":
		nouns[0] = "items"
	}
	last := nouns[len(nouns)-1]
	verb := map[string]string{"get": "get", "post": "create", "patch": "update", "put": "put", "delete": "delete"}[method]
	switch {
	case method == "post" && actions[last], last == "search", last == "calendarView", last == "instances":
		verb = "" // it is its verb
	case method == "get" && !item && lists[last]:
		verb = "list"
	}
	if len(nouns) == 1 && verb == "" && last == "sendMail" {
		return "graph.sendMail"
	}
	all := append([]string{"graph"}, nouns...)
	if verb != "" {
		all = append(all, verb)
	}
	return strings.Join(all, ".")
}

var actions = map[string]bool{"sendMail": true, "send": true, "reply": true, "replyAll": true, "forward": true, "createReply": true, "createReplyAll": true, "createForward": true, "move": true, "copy": true,
	"permanentDelete": true, "accept": true, "decline": true, "tentativelyAccept": true, "cancel": true, "getSchedule": true, "createLink": true, "invite": true}

var lists = map[string]bool{"messages": true, "attachments": true, "mailFolders": true, "childFolders": true, "messageRules": true, "events": true, "calendars": true, "children": true, "permissions": true}

// class says what an operation does to the world.
func class(method, path string) policy.Class {
	last := path[strings.LastIndexByte(path, '/')+1:]
	switch {
	case method == "get" || last == "getSchedule":
		return policy.Read
	case strings.Contains(path, "/messageRules"), strings.Contains(path, "/mailboxSettings"), strings.Contains(path, "/permissions"), last == "invite", last == "createLink":
		return policy.Admin
	case method == "delete", last == "permanentDelete":
		return policy.Delete
	}
	return policy.Write
}

// api is a table behind the few things that Graph understands beside it.
type api struct{ *connector.Table }

var (
	_ connector.BodyReader = api{}
	_ connector.Layered    = api{}
	_ connector.Linker     = api{}
	_ connector.Completer  = api{}
	_ connector.Follower   = api{}
	_ connector.Speaker    = api{}
	_ connector.Uploader   = api{}
	_ connector.Withholder = api{}
)

func (a api) Actions() []policy.Action { return dialect.Actions(a.Table.Actions()) }

func (a api) Recognise(r *connector.Request) (policy.Call, error) {
	for _, name := range []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		if len(r.Header[name]) > 0 {
			return policy.Call{}, fmt.Errorf("%w: header %s changes what the request does", connector.ErrUnrecognised, name)
		}
	}
	if r.Upload != nil {
		return goesOn(r)
	}
	call, err := a.Table.Recognise(r)
	if err == nil {
		err = ids(call)
	}
	if err == nil && call.Action == newFile {
		err = called(call)
	}
	if err == nil {
		err = checkBegin(r, call)
	}
	if err != nil {
		call = policy.Call{}
	} else {
		err = dialect.Read(r, &call)
	}
	if err != nil && strings.HasSuffix(r.Path, "/$batch") {
		err = fmt.Errorf("%w: a batch holds many calls, and each must be decided alone; send them one by one", connector.ErrUnrecognised)
	}
	return call, err
}

// called refuses a name that Graph would take for a path, and a file that takes the place of another.
func called(call policy.Call) error {
	name := text(call.Arguments["filename"])
	switch {
	case !fileName(name):
		return fmt.Errorf("%w: %.60q is no name of a file", connector.ErrUnrecognised, name)
	case call.Arguments[conflict] == nil:
		return fmt.Errorf("%w: without %s=fail it could take the place of a file that is there", connector.ErrUnrecognised, conflict)
	}
	return nil
}

// ids refuses what is no id where one stands: Graph would run it as a function (delta, microsoft.graph.delta()), or take it for
// a part ($value), a key (('AAMk')) or a path (root:).
func ids(call policy.Call) error {
	for name, v := range call.Arguments {
		s, _ := v.(string)
		switch {
		case name == "q" && strings.Contains(strings.ReplaceAll(s, "''", ""), "'"):
			return fmt.Errorf("%w: an apostrophe in q is written twice", connector.ErrUnrecognised)
		case !strings.HasSuffix(name, "-id"):
			continue
		}
		plain := func(c rune) bool {
			return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("!@._=+~-", c) || name == "user-id" && (c == '#' || c == '\'')
		}
		if lower := strings.ToLower(s); lower == "delta" || strings.HasPrefix(lower, "microsoft.graph.") || strings.ContainsFunc(s, func(c rune) bool { return !plain(c) }) {
			return fmt.Errorf("%w: %.60q is no id; functions of Graph, and other ways to name something, are not let through", connector.ErrUnrecognised, s)
		}
	}
	return nil
}

// Names reports whether it answers a mail: it goes to who is on that.
func (a api) Names(call policy.Call) bool {
	return answers(call.Action) && call.Arguments["recipients"] == nil
}

// Complete has an answer say whom it goes to.
func (a api) Complete(r *connector.Request, call policy.Call, look connector.Look) ([]byte, map[string]any, error) {
	more, err := answered(r, call, look)
	return nil, more, err
}

// Follows reports whether it asks for the content of a file, which Graph has at an address elsewhere.
func (a api) Follows(call policy.Call) bool { return call.Action == "graph.items.content.get" }

// MaxBody is that of a request whose body says more than its first line.
func (a api) MaxBody(r *connector.Request) int64 {
	if r.Upload != nil {
		return 0 // it is content alone
	}
	call, err := a.Table.Recognise(r)
	if err != nil {
		return 0
	}
	return dialect.MaxBody(call.Action)
}

// links are the members of lists that say where the next page is, and what changes later. Turned are these and where an upload goes on: the
// members of replies whose addresses are the gateway's own, when it has sent them on.
var (
	links  = []string{"@odata.nextLink", "@odata.deltaLink"}
	Turned = append(slices.Clone(links), "uploadUrl")
)

// Links are those to the next page, and to what changes later.
func (a api) Links(call policy.Call) []string {
	if dialect.Of[call.Action].List == "" && !strings.HasSuffix(call.Action, ".list") {
		return nil
	}
	return links
}

func (a api) Admit(r *connector.Request, call policy.Call, u connector.Under) error {
	d, call := located(call, u)
	return d.Admit(r, call, u)
}

func (a api) Reveal(r *connector.Request, call policy.Call, u connector.Under, kind string, reply []byte) ([]byte, string, error) {
	d, call := located(call, u)
	return d.Reveal(r, call, u, kind, reply)
}

// base is where what a call is about begins: /v1.0/me, /v1.0/drives/b1.
func base(call policy.Call) string {
	parts := strings.Split(call.Resource, "/")
	n := 1
	if parts[0] != "me" {
		n = 2
	}
	if len(parts) > n && parts[n] == "drive" {
		n++
	}
	escaped := make([]string, min(n, len(parts)))
	for i := range escaped {
		escaped[i] = url.PathEscape(parts[i])
	}
	return "/v1.0/" + strings.Join(escaped, "/")
}

// folders are Graph's names of folders that every mailbox has.
var folders = map[string]string{"inbox": "inbox", "sent": "sentitems", "drafts": "drafts", "trash": "deleteditems", "spam": "junkemail", "archive": "archive"}

// located is the call with its base, and the dialect of a mailbox in which the folders that the
// layers name are known by their ids. They are asked for when the first mail is judged.
func located(call policy.Call, u connector.Under) (*dialectOf, policy.Call) {
	call.Arguments = maps.Clone(call.Arguments)
	if call.Arguments == nil {
		call.Arguments = map[string]any{}
	}
	call.Arguments["base"] = base(call)
	if call.Arguments["driveItem-id"] == nil && strings.Contains("/"+call.Resource+"/", "/root/") { // it is an item, too
		call.Arguments["driveItem-id"] = "root"
	}
	if u.Look == nil || dialect.Of[call.Action].Kind != layer.Mail {
		return dialect, call
	}
	d := *dialect
	known := sync.OnceValue(func() map[string]string { return labels(call, u) })
	d.Item = func(k layer.Kind, o *office.Value, call policy.Call) layer.Item {
		it := item(k, o, call)
		if l, ok := known()[o.Member("parentFolderId").Text()]; ok {
			it.Labels = append(it.Labels, l)
		}
		return it
	}
	return &d, call
}

// labels are the folders that the layers name, by id. Those that every mailbox has keep theirs.
func labels(call policy.Call, u connector.Under) map[string]string {
	known := map[string]string{}
	for _, r := range u.Rules {
		for _, l := range r.Within.Labels {
			name, look := l, u.Look
			if n := folders[strings.ToLower(l)]; n != "" {
				name = n
				if u.Fixed != nil {
					look = u.Fixed
				}
			}
			if _, reply, err := look(base(call) + "/mailFolders/" + url.PathEscape(name) + "?%24select=id"); err == nil {
				var o struct {
					ID string `json:"id"`
				}
				if json.Unmarshal(reply, &o) == nil && o.ID != "" {
					known[o.ID] = l
				}
			}
		}
	}
	return known
}
