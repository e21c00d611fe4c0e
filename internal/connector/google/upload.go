package google

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/extent"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Resumable uploads (https://developers.google.com/workspace/drive/api/guides/manage-uploads#resumable): the first request
// has the metadata, the Location of its reply is where the content is put. Only files are uploaded so: all that is decided on
// of a file are its metadata, while what a mail says is whom it goes to.

// maxMetadata is how large what begins an upload may be.
const maxMetadata = 1 << 20

// uploadTypes are those that a method takes.
func uploadTypes(id string) []string {
	if dialect.Of[id].Kind == layer.File {
		return []string{"media", "multipart", "resumable"}
	}
	return []string{"media", "multipart"}
}

// checkParts refuses an upload whose uploadType and Content-Type say two things of whether it is in parts: what one reader takes
// for what it is, another takes for its content.
func checkParts(r *connector.Request, call policy.Call) error {
	if !strings.HasPrefix(r.Path, "/upload/") {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch parts := strings.HasPrefix(kind, "multipart/"); call.Arguments["uploadType"] {
	case "media":
		if parts {
			return fmt.Errorf("%w: an upload of uploadType media is content alone, and not %s", connector.ErrUnrecognised, kind)
		}
	case "multipart":
		if kind != "" && kind != "multipart/related" {
			return fmt.Errorf("%w: an upload of uploadType multipart is multipart/related", connector.ErrUnrecognised)
		}
	case nil:
		return fmt.Errorf("%w: an upload says its uploadType", connector.ErrUnrecognised)
	}
	return nil
}

func begins(call policy.Call) bool { return call.Arguments["uploadType"] == "resumable" }

// checkBegin refuses the beginning of an upload that says what it is in another form than JSON.
func checkBegin(r *connector.Request, call policy.Call) error {
	if !begins(call) {
		return nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); len(r.Body) > 0 && (err != nil || kind != "application/json") {
		return fmt.Errorf("%w: what begins a resumable upload is JSON, or nothing", connector.ErrUnrecognised)
	}
	_, err := size(r)
	return err
}

// size is how much is to come, as the beginning says it.
func size(r *connector.Request) (int64, error) {
	switch values := r.Header["X-Upload-Content-Length"]; {
	case len(values) == 0:
		return -1, nil
	case len(values) == 1:
		if n, ok := extent.Number(values[0]); ok {
			return n, nil
		}
	}
	return -1, fmt.Errorf("%w: X-Upload-Content-Length is not one number of bytes", connector.ErrUnrecognised)
}

// goesOn is what a request means that brings content.
func goesOn(r *connector.Request) (policy.Call, error) {
	switch r.Method {
	case http.MethodPut, http.MethodPost, http.MethodDelete: // Google's client in Go says POST
	default:
		return policy.Call{}, fmt.Errorf("%w: an upload goes on with PUT, and is given up with DELETE", connector.ErrUnrecognised)
	}
	return r.Upload.Meaning(), nil
}

// Begins is [connector.Uploader]'s, as are the methods below.
func (a api) Begins(r *connector.Request, call policy.Call) (int64, bool) {
	if r.Upload != nil || !begins(call) {
		return -1, false
	}
	n, err := size(r)
	return n, err == nil
}

func (a api) Begun(h http.Header, _ []byte, name func(string) (string, error)) ([]byte, error) {
	places := h["Location"]
	if len(places) != 1 {
		return nil, errors.New("it does not say where the content is put")
	}
	address, err := name(places[0])
	if err != nil {
		return nil, err
	}
	connector.Keep(h, "Date", "Cache-Control")
	h["Location"] = []string{address}
	return nil, nil
}

// Takes is true of what is the upstream's own, where it takes uploads.
func (a api) Takes(base, place *url.URL) (ok, credential bool) {
	if place.User != nil || place.Opaque != "" || place.Fragment != "" || path.Clean(place.Path) != place.Path || !strings.EqualFold(place.Scheme, base.Scheme) || !strings.EqualFold(place.Host, base.Host) {
		return false, false
	}
	rest, below := strings.CutPrefix(place.EscapedPath(), strings.TrimSuffix(base.EscapedPath(), "/"))
	ok = below && (strings.HasPrefix(rest, "/upload/drive/") || strings.HasPrefix(rest, "/resumable/upload/drive/"))
	return ok, ok
}

func (a api) Query(name string) string { return "uploadType=resumable&upload_id=" + name }

var goingOn = regexp.MustCompile(`^uploadType=resumable&upload_id=([A-Za-z0-9_-]+)$`)

func (a api) Named(r *connector.Request) string {
	if strings.HasPrefix(r.Path, "/upload/") {
		if m := goingOn.FindStringSubmatch(r.Query); m != nil {
			return m[1]
		}
	}
	return ""
}

// Answered takes both ways to say that more is to come: 308, and, for clients to which that is a redirect, 200 with a header that says so.
func (a api) Answered(_ *connector.Request, status int, h http.Header, body []byte) ([]byte, bool, error) {
	more := status == http.StatusPermanentRedirect || h.Get("X-Http-Status-Code-Override") == "308"
	if more {
		connector.Keep(h, "Date", "Cache-Control", "Range", "X-Http-Status-Code-Override")
		return nil, true, nil
	}
	connector.Keep(h, "Date", "Cache-Control", "Vary", "Content-Type")
	return body, false, nil
}
