package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// database is which database a command works on: one elsewhere, or SQLite in the data folder.
type database struct{ url, file string }

func (d *database) flags(f *pflag.FlagSet) {
	f.StringVar(&d.url, "database", "", "PostgreSQL to keep everything in, as postgres://user@host/name, instead of SQLite in --data")
	f.StringVar(&d.file, "database-file", "", "read --database from this file, so that its password is in no list of processes")
}

// open returns the URL, or nothing for SQLite.
func (d database) open() (string, error) {
	if d.file == "" {
		return d.url, nil
	}
	if d.url != "" {
		return "", usage("--database and --database-file: give one of them")
	}
	b, err := os.ReadFile(d.file)
	if err != nil {
		return "", fmt.Errorf("--database-file: %w", err)
	}
	if url := strings.TrimSpace(string(b)); url != "" {
		return url, nil
	}
	return "", usage("--database-file %s is empty", d.file)
}

// place is a store that no server of ours has open, with what its secrets are sealed with.
func place(data, url string, s sealing) (store.Config, error) {
	c := store.Config{Dir: data, Database: url, Now: time.Now, Rand: rand.Reader, Fatal: func(err error) {
		fmt.Fprintln(os.Stderr, "lanyard: the disk failed:", err)
		os.Exit(exitError)
	}}
	var err error
	c.Seal, err = s.box(data, data, false)
	return c, err
}

func (a *app) migrate() *cobra.Command {
	var d database
	var check bool
	c := &cobra.Command{
		Use: "migrate", Short: "Bring the tables of the store up to date", Args: cobra.NoArgs,
		Long: `Bring the tables of the store to what this version of lanyard needs. lanyard
serve does the same at its start; this is for those who want to do it before.

With --check nothing is changed; the exit code is 2 when something would be.`,
		Example: "  lanyard migrate --check\n  lanyard migrate --database-file /etc/lanyard/database",
		RunE: func(cmd *cobra.Command, _ []string) error {
			url, err := d.open()
			if err != nil {
				return err
			}
			config := store.Config{Dir: a.data, Database: url, Now: time.Now, Rand: rand.Reader}
			have, know, err := store.Schema(cmd.Context(), config)
			if err == nil && !check {
				err = store.Migrate(cmd.Context(), config)
			}
			if err != nil {
				return err
			}
			if err := a.show(map[string]int{"from": have, "to": know}, func(w io.Writer) {
				switch {
				case have > know:
					fmt.Fprintf(w, "the store is of schema %d, this lanyard knows %d: use the newer one that made it\n", have, know)
				case have == know:
					fmt.Fprintf(w, "schema %d, nothing to do\n", have)
				case check:
					fmt.Fprintf(w, "schema %d would become %d\n", have, know)
				default:
					fmt.Fprintf(w, "schema %d is now %d\n", have, know)
				}
			}); err != nil {
				return err
			}
			if have > know {
				return exit{code: exitError}
			}
			if check && have < know {
				return exit{code: exitWouldChange}
			}
			return nil
		},
	}
	d.flags(c.Flags())
	c.Flags().BoolVar(&check, "check", false, "say what would be done, and do nothing")
	return c
}

func (a *app) backup() *cobra.Command {
	var d database
	var s sealing
	c := &cobra.Command{
		Use: "backup FILE", Short: "Write all of the store to a file", Args: cobra.ExactArgs(1),
		Long: `Write all of the store, as of one moment, to a file, while lanyard serve runs or
does not. The file is the same for SQLite and PostgreSQL, and is signed with the
key of the ledger. Secrets stay sealed in it: seal.key is not in it. Keep that
apart: together they open every secret.`,
		Example: "  lanyard backup --data /var/lib/lanyard /backup/lanyard-$(date +%F).backup",
		RunE: func(cmd *cobra.Command, args []string) error {
			url, err := d.open()
			if err != nil {
				return err
			}
			config, err := place(a.data, url, s)
			if err != nil {
				return err
			}
			said, err := backup(cmd.Context(), config, args[0])
			if err != nil {
				return err
			}
			return a.show(archiveOf(said), func(w io.Writer) {
				fmt.Fprintf(w, "%s: schema %d, %d events, root %x\nIt holds no seal.key; without that its secrets open to nobody. Keep the two apart.\n", args[0], said.Schema, said.Events, said.Root)
			})
		},
	}
	d.flags(c.Flags())
	s.flags(c.Flags())
	return c
}

// archiveOf is what commands say of an archive in JSON.
func archiveOf(a store.Archive) map[string]any {
	return map[string]any{"schema": a.Schema, "made": a.Made, "events": a.Events, "root": fmt.Sprintf("%x", a.Root), "cursor": a.Cursor()}
}

// backup writes a file that is whole or not there.
func backup(ctx context.Context, c store.Config, path string) (a store.Archive, err error) {
	if _, err := os.Lstat(path); err == nil {
		return a, fmt.Errorf("%s is there already; name another file", path)
	}
	f, err := os.OpenFile(path+".part", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return a, err
	}
	defer os.Remove(f.Name())
	a, err = store.Backup(ctx, c, f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return a, err
	}
	return a, os.Rename(f.Name(), path)
}

