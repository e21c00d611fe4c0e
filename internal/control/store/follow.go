package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
)

// Watch yields changes after a cursor as [feed.Source] wants them, until ctx or the store ends. While the database
// is away there are none, and it goes on as soon as that is back; [DB.Ready] and [DB.Latest] say that it is.
func (db *DB) Watch(ctx context.Context, after feed.Cursor) iter.Seq2[feed.Change, error] {
	return func(yield func(feed.Change, error) bool) {
		for batch, err := range db.follow(ctx, after, db.encoded, &db.bell) {
			if err != nil {
				yield(feed.Change{}, err)
				return
			}
			for _, e := range batch {
				c, err := e.Change()
				if err != nil {
					err = fmt.Errorf("change %d in the store is damaged: %w", e.Cursor.Seq, err)
				}
				if ctx.Err() != nil || !yield(c, err) || err != nil {
					return
				}
			}
		}
	}
}

// Lines is Watch for who passes on what is said: changes as they travel, some at a time. What is new is read from the database once
// for all who follow.
func (db *DB) Lines(ctx context.Context, after feed.Cursor) iter.Seq2[[]feed.Encoded, error] {
	first := after != (feed.Cursor{})
	return db.follow(ctx, after, func(ctx context.Context, at feed.Cursor) ([]feed.Encoded, error) {
		if batch, held := db.tail.after(at); held && !first { // the first time the database says whether that is a place in the feed
			return batch, nil
		}
		batch, err := db.encoded(ctx, at)
		first = first && err != nil
		return batch, err
	}, &db.tail.bell)
}

// follow yields what is after a cursor: a snapshot if that is zero, and then what next returns, with more whenever the bell rings.
func (db *DB) follow(ctx context.Context, after feed.Cursor, next func(context.Context, feed.Cursor) ([]feed.Encoded, error), bell *feed.Bell) iter.Seq2[[]feed.Encoded, error] {
	return func(yield func([]feed.Encoded, error) bool) {
		at := after
		if at == (feed.Cursor{}) {
			for batch, err := range db.snapshot(ctx) {
				if !yield(batch, err) || err != nil {
					return
				}
				at = batch[0].Cursor
			}
		}
		for {
			more, also := bell.Listen(), db.bell.Listen() // before the look, so that nothing falls between
			batch, err := next(ctx, at)
			if errors.Is(err, ErrUnavailable) && ctx.Err() == nil && db.ctx.Err() == nil {
				select {
				case <-ctx.Done():
				case <-db.ctx.Done():
				case <-also: // when it is back, or was tried in vain
				case <-time.After(poll):
				}
				continue
			}
			if err != nil {
				if db.ctx.Err() != nil {
					err = ErrClosed
				}
				if ctx.Err() == nil {
					yield(nil, err)
				}
				return
			}
			if len(batch) > 0 {
				if ctx.Err() != nil || !yield(batch, nil) {
					return
				}
				at = batch[len(batch)-1].Cursor
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-db.ctx.Done():
				yield(nil, ErrClosed)
				return
			case <-more:
			}
		}
	}
}

// atOnce is how many changes are read at one time.
const atOnce = 1000

// encoded returns some changes after at, or feed.ErrCompacted.
func (db *DB) encoded(ctx context.Context, at feed.Cursor) ([]feed.Encoded, error) {
	ctx, cancel := db.patient(ctx)
	defer cancel()
	h, err := db.reached(ctx, at)
	if err != nil {
		return nil, err
	}
	if at.Epoch != h.epoch || at.Seq < h.kept || at.Seq > h.seq {
		return nil, feed.ErrCompacted
	}
	if at.Seq == h.seq {
		return nil, nil
	}
	var out []feed.Encoded
	err = db.Read(ctx, func(tx *Tx) (err error) {
		next := at.Seq
		out, err = list(tx, func(row scanner) (c feed.Encoded, err error) {
			var doc []byte
			var seq uint64
			if err := row.Scan(&seq, &doc); err != nil {
				return c, err
			}
			if next++; seq != next {
				return c, feed.ErrCompacted // dropped between the look at the head and this
			}
			return feed.Encode(feed.Cursor{Epoch: h.epoch, Seq: seq}, doc)
		}, "SELECT seq, doc FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2", at.Seq, atOnce)
		return err
	})
	return out, err
}

// reached is the head that changes can be read up to, for one who is at a cursor.
func (db *DB) reached(ctx context.Context, at feed.Cursor) (*head, error) {
	if db.engine.shared { // what is remembered here may be behind
		r, err := readHead(ctx, db.r, "")
		return &r.head, db.mapped(err)
	}
	h := db.head.Load()
	if at.Epoch == h.epoch && at.Seq > h.seq { // a snapshot has seen a commit that is being published
		if err := db.acquire(ctx); err != nil {
			return nil, err
		}
		db.release()
		h = db.head.Load()
	}
	return h, nil
}
