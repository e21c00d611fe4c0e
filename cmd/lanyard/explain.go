package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

func (a *app) explain() *cobra.Command {
	var in control.ExplainRequest
	var args, as []string
	c := &cobra.Command{Use: "explain EVENT | IDENTITY UPSTREAM [METHOD PATH] | --as NAMES --upstream NAME", Short: "Say what was or would be decided about a call, why, and what would change it", Args: cobra.MaximumNArgs(4),
		Long: `Say what was or would be decided about a call, why, and what would change it.

Of an event of the ledger it says what was decided then and what would be now. With
--as it takes all who are behind a call, the one that acts first; the person that it
is for, who is last, is written person/NAME.`,
		Example: `  lanyard explain evt_0198c7a2-5b3e-7d11-9f00-2f6a1c0de001
  lanyard explain invoice-bot mail GET /gmail/v1/users/me/messages
  lanyard explain invoice-bot mail --action gmail.users.messages.send
  lanyard explain --as analyst,invoice-bot,person/maya --upstream mail --action gmail.users.messages.send`,
		RunE: func(cmd *cobra.Command, given []string) error {
			in.As = as
			switch {
			case len(given) == 1:
				if in.Event = given[0]; !strings.HasPrefix(in.Event, "evt_") {
					return usage("give an event (evt_...), or IDENTITY UPSTREAM and METHOD PATH or --action")
				}
			case len(as) > 0 && len(given)%2 == 0 && len(given) < 4 && in.Upstream != "":
			case len(as) == 0 && (len(given) == 2 || len(given) == 4) && in.Upstream == "":
				in.Identity, in.Upstream, given = given[0], given[1], given[2:]
			default:
				return usage("give an event, or IDENTITY UPSTREAM, or --as and --upstream; then METHOD and PATH, or --action")
			}
			if len(given) == 2 {
				in.Method, in.Path = given[0], given[1]
			} else if in.Event == "" && in.Action == "" {
				return usage("give METHOD and PATH, or --action")
			}
			for _, s := range args {
				name, value, ok := strings.Cut(s, "=")
				if !ok {
					return usage("--arg %q: want NAME=VALUE", s)
				}
				if in.Arguments == nil {
					in.Arguments = map[string]any{}
				}
				in.Arguments[name] = value
			}
			e, err := ask[control.ExplainResult](cmd.Context(), a, "POST", "/v1/explain", in)
			if err != nil {
				return err
			}
			return a.show(e, func(w io.Writer) { explained(w, e) })
		}}
	f := c.Flags()
	f.StringSliceVar(&as, "as", nil, "who is behind it, the one that acts first; a person, who is last, as person/NAME")
	f.StringVar(&in.Upstream, "upstream", "", "with --as: which system")
	f.StringVar(&in.Action, "action", "", "an action instead of a request")
	f.StringVar(&in.Resource, "resource", "", "its resource")
	f.StringArrayVar(&args, "arg", nil, "NAME=VALUE, an argument of the action; can be given again")
	return c
}

// explained is an explanation on one screen.
func explained(w io.Writer, e control.ExplainResult) {
	word := func(allow, ask bool) string {
		if allow {
			return "allowed"
		}
		return map[bool]string{true: "waits for people", false: "refused"}[ask]
	}
	if t := e.Then; t != nil {
		fmt.Fprintf(w, "then, on %s: %s", t.Time.UTC().Format("2006-01-02 15:04:05Z"), t.Outcome)
		if t.Reason != "" {
			fmt.Fprintf(w, ": %s", printable(t.Reason))
		}
		fmt.Fprintln(w)
		if len(t.Policies) > 0 {
			fmt.Fprintf(w, "  by        %s\n", printable(strings.Join(t.Policies, ", ")))
		}
		for i, who := range t.Chain {
			fmt.Fprintf(w, "  %-9s %s\n", map[bool]string{true: "actor", false: "for"}[i == 0], printable(who))
		}
		if !t.Repeatable() {
			fmt.Fprintln(w, "It holds no request, so there is nothing to ask about now.")
			return
		}
		fmt.Fprint(w, "now, and without its arguments, which are not on record: ")
	}
	fmt.Fprintf(w, "%s: %s\n", word(e.Allow, e.Ask), printable(e.Reason))
	if e.Action == "" {
		return
	}
	fmt.Fprintf(w, "\n  action    %s (%s)\n", e.Action, e.Class)
	if e.Resource != "" {
		fmt.Fprintf(w, "  resource  %s\n", printable(e.Resource))
	}
	for _, name := range sortedKeys(e.Arguments) {
		fmt.Fprintf(w, "  %s = %s\n", name, printable(fmt.Sprint(e.Arguments[name])))
	}
	for _, l := range e.Links {
		fmt.Fprintln(w)
		if len(e.Links) > 1 {
			fmt.Fprintf(w, "%s/%s  %s", l.Identity.Kind(), l.Identity.Name(), word(l.Allow, l.Ask))
			if l.Reason != e.Reason && l.Reason != "" {
				fmt.Fprintf(w, ": %s", printable(l.Reason))
			}
			fmt.Fprintln(w)
		}
		verdicts(w, "guardrail", "✗", l.Guardrails)
		verdicts(w, "grant", "✓", l.Grants)
	}
	if len(e.Change) > 0 {
		fmt.Fprint(w, "\nwhat would change it:\n")
		for _, c := range e.Change {
			fmt.Fprintf(w, "  %s:\n    %s\n", printable(c.Who), printable(c.Command))
		}
	}
}

func verdicts(w io.Writer, noun, mark string, list []policy.Verdict) {
	for _, v := range list {
		fmt.Fprintf(w, "  %s %s %s: %s\n", map[bool]string{true: mark, false: " "}[v.Matched], noun, v.ID, printable(v.Why))
	}
}
