// Package google recognises the requests of a Google API from its discovery
// document (https://developers.google.com/discovery/v1/reference/apis): one that
// is built in, by name (gmail/v1, drive/v3, calendar/v3), or the JSON itself.
//
// The upstream's URL is the document's rootUrl, so a request's path begins with
// the service's own: /gmail/v1/users/me/messages, /drive/v3/files. An action is a
// method's id. Media upload in one request (uploadType media or multipart) is the
// same action at its upload path; files are uploaded in several, too (resumable, see
// upload.go). Refused, because what they do is not decided here: batches, resumable
// uploads of anything else (of a mail its content says where it goes), JSONP, and
// credentials in the query.
package google

import (
	"embed"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

//go:generate go run ./gen .

//go:embed *.json
var builtin embed.FS

// Family makes connectors of discovery documents.
func Family() connector.Family { return connector.Family{Name: "google", Open: Open} }

// Builtin lists the names of the documents that are built in.
func Builtin() []string { return []string{"calendar/v3", "drive/v3", "gmail/v1"} }

// Open takes the name of a document that is built in, or a document.
func Open(description []byte) (connector.Connector, error) {
	text := strings.TrimSpace(string(description))
	if !strings.HasPrefix(text, "{") {
		if !slices.Contains(Builtin(), text) {
			return nil, fmt.Errorf("google: no document %.40q is built in: use one of %s, or the JSON of a discovery document", text, strings.Join(Builtin(), ", "))
		}
		b, err := builtin.ReadFile(strings.ReplaceAll(text, "/", "-") + ".json")
		if err != nil {
			return nil, fmt.Errorf("google: %w", err)
		}
		text = string(b)
	}
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return nil, fmt.Errorf("google: reading the discovery document: %w", err)
	}
	if d.Version == "" || len(d.Resources)+len(d.Methods) == 0 {
		return nil, fmt.Errorf("google: the discovery document has no version or no methods")
	}
	operations, err := d.operations()
	for i := range operations {
		if a := &operations[i].Action; rule(*a) {
			a.Words = words("mail.rule")
		} else {
			a.Words = dialect.Of[a.Name].Words
		}
	}
	if err != nil {
		return nil, fmt.Errorf("google: %w", err)
	}
	table, err := connector.NewTable(operations)
	if err != nil {
		return nil, fmt.Errorf("google: %w", err)
	}
	return api{table}, nil
}

// api is a table behind the few things that all Google APIs understand beside it.
type api struct{ *connector.Table }

var (
	_ connector.BodyReader = api{}
	_ connector.Layered    = api{}
	_ connector.Completer  = api{}
	_ connector.Speaker    = api{}
	_ connector.Uploader   = api{}
	_ connector.Withholder = api{}
)

// Actions adds to each the arguments that its body has.
func (a api) Actions() []policy.Action {
	return dialect.Actions(a.Table.Actions())
}

// MaxBody is that of a request whose body says more than its first line: who is written to, what is shared with whom.
func (a api) MaxBody(r *connector.Request) int64 {
	if r.Upload != nil {
		return 0 // it is content alone
	}
	call, err := a.Table.Recognise(r)
	if err != nil {
		return 0
	}
	if call.Arguments["uploadType"] == "media" && strings.HasPrefix(call.Action, "drive.") {
		return 0 // it is content alone
	}
	if begins(call) {
		return maxMetadata
	}
	return dialect.MaxBody(call.Action)
}

func (a api) Admit(r *connector.Request, call policy.Call, u connector.Under) error {
	return dialect.Admit(r, call, u)
}

func (a api) Reveal(r *connector.Request, call policy.Call, u connector.Under, kind string, reply []byte) ([]byte, string, error) {
	return dialect.Reveal(r, call, u, kind, reply)
}

// Names reports whether it sends a draft by its id.
func (a api) Names(call policy.Call) bool {
	return call.Action == "gmail.users.drafts.send" && call.Arguments["recipients"] == nil
}

// Complete has a draft sent as it is now.
func (a api) Complete(_ *connector.Request, call policy.Call, look connector.Look) ([]byte, map[string]any, error) {
	body, err := drafted(call, look)
	return body, nil, err
}

func (a api) Recognise(r *connector.Request) (policy.Call, error) {
	if err := checkHeader(r.Header); err != nil {
		return policy.Call{}, err
	}
	if r.Upload != nil {
		return goesOn(r)
	}
	call, err := a.Table.Recognise(r)
	if err == nil {
		err = checkBegin(r, call)
	}
	if err == nil {
		err = checkParts(r, call)
	}
	if err == nil {
		err = dialect.Read(r, &call)
	}
	if err != nil {
		call = policy.Call{}
	}
	if err != nil && strings.HasPrefix(r.Path, "/upload/gmail/") && strings.Contains(r.Query, "uploadType=resumable") {
		err = fmt.Errorf("%w: a mail is decided on as a whole; upload it in one request (uploadType media or multipart)", connector.ErrUnrecognised)
	}
	if err != nil && (r.Path == "/batch" || strings.HasPrefix(r.Path, "/batch/")) {
		err = fmt.Errorf("%w: a batch holds many calls, and each must be decided alone; send them one by one", connector.ErrUnrecognised)
	}
	return call, err
}

