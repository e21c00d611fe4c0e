package main

import (
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/postbox"
)

func (a *app) mail() *cobra.Command {
	var in postbox.Config
	var c account
	var security string
	run := &cobra.Command{Use: "run --imap HOST:PORT --smtp HOST:PORT --user USER --password-env VARIABLE", Short: "Put an IMAP and SMTP account behind Gmail's interface, for the gateway", Args: cobra.NoArgs,
		Long: `Serve a mail account that speaks IMAP and SMTP as Gmail's interface has it, so that the
gateway can have it as an upstream like any other: --google gmail/v1, with the same
words, layers and packs. A label is a folder, or UNREAD or STARRED; a thread is one
message. It decides nothing by itself.` + accountHelp,
		Example: `  lanyard mail run --imap imap.example.com:993 --smtp smtp.example.com:465 --user maya@example.com --password-env MAIL_PASSWORD --credential-env MAIL_SECRET
  lanyard upstream put mail --url http://127.0.0.1:3002 --google gmail/v1 --owner maya --credential-env MAIL_SECRET`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.bridge(cmd, c, func(o unlocked) (served, error) {
				in.Security = postbox.Security(security)
				for _, at := range []string{in.IMAP, in.SMTP} {
					if host, _, err := net.SplitHostPort(at); in.Security == postbox.None && (err != nil || !net.ParseIP(host).IsLoopback()) {
						return nil, fmt.Errorf("--security none: %q is not an address of loopback, and a password is not sent elsewhere in the clear", at)
					}
				}
				in.User, in.From, in.Password, in.Credential, in.TLS, in.Log = c.user, c.address, o.password, o.credential, o.tls, o.log
				return postbox.New(in)
			})
		}}
	f := run.Flags()
	f.StringVar(&in.IMAP, "imap", "", "server that keeps the mail")
	f.StringVar(&in.SMTP, "smtp", "", "server that sends it")
	f.StringVar(&security, "security", "tls", "how both are spoken to: tls (from the first byte on), starttls, or none (on loopback)")
	c.flags(run, "127.0.0.1:3002", "from")
	for _, name := range []string{"imap", "smtp"} {
		_ = run.MarkFlagRequired(name) // they are there
	}
	return noun("mail", "Mail accounts that speak IMAP and SMTP", run)
}
