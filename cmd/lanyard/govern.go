package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// changed prints the answer to a change.
func (a *app) changed(cmd *cobra.Command, method, path string, in any, done string) error {
	c, err := ask[control.Changed](cmd.Context(), a, method, path, in)
	if err != nil {
		return err
	}
	return a.confirmed(cmd.Context(), &c, &c.Receipt, func(w io.Writer) { fmt.Fprintln(w, done) })
}

func pathOf(parts ...string) string {
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "/v1/" + strings.Join(parts, "/")
}

func (a *app) owner() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Owners and how much they own", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		all, err := pages[control.OwnerView](cmd.Context(), a, "/v1/owners", nil)
		if err != nil {
			return err
		}
		return a.show(all, func(w io.Writer) {
			var rows [][]string
			for _, o := range all {
				rows = append(rows, []string{string(o.ID), o.Name, o.Email, string(o.State), or(string(o.Backup), "-"), fmt.Sprint(o.Identities)})
			}
			table(w, "OWNER NAME EMAIL STATE BACKUP IDENTITIES", rows)
		})
	}}
	var in control.OwnerInput
	put := &cobra.Command{Use: "put OWNER --name NAME --email ADDRESS", Short: "Add or change an owner", Args: cobra.ExactArgs(1),
		Example: `  lanyard owner put maya --name "Maya Lind" --email maya@example.com --backup ben`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(in.Roles) == 1 && in.Roles[0] == "none" {
				in.Roles = []string{}
			}
			return a.changed(cmd, "PUT", pathOf("owners", args[0]), in, "owner "+args[0]+" is put")
		}}
	put.Flags().StringVar(&in.Name, "name", "", "full name")
	put.Flags().StringVar(&in.Email, "email", "", "email address")
	put.Flags().StringVar(&in.Backup, "backup", "", "owner who takes over")
	put.Flags().BoolVar(&in.Team, "team", false, "it is a team")
	put.Flags().StringSliceVar(&in.Members, "member", nil, "of a team: who may approve in its name; can be given again")
	put.Flags().StringSliceVar(&in.Roles, "role", nil, "what they may do at the console, beside what is theirs: admin, security, operator, auditor; none takes all away; can be given again")
	require(put, "name", "email")
	gone := &cobra.Command{Use: "gone OWNER", Short: "An owner has left: what it owns goes to the backup, or is suspended", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		o, err := ask[control.OwnerView](cmd.Context(), a, "GET", pathOf("owners", args[0]), nil)
		if err != nil {
			return err
		}
		return a.changed(cmd, "PUT", pathOf("owners", args[0]), control.OwnerInput{Name: o.Name, Email: o.Email, Team: o.Team, Members: names(o.Members), Backup: string(o.Backup), Gone: true}, o.Name+" is marked as gone; see lanyard identity list")
	}}
	remove := &cobra.Command{Use: "remove OWNER", Short: "Remove an owner that owns nothing", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.changed(cmd, "DELETE", pathOf("owners", args[0]), nil, "owner "+args[0]+" is removed")
	}}
	signIn := &cobra.Command{Use: "sign-in OWNER", Short: "Make a code with which an owner signs in, to connect a client", Args: cobra.ExactArgs(1),
		Long: `Make a code with which an owner signs in at the control plane with a browser, once,
within ten minutes. Give it to that person and to nobody else.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := ask[control.SignInCode](cmd.Context(), a, "POST", pathOf("owners", args[0], "sign-in"), nil)
			if err != nil {
				return err
			}
			return a.show(c, func(w io.Writer) {
				fmt.Fprintf(w, "%s\n\nFor %s, at %s, until %s. It works once.\n", c.Code, args[0], c.URL, c.Expires.Local().Format("15:04"))
			})
		}}
	return noun("owner", "Who is accountable", list, put, gone, remove, signIn)
}

func (a *app) identity() *cobra.Command {
	filter := map[string]*string{}
	var children bool
	list := &cobra.Command{Use: "list", Short: "Identities", Args: cobra.NoArgs,
		Example: `  lanyard identity list --owner maya
  lanyard identity list --state killed -o json
  lanyard identity list --parent invoice-bot`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			for name, v := range filter {
				if *v != "" {
					q.Set(name, *v)
				}
			}
			if !children && *filter["parent"] == "" {
				q.Set("roots", "true")
			}
			all, err := pages[control.IdentityView](cmd.Context(), a, "/v1/identities", q)
			if err != nil {
				return err
			}
			return a.show(all, func(w io.Writer) {
				var rows [][]string
				for _, i := range all {
					rows = append(rows, []string{i.Name, string(i.Kind), string(i.State), string(i.Owner), i.Environment, day(i.Expires), day(i.LastUsed), fmt.Sprint(i.Living), i.Purpose})
				}
				table(w, "NAME KIND STATE OWNER ENVIRONMENT EXPIRES LAST-USED CHILDREN PURPOSE", rows)
			})
		}}
	for name, doc := range map[string]string{"owner": "of this owner", "state": "pending, active, suspended, killed, expired or retired", "kind": "agent, service, bot, api_key or oauth_client", "query": "part of the name", "parent": "started by this one"} {
		filter[name] = list.Flags().String(name, "", doc)
	}
	list.Flags().BoolVar(&children, "children", false, "those too that others started")
	show := &cobra.Command{Use: "show NAME", Short: "An identity with its credentials and grants", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		i, err := ask[control.IdentityView](cmd.Context(), a, "GET", pathOf("identities", args[0]), nil)
		if err != nil {
			return err
		}
		return a.show(i, func(w io.Writer) { showIdentity(w, i) })
	}}
	var in control.IdentityInput
	var may control.ChildrenInput
	register := &cobra.Command{Use: "register NAME --owner OWNER --purpose TEXT", Short: "Register an identity, or change one", Args: cobra.ExactArgs(1),
		Example: `  lanyard identity register invoice-bot --kind agent --owner maya --purpose "Files invoices that arrive by mail"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if may.AtOnce > 0 {
				in.Children = &may
			} else if may.Depth > 0 {
				return usage("--depth needs --children: say how many at once")
			}
			return a.changed(cmd, "PUT", pathOf("identities", args[0]), in, args[0]+" is registered; next: lanyard credential add "+args[0]+" --public-key FILE")
		}}
	f := register.Flags()
	f.StringVar(&in.Kind, "kind", "agent", "agent, service, bot, api_key or oauth_client")
	f.StringVar(&in.Owner, "owner", "", "who is accountable")
	f.StringVar(&in.Backup, "backup", "", "who takes over when the owner leaves")
	f.StringVar(&in.Purpose, "purpose", "", "one sentence on what it is for")
	f.StringVar(&in.Environment, "environment", "", "default production")
	f.StringVar(&in.Expires, "expires", "", "when it stops by itself: 90d, 2027-01-31 (default 90d)")
	f.BoolVar(&in.Pending, "pending", false, "do not let it act yet")
	f.StringVar(&in.Tasks, "tasks", "", "required: it acts under tasks alone")
	f.IntVar(&may.AtOnce, "children", 0, "how many identities it may start for pieces of its work, at one time (default none)")
	f.IntVar(&may.Depth, "depth", 0, "with --children: 1 is children, 2 theirs too (default 1)")
	require(register, "owner", "purpose")
	commands := []*cobra.Command{list, show, register, a.tree()}
	for _, v := range []struct{ verb, short, done string }{
		{"activate", "Let a pending identity act", "may act now"}, {"suspend", "Stop an identity for now", "is suspended; lanyard identity resume lets it go on"},
		{"resume", "End a suspension", "may act again"}, {"renew", "Give an identity a later end", "has a later end"}, {"retire", "End an identity for good", "is retired"},
	} {
		var in control.StateInput
		c := &cobra.Command{Use: v.verb + " NAME", Short: v.short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return a.changed(cmd, "POST", pathOf("identities", args[0], v.verb), in, args[0]+" "+v.done)
		}}
		c.Flags().StringVar(&in.Reason, "reason", "", "why, for the record")
		if v.verb == "suspend" || v.verb == "retire" {
			a.waitFlag(c)
		}
		if v.verb == "renew" {
			c.Flags().StringVar(&in.Expires, "expires", "", "the new end: 90d, 2027-01-31 (default 90d)")
		}
		commands = append(commands, c)
	}
	return noun("identity", "Agents, services, bots, keys and clients", commands...)
}

