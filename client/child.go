package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Child says what a child is for. Purpose is required.
type Child struct {
	Name     string    `json:"name,omitempty"`     // a word of up to 16 characters, for people
	Purpose  string    `json:"purpose"`            // one sentence
	Expires  string    `json:"expires,omitempty"`  // "30m"; default an hour, and never after its parent
	Grants   []Lend    `json:"grants,omitempty"`   // what it may do of what its parent may; none: all of that
	Children *Children `json:"children,omitempty"` // how many it may start itself; default what its parent may, one level less
}

// Lend is one thing that a child may do, as long as its parent may.
type Lend struct {
	Upstream   string         `json:"upstream"`
	Actions    []string       `json:"actions"`              // classes, actions or patterns of actions
	Resources  []string       `json:"resources,omitempty"`  // patterns with *; none means all
	Conditions map[string]any `json:"conditions,omitempty"` // by argument, as in a grant
	Until      string         `json:"until,omitempty"`      // default the child's end
}

// Children is how many an identity may start.
type Children struct {
	AtOnce int `json:"at_once"` // at one time
	Depth  int `json:"depth"`   // 1 is children, 2 theirs too
}

// Spawned is a child that was registered.
type Spawned struct {
	ID        string             `json:"id"` // SPIFFE ID
	Expires   time.Time          `json:"expires"`
	Resources []string           `json:"resources"` // what it can ask tokens for
	Key       ed25519.PrivateKey `json:"-"`
}

// Spawn registers a child of this identity, with a key that is made here, and returns
// the Source that acts as it. What the child may do is at most what this identity may at
// that moment, and it ends with it. A refusal is a *Refusal.
func (s *Source) Spawn(ctx context.Context, c Child) (*Source, Spawned, error) {
	var made Spawned
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, made, fmt.Errorf("client: making a key: %w", err)
	}
	body, err := json.Marshal(struct {
		Child
		Key jose.JSONWebKey `json:"public_key"`
	}{c, jose.JSONWebKey{Key: key.Public()}})
	if err != nil {
		return nil, made, fmt.Errorf("client: %w", err)
	}
	answer, err := s.ask(ctx, http.MethodPost, "/v1/children", body)
	if err != nil {
		return nil, made, fmt.Errorf("registering a child: %w", err)
	}
	if err := json.Unmarshal(answer, &made); err != nil || made.ID == "" {
		return nil, made, fmt.Errorf("registering a child: the reply names none")
	}
	made.Key = key
	child, err := New(Config{Issuer: s.config.Issuer, Identity: made.ID, Key: key, Base: s.config.Base, Now: s.config.Now})
	return child, made, err
}

// End ends a child whose work is done, with all that it started: one of this identity's,
// or one below those, by its SPIFFE ID; or this identity itself if it is a child.
func (s *Source) End(ctx context.Context, id string) error {
	_, err := s.ask(ctx, http.MethodDelete, "/v1/children/"+url.PathEscape(id), nil)
	if err != nil {
		err = fmt.Errorf("ending a child: %w", err)
	}
	return err
}

// ask calls the control plane as this identity.
func (s *Source) ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	issuer := strings.TrimSuffix(s.config.Issuer, "/")
	req, err := http.NewRequestWithContext(ctx, method, issuer+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := s.HTTPClient(issuer).Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || res.StatusCode == http.StatusOK {
		return answer, err
	}
	no := &Refusal{Status: res.StatusCode}
	if json.Unmarshal(answer, no) != nil || no.Detail == "" {
		return nil, errors.New(res.Status)
	}
	return nil, no
}

// Refusal is a no of the control plane (RFC 9457).
type Refusal struct {
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func (e *Refusal) Error() string { return e.Detail }
