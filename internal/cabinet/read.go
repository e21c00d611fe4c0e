package cabinet

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/bridge"
	"github.com/lanyard-dev/lanyard/internal/dav"
)

// Limits of a list.
const (
	usualPage, maxPage = 100, 1000
	maxFolders         = 500    // looked into for one list
	maxFiles           = 50_000 // of one list
)

func (k *Cabinet) list(_ http.ResponseWriter, r *http.Request) (any, error) {
	values := r.URL.Query()
	q, err := parseQuery(values.Get("q"))
	if err != nil {
		return nil, err
	}
	if values.Has("driveId") || values.Has("teamDriveId") || !slices.Contains([]string{"", "drive"}, values.Get("spaces")) || !slices.Contains([]string{"", "user", "allDrives"}, values.Get("corpora")) {
		return nil, bridge.Invalid("Here is one drive, which belongs to the account: leave driveId, spaces and corpora away.")
	}
	size, from := usualPage, 0
	for name, to := range map[string]*int{"pageSize": &size, "pageToken": &from} {
		if s := values.Get(name); s != "" {
			if *to, err = strconv.Atoi(s); err != nil || *to < 0 {
				return nil, bridge.Invalid("Invalid value for %s.", name)
			}
		}
	}
	order, err := parseOrder(values.Get("orderBy"))
	if err != nil {
		return nil, err
	}
	all, cut, err := k.search(r.Context(), q)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, order)
	from = min(from, len(all))
	to := min(from+min(max(size, 1), maxPage), len(all))
	files := []any{}
	for _, f := range all[from:to] {
		files = append(files, k.object(f))
	}
	v := object{"kind": "drive#fileList", "incompleteSearch": cut, "files": files}
	if to < len(all) {
		v["nextPageToken"] = strconv.Itoa(to)
	}
	return v, nil
}

// parseOrder reads orderBy; files are else in the order of their places.
func parseOrder(s string) (func(a, b *file) int, error) {
	by := map[string]func(a, b *file) int{
		"name":           func(a, b *file) int { return cmp.Compare(strings.ToLower(a.name()), strings.ToLower(b.name())) },
		"modifiedTime":   func(a, b *file) int { return a.changed.Compare(b.changed) },
		"createdTime":    func(a, b *file) int { return a.created.Compare(b.created) },
		"quotaBytesUsed": func(a, b *file) int { return cmp.Compare(a.size, b.size) },
		"folder": func(a, b *file) int {
			if a.folder == b.folder {
				return 0
			}
			if a.folder {
				return -1
			}
			return 1
		},
	}
	by["name_natural"] = by["name"]
	var keys []func(a, b *file) int
	for key := range strings.SplitSeq(s, ",") {
		name, down, _ := strings.Cut(strings.TrimSpace(key), " ")
		f := by[name]
		switch {
		case s == "":
		case f == nil || down != "" && down != "desc":
			return nil, bridge.Invalid("Invalid value for orderBy: name, modifiedTime, createdTime, quotaBytesUsed or folder, each with desc or without.")
		case down == "desc":
			keys = append(keys, func(a, b *file) int { return f(b, a) })
		default:
			keys = append(keys, f)
		}
	}
	return func(a, b *file) int {
		for _, key := range keys {
			if n := key(a, b); n != 0 {
				return n
			}
		}
		return slices.Compare(a.names, b.names)
	}, nil
}

// search finds the files that meet q: in one folder where q says which, else in all, as far as the limits go (cut).
func (k *Cabinet) search(ctx context.Context, q query) (list []*file, cut bool, err error) {
	folders := [][]string{q.parent}
	for looked := 0; len(folders) > 0; looked++ {
		if looked == maxFolders || len(list) > maxFiles {
			return list, true, nil
		}
		in := folders[0]
		folders = folders[1:]
		found, err := k.within(ctx, in)
		if code := dav.Code(err); looked > 0 && (code == http.StatusForbidden || code == http.StatusNotFound) {
			continue // one that the account may not look into, or that has gone meanwhile
		}
		if err != nil {
			return nil, false, err
		}
		for _, f := range found {
			if q.meets(f) {
				list = append(list, f)
			}
			if f.folder && !q.within {
				folders = append(folders, f.names)
			}
		}
	}
	return list, false, nil
}

func (k *Cabinet) get(w http.ResponseWriter, r *http.Request) (any, error) {
	f, err := k.find(r)
	if err != nil {
		return nil, err
	}
	switch alt := r.URL.Query().Get("alt"); {
	case alt == "" || alt == "json":
		if f.etag != "" {
			w.Header().Set("Etag", f.etag)
		}
		return k.object(f), nil
	case alt != "media":
		return nil, bridge.Invalid("Invalid value for alt.")
	case f.folder:
		return nil, &bridge.Failure{Status: http.StatusForbidden, Message: "Only files with binary content can be downloaded."}
	}
	header := map[string]string{}
	for _, name := range []string{"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		header[name] = r.Header.Get(name)
	}
	res, err := k.client.Do(r.Context(), dav.Request{Method: http.MethodGet, Path: k.client.Root().Join(f.names...), Header: header})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	for _, name := range []string{"Etag", "Last-Modified", "Content-Range", "Accept-Ranges", "Content-Length"} {
		if v := res.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	// What it is is what its metadata say, whatever the server calls it now; a browser is not to guess.
	w.Header().Set("Content-Type", f.kind)
	if kind := res.Header.Get("Content-Type"); strings.HasPrefix(kind, f.kind+";") || strings.HasPrefix(kind, "multipart/byteranges") {
		w.Header().Set("Content-Type", kind)
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(w, res.Body); err != nil {
		panic(http.ErrAbortHandler) // so that who reads it sees that it was cut off
	}
	return sent{}, nil
}
