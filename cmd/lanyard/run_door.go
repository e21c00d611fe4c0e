package main

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/lanyard-dev/lanyard/client"
	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
)

// replayable is how much of a request's body is kept, so that it can be sent again
// with the nonce or the token that the gateway asks for.
const replayable = 8 << 20

// door stands between one agent and the gateway, on loopback. What comes in goes on
// as one identity, whose key and tokens the agent never sees. Its URL holds a secret,
// so that only who was told may use it.
type door struct {
	source    *client.Source
	badge     *badge
	upstreams map[string]string // name → path of its MCP endpoint, or ""
	secret    string
	host      string // address it listens on
	refused   func(*client.Error)
	proxies   map[string]*httputil.ReverseProxy
	office    http.Handler // the tools for mail, files and a calendar; nil for none
}

func newDoor(b *badge, upstreams map[string]string, l net.Listener, refused func(*client.Error)) (*door, error) {
	source, err := b.sourceOver(&http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true})
	if err != nil {
		return nil, err
	}
	d := &door{source: source, badge: b, upstreams: upstreams, secret: rand.Text(), host: l.Addr().String(), refused: refused, proxies: map[string]*httputil.ReverseProxy{}}
	for name := range upstreams {
		at, err := url.Parse(b.upstream(name))
		if err != nil {
			return nil, usage("--gateway: %w", err)
		}
		d.proxies[name] = &httputil.ReverseProxy{
			Rewrite:        func(r *httputil.ProxyRequest) { d.rewrite(r, at) },
			Transport:      &client.Transport{Source: source, Audience: b.upstream(name)},
			FlushInterval:  -1,
			ModifyResponse: func(res *http.Response) error { plainNo(res); d.led(res, name, at.String()); return nil },
			ErrorHandler:   d.failed,
			ErrorLog:       log.New(io.Discard, "", 0), // the agent has the terminal
		}
	}
	return d, nil
}

// url is where the agent reaches the gateway.
func (d *door) url() string { return "http://" + d.host + "/" + d.secret }

// ServeHTTP lets in who knows the secret and is no web page of elsewhere.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Host != d.host {
		no(w, http.StatusMisdirectedRequest, "This door answers to http://"+d.host+" alone.")
		return
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+d.host || len(r.Header.Values("Origin")) > 1 {
		no(w, http.StatusForbidden, "A web page may not use this door.")
		return
	}
	secret, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if subtle.ConstantTimeCompare([]byte(secret), []byte(d.secret)) != 1 {
		no(w, http.StatusNotFound, "There is nothing here.")
		return
	}
	name, _, _ := strings.Cut(rest, "/")
	if name == officeServer && d.office != nil {
		d.office.ServeHTTP(w, r)
		return
	}
	proxy, ok := d.proxies[name]
	if !ok {
		no(w, http.StatusNotFound, fmt.Sprintf("The agent was not started with an upstream %q: lanyard run --upstream or --mcp names those that it uses.", name))
		return
	}
	if err := keepBody(r); err != nil {
		no(w, http.StatusBadRequest, "The body could not be read.")
		return
	}
	proxy.ServeHTTP(w, r)
}

// keepBody reads a body that is not too large, so that it can be sent again.
func keepBody(r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength > replayable {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, replayable+1))
	if err != nil {
		return err
	}
	if len(b) > replayable {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(b), r.Body), r.Body}
		return nil
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	return nil
}

// rewrite sends a request on to the upstream at. The path stays as it was written.
func (d *door) rewrite(r *httputil.ProxyRequest, at *url.URL) {
	escaped := strings.TrimPrefix(r.In.URL.EscapedPath(), "/"+d.secret+"/")
	_, rest, slash := strings.Cut(escaped, "/")
	if slash {
		rest = "/" + rest
	}
	u := *at
	u.RawPath = at.EscapedPath() + rest
	u.Path, _ = url.PathUnescape(u.RawPath) // the server has parsed it
	u.RawQuery = r.In.URL.RawQuery
	r.Out.URL, r.Out.Host = &u, ""
	r.Out.GetBody = r.In.GetBody
	for _, name := range []string{"Authorization", "DPoP", "Cookie", "Origin"} {
		r.Out.Header.Del(name)
	}
}

// plainNo turns 401 into 403 and drops challenges: the agent has nothing to sign in with, so they would only lead it astray.
func plainNo(res *http.Response) {
	res.Header.Del("DPoP-Nonce")
	res.Header.Del("WWW-Authenticate")
	if res.StatusCode == http.StatusUnauthorized {
		res.StatusCode, res.Status = http.StatusForbidden, "403 Forbidden"
	}
}

// failed answers what could not be sent on. An MCP client hears it in its own protocol.
func (d *door) failed(w http.ResponseWriter, r *http.Request, err error) {
	status, text := http.StatusBadGateway, "The gateway cannot be reached: "+err.Error()
	var refused *client.Error
	if errors.As(err, &refused) {
		status, text = http.StatusForbidden, refused.Error()
		d.refused(refused)
	}
	if r.GetBody != nil && r.Method == http.MethodPost {
		if id, ok := callID(r); ok {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			b, err := jsonrpc.EncodeMessage(&jsonrpc.Response{ID: id, Error: &jsonrpc.Error{Code: mcp.Denied, Message: text}})
			if err == nil {
				_, _ = w.Write(b) // the agent may be gone
			}
			return
		}
	}
	no(w, status, text)
}

// callID is the id of the JSON-RPC request that r carries, if it does.
func callID(r *http.Request) (id jsonrpc.ID, ok bool) {
	body, err := r.GetBody()
	if err != nil {
		return id, false
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return id, false
	}
	m, err := jsonrpc.DecodeMessage(b)
	q, isRequest := m.(*jsonrpc.Request)
	if err != nil || !isRequest || !q.ID.IsValid() {
		return id, false
	}
	return q.ID, true
}

// no is a refusal as problem details (RFC 9457), with the sentence where Google's clients look, too.
func no(w http.ResponseWriter, status int, text string) {
	b, err := json.Marshal(map[string]any{"title": http.StatusText(status), "status": status, "detail": text, "error": map[string]any{"code": status, "message": text}})
	if err != nil {
		b = []byte("{}")
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b) // who asked may be gone
}
