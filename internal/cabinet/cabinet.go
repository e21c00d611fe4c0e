// Package cabinet puts an account of a WebDAV server (RFC 4918) behind the interface of Google Drive,
// so that the gateway has it like any other: the same description, the same words, the same layers.
//
// Of Drive's interface it has what files and folders need: files (list, get, create, update, copy,
// delete) and about. WebDAV knows nothing of sharing, so neither do permissions. It decides nothing: who
// may do what is the gateway's to say, which alone has its credential.
package cabinet

import (
	"context"
	"crypto/tls"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/mail"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/bridge"
	"github.com/lanyard-dev/lanyard/internal/dav"
)

// Config says where the account is. URL, User, Password and Credential are required.
type Config struct {
	URL            string // of the folder that is the drive
	User, Password string
	Address        string   // of mail, of whoever the account is; default User
	SeenBy         []string // who else sees all that is there: addresses of mail, domains, or anyone; WebDAV does not say
	TLS            *tls.Config
	Credential     string // expected as Authorization: Bearer
	Spool          string // folder for content that comes in several requests, until all of it is there; default that of temporary files
	Room           int64  // bytes of it that may lie there; default 8 GiB
	Log            *slog.Logger
}

const (
	maxUpload = 16 << 30 // bytes of one request
	maxParts  = 64 << 20 // of one in parts, which is read whole
	maxJSON   = 1 << 20
	patience  = time.Minute // how long what has no content may take
)

// Cabinet is an http.Handler.
type Cabinet struct {
	Config
	handler http.Handler
	client  *dav.Client
	seen    []any // the permissions of everything there
	comings comings
}

var _ http.Handler = (*Cabinet)(nil)

// New makes a Cabinet. It connects when it is first asked.
func New(c Config) (*Cabinet, error) {
	if len(c.Credential) < bridge.MinCredential {
		return nil, errors.New("cabinet: a Credential of 16 characters or more is required")
	}
	client, err := dav.New(dav.Config{URL: c.URL, User: c.User, Password: c.Password, TLS: c.TLS})
	if err != nil {
		return nil, fmt.Errorf("cabinet: %w", err)
	}
	if c.Address == "" {
		c.Address = c.User
	}
	if !address(c.Address) {
		return nil, fmt.Errorf("cabinet: %q is no address of mail", c.Address)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Spool == "" {
		c.Spool = os.TempDir()
	}
	if c.Room == 0 {
		c.Room = 8 << 30
	}
	mux := http.NewServeMux()
	k := &Cabinet{Config: c, client: client, handler: bridge.Guard(c.Credential, maxUpload, mux)}
	k.comings.room = c.Room
	k.seen = []any{object{"kind": "drive#permission", "id": "1", "type": "user", "role": "owner", "emailAddress": c.Address}}
	for i, who := range c.SeenBy {
		p := object{"kind": "drive#permission", "id": strconv.Itoa(i + 2), "role": "writer"}
		switch {
		case who == "anyone":
			p["type"] = "anyone"
		case address(who):
			p["type"], p["emailAddress"] = "user", who
		case strings.Contains(who, ".") && address("everyone@"+who):
			p["type"], p["domain"] = "domain", who
		default:
			return nil, fmt.Errorf("cabinet: %q is no address of mail, no domain, and not anyone", who)
		}
		k.seen = append(k.seen, p)
	}
	const files = "/drive/v3/files"
	for pattern, f := range map[string]func(http.ResponseWriter, *http.Request) (any, error){
		"GET /drive/v3/about": k.about, "GET " + files: k.list, "POST " + files: k.create, "POST /upload" + files: k.create,
		"GET " + files + "/{file}": k.get, "PATCH " + files + "/{file}": k.update, "PATCH /upload" + files + "/{file}": k.update,
		"DELETE " + files + "/{file}": k.remove, "POST " + files + "/{file}/copy": k.copy,
		"PUT /upload" + files: k.comes, "DELETE /upload" + files: k.comes, "PUT /upload" + files + "/{file}": k.comes, "POST /upload" + files + "/{file}": k.comes, "DELETE /upload" + files + "/{file}": k.comes,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("alt") != "media" && !strings.HasPrefix(r.URL.Path, "/upload/") {
				ctx, done := context.WithTimeout(r.Context(), patience)
				defer done()
				r = r.WithContext(ctx)
			}
			f := f
			if q := r.URL.Query(); strings.HasPrefix(r.URL.Path, "/upload/") && q.Has("upload_id") {
				f = k.comes // Google's client in Go brings parts with POST
			} else if strings.HasPrefix(r.URL.Path, "/upload/") && q.Get("uploadType") == "resumable" && (r.Method == http.MethodPost || r.Method == http.MethodPatch) {
				f = k.begin
			}
			v, err := f(w, r)
			if _, sent := v.(sent); sent && err == nil {
				return
			}
			if refused := bridge.Refused(dav.Code(err)); refused != nil {
				err = refused
			}
			bridge.Answer(w, v, err, c.Log, "the file server")
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		err := bridge.Lacking("This is not done of files of WebDAV: there are files (list, get, create, update, copy, delete) and about.")
		if strings.Contains(r.URL.Path, "/permissions") {
			err = bridge.Lacking("WebDAV knows nothing of sharing: who sees a file is set at its server.")
		}
		bridge.Answer(w, nil, err, c.Log, "")
	})
	return k, nil
}

