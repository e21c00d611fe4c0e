package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

func (a *app) pack() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Packs to pick from", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		all, err := ask[control.PackList](cmd.Context(), a, "GET", "/v1/packs", nil)
		if err != nil {
			return err
		}
		return a.show(all.Items, func(w io.Writer) {
			for _, p := range all.Items {
				fmt.Fprintf(w, "%-11s %s\n", p.Name, p.For)
			}
		})
	}}
	show := &cobra.Command{Use: "show PACK", Short: "What a pack lets an assistant do, and what it stops", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		all, err := ask[control.PackList](cmd.Context(), a, "GET", "/v1/packs", nil)
		if err != nil {
			return err
		}
		n := slices.IndexFunc(all.Items, func(p policy.Pack) bool { return p.Name == args[0] })
		if n < 0 {
			return fmt.Errorf("there is no pack %s; lanyard pack list shows them", args[0])
		}
		p := all.Items[n]
		return a.show(p, func(w io.Writer) {
			fmt.Fprintf(w, "%s: %s\n", p.Name, p.For)
			for _, s := range p.Stops {
				fmt.Fprintf(w, "  - %s\n", s)
			}
			for _, part := range p.Parts {
				fmt.Fprintf(w, "\n%s: %s\n", part.Name, strings.Join(part.Words, ", "))
				if part.Approve != "" {
					fmt.Fprintf(w, "  Each waits for the yes of %s.\n", part.Approve)
				}
				if part.Layers != nil {
					for _, s := range part.Layers.Say() {
						fmt.Fprintf(w, "  %s\n", s)
					}
				}
			}
		})
	}}
	var in control.PackInput
	var layers layer.Layers
	put := &cobra.Command{Use: "put IDENTITY PACK --upstream NAME", Short: "Give a pack, in place of the one that it had there", Args: cobra.ExactArgs(2),
		Example: `  lanyard pack put helper drafter --upstream mail --upstream calendar --see example.com --days 90`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !layers.Zero() {
				in.Layers = &layers
			}
			return a.changed(cmd, "PUT", pathOf("identities", args[0], "packs", args[1]), in, args[0]+" holds pack "+args[1]+" on "+strings.Join(in.Upstreams, ", "))
		}}
	f := put.Flags()
	f.StringArrayVar(&in.Upstreams, "upstream", nil, "a mailbox, drive or calendar that it is on; can be given again")
	layerFlags(f, &layers)
	f.StringVar(&in.Until, "until", "", "its end (default the identity's)")
	a.waitFlag(put)
	return noun("pack", "Sets of grants for an assistant, by what it is for", list, show, put)
}
