package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/client"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/toolbox"
)

// officeAccounts are the upstreams that the tools of mail, files and a calendar work on, by what they speak.
type officeAccounts struct{ gmail, drive, calendar, graph string }

func (o *officeAccounts) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.gmail, "gmail", "", "upstream with mail, as Gmail has it (also one of lanyard mail run)")
	f.StringVar(&o.drive, "drive", "", "upstream with files, as Google Drive has them")
	f.StringVar(&o.calendar, "calendar", "", "upstream with a calendar, as Google Calendar has it")
	f.StringVar(&o.graph, "graph", "", "upstream with those of the three that the others have not, as Microsoft Graph has them")
}

// officeServer is the name of the server of these tools in a configuration for MCP clients.
const officeServer = "office"

func (o *officeAccounts) some() bool { return o.gmail+o.drive+o.calendar+o.graph != "" }

// named are the flags by which these are named.
func (o *officeAccounts) named() (args []string) {
	for _, f := range [][2]string{{"--gmail", o.gmail}, {"--drive", o.drive}, {"--calendar", o.calendar}, {"--graph", o.graph}} {
		if f[1] != "" {
			args = append(args, f[0], f[1])
		}
	}
	return args
}

// check finds a name that is none.
func (o *officeAccounts) check() error {
	for _, name := range []string{o.gmail, o.drive, o.calendar, o.graph} {
		if name != "" && !identity.ValidName(name) {
			return usage("%q is no name of an upstream", name)
		}
	}
	return nil
}

// server is the tools over these accounts, at the gateway of b, as who source gets tokens for.
func (o *officeAccounts) server(b *badge, source *client.Source) (*sdk.Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if !o.some() {
		return nil, usage("name the upstreams with --gmail, --drive and --calendar, or with --graph")
	}
	at := func(google string) toolbox.Account {
		name, graph := google, false
		if name == "" {
			name, graph = o.graph, true
		}
		if name == "" {
			return toolbox.Account{}
		}
		return toolbox.Account{URL: b.upstream(name), Graph: graph, HTTP: source.HTTPClient(b.upstream(name))}
	}
	return toolbox.New(toolbox.Config{Mail: at(o.gmail), Files: at(o.drive), Calendar: at(o.calendar), Now: time.Now, Version: version})
}

// overHTTP serves tools as Streamable HTTP.
func overHTTP(tools *sdk.Server) http.Handler {
	return sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return tools }, &sdk.StreamableHTTPOptions{SessionTimeout: time.Hour})
}

func (a *app) mcpOffice() *cobra.Command {
	var b badge
	var o officeAccounts
	var listen, credential string
	c := &cobra.Command{Use: "office --as IDENTITY --key FILE [--gmail NAME] [--drive NAME] [--calendar NAME] [--graph NAME]", Short: "Be an MCP server for mail, files and a calendar, over the accounts behind the gateway", Args: cobra.NoArgs,
		Long: `Serve a few tools for mail, files and a calendar, the same whichever system has them:
search_mail, read_mail, draft_mail, send_mail, move_mail; list_files, search_files, read_file,
create_file, share_file; list_events, create_event, update_event, delete_event.

It speaks on standard input and output, for clients that start their servers as
commands; with --listen as Streamable HTTP at /mcp, to who shows the credential of
--credential-env, or else a new one that is printed.

It stands on the agent's side. What a tool does is requests through the gateway as
this identity, so grants, layers, guardrails and approvals hold there, and a no
becomes the tool's error. It decides nothing by itself.`,
		Example: `  lanyard mcp office --as helper --key helper.key.jwk --gmail mail --drive drive --calendar calendar
  lanyard mcp office --as helper --key helper.key.jwk --graph graph
  lanyard mcp office --as helper --key helper.key.jwk --gmail mail --listen 127.0.0.1:3003 --credential-env OFFICE_TOOLS`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			source, err := b.source()
			if err != nil {
				return err
			}
			server, err := o.server(&b, source)
			if err != nil {
				return err
			}
			if listen != "" {
				return a.serveTools(cmd.Context(), server, listen, credential)
			}
			if credential != "" {
				return usage("--credential-env is for callers over HTTP: give --listen, too")
			}
			err = server.Run(cmd.Context(), &sdk.IOTransport{Reader: io.NopCloser(a.in), Writer: nopCloser{a.out}})
			if errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}}
	b.flags(c)
	o.flags(c)
	c.Flags().StringVar(&listen, "listen", "", "address to listen on, in place of standard input; loopback, as there is no TLS")
	c.Flags().StringVar(&credential, "credential-env", "", "environment variable with the credential that callers must show")
	return c
}

// serveTools serves over HTTP until ctx ends, to who shows the credential.
func (a *app) serveTools(ctx context.Context, tools *sdk.Server, listen, variable string) error {
	secret := rand.Text()
	if variable != "" {
		if secret = os.Getenv(variable); len(secret) < 16 {
			return fmt.Errorf("the environment variable %s is to hold a secret of 16 characters or more", variable)
		}
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	if at, ok := l.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		l.Close()
		return usage("--listen %s: it must be an address of loopback, as there is no TLS", listen)
	}
	fmt.Fprintf(a.out, "http://%s/mcp\n", l.Addr())
	if variable == "" {
		fmt.Fprintf(a.out, "credential, shown this once: %s\n", secret)
	}
	speak := overHTTP(tools)
	mux := http.NewServeMux()
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || subtle.ConstantTimeCompare([]byte(given), []byte(secret)) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "Show the credential of this server.", http.StatusUnauthorized)
			return
		}
		speak.ServeHTTP(w, r)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	server.Close()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}