func showIdentity(w io.Writer, i control.IdentityView) {
	line := func(name, value string) { fmt.Fprintf(w, "%-12s %s\n", name, printable(value)) }
	line("identity", i.ID.String())
	line("purpose", i.Purpose)
	line("owner", strings.TrimSpace(string(i.Owner)+"  "+i.OwnerName))
	if i.Backup != "" {
		line("backup", string(i.Backup))
	}
	line("environment", i.Environment)
	state := string(i.State)
	if !i.Usable {
		state += "  (" + i.Why + ")"
	}
	line("state", state)
	line("expires", day(i.Expires))
	if i.Tasks != "" {
		line("tasks", i.Tasks)
	}
	if !i.Parent.ID.IsZero() {
		line("started by", i.Parent.ID.String())
	}
	if i.Children.AtOnce > 0 || i.Living > 0 {
		line("children", fmt.Sprintf("%d of at most %d at once, %d deep", i.Living, i.Children.AtOnce, i.Children.Depth))
	}
	line("last used", day(i.LastUsed))
	fmt.Fprintln(w)
	var rows [][]string
	for _, k := range i.Credentials {
		end := "until " + day(k.Expires)
		if !k.Revoked.IsZero() {
			end = "revoked " + day(k.Revoked)
		}
		kind := string(k.Kind)
		if k.Provider != "" {
			kind += " of " + k.Provider
		}
		rows = append(rows, []string{k.ID, kind, end, day(k.LastUsed)})
	}
	table(w, "CREDENTIAL KIND GOOD LAST-USED", rows)
	fmt.Fprintln(w)
	rows = nil
	for _, g := range i.Grants {
		what := strings.Join(g.Actions, ", ")
		if !g.Plain {
			what = "(Cedar)"
		}
		for _, name := range sortedKeys(g.Where) {
			what += " " + name + "=…"
		}
		rows = append(rows, []string{g.ID, g.Upstream, what, day(g.Until)})
	}
	if i.Inherits {
		fmt.Fprintf(w, "It may do what %s may.\n", i.Parent.ID.Name())
		return
	}
	table(w, "GRANT UPSTREAM MAY UNTIL", rows)
}