func (a *app) store() *cobra.Command {
	return noun("store", "The store itself: put a backup in place, move to PostgreSQL", a.storeRestore(), a.storeCopy())
}

func (a *app) storeRestore() *cobra.Command {
	var d database
	var s sealing
	var o store.Restoring
	var checkpoint string
	c := &cobra.Command{
		Use: "restore FILE", Short: "Put a backup in place", Args: cobra.ExactArgs(1),
		Long: `Put what lanyard backup wrote in place: in the data folder, or in the database,
whichever it was made of. All of it is verified first: the signature over the
file, the ledger event by event, and that seal.key in --data opens its secrets.

What was killed, revoked or changed after the backup is again as it was before.
With --checkpoint, a backup that is older than a checkpoint you kept, or whose
ledger is another, is refused. Gateways take a new snapshot afterwards.`,
		Example: "  lanyard store restore /backup/lanyard.backup --data /var/lib/lanyard",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			url, err := d.open()
			if err != nil {
				return err
			}
			if checkpoint != "" {
				if o.Checkpoint, err = os.ReadFile(checkpoint); err != nil {
					return fmt.Errorf("--checkpoint: %w", err)
				}
			}
			config, err := place(a.data, url, s)
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			said, err := store.Restore(cmd.Context(), config, f, o)
			if err == nil {
				err = restored(cmd.Context(), config, said)
			}
			if err != nil {
				return fmt.Errorf("restoring %s: %w", args[0], err)
			}
			return a.show(archiveOf(said), func(w io.Writer) {
				fmt.Fprintf(w, "restored the store of %s: %d events, which are what was recorded\nWhat was killed or revoked after that is not any more: compare with the record you exported since.\n", said.Made.Format(time.RFC3339), said.Events)
			})
		},
	}
	d.flags(c.Flags())
	s.flags(c.Flags())
	f := c.Flags()
	f.BoolVar(&o.Force, "force", false, "write over the store that is there; it is gone then")
	f.StringVar(&checkpoint, "checkpoint", "", "a signed checkpoint of the ledger (of lanyard audit export) that the backup must contain")
	f.StringVar(&o.Key, "key", "", "verifier key of the ledger, as lanyard audit key said; without it the backup's own is believed")
	return c
}

// restored opens what was restored as serve will, and records that it was.
func restored(ctx context.Context, c store.Config, a store.Archive) error {
	db, err := store.Open(ctx, c)
	if err != nil {
		return err
	}
	id, err := ledger.NewID(c.Rand, c.Now())
	if err == nil {
		err = db.Record(ctx, []ledger.Event{{ID: id, Time: c.Now().UTC().Truncate(time.Microsecond), Type: "store.restore", Outcome: ledger.Allowed, Actor: feed.OperatorPrefix + "local",
			Reason: "A backup was put in place.", Detail: map[string]string{"made": a.Made.Format(time.RFC3339), "events": strconv.FormatInt(a.Events, 10)}}})
	}
	return errors.Join(err, db.Close())
}

func (a *app) storeCopy() *cobra.Command {
	var to database
	var s sealing
	var from string
	c := &cobra.Command{
		Use: "copy --from DATA --to URL", Short: "Move from SQLite to PostgreSQL", Args: cobra.NoArgs,
		Long: `Copy the store in a data folder to an empty PostgreSQL database and verify it
there: the ledger event by event. lanyard serve must not run on the folder
meanwhile; gateways go on with what they know, and resume where they were once
serve runs on the database. The folder's own store is left as it was, but for
the name of its feed, so that gateways never take it for the copy.`,
		Example: "  lanyard store copy --from /var/lib/lanyard --to-file /etc/lanyard/database\n  lanyard serve --data /var/lib/lanyard --database-file /etc/lanyard/database",
		RunE: func(cmd *cobra.Command, _ []string) error {
			url, err := to.open()
			if err != nil {
				return err
			}
			if from == "" || url == "" {
				return usage("--from and --to, or --to-file: say both")
			}
			config, err := place(from, "", s)
			if err != nil {
				return err
			}
			target := config
			target.Database = url
			said, err := store.Copy(cmd.Context(), config, target)
			if err != nil {
				return fmt.Errorf("copying %s: %w", from, err)
			}
			return a.show(archiveOf(said), func(w io.Writer) {
				fmt.Fprintf(w, "copied and verified: %d events, root %x\nNow: lanyard serve --data %s --database-file ... (seal.key stays in the folder, and is needed)\n", said.Events, said.Root, from)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&from, "from", "", "data folder with the SQLite store")
	f.StringVar(&to.url, "to", "", "the empty PostgreSQL database, as postgres://user@host/name")
	f.StringVar(&to.file, "to-file", "", "read --to from this file")
	s.flags(f)
	return c
}
