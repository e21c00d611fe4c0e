package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/lanyard-dev/lanyard/client"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

const (
	checkEvery = 2 * time.Second  // how often we ask whether the identity may still act
	stopGrace  = 10 * time.Second // what an agent has to end in when its identity is killed
	leaveGrace = 2 * time.Second  // what the processes have that an agent leaves behind
)

func (a *app) run() *cobra.Command {
	var b badge
	var o officeAccounts
	var upstreams, servers, env []string
	var stop bool
	c := &cobra.Command{Use: "run --as IDENTITY --key FILE [--upstream NAME] [--mcp NAME] -- COMMAND [ARGUMENT...]", Short: "Start an agent with what it needs, and nothing it should not have", Args: cobra.MinimumNArgs(1),
		Long: `Start a command as an identity. It reaches each upstream that --upstream or --mcp
names through a door on loopback, which sends every request to the gateway with the
identity's token. Key and tokens stay in this process; what the agent gets is a URL
that is good as long as it runs:

  LANYARD_URL_MAIL      where the upstream mail is (one for each; - and . become _)
  LANYARD_GATEWAY       the same without the upstream's name
  LANYARD_MCP_CONFIG    a configuration file for MCP clients, with each --mcp
  LANYARD_IDENTITY      its SPIFFE ID

With --gmail, --drive, --calendar or --graph there is one more MCP server in that file, office:
the tools of lanyard mcp office over those upstreams.

Of your own environment it inherits PATH, HOME, USER, SHELL, LANG, LC_..., TERM, TMPDIR,
TZ and SSL_CERT_...; --env names more. When it ends, so does everything it started, and
its exit code is ours. When its identity is killed, suspended or expired it is
ended within seconds (SIGTERM, after 10 s SIGKILL), with exit code 3.`,
		Example: `  lanyard run --as invoice-bot --key invoice-bot.key.jwk --upstream mail -- python3 agent.py
  lanyard run --as scribe --key scribe.key.jwk --mcp notes -- sh -c 'claude --mcp-config "$LANYARD_MCP_CONFIG"'
  lanyard run --as scribe --key scribe.key.jwk --mcp notes=/v1/mcp --env OPENAI_API_KEY -- ./agent
  lanyard run --as helper --key helper.key.jwk --gmail mail --drive drive --calendar calendar -- sh -c 'claude --mcp-config "$LANYARD_MCP_CONFIG"'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			named, err := namedUpstreams(upstreams, servers)
			if err != nil {
				return err
			}
			if _, taken := named[officeServer]; taken && o.some() {
				return usage("an upstream has the name %s, and so has the MCP server of --gmail, --drive, --calendar and --graph", officeServer)
			}
			if len(named) == 0 && !o.some() {
				return usage("name the upstreams that the agent uses with --upstream, and those that are MCP servers with --mcp")
			}
			return a.runAgent(cmd.Context(), &b, named, &o, env, stop, args)
		}}
	b.flags(c)
	o.flags(c)
	f := c.Flags()
	f.SetInterspersed(false) // what follows the command is the command's
	f.StringArrayVar(&upstreams, "upstream", nil, "upstream it uses; can be given again")
	f.StringArrayVar(&servers, "mcp", nil, "upstream it uses that is an MCP server, as NAME or NAME=/path (default /mcp); can be given again")
	f.StringArrayVar(&env, "env", nil, "variable that it inherits, too; can be given again")
	f.BoolVar(&stop, "stop-when-killed", true, "end it when its identity is killed, suspended or expired")
	return c
}

// namedUpstreams is each upstream's name, to the path of its MCP endpoint if it has one.
func namedUpstreams(upstreams, servers []string) (map[string]string, error) {
	all := map[string]string{}
	for _, name := range upstreams {
		all[name] = ""
	}
	for _, s := range servers {
		name, path, given := strings.Cut(s, "=")
		if !given {
			path = "/mcp"
		}
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#% ") {
			return nil, usage("--mcp %q: want NAME, or NAME=/path", s)
		}
		all[name] = path
	}
	variables := map[string]string{}
	for name := range all {
		if !identity.ValidName(name) {
			return nil, usage("%q is no name of an upstream", name)
		}
		if other, twice := variables[urlVariable(name)]; twice {
			return nil, usage("%s and %s would both be %s", name, other, urlVariable(name))
		}
		variables[urlVariable(name)] = name
	}
	return all, nil
}

// runAgent runs the command from its start to the end of everything it started.
func (a *app) runAgent(ctx context.Context, b *badge, upstreams map[string]string, o *officeAccounts, more []string, stop bool, args []string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	asked := make(chan struct{}, 1)
	d, err := newDoor(b, upstreams, l, func(e *client.Error) {
		select {
		case asked <- struct{}{}: // somebody was told no: is it for good?
		default:
		}
	})
	if err != nil {
		return err
	}
	if o.some() {
		tools, err := o.server(b, d.source)
		if err != nil {
			return err
		}
		d.office = overHTTP(tools)
	}
	if err := d.source.Check(ctx); err != nil {
		var refused *client.Error
		if errors.As(err, &refused) {
			return exit{exitRefused, refused}
		}
		return err
	}
	server := &http.Server{Handler: d, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go server.Serve(l) // ends with Close
	defer server.Close()
	dir, err := os.MkdirTemp("", "lanyard-run-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	config, err := d.mcpConfig(dir)
	if err != nil {
		return err
	}
	env, left := cleanEnv(os.Environ(), more)
	if line := leftOut(left); line != "" {
		fmt.Fprintln(a.errs, line)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.in, a.out, a.errs
	cmd.Env = append(env, d.environment(config)...)
	return a.watchAgent(cmd, d.source, asked, stop)
}

// environment is what the agent is told of the door.
func (d *door) environment(config string) []string {
	env := []string{"LANYARD_IDENTITY=" + d.badge.id(), "LANYARD_GATEWAY=" + d.url(), "LANYARD_MCP_CONFIG=" + config}
	for name := range d.upstreams {
		env = append(env, urlVariable(name)+"="+d.url()+"/"+name)
	}
	return env
}

func urlVariable(upstream string) string {
	return "LANYARD_URL_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(upstream))
}

// mcpConfig writes the configuration for MCP clients into dir and returns its name.
func (d *door) mcpConfig(dir string) (string, error) {
	servers := map[string]any{}
	for name, path := range d.upstreams {
		if path != "" {
			servers[name] = map[string]string{"type": "http", "url": d.url() + "/" + name + path}
		}
	}
	if d.office != nil {
		servers[officeServer] = map[string]string{"type": "http", "url": d.url() + "/" + officeServer + "/mcp"}
	}
	b, err := json.MarshalIndent(map[string]any{"mcpServers": servers}, "", "  ")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "mcp.json")
	return file, os.WriteFile(file, append(b, '\n'), 0o600)
}

// watchAgent starts cmd, hands signals on, and ends it when its identity may not act any more.
func (a *app) watchAgent(cmd *exec.Cmd, source *client.Source, asked <-chan struct{}, stop bool) error {
	if err := adopt(); err != nil {
		return fmt.Errorf("becoming the parent of what the command leaves: %w", err)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	c, err := begin(cmd, false)
	if err != nil {
		return fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // a signal ends the agent, and that ends us
	defer cancel()
	dead := make(chan error, 1)
	if stop {
		go func() { dead <- stopped(ctx, source, asked) }()
	}
	terminal := isTerminal(a.in)
	for {
		select {
		case s := <-signals:
			if terminal && (s == syscall.SIGINT || s == syscall.SIGQUIT) {
				continue // the terminal has sent it to the agent, too
			}
			_ = cmd.Process.Signal(s) // it may have ended
		case why := <-dead:
			fmt.Fprintln(a.errs, "lanyard: the agent is ended: "+printable(why.Error()))
			endAll(c.done, stopGrace)
			return exit{exitRefused, nil}
		case <-c.done:
			endAll(c.done, leaveGrace)
			if code := c.code(); code != 0 {
				return exit{code, nil}
			}
			return nil
		}
	}
}

// stopped waits until the issuer says, twice, that who asks may not act, and returns what it said.
func stopped(ctx context.Context, source *client.Source, asked <-chan struct{}) error {
	said := 0
	for wait := checkEvery; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-asked:
		case <-time.After(wait):
		}
		err := source.Check(ctx)
		var refused *client.Error
		switch {
		case err == nil:
			said, wait = 0, checkEvery
		case errors.As(err, &refused) && refused.Code == "invalid_client":
			if said++; said == 2 {
				return refused
			}
			wait = 500 * time.Millisecond // an assertion made while the issuer started is refused as well, once
		} // an issuer that cannot be reached stops nobody: the gateway does
	}
}

func isTerminal(in any) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
