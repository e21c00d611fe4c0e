package office

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Content that comes in several requests: as resumable uploads of Drive's, and as upload sessions of Graph's.
// https://developers.google.com/workspace/drive/api/guides/manage-uploads#resumable
// https://learn.microsoft.com/graph/api/driveitem-createuploadsession

// session is an upload that has begun.
type session struct {
	begun   *file // as it will be
	over    *file // that is written over; nil for a new one
	data    []byte
	total   int64 // -1: nobody said yet
	changes bool  // a name that is taken becomes another
}

// Limits of what uploads hold.
const (
	maxSessions = 100
	maxSession  = 64 << 20
)

// answer is a reply of another status, or with headers.
type answer struct {
	status int
	header map[string]string
	v      any // nil: no body
}

func (a answer) write(w http.ResponseWriter) {
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.v == nil {
		w.WriteHeader(a.status)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(a.status)
	json.NewEncoder(w).Encode(a.v)
}

func (o *Office) uploads() {
	for _, path := range []string{"/upload/drive/v3/files", "/upload/drive/v3/files/{fileId}"} {
		for _, method := range []string{"PUT", "DELETE"} {
			o.handle(method+" "+path, o.resume)
		}
	}
	o.handle("POST /upload/drive/v3/files/{fileId}", o.resume)
	for _, me := range []string{"/v1.0/me", "/v1.0/users/" + Mailbox} {
		o.handle("POST "+me+"/drive/items/{fileId}/createUploadSession", o.graphBegin)
		o.handle("POST "+me+"/drive/items/{parent}/{name}/createUploadSession", o.graphBegin)
		o.handle("POST "+me+"/drive/root:/{name}/createUploadSession", o.graphBegin)
	}
	for _, method := range []string{"PUT", "GET", "DELETE"} {
		o.handle(method+" "+placeOf("{session}"), o.graphResume)
	}
}

// placeOf is where content of a session of Graph's is put. It asks for no credential: who knows it may write there.
func placeOf(id string) string { return "/up/" + id }

// open keeps a session, and returns its name.
func (o *Office) open(s *session) (string, error) {
	if len(o.sessions) >= maxSessions {
		return "", &failure{http.StatusTooManyRequests, "rateLimitExceeded", "Too many uploads have begun."}
	}
	id := rand.Text()
	o.sessions[id] = s
	return id, nil
}

func resumable(r *http.Request) bool { return r.URL.Query().Get("uploadType") == "resumable" }

// begin begins an upload of Drive's, of which f is the metadata.
func (o *Office) begin(r *http.Request, f, over *file) (any, error) {
	s := &session{begun: f, over: over, total: -1}
	if said := r.Header.Get("X-Upload-Content-Length"); said != "" {
		n, err := strconv.ParseInt(said, 10, 64)
		if err != nil || n < 0 || n > maxSession {
			return nil, invalid("Invalid X-Upload-Content-Length.")
		}
		s.total = n
	}
	id, err := o.open(s)
	if err != nil {
		return nil, err
	}
	return answer{http.StatusOK, map[string]string{"Location": "http://" + r.Host + r.URL.Path + "?uploadType=resumable&upload_id=" + id, "X-GUploader-UploadID": id}, nil}, nil
}

// resume takes a part of an upload of Drive's.
func (o *Office) resume(r *http.Request) (any, error) {
	id := r.URL.Query().Get("upload_id")
	s := o.sessions[id]
	if s == nil {
		return nil, notFound("Upload")
	}
	if r.Method == http.MethodDelete {
		delete(o.sessions, id)
		return answer{499, nil, nil}, nil
	}
	whole, err := s.take(r, 256<<10)
	if err != nil {
		return nil, err
	}
	if whole {
		delete(o.sessions, id)
		return o.finish(s), nil
	}
	a := answer{http.StatusPermanentRedirect, map[string]string{"X-GUploader-UploadID": id}, nil}
	if len(s.data) > 0 {
		a.header["Range"] = fmt.Sprintf("bytes=0-%d", len(s.data)-1)
	}
	if r.Header.Get("X-GUploader-No-308") == "yes" {
		a.status, a.header["X-HTTP-Status-Code-Override"] = http.StatusOK, "308"
	}
	return a, nil
}

// take takes what a request brings, and reports whether that was the last of it. All parts but the last are multiples of unit.
func (s *session) take(r *http.Request, unit int) (whole bool, err error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return false, err
	}
	var first, last, total int64
	said := r.Header.Get("Content-Range")
	switch {
	case said == "":
		last, total = int64(len(b))-1, int64(len(b))
	case strings.HasPrefix(said, "bytes */"):
		if total, err = strconv.ParseInt(said[len("bytes */"):], 10, 64); err != nil {
			total = -1
		}
		if len(b) > 0 {
			return false, invalid("A request that asks has no content.")
		}
		first, last = int64(len(s.data)), int64(len(s.data))-1
	default:
		if n, _ := fmt.Sscanf(said, "bytes %d-%d/%d", &first, &last, &total); n < 2 {
			return false, invalid("Invalid Content-Range.")
		} else if n == 2 {
			total = -1
		}
	}
	switch {
	case total >= 0 && s.total >= 0 && s.total != total, total > maxSession, last-first+1 != int64(len(b)):
		return false, invalid("The Content-Range is not of this upload.")
	case first > int64(len(s.data)) || last >= maxSession:
		return false, invalid("The Content-Range begins after what has come.")
	case len(b)%unit != 0 && last+1 != total:
		return false, invalid(fmt.Sprintf("All parts but the last are multiples of %d bytes.", unit))
	}
	if s.total = max(s.total, total); last >= int64(len(s.data)) {
		s.data = append(s.data[:first], b...)
	}
	return s.total >= 0 && int64(len(s.data)) == s.total, nil
}