type object = bridge.Object

// sent is an answer that has gone out already.
type sent struct{}

func (k *Cabinet) ServeHTTP(w http.ResponseWriter, r *http.Request) { k.handler.ServeHTTP(w, r) }

// Close ends idle connections, and gives up what has not come whole.
func (k *Cabinet) Close() error {
	k.comings.close()
	return k.client.Close()
}

func address(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s
}

// ids are in base32hex, lower case, so that they are the same in whatever case they are compared.
var ids = base32.HexEncoding.WithPadding(base32.NoPadding)

const (
	rootID = "root"
	folder = "application/vnd.google-apps.folder"
)

// fileID is the id of what lies below the drive at names. Something that is moved has another id.
func fileID(names []string) string {
	if len(names) == 0 {
		return rootID
	}
	return strings.ToLower(ids.EncodeToString([]byte(strings.Join(names, "/"))))
}

// parseID reads an id, in the one spelling that it has. It leads nowhere but below the drive.
func parseID(id string) ([]string, error) {
	if id == rootID {
		return nil, nil
	}
	b, err := ids.DecodeString(strings.ToUpper(id))
	if err != nil || len(b) == 0 {
		return nil, bridge.ErrNone
	}
	names := strings.Split(string(b), "/")
	if slices.ContainsFunc(names, func(s string) bool { return dav.CheckName(s) != nil }) || fileID(names) != id {
		return nil, bridge.ErrNone
	}
	return names, nil
}

// file is a file or a folder.
type file struct {
	names            []string // below the drive; none is the drive itself
	folder           bool
	kind             string // its MIME type
	size             int64
	changed, created time.Time
	etag             string
	used, free       int64 // of a folder, in bytes; -1 if it is not known
}

func (f *file) name() string {
	if len(f.names) == 0 {
		return "My Drive"
	}
	return f.names[len(f.names)-1]
}

func (f *file) parent() string { return fileID(f.names[:max(0, len(f.names)-1)]) }

// object is the file as Drive has it.
func (k *Cabinet) object(f *file) object {
	me := object{"kind": "drive#user", "displayName": k.Address, "emailAddress": k.Address, "me": true, "permissionId": "1"}
	v := object{"kind": "drive#file", "id": fileID(f.names), "name": f.name(), "mimeType": f.kind, "trashed": false, "starred": false, "spaces": []string{"drive"},
		"owners": []any{me}, "ownedByMe": true, "permissions": k.seen, "shared": len(k.seen) > 1,
		"capabilities": object{"canShare": false, "canTrash": false, "canDelete": len(f.names) > 0, "canCopy": !f.folder, "canDownload": !f.folder}}
	if len(f.names) > 0 {
		v["parents"] = []string{f.parent()}
	}
	if !f.folder {
		v["size"], v["originalFilename"] = strconv.FormatInt(f.size, 10), f.name()
		v["fileExtension"] = strings.TrimPrefix(path.Ext(f.name()), ".")
	}
	for name, t := range map[string]time.Time{"modifiedTime": f.changed, "createdTime": f.created} {
		if !t.IsZero() {
			v[name] = t.UTC().Format("2006-01-02T15:04:05.000Z")
		}
	}
	return v
}

