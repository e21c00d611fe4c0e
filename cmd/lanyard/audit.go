package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

func (a *app) audit() *cobra.Command {
	return noun("audit", "The record: watch, search, verify, prove, export", a.auditTail(), a.auditSearch(), a.auditVerify(), a.auditProve(), a.auditExport(), a.auditKey())
}

// queryFlags are the filters that tail and search share.
func queryFlags(c *cobra.Command) func() url.Values {
	values := map[string]*string{}
	for _, f := range [][2]string{{"identity", "who acted, or to whom it was done"}, {"owner", "of this owner"}, {"upstream", "on this upstream"}, {"action", "this action, or a prefix with *"},
		{"class", "read, write, delete or admin"}, {"type", "request, token.issue, identity.kill, ...; or only the noun"}, {"outcome", "allowed, refused, failed or pending"},
		{"task", "under this task, or about it"}, {"text", "anywhere in the event"}, {"since", "since then: 90m, 12h, 7d ago, a date, or RFC 3339"}, {"until", "before then"}} {
		values[f[0]] = c.Flags().String(f[0], "", f[1])
	}
	return func() url.Values {
		q := url.Values{}
		for name, v := range values {
			if *v != "" {
				q.Set(name, *v)
			}
		}
		return q
	}
}

// eventLine is an event as people read one.
func eventLine(e control.Entry) string {
	v, err := ledger.Parse(e.Event)
	if err != nil {
		return fmt.Sprintf("%d  (this event cannot be read: %v)", e.Index, err)
	}
	who, itself := v.Actor, strings.HasPrefix(v.Actor, "spiffe://")
	if i := strings.LastIndexByte(who, '/'); i >= 0 {
		who = who[i+1:]
	}
	what := v.Type
	requests := v.Type == "request" || strings.HasPrefix(v.Type, "request.")
	if requests {
		what = or(v.Action, "(not recognised)")
		if v.Upstream != "" {
			what += " on " + v.Upstream
		}
	} else if v.Resource != "" {
		what += " " + v.Resource[strings.LastIndexByte(v.Resource, '/')+1:]
	}
	line := fmt.Sprintf("%6d  %s  %-8s %s", e.Index, v.Time.UTC().Format("15:04:05.000"), v.Outcome, or(who, "(nobody)"))
	if v.Owner != "" && itself {
		line += " (" + v.Owner + ")"
	}
	if len(v.Chain) > 1 {
		line += " for " + strings.Join(shortNames(v.Chain[1:]), ", ")
	}
	line += "  " + what
	if v.Owner != "" && !itself {
		line += " (" + v.Owner + ")"
	}
	if v.Reason != "" && v.Outcome != ledger.Allowed || v.Reason != "" && !requests {
		line += "\n          " + v.Reason
	}
	return printableLines(line)
}

// shortNames are SPIFFE IDs as people say them: invoice-bot, and person/maya.
func shortNames(ids []string) []string {
	short := make([]string, len(ids))
	for i, s := range ids {
		short[i] = s[strings.LastIndexByte(s, '/')+1:]
		if strings.Contains(s, "/person/") {
			short[i] = "person/" + short[i]
		}
	}
	return short
}

func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

// print shows an event: with -o json its leaf as it was recorded.
func (a *app) event(e control.Entry) {
	if a.output == "json" {
		fmt.Fprintln(a.out, string(e.Event))
		return
	}
	fmt.Fprintln(a.out, eventLine(e))
}

