package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

func (a *app) status() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "How everything stands", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		s, err := ask[control.Status](cmd.Context(), a, "GET", "/v1/status", nil)
		if err != nil {
			return err
		}
		return a.show(s, func(w io.Writer) {
			line := func(name, format string, args ...any) {
				fmt.Fprintf(w, "%-12s %s\n", name, printable(fmt.Sprintf(format, args...)))
			}
			line("lanyard", "%s, up since %s, trust domain %s", s.Version, s.Started.Format(time.RFC3339), s.TrustDomain)
			line("control", "%s", s.URL)
			line("gateway", "%s", s.GatewayURL)
			for _, g := range s.Gateways {
				if !g.Stops.After(s.Now) {
					line("", "%s: has stopped: not heard of for longer than its lease", g.Name)
					continue
				}
				line("", "%s: %d changes behind", g.Name, g.Behind)
			}
			writable := "writable"
			if !s.Ledger.Writable {
				writable = "NOT writable: " + s.Ledger.Why
			}
			line("ledger", "%d events, %s", s.Ledger.Size, writable)
			var states []string
			for state, n := range s.Identities {
				states = append(states, fmt.Sprintf("%d %s", n, state))
			}
			sort.Strings(states)
			line("identities", "%s", or(strings.Join(states, ", "), "none"))
			line("owners", "%d", s.Owners)
			for _, u := range s.Upstreams {
				what := u.Name
				if u.URL != "" { // a joined endpoint has none of its own
					what += " at " + u.URL
				}
				if u.Killed {
					what += "  (killed)"
				}
				line("upstream", "%s", what)
			}
		})
	}}
}

// finding is one thing that doctor looked at.
type finding struct {
	OK   bool   `json:"ok"`
	Warn bool   `json:"warning,omitempty"` // it works, but look at it
	What string `json:"what"`
	Fix  string `json:"fix,omitempty"`
}

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{Use: "doctor", Short: "Check a setup and say what to fix", Args: cobra.NoArgs,
		Long: "Check the data folder, the server, its clock, the upstreams and the identities, and say what to fix. Exits 1 when something does not work.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := a.examine(cmd.Context())
			bad := 0
			for _, f := range list {
				if !f.OK {
					bad++
				}
			}
			err := a.show(list, func(w io.Writer) {
				for _, f := range list {
					mark := "ok  "
					if !f.OK {
						mark = "FIX "
					} else if f.Warn {
						mark = "look"
					}
					fmt.Fprintln(w, mark+"  "+printable(f.What))
					if f.Fix != "" {
						fmt.Fprintln(w, "        "+printable(f.Fix))
					}
				}
			})
			if err == nil && bad > 0 {
				err = exit{exitError, fmt.Errorf("%s to fix", plural(bad, "thing", "things"))}
			}
			return err
		}}
}

