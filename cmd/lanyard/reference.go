package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lanyard-dev/lanyard/internal/control"
)

//go:generate go run . reference ../../docs/reference

// reference writes the reference from the code, for docs/reference.
func (a *app) reference() *cobra.Command {
	return &cobra.Command{Use: "reference FOLDER", Short: "Write the reference of commands, configuration and API", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := (&control.Plane{Config: control.Config{Version: "v1", Log: slog.New(slog.DiscardHandler), Now: time.Now}}).OpenAPI()
			if err != nil {
				return err
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			write := func(name string, b []byte) error { return os.WriteFile(filepath.Join(args[0], name), b, 0o644) }
			var cli bytes.Buffer
			fmt.Fprint(&cli, "# Commands\n\nWritten by `go generate ./cmd/lanyard` from the code.\n\n")
			commands(&cli, cmd.Root())
			return errors.Join(write("cli.md", cli.Bytes()), write("configuration.md", configuration(cmd.Root())), write("openapi.json", append(api, '\n')))
		}}
}

func commands(w io.Writer, c *cobra.Command) {
	if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
		return
	}
	c.InitDefaultHelpFlag()
	fmt.Fprintf(w, "## %s\n\n%s.\n\n", c.CommandPath(), c.Short)
	if c.Long != "" {
		fmt.Fprintf(w, "```text\n%s\n```\n\n", c.Long)
	}
	if c.Runnable() {
		fmt.Fprintf(w, "```\n%s\n```\n\n", c.UseLine())
	}
	if c.Example != "" {
		fmt.Fprintf(w, "Examples:\n\n```\n%s\n```\n\n", c.Example)
	}
	if flags := c.NonInheritedFlags().FlagUsages(); c.Runnable() && flags != "" {
		fmt.Fprintf(w, "```\n%s```\n\n", flags)
	}
	for _, sub := range c.Commands() {
		commands(w, sub)
	}
}

// configuration is the flags of lanyard serve with their variables.
func configuration(root *cobra.Command) []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, "# Configuration of lanyard serve\n\nWritten by `go generate ./cmd/lanyard` from the code. Each setting is a flag or an environment variable; the flag wins.\n\n| flag | variable | default | what |\n|---|---|---|---|\n")
	serve, _, err := root.Find([]string{"serve"})
	if err != nil {
		return nil
	}
	serve.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			fmt.Fprintf(&b, "| `--%s` | `LANYARD_%s` | `%s` | %s |\n", f.Name, strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")), f.DefValue, f.Usage)
		}
	})
	return b.Bytes()
}