// checkHeader refuses the headers by which Google lets a request be another than its first line says, or its reply hold other
// fields than the query asks for, or text in base64, in which nothing would be found that is to be masked.
func checkHeader(h http.Header) error {
	for _, name := range []string{"X-Http-Method-Override", "X-Goog-Upload-Protocol", "X-Goog-Upload-Command", "X-Goog-Fieldmask", "X-Goog-Encode-Response-If-Executable"} {
		if len(h) > 0 && h[name] != nil {
			return fmt.Errorf("%w: header %s changes what the request does", connector.ErrUnrecognised, name)
		}
	}
	return nil
}

// document is the part of a discovery document that says what requests look like.
type document struct {
	Name        string                `json:"name"`
	Version     string                `json:"version"`
	ServicePath string                `json:"servicePath"`
	Parameters  map[string]*parameter `json:"parameters"`
	Methods     map[string]*method    `json:"methods"`
	Resources   map[string]*resource  `json:"resources"`
}

type resource struct {
	Methods   map[string]*method   `json:"methods"`
	Resources map[string]*resource `json:"resources"`
}

type method struct {
	ID          string                `json:"id"`
	HTTPMethod  string                `json:"httpMethod"`
	Path        string                `json:"path"`
	Description string                `json:"description"`
	Parameters  map[string]*parameter `json:"parameters"`
	MediaUpload struct {
		Protocols struct {
			Simple struct {
				Path string `json:"path"`
			} `json:"simple"`
		} `json:"protocols"`
	} `json:"mediaUpload"`
}

type parameter struct {
	Location string   `json:"location"`
	Type     string   `json:"type"`
	Format   string   `json:"format"`
	Pattern  string   `json:"pattern"`
	Repeated bool     `json:"repeated"`
	Enum     []string `json:"enum"`
}

func (d *document) operations() (list []connector.Operation, err error) {
	walk := func(methods map[string]*method) {
		for _, name := range slices.Sorted(maps.Keys(methods)) {
			if m := methods[name]; m == nil {
				err = fmt.Errorf("method %s is null", name)
			} else if o, e := d.operation(m); e != nil {
				err = fmt.Errorf("method %s: %w", m.ID, e)
			} else {
				list = append(list, o...)
			}
		}
	}
	walk(d.Methods)
	var down func(map[string]*resource)
	down = func(resources map[string]*resource) {
		for _, name := range slices.Sorted(maps.Keys(resources)) {
			if r := resources[name]; r != nil {
				walk(r.Methods)
				down(r.Resources)
			}
		}
	}
	down(d.Resources)
	return list, err
}

// operation is the method at its path and, if it takes media, at its upload path.
func (d *document) operation(m *method) ([]connector.Operation, error) {
	o := connector.Operation{
		Method: m.HTTPMethod,
		Action: policy.Action{Name: m.ID, Class: class(m), Summary: firstSentence(m.Description)},
	}
	var err error
	if o.Path, err = m.template("/" + d.ServicePath + m.Path); err != nil {
		return nil, err
	}
	o.Resource = d.resource(m)
	if o.Parameters, err = d.parameters(m); err != nil {
		return nil, err
	}
	list := []connector.Operation{o}
	if simple := m.MediaUpload.Protocols.Simple.Path; simple != "" {
		if o.Path, err = m.template(simple); err != nil {
			return nil, err
		}
		o.Parameters = append(slices.Clone(o.Parameters), connector.Parameter{Name: "uploadType", Enum: uploadTypes(m.ID)})
		list = append(list, o)
	}
	return list, nil
}

// resource is what the method acts on: its path without what names the API or the verb.
func (d *document) resource(m *method) string {
	path := m.Path
	if rest, ok := strings.CutPrefix(path, d.Name+"/"); ok {
		path = rest
	}
	if rest, ok := strings.CutPrefix(path, d.Version+"/"); ok {
		path = rest
	}
	if at := strings.LastIndexByte(path, ':'); at > strings.LastIndexAny(path, "/}") || at > 0 && path[at-1] == '}' {
		path = path[:at]
	}
	verb := m.ID[strings.LastIndexByte(m.ID, '.')+1:]
	if before, ok := strings.CutSuffix(path, "/"+verb); ok {
		path = before
	}
	return strings.ReplaceAll(path, "{+", "{")
}

// template is path with each {+name} given the form that its pattern says.
func (m *method) template(path string) (string, error) {
	for name, p := range m.Parameters {
		if p == nil || p.Pattern == "" || !strings.Contains(path, "{+"+name+"}") {
			continue
		}
		form := strings.TrimSuffix(strings.TrimPrefix(p.Pattern, "^"), "$")
		form = strings.NewReplacer("[^/]+", "*", ".*", "**", ".+", "**").Replace(form)
		if !plainForm.MatchString(form) {
			return "", fmt.Errorf("parameter %s: pattern %s is of no form known here", name, p.Pattern)
		}
		path = strings.ReplaceAll(path, "{+"+name+"}", "{"+name+"="+form+"}")
	}
	return path, nil
}

var plainForm = regexp.MustCompile(`^([A-Za-z0-9_-]+|\*)(/([A-Za-z0-9_-]+|\*))*(/\*\*)?$|^\*\*$`)

func firstSentence(s string) string {
	if i := strings.Index(s, ". "); i >= 0 {
		s = s[:i+1]
	}
	return strings.Join(strings.Fields(s), " ")
}
