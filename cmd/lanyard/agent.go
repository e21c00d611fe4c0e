package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/client"
	"github.com/lanyard-dev/lanyard/internal/control"
)

func (a *app) keygen() *cobra.Command {
	var dir, alg string
	c := &cobra.Command{Use: "keygen NAME", Short: "Make a key pair for an identity", Args: cobra.ExactArgs(1),
		Long: `Make NAME.key.jwk, the private key that stays with the agent (mode 0600), and
NAME.jwk, the public key for a manifest or lanyard credential add. Lanyard never
sees the private key. An existing key is not replaced.`,
		Example: "  lanyard keygen invoice-bot\n  lanyard keygen invoice-bot --alg ES256 --dir /etc/invoice-bot",
		RunE: func(cmd *cobra.Command, args []string) error {
			var private, public any
			switch alg {
			case "EdDSA":
				p, k, err := ed25519.GenerateKey(rand.Reader)
				if err != nil {
					return err
				}
				private, public = k, p
			case "ES256":
				k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				if err != nil {
					return err
				}
				private, public = k, k.Public()
			default:
				return usage("--alg %q: use EdDSA or ES256", alg)
			}
			if strings.ContainsAny(args[0], `/\`) || args[0] == "" {
				return usage("the name %q names a folder too; use --dir", args[0])
			}
			paths := []string{filepath.Join(dir, args[0]+".key.jwk"), filepath.Join(dir, args[0]+".jwk")}
			for i, key := range []any{private, public} {
				b, err := json.Marshal(jose.JSONWebKey{Key: key, Algorithm: alg, Use: "sig"})
				if err != nil {
					return err
				}
				f, err := os.OpenFile(paths[i], os.O_WRONLY|os.O_CREATE|os.O_EXCL, os.FileMode([]uint32{0o600, 0o644}[i]))
				if errors.Is(err, os.ErrExist) {
					return fmt.Errorf("%s is there already; a key is not replaced: take another name, or move it away", paths[i])
				}
				if err != nil {
					return err
				}
				_, err = f.Write(append(b, '\n'))
				if err := errors.Join(err, f.Close()); err != nil {
					return err
				}
			}
			return a.show(map[string]string{"private": paths[0], "public": paths[1]}, func(w io.Writer) {
				fmt.Fprintf(w, "%s  private: it stays with the agent\n%s  public: for the manifest, or lanyard credential add %s --public-key %s\n", paths[0], paths[1], args[0], paths[1])
			})
		}}
	c.Flags().StringVar(&dir, "dir", ".", "folder to write to")
	c.Flags().StringVar(&alg, "alg", "EdDSA", "EdDSA (Ed25519) or ES256 (P-256)")
	return c
}

// badge is who a command acts as, and where.
type badge struct{ issuer, gateway, who, key, domain, task string }

func (b *badge) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&b.who, "as", "", "name (of an agent), kind/name, or SPIFFE ID")
	f.StringVar(&b.key, "key", "", "file of its private key")
	f.StringVar(&b.issuer, "issuer", "http://127.0.0.1:8440", "URL of the control plane")
	f.StringVar(&b.gateway, "gateway", "http://127.0.0.1:8441", "URL of the gateway")
	f.StringVar(&b.task, "task", "", "id of the task that it works on")
	f.StringVar(&b.domain, "trust-domain", "lanyard.local", "trust domain of the SPIFFE ID")
	_ = c.MarkFlagRequired("as") // the flag is there
}

// upstream is where an upstream is reached, and what a token for it is for.
func (b *badge) upstream(name string) string { return strings.TrimSuffix(b.gateway, "/") + "/" + name }

// id is the SPIFFE ID.
func (b *badge) id() string {
	if strings.HasPrefix(b.who, "spiffe://") {
		return b.who
	}
	kind, name, both := strings.Cut(b.who, "/")
	if !both {
		kind, name = "agent", b.who
	}
	return "spiffe://" + b.domain + "/" + kind + "/" + name
}

func (b *badge) source() (*client.Source, error) { return b.sourceOver(nil) }

// sourceOver is source with its requests sent by base; nil is the usual.
func (b *badge) sourceOver(base http.RoundTripper) (*client.Source, error) {
	return client.New(client.Config{Issuer: b.issuer, Identity: b.id(), KeyFile: b.key, APIKey: os.Getenv("LANYARD_API_KEY"), Task: b.task, Base: base})
}

func (a *app) call() *cobra.Command {
	var b badge
	var body, behalf, kind string
	var headers []string
	c := &cobra.Command{Use: "call UPSTREAM METHOD PATH --as IDENTITY --key FILE", Short: "Call an upstream through the gateway as an identity would", Args: cobra.ExactArgs(3),
		Long: `Get a token with an identity's key, bind it to a fresh one (DPoP), and send one
request through the gateway: to try a grant, or to see why it does not do.
With an API key instead of --key, set LANYARD_API_KEY. With --on-behalf-of it acts on
behalf of whom the token in that file is about (token exchange, RFC 8693).`,
		Example: `  lanyard call mail GET "/gmail/v1/users/me/messages?q=invoice" --as invoice-bot --key invoice-bot.key.jwk
  lanyard call mail GET /gmail/v1/users/me/profile --as invoice-bot --key invoice-bot.key.jwk --on-behalf-of maya.id_token`,
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := b.source()
			if err != nil {
				return err
			}
			if behalf != "" {
				subject, err := os.ReadFile(behalf)
				if err != nil {
					return err
				}
				types := map[string]string{"id_token": client.IDToken, "access_token": client.AccessToken, "jwt": client.JWT}
				if types[kind] == "" {
					return usage("--subject-token-type %q: use id_token, access_token or jwt", kind)
				}
				source = source.OnBehalf(strings.TrimSpace(string(subject)), types[kind])
			}
			base := b.upstream(args[0])
			var content io.Reader
			if body != "" {
				content = strings.NewReader(body)
			}
			req, err := http.NewRequestWithContext(cmd.Context(), strings.ToUpper(args[1]), base+args[2], content)
			if err != nil {
				return err
			}
			if body != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			for _, h := range headers {
				name, value, ok := strings.Cut(h, ":")
				if !ok {
					return usage("--header %q: want Name: value", h)
				}
				req.Header.Set(name, strings.TrimSpace(value))
			}
			res, err := source.HTTPClient(base).Do(req)
			if err != nil {
				var refused *client.Error
				if errors.As(err, &refused) {
					return exit{exitRefused, refused}
				}
				return err
			}
			defer res.Body.Close()
			if res.StatusCode >= 400 {
				b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
				if err != nil {
					return err
				}
				var p control.Problem
				if json.Unmarshal(b, &p) == nil && p.Detail != "" {
					return exit{exitRefused, fmt.Errorf("%s: %s", res.Status, p.Detail)}
				}
				return exit{exitRefused, fmt.Errorf("%s: %s", res.Status, b)}
			}
			_, err = io.Copy(a.out, res.Body)
			return err
		}}
	f := c.Flags()
	f.StringVarP(&body, "body", "d", "", "JSON to send")
	f.StringArrayVarP(&headers, "header", "H", nil, `"Name: value" to send; can be given again`)
	f.StringVar(&behalf, "on-behalf-of", "", "file with a token of the person, or of the agents, that it is for")
	f.StringVar(&kind, "subject-token-type", "id_token", "what that is: id_token or access_token of an identity provider, or jwt, from Lanyard-On-Behalf-Of")
	b.flags(c)
	return c
}

func (a *app) console() *cobra.Command {
	return &cobra.Command{Use: "console", Short: "Make a link that signs the administrator in at the console, once", Args: cobra.NoArgs,
		Long: `Make a link that signs the local administrator in at the console, once, within ten
minutes. People who are owners sign in as themselves: with an identity provider, a
passkey, or a code of lanyard owner sign-in.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := ask[control.AdminLink](cmd.Context(), a, "POST", "/v1/admin/sign-in", nil)
			if err != nil {
				return err
			}
			return a.show(l, func(w io.Writer) {
				fmt.Fprintf(w, "%s\n\nIt works once, until %s.\n", l.URL, l.Expires.Local().Format("15:04"))
			})
		}}
}

func (a *app) token() *cobra.Command {
	admin := &cobra.Command{Use: "admin", Short: "Make a new admin token, on the machine itself; the old one is dead", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		t, err := ask[control.AdminToken](cmd.Context(), a, "POST", "/v1/admin/token", struct{}{})
		if err != nil {
			return err
		}
		return a.show(t, func(w io.Writer) { fmt.Fprintf(w, "The admin token. It is shown this once:\n\n  %s\n", t.Token) })
	}}
	return noun("token", "Tokens of operators", admin)
}

func (a *app) keys() *cobra.Command {
	text := func(list []control.KeyView) func(io.Writer) {
		return func(w io.Writer) {
			var rows [][]string
			for _, k := range list {
				rows = append(rows, []string{k.ID, k.State, day(k.Created), day(k.Until)})
			}
			table(w, "KEY STATE CREATED GONE", rows)
		}
	}
	list := &cobra.Command{Use: "list", Short: "The keys that sign tokens", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		all, err := pages[control.KeyView](cmd.Context(), a, "/v1/keys", nil)
		if err != nil {
			return err
		}
		return a.show(all, text(all))
	}}
	rotate := &cobra.Command{Use: "rotate", Short: "Make a new signing key; tokens of the old one stay good until they end", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		r, err := ask[control.Rotated](cmd.Context(), a, "POST", "/v1/keys/rotate", struct{}{})
		if err != nil {
			return err
		}
		return a.show(r, func(w io.Writer) {
			fmt.Fprintf(w, "%s signs from a few seconds from now on\n\n", r.ID)
			text(r.Keys)(w)
		})
	}}
	return noun("keys", "The keys that sign tokens", list, rotate)
}
