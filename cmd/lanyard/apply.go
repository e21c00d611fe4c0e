package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/control/manifest"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

func (a *app) apply() *cobra.Command {
	var paths []string
	var yes, dry bool
	c := &cobra.Command{
		Use: "apply -f FILE|DIR", Short: "Bring the state to what manifests say", Args: cobra.NoArgs,
		Long: `Show what the manifests would create, change and remove, ask, and do it, all of it
or nothing. Applying the same files again changes nothing.

What a file with a "set" no longer has is removed; without a set nothing ever is.
Keys and descriptions that the files name are read here; so are the secrets of
upstreams, from the environment or from files.`,
		Example: `  lanyard apply -f examples/office
  lanyard apply -f mail.yaml --dry-run      exits 2 when something would change
  lanyard apply -f mail.yaml --yes`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(paths) == 0 {
				return usage("say what to apply: -f FILE or -f DIR")
			}
			req, wrong, err := read(paths)
			if err != nil {
				return err
			}
			req.DryRun = true
			plan, err := ask[control.PlanResult](cmd.Context(), a, "POST", "/v1/apply", req)
			var refused *refusedError
			if err != nil && wrong != nil && !errors.As(err, &refused) { // no server to ask: then what is seen without one
				return &refusedError{control.Problem{Detail: "The files have mistakes; nothing was changed.", Mistakes: wrong}}
			}
			if err != nil {
				return err
			}
			if !dry && len(plan.Steps) > 0 {
				if !yes {
					a.plan(a.errs, plan)
					if ok, err := a.confirm("Apply this?"); err != nil || !ok {
						return or2(err, exit{exitError, fmt.Errorf("nothing was changed")})
					}
				}
				req.DryRun = false
				if plan, err = ask[control.PlanResult](cmd.Context(), a, "POST", "/v1/apply", req); err != nil {
					return err
				}
			}
			r := &feed.Receipt{}
			if plan.Receipt != nil {
				r = plan.Receipt
			}
			if err := a.confirmed(cmd.Context(), plan, r, func(w io.Writer) { a.plan(w, plan) }); err != nil {
				return err
			}
			if dry && len(plan.Steps) > 0 {
				return exit{exitWouldChange, nil}
			}
			return nil
		},
	}
	c.Flags().StringArrayVarP(&paths, "file", "f", nil, "file or folder (its *.yaml and *.yml); can be given again")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&dry, "dry-run", false, "show the plan and change nothing")
	a.waitFlag(c)
	return c
}

func or2(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// read collects the manifests, and what they name; wrong is what is seen to be wrong without asking the server.
func read(paths []string) (req control.ApplyRequest, wrong manifest.Mistakes, err error) {
	var names []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return req, nil, err
		}
		if !info.IsDir() {
			names = append(names, p)
			continue
		}
		found := len(names)
		err = filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if ext := filepath.Ext(path); err == nil && !d.IsDir() && (ext == ".yaml" || ext == ".yml") {
				names = append(names, path)
			}
			return err
		})
		if err != nil {
			return req, nil, err
		}
		if len(names) == found {
			return req, nil, fmt.Errorf("there is no *.yaml or *.yml in %s", p)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		b, err := os.ReadFile(name)
		if err != nil {
			return req, nil, err
		}
		req.Files = append(req.Files, manifest.File{Name: name, Content: string(b)})
	}
	// Mistakes that are seen here are seen by the server, too, which knows of more.
	files, secrets, err := manifest.References(req.Files)
	errors.As(err, &wrong)
	req.Attachments, req.Secrets = map[string][]byte{}, map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil {
			req.Attachments[f] = b
		} else if wrong == nil && !os.IsNotExist(err) { // one that is not there is told with its place
			return req, nil, fmt.Errorf("a file that a manifest names: %w", err)
		}
	}
	for _, s := range secrets {
		if v, ok := os.LookupEnv(s.Env); ok && s.Env != "" && v != "" {
			req.Secrets[s.Name] = v
		}
		if s.File != "" {
			if b, err := os.ReadFile(s.File); err == nil {
				req.Secrets[s.Name] = string(b)
			} else if wrong == nil && !os.IsNotExist(err) {
				return req, nil, fmt.Errorf("%s: %w", s.At, err)
			}
		}
	}
	return req, wrong, nil
}

// plan prints a plan as people read one.
func (a *app) plan(w io.Writer, p control.PlanResult) {
	sign := map[manifest.Op]string{manifest.Create: "+", manifest.Change: "~", manifest.Remove: "-"}
	for _, s := range p.Steps {
		line := fmt.Sprintf("%s %s %s", sign[s.Op], s.Noun, s.Name)
		if s.Note != "" {
			line += "  (" + s.Note + ")"
		}
		fmt.Fprintln(w, printable(line))
		if s.Op != manifest.Change {
			continue
		}
		for _, f := range s.Fields {
			fmt.Fprintln(w, printable(fmt.Sprintf("    %s: %s → %s", f.Field, or(f.From, "(nothing)"), or(f.To, "(nothing)"))))
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintln(w, "note: "+printable(n))
	}
	did := fmt.Sprintf("%d created, %d changed, %d removed.", p.Create, p.Change, p.Remove)
	switch {
	case len(p.Steps) == 0:
		did = "Everything is as the files say; nothing to do."
	case !p.Applied:
		did = fmt.Sprintf("To create: %d, to change: %d, to remove: %d. Nothing was changed.", p.Create, p.Change, p.Remove)
	}
	fmt.Fprintln(w, did)
}
