package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
)

func (a *app) mcp() *cobra.Command {
	var env, header, prefix string
	catalogue := &cobra.Command{Use: "catalogue URL", Short: "Print what an MCP server offers, to be read and approved", Args: cobra.ExactArgs(1),
		Long: `Ask an MCP server (Streamable HTTP) for its tools and print its catalogue. Read it: names,
descriptions and annotations are the server's own word. What you then name in
lanyard upstream put --mcp FILE, or in a manifest, is what agents may be granted; a
tool that is not in it is refused, and so is an argument it does not have.`,
		Example: `  lanyard mcp catalogue http://127.0.0.1:3001/mcp > notes.json
  lanyard upstream put notes --url http://127.0.0.1:3001 --mcp notes.json --owner maya`,
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := url.Parse(args[0])
			if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				return usage("%q is no URL like http://127.0.0.1:3001/mcp", args[0])
			}
			carrier := &bearer{header: header}
			if env != "" {
				v := os.Getenv(env)
				if v == "" {
					return fmt.Errorf("the environment variable %s is not set", env)
				}
				carrier.value = prefix + v
			}
			session, err := sdk.NewClient(&sdk.Implementation{Name: "lanyard", Version: version}, nil).
				Connect(cmd.Context(), &sdk.StreamableClientTransport{Endpoint: args[0], HTTPClient: &http.Client{Transport: carrier}}, nil)
			if err != nil {
				return fmt.Errorf("connecting to %s: %w", args[0], err)
			}
			defer session.Close()
			out := struct {
				Path  string      `json:"path"`
				Tools []*sdk.Tool `json:"tools"`
			}{Path: u.EscapedPath(), Tools: []*sdk.Tool{}}
			for t, err := range session.Tools(cmd.Context(), nil) {
				if err != nil {
					return fmt.Errorf("listing the tools of %s: %w", args[0], err)
				}
				out.Tools = append(out.Tools, t)
			}
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
	return noun("mcp", "MCP servers", catalogue)
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
