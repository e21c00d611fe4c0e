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
	seen    bool // the view had it
}

// sent notes the pages that an error sends a guest's person to.
func (d *door) sent(who guest, err error) {
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
		d.opened(who, page.ID)
	}
}

func (d *door) opened(who guest, id string) {
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
	d.pages[id] = opening{who.session, ours}
}

// complete tells who was sent to a page that it has been seen to.
func (d *door) complete(id string) {
	d.mu.Lock()
	p, ok := d.pages[id]
	delete(d.pages, id)
	d.mu.Unlock()
	if ok {
		_ = p.session.NotifyElicitationComplete(d.ctx, &sdk.ElicitationCompleteParams{ElicitationID: id}) // who was sent there may have gone
	}
}

// decided completes the pages where people have decided since, or no longer can.
func (d *door) decided() {
	var done []string
	d.mu.Lock()
	for id, p := range d.pages {
		a, ok := d.g.View.ApprovalOf(id)
		if ok && a.State == feed.Waiting {
			p.seen = true
			d.pages[id] = p
		} else if ok || p.seen {
			done = append(done, id)
		}
	}
	d.mu.Unlock()
	for _, id := range done {
		d.complete(id)
	}
}
