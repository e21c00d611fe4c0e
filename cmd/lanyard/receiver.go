package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
)

func (a *app) receiver() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Receivers", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		all, err := pages[control.ReceiverView](cmd.Context(), a, "/v1/receivers", nil)
		if err != nil {
			return err
		}
		return a.show(all, func(w io.Writer) {
			var rows [][]string
			for _, r := range all {
				secret := "none"
				if r.Secret {
					secret = "sealed"
				}
				rows = append(rows, []string{r.Name, r.URL, r.Audience, secret, fmt.Sprint(r.Waiting)})
			}
			table(w, "NAME URL AUDIENCE AUTHORIZATION WAITING", rows)
		})
	}}
	var in control.ReceiverInput
	var env, prefix string
	put := &cobra.Command{Use: "put NAME --url URL", Short: "Have a resource server elsewhere told what ends, or change how", Args: cobra.ExactArgs(1),
		Long: `Have a resource server elsewhere told what ends, or change how. It gets signed
events (CAEP: session-revoked, credential-change, token-claims-change) pushed to its
URL, each until it takes it. Verify that it does with lanyard receiver verify.`,
		Example: `  lanyard receiver put crm --url https://crm.example.com/events
  CRM_TOKEN=... lanyard receiver put crm --url https://crm.example.com/events --audience https://crm.example.com --authorization-env CRM_TOKEN`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if env != "" {
				v := os.Getenv(env)
				if v == "" {
					return fmt.Errorf("the environment variable %s is not set", env)
				}
				v = prefix + v
				in.Authorization = &v
			}
			return a.changed(cmd, "PUT", pathOf("receivers", args[0]), in, "receiver "+args[0]+" is put; lanyard receiver verify "+args[0]+" says whether it takes events")
		}}
	f := put.Flags()
	f.StringVar(&in.URL, "url", "", "where events are pushed: https, or http on this machine")
	f.StringVar(&in.Audience, "audience", "", "aud of what it gets (default its URL)")
	f.StringVar(&env, "authorization-env", "", "environment variable with what it wants in the Authorization header")
	f.StringVar(&prefix, "authorization-prefix", "Bearer ", "what stands before it")
	verify := &cobra.Command{Use: "verify NAME", Short: "Push a verification event to a receiver, now", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		v, err := ask[control.ReceiverVerified](cmd.Context(), a, "POST", pathOf("receivers", args[0], "verify"), nil)
		if err != nil {
			return err
		}
		return a.show(v, func(w io.Writer) { fmt.Fprintf(w, "receiver %s took it in %.0f ms\n", args[0], 1000*v.Seconds) })
	}}
	remove := &cobra.Command{Use: "remove NAME", Short: "Remove a receiver: what it was still to be told it is not told", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return a.changed(cmd, "DELETE", pathOf("receivers", args[0]), nil, "receiver "+args[0]+" is removed")
	}}
	return noun("receiver", "Resource servers elsewhere that are told what ends", list, put, verify, remove)
}
