package office

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// file is a file or, by its type, a folder.
type file struct {
	Kind         string    `json:"kind"`
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	MimeType     string    `json:"mimeType"`
	Parents      []string  `json:"parents,omitempty"`
	Trashed      bool      `json:"trashed"`
	Size         string    `json:"size,omitempty"`
	CreatedTime  time.Time `json:"createdTime"`
	ModifiedTime time.Time `json:"modifiedTime"`

	Permissions []permission `json:"permissions"`
	Owners      []user       `json:"owners"`

	content []byte
}

type user struct {
	Kind         string `json:"kind"`
	EmailAddress string `json:"emailAddress"`
}

type permission struct {
	Kind         string `json:"kind"`
	ID           string `json:"id"`
	Type         string `json:"type"`
	Role         string `json:"role"`
	EmailAddress string `json:"emailAddress,omitempty"`
}

const folder = "application/vnd.google-apps.folder"

func (o *Office) drive() {
	const base = "/drive/v3/files"
	o.handle("GET "+base, o.listFiles)
	o.handle("POST "+base, o.createFile)
	o.handle("POST /upload"+base, o.createFile)
	o.handle("GET "+base+"/{fileId}", o.getFile)
	o.handle("PATCH "+base+"/{fileId}", o.updateFile)
	o.handle("PATCH /upload"+base+"/{fileId}", o.updateFile)
	o.handle("DELETE "+base+"/{fileId}", o.deleteFile)
	o.handle("GET "+base+"/{fileId}/permissions", o.listPermissions)
	o.handle("POST "+base+"/{fileId}/permissions", o.createPermission)
}

var (
	nameIs   = regexp.MustCompile(`^name *(=|contains) *'([^']*)'$`)
	typeIs   = regexp.MustCompile(`^mimeType *(=|!=) *'([^']*)'$`)
	inParent = regexp.MustCompile(`^'([^']*)' in parents$`)
	trashIs  = regexp.MustCompile(`^trashed *= *(true|false)$`)
)

// meets knows the commonest terms of Drive's search, joined by "and".
func (f *file) meets(query string) (bool, error) {
	for _, term := range strings.Split(query, " and ") {
		var ok bool
		if m := nameIs.FindStringSubmatch(term); m != nil {
			ok = f.Name == m[2] || m[1] == "contains" && strings.Contains(strings.ToLower(f.Name), strings.ToLower(m[2]))
		} else if m := typeIs.FindStringSubmatch(term); m != nil {
			ok = (f.MimeType == m[2]) == (m[1] == "=")
		} else if m := inParent.FindStringSubmatch(term); m != nil {
			ok = slices.Contains(f.Parents, m[1])
		} else if m := trashIs.FindStringSubmatch(term); m != nil {
			ok = f.Trashed == (m[1] == "true")
		} else if term != "" {
			return false, invalid("Invalid Value: q")
		} else {
			ok = true
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

func (o *Office) listFiles(r *http.Request) (any, error) {
	all := []*file{}
	for _, f := range o.files {
		ok, err := f.meets(strings.TrimSpace(r.URL.Query().Get("q")))
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, f)
		}
	}
	from, to, next, err := page(r, len(all), "pageSize", 100)
	if err != nil {
		return nil, err
	}
	return listing(map[string]any{"kind": "drive#fileList", "incompleteSearch": false, "files": all[from:to]}, next), nil
}

func (o *Office) file(r *http.Request) (*file, error) {
	for _, f := range o.files {
		if f.ID == r.PathValue("fileId") {
			return f, nil
		}
	}
	if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v1.0/") && r.PathValue("fileId") == "root" { // in Graph it is an item, too
		return &file{ID: "root", Name: "root", MimeType: folder, Parents: []string{""}, CreatedTime: o.now, ModifiedTime: o.now, Permissions: []permission{{"drive#permission", "1", "user", "owner", Mailbox}}}, nil
	}
	return nil, notFound("File")
}