func sortedKeys[V any](m map[string]V) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func (a *app) credential() *cobra.Command {
	var in control.CredentialInput
	var key, cert string
	add := &cobra.Command{Use: "add NAME --public-key FILE | --certificate FILE | --api-key", Short: "Give an identity one more way to prove itself", Args: cobra.ExactArgs(1),
		Long: `Give an identity one more way to prove itself. The others stay good, so that a
key can be replaced without a gap: add the new one, switch the agent over, revoke
the old one.`,
		Example: `  lanyard keygen invoice-bot && lanyard credential add invoice-bot --public-key invoice-bot.jwk
  lanyard credential add scanner --api-key --expires 30d`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if key == "" && cert == "" && !in.APIKey {
				return usage("give one of --public-key, --certificate and --api-key")
			}
			if key != "" {
				b, err := os.ReadFile(key)
				if err != nil {
					return err
				}
				if !json.Valid(b) {
					return fmt.Errorf("%s is no JWK; lanyard keygen makes one", key)
				}
				in.PublicKey = b
			}
			if cert != "" {
				b, err := os.ReadFile(cert)
				if err != nil {
					return err
				}
				in.Certificate = string(b)
			}
			c, err := ask[control.CredentialCreated](cmd.Context(), a, "POST", pathOf("identities", args[0], "credentials"), in)
			if err != nil {
				return err
			}
			return a.show(c, func(w io.Writer) {
				fmt.Fprintf(w, "%s (%s) is a credential of %s until %s\n", c.ID, c.Kind, c.Identity.Name(), day(c.Expires))
				if c.APIKey != "" {
					fmt.Fprintf(w, "\nThe API key. It is shown this once:\n\n  %s\n\n", c.APIKey)
				}
			})
		}}
	f := add.Flags()
	f.StringVar(&key, "public-key", "", "file of a public key as JWK, Ed25519 or P-256 (private_key_jwt)")
	f.StringVar(&cert, "certificate", "", "file of a certificate in PEM (self_signed_tls_client_auth)")
	f.BoolVar(&in.APIKey, "api-key", false, "make an API key, for a client that can do no better")
	f.StringVar(&in.Expires, "expires", "", "its end (default the identity's; 90d for an API key)")
	revoke := &cobra.Command{Use: "revoke ID", Short: "End a credential, and the tokens got with it", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.revoked(cmd, control.RevokeRequest{Credential: args[0], Reason: a.reason})
	}}
	a.reasonFlag(revoke)
	a.waitFlag(revoke)
	return noun("credential", "How an identity proves itself", add, revoke)
}

