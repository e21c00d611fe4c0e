package toolbox

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// drive is files over one interface.
type drive interface {
	list(ctx context.Context, in ListFiles) (Files, error)
	search(ctx context.Context, in SearchFiles) (Files, error)
	read(ctx context.Context, id string) (File, body, error)
	create(ctx context.Context, in CreateFile) (File, error)
	share(ctx context.Context, in ShareFile) error
}

func (a api) drive() drive {
	if a.Graph {
		return graphFiles{a}
	}
	return googleDrive{a}
}

// ListFiles is what list_files takes.
type ListFiles struct {
	Folder string `json:"folder,omitempty" jsonschema:"id of a folder (default the one at the top)"`
	Limit  int    `json:"limit,omitempty" jsonschema:"how many to return, at most 50 (default 20)"`
	Cursor string `json:"cursor,omitempty" jsonschema:"what the last call returned as next, for what follows"`
}

// SearchFiles is what search_files takes.
type SearchFiles struct {
	Query  string `json:"query" jsonschema:"words in the name of the file"`
	Limit  int    `json:"limit,omitempty" jsonschema:"how many to return, at most 50 (default 20)"`
	Cursor string `json:"cursor,omitempty" jsonschema:"what the last call returned as next, for what follows"`
}

// Files is a page of files and folders.
type Files struct {
	Files []File `json:"files"`
	Next  string `json:"next,omitempty" jsonschema:"cursor of the next page; none at the end"`

	Incomplete bool `json:"incomplete,omitempty" jsonschema:"there are more than were looked at; search for other words, or list folders"`
}

// File is a file or a folder. Of what the agent may not see, nothing is there.
type File struct {
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"`
	Folder   bool   `json:"folder,omitempty" jsonschema:"it is a folder: list_files has what is in it"`
	Type     string `json:"type,omitempty"`
	Size     int64  `json:"size,omitempty" jsonschema:"bytes"`
	Modified string `json:"modified,omitempty" jsonschema:"when it was last changed"`
}

// ReadFile is what read_file takes.
type ReadFile struct {
	ID     string `json:"id" jsonschema:"id of the file, from list_files or search_files"`
	Cursor string `json:"cursor,omitempty" jsonschema:"what the last call returned as next, for the rest of a long text"`
}

// FileText is the text of a file.
type FileText struct {
	File
	Text string `json:"text"`
	Next string `json:"next,omitempty" jsonschema:"cursor of the rest of the text; none at its end"`
}

// CreateFile is what create_file takes.
type CreateFile struct {
	Name   string `json:"name" jsonschema:"name of the file, as notes.txt"`
	Text   string `json:"text" jsonschema:"what is in it"`
	Type   string `json:"type,omitempty" jsonschema:"its type (default text/plain)"`
	Folder string `json:"folder,omitempty" jsonschema:"id of the folder it goes into (default the one at the top)"`
}

// ShareFile is what share_file takes.
type ShareFile struct {
	ID   string `json:"id" jsonschema:"id of the file or folder"`
	With string `json:"with" jsonschema:"address of the person it is shared with"`
	Role string `json:"role,omitempty" jsonschema:"reader (the default), or writer"`
}

// Shared is what was shared.
type Shared struct {
	ID   string `json:"id"`
	With string `json:"with"`
	Role string `json:"role"`
}

func fileTools(s *mcp.Server, c Config) {
	a := c.Files
	add(s, a, reads, "list_files", "List files", "Returns the files and folders in a folder.",
		func(ctx context.Context, a api, in ListFiles) (Files, error) { return a.drive().list(ctx, in) })
	add(s, a, reads, "search_files", "Search files", "Finds files and folders by words in their names, in all folders.",
		func(ctx context.Context, a api, in SearchFiles) (Files, error) {
			if len(words(in.Query)) == 0 {
				return Files{}, errors.New("query: say which words; list_files has what is in a folder")
			}
			return a.drive().search(ctx, in)
		})
	add(s, a, reads, "read_file", "Read a file", "Returns the text of a file. Documents that are edited on the web are read as plain text; files that are no text are not read.",
		func(ctx context.Context, a api, in ReadFile) (FileText, error) {
			f, content, err := a.drive().read(ctx, in.ID)
			if err != nil {
				return FileText{}, err
			}
			if !textual(content.kind) {
				return FileText{}, fmt.Errorf("%s is of type %s, and only text can be read", f.Name, mediaType(content.kind))
			}
			out := FileText{File: f}
			out.Text, out.Next, err = cut(plain(content.kind, string(content.data)), in.Cursor, maxText)
			return out, err
		})
	add(s, a, adds, "create_file", "Create a file", "Makes a new file with that text. One that is there is not changed.",
		func(ctx context.Context, a api, in CreateFile) (File, error) {
			if in.Type == "" {
				in.Type = "text/plain"
			}
			if strings.TrimSpace(in.Name) == "" || strings.ContainsAny(in.Name, "/\\\r\n") {
				return File{}, errors.New("name: give one as notes.txt, without a folder")
			}
			if !textual(in.Type) {
				return File{}, errors.New("type: it is one of text, as text/csv")
			}
			return a.drive().create(ctx, in)
		})
	add(s, a, destroys, "share_file", "Share a file", "Lets one person see a file or a folder, or change it, and tells that person so.",
		func(ctx context.Context, a api, in ShareFile) (Shared, error) {
			if in.Role == "" {
				in.Role = "reader"
			}
			if in.Role != "reader" && in.Role != "writer" {
				return Shared{}, errors.New("role: use reader or writer")
			}
			who, err := mail.ParseAddress(in.With)
			if err != nil {
				return Shared{}, errors.New("with: give one address, as ann@example.com")
			}
			in.With = who.Address
			return Shared(in), a.drive().share(ctx, in)
		})
}