func (a *app) auditTail() *cobra.Command {
	var last int64
	c := &cobra.Command{Use: "tail", Short: "Watch events as they come", Args: cobra.NoArgs,
		Example: `  lanyard audit tail --identity invoice-bot
  lanyard audit tail --outcome refused -o json`}
	query := queryFlags(c)
	c.Flags().Int64Var(&last, "last", 10, "begin so many events before the end")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		q := query()
		q.Set("from", fmt.Sprint(-last))
		if last == 0 {
			s, err := ask[control.Status](cmd.Context(), a, "GET", "/v1/status", nil)
			if err != nil {
				return err
			}
			q.Set("from", fmt.Sprint(s.Ledger.Size))
		}
		res, err := a.request(cmd.Context(), "GET", "/v1/ledger/tail?"+q.Encode(), nil)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		d := json.NewDecoder(res.Body)
		for {
			var e control.Entry
			if err := d.Decode(&e); err != nil {
				if cmd.Context().Err() != nil || errors.Is(err, io.EOF) {
					return nil
				}
				return fmt.Errorf("the stream broke: %w", err)
			}
			a.event(e)
		}
	}
	return c
}

func (a *app) auditSearch() *cobra.Command {
	var limit int
	c := &cobra.Command{Use: "search", Short: "Find events, the newest first", Args: cobra.NoArgs,
		Example: `  lanyard audit search --identity invoice-bot --since 1h
  lanyard audit search --type identity.kill
  lanyard audit search --upstream mail --class write --outcome refused -o json`}
	query := queryFlags(c)
	c.Flags().IntVar(&limit, "limit", 50, "at most so many")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		q := query()
		for limit > 0 {
			q.Set("limit", fmt.Sprint(min(limit, 1000)))
			p, err := ask[control.Page[control.Entry]](cmd.Context(), a, "GET", "/v1/ledger/events?"+q.Encode(), nil)
			if err != nil {
				return err
			}
			for _, e := range p.Items {
				a.event(e)
			}
			if limit -= len(p.Items); p.Next == "" {
				return nil
			}
			q.Set("after", p.Next)
		}
		return nil
	}
	return c
}

func (a *app) auditVerify() *cobra.Command {
	var key string
	c := &cobra.Command{Use: "verify [EXPORT]", Short: "Check that the record is what was recorded", Args: cobra.MaximumNArgs(1),
		Long: `Check that no event was changed, dropped, added or moved.

With the folder of an export nothing else is needed: no database, no server, and no
trust in who made it but for the verifier key. Get the key another way than with
the export (lanyard audit key, some day before) and give it with --key.

Without one, the running server reads its whole ledger and compares.`,
		Example: `  lanyard audit export ledger-2026-11 && lanyard audit verify ledger-2026-11 --key "$(cat ledger.key)"
  lanyard audit verify`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var r control.VerifyResult
			if len(args) == 0 {
				over := a.progress("reading the ledger, seconds", seconds())
				var err error
				if r, err = ask[control.VerifyResult](cmd.Context(), a, "POST", "/v1/ledger/verify", struct{}{}); err != nil {
					over()
					return err
				}
				over()
			} else {
				dir := os.DirFS(args[0])
				warn := false
				if key == "" {
					b, err := os.ReadFile(filepath.Join(args[0], ledger.KeyFile))
					if err != nil {
						return fmt.Errorf("%s is no export of a ledger: %w", args[0], err)
					}
					key, warn = strings.TrimSpace(string(b)), true
				}
				over := a.progress("checking, seconds", seconds())
				report, err := ledger.Check(dir, key)
				over()
				if err != nil {
					return exit{exitUnverified, err}
				}
				if r = (control.VerifyResult{OK: report.OK(), Key: key, Report: report}); warn {
					fmt.Fprintln(a.errs, "note: the verifier key came with the export itself; give --key with the one you had before")
				}
			}
			err := a.show(r, func(w io.Writer) {
				for _, p := range r.Report.Problems {
					fmt.Fprintln(w, printable(p.String()))
				}
				if r.OK {
					fmt.Fprintf(w, "ok: %d events are what was recorded, in that order, and none is missing\nroot %s\nkey  %s\n", r.Report.Events, r.Report.Checkpoint.Root, r.Key)
				} else {
					fmt.Fprintf(w, "NOT what was recorded: %s\n", plural(len(r.Report.Problems), "place", "places"))
				}
			})
			if err == nil && !r.OK {
				err = exit{exitUnverified, nil}
			}
			return err
		}}
	c.Flags().StringVar(&key, "key", "", "verifier key of the ledger, got another way than with the export")
	return c
}

