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
				for _, g := range p.Guardrails {
					fmt.Fprintf(w, "%-11s   %s  %s\n", "", g.ID, g.Description)
				}
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
			for _, g := range p.Guardrails {
				fmt.Fprintf(w, "\n%s  %s\n    %s\n", g.ID, g.Description, strings.ReplaceAll(strings.TrimSpace(g.Cedar), "\n", "\n    "))
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
	put := &cobra.Command{Use: "put [IDENTITY] PACK", Short: "Give an identity a pack, in place of the one that it had there, or switch a pack of guardrails on", Args: cobra.RangeArgs(1, 2),
		Example: `  lanyard pack put helper drafter --upstream mail --upstream calendar --see example.com --days 90
  lanyard pack put hijack`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return guardrails(args[0], func(g policy.Guardrail) error {
					return a.changed(cmd, "PUT", pathOf("guardrails", g.ID), control.GuardrailInput{Cedar: g.Cedar, Description: g.Description}, "guardrail "+g.ID+" is in force")
				})
			}
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
	remove := &cobra.Command{Use: "remove PACK", Short: "Switch a pack of guardrails off: they are removed", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return guardrails(args[0], func(g policy.Guardrail) error {
			return a.changed(cmd, "DELETE", pathOf("guardrails", g.ID), nil, "guardrail "+g.ID+" is removed")
		})
	}}
	return noun("pack", "Sets of grants for an assistant by what it is for, and of guardrails", list, show, put, remove)
}

// guardrails does something with each guardrail of a pack.
func guardrails(pack string, do func(policy.Guardrail) error) error {
	p, err := policy.FindPack(pack)
	switch {
	case err != nil:
		return exit{exitUsage, err}
	case len(p.Guardrails) == 0:
		return usage("pack %s is grants: say whose, as in lanyard pack put IDENTITY %s --upstream NAME", pack, pack)
	}
	for _, g := range p.Guardrails {
		if err := do(g); err != nil {
			return err
		}
	}
	return nil
}
