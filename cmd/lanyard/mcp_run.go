package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) mcpRun() *cobra.Command {
	var listen, credential string
	var env []string
	h := &stdioHost{sessions: map[string]*stdioSession{}, live: map[*stdioSession]bool{}}
	c := &cobra.Command{Use: "run --listen ADDRESS -- COMMAND [ARGUMENT...]", Short: "Put an MCP server that is a command behind HTTP, for the gateway", Args: cobra.MinimumNArgs(1),
		Long: `Serve an MCP server that speaks on standard input and output as Streamable HTTP at
/mcp, so that the gateway can have it as an upstream. Each session has a process of
its own, so that callers never share one. A process inherits PATH, HOME and the like,
and what --env names, and nothing else of your environment. One that dies, or
writes what is no message, ends its session; the others go on.

Who calls must show a credential as a bearer token: what the variable of
--credential-env holds, else a new one that is printed. Give it to the gateway, which
shows it for agents, and to nobody else. Clients that speak 2026-07-28 only are told
to speak 2025-11-25, as a process needs a session.`,
		Example: `  export FILES_SECRET=$(openssl rand -hex 32)
  lanyard mcp run --listen 127.0.0.1:3001 --credential-env FILES_SECRET -- npx @modelcontextprotocol/server-filesystem /srv/files
  lanyard mcp catalogue http://127.0.0.1:3001/mcp --credential-env FILES_SECRET > files.json
  lanyard upstream put files --url http://127.0.0.1:3001 --mcp files.json --owner maya --credential-env FILES_SECRET`,
		RunE: func(cmd *cobra.Command, args []string) error {
			h.command = args
			if h.most < 1 || h.idle <= 0 {
				return usage("--sessions and --idle must be more than nothing")
			}
			var left []string
			h.env, left = cleanEnv(os.Environ(), env)
			left = slices.DeleteFunc(left, func(name string) bool { return name == credential })
			if line := leftOut(left); line != "" {
				fmt.Fprintln(a.errs, line)
			}
			h.log = slog.New(slog.NewTextHandler(a.errs, nil))
			if credential == "" {
				h.credential = rand.Text()
			} else if h.credential = os.Getenv(credential); len(h.credential) < 16 {
				return fmt.Errorf("the environment variable %s is to hold a secret of 16 characters or more", credential)
			}
			return a.serveStdio(cmd.Context(), h, listen, credential == "")
		}}
	f := c.Flags()
	f.SetInterspersed(false) // what follows the command is the command's
	f.StringVar(&listen, "listen", "127.0.0.1:3001", "address to listen on; loopback, as there is no TLS")
	f.StringArrayVar(&env, "env", nil, "variable that the command inherits, too; can be given again")
	f.StringVar(&credential, "credential-env", "", "environment variable with the credential that callers must show")
	f.DurationVar(&h.idle, "idle", 10*time.Minute, "end a session that nobody has used for so long")
	f.IntVar(&h.most, "sessions", 64, "how many sessions there may be at once")
	return c
}

// serveStdio serves until ctx ends, and ends every process.
func (a *app) serveStdio(ctx context.Context, h *stdioHost, listen string, tell bool) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	if at, ok := l.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		l.Close()
		return usage("--listen %s: it must be an address of loopback, as there is no TLS", listen)
	}
	if err := adopt(); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "http://%s/mcp\n", l.Addr())
	if tell {
		fmt.Fprintf(a.out, "credential, shown this once: %s\n", h.credential)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	server.Close()
	h.endAll("lanyard mcp run was stopped")
	over := make(chan struct{})
	close(over)
	endAll(over, 0) // what has left its process group
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}