func seconds() func() int64 {
	begin := time.Now()
	return func() int64 { return int64(time.Since(begin) / time.Second) }
}

func (a *app) auditProve() *cobra.Command {
	return &cobra.Command{Use: "prove EVENT", Short: "Prove that an event is in the record, to someone who trusts only the key", Args: cobra.ExactArgs(1),
		Long: `Fetch an event (by its id, evt_..., or its index) with the proof that it stands at
its place under a signed checkpoint, and check that proof. With -o json, the proof
can be handed on.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := ask[ledger.Inclusion](cmd.Context(), a, "GET", pathOf("ledger", "proof", args[0]), nil)
			if err != nil {
				return err
			}
			k, err := a.ledgerKey(cmd)
			if err != nil {
				return err
			}
			if err := p.Check(k); err != nil {
				return exit{exitUnverified, err}
			}
			return a.show(p, func(w io.Writer) {
				fmt.Fprintln(w, eventLine(control.Entry{Index: p.Index, Event: json.RawMessage(p.Leaf)}))
				fmt.Fprintf(w, "\nproven: event %d is in the ledger under this checkpoint, with %d hashes\n\n%s", p.Index, len(p.Proof), p.Checkpoint)
			})
		}}
}

func (a *app) ledgerKey(cmd *cobra.Command) (string, error) {
	k, err := ask[control.LedgerKey](cmd.Context(), a, "GET", "/v1/ledger/key", nil)
	return k.Key, err
}

func (a *app) auditKey() *cobra.Command {
	return &cobra.Command{Use: "key", Short: "The verifier key of the ledger; keep it where you keep other keys", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		k, err := a.ledgerKey(cmd)
		if err != nil {
			return err
		}
		return a.show(map[string]string{"key": k}, func(w io.Writer) { fmt.Fprintln(w, k) })
	}}
}

func (a *app) auditExport() *cobra.Command {
	return &cobra.Command{Use: "export FOLDER", Short: "Write the whole record into a new folder", Args: cobra.ExactArgs(1),
		Long: `Write the ledger into a new folder: events.jsonl (OCSF 1.9, one event a line, byte
for byte what was recorded), the signed checkpoint over them, the verifier key, and
the tiles of the Merkle tree (C2SP tlog-tiles).`,
		Example: `  lanyard audit export ledger-2026-11`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := os.Lstat(args[0]); err == nil {
				return fmt.Errorf("%s is there already; name a folder that is not", args[0])
			}
			k, err := a.ledgerKey(cmd)
			if err != nil {
				return err
			}
			res, err := a.request(cmd.Context(), "GET", "/v1/ledger/checkpoint", nil)
			if err != nil {
				return err
			}
			note, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
			res.Body.Close()
			if err != nil {
				return err
			}
			c, err := ledger.OpenCheckpoint(note, k)
			if err != nil {
				return exit{exitUnverified, err}
			}
			if res, err = a.request(cmd.Context(), "GET", fmt.Sprintf("/v1/ledger/export?size=%d", c.Size), nil); err != nil {
				return err
			}
			defer res.Body.Close()
			var n atomic.Int64
			over := a.progress("events written", n.Load)
			err = ledger.Export(args[0], note, k, func(yield func([]byte) error) error {
				lines := bufio.NewScanner(res.Body)
				lines.Buffer(make([]byte, 64<<10), 2*ledger.MaxLeaf)
				for n.Load() < c.Size && lines.Scan() {
					if err := yield(lines.Bytes()); err != nil {
						return err
					}
					n.Add(1)
				}
				return lines.Err()
			})
			over()
			if err != nil {
				return err
			}
			return a.show(map[string]any{"folder": args[0], "events": c.Size, "root": c.Root.String()}, func(w io.Writer) {
				fmt.Fprintf(w, "%d events are in %s; check them anywhere with: lanyard audit verify %s\n", c.Size, args[0], args[0])
			})
		}}
}
