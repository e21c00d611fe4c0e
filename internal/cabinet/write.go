package cabinet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/bridge"
	"github.com/lanyard-dev/lanyard/internal/dav"
)

// metadata is what a request says of a file.
type metadata struct {
	Name    *string
	Kind    string
	Parents []string
}

// readMetadata reads a file's metadata. What WebDAV does not keep is refused.
func readMetadata(b []byte) (m metadata, err error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return m, nil
	}
	var members map[string]jsontext.Value
	if json.Unmarshal(b, &members) != nil || members == nil {
		return m, bridge.Invalid("the metadata are no JSON object")
	}
	for name, v := range members {
		var err error
		switch k := v.Kind(); {
		case k == 'n':
		case name == "name":
			err = json.Unmarshal(v, &m.Name)
		case name == "mimeType":
			err = json.Unmarshal(v, &m.Kind)
		case name == "parents":
			err = json.Unmarshal(v, &m.Parents)
		case name == "trashed" && k == 't':
			return m, bridge.Lacking("WebDAV has no trash: delete the file.")
		case k == 'f' || name == "kind" || name == "originalFilename" || string(v) == `""` || string(v) == "[]" || string(v) == "{}":
		default:
			return m, bridge.Invalid("%.40s is nothing that a file of WebDAV keeps.", name)
		}
		if err != nil {
			return m, bridge.Invalid("Invalid value for %s.", name)
		}
	}
	if m.Name != nil && dav.CheckName(*m.Name) != nil {
		return m, bridge.Invalid("Invalid value for name: no slashes, backslashes or control characters.")
	}
	if len(m.Parents) > 1 {
		return m, bridge.Invalid("A file of WebDAV lies in one folder.")
	}
	return m, nil
}

// upload is what a request brings: metadata, and content where there is some.
type upload struct {
	metadata
	content io.Reader // nil: none
	size    int64     // -1: not known
	kind    string
}

func readUpload(r *http.Request) (u upload, err error) {
	kind := r.URL.Query().Get("uploadType")
	if !strings.HasPrefix(r.URL.Path, "/upload/") {
		b, err := readAll(r.Body, maxJSON)
		if err != nil {
			return u, err
		}
		u.metadata, err = readMetadata(b)
		return u, err
	}
	base, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case kind == "media":
		u.content, u.size, u.kind = r.Body, r.ContentLength, base
		return u, nil
	case kind != "multipart":
		return u, bridge.Invalid("uploadType is media, multipart or resumable")
	case err != nil || base != "multipart/related":
		return u, bridge.Invalid("an upload in parts is multipart/related")
	}
	b, err := readAll(r.Body, maxParts)
	if err != nil {
		return u, err
	}
	first, second, kind, err := parts(b, parameters["boundary"])
	if err != nil {
		return u, err
	}
	if u.metadata, err = readMetadata(first); err != nil {
		return u, err
	}
	u.content, u.size, u.kind = bytes.NewReader(second), int64(len(second)), kind
	return u, nil
}

func readAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil || int64(len(b)) > limit {
		return nil, &bridge.Failure{Status: http.StatusRequestEntityTooLarge, Message: "the request is too large or was cut off"}
	}
	return b, nil
}

// parts takes an upload of two parts apart: what it is, and its content with its type.
func parts(b []byte, boundary string) (first, second []byte, kind string, err error) {
	bad := bridge.Invalid("an upload in parts has two: what it is, and then its content, neither encoded")
	in := multipart.NewReader(bytes.NewReader(b), boundary)
	for i := 0; ; i++ {
		p, err := in.NextRawPart()
		if errors.Is(err, io.EOF) && i == 2 {
			return first, second, kind, nil
		}
		if err != nil || i == 2 {
			return nil, nil, "", bad
		}
		b, err := io.ReadAll(p)
		if e := strings.ToLower(p.Header.Get("Content-Transfer-Encoding")); err != nil || !slices.Contains([]string{"", "7bit", "8bit", "binary"}, e) {
			return nil, nil, "", bad
		}
		if i == 0 {
			first = b
			continue
		}
		second = b
		kind, _, _ = mime.ParseMediaType(p.Header.Get("Content-Type"))
	}
}

