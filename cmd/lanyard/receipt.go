package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/feed"
)

func (a *app) waitFlag(c *cobra.Command) {
	c.Flags().BoolVar(&a.wait, "wait", false, "end when every gateway has confirmed it or has stopped")
}

// confirmed shows the answer to a change, v, with its receipt after what text says. With
// --wait it goes on until the receipt is settled, and shows line by line how that comes to be.
func (a *app) confirmed(ctx context.Context, v any, r *feed.Receipt, text func(io.Writer)) error {
	told := map[string]bool{}
	if a.output != "json" {
		text(a.out)
		receipt(a.out, r, told, !a.wait)
	}
	for a.wait && r.Cursor != (feed.Cursor{}) && !r.Settled() {
		if a.output != "json" && !told["waiting"] {
			told["waiting"] = true
			fmt.Fprintf(a.out, "waiting for %s, until %s at most\n", plural(len(r.Waiting), "gateway", "gateways"), moment(r.Bound))
		}
		q := url.Values{"epoch": {r.Cursor.Epoch}, "seq": {strconv.FormatUint(r.Cursor.Seq, 10)}, "known": {strconv.Itoa(len(r.Confirmed))}, "wait": {"30s"}}
		now, err := ask[feed.Receipt](ctx, a, "GET", "/v1/receipt?"+q.Encode(), nil)
		if err != nil {
			return fmt.Errorf("it is committed, but where it is in force cannot be asked: %w", err)
		}
		now.Committed = r.Committed
		for name, at := range r.Confirmed { // when it was confirmed first
			if _, ok := now.Confirmed[name]; ok {
				now.Confirmed[name] = at
			}
		}
		if *r = now; a.output != "json" {
			receipt(a.out, r, told, false)
		}
	}
	if a.output == "json" {
		return a.show(v, nil)
	}
	if told["waiting"] {
		fmt.Fprintf(a.out, "in force everywhere after %s\n", max(0, r.AsOf.Sub(r.Committed)).Round(time.Millisecond))
	}
	return nil
}

// receipt says where a change is in force, and of whom has not confirmed it by when it has
// stopped. What was told is not told again; open says to tell of those that are still waited for.
func receipt(w io.Writer, r *feed.Receipt, told map[string]bool, open bool) {
	for _, name := range sortedKeys(r.Confirmed) {
		if !told[name] {
			told[name] = true
			fmt.Fprintf(w, "in force at %s after %s\n", name, max(0, r.Confirmed[name].Sub(r.Committed)).Round(10*time.Microsecond))
		}
	}
	for _, name := range sortedKeys(r.Waiting) {
		switch until := r.Waiting[name]; {
		case told[name]:
		case !until.After(r.AsOf):
			told[name] = true
			fmt.Fprintf(w, "%s has stopped: its lease ended at %s\n", name, moment(until))
		case open:
			fmt.Fprintf(w, "NOT yet confirmed by %s, which stops by itself at %s, in %s, at the latest\n", name, moment(until), until.Sub(r.AsOf).Round(100*time.Millisecond))
		}
	}
}

func moment(t time.Time) string { return t.UTC().Format("15:04:05.000 MST") }
