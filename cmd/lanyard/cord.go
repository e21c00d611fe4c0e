package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
)

func (a *app) reasonFlag(c *cobra.Command) {
	c.Flags().StringVar(&a.reason, "reason", "", "why, for the record (required)")
	_ = c.MarkFlagRequired("reason") // the flag is there
}

func (a *app) kill() *cobra.Command {
	var in control.KillRequest
	c := &cobra.Command{Use: "kill IDENTITY --reason TEXT", Short: "Pull the cord: stop an identity, an owner's, an upstream, or all", Args: cobra.MaximumNArgs(1),
		Long: `Pull the cord. From the very next request on everything is refused: tokens are
dead, credentials are dead for good, running requests are cut. The receipt says
where that is in force and, of each gateway that cannot be reached, by when it
has stopped by itself. With --wait the command ends when that is so everywhere.

  lanyard kill IDENTITY         one identity
  lanyard kill --owner OWNER    every identity of an owner
  lanyard kill --upstream NAME  every call to an upstream
  lanyard kill --all            every identity there is; identity providers are disabled

lanyard restore brings back what should come back, with new credentials only.`,
		Example: `  lanyard kill invoice-bot --reason "answers mail nobody asked it to"
  lanyard kill --owner maya --reason "laptop stolen" --dry-run`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				in.Identity = args[0]
			}
			in.Reason = a.reason
			k, err := ask[control.KillResult](cmd.Context(), a, "POST", "/v1/kill", in)
			if err != nil {
				return err
			}
			return a.confirmed(cmd.Context(), &k, &k.Receipt, func(w io.Writer) {
				verb := "killed"
				if k.DryRun {
					verb = "would be killed"
				}
				switch {
				case k.Upstream != "":
					fmt.Fprintf(w, "upstream %s %s: every call to it is refused\n", k.Upstream, verb)
				case k.Count == 0:
					fmt.Fprintln(w, "nothing to stop: all of it was stopped already")
				default:
					for _, id := range k.Identities[:min(20, len(k.Identities))] {
						fmt.Fprintf(w, "%s  %s\n", verb, id)
					}
					if k.Count > 20 {
						fmt.Fprintf(w, "... and %d more\n", k.Count-20)
					}
					fmt.Fprintf(w, "%s, %s\n", plural(k.Count, "identity", "identities"), plural(k.Credentials, "credential", "credentials"))
				}
				for _, p := range k.Providers {
					fmt.Fprintf(w, "%s  provider %s; lanyard provider enable %s trusts it again\n", map[bool]string{false: "disabled", true: "would be disabled"}[k.DryRun], p, p)
				}
				if !k.DryRun {
					fmt.Fprintf(w, "receipt %s, committed %s\n", k.ID, k.Receipt.Committed.Format(time.RFC3339Nano))
				}
			})
		}}
	a.reasonFlag(c)
	a.waitFlag(c)
	f := c.Flags()
	f.StringVar(&in.Owner, "owner", "", "every identity of this owner")
	f.StringVar(&in.Upstream, "upstream", "", "every call to this upstream")
	f.BoolVar(&in.All, "all", false, "every identity there is")
	f.BoolVar(&in.DryRun, "dry-run", false, "say what would stop, and stop nothing")
	return c
}

func (a *app) restore() *cobra.Command {
	var in control.RestoreRequest
	c := &cobra.Command{Use: "restore IDENTITY --reason TEXT", Short: "Bring back what was killed, with new credentials only", Args: cobra.MaximumNArgs(1),
		Example: `  lanyard restore invoice-bot --reason "fixed the prompt"
  lanyard restore --kill kill_ab12 --reason "false alarm"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if f, err := os.Stat(args[0]); err == nil && f.Mode().IsRegular() {
					return usage("%s is a file; lanyard store restore puts a backup in place", args[0])
				}
				in.Identity = args[0]
			}
			in.Reason = a.reason
			r, err := ask[control.RestoreResult](cmd.Context(), a, "POST", "/v1/restore", in)
			if err != nil {
				return err
			}
			return a.confirmed(cmd.Context(), &r, &r.Receipt, func(w io.Writer) {
				if r.Upstream != "" {
					fmt.Fprintf(w, "upstream %s is open again\n", r.Upstream)
				}
				for _, id := range r.Restored {
					fmt.Fprintf(w, "restored  %s  (its old credentials stay dead: lanyard credential add %s ...)\n", id, id.Name())
				}
				for _, l := range r.Left {
					fmt.Fprintf(w, "left      %s  (%s)\n", l.Identity, printable(l.Why))
				}
				if r.Upstream == "" && r.Count == 0 && len(r.Left) == 0 {
					fmt.Fprintln(w, "nothing there is killed")
				}
			})
		}}
	a.reasonFlag(c)
	a.waitFlag(c)
	f := c.Flags()
	f.StringVar(&in.Owner, "owner", "", "every killed identity of this owner")
	f.StringVar(&in.Upstream, "upstream", "", "this upstream")
	f.StringVar(&in.Kill, "kill", "", "what this kill stopped (kill_...)")
	f.BoolVar(&in.All, "all", false, "every killed identity there is")
	f.BoolVar(&in.DryRun, "dry-run", false, "say what would come back, and change nothing")
	return c
}

func (a *app) revoke() *cobra.Command {
	kinds := []string{"token", "credential", "grant"}
	c := &cobra.Command{Use: "revoke token|credential|grant ID --reason TEXT", Short: "Revoke one token, credential or grant", Args: cobra.ExactArgs(2), ValidArgs: kinds,
		Example: `  lanyard revoke token tok_... --reason "seen in a log"
  lanyard revoke credential cred_... --reason "rotated"
  lanyard revoke grant invoice-bot/read-mail --reason "no longer needed"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(kinds, args[0]) {
				return usage("revoke %q: use %s", args[0], strings.Join(kinds, ", "))
			}
			in := control.RevokeRequest{Reason: a.reason}
			switch args[0] {
			case "token":
				in.Token = args[1]
			case "credential":
				in.Credential = args[1]
			default:
				in.Grant = args[1]
			}
			return a.revoked(cmd, in)
		}}
	a.reasonFlag(c)
	a.waitFlag(c)
	return c
}

func (a *app) revoked(cmd *cobra.Command, in control.RevokeRequest) error {
	r, err := ask[control.RevokeResult](cmd.Context(), a, "POST", "/v1/revoke", in)
	if err != nil {
		return err
	}
	return a.confirmed(cmd.Context(), &r, &r.Receipt, func(w io.Writer) { fmt.Fprintf(w, "%s %s is revoked\n", r.What, r.ID) })
}
