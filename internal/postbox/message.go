package postbox

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/lanyard-dev/lanyard/internal/bridge"
)

// list lists messages, the newest first.
func (p *Postbox) list(r *http.Request) (any, error) {
	found, next, err := p.search(r, r.URL.Query()["labelIds"])
	if err != nil {
		return nil, err
	}
	all := []any{}
	for _, l := range found {
		all = append(all, object{"id": l.id(), "threadId": l.id()})
	}
	v := object{"messages": all, "resultSizeEstimate": len(all)}
	if next != "" {
		v["nextPageToken"] = next
	}
	return v, nil
}

func (p *Postbox) search(r *http.Request, labels []string) (page []place, next string, err error) {
	q := r.URL.Query()
	c, in, err := p.criteria(q.Get("q"), labels)
	if err != nil {
		return nil, "", err
	}
	size, from := 100, 0
	for name, to := range map[string]*int{"maxResults": &size, "pageToken": &from} {
		if s := q.Get(name); s != "" {
			if *to, err = strconv.Atoi(s); err != nil || *to < 0 {
				return nil, "", bridge.Invalid("Invalid value for %s.", name)
			}
		}
	}
	type dated struct {
		place
		at int64
	}
	var all []dated
	for _, f := range in {
		validity, err := p.open(f, false)
		if err != nil {
			return nil, "", err
		}
		data, err := p.client.UIDSearch(&c, nil).Wait()
		if err != nil {
			return nil, "", fmt.Errorf("searching %s: %w", f.name, err)
		}
		uids := data.AllUIDs()
		if len(uids) == 0 {
			continue
		}
		list, err := p.client.Fetch(imap.UIDSetNum(uids...), &imap.FetchOptions{UID: true, InternalDate: true}).Collect()
		if err != nil {
			return nil, "", fmt.Errorf("reading %s: %w", f.name, err)
		}
		for _, m := range list {
			all = append(all, dated{place{f, validity, m.UID}, m.InternalDate.UnixMilli()})
		}
	}
	slices.SortStableFunc(all, func(a, b dated) int { return int(min(1, max(-1, b.at-a.at))) })
	from = min(from, len(all))
	to := min(from+min(max(size, 1), 500), len(all))
	for _, d := range all[from:to] {
		page = append(page, d.place)
	}
	if to < len(all) {
		next = strconv.Itoa(to)
	}
	return page, next, nil
}

// fetch reads a message, or its header alone.
func (p *Postbox) fetch(l place, header bool) (*imapclient.FetchMessageBuffer, []byte, error) {
	section := &imap.FetchItemBodySection{Peek: true}
	if header {
		section.Specifier = imap.PartSpecifierHeader
	}
	list, err := p.client.Fetch(imap.UIDSetNum(l.uid), &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		return nil, nil, fmt.Errorf("reading a message: %w", err)
	}
	if len(list) != 1 || list[0].UID != l.uid || len(list[0].BodySection) != 1 {
		return nil, nil, bridge.ErrNone
	}
	return list[0], list[0].BodySection[0].Bytes, nil
}

func (p *Postbox) get(r *http.Request) (any, error) {
	l, err := p.find(r.PathValue("id"), false)
	if err != nil {
		return nil, err
	}
	return p.show(l, r.URL.Query().Get("format"))
}

// show is a message as Gmail has it.
func (p *Postbox) show(l place, format string) (object, error) {
	if format != "" && format != "full" && format != "metadata" && format != "minimal" && format != "raw" {
		return nil, bridge.Invalid("Invalid value for format.")
	}
	m, raw, err := p.fetch(l, format == "metadata" || format == "minimal")
	if err != nil {
		return nil, err
	}
	labels := []string{l.folder.label}
	if !slices.Contains(m.Flags, imap.FlagSeen) {
		labels = append(labels, "UNREAD")
	}
	if slices.Contains(m.Flags, imap.FlagFlagged) {
		labels = append(labels, "STARRED")
	}
	v := object{"id": l.id(), "threadId": l.id(), "labelIds": labels, "internalDate": strconv.FormatInt(m.InternalDate.UnixMilli(), 10), "sizeEstimate": m.RFC822Size}
	switch format {
	case "minimal":
	case "raw":
		v["raw"] = base64.URLEncoding.EncodeToString(raw)
	default:
		v["payload"] = parse(raw, format == "metadata").object()
	}
	return v, nil
}

