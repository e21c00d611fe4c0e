package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
)

func (a *app) mcp() *cobra.Command {
	var env, header, prefix, clientID, secretEnv string
	var signIn bool
	var include []string
	catalogue := &cobra.Command{Use: "catalogue URL", Short: "Print what an MCP server offers, to be read and approved", Args: cobra.ExactArgs(1),
		Long: `Ask an MCP server (Streamable HTTP) for its tools and print its catalogue. Read it: names,
descriptions and annotations are the server's own word. What you then name in
lanyard upstream put --mcp FILE, or in a manifest, is what agents may be granted; a
tool that is not in it is refused, and so is an argument it does not have.

A tool whose texts speak to a model behind your back (hidden instructions, as in known
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
			tools, err := listTools(cmd.Context(), &sdk.StreamableClientTransport{Endpoint: args[0], HTTPClient: &http.Client{Transport: carrier}})
			if err != nil {
				return fmt.Errorf("asking %s for its tools: %w", args[0], err)
			}
			tools = a.unsuspicious(tools, include)
			out := struct {
				Path  string            `json:"path"`
				Tools []json.RawMessage `json:"tools"`
			}{u.EscapedPath(), tools}
			b, err := json.MarshalIndent(out, "", "  ")
			if err != nil {
				return err
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
	f.StringSliceVar(&include, "include", nil, "tools to print although their texts are suspicious: read them first")
	f.BoolVar(&signIn, "sign-in", false, "sign in by browser, to a server that wants OAuth")
	f.StringVar(&clientID, "client-id", "", "client registered there by hand, where none may register itself")
	f.StringVar(&secretEnv, "client-secret-env", "", "environment variable with the secret of that client, if it has one")
	catalogue.MarkFlagsMutuallyExclusive("sign-in", "credential-env")
	return noun("mcp", "MCP servers", catalogue, a.mcpRun(), a.mcpConnect(), a.mcpConfig())
}

// unsuspicious leaves out the tools whose texts are suspicious, and says which and why.
func (a *app) unsuspicious(tools []json.RawMessage, include []string) []json.RawMessage {
	kept := []json.RawMessage{}
	for _, t := range tools {
		var named struct {
			Name string `json:"name"`
		}
		_ = json.Unmarshal(t, &named) // what has no name is refused when the catalogue is opened
		why := mcp.Suspicious(t)
		if why == "" || slices.Contains(include, named.Name) {
			kept = append(kept, t)
			continue
		}
		fmt.Fprintf(a.errs, "lanyard: left out: tool %s. %s. If you have read it and trust it: --include %s\n", printable(named.Name), printable(why), printable(named.Name))
	}
	return kept
}

// listTools opens a session, and returns every tool exactly as the server describes
// it: what is pinned must be what it says, members that we do not know included.
func listTools(ctx context.Context, t sdk.Transport) ([]json.RawMessage, error) {
	conn, err := t.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	n := int64(0)
	ask := func(method string, params, result any) error {
		b, err := json.Marshal(params)
		if err != nil {
			return err
		}
		n++
		id, err := jsonrpc.MakeID(float64(n))
		if err != nil {
			return err
		}
		if err := conn.Write(ctx, &jsonrpc.Request{ID: id, Method: method, Params: b}); err != nil {
			return err
		}
		for {
			m, err := conn.Read(ctx)
			if err != nil {
				return err
			}
			if r, ok := m.(*jsonrpc.Response); ok && r.ID == id {
				if r.Error != nil {
					return r.Error
				}
				return json.Unmarshal(r.Result, result)
			}
		}
	}
	if err := ask("initialize", map[string]any{"protocolVersion": sessionVersions[0], "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "lanyard", "version": version}}, new(any)); err != nil {
		return nil, err
	}
	if err := conn.Write(ctx, &jsonrpc.Request{Method: "notifications/initialized", Params: json.RawMessage("{}")}); err != nil {
		return nil, err
	}
	all := []json.RawMessage{}
	for cursor, pages := "", 0; pages < 10_000; pages++ {
		params := map[string]any{}
		if cursor != "" {
			params["cursor"] = cursor
		}
		var page struct {
			Tools []json.RawMessage `json:"tools"`
			Next  string            `json:"nextCursor"`
		}
		if err := ask("tools/list", params, &page); err != nil {
			return nil, err
		}
		if all, cursor = append(all, page.Tools...), page.Next; cursor == "" {
			return all, nil
		}
	}
	return nil, errors.New("its list of tools has no end")
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
				_ = near.Write(ctx, &jsonrpc.Response{ID: q.ID, Error: &jsonrpc.Error{Code: -32001, Message: err.Error()}}) // the client may be gone
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
type bearer struct{ header, value string }

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.value != "" {
		r = r.Clone(r.Context())
		r.Header.Set(b.header, b.value)
	}
	return http.DefaultTransport.RoundTrip(r)
}
