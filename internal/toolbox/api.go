package toolbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Refusal is a no: of the gateway, or of the system behind it.
type Refusal struct {
	Status    int
	Kind      string // of the gateway's own, the last word of its type; else empty
	Detail    string // one sentence for people, and for a model
	Approval  string // id of the question that waits for people, if one does
	ApproveAt string // and where they answer
}

func (r *Refusal) Error() string { return r.Detail }

const (
	ours     = "Lanyard-Problem"      // header that only the gateway's own refusals have
	problems = "urn:lanyard:problem:" // begins the type of these (RFC 9457)
)

const (
	maxReply  = 16 << 20  // bytes of a reply that is read
	holds     = "wait=60" // how long the gateway is to hold a request for an answer, in seconds
	mostWaits = 10        // times that a request is held so
	atOnce    = 8         // requests at once, of those that one call makes
)

// api is one account, for one call of a tool.
type api struct {
	Account
	shown string // id of the question that the caller's person was shown, and whose answer is waited for
	match string // entity tag that what is changed must still have (RFC 9110 section 13.1.1); empty: any
}

// matching is the same for what must still be as it was when it had that version.
func (a api) matching(version string) (api, error) {
	if len(version) > 256 || strings.ContainsFunc(version, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return a, errors.New("version: give it as another tool returned it")
	}
	a.match = version
	return a, nil
}

// body is content in place of JSON.
type body struct {
	kind string
	data []byte
}

// call sends a request: in is nil, a body, or what becomes JSON; out is nil, a *body, or what JSON is read into. When
// the caller's person was shown a question, it is sent until that was answered.
func (a api) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	content, ok := in.(body)
	if !ok && in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		content = body{"application/json", b}
	}
	target := strings.TrimSuffix(a.URL, "/") + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	for n := 1; ; n++ {
		begun := time.Now()
		err := a.send(ctx, method, target, content, out)
		var no *Refusal
		if a.shown == "" || !errors.As(err, &no) || no.Approval != a.shown || n == mostWaits {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(begun.Add(time.Second))): // one that the gateway does not hold is not sent all the time
		}
	}
}

// send sends a request once.
func (a api) send(ctx context.Context, method, target string, content body, out any) error {
	var from io.Reader
	if content.kind != "" {
		from = bytes.NewReader(content.data)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, from)
	if err != nil {
		return err
	}
	if content.kind != "" {
		req.Header.Set("Content-Type", content.kind)
	}
	if a.shown != "" {
		req.Header.Set("Prefer", holds) // RFC 7240 section 4.3
	}
	if a.match != "" {
		req.Header.Set("If-Match", a.match)
	}
	res, err := a.HTTP.Do(req)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) { // without the URL, which says nothing to who called a tool
			err = inner.Err
		}
		return fmt.Errorf("the gateway cannot be asked: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	switch {
	case err != nil:
		return fmt.Errorf("the reply was cut off: %w", err)
	case len(b) > maxReply:
		return fmt.Errorf("the reply has more than %d MiB", maxReply>>20)
	case res.StatusCode >= 300:
		return refusal(res.StatusCode, res.Header.Get(ours) != "", b)
	}
	switch out := out.(type) {
	case nil:
		return nil
	case *body:
		*out = body{res.Header.Get("Content-Type"), b}
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("the reply is no JSON as it should be: %w", err)
	}
	return nil
}

// refusal reads what was answered in place of a result, by the gateway or by a system, which may speak as if it were the gateway.
func refusal(status int, own bool, b []byte) error {
	var p struct {
		Type, Detail, Approval string
		ApproveAt              string `json:"approve_at"`
		Error                  struct{ Message string }
	}
	_ = json.Unmarshal(b, &p) // what is no JSON says nothing
	no := &Refusal{Status: status, Detail: p.Detail}
	kind, typed := strings.CutPrefix(p.Type, problems)
	switch {
	case own && typed:
		if no.Kind = kind; kind == "approval-needed" {
			no.Approval, no.ApproveAt = p.Approval, p.ApproveAt
			no.Detail = strings.Replace(no.Detail, "send exactly the same request again", "make exactly the same call again", 1)
		}
	case status == http.StatusPreconditionFailed:
		no.Detail = "It was changed by somebody else since it had that version, and nothing was done; look at it again first."
	case status < 400:
		no.Detail = "This is at another address, which is not behind the gateway."
	case p.Error.Message != "":
		no.Detail = fmt.Sprintf("The system answered %d: %s", status, p.Error.Message)
	default:
		no.Detail = fmt.Sprintf("The system answered %d %s.", status, http.StatusText(status))
	}
	return no
}

// missing reports whether err is that something is not there.
func missing(err error) bool {
	var no *Refusal
	return errors.As(err, &no) && (no.Status == http.StatusNotFound || no.Status == http.StatusGone)
}

// withheld reports whether err is that a layer of a grant does not let something pass.
func withheld(err error) bool {
	var no *Refusal
	return errors.As(err, &no) && no.Kind == "layers"
}

// each runs f for each of n, some at once, and returns the first error in their order.
func each(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i := range n {
		places <- struct{}{}
		wg.Go(func() {
			errs[i] = f(i)
			<-places
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// segment is an id as a part of a path.
func segment(id string) (string, error) {
	if id == "" || id == "." || id == ".." || len(id) > 1024 {
		return "", errors.New("id: give one that another tool returned")
	}
	return url.PathEscape(id), nil
}

// mediaType is that of content, without its parameters.
func mediaType(kind string) string {
	base, _, err := mime.ParseMediaType(kind)
	if err != nil {
		return "application/octet-stream"
	}
	return base
}
