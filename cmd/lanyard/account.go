package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
)

// oauthFlags say how an upstream is signed in to that wants OAuth of its own.
type oauthFlags struct {
	on         bool
	in         control.OAuthInput
	secretEnv  string
	parameters []string
}

func (o *oauthFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&o.on, "oauth", false, "it wants OAuth of its own: owners connect the account that they have there (lanyard upstream sign-in); =false: no longer")
	f.StringVar(&o.in.Issuer, "oauth-issuer", "", "its authorization server; an MCP server says that itself")
	f.StringVar(&o.in.ClientID, "oauth-client", "", "client_id that you registered there (default: Lanyard makes itself known, if the server lets it)")
	f.StringVar(&o.secretEnv, "oauth-client-secret-env", "", "environment variable with the secret of that client")
	f.StringSliceVar(&o.in.Scopes, "oauth-scope", nil, "scope to ask for; can be given again (default: what the upstream says it needs)")
	f.StringArrayVar(&o.parameters, "oauth-parameter", nil, "NAME=VALUE that its sign-in page wants besides, such as access_type=offline; can be given again")
	f.BoolVar(&o.in.Shared, "oauth-shared", false, "the account of its owner serves every agent, instead of each agent's owner's own")
}

// input is what the flags say; nil when they say nothing, and it stays as it is.
func (o *oauthFlags) input(c *cobra.Command) (*control.OAuthInput, error) {
	said := false
	for _, name := range []string{"oauth", "oauth-issuer", "oauth-client", "oauth-client-secret-env", "oauth-scope", "oauth-parameter", "oauth-shared"} {
		said = said || c.Flags().Changed(name)
	}
	if !said {
		return nil, nil
	}
	if o.in.None = c.Flags().Changed("oauth") && !o.on; o.in.None {
		return &control.OAuthInput{None: true}, nil
	}
	if o.secretEnv != "" {
		if o.in.ClientSecret = os.Getenv(o.secretEnv); o.in.ClientSecret == "" {
			return nil, fmt.Errorf("the environment variable %s is not set", o.secretEnv)
		}
	}
	for _, p := range o.parameters {
		name, value, ok := strings.Cut(p, "=")
		if !ok {
			return nil, usage("--oauth-parameter %q: want NAME=VALUE", p)
		}
		if o.in.Parameters == nil {
			o.in.Parameters = map[string]string{}
		}
		o.in.Parameters[name] = value
	}
	return &o.in, nil
}

// signInLink is what an owner needs to connect an account.
type signInLink struct {
	control.SignInCode
	Page string `json:"page"`
}

func (a *app) upstreamSignIn() *cobra.Command {
	var owner string
	c := &cobra.Command{Use: "sign-in NAME --owner OWNER", Short: "Say where an owner connects the account that an upstream wants", Args: cobra.ExactArgs(1),
		Long: `Say where an owner connects the account at an upstream that wants OAuth of its own,
and make a code with which that owner signs in at the control plane, once, within ten
minutes. Give both to that person and to nobody else.`,
		Example: `  lanyard upstream sign-in notes --owner maya`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if owner == "" {
				return usage("say who, with --owner")
			}
			u, err := ask[control.UpstreamView](cmd.Context(), a, "GET", pathOf("upstreams", args[0]), nil)
			if err != nil {
				return err
			}
			if u.SignIn == "" {
				return fmt.Errorf("%s wants no account of anybody's; lanyard upstream put %s --oauth says that it does", args[0], args[0])
			}
			code, err := ask[control.SignInCode](cmd.Context(), a, "POST", pathOf("owners", owner, "sign-in"), nil)
			if err != nil {
				return err
			}
			return a.show(signInLink{code, u.SignIn}, func(w io.Writer) {
				fmt.Fprintf(w, "%s\n\nFor %s to open in a browser, and to sign in there with the code\n\n  %s\n\nuntil %s. It works once.\n", u.SignIn, owner, code.Code, code.Expires.Local().Format("15:04"))
			})
		}}
	c.Flags().StringVar(&owner, "owner", "", "whose account it is")
	return c
}

func (a *app) upstreamAccounts() *cobra.Command {
	return &cobra.Command{Use: "accounts NAME", Short: "Who has connected an account at an upstream", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		all, err := pages[control.AccountView](cmd.Context(), a, pathOf("upstreams", args[0], "accounts"), nil)
		if err != nil {
			return err
		}
		return a.show(all, func(w io.Writer) {
			var rows [][]string
			for _, v := range all {
				rows = append(rows, []string{string(v.Owner), day(v.Since), day(v.Renewed), or(v.Server, "-"), or(strings.Join(v.Scopes, " "), "-"), or(v.Lapsed, "good")})
			}
			table(w, "OWNER SINCE RENEWED SERVER SCOPE STATE", rows)
		})
	}}
}

func (a *app) upstreamDisconnect() *cobra.Command {
	var owner string
	c := &cobra.Command{Use: "disconnect NAME --owner OWNER", Short: "Forget an owner's account at an upstream", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		if owner == "" {
			return usage("say whose, with --owner")
		}
		return a.changed(cmd, "DELETE", pathOf("upstreams", args[0], "accounts", owner), nil, "the account of "+owner+" at "+args[0]+" is forgotten")
	}}
	c.Flags().StringVar(&owner, "owner", "", "whose account it is")
	return c
}
