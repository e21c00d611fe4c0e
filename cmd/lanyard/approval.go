package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

func (a *app) approval() *cobra.Command {
	var state string
	list := &cobra.Command{Use: "list", Short: "Questions to people, the newest first", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		q := url.Values{}
		if state != "" {
			q.Set("state", state)
		}
		all, err := ask[control.Page[control.ApprovalView]](cmd.Context(), a, "GET", "/v1/approvals?"+q.Encode(), nil)
		if err != nil {
			return err
		}
		return a.show(all.Items, func(w io.Writer) {
			var rows [][]string
			for _, v := range all.Items {
				rows = append(rows, []string{v.ID, string(v.State), v.Identity.Name(), v.Upstream, v.Action, v.Resource, v.Who, v.Asked.UTC().Format("01-02 15:04")})
			}
			table(w, "APPROVAL STATE IDENTITY UPSTREAM ACTION RESOURCE WHO ASKED", rows)
		})
	}}
	list.Flags().StringVar(&state, "state", "", "waiting, approved, standing, denied, used or expired")
	show := &cobra.Command{Use: "show APPROVAL", Short: "A question and what was said; the request itself only where operators may decide", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		v, err := ask[control.ApprovalView](cmd.Context(), a, "GET", pathOf("approvals", args[0]), nil)
		if err != nil {
			return err
		}
		return a.show(v, func(w io.Writer) { showApproval(w, v) })
	}}
	var yes control.ApproveInput
	approve := &cobra.Command{Use: "approve APPROVAL", Short: "Say yes as an operator, where a policy names operators", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		v, err := ask[control.ApprovalAnswered](cmd.Context(), a, "POST", pathOf("approvals", args[0], "approve"), yes)
		if err != nil {
			return err
		}
		return a.confirmed(cmd.Context(), &v, &v.Receipt, func(w io.Writer) { fmt.Fprintf(w, "%s is %s\n", v.ID, v.State) })
	}}
	approve.Flags().StringVar(&yes.Scope, "scope", "", "once, task or lasting (default once)")
	approve.Flags().StringVar(&yes.Until, "until", "", "the end of a lasting one: 7d, 2027-01-31")
	approve.Flags().StringVar(&yes.Note, "note", "", "for who asked, and for the record")
	var no control.DenyInput
	deny := &cobra.Command{Use: "deny APPROVAL", Short: "Say no", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		v, err := ask[control.ApprovalAnswered](cmd.Context(), a, "POST", pathOf("approvals", args[0], "deny"), no)
		if err != nil {
			return err
		}
		return a.confirmed(cmd.Context(), &v, &v.Receipt, func(w io.Writer) { fmt.Fprintf(w, "%s is %s\n", v.ID, v.State) })
	}}
	deny.Flags().StringVar(&no.Note, "note", "", "for who asked, and for the record")
	deny.Flags().BoolVar(&no.Kill, "kill", false, "and pull the cord on who asked")
	var since string
	stats := &cobra.Command{Use: "stats", Short: "How often people are asked, and how fast they say yes", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		q := url.Values{}
		if since != "" {
			q.Set("since", since)
		}
		s, err := ask[control.ApprovalStats](cmd.Context(), a, "GET", "/v1/approvals/stats?"+q.Encode(), nil)
		if err != nil {
			return err
		}
		return a.show(s, func(w io.Writer) {
			fmt.Fprintf(w, "%s since %s\n\n", plural(s.Asked, "question", "questions"), day(s.Since))
			var rows [][]string
			for _, p := range s.Approvers {
				rows = append(rows, []string{p.By, fmt.Sprint(p.Asked), fmt.Sprint(p.Approved), fmt.Sprint(p.Denied), fmt.Sprint(p.Expired), or(p.Median, "-"), or(p.Fastest, "-"), fmt.Sprint(p.Hasty)})
			}
			table(w, "APPROVER ASKED APPROVED DENIED EXPIRED MEDIAN FASTEST WITHIN-3S", rows)
		})
	}}
	stats.Flags().StringVar(&since, "since", "", "how far back: 7d, 2026-11-01 (default 30d)")
	return noun("approval", "What people are asked before it is done", list, show, approve, deny, stats)
}

func showApproval(w io.Writer, v control.ApprovalView) {
	line := func(name, value string) { fmt.Fprintf(w, "%-10s %s\n", name, printable(value)) }
	line("approval", v.ID)
	line("state", string(v.State))
	line("identity", v.Identity.String())
	line("chain", strings.Join(chainNames(v.Chain), " for "))
	line("action", fmt.Sprintf("%s (%s) on %s", v.Action, v.Class, v.Upstream))
	line("resource", v.Resource)
	line("why", v.Why)
	line("who", v.Who)
	line("asked", v.Asked.UTC().Format(time.RFC3339))
	line("expires", v.Expires.UTC().Format(time.RFC3339))
	line("page", v.URL)
	line("hash", v.Hash)
	for _, d := range v.Decisions {
		word := "no"
		if d.Yes {
			word = "yes, " + string(d.Scope)
		}
		line(d.By, strings.TrimSpace(word+"  "+d.Note))
	}
	if s := v.Shown; s != nil {
		fmt.Fprintf(w, "\n%s %s\n", v.Method, printable(s.Target))
		for _, h := range s.Headers {
			fmt.Fprintln(w, printable(h))
		}
		for l := range strings.Lines("\n" + s.Body) {
			fmt.Fprintln(w, printable(strings.TrimSuffix(l, "\n")))
		}
		if s.Cut || s.Binary {
			fmt.Fprintf(w, "(all of it: %d bytes, SHA-256 %s)\n", s.Size, s.SHA256)
		}
	}
}

func chainNames(c identity.Chain) (list []string) {
	for _, l := range c {
		list = append(list, l.ID.Name())
	}
	return list
}

func names(owners []identity.OwnerID) (list []string) {
	for _, o := range owners {
		list = append(list, string(o))
	}
	return list
}