func (o *Office) getFile(r *http.Request) (any, error) {
	f, err := o.file(r)
	if err != nil || r.URL.Query().Get("alt") != "media" {
		return f, err
	}
	if f.MimeType == folder {
		return nil, &failure{http.StatusForbidden, "fileNotDownloadable", "Only files with binary content can be downloaded."}
	}
	return media{f.MimeType, f.content}, nil
}

// revise reads new metadata and, from an upload, new content into f.
func (o *Office) revise(r *http.Request, f *file) error {
	var in struct {
		Name, MimeType *string
		Parents        []string
		Trashed        *bool
	}
	metadata := io.Reader(r.Body)
	if strings.HasPrefix(r.URL.Path, "/upload/") {
		m, content, err := upload(r)
		if err != nil {
			return err
		}
		metadata, f.content, f.MimeType = m, content.data, content.kind
		f.Size = strconv.Itoa(len(f.content))
	}
	if err := json.NewDecoder(metadata).Decode(&in); err != nil && err != io.EOF {
		return invalid("Invalid JSON payload received.")
	}
	if in.Name != nil {
		f.Name = *in.Name
	}
	if in.MimeType != nil {
		f.MimeType = *in.MimeType
	}
	if in.Trashed != nil {
		f.Trashed = *in.Trashed
	}
	if in.Parents != nil {
		f.Parents = in.Parents
	}
	return nil
}

func (o *Office) createFile(r *http.Request) (any, error) {
	if r.URL.Query().Has("upload_id") { // Google's client in Go brings parts with POST
		return o.resume(r)
	}
	f := &file{Kind: "drive#file", Name: "Untitled", MimeType: "application/octet-stream", Parents: []string{"root"}}
	if err := o.revise(r, f); err != nil {
		return nil, err
	}
	if resumable(r) {
		return o.begin(r, f, nil)
	}
	o.keep(f)
	return f, nil
}

// keep stores a new file as its owner's.
func (o *Office) keep(f *file) {
	f.ID, f.CreatedTime = o.stamp()
	f.ModifiedTime = f.CreatedTime
	f.Permissions = []permission{{"drive#permission", "1", "user", "owner", Mailbox}}
	f.Owners = []user{{"drive#user", Mailbox}}
	o.files = append(o.files, f)
}

func (o *Office) updateFile(r *http.Request) (any, error) {
	f, err := o.file(r)
	if err != nil {
		return nil, err
	}
	changed := *f
	if err := o.revise(r, &changed); err != nil {
		return nil, err
	}
	q := r.URL.Query()
	list := func(name string) []string {
		return strings.FieldsFunc(q.Get(name), func(c rune) bool { return c == ',' })
	}
	changed.Parents = slices.DeleteFunc(slices.Clone(changed.Parents), func(p string) bool { return slices.Contains(list("removeParents"), p) })
	changed.Parents = append(changed.Parents, list("addParents")...)
	if resumable(r) {
		return o.begin(r, &changed, f)
	}
	_, changed.ModifiedTime = o.stamp()
	*f = changed
	return f, nil
}

func (o *Office) deleteFile(r *http.Request) (any, error) {
	f, err := o.file(r)
	if err == nil {
		o.files = slices.DeleteFunc(o.files, func(x *file) bool { return x == f })
	}
	return nil, err
}

func (o *Office) listPermissions(r *http.Request) (any, error) {
	f, err := o.file(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"kind": "drive#permissionList", "permissions": f.Permissions}, nil
}

func (o *Office) createPermission(r *http.Request) (any, error) {
	f, err := o.file(r)
	if err != nil {
		return nil, err
	}
	p := permission{}
	if err := decode(r, &p); err != nil {
		return nil, err
	}
	if p.Type == "" || p.Role == "" {
		return nil, invalid("The permission type and role fields are required.")
	}
	p.Kind, p.ID = "drive#permission", strconv.Itoa(len(f.Permissions)+1)
	f.Permissions = append(f.Permissions, p)
	return p, nil
}
