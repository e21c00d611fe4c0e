package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// account is what the commands ask alike that put an account of another protocol behind an interface of Google's.
type account struct {
	user, address                           string
	listen, password, credential, authority string // as flags say it: names of variables, a file
}

// accountHelp is what they say alike of the credential.
const accountHelp = `

Who calls must show a credential as a bearer token: what the variable of
--credential-env holds, else a new one that is printed. Give it to the gateway, which
shows it for agents, and to nobody else.`

func (c *account) flags(cmd *cobra.Command, listen, address string) {
	f := cmd.Flags()
	f.StringVar(&c.listen, "listen", listen, "address to listen on; loopback, as there is no TLS")
	f.StringVar(&c.authority, "ca", "", "file of the authority of the server's certificate (default the system's)")
	f.StringVar(&c.user, "user", "", "the account's name there")
	f.StringVar(&c.address, address, "", "its address of mail (default --user)")
	f.StringVar(&c.password, "password-env", "", "environment variable with its password")
	f.StringVar(&c.credential, "credential-env", "", "environment variable with the credential that callers must show")
	for _, name := range []string{"user", "password-env"} {
		_ = cmd.MarkFlagRequired(name) // they are there
	}
}

// unlocked is an account with what its flags name: its secrets.
type unlocked struct {
	password, credential string
	tls                  *tls.Config // nil: the system's authorities
	log                  *slog.Logger
}

// served is an account's interface.
type served interface {
	http.Handler
	io.Closer
}

// bridge serves what open makes of an account until the command is to end.
func (a *app) bridge(cmd *cobra.Command, c account, open func(unlocked) (served, error)) error {
	in := unlocked{password: os.Getenv(c.password), credential: os.Getenv(c.credential), log: slog.New(slog.NewTextHandler(a.errs, nil))}
	if in.password == "" {
		return fmt.Errorf("the environment variable %s is to hold the account's password", c.password)
	}
	if c.credential == "" {
		in.credential = rand.Text()
	} else if len(in.credential) < 16 {
		return fmt.Errorf("the environment variable %s is to hold a secret of 16 characters or more", c.credential)
	}
	if c.authority != "" {
		b, err := os.ReadFile(c.authority)
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(b) {
			return fmt.Errorf("%s holds no certificate", c.authority)
		}
		in.tls = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	s, err := open(in)
	if err != nil {
		return usage("%v", err)
	}
	l, err := net.Listen("tcp", c.listen)
	if err != nil {
		return err
	}
	if at, ok := l.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		l.Close()
		return usage("--listen %s: it must be an address of loopback, as there is no TLS", c.listen)
	}
	fmt.Fprintf(a.out, "http://%s\n", l.Addr())
	if c.credential == "" {
		fmt.Fprintf(a.out, "credential, shown this once: %s\n", in.credential)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case <-cmd.Context().Done():
	case err = <-ended:
	}
	server.Close()
	_ = s.Close() // the account is left as it is
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}
