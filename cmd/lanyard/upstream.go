package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

func (a *app) upstream() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Upstreams", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		all, err := pages[control.UpstreamView](cmd.Context(), a, "/v1/upstreams", nil)
		if err != nil {
			return err
		}
		return a.show(all, func(w io.Writer) {
			var rows [][]string
			for _, u := range all {
				state, secret := "open", "none"
				if u.Killed {
					state = "killed"
				}
				if u.Secret {
					secret = "sealed"
				} else if u.OAuth != nil {
					secret = map[policy.Account]string{policy.Own: "accounts", policy.Shared: "shared account"}[u.OAuth.Account]
				}
				rows = append(rows, []string{u.Name, state, u.URL, or(string(u.Owner), "-"), u.Environment, u.Family, fmt.Sprint(u.Actions), secret, u.Audience})
			}
			table(w, "NAME STATE URL OWNER ENVIRONMENT FAMILY ACTIONS CREDENTIAL REACHED-AT", rows)
		})
	}}
	actions := &cobra.Command{Use: "actions NAME", Short: "What can be done on an upstream", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		all, err := pages[control.ActionView](cmd.Context(), a, pathOf("upstreams", args[0], "actions"), nil)
		if err != nil {
			return err
		}
		return a.show(all, func(w io.Writer) {
			var rows [][]string
			for _, v := range all {
				rows = append(rows, []string{v.Name, string(v.Class), strings.Join(v.Words, " "), strings.Join(sortedKeys(v.Parameters), " "), v.Summary})
			}
			table(w, "ACTION CLASS WORDS ARGUMENTS SUMMARY", rows)
		})
	}}
	var in control.UpstreamInput
	var consent control.ConsentInput
	var google, graph, openapi, catalogue, secretEnv, header, prefix string
	var patterns, joined, counters []string
	var origins string
	var signs oauthFlags
	var shadows bool
	put := &cobra.Command{Use: "put NAME --url URL --google|--graph|--openapi|--mcp|--join|--pattern ...", Short: "Add or change an upstream", Args: cobra.ExactArgs(1),
		Example: `  MAIL_TOKEN=... lanyard upstream put mail --url https://gmail.googleapis.com --google gmail/v1 --owner priya --credential-env MAIL_TOKEN
  lanyard upstream put crm --url https://crm.example.com --openapi crm.yaml
  lanyard upstream put notes --url https://notes.example.com --mcp notes.json --owner priya --oauth
  lanyard upstream put invoices --url http://10.0.0.7 --pattern "GET /invoices/{id} -> invoices.read read /invoices/{id}"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case google != "":
				in.Family, in.Description = "google", google
			case graph != "":
				in.Family, in.Description = "graph", graph
			case openapi != "":
				in.Family, in.Description = "openapi", openapi
			case catalogue != "":
				in.Family, in.Description = "mcp", catalogue
			case len(joined) > 0:
				in.Family, in.Description = "join", strings.Join(joined, "\n")
				if err := a.noShadows(cmd.Context(), joined, shadows); err != nil {
					return err
				}
			case len(patterns) > 0:
				in.Family, in.Description = "patterns", strings.Join(patterns, "\n")
			}
			if in.Family == "openapi" || in.Family == "mcp" || strings.HasSuffix(google, ".json") {
				b, err := os.ReadFile(in.Description)
				if err != nil {
					return err
				}
				in.Description = string(b)
			}
			if secretEnv != "" {
				v := os.Getenv(secretEnv)
				if v == "" {
					return fmt.Errorf("the environment variable %s is not set", secretEnv)
				}
				in.Secret = &control.SecretInput{Header: header, Value: prefix + v}
			}
			var err error
			if in.OAuth, err = signs.input(cmd); err != nil {
				return err
			}
			if origins != "" {
				if in.Provenance, err = readProvenance(origins); err != nil {
					return err
				}
			}
			for _, s := range counters {
				name, what, ok := strings.Cut(s, "=")
				at := strings.LastIndexByte(what, ':')
				if !ok || at < 0 {
					return usage("--counter %q: want NAME=ACTION,...:ARGUMENT", s)
				}
				if in.Counters == nil {
					in.Counters = map[string]policy.Counter{}
				}
				in.Counters[name] = policy.Counter{Actions: strings.Split(what[:at], ","), Argument: what[at+1:]}
			}
			if len(consent.Owners) > 0 {
				in.Consent = &consent
			} else if len(consent.Classes) > 0 {
				return usage("--consent-class needs --consent: say who")
			}
			return a.changed(cmd, "PUT", pathOf("upstreams", args[0]), in, "upstream "+args[0]+" is put")
		}}
	f := put.Flags()
	f.StringVar(&in.URL, "url", "", "base URL; the request's path is appended")
	f.StringVar(&in.Owner, "owner", "", "who can give grants on it")
	f.StringVar(&in.Environment, "environment", "", "default production")
	f.StringVar(&google, "google", "", "gmail/v1, drive/v3, calendar/v3, or the file of a Google discovery document (*.json)")
	f.StringVar(&graph, "graph", "", "v1.0: mail, files and calendar of Microsoft Graph")
	f.StringVar(&openapi, "openapi", "", "file of an OpenAPI 3 description")
	f.StringVar(&catalogue, "mcp", "", "file of an MCP server's catalogue, from lanyard mcp catalogue")
	f.StringSliceVar(&joined, "join", nil, "MCP upstreams to put behind one endpoint; it has no URL of its own")
	f.BoolVar(&shadows, "allow-shadowing", false, "join them although tools of one imitate or speak of another's: read those first")
	f.StringArrayVar(&patterns, "pattern", nil, `"METHOD /path/{x} -> action class resource"; can be given again`)
	f.BoolVar(&in.WebSocket, "websocket", false, "let WebSocket through")
	f.BoolVar(&in.StatusList, "status-list", false, "give its tokens a place in a status list, for who verifies them elsewhere")
	f.StringArrayVar(&counters, "counter", nil, "NAME=ACTION,...:ARGUMENT, an amount that a task's budget can limit; can be given again")
	f.StringVar(&origins, "provenance", "", "file (YAML) of what is known beforehand: members, contacts, roles, effects, labels")
	f.StringVar(&in.Agent, "agent", "", "it is this identity, which acts on behalf of its callers")
	f.StringVar(&in.ChainHeader, "chain-header", "", "tell it who is behind each request, in this header (default Lanyard-Chain)")
	f.Lookup("chain-header").NoOptDefVal = "true"
	f.StringSliceVar(&consent.Owners, "consent", nil, "owners who may connect a client of theirs to it, * for all; its own owner always may")
	f.StringSliceVar(&consent.Classes, "consent-class", nil, "what they may let it do at most: read, write, delete, admin (default read)")
	f.StringVar(&secretEnv, "credential-env", "", "environment variable with the credential the gateway shows it")
	f.StringVar(&header, "credential-header", "Authorization", "the header it goes into")
	f.StringVar(&prefix, "credential-prefix", "Bearer ", "what stands before it")
	signs.add(put)
	remove := &cobra.Command{Use: "remove NAME", Short: "Remove an upstream without grants", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.changed(cmd, "DELETE", pathOf("upstreams", args[0]), nil, "upstream "+args[0]+" is removed")
	}}
	return noun("upstream", "The systems behind the boundary", list, actions, put, remove, a.upstreamSignIn(), a.upstreamAccounts(), a.upstreamDisconnect())
}
