package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/token"
)

// StatusLists is for a resource server that verifies Lanyard's access tokens itself: it says whether a
// token is still good, from the status list that its status claim names
// (draft-ietf-oauth-status-list). Each list is asked for when it is first needed and again when its time
// to live is over, so what was revoked is good for no longer than that. It is safe for use by many goroutines.
type StatusLists struct {
	Issuer string            // the control plane's URL: no list of anybody else is asked for
	Base   http.RoundTripper // default http.DefaultTransport
	Now    func() time.Time  // default time.Now

	mu     sync.Mutex
	keys   *token.Verifier
	asked  time.Time             // for the keys
	cached map[string]cachedList // by uri
}

type cachedList struct {
	list  token.StatusList
	until time.Time
}

const (
	keysEach = 10 * time.Second // keys are asked for anew, when a list is signed by one that is not known, at most so often
	maxLists = 1000
)

// Good reports whether the token at a place of a list is still good: uri and index are uri and idx in
// status.status_list of a token that was verified. After an error the token must be refused: nobody can say that it is good.
func (s *StatusLists) Good(ctx context.Context, uri string, index int) (bool, error) {
	if s.Issuer == "" || !strings.HasPrefix(uri, strings.TrimSuffix(s.Issuer, "/")+"/oauth/status/") || strings.ContainsAny(uri, "?#") {
		return false, fmt.Errorf("client: %.100q is no status list of %s", uri, s.Issuer)
	}
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.cached[uri]
	if at := now(); !ok || !at.Before(c.until) || at.Before(c.list.Issued.Add(-token.Skew)) {
		list, err := s.fetch(ctx, uri, at) // its time to live counts from before it was asked for
		if err != nil {
			return false, fmt.Errorf("client: status list: %w", err)
		}
		if len(s.cached) >= maxLists || s.cached == nil {
			s.cached = map[string]cachedList{}
		}
		c = cachedList{list, at.Add(list.TTL)}
		if list.Expires.Before(c.until) {
			c.until = list.Expires
		}
		s.cached[uri] = c
	}
	return c.list.Good(index)
}

func (s *StatusLists) fetch(ctx context.Context, uri string, now time.Time) (token.StatusList, error) {
	raw, err := s.get(ctx, uri)
	if err != nil {
		return token.StatusList{}, err
	}
	known := s.keys != nil
	if !known {
		if err := s.fetchKeys(ctx, now); err != nil {
			return token.StatusList{}, err
		}
	}
	list, err := s.keys.StatusList(string(raw), uri, now)
	if err != nil && known && (now.Sub(s.asked) >= keysEach || now.Before(s.asked)) { // it may be signed by a newer key
		if err := s.fetchKeys(ctx, now); err != nil {
			return list, err
		}
		list, err = s.keys.StatusList(string(raw), uri, now)
	}
	return list, err
}

func (s *StatusLists) fetchKeys(ctx context.Context, now time.Time) error {
	s.asked = now
	raw, err := s.get(ctx, strings.TrimSuffix(s.Issuer, "/")+"/oauth/jwks")
	if err != nil {
		return err
	}
	keys, err := token.ParseJWKS(raw)
	if err == nil {
		s.keys = keys
	}
	return err
}

func (s *StatusLists) get(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/"+token.TypStatusList+", application/json")
	base := s.Base
	if base == nil {
		base = http.DefaultTransport
	}
	res, err := base.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", s.Issuer, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking %s: %s", s.Issuer, res.Status)
	}
	const most = 64 << 10
	body, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err == nil && len(body) > most {
		err = errors.New("the answer is too long")
	}
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", s.Issuer, err)
	}
	return body, nil
}