const whereUsage = "ARGUMENT=VALUE that must hold, with * for any text, or ARGUMENT<=NUMBER, ARGUMENT>=NUMBER; can be given again"

// conditions reads what each --where says.
func conditions(where []string) (map[string]policy.Condition, error) {
	all := map[string]policy.Condition{}
	for _, w := range where {
		if err := condition(all, w); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// condition adds what one --where says.
func condition(all map[string]policy.Condition, w string) error {
	name, value, ok := strings.Cut(w, "=")
	if !ok {
		return usage("--where %q: want ARGUMENT=VALUE, ARGUMENT<=NUMBER or ARGUMENT>=NUMBER", w)
	}
	limit := strings.TrimRight(name, "<>")
	if limit == name {
		c := policy.Condition{Is: value}
		if strings.Contains(value, "*") {
			c = policy.Condition{Like: value}
		}
		all[name] = c
		return nil
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || strings.ContainsAny(value, "xXpP_iInN") {
		return usage("--where %q: %q is no number", w, value)
	}
	c := all[limit]
	if name == limit+"<" {
		c.Max = &n
	} else if name == limit+">" {
		c.Min = &n
	} else {
		return usage("--where %q: want ARGUMENT<=NUMBER or ARGUMENT>=NUMBER", w)
	}
	all[limit] = c
	return nil
}

func (a *app) grant() *cobra.Command {
	var in control.GrantInput
	var layers layer.Layers
	var cedar string
	var where []string
	put := &cobra.Command{Use: "put IDENTITY GRANT --upstream NAME --action ACTION", Short: "Give a grant, or change it", Args: cobra.ExactArgs(2),
		Example: `  lanyard grant put invoice-bot read-mail --upstream mail --action read --where userId=me --until 30d
  lanyard grant put invoice-bot file --upstream drive --cedar file.cedar
  lanyard grant put reader mail --upstream mail --action mail.read --action mail.search --show headers --see example.com --days 30`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cedar != "" {
				b, err := os.ReadFile(cedar)
				if err != nil {
					return err
				}
				in.Cedar = string(b)
			}
			var err error
			if in.Conditions, err = conditions(where); err != nil {
				return err
			}
			if !layers.Zero() {
				in.Layers = &layers
			}
			return a.changed(cmd, "PUT", pathOf("identities", args[0], "grants", args[1]), in, args[0]+" holds grant "+args[1])
		}}
	f := put.Flags()
	f.StringVar(&in.Upstream, "upstream", "", "the system it is on")
	f.StringArrayVar(&in.Actions, "action", nil, "class (read, write, delete, admin), action, or pattern of actions; can be given again")
	f.StringArrayVar(&in.Resources, "resource", nil, "pattern of resources, with *; can be given again (default all)")
	f.StringArrayVar(&where, "where", nil, whereUsage)
	f.StringVar(&cedar, "cedar", "", "file of Cedar, instead of the other fields")
	f.BoolVar(&in.ForOthers, "only-for-others", false, "only when the identity acts on behalf of another")
	layerFlags(f, &layers)
	f.StringVar(&in.Until, "until", "", "its end (default the identity's)")
	f.StringVar(&in.Approve, "approve", "", "who must say yes to each call: owner, upstream, person, operator, or names of owners, as in \"2 of ben kim maya\"")
	f.StringVar(&in.Fresh, "fresh", "", "how long ago they may have signed in, as in 5m")
	f.StringVar(&in.Record, "record", "", "before: the event is durable before the reply; within: within 100 ms")
	revoke := &cobra.Command{Use: "revoke IDENTITY/GRANT", Short: "Take a grant away", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.revoked(cmd, control.RevokeRequest{Grant: args[0], Reason: a.reason})
	}}
	a.reasonFlag(revoke)
	a.waitFlag(revoke)
	a.waitFlag(put)
	show := &cobra.Command{Use: "show IDENTITY/GRANT", Short: "A grant and the Cedar it means", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		who, _, _ := strings.Cut(args[0], "/")
		i, err := ask[control.IdentityView](cmd.Context(), a, "GET", pathOf("identities", who), nil)
		if err != nil {
			return err
		}
		n := slices.IndexFunc(i.Grants, func(g policy.Grant) bool { return g.ID == args[0] })
		if n < 0 {
			return fmt.Errorf("%s has no grant %s; lanyard identity show %s lists them", who, args[0], who)
		}
		return a.show(i.Grants[n], func(w io.Writer) {
			fmt.Fprintf(w, "%s on %s until %s\n\n%s\n", args[0], i.Grants[n].Upstream, day(i.Grants[n].Until), strings.TrimSpace(i.Grants[n].Cedar))
			if i.Grants[n].Layers != nil {
				fmt.Fprintf(w, "\nOf what it covers:\n  %s\n", strings.Join(i.Grants[n].Layers.Say(), "\n  "))
			}
		})
	}}
	return noun("grant", "What an identity may do", put, show, revoke)
}

