package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// EventQuery is exported for huma, which fills only fields it can see.
type EventQuery struct {
	Caller
	Identity string `query:"identity" maxLength:"512"`
	Owner    string `query:"owner" maxLength:"64"`
	Upstream string `query:"upstream" maxLength:"64"`
	Action   string `query:"action" doc:"Exact, or with a trailing *" maxLength:"512"`
	Class    string `query:"class" enum:"read,write,delete,admin"`
	Type     string `query:"type" doc:"As in request, identity.kill; a noun selects all of its kind" maxLength:"64"`
	Outcome  string `query:"outcome" doc:"ended is any but pending: of a request that is recorded before it goes on, the end alone" enum:"allowed,refused,failed,pending,ended"`
	By       string `query:"by" doc:"identity: what identities did, and no person, stranger or Lanyard itself" enum:"identity"`
	Task     string `query:"task" doc:"Under this task, or about it" maxLength:"64"`
	Text     string `query:"text" doc:"Anywhere in the event" maxLength:"256"`
	Since    string `query:"since" doc:"RFC 3339, a date, or how long ago: 90m, 12h, 7d" maxLength:"64"`
	Until    string `query:"until" maxLength:"64"`
}

func (q *EventQuery) query(p *Plane) (l ledger.Query, err error) {
	l = ledger.Query{Identity: q.Identity, Owner: q.Owner, Upstream: q.Upstream, Action: q.Action, Class: q.Class, Type: q.Type, Outcome: ledger.Outcome(q.Outcome), By: q.By, Task: q.Task, Text: q.Text}
	if l.Since, err = sinceOrUntil(q.Since, p.Now()); err == nil {
		l.Until, err = sinceOrUntil(q.Until, p.Now())
	}
	if q.only != nil {
		l.Of = []string{}
		for _, o := range q.only {
			l.Of = append(l.Of, string(o))
		}
	}
	return l, err
}

type eventSearch struct {
	EventQuery
	After string `query:"after" doc:"Next of the page before" maxLength:"20"`
	Limit int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
}

// Found is a part of what a search of the ledger finds.
type Found struct {
	Page[Entry]
	BackTo time.Time `json:"back_to,omitzero" doc:"So far back it was searched, when fewer were found than may be: there may be more, before next"`
}

type eventTail struct {
	EventQuery
	From int64 `query:"from" default:"-1" doc:"Index to begin at; negative: so many before the end" minimum:"-10000"`
}

type eventStream struct {
	EventQuery
	Last string `header:"Last-Event-ID" doc:"Index of the last event that was seen" maxLength:"20"`
}

// alive is how often a stream says that it goes on.
const alive = 15 * time.Second

// streamEvents writes what q selects from an index on as server-sent events.
func (p *Plane) streamEvents(ctx context.Context, w writer, q ledger.Query, from int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex // one writes at a time
	write := func(text string) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := w.Write([]byte(text))
		w.Flush()
		return err
	}
	if err := write(":\n\n"); err != nil { // so that it is known to be open
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(alive)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if write(":\n\n") != nil {
				cancel()
			}
		}
	}()
	defer func() { cancel(); <-done }()
	for e, err := range p.Store.Tail(ctx, from) {
		if err != nil {
			return err
		}
		if !q.Match(e.Event, e.Leaf) {
			continue
		}
		line, err := json.Marshal(entry(e))
		if err != nil {
			return err
		}
		if err := write(fmt.Sprintf("id: %d\ndata: %s\n\n", e.Index, line)); err != nil {
			return err
		}
	}
	return nil
}

type exportInput struct {
	Caller
	Size int64 `query:"size" doc:"How many events: those under a checkpoint" minimum:"0"`
}

func entry(e store.Entry) Entry { return Entry{e.Index, json.RawMessage(e.Leaf)} }

