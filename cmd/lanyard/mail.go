package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/postbox"
)

func (a *app) mail() *cobra.Command {
	var in postbox.Config
	var listen, security, password, credential, authority string
	run := &cobra.Command{Use: "run --imap HOST:PORT --smtp HOST:PORT --user USER --password-env VARIABLE", Short: "Put an IMAP and SMTP account behind Gmail's interface, for the gateway", Args: cobra.NoArgs,
		Long: `Serve a mail account that speaks IMAP and SMTP as Gmail's interface has it, so that the
gateway can have it as an upstream like any other: --google gmail/v1, with the same
words, layers and packs. A label is a folder, or UNREAD or STARRED; a thread is one
message. It decides nothing by itself.

Who calls must show a credential as a bearer token: what the variable of
--credential-env holds, else a new one that is printed. Give it to the gateway, which
shows it for agents, and to nobody else.`,
		Example: `  lanyard mail run --imap imap.example.com:993 --smtp smtp.example.com:465 --user maya@example.com --password-env MAIL_PASSWORD --credential-env MAIL_SECRET
  lanyard upstream put mail --url http://127.0.0.1:3002 --google gmail/v1 --owner maya --credential-env MAIL_SECRET`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in.Security, in.Log = postbox.Security(security), slog.New(slog.NewTextHandler(a.errs, nil))
			if in.Password = os.Getenv(password); in.Password == "" {
				return fmt.Errorf("the environment variable %s is to hold the account's password", password)
			}
			if credential == "" {
				in.Credential = rand.Text()
			} else if in.Credential = os.Getenv(credential); len(in.Credential) < 16 {
				return fmt.Errorf("the environment variable %s is to hold a secret of 16 characters or more", credential)
			}
			if authority != "" {
				b, err := os.ReadFile(authority)
				if err != nil {
					return err
				}
				pool := x509.NewCertPool()
				if !pool.AppendCertsFromPEM(b) {
					return fmt.Errorf("%s holds no certificate", authority)
				}
				in.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
			}
			for _, at := range []string{in.IMAP, in.SMTP} {
				if host, _, err := net.SplitHostPort(at); in.Security == postbox.None && (err != nil || !net.ParseIP(host).IsLoopback()) {
					return usage("--security none: %q is not an address of loopback, and a password is not sent elsewhere in the clear", at)
				}
			}
			p, err := postbox.New(in)
			if err != nil {
				return usage("%v", err)
			}
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return err
			}
			if at, ok := l.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
				l.Close()
				return usage("--listen %s: it must be an address of loopback, as there is no TLS", listen)
			}
			fmt.Fprintf(a.out, "http://%s\n", l.Addr())
			if credential == "" {
				fmt.Fprintf(a.out, "credential, shown this once: %s\n", in.Credential)
			}
			server := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
			ended := make(chan error, 1)
			go func() { ended <- server.Serve(l) }()
			select {
			case <-cmd.Context().Done():
			case err = <-ended:
			}
			server.Close()
			_ = p.Close() // the account is left as it is
			if errors.Is(err, http.ErrServerClosed) {
				err = nil
			}
			return err
		}}
	f := run.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:3002", "address to listen on; loopback, as there is no TLS")
	f.StringVar(&in.IMAP, "imap", "", "server that keeps the mail")
	f.StringVar(&in.SMTP, "smtp", "", "server that sends it")
	f.StringVar(&security, "security", "tls", "how both are spoken to: tls (from the first byte on), starttls, or none (on loopback)")
	f.StringVar(&authority, "ca", "", "file of the authority of their certificates (default the system's)")
	f.StringVar(&in.User, "user", "", "the account's name there")
	f.StringVar(&in.From, "from", "", "its address (default --user)")
	f.StringVar(&password, "password-env", "", "environment variable with its password")
	f.StringVar(&credential, "credential-env", "", "environment variable with the credential that callers must show")
	for _, name := range []string{"imap", "smtp", "user", "password-env"} {
		_ = run.MarkFlagRequired(name) // they are there
	}
	return noun("mail", "Mail accounts that speak IMAP and SMTP", run)
}
