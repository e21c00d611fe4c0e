package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
)

func (a *app) provider() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Identity providers", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		all, err := pages[control.ProviderView](cmd.Context(), a, "/v1/providers", nil)
		if err != nil {
			return err
		}
		return a.show(all, func(w io.Writer) {
			var rows [][]string
			for _, p := range all {
				rows = append(rows, []string{p.Name, providerState(p), p.Issuer, uses(p), p.Claim, strings.Join(p.Limit(), ","), p.Life, fmt.Sprint(p.Clients)})
			}
			table(w, "NAME STATE ISSUER USES CLAIM SCOPES LIFE CLIENTS", rows)
		})
	}}
	show := &cobra.Command{Use: "show NAME", Short: "An identity provider, and whether its keys can be had", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		p, err := ask[control.ProviderView](cmd.Context(), a, "GET", pathOf("providers", args[0]), nil)
		if err != nil {
			return err
		}
		keys, failed := ask[control.ProviderKeys](cmd.Context(), a, "GET", pathOf("providers", args[0], "keys"), nil)
		return a.show(p, func(w io.Writer) {
			line := func(name, value string) { fmt.Fprintf(w, "%-12s %s\n", name, printable(value)) }
			line("provider", p.Name)
			line("state", providerState(p))
			line("issuer", p.Issuer)
			line("trusted for", uses(p))
			line("finds by", p.Claim)
			if len(p.Domains) > 0 {
				line("domains", strings.Join(p.Domains, ", "))
			}
			for _, sub := range sortedKeys(p.People) {
				line("", sub+" is "+string(p.People[sub]))
			}
			if len(p.Audience) > 0 {
				line("tokens for", strings.Join(p.Audience, ", "))
			}
			line("at most", strings.Join(p.Limit(), ", "))
			line("for", p.Life)
			if p.Public {
				line("", "clients without a credential of their own, too")
			}
			line("clients", fmt.Sprint(p.Clients))
			switch {
			case failed != nil:
				line("keys", failed.Error())
			case keys.Pinned:
				line("keys", strings.Join(keys.Keys, ", ")+"  (pinned)")
			default:
				line("keys", strings.Join(keys.Keys, ", "))
			}
		})
	}}
	var in control.ProviderInput
	var people, groups []string
	var jwks, secret string
	put := &cobra.Command{Use: "put NAME --issuer URL --use id_jag", Short: "Trust an identity provider of people, or change what it is trusted for", Args: cobra.ExactArgs(1),
		Long: `Trust an identity provider of people, or change what it is trusted for. With
--use id_jag, clients act for people on its word instead of asking them (Identity
Assertion JWT Authorization Grant, "enterprise-managed authorization" in MCP). How
far is what the upstream lets that person give, and --scope, whichever is less. With
--use on_behalf, agents act on behalf of people by the tokens that it gave to one of
the applications named with --audience (token exchange, RFC 8693). With --use attest,
gateways join by the tokens that it gave the workloads that they are, as Kubernetes
and clouds do (lanyard gateway admit). With --use sign_in, people sign in at the
console with it (OpenID Connect): register Lanyard there as a client whose redirect
URI is the control plane's URL and /console/oidc/callback, and whose back-channel
logout URI, where there is such a thing, that and /console/oidc/logout/NAME.`,
		Example: `  lanyard provider put okta --issuer https://acme.okta.com --use id_jag --domain acme.example --scope read,write
  lanyard provider put keycloak --issuer https://id.internal/realms/acme --use id_jag --claim preferred_username --jwks keys.json
  lanyard provider put cluster --issuer https://kubernetes.default.svc.cluster.local --use attest --jwks cluster-keys.json
  lanyard provider put sso --issuer https://login.acme.example --use sign_in --domain acme.example \
      --client-id lanyard --client-secret-file secret.txt --group-role security-team=security`,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, p := range people {
				sub, owner, ok := strings.Cut(p, "=")
				if !ok {
					return usage("--person %q: want SUB=OWNER", p)
				}
				if in.People == nil {
					in.People = map[string]string{}
				}
				in.People[sub] = owner
			}
			for _, g := range groups {
				group, role, ok := strings.Cut(g, "=")
				if !ok {
					return usage("--group-role %q: want GROUP=ROLE", g)
				}
				if in.Roles == nil {
					in.Roles = map[string][]string{}
				}
				in.Roles[group] = append(in.Roles[group], role)
			}
			if secret != "" {
				b, err := os.ReadFile(secret)
				if err != nil {
					return err
				}
				in.Secret = strings.TrimSpace(string(b))
			}
			if jwks != "" {
				b, err := os.ReadFile(jwks)
				if err != nil {
					return err
				}
				in.JWKS = b
			}
			return a.changed(cmd, "PUT", pathOf("providers", args[0]), in, "provider "+args[0]+" is put; lanyard provider show "+args[0]+" says whether its keys can be had")
		}}
	f := put.Flags()
	f.StringVar(&in.Issuer, "issuer", "", "exactly what the provider writes in iss")
	f.StringSliceVar(&in.Uses, "use", nil, "what it is trusted for: id_jag, on_behalf, attest, sign_in")
	f.StringVar(&in.Claim, "claim", "", "how the owner is found: email, or the claim that holds an owner's name (default email)")
	f.StringSliceVar(&in.Domains, "domain", nil, "domains of email that it answers for (default: any address that it says is verified)")
	f.StringArrayVar(&people, "person", nil, "SUB=OWNER: who is meant, whatever else is said; can be given again")
	f.StringSliceVar(&in.Scopes, "scope", nil, "what a client may get on its word, at most: read, write, delete, admin (default read)")
	f.StringSliceVar(&in.Audience, "audience", nil, "with on_behalf: whom its tokens have to be for, as it writes them in aud and azp")
	f.StringVar(&in.Life, "life", "", "how long a client goes on without its word being heard anew (default 30d)")
	f.BoolVar(&in.Public, "public-clients", false, "clients that have no credential of their own may show its word, too")
	f.StringVar(&in.Client, "client-id", "", "with sign_in: the client that you registered there for Lanyard")
	f.StringVar(&secret, "client-secret-file", "", "with sign_in: file with that client's secret (without, the one it has stays)")
	f.StringVar(&in.Label, "label", "", "with sign_in: what people call it (default its name)")
	f.StringVar(&in.Groups, "groups", "", "with sign_in: the claim that holds a person's groups (default groups)")
	f.StringArrayVar(&groups, "group-role", nil, "with sign_in: GROUP=ROLE, what who is in a group may do; can be given again")
	f.StringVar(&jwks, "jwks", "", "file with its keys (RFC 7517), instead of those it publishes")
	commands := []*cobra.Command{list, show, put}
	for _, v := range []struct{ verb, short, done string }{
		{"disable", "Trust a provider for nothing, for now: what stood on its word ends", "is disabled; lanyard provider enable trusts it again"},
		{"enable", "Trust a disabled provider again", "is trusted again"},
	} {
		var in control.ReasonInput
		c := &cobra.Command{Use: v.verb + " NAME", Short: v.short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return a.changed(cmd, "POST", pathOf("providers", args[0], v.verb), in, "provider "+args[0]+" "+v.done)
		}}
		c.Flags().StringVar(&in.Reason, "reason", "", "why, for the record")
		commands = append(commands, c)
	}
	remove := &cobra.Command{Use: "remove NAME", Short: "Remove a provider: what stood on its word ends", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.changed(cmd, "DELETE", pathOf("providers", args[0]), nil, "provider "+args[0]+" is removed")
	}}
	return noun("provider", "Identity providers of people that are trusted", append(commands, remove)...)
}

func providerState(p control.ProviderView) string {
	if p.Disabled {
		return "disabled"
	}
	return "trusted"
}

func uses(p control.ProviderView) string {
	var all []string
	for _, use := range p.Uses {
		all = append(all, string(use))
	}
	return strings.Join(all, ",")
}
