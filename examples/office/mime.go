package office

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"sort"
	"strconv"
	"strings"
)

// part is a MIME part as Gmail shows it (MessagePart of the discovery document).
type part struct {
	PartID   string   `json:"partId"`
	MimeType string   `json:"mimeType"`
	Filename string   `json:"filename"`
	Headers  []header `json:"headers"`
	Body     *body    `json:"body,omitempty"`
	Parts    []*part  `json:"parts,omitempty"`

	data []byte
}

type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type body struct {
	AttachmentID string `json:"attachmentId,omitempty"`
	Size         int    `json:"size"`
	Data         string `json:"data,omitempty"` // base64url
}

func jsonReader(b []byte) io.Reader { return bytes.NewReader(b) }

// parseMail reads a mail of one part or of several side by side. A mail that
// cannot be read is shown as one part of text.
func parseMail(raw []byte) *part {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return newPart("", nil, raw)
	}
	kind, parameters, _ := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if !strings.HasPrefix(kind, "multipart/") {
		b, _ := io.ReadAll(m.Body) // memory does not fail
		return newPart("", textproto.MIMEHeader(m.Header), b)
	}
	p := newPart("", textproto.MIMEHeader(m.Header), nil)
	in := multipart.NewReader(m.Body, parameters["boundary"])
	for i := 0; ; i++ {
		q, err := in.NextPart()
		if err != nil {
			return p
		}
		b, _ := io.ReadAll(q)
		p.Parts = append(p.Parts, newPart(strconv.Itoa(i), q.Header, b))
	}
}

func newPart(id string, h textproto.MIMEHeader, data []byte) *part {
	kind, parameters, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		kind = "text/plain"
	}
	if h.Get("Content-Transfer-Encoding") == "base64" {
		if b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(data)), "")); err == nil {
			data = b
		}
	}
	if strings.EqualFold(h.Get("Content-Transfer-Encoding"), "quoted-printable") {
		if b, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(data))); err == nil {
			data = b
		}
	}
	p := &part{PartID: id, MimeType: kind, Filename: parameters["name"], Headers: []header{}, data: data}
	for name, values := range h {
		for _, v := range values {
			if s, err := new(mime.WordDecoder).DecodeHeader(v); err == nil {
				v = s
			}
			p.Headers = append(p.Headers, header{name, v})
		}
	}
	sort.Slice(p.Headers, func(i, j int) bool { return p.Headers[i].Name < p.Headers[j].Name })
	p.Body = &body{Size: len(data)}
	if p.Filename != "" {
		p.Body.AttachmentID = "att" + id
	} else {
		p.Body.Data = base64.URLEncoding.EncodeToString(data)
	}
	return p
}

func (p *part) get(name string) string {
	for _, h := range p.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// text is the first part's text.
func (p *part) text() string {
	if len(p.Parts) > 0 {
		return p.Parts[0].text()
	}
	return string(p.data)
}
