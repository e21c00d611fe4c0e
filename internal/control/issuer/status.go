package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// This file is the Token Status List (draft-ietf-oauth-status-list). A token whose upstream asks for it gets a
// place of its own in a list. What it stands on is kept with the event of its issue, in the same commit, so
// that every node on the store can say of it what introspection would.

const (
	statusFresh = time.Second      // a list is made anew when somebody asks and it is older than that
	statusCache = 5 * time.Second  // for how long what lies between may answer with it
	statusTTL   = 10 * time.Second // for how long who reads it uses it
	statusEnds  = time.Minute      // from when on it says nothing any more, whoever kept it
)

// statuses is the list that this node gives places in, and what it knows of all lists.
type statuses struct {
	giving sync.Mutex
	list   string
	used   []bool // of its places, those that were given
	given  int

	reading sync.Mutex
	epoch   string // of the feed, of which are all lists known
	seen    int64  // last one read
	looked  time.Time
	swept   time.Time
	trouble error // of that look
	lists   map[string]*statusList
}

// statusList is one list. Its places are given by one node, and never twice.
type statusList struct {
	places map[int]standing
	signed string
	made   time.Time
}

// standing is what a token stands on: from it follows whether it is good.
type standing struct {
	Token      string         `json:"token"` // jti
	Audience   string         `json:"audience"`
	Chain      identity.Chain `json:"chain"`
	Credential string         `json:"credential"`
	Task       string         `json:"task,omitempty"`
	From       []string       `json:"from,omitempty"`
	expires    time.Time
}

// give returns a place that no token had before. Which one is random: it does not tell how many there were.
// A list is full when half of it was given, so that one is found soon.
func (s *statuses) give(epoch string, random io.Reader) (list string, index int, err error) {
	s.giving.Lock()
	defer s.giving.Unlock()
	var b [16]byte
	if s.given >= len(s.used)/2 || !strings.HasPrefix(s.list, epoch+"-") {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return "", 0, fmt.Errorf("make status list: %w", err)
		}
		s.list, s.used, s.given = fmt.Sprintf("%s-%x", epoch, b), make([]bool, token.StatusPlaces), 0
	}
	for {
		if _, err := io.ReadFull(random, b[:2]); err != nil {
			return "", 0, fmt.Errorf("choose place in status list: %w", err)
		}
		if index = int(b[0])<<8 | int(b[1]); !s.used[index] {
			s.used[index] = true
			s.given++
			return s.list, index, nil
		}
	}
}

// place gives the token of q a place, if its upstream wants that.
func (i *Issuer) place(q *issue) error {
	u, ok := i.View.Upstream(q.upstream)
	if !ok || !u.StatusList {
		return nil
	}
	if i.RecordStatus == nil {
		return errors.New("a status list is wanted, and there is none")
	}
	c := &q.claims
	list, index, err := i.statuses.give(i.View.Enforced().Epoch, i.Rand)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(standing{Token: c.ID, Audience: c.Audience, Chain: c.Chain, Credential: c.Credential, Task: c.Task, From: c.From})
	if err != nil {
		return fmt.Errorf("place in status list: %w", err)
	}
	c.Status = token.Place{Index: index, URI: i.statusURI(list)}
	q.status = &store.Status{List: list, Index: index, Expires: c.Expires, Doc: doc}
	return nil
}

func (i *Issuer) statusURI(list string) string { return i.URL + "/oauth/status/" + list }

// good reports whether a token that was verified is still good for its audience, for anything at all.
func (i *Issuer) good(c token.Claims, now time.Time) bool {
	if i.View.Check(c, now) != nil {
		return false
	}
	if c.Audience == i.URL {
		return true
	}
	name, ours := i.upstreamOf(c.Audience)
	u, ok := i.View.Upstream(name)
	if !ours || !ok || u.Killed {
		return false
	}
	for _, l := range c.Chain[1:] {
		if person := l.ID.Owner(); person != "" && len(u.Limit(person)) == 0 {
			return false
		}
	}
	return i.View.Holds(c.Chain, name, now)
}

// good reports whether the token that stands on s is.
func (s standing) good(i *Issuer, now time.Time) bool {
	return i.good(token.Claims{ID: s.Token, Audience: s.Audience, Chain: s.Chain, Credential: s.Credential, Task: s.Task, From: s.From, Expires: s.expires}, now)
}

var errNoList = errors.New("there is no such status list")

