package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/lanyard-dev/lanyard/internal/fetch"
)

// maxBody is the most that is read of any answer, in bytes.
const maxBody = 1 << 20

// link reads a URL that a stranger gave and that will be fetched or opened. What was
// found by https leads nowhere by http.
func (c *Client) link(what, raw string, found *url.URL) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || len(raw) > 2048 || u.Host == "" || u.Opaque != "":
		return nil, fmt.Errorf("%s is no URL", what)
	case u.User != nil || u.Fragment != "" || strings.Contains(raw, "#"):
		return nil, fmt.Errorf("%s has a user name or a fragment in it", what)
	case !fetch.ASCII(u.Host):
		return nil, fmt.Errorf("the host of %s is not written in ASCII (xn--)", what)
	case u.Scheme == "https":
		return u, nil
	case u.Scheme == "http" && c.Loopback && fetch.Loopback(u.Hostname()) && (found == nil || found.Scheme == "http"):
		return u, nil
	}
	return nil, fmt.Errorf("%s, %s://%s, is not https", what, u.Scheme, u.Host)
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// covers reports whether u is the resource or below it.
func covers(resource, u *url.URL) bool {
	if !sameOrigin(resource, u) {
		return false
	}
	if resource.RawQuery != "" && resource.RawQuery != u.RawQuery {
		return false
	}
	above, path := strings.TrimSuffix(resource.EscapedPath(), "/"), u.EscapedPath()
	if l := strings.ToLower(path) + "/"; strings.Contains(l, "/../") || strings.Contains(l, "/./") || strings.Contains(l, "%2e") || strings.Contains(l, "%2f") {
		return path == resource.EscapedPath() // where another reading of the path may lead is not known
	}
	return path == above || strings.HasPrefix(path, above+"/")
}

var errRedirect = errors.New("redirects to another origin, or too often")

// get fetches a JSON document into v. It reports false if there is none: the
// answer is a 4xx, or something other than JSON, as web sites give for any path.
func (c *Client) get(ctx context.Context, u *url.URL, v any) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", "application/json")
	h := *c.HTTP
	h.Jar = nil
	h.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) > 3 || !sameOrigin(r.URL, u) {
			return errRedirect
		}
		return nil
	}
	res, err := h.Do(req)
	if err != nil {
		return false, fmt.Errorf("fetching %s: %w", u, err)
	}
	defer res.Body.Close()
	switch code := res.StatusCode; {
	case code == http.StatusRequestTimeout, code == http.StatusTooManyRequests: // it may be there
	case code >= 400 && code < 500, code == http.StatusOK && !isJSON(res):
		return false, nil
	}
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("fetching %s: it answers %s", u, printable(res.Status))
	}
	body, err := read(res)
	if err == nil {
		err = decode(body, v)
	}
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", u, err)
	}
	return true, nil
}

// post sends a request to an endpoint of an authorization server and returns its answer.
// It follows no redirect: what is sent is for that endpoint only.
func (c *Client) post(req *http.Request) (*http.Response, []byte, error) {
	req.Header.Set("Accept", "application/json")
	h := *c.HTTP
	h.Jar = nil
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := h.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("asking %s: %w", req.URL, err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		return nil, nil, fmt.Errorf("asking %s: it redirects, which no such endpoint may", req.URL)
	}
	body, err := read(res)
	if err != nil {
		return nil, nil, fmt.Errorf("asking %s: %w", req.URL, err)
	}
	return res, body, nil
}

// refusal is the error an endpoint answered with, as far as it said one.
func refusal(res *http.Response, body []byte) error {
	var e struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if decode(body, &e) != nil || e.Code == "" {
		return fmt.Errorf("asking %s: it answers %s", res.Request.URL, printable(res.Status))
	}
	return &Error{printable(e.Code), printable(e.Description), res.StatusCode}
}

func read(res *http.Response) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxBody {
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxBody)
	}
	return b, nil
}

// decode reads a JSON object strictly: no duplicate members, no bad UTF-8, names in
// their one spelling. The error does not quote what was read, which may be secret.
func decode(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil || !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return errors.New("it is no JSON object with the members it should have, each once")
	}
	return nil
}

func isJSON(res *http.Response) bool {
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

// printable is a stranger's text, short and without what a terminal or a log would obey.
func printable(s string) string {
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' && r != '…' {
			return '?'
		}
		return r
	}, s)
}
