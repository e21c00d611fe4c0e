package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

func (a *app) task() *cobra.Command {
	return noun("task", "Pieces of work: what an identity may do for one purpose, and how much of it", a.taskOpen(), a.taskList(), a.taskShow(), a.taskClose())
}

func (a *app) taskOpen() *cobra.Command {
	var in control.TaskInput
	var part control.TaskPart
	var where, budget, on []string
	var scope string
	c := &cobra.Command{Use: "open IDENTITY --purpose TEXT --upstream NAME --action ACTION", Short: "Open a task", Args: cobra.ExactArgs(1),
		Long: `Open a task for an identity. A token for the task reaches only what the task names
of the identity's grants, uses no more than its budget, and dies with it. With
several --upstream the same actions, resources and conditions hold on each; for
different ones, write them into a file and give it with --scope.`,
		Example: `  lanyard task open invoice-bot --purpose "File the invoices of October" --upstream mail --action read --where userId=me --budget calls=100 --until 8h
  lanyard task open invoice-bot --purpose "Pay the rent" --words "please pay the rent" --on maya --scope rent.yaml --budget spend_cents=90000`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			in.Identity = args[0]
			if part.Conditions, err = conditions(where); err != nil {
				return err
			}
			for _, name := range on {
				p := part
				p.Upstream = name
				in.Scope = append(in.Scope, p)
			}
			if scope != "" {
				parts, err := readScope(scope)
				if err != nil {
					return err
				}
				in.Scope = append(in.Scope, parts...)
			}
			if in.Budget, err = amounts(budget); err != nil {
				return err
			}
			t, err := ask[control.TaskOpened](cmd.Context(), a, "POST", "/v1/tasks", in)
			if err != nil {
				return err
			}
			return a.confirmed(cmd.Context(), &t, &t.Receipt, func(w io.Writer) {
				fmt.Fprintf(w, "%s is open for %s until %s\n", t.ID, t.Identity.Name(), t.Until.Local().Format("2006-01-02 15:04"))
			})
		}}
	f := c.Flags()
	f.StringVar(&in.Purpose, "purpose", "", "one sentence on what it is for")
	f.StringVar(&in.Words, "words", "", "what the user said, in the user's own words")
	f.StringVar(&in.On, "on", "", "owner on whose behalf; its tokens then act for that person")
	f.StringArrayVar(&on, "upstream", nil, "a system it needs; can be given again")
	f.StringArrayVar(&part.Actions, "action", nil, "class (read, write, delete, admin), action, or pattern of actions; can be given again")
	f.StringArrayVar(&part.Resources, "resource", nil, "pattern of resources, with *; can be given again (default all)")
	f.StringArrayVar(&where, "where", nil, whereUsage)
	f.StringVar(&scope, "scope", "", "file (YAML) with a list of upstream, actions, resources, conditions")
	f.StringArrayVar(&budget, "budget", nil, "KIND=LIMIT: calls, bytes, or a counter of an upstream; can be given again")
	f.StringVar(&in.Until, "until", "", "its end: 8h, 2027-01-31 (default in 24 hours)")
	return c
}

func amounts(list []string) (map[string]int64, error) {
	all := map[string]int64{}
	for _, s := range list {
		kind, limit, ok := strings.Cut(s, "=")
		n, err := strconv.ParseInt(limit, 10, 64)
		if !ok || err != nil {
			return nil, usage("--budget %q: want KIND=NUMBER", s)
		}
		all[kind] = n
	}
	return all, nil
}

// readScope reads parts of a scope, with the words of a manifest's grants.
func readScope(file string) ([]control.TaskPart, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []struct {
		Upstream   string
		Actions    []string
		Resources  []string
		Conditions map[string]struct {
			Is       string
			OneOf    []string `yaml:"one_of"`
			Like     string
			Min, Max *float64
		}
	}
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var parts []control.TaskPart
	for _, p := range list {
		part := control.TaskPart{Upstream: p.Upstream, Actions: p.Actions, Resources: p.Resources, Conditions: map[string]policy.Condition{}}
		for name, c := range p.Conditions {
			part.Conditions[name] = policy.Condition{Is: c.Is, OneOf: c.OneOf, Like: c.Like, Min: c.Min, Max: c.Max}
		}
		parts = append(parts, part)
	}
	return parts, nil
}

