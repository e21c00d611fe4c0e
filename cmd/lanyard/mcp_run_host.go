package main

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// Codes of JSON-RPC errors: what MCP has for a version that is not spoken, and one
// of the range that is left to servers.
const (
	codeVersion = -32022
	codeServer  = -32000
)

// sessionVersions are the revisions of MCP that have sessions.
var sessionVersions = []string{"2025-11-25", "2025-06-18", "2025-03-26"}

// statelessVersion is the first revision that has none.
const statelessVersion = "2026-07-28"

// stdioHost serves Streamable HTTP (MCP 2025-11-25) and has a process for each session.
type stdioHost struct {
	command    []string
	env        []string
	credential string
	idle       time.Duration
	most       int
	log        *slog.Logger

	mu       sync.Mutex
	closed   bool
	sessions map[string]*stdioSession
	live     map[*stdioSession]bool // sessions, those that end among them
}

// posted is one message of a client.
type posted struct {
	line    []byte // on one line
	request *jsonrpc.Request
	id      string // of a request, as it stands in JSON; else ""
	token   string // under which its progress is told; else ""
}

// parsePosted reads the body of a POST.
func parsePosted(body []byte) (p posted, stateless string, err error) {
	var line bytes.Buffer
	if err := json.Compact(&line, body); err != nil {
		return p, "", errors.New("the body is no JSON")
	}
	p.line = line.Bytes()
	m, err := jsonrpc.DecodeMessage(p.line)
	if err != nil {
		return p, "", errors.New("the body is to be one JSON-RPC 2.0 message")
	}
	var ok bool
	if p.request, ok = m.(*jsonrpc.Request); !ok {
		return p, "", nil
	}
	if p.request.ID.IsValid() {
		p.id = idText(p.request.ID)
	}
	var params struct {
		Meta struct {
			Token   json.RawMessage `json:"progressToken"`
			Version string          `json:"io.modelcontextprotocol/protocolVersion"`
		} `json:"_meta"`
	}
	if json.Unmarshal(p.request.Params, &params) == nil {
		p.token = string(params.Meta.Token)
	}
	return p, params.Meta.Version, nil
}

// idText tells a number from a text of the same digits.
func idText(id jsonrpc.ID) string { return fmt.Sprintf("%T %v", id.Raw(), id.Raw()) }

func (h *stdioHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || subtle.ConstantTimeCompare([]byte(shown), []byte(h.credential)) != 1 {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "only the gateway may call, which has the credential that lanyard mcp run was started with", http.StatusUnauthorized)
		return
	}
	if r.URL.Path != "/mcp" {
		http.Error(w, "the server is at /mcp", http.StatusNotFound)
		return
	}
	id := r.Header.Get("Mcp-Session-Id")
	switch r.Method {
	case http.MethodPost:
		h.post(w, r, id)
	case http.MethodGet, http.MethodDelete:
		s := h.session(id)
		if s == nil {
			http.Error(w, "there is no such session", http.StatusNotFound)
			return
		}
		if r.Method == http.MethodDelete {
			s.end("its client closed it")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if !strings.Contains(strings.Join(r.Header.Values("Accept"), ","), "text/event-stream") {
			http.Error(w, "Accept is to name text/event-stream", http.StatusNotAcceptable)
			return
		}
		s.serve(w, r, s.listen())
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		http.Error(w, "use GET, POST or DELETE", http.StatusMethodNotAllowed)
	}
}

func (h *stdioHost) session(id string) *stdioSession {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[id]
}

// post takes one message, and answers a request as an event stream.
func (h *stdioHost) post(w http.ResponseWriter, r *http.Request, session string) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		http.Error(w, "Content-Type is to be application/json", http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPosted))
	if err != nil {
		http.Error(w, "the message is too large, or ended early", http.StatusRequestEntityTooLarge)
		return
	}
	p, version, err := parsePosted(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if v := r.Header.Get("Mcp-Protocol-Version"); v >= statelessVersion {
		version = v
	}
	if version != "" || p.request != nil && p.request.Method == "server/discover" {
		versionError(w, p, version)
		return
	}
	s := h.session(session)
	switch {
	case session != "" && s == nil:
		http.Error(w, "there is no such session; begin another", http.StatusNotFound)
		return
	case s == nil && (p.id == "" || p.request.Method != "initialize"):
		http.Error(w, "the first message is to be the request initialize", http.StatusBadRequest)
		return
	case s == nil:
		if s, err = h.open(); err != nil {
			h.log.Warn("no session", "error", printable(err.Error()))
			w.Header().Set("Retry-After", "10")
			rpcError(w, http.StatusServiceUnavailable, p, codeServer, err.Error(), nil)
			return
		}
		w.Header().Set("Mcp-Session-Id", s.id)
	}
	if p.id == "" {
		if s.send(p.line) != nil {
			http.Error(w, "there is no such session; begin another", http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		return
	}
	out, err := s.ask(p)
	if err != nil {
		rpcError(w, http.StatusBadRequest, p, jsonrpc.CodeInvalidRequest, err.Error(), nil)
		return
	}
	s.serve(w, r, out)
}

// versionError tells a client of a revision without sessions which others there are.
func versionError(w http.ResponseWriter, p posted, asked string) {
	rpcError(w, http.StatusBadRequest, p, codeVersion, "this server needs sessions, which MCP "+statelessVersion+" has not: speak "+sessionVersions[0],
		map[string]any{"supported": sessionVersions, "requested": asked})
}

func rpcError(w http.ResponseWriter, status int, p posted, code int64, text string, data any) {
	e := &jsonrpc.Error{Code: code, Message: text}
	if data != nil {
		e.Data, _ = json.Marshal(data) // texts only
	}
	var id jsonrpc.ID
	if p.request != nil {
		id = p.request.ID
	}
	b, err := jsonrpc.EncodeMessage(&jsonrpc.Response{ID: id, Error: e})
	if err != nil {
		http.Error(w, text, status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the caller may be gone
}

// open begins a session with a process of its own.
func (h *stdioHost) open() (*stdioSession, error) {
	s := &stdioSession{id: rand.Text(), host: h, in: make(chan []byte, 64), done: make(chan struct{}), pending: map[string]*outbox{}}
	h.mu.Lock()
	if h.closed || len(h.live) >= h.most {
		h.mu.Unlock()
		return nil, errors.New("this server has as many sessions as it may; try again later")
	}
	h.live[s] = true
	h.sessions[s.id] = s
	h.mu.Unlock()
	if err := s.start(); err != nil {
		h.forget(s)
		h.ended(s)
		h.log.Error("the MCP server cannot be started", "error", err)
		return nil, errors.New("the MCP server cannot be started; its operator finds why in the log of lanyard mcp run")
	}
	return s, nil
}

// forget makes the session unknown; ended says that its process is no more.
func (h *stdioHost) forget(s *stdioSession) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, s.id)
}

func (h *stdioHost) ended(s *stdioSession) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.live, s)
}

// endAll ends every session and lets no other begin.
func (h *stdioHost) endAll(why string) {
	h.mu.Lock()
	h.closed = true
	all := slices.Collect(maps.Keys(h.live))
	h.mu.Unlock()
	for _, s := range all {
		go s.end(why)
	}
	for _, s := range all {
		s.gone.Wait()
	}
}