// parent is the folder with an id, which must be there.
func (k *Cabinet) parent(ctx context.Context, id string) ([]string, error) {
	names, err := parseID(id)
	if err != nil {
		return nil, err
	}
	f, err := k.look(ctx, names)
	if err != nil {
		return nil, err
	}
	if !f.folder {
		return nil, bridge.Invalid("The parent is no folder.")
	}
	return names, nil
}

// free returns an error if something is at names already: nothing is overwritten that was not named.
func (k *Cabinet) free(ctx context.Context, names []string) error {
	_, err := k.look(ctx, names)
	if err == nil {
		return &bridge.Failure{Status: http.StatusConflict, Message: "There is something of that name in the folder: update it, or take another name."}
	}
	if err == bridge.ErrNone || dav.Code(err) == http.StatusNotFound {
		return nil
	}
	return err
}

func (k *Cabinet) create(_ http.ResponseWriter, r *http.Request) (any, error) {
	u, err := readUpload(r)
	if err != nil {
		return nil, err
	}
	return k.make(r.Context(), u)
}

// make makes a file or a folder of what an upload brings.
func (k *Cabinet) make(ctx context.Context, u upload) (any, error) {
	names, err := k.goal(ctx, u.metadata)
	if err != nil {
		return nil, err
	}
	at := k.client.Root().Join(names...)
	switch {
	case u.Kind == folder && u.content != nil:
		return nil, errContent
	case u.Kind == folder:
		_, err = k.client.Send(ctx, dav.Request{Method: "MKCOL", Path: at, Folder: true})
	case strings.HasPrefix(u.Kind, "application/vnd.google-apps."):
		return nil, errDocument
	default:
		err = k.put(ctx, at, u, map[string]string{"If-None-Match": "*"})
	}
	if err != nil {
		return nil, err
	}
	f, err := k.look(ctx, names)
	if err != nil {
		return nil, err
	}
	return k.object(f), nil
}

var (
	errContent  = bridge.Invalid("A folder has no content.")
	errDocument = bridge.Lacking("Documents of Google's are not kept by WebDAV: upload a file.")
)

// goal is where something new is to be; nothing may be there.
func (k *Cabinet) goal(ctx context.Context, m metadata) ([]string, error) {
	id, name := rootID, "Untitled"
	if len(m.Parents) == 1 {
		id = m.Parents[0]
	}
	if m.Name != nil {
		name = *m.Name
	}
	in, err := k.parent(ctx, id)
	if err != nil {
		return nil, err
	}
	names := append(slices.Clone(in), name)
	return names, k.free(ctx, names)
}

// put writes the content of an upload.
func (k *Cabinet) put(ctx context.Context, at dav.Path, u upload, header map[string]string) error {
	if header["Content-Type"] = u.Kind; u.Kind == "" {
		header["Content-Type"] = u.kind
	}
	body, size := u.content, u.size
	if body == nil {
		body, size = strings.NewReader(""), 0
	}
	_, err := k.client.Send(ctx, dav.Request{Method: http.MethodPut, Path: at, Body: body, Size: size, Header: header})
	return err
}

// update renames, moves, or writes over a file. What it is asked for is done in this order; a move gives it another id.
func (k *Cabinet) update(_ http.ResponseWriter, r *http.Request) (any, error) {
	u, err := readUpload(r)
	if err != nil {
		return nil, err
	}
	return k.change(r.Context(), named(r), u)
}

// target is what a request names to be changed.
type target struct {
	id          string
	add, remove string // folders
	match       string // If-Match
}

func named(r *http.Request) target {
	q := r.URL.Query()
	return target{r.PathValue("file"), q.Get("addParents"), q.Get("removeParents"), r.Header.Get("If-Match")}
}