func (a *app) examine(ctx context.Context) (list []finding) {
	good := func(format string, args ...any) {
		list = append(list, finding{OK: true, What: fmt.Sprintf(format, args...)})
	}
	look := func(what, fix string) { list = append(list, finding{OK: true, Warn: true, What: what, Fix: fix}) }
	bad := func(what, fix string) { list = append(list, finding{What: what, Fix: fix}) }
	if a.server == "" {
		if info, err := os.Stat(a.data); err != nil {
			bad("there is no data folder "+a.data, "start lanyard serve --data "+a.data+", or name its folder with --data")
			return list
		} else if info.Mode().Perm()&0o077 != 0 {
			bad(fmt.Sprintf("others may look into %s (mode %v)", a.data, info.Mode().Perm()), "chmod 700 "+a.data)
		} else {
			good("the data folder %s is ours alone", a.data)
		}
	}
	s, err := ask[control.Status](ctx, a, "GET", "/v1/status", nil)
	if err != nil {
		bad("the server does not answer: "+err.Error(), "")
		return list
	}
	good("the server answers: %s, version %s", s.URL, s.Version)
	if s.Version != version {
		look("the server is version "+s.Version+", this command "+version, "use the same")
	}
	if drift := time.Since(s.Now).Abs(); drift > 20*time.Second {
		bad(fmt.Sprintf("the clocks differ by %s", drift.Round(time.Second)), "tokens and proofs are refused when clocks differ by more than 30 s: run NTP on both machines")
	} else {
		good("the clocks agree")
	}
	list = append(list, a.examineSeal(ctx)...)
	if s.Ledger.Writable {
		good("the ledger can be written, %d events", s.Ledger.Size)
	} else {
		bad("the ledger cannot be written: "+s.Ledger.Why, "make space on the disk of the data folder")
	}
	web := &http.Client{Timeout: 5 * time.Second}
	for name, at := range map[string]string{"the token issuer": s.URL + "/.well-known/oauth-authorization-server", "the gateway": s.GatewayURL + "/.well-known/oauth-protected-resource/-"} {
		if res, err := web.Get(at); err != nil {
			bad(name+" cannot be reached from here: "+err.Error(), "check --url and --gateway-url of lanyard serve, and what stands between")
		} else {
			res.Body.Close()
			good("%s can be reached", name)
		}
	}
	for _, g := range s.Gateways {
		if !g.Stops.After(s.Now) {
			bad("gateway "+g.Name+" has stopped", "it was not heard of for longer than its lease; see its log, and whether it reaches "+s.URL)
		} else if g.Behind > 0 {
			bad(fmt.Sprintf("gateway %s is %d changes behind", g.Name, g.Behind), "see its log")
		}
	}
	if len(s.Upstreams) == 0 {
		look("there is no upstream yet", "lanyard upstream put --help")
	}
	for _, u := range s.Upstreams {
		if u.URL == "" {
			continue // a joined endpoint: those that it joins are looked at
		}
		switch {
		case u.OAuth != "":
			a.accounts(u, good, look)
		case !u.Secret:
			look("upstream "+u.Name+" is called without a credential", "if it needs one: lanyard upstream put "+u.Name+" --credential-env NAME")
		}
		if err := dial(ctx, u.URL); err != nil {
			bad("upstream "+u.Name+" cannot be reached from here: "+err.Error(), "is "+u.URL+" right, and is it running?")
		} else {
			good("upstream %s can be reached", u.Name)
		}
	}
	providers, err := pages[control.ProviderView](ctx, a, "/v1/providers", nil)
	if err != nil {
		bad("providers: "+err.Error(), "")
	}
	for _, p := range providers {
		if p.Disabled {
			look("provider "+p.Name+" is disabled", "lanyard provider enable "+p.Name+", or remove it")
		} else if p.Issuer == s.URL {
			bad("provider "+p.Name+" has the issuer of this server itself, which is never trusted", "lanyard provider put "+p.Name+" --issuer with that of your identity provider")
		} else if _, err := ask[control.ProviderKeys](ctx, a, "GET", pathOf("providers", p.Name, "keys"), nil); err != nil {
			bad("provider "+p.Name+": "+err.Error(), "is "+p.Issuer+" on the public internet? If not, give its keys: lanyard provider put "+p.Name+" --jwks FILE")
		} else {
			good("the keys of provider %s can be had", p.Name)
		}
	}
	a.directories(ctx, s.Now, good, look, bad)
	all, err := pages[control.IdentityView](ctx, a, "/v1/identities", url.Values{"roots": {"true"}})
	if err != nil {
		bad("identities: "+err.Error(), "")
	}
	for _, i := range all {
		switch {
		case i.State == identity.Active && !i.Usable:
			look(i.Name+" is active but cannot act: "+i.Why, "lanyard credential add "+i.Name+" --help")
		case i.State == identity.Active && time.Until(i.Expires) < 14*24*time.Hour:
			look(i.Name+" ends on "+day(i.Expires), "lanyard identity renew "+i.Name)
		case i.State == identity.Active && len(i.Grants) == 0:
			look(i.Name+" may do nothing: it has no grant", "lanyard grant put "+i.Name+" --help")
		case i.State == identity.Suspended:
			look(i.Name+" is suspended", "lanyard identity resume "+i.Name+", or retire it")
		}
	}
	if err == nil {
		good("%s looked at", plural(len(all), "identity", "identities"))
	}
	return list
}

// accounts looks at those that owners connected at an upstream.
func (a *app) accounts(u control.UpstreamSummary, good func(string, ...any), look func(what, fix string)) {
	switch {
	case u.OAuth == "shared" && u.Connected > 0:
		look("upstream "+u.Name+" is used by every agent with the account of "+u.Owner, "if each owner is to connect their own: lanyard upstream put "+u.Name+" --oauth, without --oauth-shared")
	case u.OAuth == "shared":
		look("upstream "+u.Name+" is used with the account of "+u.Owner+", which is not connected", "lanyard upstream sign-in "+u.Name+" --owner "+u.Owner)
	default:
		good("upstream %s is used with the accounts that owners connect: %d", u.Name, u.Connected)
	}
	for _, o := range u.Lapsed {
		look("the account of "+o+" at "+u.Name+" is no longer good", "lanyard upstream sign-in "+u.Name+" --owner "+o)
	}
}

func dial(ctx context.Context, at string) error {
	u, err := url.Parse(at)
	if err != nil {
		return err
	}
	port := or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err == nil {
		c.Close()
	}
	return err
}
