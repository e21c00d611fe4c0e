package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

func (a *app) tree() *cobra.Command {
	return &cobra.Command{Use: "tree NAME", Short: "What an identity started, and what that started", Args: cobra.ExactArgs(1),
		Example: `  lanyard identity tree invoice-bot`,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := ask[control.Tree](cmd.Context(), a, "GET", pathOf("identities", args[0], "tree"), nil)
			if err != nil {
				return err
			}
			return a.show(t, func(w io.Writer) { showTree(w, t) })
		}}
}

func showTree(w io.Writer, t control.Tree) {
	below := map[identity.ID][]control.Branch{}
	for _, b := range t.Below {
		below[b.Parent.ID] = append(below[b.Parent.ID], b)
	}
	fmt.Fprintln(w, t.Identity.Name())
	var branch func(of identity.ID, depth int)
	branch = func(of identity.ID, depth int) {
		for _, b := range below[of] {
			state := string(b.State) + " until " + b.Expires.UTC().Format("2006-01-02 15:04")
			if !b.Usable {
				state = b.Why
			}
			fmt.Fprintf(w, "%s%s  %s  %s\n", strings.Repeat("  ", depth), b.Name, printable(state), printable(b.Purpose))
			branch(b.ID, depth+1)
		}
	}
	branch(t.Identity, 1)
	if more := t.Count - len(t.Below); more > 0 {
		fmt.Fprintf(w, "... and %d more\n", more)
	}
}
