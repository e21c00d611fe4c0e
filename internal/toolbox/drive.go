package toolbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
)

// googleDrive is files over Drive's interface (drive/v3).
type googleDrive struct{ api }

const (
	drivePath   = "/drive/v3/files"
	driveFolder = "application/vnd.google-apps.folder"
	// driveFields are those that a list shows, and those that the gateway would else have to ask for.
	driveFields = "id,name,mimeType,size,parents,driveId,createdTime,modifiedTime,owners(emailAddress),permissions(type,emailAddress,domain)"
)

type driveFile struct {
	ID           string      `json:"id"`
	Name         string      `json:"name"`
	MimeType     string      `json:"mimeType"`
	Size         json.Number `json:"size"` // a text
	ModifiedTime string      `json:"modifiedTime"`
}

func (f driveFile) file() File {
	size, _ := strconv.ParseInt(string(f.Size), 10, 64) // none of what is made on the web
	return File{ID: f.ID, Name: f.Name, Folder: f.MimeType == driveFolder, Type: f.MimeType, Size: size, Modified: f.ModifiedTime}
}

func (d googleDrive) find(ctx context.Context, terms []string, limit int, cursor string) (Files, error) {
	out := Files{Files: []File{}}
	q := url.Values{"q": {strings.Join(append(terms, "trashed = false"), " and ")}, "pageSize": {strconv.Itoa(many(limit))}, "fields": {"nextPageToken,files(" + driveFields + ")"}}
	if cursor != "" {
		q.Set("pageToken", cursor)
	}
	var list struct {
		Files []driveFile `json:"files"`
		Next  string      `json:"nextPageToken"`
	}
	if err := d.call(ctx, "GET", drivePath, q, nil, &list); err != nil {
		return out, err
	}
	for _, f := range list.Files {
		out.Files = append(out.Files, f.file())
	}
	out.Next = list.Next
	return out, nil
}

func (d googleDrive) list(ctx context.Context, in ListFiles) (Files, error) {
	folder := in.Folder
	if folder == "" {
		folder = "root"
	}
	if _, err := segment(folder); err != nil || strings.ContainsAny(folder, `'\`) {
		return Files{}, fmt.Errorf("folder: give the id of one, as list_files returned it")
	}
	return d.find(ctx, []string{"'" + folder + "' in parents"}, in.Limit, in.Cursor)
}

func (d googleDrive) search(ctx context.Context, in SearchFiles) (Files, error) {
	var terms []string
	for _, w := range words(in.Query) {
		terms = append(terms, "name contains '"+w+"'")
	}
	return d.find(ctx, terms, in.Limit, in.Cursor)
}

func (d googleDrive) read(ctx context.Context, id string) (File, body, error) {
	part, err := segment(id)
	if err != nil {
		return File{}, body{}, err
	}
	var f driveFile
	var content body
	if err := d.call(ctx, "GET", drivePath+"/"+part, url.Values{"fields": {driveFields}}, nil, &f); err != nil {
		return File{}, body{}, err
	}
	switch {
	case f.MimeType == driveFolder:
		return File{}, body{}, fmt.Errorf("%s is a folder; list_files has what is in it", f.Name)
	case strings.HasPrefix(f.MimeType, "application/vnd.google-apps."):
		kind := "text/plain"
		if f.MimeType == "application/vnd.google-apps.spreadsheet" {
			kind = "text/csv"
		}
		err = d.call(ctx, "GET", drivePath+"/"+part+"/export", url.Values{"mimeType": {kind}}, nil, &content)
	case f.MimeType != "" && !textual(f.MimeType):
		content.kind = f.MimeType // it is not fetched
	default:
		err = d.call(ctx, "GET", drivePath+"/"+part, url.Values{"alt": {"media"}}, nil, &content)
	}
	return f.file(), content, err
}

func (d googleDrive) create(ctx context.Context, in CreateFile) (File, error) {
	metadata := map[string]any{"name": in.Name, "mimeType": in.Type}
	if in.Folder != "" {
		metadata["parents"] = []string{in.Folder}
	}
	about, err := json.Marshal(metadata)
	if err != nil {
		return File{}, err
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	boundary := "part" // the same file has the same bytes, so that what was approved is what is made
	for strings.Contains(in.Text, boundary) || bytes.Contains(about, []byte(boundary)) {
		boundary += "0"
	}
	if err := w.SetBoundary(boundary); err != nil {
		return File{}, fmt.Errorf("text: %w", err)
	}
	for _, p := range []struct{ kind, text string }{{"application/json; charset=UTF-8", string(about)}, {in.Type + "; charset=utf-8", in.Text}} {
		if to, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {p.kind}}); err == nil { // memory does not fail
			_, _ = to.Write([]byte(p.text))
		}
	}
	_ = w.Close()
	var made driveFile
	err = d.call(ctx, "POST", "/upload"+drivePath, url.Values{"uploadType": {"multipart"}, "fields": {"id,name,mimeType,size,modifiedTime"}}, body{"multipart/related; boundary=" + boundary, b.Bytes()}, &made)
	f := made.file()
	if f.Name == "" { // which a receipt may not show
		f.Name = in.Name
	}
	return f, err
}

func (d googleDrive) share(ctx context.Context, in ShareFile) error {
	id, err := segment(in.ID)
	if err != nil {
		return err
	}
	return d.call(ctx, "POST", drivePath+"/"+id+"/permissions", nil, map[string]string{"type": "user", "role": in.Role, "emailAddress": in.With}, nil)
}