func (p *Plane) ledgerRoutes(api door) {
	const tag = "ledger"
	handleList(api, "GET", "/ledger/events", "search-events", tag, "Events, the newest first", func(ctx context.Context, in *eventSearch) (out Found, err error) {
		q, err := in.query(p)
		if err != nil {
			return out, err
		}
		before := int64(0)
		if in.After != "" {
			if before, err = strconv.ParseInt(in.After, 10, 64); err != nil || before <= 0 {
				return out, invalid("after: this is not the next of a page before")
			}
		}
		found, err := p.Store.Search(ctx, q, before, in.Limit)
		if out.Page = page[Entry](nil); err != nil {
			return out, err
		}
		for _, e := range found.Entries {
			out.Items = append(out.Items, entry(e))
		}
		if found.Next > 0 {
			out.Next = strconv.FormatInt(found.Next, 10)
		}
		out.BackTo = found.BackTo
		return out, nil
	})
	stream(api, "/ledger/tail", "tail-events", "application/x-ndjson", "Events as they come, one JSON object {index, event} a line", func(in *eventTail) (streamer, error) {
		q, err := in.query(p)
		from := in.From
		if from < 0 {
			from = max(0, p.Store.Size()+from)
		}
		return func(ctx context.Context, w writer) error {
			for e, err := range p.Store.Tail(ctx, from) {
				if err != nil {
					return err
				}
				if !q.Match(e.Event, e.Leaf) {
					continue
				}
				line, err := json.Marshal(entry(e))
				if err != nil {
					return err
				}
				if _, err := w.Write(append(line, '\n')); err != nil {
					return err
				}
				w.Flush()
			}
			return nil
		}, err
	})
	stream(api, "/ledger/stream", "stream-events", "text/event-stream", "Events as they come, for a page that shows them: each {index, event}, with its index as id, from Last-Event-ID on or else from now", func(in *eventStream) (streamer, error) {
		q, err := in.query(p)
		from := p.Store.Size()
		if in.Last != "" && err == nil {
			last, bad := strconv.ParseInt(in.Last, 10, 64)
			if from = last + 1; bad != nil || last < 0 {
				return nil, invalid("Last-Event-ID: it is the index of the last event that was seen")
			}
		}
		return func(ctx context.Context, w writer) error { return p.streamEvents(ctx, w, q, from) }, err
	})
	stream(api, "/ledger/export", "export-events", "application/x-ndjson", "The events as they were recorded, one a line: the leaves of the Merkle tree", func(in *exportInput) (streamer, error) {
		size := in.Size
		if have := p.Store.Size(); size > have {
			return nil, invalid(fmt.Sprintf("size: the ledger has %d events", have))
		} else if size == 0 {
			size = have
		}
		return func(ctx context.Context, w writer) error { return p.Store.Export(ctx, size, w) }, nil
	})
	stream(api, "/ledger/checkpoint", "get-checkpoint", "text/plain; charset=utf-8", "A signed checkpoint of the ledger as it is (C2SP tlog-checkpoint)", func(in *none) (streamer, error) {
		return func(ctx context.Context, w writer) error {
			note, err := p.Store.Checkpoint(ctx)
			if err == nil {
				_, err = w.Write(note)
			}
			return err
		}, nil
	})
	handle(api, "GET", "/ledger/key", "get-ledger-key", tag, "The key that checkpoints are verified with", func(ctx context.Context, in *none) (LedgerKey, error) {
		return LedgerKey{p.Store.Verifier()}, nil
	})
	handle(api, "GET", "/ledger/proof/{name}", "prove-event", tag, "An event with the proof that it is in the ledger; by id or index", func(ctx context.Context, in *byName) (ledger.Inclusion, error) {
		index, err := strconv.ParseInt(in.Name, 10, 64)
		if strings.HasPrefix(in.Name, "evt_") {
			index, err = p.Store.Index(ctx, in.Name)
		} else if err != nil {
			return ledger.Inclusion{}, invalid("an event is named by its id (evt_...) or its index")
		}
		var proof ledger.Inclusion
		if err == nil {
			proof, err = p.Store.Prove(ctx, index)
		}
		if errors.Is(err, store.ErrNotFound) {
			err = &registry.Missing{Noun: "event", Name: in.Name}
		}
		return proof, err
	})
	handle(api, "POST", "/ledger/verify", "verify-ledger", tag, "Read the whole ledger and compare it with its tree", func(ctx context.Context, in *none) (VerifyResult, error) {
		r, err := p.Store.Verify(ctx)
		return VerifyResult{OK: r.OK(), Key: p.Store.Verifier(), Report: r}, err
	})
}

type writer interface {
	Write([]byte) (int, error)
	Flush()
}

type streamer func(context.Context, writer) error

// stream registers an operation whose answer is written as it comes.
func stream[I any](api door, path, id, kind, summary string, open func(*I) (streamer, error)) {
	huma.Register(api, huma.Operation{Method: "GET", Path: "/v1" + path, OperationID: id, Tags: []string{"ledger"}, Summary: summary, RejectUnknownQueryParameters: true, Middlewares: huma.Middlewares{api.gate(id)},
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{kind: {}}}}},
		func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
			op := huma.Operation{Method: http.MethodGet, OperationID: id, Path: "/v1" + path, Metadata: map[string]any{partly: true}}
			err := api.plane.admit(ctx, &op, in)
			var send streamer
			if err == nil {
				send, err = open(in)
			}
			if err != nil {
				return nil, api.answer(id, err)
			}
			return &huma.StreamResponse{Body: func(hc huma.Context) {
				hc.SetHeader("Content-Type", kind)
				hc.SetHeader("Cache-Control", "no-store")
				w, ok := hc.BodyWriter().(writer)
				if !ok {
					hc.SetStatus(http.StatusInternalServerError)
					return
				}
				w.Flush()
				ctx, cancel := api.plane.during(hc.Context(), &op, in)
				defer cancel()
				if err := send(ctx, w); err != nil {
					panic(http.ErrAbortHandler) // what was sent so far must not look whole
				}
			}}, nil
		})
}