// change is update, of what an upload brings.
func (k *Cabinet) change(ctx context.Context, t target, u upload) (any, error) {
	f, to, err := k.changing(ctx, t, u.metadata)
	if err != nil {
		return nil, err
	}
	root, match := k.client.Root(), t.match
	if match != "" && match != "*" && !slices.Contains(strings.Split(strings.ReplaceAll(match, " ", ""), ","), f.etag) {
		return nil, bridge.Refused(http.StatusPreconditionFailed)
	}
	if u.content != nil {
		if f.folder {
			return nil, errContent
		}
		if u.Kind == "" && u.kind == "" {
			u.kind = f.kind
		}
		if err := k.put(ctx, root.Join(f.names...), u, map[string]string{"If-Match": match}); err != nil {
			return nil, err
		}
	}
	if !slices.Equal(to, f.names) {
		if err := k.client.Transfer(ctx, "MOVE", root.Join(f.names...), f.folder, root.Join(to...)); err != nil {
			return nil, err
		}
	}
	if f, err = k.look(ctx, to); err != nil {
		return nil, err
	}
	return k.object(f), nil
}

// changing is the file that a target names, and where it is to be afterwards.
func (k *Cabinet) changing(ctx context.Context, t target, m metadata) (*file, []string, error) {
	names, err := parseID(t.id)
	if err != nil {
		return nil, nil, err
	}
	f, err := k.look(ctx, names)
	if err != nil {
		return nil, nil, err
	}
	to, err := k.destination(ctx, f, t, m)
	return f, to, err
}

// destination is where a file is to be after an update; nothing else may be there.
func (k *Cabinet) destination(ctx context.Context, f *file, t target, m metadata) ([]string, error) {
	add, remove := t.add, t.remove
	if m.Parents != nil {
		return nil, bridge.Invalid("parents cannot be written: use addParents and removeParents.")
	}
	if len(f.names) == 0 {
		if add != "" || remove != "" || m.Name != nil {
			return nil, bridge.Invalid("The drive itself can be neither renamed nor moved.")
		}
		return f.names, nil
	}
	to := slices.Clone(f.names)
	if add != "" && add != f.parent() {
		in, err := k.parent(ctx, add)
		if err != nil {
			return nil, err
		}
		to = append(slices.Clone(in), f.name())
	}
	if remove != "" && (remove != f.parent() || add == "" || add == f.parent()) {
		return nil, bridge.Invalid("A file lies in one folder: to move it, give the one it is in as removeParents and another as addParents.")
	}
	if m.Name != nil {
		to[len(to)-1] = *m.Name
	}
	if slices.Equal(to, f.names) {
		return to, nil
	}
	if f.folder && len(to) > len(f.names) && slices.Equal(to[:len(f.names)], f.names) {
		return nil, bridge.Invalid("A folder cannot be moved into itself.")
	}
	return to, k.free(ctx, to)
}

func (k *Cabinet) copy(_ http.ResponseWriter, r *http.Request) (any, error) {
	b, err := readAll(r.Body, maxJSON)
	if err != nil {
		return nil, err
	}
	m, err := readMetadata(b)
	if err != nil {
		return nil, err
	}
	f, err := k.find(r)
	if err != nil {
		return nil, err
	}
	if f.folder {
		return nil, &bridge.Failure{Status: http.StatusForbidden, Message: "A folder cannot be copied."}
	}
	to, name := f.parent(), "Copy of "+f.name()
	if len(m.Parents) == 1 {
		to = m.Parents[0]
	}
	if m.Name != nil {
		name = *m.Name
	}
	in, err := k.parent(r.Context(), to)
	if err != nil {
		return nil, err
	}
	names := append(slices.Clone(in), name)
	if err := k.free(r.Context(), names); err != nil {
		return nil, err
	}
	root := k.client.Root()
	if err := k.client.Transfer(r.Context(), "COPY", root.Join(f.names...), false, root.Join(names...)); err != nil {
		return nil, err
	}
	if f, err = k.look(r.Context(), names); err != nil {
		return nil, err
	}
	return k.object(f), nil
}

func (k *Cabinet) remove(_ http.ResponseWriter, r *http.Request) (any, error) {
	f, err := k.find(r)
	if err != nil {
		return nil, err
	}
	if len(f.names) == 0 {
		return nil, &bridge.Failure{Status: http.StatusForbidden, Message: "The drive itself cannot be deleted."}
	}
	_, err = k.client.Send(r.Context(), dav.Request{Method: http.MethodDelete, Path: k.client.Root().Join(f.names...), Folder: f.folder, Header: map[string]string{"If-Match": r.Header.Get("If-Match")}})
	return nil, err
}