func (a *app) taskList() *cobra.Command {
	var who string
	var all bool
	c := &cobra.Command{Use: "list", Short: "Tasks that are open, and those that wait for a person", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		q := url.Values{}
		if who != "" {
			q.Set("identity", who)
		}
		states := []policy.TaskState{policy.TaskOpen, policy.TaskWaiting}
		if all {
			states = []policy.TaskState{""}
		}
		list := []control.TaskView{}
		for _, state := range states {
			if state != "" {
				q.Set("state", string(state))
			}
			some, err := pages[control.TaskView](cmd.Context(), a, "/v1/tasks", q)
			if err != nil {
				return err
			}
			list = append(list, some...)
		}
		return a.show(list, func(w io.Writer) {
			var rows [][]string
			for _, t := range list {
				rows = append(rows, []string{t.ID, t.Identity.Name(), or(string(t.On), "-"), taskState(t), t.Until.Local().Format("2006-01-02 15:04"), used(t), t.Purpose})
			}
			table(w, "TASK IDENTITY ON-BEHALF-OF STATE UNTIL USED PURPOSE", rows)
		})
	}}
	c.Flags().StringVar(&who, "identity", "", "of this identity")
	c.Flags().BoolVar(&all, "all", false, "those that are closed or were denied, too")
	return c
}

func taskState(t control.TaskView) string {
	if t.State == policy.TaskOpen && !t.Going {
		return "ended"
	}
	return string(t.State)
}

// used is what of the budget is gone, as in calls 3/10.
func used(t control.TaskView) string {
	var words []string
	for _, kind := range sortedKeys(t.Budget) {
		words = append(words, fmt.Sprintf("%s %d/%d", kind, t.Given[kind], t.Budget[kind]))
	}
	return or(strings.Join(words, ", "), "-")
}

func (a *app) taskShow() *cobra.Command {
	return &cobra.Command{Use: "show TASK", Short: "A task, what it names, and what of its budget is used", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		t, err := ask[control.TaskView](cmd.Context(), a, "GET", pathOf("tasks", args[0]), nil)
		if err != nil {
			return err
		}
		return a.show(t, func(w io.Writer) {
			line := func(name, value string) { fmt.Fprintf(w, "%-12s %s\n", name, printable(value)) }
			line("task", t.ID)
			line("identity", t.Identity.String())
			if t.On != "" {
				line("on behalf of", string(t.On))
			}
			line("purpose", t.Purpose)
			if t.Words != "" {
				line("words", t.Words)
			}
			line("state", taskState(t))
			line("until", t.Until.Local().Format("2006-01-02 15:04"))
			switch {
			case t.State == policy.TaskWaiting:
				line("asked by", t.By)
				line("answer by", t.AnswerBy.Local().Format("2006-01-02 15:04")+", at "+t.URL)
			case len(t.Asked) > 0:
				line("asked by", t.By)
			default:
				line("opened by", t.By)
			}
			if t.Note != "" {
				line(string(t.On)+" said", t.Note)
			}
			fmt.Fprintln(w)
			var rows [][]string
			for _, g := range t.Scope {
				what := strings.Join(g.Actions, ", ")
				for _, name := range sortedKeys(g.Where) {
					what += " " + name + "=…"
				}
				rows = append(rows, []string{g.Upstream, what, or(strings.Join(g.Resources, ", "), "all")})
			}
			table(w, "UPSTREAM MAY RESOURCES", rows)
			if len(t.Budget) == 0 {
				return
			}
			fmt.Fprintln(w)
			rows = nil
			for _, kind := range sortedKeys(t.Budget) {
				rows = append(rows, []string{kind, fmt.Sprint(t.Budget[kind]), fmt.Sprint(t.Given[kind])})
			}
			table(w, "BUDGET LIMIT USED-OR-HELD-BY-A-GATEWAY", rows)
		})
	}}
}

func (a *app) taskClose() *cobra.Command {
	var in control.TaskClose
	c := &cobra.Command{Use: "close TASK", Short: "Close a task: its tokens are dead, and what runs under it is cut", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.changed(cmd, "POST", pathOf("tasks", args[0], "close"), in, args[0]+" is closed")
	}}
	c.Flags().StringVar(&in.Reason, "reason", "", "why, for the record")
	a.waitFlag(c)
	return c
}