func (a *app) guardrail() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Guardrails", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		all, err := pages[policy.Guardrail](cmd.Context(), a, "/v1/guardrails", nil)
		if err != nil {
			return err
		}
		return a.show(all, func(w io.Writer) {
			for _, g := range all {
				fmt.Fprintf(w, "%s  %s\n    %s\n", g.ID, printable(g.Description), strings.ReplaceAll(strings.TrimSpace(g.Cedar), "\n", "\n    "))
			}
		})
	}}
	var in control.GuardrailInput
	var cedar string
	put := &cobra.Command{Use: "put NAME --cedar FILE", Short: "Add or change a guardrail: what nobody may do", Args: cobra.ExactArgs(1),
		Example: `  lanyard guardrail put no-forwarding --cedar no-forwarding.cedar --description "Nothing forwards mail out of the house."`,
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := os.ReadFile(cedar)
			if err != nil {
				return err
			}
			in.Cedar = string(b)
			return a.changed(cmd, "PUT", pathOf("guardrails", args[0]), in, "guardrail "+args[0]+" is in force")
		}}
	put.Flags().StringVar(&cedar, "cedar", "", "file of Cedar: forbid(...)")
	require(put, "cedar")
	a.waitFlag(put)
	put.Flags().StringVar(&in.Description, "description", "", "one sentence, shown to who is refused")
	remove := &cobra.Command{Use: "remove NAME", Short: "Remove a guardrail", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.changed(cmd, "DELETE", pathOf("guardrails", args[0]), nil, "guardrail "+args[0]+" is removed")
	}}
	schema := &cobra.Command{Use: "schema", Short: "The Cedar schema that grants and guardrails are checked against", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		s, err := ask[control.Schema](cmd.Context(), a, "GET", "/v1/schema", nil)
		if err != nil {
			return err
		}
		return a.show(s, func(w io.Writer) { fmt.Fprint(w, s.Cedar) })
	}}
	return noun("guardrail", "What nobody may do", list, put, remove, schema)
}
