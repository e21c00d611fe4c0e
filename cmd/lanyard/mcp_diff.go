package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
	"github.com/lanyard-dev/lanyard/internal/control"
)

func (a *app) mcpDiff() *cobra.Command {
	var include []string
	c := &cobra.Command{Use: "diff UPSTREAM", Short: "What an MCP server offers now that is not what was approved", Args: cobra.ExactArgs(1),
		Long: `Have the control plane ask an MCP server, with the credential it has for it, what it offers
now, and show how that differs from what was approved: what was added, removed or changed,
field by field. What speaks to a model behind your back is left out, and said, unless
--include names it. Ends with 2 when there is a difference, 0 when there is none.`,
		Example: `  lanyard mcp diff notes
  lanyard mcp approve notes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, _, differences, err := a.offered(cmd.Context(), args[0], include)
			if err != nil {
				return err
			}
			if err := a.show(differences, func(w io.Writer) { writeDifferences(w, args[0], differences) }); err != nil {
				return err
			}
			if len(differences) > 0 {
				return exit{exitWouldChange, nil}
			}
			return nil
		}}
	c.Flags().StringSliceVar(&include, "include", nil, "what to show although its texts are suspicious: read it first")
	return c
}

func (a *app) mcpApprove() *cobra.Command {
	var include []string
	var yes, shadows bool
	c := &cobra.Command{Use: "approve UPSTREAM", Short: "Approve what an MCP server offers now", Args: cobra.ExactArgs(1),
		Long: `Show what lanyard mcp diff shows, ask, and approve it: from then on that is what agents may
be granted, and what was held back because it had changed is no longer.`,
		Example: `  lanyard mcp approve notes
  lanyard mcp approve notes --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			offer, now, differences, err := a.offered(cmd.Context(), args[0], include)
			if err != nil {
				return err
			}
			writeDifferences(a.errs, args[0], differences)
			if len(differences) == 0 {
				return nil
			}
			if err := a.noNewShadows(cmd.Context(), args[0], now, shadows); err != nil {
				return err
			}
			if !yes {
				if ok, err := a.confirm("Approve this?"); err != nil || !ok {
					return err
				}
			}
			return a.changed(cmd, "POST", pathOf("upstreams", args[0], "approve"), control.Approval{Description: string(now), Version: offer.Version}, args[0]+" is approved as it is now")
		}}
	c.Flags().StringSliceVar(&include, "include", nil, "what to approve although its texts are suspicious: read it first")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&shadows, "allow-shadowing", false, "approve it although tools imitate or speak of those of servers that it is joined with: read them first")
	return c
}

// offered is what an upstream was approved as, what it offers now, without what is suspicious, and the differences.
func (a *app) offered(ctx context.Context, name string, include []string) (offer control.Offer, now []byte, differences []mcp.Difference, err error) {
	if offer, err = ask[control.Offer](ctx, a, "GET", pathOf("upstreams", name, "offer"), nil); err != nil {
		return offer, nil, nil, err
	}
	known, err := approvedAlready(offer.Approved)
	if err != nil {
		return offer, nil, nil, err
	}
	now, err = mcp.Unsuspicious([]byte(offer.Now), func(_, name string, raw []byte) bool {
		return slices.Contains(include, name) || known[compacted(raw)]
	}, a.leftOut)
	if err != nil {
		return offer, nil, nil, fmt.Errorf("what %s offers: %w", name, err)
	}
	differences, err = mcp.Diff([]byte(offer.Approved), now)
	return offer, now, differences, err
}

// approvedAlready are the things of a catalogue, each as it is written: what was approved once is not suspected again.
func approvedAlready(catalogue string) (map[string]bool, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(catalogue), &all); err != nil {
		return nil, errors.New("what was approved is no catalogue of an MCP server")
	}
	known := map[string]bool{}
	for _, v := range all {
		var list []json.RawMessage
		if json.Unmarshal(v, &list) == nil { // a path is none
			for _, one := range list {
				known[compacted(one)] = true
			}
		}
	}
	return known, nil
}

func compacted(raw []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

// leftOut says what of a catalogue was left out, and why.
func (a *app) leftOut(sort, name, why string) {
	fmt.Fprintf(a.errs, "lanyard: left out: %s %s. %s. If you have read it and trust it: --include %s\n", sort, printable(name), printable(why), printable(name))
}

func writeDifferences(w io.Writer, upstream string, all []mcp.Difference) {
	if len(all) == 0 {
		fmt.Fprintf(w, "%s offers what was approved.\n", upstream)
		return
	}
	last := ""
	for _, d := range all {
		head := fmt.Sprintf("%s %s %s", d.What, d.Sort, printable(d.Name))
		if head != last {
			fmt.Fprintln(w, head)
		}
		last = head
		if d.Field != "" {
			fmt.Fprintf(w, "  %s\n", d.Field)
		}
		for _, side := range []struct{ mark, text string }{{"-", d.From}, {"+", d.To}} {
			if side.text != "" {
				fmt.Fprintf(w, "    %s %s\n", side.mark, printable(strings.TrimSpace(side.text)))
			}
		}
	}
}

// noShadows refuses to join servers of which a tool imitates or speaks of another's, and says which.
func (a *app) noShadows(ctx context.Context, joined []string, allowed bool) error {
	return a.unshadowed(ctx, joined, map[string][]byte{}, allowed)
}

// noNewShadows refuses what a server offers now when it is joined with one that it would shadow.
func (a *app) noNewShadows(ctx context.Context, name string, now []byte, allowed bool) error {
	all, err := pages[control.UpstreamView](ctx, a, "/v1/upstreams", nil)
	if err != nil {
		return err
	}
	joined := []string{name}
	for _, u := range all {
		if members := strings.Fields(u.Description); u.Family == "join" && slices.Contains(members, name) {
			joined = append(joined, members...)
		}
	}
	return a.unshadowed(ctx, joined, map[string][]byte{name: now}, allowed)
}

// unshadowed refuses servers, with the catalogues that are known or those that were approved, of which one shadows another.
func (a *app) unshadowed(ctx context.Context, joined []string, catalogues map[string][]byte, allowed bool) error {
	for _, name := range joined {
		if catalogues[name] != nil {
			continue
		}
		d, err := ask[control.Described](ctx, a, "GET", pathOf("upstreams", name, "description"), nil)
		if refused := (*refusedError)(nil); errors.As(err, &refused) {
			continue // so is joining it, with what is wrong
		}
		if err != nil {
			return err
		}
		if json.Valid([]byte(d.Description)) { // what is no MCP server is refused when it is put
			catalogues[name] = []byte(d.Description)
		}
	}
	found, err := mcp.Shadows(catalogues)
	if err != nil {
		return err
	}
	for _, s := range found {
		fmt.Fprintf(a.errs, "lanyard: tool %s of %s: %s\n", printable(s.Tool), s.Server, printable(s.Why))
	}
	if len(found) > 0 && !allowed {
		return exit{exitRefused, errors.New("a model that has these tools side by side may take one for the other, or be led by one to the other: read them, and give --allow-shadowing if they are meant so")}
	}
	return nil
}
