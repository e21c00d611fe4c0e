package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// pack is about sets of guardrails that are there to be switched on. What is switched on are guardrails like all others.
func (a *app) pack() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Packs, and what each stops", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		all := policy.Packs()
		return a.show(all, func(w io.Writer) {
			for _, p := range all {
				fmt.Fprintf(w, "%s  %s\n", p.Name, p.Summary)
				for _, g := range p.Guardrails {
					fmt.Fprintf(w, "    %s  %s\n", g.ID, g.Description)
				}
			}
		})
	}}
	show := &cobra.Command{Use: "show PACK", Short: "The guardrails of a pack, as Cedar", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		p, err := packOf(args[0])
		if err != nil {
			return err
		}
		return a.show(p, func(w io.Writer) {
			for _, g := range p.Guardrails {
				fmt.Fprintf(w, "%s  %s\n    %s\n", g.ID, g.Description, strings.ReplaceAll(strings.TrimSpace(g.Cedar), "\n", "\n    "))
			}
		})
	}}
	put := &cobra.Command{Use: "put PACK", Short: "Switch a pack on: its guardrails are put", Args: cobra.ExactArgs(1), Example: "  lanyard pack put hijack",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := packOf(args[0])
			if err != nil {
				return err
			}
			for _, g := range p.Guardrails {
				if err := a.changed(cmd, "PUT", pathOf("guardrails", g.ID), control.GuardrailInput{Cedar: g.Cedar, Description: g.Description}, "guardrail "+g.ID+" is in force"); err != nil {
					return err
				}
			}
			return nil
		}}
	a.waitFlag(put)
	remove := &cobra.Command{Use: "remove PACK", Short: "Switch a pack off: its guardrails are removed", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		p, err := packOf(args[0])
		if err != nil {
			return err
		}
		for _, g := range p.Guardrails {
			if err := a.changed(cmd, "DELETE", pathOf("guardrails", g.ID), nil, "guardrail "+g.ID+" is removed"); err != nil {
				return err
			}
		}
		return nil
	}}
	return noun("pack", "Sets of guardrails to switch on", list, show, put, remove)
}

func packOf(name string) (policy.Pack, error) {
	p, ok := policy.PackOf(name)
	if !ok {
		var names []string
		for _, p := range policy.Packs() {
			names = append(names, p.Name)
		}
		return p, usage("there is no pack %q; there is %s", name, strings.Join(names, ", "))
	}
	return p, nil
}

// readProvenance reads a file of what is known beforehand of where values come from.
func readProvenance(file string) (*policy.Provenance, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var p struct {
		Members, Contacts []string
		Roles, Effects    map[string]string
		Labels            map[string][]string
	}
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	out := &policy.Provenance{Labels: p.Labels}
	out.Members, out.Contacts = p.Members, p.Contacts
	out.Roles, out.Effects = words[provenance.Role](p.Roles), words[provenance.Effect](p.Effects)
	return out, nil
}

func words[T ~string](of map[string]string) map[string]T {
	out := make(map[string]T, len(of))
	for k, v := range of {
		out[k] = T(v)
	}
	return out
}
