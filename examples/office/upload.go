package office

import (
	"io"
	"mime"
	"mime/multipart"
	"net/http"
)

// upload reads a media upload: its JSON, and the content with its type. Of a resumable one the content comes later.
// https://developers.google.com/workspace/drive/api/guides/manage-uploads
func upload(r *http.Request) (metadata io.Reader, content media, err error) {
	kind := r.Header.Get("Content-Type")
	switch r.URL.Query().Get("uploadType") {
	case "media":
		b, err := io.ReadAll(r.Body)
		return http.NoBody, media{kind, b}, err
	case "resumable":
		return r.Body, media{kind: r.Header.Get("X-Upload-Content-Type")}, nil
	case "multipart":
	default:
		return nil, media{}, invalid("Only uploadType media, multipart and resumable are known here.")
	}
	_, parameters, err := mime.ParseMediaType(kind)
	if err != nil {
		return nil, media{}, invalid("The Content-Type is not multipart/related.")
	}
	parts := multipart.NewReader(r.Body, parameters["boundary"])
	first, err := parts.NextPart()
	if err != nil {
		return nil, media{}, invalid("The upload has no metadata.")
	}
	b, err := io.ReadAll(first)
	if err != nil {
		return nil, media{}, invalid("The upload's metadata is cut off.")
	}
	second, err := parts.NextPart()
	if err != nil {
		return nil, media{}, invalid("The upload has no content.")
	}
	content.kind = second.Header.Get("Content-Type")
	content.data, err = io.ReadAll(second)
	return jsonReader(b), content, err
}