// finish makes the file that an upload was for.
func (o *Office) finish(s *session) *file {
	f := s.begun
	f.content, f.Size = s.data, strconv.Itoa(len(s.data))
	if f.MimeType == "" {
		f.MimeType = "application/octet-stream"
	}
	if s.over == nil {
		o.keep(f)
		return f
	}
	_, f.ModifiedTime = o.stamp()
	*s.over = *f
	return s.over
}

func (o *Office) graphBegin(r *http.Request) (any, error) {
	var in struct {
		Item struct {
			Name     string
			FileSize *int64
			Conflict string `json:"@microsoft.graph.conflictBehavior"`
		}
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	s := &session{total: -1, changes: in.Item.Conflict == "rename"}
	if name := strings.TrimSuffix(r.PathValue("name"), ":"); name != "" {
		parent := "root"
		if p := r.PathValue("parent"); p != "" {
			parent = strings.TrimSuffix(p, ":")
		}
		if o.taken(parent, name) && !s.changes {
			return nil, &failure{http.StatusConflict, "nameAlreadyExists", "Name already exists"}
		}
		s.begun = &file{Kind: "drive#file", Name: name, Parents: []string{parent}}
	} else {
		f, err := o.file(r)
		if err != nil {
			return nil, err
		}
		changed := *f
		s.begun, s.over = &changed, f
	}
	if in.Item.FileSize != nil {
		s.total = *in.Item.FileSize
	}
	id, err := o.open(s)
	if err != nil {
		return nil, err
	}
	at := o.config.Uploads
	if at == "" {
		at = "http://" + r.Host
	}
	return object{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#microsoft.graph.uploadSession", "uploadUrl": at + placeOf(id), "expirationDateTime": o.now.Add(time.Hour), "nextExpectedRanges": []string{"0-"}}, nil
}

func (o *Office) taken(parent, name string) bool {
	return slices.ContainsFunc(o.files, func(f *file) bool { return f.Name == name && slices.Contains(f.Parents, parent) })
}

func (o *Office) graphResume(r *http.Request) (any, error) {
	id := r.PathValue("session")
	s := o.sessions[id]
	switch {
	case r.Header.Get("Authorization") != "":
		return nil, &failure{http.StatusUnauthorized, "unauthenticated", "A token is not taken here."}
	case s == nil:
		return nil, &failure{http.StatusNotFound, "itemNotFound", "The upload session was not found."}
	case r.Method == http.MethodDelete:
		delete(o.sessions, id)
		return nil, nil
	case r.Method == http.MethodPut:
		before := len(s.data)
		whole, err := s.take(r, 1)
		switch {
		case err != nil:
			return nil, err
		case whole:
			delete(o.sessions, id)
			for n := 1; s.over == nil && o.taken(s.begun.Parents[0], s.begun.Name); n++ {
				s.begun.Name += fmt.Sprintf(" %d", n)
			}
			return answer{http.StatusCreated, nil, graphFile(o.finish(s), false)}, nil
		case len(s.data) == before:
			return nil, &failure{http.StatusRequestedRangeNotSatisfiable, "invalidRange", "The part was here already."}
		}
	}
	v := object{"expirationDateTime": o.now.Add(time.Hour), "nextExpectedRanges": []string{fmt.Sprintf("%d-", len(s.data))}, "uploadUrl": "http://" + r.Host + r.URL.Path}
	if r.Method == http.MethodGet {
		return v, nil
	}
	return answer{http.StatusAccepted, nil, v}, nil
}