// statusList serves a list to anybody.
func (i *Issuer) statusList(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("time") { // section 8.4: of what was, there is none
		http.Error(w, "Only the status of now is to be had.", http.StatusNotImplemented)
		return
	}
	raw, err := i.statuses.read(r.Context(), i, r.PathValue("list"))
	switch {
	case errors.Is(err, errNoList):
		// Also of lists from before the store was restored: it does not know what stood in them, and their tokens are refused for that.
		http.Error(w, "There is no such status list, or all of it has expired.", http.StatusNotFound)
	case err != nil:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "The status of tokens cannot be told now; try again.", http.StatusServiceUnavailable)
	default:
		h := w.Header()
		h.Set("Content-Type", "application/"+token.TypStatusList)
		h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(statusCache/time.Second)))
		h.Set("Access-Control-Allow-Origin", "*") // anybody may read it, scripts of any page too
		io.WriteString(w, raw)
	}
}

// read returns the list, signed. It is at most statusFresh old, and made when all was in force here that any node had committed.
func (s *statuses) read(ctx context.Context, i *Issuer, name string) (string, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	now := i.Now()
	old := func(t time.Time) bool { return now.Before(t) || now.Sub(t) >= statusFresh }
	if err := i.View.Live(); err != nil {
		return "", err
	}
	l := s.lists[name]
	switch {
	case l != nil && !old(l.made):
		return l.signed, nil
	case s.trouble != nil && !old(s.looked): // so that not everybody who asks waits for it
		return "", s.trouble
	case l == nil && !old(s.looked):
		return "", errNoList
	}
	s.looked, s.trouble = now, s.look(ctx, i, now)
	if s.trouble != nil {
		return "", s.trouble
	}
	if l = s.lists[name]; l == nil {
		return "", errNoList
	}
	if l.sweep(now); len(l.places) == 0 {
		delete(s.lists, name)
		return "", errNoList
	}
	if err := l.sign(i, name, now); err != nil {
		return "", err
	}
	return l.signed, nil
}

// look brings what is known of all lists to what the store has, and returns when the view has all that was committed by then.
func (s *statuses) look(ctx context.Context, i *Issuer, now time.Time) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second) // others wait for it, too
	defer cancel()
	if s.lists == nil {
		s.seen = -1
	}
	var at feed.Cursor
	for more := true; more; { // what was read stays, should the time not be enough for all
		list, head, err := i.Statuses(ctx, s.seen)
		if err != nil {
			return err
		}
		if at = head; s.lists == nil || at.Epoch != s.epoch {
			again := s.seen >= 0
			if s.epoch, s.lists, s.seen = at.Epoch, map[string]*statusList{}, -1; again {
				continue
			}
		}
		if err := s.take(list); err != nil {
			return err
		}
		more = len(list) == store.MaxStatuses
	}
	if now.Sub(s.swept) >= statusEnds || now.Before(s.swept) {
		s.swept = now
		for name, l := range s.lists {
			if l.sweep(now); len(l.places) == 0 {
				delete(s.lists, name)
			}
		}
	}
	return i.caughtUp(ctx, at)
}

func (s *statuses) take(list []store.Status) error {
	for _, p := range list {
		s.seen = p.Seq
		if !strings.HasPrefix(p.List, s.epoch+"-") {
			continue
		}
		st := standing{expires: p.Expires}
		if err := json.Unmarshal(p.Doc, &st); err != nil {
			return fmt.Errorf("a place in status list %s is damaged: %w", p.List, err)
		}
		st.Audience = unique.Make(st.Audience).Value() // many tokens have the same
		if s.lists[p.List] == nil {
			s.lists[p.List] = &statusList{places: map[int]standing{}}
		}
		s.lists[p.List].places[p.Index] = st
	}
	return nil
}

// caughtUp returns when the view has all up to there.
func (i *Issuer) caughtUp(ctx context.Context, at feed.Cursor) error {
	for {
		more := i.View.Changed() // before the look, so that nothing falls between
		if have := i.View.Enforced(); have.Epoch == at.Epoch && have.Seq >= at.Seq {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		}
	}
}

// sweep forgets the tokens that have ended.
func (l *statusList) sweep(now time.Time) {
	maps.DeleteFunc(l.places, func(_ int, p standing) bool { return !now.Before(p.expires) })
}

func (l *statusList) sign(i *Issuer, name string, now time.Time) (err error) {
	bits := make([]byte, token.StatusPlaces/8)
	for n, p := range l.places {
		if !p.good(i, now) {
			bits[n/8] |= 1 << (n % 8)
		}
	}
	l.signed, err = i.Ring.Signer().SignStatusList(i.statusURI(name), token.StatusList{Bits: bits, Issued: now, Expires: now.Add(statusEnds), TTL: statusTTL})
	l.made = now
	return err
}
