// Command server runs the example office.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/lanyard-dev/lanyard/examples/office"
)

const usage = `The example office: a mailbox, files and a calendar, spoken to as Gmail, Drive and Calendar.

  OFFICE_SECRET=something-long server
  server --listen 127.0.0.1:8442 --secret-file ./office.secret

Every request needs "Authorization: Bearer <secret>". Everything is in memory.

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "office:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:8442", "address to listen on")
	file := flags.String("secret-file", "", "file of the secret; default is the environment's OFFICE_SECRET")
	date := flags.String("date", time.Now().UTC().Format(time.DateOnly), "the day around which mail and events lie")
	debug := flags.Bool("debug", false, "show what was received at /debug/requests, the secret too: for tests only")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	secret, err := secret(*file)
	if err != nil {
		return err
	}
	today, err := time.Parse(time.DateOnly, *date)
	if err != nil {
		return fmt.Errorf("--date %s: use YYYY-MM-DD", *date)
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	c := office.Config{Secret: secret, Today: today, Debug: *debug}
	var places net.Listener // for large content of Graph's, which goes to another address than Graph's own
	if at, ok := l.Addr().(*net.TCPAddr); ok && at.IP.IsLoopback() {
		if places, err = net.Listen("tcp", net.JoinHostPort(at.IP.String(), "0")); err != nil {
			return err
		}
		c.Uploads = "http://" + places.Addr().String()
	}
	o, err := office.New(c)
	if err != nil {
		return err
	}
	fmt.Printf("office: listening on http://%s\n", l.Addr())
	s := &http.Server{Handler: o, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { s.Close() })
	if places != nil {
		go s.Serve(places)
	}
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func secret(file string) (string, error) {
	s := os.Getenv("OFFICE_SECRET")
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("reading the secret: %w", err)
		}
		s = string(b)
	}
	if s = strings.TrimSpace(s); s == "" {
		return "", errors.New("there is no secret: set OFFICE_SECRET or give --secret-file")
	}
	return s, nil
}
