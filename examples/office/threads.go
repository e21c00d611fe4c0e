package office

import (
	"encoding/base64"
	"net/http"
)

func (o *Office) listThreads(r *http.Request) (any, error) {
	var ids []*message // the newest of each thread
	seen := map[string]bool{}
	for _, m := range o.newest(r) {
		if !seen[m.thread] {
			seen[m.thread], ids = true, append(ids, m)
		}
	}
	from, to, next, err := page(r, len(ids), "maxResults", 100)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, m := range ids[from:to] {
		list = append(list, map[string]any{"id": m.thread, "snippet": parseMail(m.raw).get("Subject")})
	}
	return listing(map[string]any{"threads": list, "resultSizeEstimate": len(ids)}, next), nil
}

func (o *Office) getThread(r *http.Request) (any, error) {
	list := []any{}
	for _, m := range o.messages {
		if m.thread == r.PathValue("id") {
			v, err := m.show(r.URL.Query().Get("format"), r.URL.Query()["metadataHeaders"])
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
	}
	if len(list) == 0 {
		return nil, notFound("Thread")
	}
	return map[string]any{"id": r.PathValue("id"), "messages": list}, nil
}

func (d *draft) show() any {
	return map[string]any{"id": d.id, "message": map[string]any{"id": d.message.id, "threadId": d.message.thread, "labelIds": d.message.labels}}
}

func (o *Office) listDrafts(r *http.Request) (any, error) {
	from, to, next, err := page(r, len(o.drafts), "maxResults", 100)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, d := range o.drafts[from:to] {
		list = append(list, d.show())
	}
	return listing(map[string]any{"drafts": list, "resultSizeEstimate": len(o.drafts)}, next), nil
}

func (o *Office) getDraft(r *http.Request) (any, error) {
	for _, d := range o.drafts {
		if d.id == r.PathValue("id") {
			m, err := d.message.show(r.URL.Query().Get("format"), nil)
			return map[string]any{"id": d.id, "message": m}, err
		}
	}
	return nil, notFound("Draft")
}

func (o *Office) createDraft(r *http.Request) (any, error) {
	m, err := o.take(r, "DRAFT")
	if err != nil {
		return nil, err
	}
	d := &draft{"r" + m.id, m}
	o.drafts = append(o.drafts, d)
	return d.show(), nil
}

func (o *Office) sendDraft(r *http.Request) (any, error) {
	var in struct {
		ID      string `json:"id"`
		Message struct {
			Raw string `json:"raw"`
		} `json:"message"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	for i, d := range o.drafts {
		if d.id != in.ID {
			continue
		}
		if in.Message.Raw != "" { // the draft becomes this, and goes out
			raw, err := base64.URLEncoding.DecodeString(in.Message.Raw)
			if err != nil {
				return nil, invalid("Invalid value for raw.")
			}
			d.message.raw = raw
		}
		if parseMail(d.message.raw).get("To") == "" {
			return nil, &failure{http.StatusBadRequest, "invalidArgument", "Recipient address required"}
		}
		o.drafts = append(o.drafts[:i:i], o.drafts[i+1:]...)
		d.message.labels = []string{"SENT"}
		return d.message.show("minimal", nil)
	}
	return nil, notFound("Draft")
}