func (p *Postbox) attachment(r *http.Request) (any, error) {
	l, err := p.find(r.PathValue("id"), false)
	if err != nil {
		return nil, err
	}
	_, raw, err := p.fetch(l, false)
	if err != nil {
		return nil, err
	}
	for part := range parse(raw, false).walk {
		if part.id == r.PathValue("part") && part.id != "" && len(part.parts) == 0 {
			return object{"size": len(part.data), "data": base64.URLEncoding.EncodeToString(part.data)}, nil
		}
	}
	return nil, bridge.ErrNone
}

// part is a part of a mail.
type part struct {
	id, kind, name string
	header         textproto.MIMEHeader
	data           []byte
	parts          []*part
}

// Limits of what is taken apart; what goes beyond them is left out.
const (
	maxDepth = 20
	maxParts = 1000
)

// parse takes a mail apart. What cannot be read has no header, so that nobody is on it.
func parse(raw []byte, header bool) *part {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return &part{kind: "application/octet-stream"}
	}
	n := maxParts
	body := io.Reader(m.Body)
	if header {
		body = bytes.NewReader(nil)
	}
	return newPart("", textproto.MIMEHeader(m.Header), body, 0, &n)
}

func newPart(id string, h textproto.MIMEHeader, body io.Reader, depth int, left *int) *part {
	p := &part{id: id, header: h, kind: "text/plain"}
	*left--
	kind, parameters, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err == nil {
		p.kind = kind
	} else if h.Get("Content-Type") != "" {
		p.kind = "application/octet-stream"
	}
	p.name = parameters["name"]
	if _, disposition, err := mime.ParseMediaType(h.Get("Content-Disposition")); err == nil && disposition["filename"] != "" {
		p.name = disposition["filename"]
	}
	if s, err := new(mime.WordDecoder).DecodeHeader(p.name); err == nil {
		p.name = s
	}
	if strings.HasPrefix(p.kind, "multipart/") {
		in := multipart.NewReader(body, parameters["boundary"])
		for i := 0; depth < maxDepth && *left > 0; i++ {
			one, err := in.NextRawPart()
			if err != nil {
				break
			}
			p.parts = append(p.parts, newPart(strings.TrimPrefix(id+"."+strconv.Itoa(i), "."), one.Header, one, depth+1, left))
		}
		return p
	}
	switch strings.ToLower(strings.TrimSpace(h.Get("Content-Transfer-Encoding"))) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	p.data, _ = io.ReadAll(io.LimitReader(body, maxMail)) // what is cut off is shown as far as it goes
	return p
}

func (p *part) walk(yield func(*part) bool) {
	if !yield(p) {
		return
	}
	for _, q := range p.parts {
		q.walk(yield)
	}
}

// object is the part as MessagePart of Gmail's description.
func (p *part) object() object {
	headers := []any{}
	names := make([]string, 0, len(p.header))
	for name := range p.header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range p.header[name] {
			if s, err := new(mime.WordDecoder).DecodeHeader(v); err == nil && !addresses[name] { // an encoded name may hold what looks like an address
				v = s
			}
			headers = append(headers, object{"name": name, "value": strings.ToValidUTF8(v, "\ufffd")})
		}
	}
	body := object{"size": len(p.data)}
	v := object{"partId": p.id, "mimeType": p.kind, "filename": strings.ToValidUTF8(p.name, "\ufffd"), "headers": headers, "body": body}
	switch {
	case len(p.parts) > 0:
		list := []any{}
		for _, q := range p.parts {
			list = append(list, q.object())
		}
		v["parts"] = list
	case p.id != "" && (p.name != "" || !strings.HasPrefix(p.kind, "text/")):
		body["attachmentId"] = p.id
	default:
		body["data"] = base64.URLEncoding.EncodeToString(p.data)
	}
	return v
}

var addresses = map[string]bool{"From": true, "Sender": true, "Reply-To": true, "To": true, "Cc": true, "Bcc": true, "Resent-From": true, "Resent-To": true, "Resent-Cc": true}
