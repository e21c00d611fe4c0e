// Command lanyard is the whole of Lanyard in one binary: the control plane and
// the gateway (lanyard serve), and everything an operator, an owner or an
// agent's developer asks of them.
//
// It is the only room that sees both wings; here they are wired together.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// version is set by the linker in releases.
var version = "dev"

// The exit codes, as in the help of lanyard.
const (
	exitError       = 1
	exitWouldChange = 2
	exitRefused     = 3
	exitUnverified  = 4
	exitUsage       = 64
)

// exit is an error with an exit code of its own. With no text it was said already.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}
func (e exit) Unwrap() error { return e.err }

func usage(format string, args ...any) error { return exit{exitUsage, fmt.Errorf(format, args...)} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with everything handed in.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	a := &app{in: in, out: out, errs: errs}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	ran, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var e exit
	code := exitError
	var refused *refusedError
	switch {
	case errors.As(err, &e):
		code = e.code
	case errors.As(err, &refused):
		code = exitRefused
	case strings.HasPrefix(err.Error(), "unknown command "), strings.HasPrefix(err.Error(), "required flag(s) "), strings.HasPrefix(err.Error(), "accepts "):
		code = exitUsage // so cobra begins what it says of the command line
		err = fmt.Errorf("%w; see %s --help", err, ran.CommandPath())
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(errs, "lanyard: "+text)
	}
	return code
}

// app is one run of the command.
type app struct {
	in        io.Reader
	out, errs io.Writer
	output    string // text or json
	data      string
	server    string
	reason    string
	wait      bool // until what was changed is in force everywhere
}

const long = `Lanyard gives every agent, bot and service account an identity of its own: owned
by a person, scoped to its job, recorded, and switched off in one step.

  lanyard serve                          control plane and gateway
  lanyard apply -f office/               bring the state to what manifests say
  lanyard audit tail                     watch what happens
  lanyard kill invoice-bot --reason ...  pull the cord

Operators reach a running Lanyard through its Unix socket (in --data), or with
--server, as themselves (lanyard login) or with the admin token in
LANYARD_ADMIN_TOKEN. Every flag can be set in the environment too: --gateway-url as
LANYARD_GATEWAY_URL.

Exit codes:
  0   it worked
  1   it did not
  2   apply --dry-run, mcp diff, migrate --check: something differs
  3   refused: what was asked for is not allowed or has mistakes; nothing changed.
      run: its identity was killed, suspended or expired
  4   audit verify: the ledger is not what was recorded
  64  the command line is wrong`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "lanyard", Short: "Identity and access for agents, bots and service accounts", Long: long,
		SilenceUsage: true, SilenceErrors: true, Version: version,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := environment(cmd.Flags()); err != nil {
				return err
			}
			if a.output != "text" && a.output != "json" {
				return usage("--output %q: use text or json", a.output)
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w; see %s --help", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVarP(&a.output, "output", "o", "text", "text or json")
	flags.StringVar(&a.data, "data", "./data", "data folder of lanyard serve on this machine")
	flags.StringVar(&a.server, "server", "", "URL of a control plane elsewhere; needs lanyard login, or LANYARD_ADMIN_TOKEN")
	group := func(id, title string, commands ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: id, Title: title})
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	group("run", "Run:", a.serve(), a.doctor(), a.status(), a.console(), a.backup(), a.store(), a.migrate())
	group("govern", "Govern:", a.apply(), a.owner(), a.identity(), a.credential(), a.grant(), a.upstream(), a.provider(), a.directory(), a.receiver(), a.mcp(), a.mail(), a.calendar(), a.drive(), a.guardrail(), a.pack(), a.task(), a.approval(), a.gateway(), a.explain())
	group("stop", "Stop:", a.kill(), a.restore(), a.revoke())
	group("record", "Record:", a.audit())
	group("use", "Keys and tokens:", a.login(), a.logout(), a.keygen(), a.run(), a.call(), a.token(), a.keys(), a.seal())
	root.AddCommand(a.versionCommand(), a.reference())
	return root
}

// environment fills flags that were not given from LANYARD_... variables. LANYARD_API_KEY
// is not for the flag --api-key: it is a key, which lanyard call reads.
func environment(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := "LANYARD_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := os.LookupEnv(name); ok && !f.Changed && f.Name != "help" && f.Name != "api-key" {
			if e := flags.Set(f.Name, v); e != nil {
				err = usage("%s=%q: %w", name, v, e)
			}
		}
	})
	return err
}

// require says which flags of a command cannot be left out. They are there.
func require(c *cobra.Command, flags ...string) {
	for _, name := range flags {
		_ = c.MarkFlagRequired(name)
	}
}

// noun is a command that only holds others.
func noun(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage("unknown command %q for %s; see %s --help", args[0], cmd.CommandPath(), cmd.CommandPath())
		}
		return cmd.Help()
	}}
	c.AddCommand(commands...)
	return c
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return a.show(map[string]string{"version": version}, func(w io.Writer) { fmt.Fprintln(w, "lanyard", version) })
	}}
}
