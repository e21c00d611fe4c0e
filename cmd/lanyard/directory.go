package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
)

func (a *app) directory() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Directories", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		all, err := pages[control.DirectoryView](cmd.Context(), a, "/v1/directories", nil)
		if err != nil {
			return err
		}
		return a.show(all, func(w io.Writer) {
			var rows [][]string
			for _, d := range all {
				rows = append(rows, []string{d.Name, or(strings.Join(d.Domains, ","), "any"), fmt.Sprint(d.Users), fmt.Sprint(d.Groups), fmt.Sprint(len(d.Keys)), day(d.Heard)})
			}
			table(w, "NAME DOMAINS USERS GROUPS KEYS HEARD", rows)
		})
	}}
	show := &cobra.Command{Use: "show NAME", Short: "A directory, its keys, and when it was heard of", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		d, err := ask[control.DirectoryView](cmd.Context(), a, "GET", pathOf("directories", args[0]), nil)
		if err != nil {
			return err
		}
		return a.show(d, func(w io.Writer) {
			line := func(name, value string) { fmt.Fprintf(w, "%-12s %s\n", name, printable(value)) }
			line("directory", d.Name)
			line("at", d.URL)
			line("domains", or(strings.Join(d.Domains, ", "), "any"))
			for _, group := range sortedKeys(d.Roles) {
				var words []string
				for _, r := range d.Roles[group] {
					words = append(words, string(r))
				}
				line("", "who is in "+group+" is "+strings.Join(words, ", "))
			}
			line("users", fmt.Sprint(d.Users))
			line("groups", fmt.Sprint(d.Groups))
			if d.Heard.IsZero() {
				line("heard of", "never")
			} else {
				line("heard of", d.Heard.Local().Format("2006-01-02 15:04"))
			}
			for _, k := range d.Keys {
				line("key", k.ID+" until "+k.Expires.Local().Format("2006-01-02"))
			}
		})
	}}
	var in control.DirectoryInput
	var groups []string
	put := &cobra.Command{Use: "put NAME", Short: "Let a directory bring people over SCIM, or change which", Args: cobra.ExactArgs(1),
		Long: `Let an organisation's directory (Okta, Microsoft Entra ID, any client of SCIM 2.0) bring
its people here as owners, and take them away: who is no longer active there leaves here
at once, signed out, their identities with the backup or suspended. A key that it shows
is made with lanyard directory key.`,
		Example: `  lanyard directory put okta --domain example.com
  lanyard directory put entra --domain example.com --group-role "Lanyard Admins=admin" --group-role "SOC=security"
  lanyard directory key okta`,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, g := range groups {
				group, role, ok := cutLast(g)
				if !ok {
					return usage("--group-role %q: write GROUP=ROLE", g)
				}
				if in.Roles == nil {
					in.Roles = map[string][]string{}
				}
				in.Roles[group] = append(in.Roles[group], role)
			}
			return a.changed(cmd, "PUT", pathOf("directories", args[0]), in, "directory "+args[0]+" is put; lanyard directory key "+args[0]+" makes a key for it")
		}}
	put.Flags().StringSliceVar(&in.Domains, "domain", nil, "domain of the email addresses that it answers for (default any); can be given again")
	put.Flags().StringArrayVar(&groups, "group-role", nil, "GROUP=ROLE: who is in that group has that role; can be given again")
	var made control.DirectoryKeyInput
	key := &cobra.Command{Use: "key NAME", Short: "Make a key that a directory shows; it is printed this once", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		k, err := ask[control.DirectoryKeyMade](cmd.Context(), a, "POST", pathOf("directories", args[0], "keys"), made)
		if err != nil {
			return err
		}
		return a.show(k, func(w io.Writer) {
			fmt.Fprintf(w, "%s\n\nFor the directory %s, which sends to %s, until %s. It is shown this once.\n", k.Key, args[0], k.URL, k.Expires.Local().Format("2006-01-02"))
		})
	}}
	key.Flags().StringVar(&made.Expires, "expires", "", "when it ends, within two years (default 365d)")
	revoke := &cobra.Command{Use: "revoke NAME KEY", Short: "End a key of a directory at once", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		return a.changed(cmd, "DELETE", pathOf("directories", args[0], "keys", args[1]), nil, "key "+args[1]+" is revoked")
	}}
	remove := &cobra.Command{Use: "remove NAME", Short: "Remove a directory: the people that it brought stay", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.changed(cmd, "DELETE", pathOf("directories", args[0]), nil, "directory "+args[0]+" is removed; its people stay")
	}}
	return noun("directory", "Directories that bring people over SCIM", list, show, put, key, revoke, remove)
}

// directories looks at those that there are: one that says nothing any more takes nobody away.
func (a *app) directories(ctx context.Context, now time.Time, good func(string, ...any), look, bad func(what, fix string)) {
	all, err := pages[control.DirectoryView](ctx, a, "/v1/directories", nil)
	if err != nil {
		bad("directories: "+err.Error(), "")
	}
	for _, d := range all {
		var last time.Time
		for _, k := range d.Keys {
			if k.Expires.After(last) {
				last = k.Expires
			}
		}
		switch {
		case !now.Before(last):
			bad("directory "+d.Name+" has no key that is good: who leaves there does not leave here", "lanyard directory key "+d.Name)
		case last.Sub(now) < 14*24*time.Hour:
			look("the last key of directory "+d.Name+" ends on "+day(last)+", and then who leaves there does not leave here", "lanyard directory key "+d.Name)
		case now.Sub(d.Heard) > 24*time.Hour:
			look("directory "+d.Name+" was last heard of: "+day(d.Heard), "see what it says of "+d.URL)
		default:
			good("directory %s is heard of", d.Name)
		}
	}
}

// cutLast splits GROUP=ROLE at the last sign: a group may have one in its name.
func cutLast(s string) (group, role string, ok bool) {
	n := strings.LastIndexByte(s, '=')
	if n < 1 {
		return "", "", false
	}
	return s[:n], s[n+1:], true
}
