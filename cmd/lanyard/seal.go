package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
)

func (a *app) seal() *cobra.Command {
	show := func(v control.SealView) error {
		return a.show(v, func(w io.Writer) {
			fmt.Fprintf(w, "wrapped by  %s\n", printable(v.KEK))
			if !v.Usable {
				fmt.Fprintf(w, "            NOT USABLE: %s\n", printable(v.Why))
			}
			fmt.Fprintf(w, "data keys   %d, the newest since %s\n", v.Keys, v.Since.UTC().Format(time.RFC3339))
			fmt.Fprintf(w, "waiting     %d secrets are still sealed with an older one\n", v.Waiting)
		})
	}
	status := &cobra.Command{Use: "status", Short: "How the secrets in the store are sealed, and whether the next start can open them", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		v, err := ask[control.SealView](cmd.Context(), a, "GET", "/v1/seal", nil)
		if err != nil {
			return err
		}
		return show(v)
	}}
	rotate := &cobra.Command{Use: "rotate", Short: "Make a new data key and seal everything with it, in the background; the old one goes an hour later", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		v, err := ask[control.SealView](cmd.Context(), a, "POST", "/v1/seal/rotate", struct{}{})
		if err != nil {
			return err
		}
		return show(v)
	}}
	var to string
	rewrap := &cobra.Command{Use: "rewrap", Short: "Have another key wrap the data keys, or the same one anew; nothing else changes", Args: cobra.NoArgs,
		Long: `Have another key wrap the data keys. Nothing is sealed anew and nobody waits. The
server that runs must be able to use the new key; give it --seal for the next
start. Without --to the same key wraps them again, which after a rotation within an
OpenBao is its newest version.`,
		Example: `  lanyard seal rewrap --to openbao:https://bao.example.com:8200/transit/keys/lanyard
  lanyard seal rewrap --to file:/etc/lanyard/seal-2.key`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kind, path, _ := strings.Cut(to, ":")
			if kind == "file" && path != "" { // as it is seen from here
				full, err := filepath.Abs(path)
				if err != nil {
					return err
				}
				to = "file:" + full
			}
			v, err := ask[control.SealView](cmd.Context(), a, "POST", "/v1/seal/rewrap", control.RewrapInput{To: to})
			if err != nil {
				return err
			}
			if err := show(v); err != nil || to == "" || a.output == "json" {
				return err
			}
			_, err = fmt.Fprintf(a.out, "\nStart lanyard serve with --seal %s from now on. Keep the old key as long as backups that were made before.\n", to)
			return err
		}}
	rewrap.Flags().StringVar(&to, "to", "", "what is to wrap them, as for --seal of lanyard serve")
	return noun("seal", "The keys that secrets are sealed with", status, rotate, rewrap)
}

// examineSeal says whether the next start can open what is sealed.
func (a *app) examineSeal(ctx context.Context) (list []finding) {
	v, err := ask[control.SealView](ctx, a, "GET", "/v1/seal", nil)
	if err != nil {
		return []finding{{What: "how secrets are sealed cannot be seen: " + err.Error()}}
	}
	path, isFile := strings.CutPrefix(v.KEK, "file:")
	if isFile && a.server == "" {
		if info, err := os.Stat(path); err != nil {
			return []finding{{What: "the seal key is missing: " + path, Fix: "put it back from where you keep it; without it the store cannot be opened again"}}
		} else if err == nil && info.Mode().Perm()&0o077 != 0 {
			return []finding{{What: fmt.Sprintf("others may read %s (mode %v)", path, info.Mode().Perm()),
				Fix: "chmod 600 " + path + "; if anyone may have read it, run lanyard seal rewrap with a new one and lanyard seal rotate, and change upstream credentials"}}
		}
	}
	if !v.Usable {
		return []finding{{What: "what wraps the seal keys cannot be used: " + v.Why, Fix: "everything goes on, but the next start will fail: make " + v.KEK + " reachable, or lanyard seal rewrap to another"}}
	}
	if isFile {
		return []finding{{OK: true, Warn: true, What: "keep a copy of " + path + " elsewhere, apart from copies of the database"}}
	}
	return []finding{{OK: true, What: v.KEK + " opens the seal keys"}}
}