const props = `<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/><d:getcontentlength/><d:getcontenttype/><d:getlastmodified/><d:creationdate/><d:getetag/><d:quota-available-bytes/><d:quota-used-bytes/></d:prop></d:propfind>`

func (k *Cabinet) newFile(r *dav.Resource) (*file, bool) {
	names, ok := r.Path.Below(k.client.Root())
	if !ok {
		return nil, false
	}
	f := &file{names: names, folder: r.Prop(dav.DAV, "resourcetype").Find(dav.DAV, "collection") != nil, changed: dav.Time(r.Prop(dav.DAV, "getlastmodified").Value()),
		created: dav.Time(r.Prop(dav.DAV, "creationdate").Value()), etag: r.Prop(dav.DAV, "getetag").Value(), used: -1, free: -1}
	if f.folder {
		f.kind = folder
		for name, to := range map[string]*int64{"quota-used-bytes": &f.used, "quota-available-bytes": &f.free} {
			if n, err := strconv.ParseInt(r.Prop(dav.DAV, name).Value(), 10, 64); err == nil && n >= 0 {
				*to = n
			}
		}
		return f, true
	}
	f.size, _ = strconv.ParseInt(r.Prop(dav.DAV, "getcontentlength").Value(), 10, 64)
	f.kind = kindOf(f.name(), r.Prop(dav.DAV, "getcontenttype").Value())
	return f, true
}

// kindOf is the type of content as the server says it, or by its name.
func kindOf(name, said string) string {
	for _, s := range []string{said, mime.TypeByExtension(path.Ext(name))} {
		if base, _, err := mime.ParseMediaType(s); err == nil && strings.Contains(base, "/") {
			return base
		}
	}
	return "application/octet-stream"
}

// look reads what is at names.
func (k *Cabinet) look(ctx context.Context, names []string) (*file, error) {
	at := k.client.Root().Join(names...)
	found, err := k.client.Ask(ctx, "PROPFIND", at, false, "0", props)
	if code := dav.Code(err); code == http.StatusMovedPermanently || code == http.StatusFound || code == http.StatusTemporaryRedirect || code == http.StatusPermanentRedirect {
		found, err = k.client.Ask(ctx, "PROPFIND", at, true, "0", props) // some want the last slash of a folder
	}
	if err != nil {
		return nil, err
	}
	for i := range found {
		if f, ok := k.newFile(&found[i]); ok && slices.Equal(f.names, names) {
			return f, nil
		}
	}
	return nil, bridge.ErrNone
}

// find is the file that a request names.
func (k *Cabinet) find(r *http.Request) (*file, error) {
	names, err := parseID(r.PathValue("file"))
	if err != nil {
		return nil, err
	}
	return k.look(r.Context(), names)
}

// within are the files in a folder.
func (k *Cabinet) within(ctx context.Context, names []string) ([]*file, error) {
	found, err := k.client.Ask(ctx, "PROPFIND", k.client.Root().Join(names...), true, "1", props)
	if err != nil {
		return nil, err
	}
	var list []*file
	for i := range found {
		if f, ok := k.newFile(&found[i]); ok && len(f.names) == len(names)+1 && slices.Equal(f.names[:len(names)], names) {
			list = append(list, f)
		}
	}
	return list, nil
}

func (k *Cabinet) about(_ http.ResponseWriter, r *http.Request) (any, error) {
	root, err := k.look(r.Context(), nil)
	if err != nil {
		return nil, err
	}
	quota := object{}
	if root.used >= 0 {
		quota["usage"], quota["usageInDrive"] = strconv.FormatInt(root.used, 10), strconv.FormatInt(root.used, 10)
		if root.free >= 0 {
			quota["limit"] = strconv.FormatInt(root.used+root.free, 10)
		}
	}
	return object{"kind": "drive#about", "user": object{"kind": "drive#user", "displayName": k.Address, "emailAddress": k.Address, "me": true, "permissionId": "1"}, "storageQuota": quota}, nil
}
