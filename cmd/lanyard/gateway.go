package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
)

func (a *app) gateway() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Gateways, and whether they follow", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		all, err := pages[control.GatewayView](cmd.Context(), a, "/v1/gateways", nil)
		if err != nil {
			return err
		}
		return a.show(all, func(w io.Writer) {
			var rows [][]string
			for _, g := range all {
				rows = append(rows, []string{g.Name, gatewayState(g), fmt.Sprint(g.Behind), date(g.Seen), date(g.Expires), or(strings.Join(g.Upstreams, ","), "all")})
			}
			table(w, "NAME STATE BEHIND SEEN CERTIFICATE-ENDS UPSTREAMS", rows)
		})
	}}
	show := &cobra.Command{Use: "show NAME", Short: "A gateway", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		g, err := ask[control.GatewayView](cmd.Context(), a, "GET", pathOf("gateways", args[0]), nil)
		if err != nil {
			return err
		}
		return a.show(g, func(w io.Writer) { gatewayLines(w, g) })
	}}
	var in control.GatewayInvite
	token := &cobra.Command{Use: "token NAME", Short: "Make a token with which a gateway joins by that name", Args: cobra.ExactArgs(1),
		Long: `Make a token with which a gateway joins by that name, once, within 15 minutes. It
holds the fingerprint of the authority by which the gateway knows the control
plane, so that nobody in between can take it for themselves.`,
		Example: `  lanyard gateway token gw-fra
  lanyard gateway token gw-fra --upstream mail --upstream crm
  lanyard gateway token gw-fra --replace`,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := ask[control.GatewayToken](cmd.Context(), a, "POST", pathOf("gateways", args[0], "token"), in)
			if err != nil {
				return err
			}
			return a.show(t, func(w io.Writer) {
				fmt.Fprintln(w, t.Token)
				fmt.Fprintf(a.errs, "good once, until %s; where %s is to run:\n  LANYARD_JOIN_TOKEN=... lanyard serve --role gateway --control https://HOST:8443\n", t.Expires.Format(time.RFC3339), t.Name)
			})
		}}
	token.Flags().StringSliceVar(&in.Upstreams, "upstream", nil, "that it is for: nothing is given out to it for others (default all); can be given again")
	token.Flags().BoolVar(&in.Replace, "replace", false, "the gateway that has this name is evicted when this one joins")
	var who control.GatewayAdmit
	admit := &cobra.Command{Use: "admit NAME --provider PROVIDER --subject SUBJECT", Short: "Let a workload that a provider attests join as that gateway", Args: cobra.ExactArgs(1),
		Long: `Let the workload that a provider attests join as that gateway, whenever it comes,
until it is evicted. The provider is trusted for it (lanyard provider put --use
attest): the issuer of a Kubernetes cluster's service account tokens, or of a cloud's
workload identities. Its token has to be for this control plane alone, and is good once. A
gateway that lost its folder takes the place of the one before.`,
		Example: `  lanyard gateway admit gw-fra --provider cluster --subject system:serviceaccount:edge:lanyard`,
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := ask[control.GatewayAdmitted](cmd.Context(), a, "PUT", pathOf("gateways", args[0], "admission"), who)
			if err != nil {
				return err
			}
			return a.show(g, func(w io.Writer) {
				fmt.Fprintf(w, "%s may join with a token of %s for %s, as\n  lanyard serve --role gateway --control https://HOST:8443 --name %s --attested-by FILE --authority %s\n", g.Name, who.Provider, g.Audience, g.Name, g.Fingerprint)
			})
		}}
	admit.Flags().StringVar(&who.Provider, "provider", "", "that is trusted to attest")
	admit.Flags().StringVar(&who.Subject, "subject", "", "which workload it is: exactly sub of what the provider signs")
	admit.Flags().StringSliceVar(&who.Upstreams, "upstream", nil, "that it is for: nothing is given out to it for others (default all); can be given again")
	_ = admit.MarkFlagRequired("provider")
	_ = admit.MarkFlagRequired("subject")
	var why control.ReasonInput
	evict := &cobra.Command{Use: "evict NAME --reason TEXT", Short: "Evict a gateway: it has to stop serving, and is answered no more", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		g, err := ask[control.GatewayView](cmd.Context(), a, "POST", pathOf("gateways", args[0], "evict"), why)
		if err != nil {
			return err
		}
		return a.show(g, func(w io.Writer) {
			fmt.Fprintf(w, "gateway %s is evicted; what it was given to reach upstreams with, it may still hold: change that if it was broken into\n", g.Name)
		})
	}}
	evict.Flags().StringVar(&why.Reason, "reason", "", "why, for the record")
	_ = evict.MarkFlagRequired("reason")
	authorities := func(cmd *cobra.Command, method, path string) error {
		l, err := ask[control.AuthorityList](cmd.Context(), a, method, path, nil)
		if err != nil {
			return err
		}
		return a.show(l, func(w io.Writer) {
			var rows [][]string
			for _, i := range l.Items {
				rows = append(rows, []string{i.ID, i.State, day(i.Created), day(i.Until), i.Fingerprint})
			}
			table(w, "ID STATE CREATED TRUSTED-UNTIL FINGERPRINT", rows)
		})
	}
	ca := noun("ca", "The authority that gateways' certificates come from",
		&cobra.Command{Use: "list", Short: "The authorities that are trusted", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return authorities(cmd, "GET", "/v1/ca") }},
		&cobra.Command{Use: "rotate", Short: "Make a new authority; the one before stays trusted for 30 days", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return authorities(cmd, "POST", "/v1/ca/rotate") }})
	return noun("gateway", "Gateways away from the control plane", token, admit, list, show, evict, ca)
}

func date(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func gatewayState(g control.GatewayView) string {
	if g.State == "joined" && !g.Following {
		return "away"
	}
	return g.State
}

func gatewayLines(w io.Writer, g control.GatewayView) {
	line := func(name, value string) { fmt.Fprintf(w, "%-12s %s\n", name, printable(value)) }
	line("gateway", g.Name)
	line("state", gatewayState(g))
	line("upstreams", or(strings.Join(g.Upstreams, ", "), "all"))
	line("enforces", fmt.Sprintf("changes up to %d; %d behind", g.Cursor.Seq, g.Behind))
	if g.State == "local" {
		return
	}
	if g.Provider != "" {
		line("attested by", g.Provider+" as "+g.Subject)
	}
	if g.State == "admitted" {
		return
	}
	line("joined", date(g.Joined)+" from "+g.From)
	line("seen", date(g.Seen))
	line("certificate", g.Serial+" until "+date(g.Expires))
	if !g.Evicted.IsZero() {
		line("evicted", date(g.Evicted)+"  "+g.Reason)
	}
}
