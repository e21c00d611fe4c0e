package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
)

func (a *app) mcp() *cobra.Command {
	var env, header, prefix, clientID, secretEnv string
	var signIn, resources bool
	var include []string
	catalogue := &cobra.Command{Use: "catalogue URL", Short: "Print what an MCP server offers, to be read and approved", Args: cobra.ExactArgs(1),
		Long: `Ask an MCP server (Streamable HTTP) for its tools, prompts and resource templates, and print
its catalogue. Read it: names, descriptions and annotations are the server's own word.
What you then name in lanyard upstream put --mcp FILE, or in a manifest, is what agents
may be granted; a tool or a prompt that is not in it is refused, and so is an argument
that a tool does not have. With --resources the resources are in it, too, for a server
that has always the same.

What has texts that speak to a model behind your back (hidden instructions, as in known
attacks) is left out, and what was found is said; --include NAME prints it all the same.

A server that wants OAuth is asked with --sign-in: the page to open is printed, the answer
comes back to a port of this machine, and what it gives is forgotten at the end.`,
		Example: `  lanyard mcp catalogue http://127.0.0.1:3001/mcp > notes.json
  lanyard mcp catalogue --sign-in https://mcp.example.com/mcp > example.json
  lanyard upstream put notes --url http://127.0.0.1:3001 --mcp notes.json --owner maya`,
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := url.Parse(args[0])
			if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				return usage("%q is no URL like http://127.0.0.1:3001/mcp", args[0])
			}
			show := &bearer{header: header}
			if env != "" {
				v := os.Getenv(env)
				if v == "" {
					return fmt.Errorf("the environment variable %s is not set", env)
				}
				show.value = prefix + v
			}
			var carrier http.RoundTripper = show
			if signIn {
				var end func()
				if carrier, end, err = a.signIn(u, clientID, secretEnv); err != nil {
					return err
				}
				defer end()
			}
			lists := []string{"prompts", "resourceTemplates"}
			if resources {
				lists = append(lists, "resources")
			}
			b, err := mcp.Fetch(cmd.Context(), &sdk.StreamableClientTransport{Endpoint: args[0], HTTPClient: &http.Client{Transport: carrier}}, u.EscapedPath(), lists...)
			if err != nil && show.refused.Load() {
				return fmt.Errorf("asking %s what it offers: %w; it wants to know who asks: --credential-env NAME shows it a credential, --sign-in signs in by browser", args[0], err)
			}
			if err != nil {
				return fmt.Errorf("asking %s what it offers: %w", args[0], err)
			}
			if b, err = mcp.Unsuspicious(b, func(_, name string, _ []byte) bool { return slices.Contains(include, name) }, a.leftOut); err != nil {
				return fmt.Errorf("what %s offers: %w", args[0], err)
			}
			if _, err := mcp.Open(b); err != nil {
				return exit{exitRefused, err}
			}
			_, err = fmt.Fprintln(a.out, string(b))
			return err
		}}
	f := catalogue.Flags()
	f.StringVar(&env, "credential-env", "", "environment variable with the credential to show the server")
	f.StringVar(&header, "credential-header", "Authorization", "the header it goes into")
	f.StringVar(&prefix, "credential-prefix", "Bearer ", "what stands before it")
	f.BoolVar(&resources, "resources", false, "the resources, too: none but these, and those of templates, can be read then")
	f.StringSliceVar(&include, "include", nil, "what to print although its texts are suspicious: read it first")
	f.BoolVar(&signIn, "sign-in", false, "sign in by browser, to a server that wants OAuth")
	f.StringVar(&clientID, "client-id", "", "client registered there by hand, where none may register itself")
	f.StringVar(&secretEnv, "client-secret-env", "", "environment variable with the secret of that client, if it has one")
	catalogue.MarkFlagsMutuallyExclusive("sign-in", "credential-env")
	return noun("mcp", "MCP servers", catalogue, a.mcpDiff(), a.mcpApprove(), a.mcpRun(), a.mcpOffice(), a.mcpConnect(), a.mcpConfig())
}

func (a *app) mcpConnect() *cobra.Command {
	var b badge
	var path string
	c := &cobra.Command{Use: "connect UPSTREAM --as IDENTITY --key FILE", Short: "Be an MCP server on standard input and output, for clients that start one", Args: cobra.ExactArgs(1),
		Long: `Stand between an MCP client that starts its servers as commands (Claude, Cursor, VS Code
and most others) and an MCP server behind the gateway. The client needs to know
nothing of Lanyard: every message goes through the gateway as this identity.`,
		Example: `  lanyard mcp connect notes --as scribe --key scribe.key.jwk
  lanyard mcp config notes --client claude --as scribe --key scribe.key.jwk`,
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := b.source()
			if err != nil {
				return err
			}
			at := b.upstream(args[0])
			far, err := (&sdk.StreamableClientTransport{Endpoint: at + path, HTTPClient: source.HTTPClient(at)}).Connect(cmd.Context())
			if err != nil {
				return err
			}
			near, err := (&sdk.IOTransport{Reader: io.NopCloser(a.in), Writer: nopCloser{a.out}}).Connect(cmd.Context())
			if err != nil {
				return err
			}
			return bridge(cmd.Context(), near, far, a.errs)
		}}
	b.flags(c)
	c.Flags().StringVar(&path, "path", "/mcp", "path of the server's endpoint")
	return c
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// bridge carries messages between a client and a server until the client ends. A
// request that cannot be carried is answered with why.
func bridge(ctx context.Context, near, far sdk.Connection, errs io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer far.Close()
	go func() {
		for ctx.Err() == nil {
			m, err := far.Read(ctx)
			if err != nil {
				return // what fails is told where it was asked
			}
			if near.Write(ctx, m) != nil {
				cancel()
			}
		}
	}()
	var pending sync.WaitGroup
	defer pending.Wait()
	for {
		m, err := near.Read(ctx)
		if err != nil {
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("reading from the client: %w", err)
		}
		carry := func() {
			err := far.Write(ctx, m)
			if err == nil || ctx.Err() != nil {
				return
			}
			fmt.Fprintln(errs, "lanyard: "+printable(err.Error()))
			if q, ok := m.(*jsonrpc.Request); ok && q.ID.IsValid() {
				_ = near.Write(ctx, &jsonrpc.Response{ID: q.ID, Error: &jsonrpc.Error{Code: mcp.Denied, Message: err.Error()}}) // the client may be gone
			}
		}
		if q, ok := m.(*jsonrpc.Request); ok && q.ID.IsValid() && q.Method != "initialize" { // others come in the order in which they were sent
			pending.Go(carry)
		} else {
			carry()
		}
	}
}

// bearer shows a credential with every request.
type bearer struct {
	header, value string
	refused       atomic.Bool // 401: it wants another, or one at all
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.value != "" {
		r = r.Clone(r.Context())
		r.Header.Set(b.header, b.value)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && res.StatusCode == http.StatusUnauthorized {
		b.refused.Store(true)
	}
	return res, err
}
