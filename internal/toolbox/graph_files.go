package toolbox

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// graphFiles is files over Microsoft Graph: the person's own drive.
type graphFiles struct{ api }

const graphDrive = graphUser + "/drive"

type graphItem struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Size     int64  `json:"size"`
	Modified string `json:"lastModifiedDateTime"`
	File     *struct {
		MimeType string `json:"mimeType"`
	} `json:"file"`
	Folder *struct{} `json:"folder"`
}

func (i graphItem) file() File {
	f := File{ID: i.ID, Name: i.Name, Folder: i.Folder != nil, Size: i.Size, Modified: i.Modified}
	if i.File != nil {
		f.Type = i.File.MimeType
	}
	return f
}

func (g graphFiles) find(ctx context.Context, path string, limit int, cursor string) (Files, error) {
	out := Files{Files: []File{}}
	q := url.Values{"$top": {strconv.Itoa(many(limit))}}
	if err := turn(q, cursor); err != nil {
		return out, err
	}
	var list struct {
		page
		Value []graphItem `json:"value"`
	}
	if err := g.call(ctx, "GET", path, q, nil, &list); err != nil {
		return out, err
	}
	for _, i := range list.Value {
		out.Files = append(out.Files, i.file())
	}
	out.Next = list.cursor()
	return out, nil
}

// at is where a folder is; without an id the one at the top.
func (g graphFiles) at(folder string) (string, error) {
	if folder == "" {
		return graphDrive + "/root", nil
	}
	id, err := segment(folder)
	return graphDrive + "/items/" + id, err
}

func (g graphFiles) list(ctx context.Context, in ListFiles) (Files, error) {
	at, err := g.at(in.Folder)
	if err != nil {
		return Files{}, err
	}
	return g.find(ctx, at+"/children", in.Limit, in.Cursor)
}

func (g graphFiles) search(ctx context.Context, in SearchFiles) (Files, error) {
	out, err := g.find(ctx, graphDrive+"/root/search(q='"+url.PathEscape(strings.Join(words(in.Query), " "))+"')", in.Limit, in.Cursor)
	if withheld(err) {
		return g.scan(ctx, in)
	}
	return out, err
}

// maxLists is how many pages of folders a search that is made here looks at.
const maxLists = 20

// scan searches where the layers of a grant let Graph not do so, as that would find what is in files that they do not show: it
// looks at the names of what is shown, from the top down.
func (g graphFiles) scan(ctx context.Context, in SearchFiles) (Files, error) {
	out := Files{Files: []File{}}
	type place struct{ folder, cursor string }
	for left, n := []place{{}}, 0; len(left) > 0; n++ {
		if n == maxLists || len(out.Files) >= many(in.Limit) {
			out.Incomplete = true
			break
		}
		here := left[0]
		at, err := g.at(here.folder)
		if err != nil {
			return out, err
		}
		p, err := g.find(ctx, at+"/children", maxLines, here.cursor)
		if err != nil {
			return out, err
		}
		if left = left[1:]; p.Next != "" {
			left = append(left, place{here.folder, p.Next})
		}
		for _, f := range p.Files {
			if f.Folder {
				left = append(left, place{f.ID, ""})
			}
			has := true
			for _, w := range words(strings.ToLower(in.Query)) {
				has = has && strings.Contains(strings.ToLower(f.Name), w)
			}
			if has {
				out.Files = append(out.Files, f)
			}
		}
	}
	if len(out.Files) > many(in.Limit) {
		out.Files = out.Files[:many(in.Limit)]
	}
	return out, nil
}

func (g graphFiles) read(ctx context.Context, id string) (File, body, error) {
	part, err := segment(id)
	if err != nil {
		return File{}, body{}, err
	}
	var i graphItem
	if err := g.call(ctx, "GET", graphDrive+"/items/"+part, nil, nil, &i); err != nil {
		return File{}, body{}, err
	}
	f, content := i.file(), body{}
	switch {
	case f.Folder:
		return f, content, fmt.Errorf("%s is a folder; list_files has what is in it", f.Name)
	case f.Type != "" && !textual(f.Type):
		content.kind = f.Type // it is not fetched
	default:
		err = g.call(ctx, "GET", graphDrive+"/items/"+part+"/content", nil, nil, &content)
	}
	return f, content, err
}

// create makes a file with its text in one request, which fails if there is one of that name: all of it is there, or nothing.
func (g graphFiles) create(ctx context.Context, in CreateFile) (File, error) {
	if in.Folder == "" {
		in.Folder = "root"
	}
	folder, err := segment(in.Folder)
	if err != nil {
		return File{}, err
	}
	var made graphItem
	err = g.call(ctx, "PUT", graphDrive+"/items/"+folder+":/"+url.PathEscape(in.Name)+":/content", url.Values{"@microsoft.graph.conflictBehavior": {"fail"}}, body{in.Type, []byte(in.Text)}, &made)
	return File{ID: made.ID, Name: in.Name, Type: in.Type, Size: int64(len(in.Text))}, err
}

func (g graphFiles) share(ctx context.Context, in ShareFile) error {
	id, err := segment(in.ID)
	if err != nil {
		return err
	}
	role := "read"
	if in.Role == "writer" {
		role = "write"
	}
	return g.call(ctx, "POST", graphDrive+"/items/"+id+"/invite", nil, map[string]any{"recipients": []any{map[string]string{"email": in.With}}, "roles": []string{role}, "requireSignIn": true, "sendInvitation": true}, nil)
}
