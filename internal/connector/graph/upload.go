package graph

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/office"
	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Upload sessions (https://learn.microsoft.com/graph/api/driveitem-createuploadsession): the first request says what the
// file is, the uploadUrl of its reply is where the content is put. That is mostly on another host, which asks for no
// token: whoever knows the address may write there.
//
// A new file is named in its folder, root:/a.txt: or items/<folder>:/a.txt:, which is the one way in which a name
// may stand in a path; so that it does not write over what is not shown, it says what becomes of a file that is there.

const (
	newSession    = "graph.items.children.createUploadSession"
	overSession   = "graph.items.createUploadSession"
	attachSession = "graph.messages.attachments.createUploadSession"
)

// uploads are the operations that begin an upload.
func uploads() (list []connector.Operation) {
	add := func(action, summary string, bases []string, path, resource string) {
		for _, base := range bases {
			list = append(list, connector.Operation{Method: http.MethodPost, Path: "/v1.0" + base + path + "/createUploadSession", Resource: strings.TrimPrefix(base+resource, "/"), Parameters: parameters(nil),
				Action: policy.Action{Name: action, Class: policy.Write, Words: dialect.Of[action].Words, Summary: summary}})
		}
	}
	add(overSession, "Begin to upload content of a file in several requests", drives, "/items/{driveItem-id}", "/items/{driveItem-id}")
	add(newSession, "Begin to upload a new file in several requests", drives, "/items/{driveItem-id}:/{name}:", "/items/{driveItem-id}/children/{name}")
	add(newSession, "Begin to upload a new file in several requests", drives, "/root:/{name}:", "/items/root/children/{name}")
	add(attachSession, "Begin to upload an attachment of a draft in several requests", mailboxes, "/messages/{message-id}/attachments", "/messages/{message-id}/attachments")
	return list
}

func begins(call policy.Call) bool { return strings.HasSuffix(call.Action, ".createUploadSession") }

// session reads what begins an upload. What is not read here is not there.
func session(r *connector.Request, call *policy.Call) error {
	o, err := object(r, "item", "deferCommit", "AttachmentItem", "name", "fileSize", "description", "fileSystemInfo", "@microsoft.graph.conflictBehavior", "attachmentType", "size", "contentType", "contentId", "isInline")
	if err != nil {
		return err
	}
	within, members := "item", []string{"@odata.type", "@microsoft.graph.conflictBehavior", "name", "description", "fileSize", "fileSystemInfo"}
	if call.Action == attachSession {
		within, members = "AttachmentItem", []string{"@odata.type", "attachmentType", "name", "size", "contentType", "contentId", "isInline"}
	}
	for name, v := range o {
		if name != within && name != "@odata.type" && !(name == "deferCommit" && v == false) {
			return fmt.Errorf("%.40q is nothing that begins an upload here", name)
		}
	}
	item, ok := o[within].(office.Object)
	if o[within] != nil && !ok {
		return fmt.Errorf("%s is no object", within)
	}
	for name := range item {
		if !slices.Contains(members, name) {
			return fmt.Errorf("%.40q is nothing that begins an upload here", name)
		}
	}
	conflict := item["@microsoft.graph.conflictBehavior"]
	switch call.Action {
	case newSession:
		if conflict != "fail" && conflict != "rename" {
			return errors.New("say item.@microsoft.graph.conflictBehavior, fail or rename: to write over a file name that by its id")
		}
		if item["name"] != nil && item["name"] != call.Arguments["name"] {
			return errors.New("item.name is another name than the path has")
		}
	case overSession:
		if item["name"] != nil || conflict != nil && conflict != "replace" {
			return errors.New("a file that is named by its id is written over: a new one is named in its folder (items/<folder>:/<name>:/createUploadSession)")
		}
	case attachSession:
		if item["attachmentType"] != "file" || text(item["name"]) == "" {
			return errors.New("AttachmentItem is to be a file with a name")
		}
	}
	return nil
}

// checkBegin refuses the beginning of an upload that is not said in a body, and names that are none.
func checkBegin(r *connector.Request, call policy.Call) error {
	if !begins(call) {
		return nil
	}
	if len(r.Body) == 0 && call.Action != overSession {
		return fmt.Errorf("%w: the body is to say what is uploaded", connector.ErrUnrecognised)
	}
	if name, ok := call.Arguments["name"].(string); ok && !fileName(name) {
		return fmt.Errorf("%w: %.60q is no name of a file", connector.ErrUnrecognised, name)
	}
	return nil
}

// fileName reports whether s is one name in a folder, for every reader of a path, also for one that decodes it twice.
func fileName(s string) bool {
	again, err := url.PathUnescape(s)
	return s != "" && len(s) <= 255 && s == strings.TrimSpace(s) && !strings.HasSuffix(s, ".") && (err != nil || again == s) && !strings.ContainsFunc(s, func(c rune) bool {
		return unicode.IsControl(c) || strings.ContainsRune(`"*:<>?/\|`, c)
	})
}

// goesOn is what a request means that brings content.
func goesOn(r *connector.Request) (policy.Call, error) {
	switch r.Method {
	case http.MethodPut, http.MethodGet, http.MethodDelete:
	default:
		return policy.Call{}, fmt.Errorf("%w: an upload goes on with PUT, is asked about with GET and given up with DELETE", connector.ErrUnrecognised)
	}
	return r.Upload.Meaning(), nil
}

// Begins is [connector.Uploader]'s, as are the methods below.
func (a api) Begins(r *connector.Request, call policy.Call) (int64, bool) {
	if r.Upload != nil || !begins(call) {
		return -1, false
	}
	var o struct {
		Item       struct{ FileSize *int64 }
		Attachment struct{ Size *int64 } `json:"AttachmentItem"`
	}
	if err := json.Unmarshal(r.Body, &o, json.MatchCaseInsensitiveNames(true)); err == nil {
		for _, n := range []*int64{o.Item.FileSize, o.Attachment.Size} {
			if n != nil && *n >= 0 {
				return *n, true
			}
		}
	}
	return -1, true
}

// told are the members of a session that its caller is told beside its address. Outlook writes them large.
var told = []string{"expirationDateTime", "nextExpectedRanges", "ExpirationDateTime", "NextExpectedRanges"}

func (a api) Begun(h http.Header, body []byte, name func(string) (string, error)) ([]byte, error) {
	var o office.Object
	if json.Unmarshal(body, &o) != nil || text(o["uploadUrl"]) == "" {
		return nil, errors.New("it does not say where the content is put")
	}
	address, err := name(text(o["uploadUrl"]))
	if err != nil {
		return nil, err
	}
	out := only(o, told...)
	out["uploadUrl"] = address
	connector.Keep(h, "Date", "Cache-Control", "Request-Id")
	h["Content-Type"] = []string{"application/json"}
	return json.Marshal(out, json.Deterministic(true))
}

// places are the hosts at which Microsoft takes content, and, with a dot before them, those below one.
var places = []string{".sharepoint.com", ".sharepoint.us", ".sharepoint-mil.us", ".sharepoint.cn", ".1drv.com", "api.onedrive.com", ".microsoftpersonalcontent.com", ".svc.ms",
	"outlook.office.com", "outlook.office365.com", "outlook.office365.us", "outlook-dod.office365.us", "partner.outlook.cn"}

// Takes is true of the upstream's own host and of Microsoft's, and of one on this machine when the upstream is on it. The address is
// all that is asked for there: a token is refused.
func (a api) Takes(base, place *url.URL) (ok, credential bool) {
	host := strings.ToLower(place.Hostname())
	switch {
	case place.User != nil || place.Opaque != "" || place.Fragment != "" || host == "" || !strings.HasPrefix(place.EscapedPath(), "/") || strings.HasPrefix(place.EscapedPath(), "//"):
		return false, false
	case strings.EqualFold(place.Scheme, base.Scheme) && strings.EqualFold(place.Host, base.Host):
		return true, false
	case fetch.Loopback(base.Hostname()):
		return fetch.Loopback(host) && (place.Scheme == "http" || place.Scheme == "https"), false
	case place.Scheme != "https" || place.Port() != "":
		return false, false
	}
	return slices.ContainsFunc(places, func(p string) bool { return host == p || p[0] == '.' && strings.HasSuffix(host, p) }), false
}

func (a api) Query(name string) string { return "upload_id=" + name }

var goingOn = regexp.MustCompile(`^upload_id=([A-Za-z0-9_-]+)$`)

func (a api) Named(r *connector.Request) string {
	if strings.HasSuffix(r.Path, "/createUploadSession") {
		if m := goingOn.FindStringSubmatch(r.Query); m != nil {
			return m[1]
		}
	}
	return ""
}

func (a api) Answered(r *connector.Request, status int, h http.Header, body []byte) ([]byte, bool, error) {
	connector.Keep(h, "Date", "Cache-Control", "Request-Id", "Content-Type")
	if len(body) == 0 {
		return nil, status == http.StatusNoContent || status == http.StatusAccepted, nil
	}
	o, err := office.JSON(body)
	if err != nil {
		return nil, false, err
	}
	so := status == http.StatusOK && text(o["id"]) == "" && (o["nextExpectedRanges"] != nil || o["NextExpectedRanges"] != nil) // as Outlook says it
	if so || status == http.StatusAccepted || r.Method == http.MethodGet {
		b, err := json.Marshal(only(o, told...), json.Deterministic(true))
		return b, true, err
	}
	return body, false, nil
}

func only(o office.Object, names ...string) office.Object {
	out := office.Object{}
	for _, name := range names {
		if v, ok := o[name]; ok {
			out[name] = v
		}
	}
	return out
}
