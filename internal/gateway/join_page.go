package gateway

import (
	"encoding/json"
	"errors"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

// Clients with sessions can be told that a page which their person was sent to has been
// seen to (2025-11-25, Elicitation): one of an upstream's, when it says so; one of ours,
// where people approve a call, when they have decided.

const (
	maxPages    = 64 // of one caller that are waited for
	maxPageName = 256
)

type opening struct {
	session *sdk.ServerSession
	member  string // the upstream whose call it was for
	seen    bool   // the view had it
}

// sent notes the pages that an error of an upstream's sends a guest's person to.
func (d *door) sent(who guest, member string, err error) {
	var e *jsonrpc.Error
	if who.stateless || !errors.As(err, &e) || e.Code != mcp.MustOpen {
		return
	}
	var data struct {
		Elicitations []struct {
			ID string `json:"elicitationId"`
		} `json:"elicitations"`
	}
	if json.Unmarshal(e.Data, &data) != nil {
		return
	}
	for _, page := range data.Elicitations {
		d.opened(who, member, page.ID)
	}
}

func (d *door) opened(who guest, member, id string) {
	if who.session == nil || who.stateless || id == "" || len(id) > maxPageName {
		return
	}
	d.watch(who.session)
	_, ours := d.g.View.ApprovalOf(id)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lines == nil {
		return
	}
	for other := range d.pages {
		if len(d.pages) < maxPages {
			break
		}
		delete(d.pages, other)
	}
	if d.pages == nil {
		d.pages = map[string]opening{}
	}
	d.pages[id] = opening{who.session, member, ours}
}

// complete tells who was sent to a page for an upstream that it has been seen to; for any, if member is "".
func (d *door) complete(member, id string) {
	d.mu.Lock()
	p, ok := d.pages[id]
	if ok = ok && (member == "" || member == p.member); ok {
		delete(d.pages, id)
	}
	d.mu.Unlock()
	if ok {
		_ = p.session.NotifyElicitationComplete(d.ctx, &sdk.ElicitationCompleteParams{ElicitationID: id}) // who was sent there may have gone
	}
}

// decided has the pages completed where people have decided since, or no longer can: by one goroutine of
// the door's own, since who is told may not listen.
func (d *door) decided() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if done := d.over(); len(done) == 0 || d.tending {
		return
	}
	d.tending = true
	go func() {
		for {
			d.mu.Lock()
			done := d.over()
			d.tending = len(done) > 0
			d.mu.Unlock()
			if len(done) == 0 {
				return
			}
			for _, id := range done {
				d.complete("", id)
			}
		}
	}()
}

// over are the pages that can be completed. The caller holds the lock.
func (d *door) over() (done []string) {
	for id, p := range d.pages {
		a, ok := d.g.View.ApprovalOf(id)
		if ok && a.State == feed.Waiting {
			p.seen = true
			d.pages[id] = p
		} else if ok || p.seen {
			done = append(done, id)
		}
	}
	return done
}
