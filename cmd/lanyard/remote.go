package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanyard-dev/lanyard/internal/control"
)

// refusedError is an answer that says no.
type refusedError struct{ control.Problem }

func (e *refusedError) Error() string {
	lines := []string{e.Detail}
	for _, m := range e.Mistakes {
		lines = append(lines, "  "+m.String())
	}
	for _, m := range e.Errors {
		lines = append(lines, "  "+strings.TrimPrefix(m.Location, "body.")+": "+m.Message)
	}
	return strings.Join(lines, "\n")
}

func (a *app) socket() string { return filepath.Join(a.data, "lanyard.sock") }

// client returns how to reach the control plane: over its socket, or over the network.
func (a *app) client() (*http.Client, string, error) {
	if a.server != "" {
		if _, err := a.bearer(); err != nil {
			return nil, "", err
		}
		return &http.Client{}, strings.TrimSuffix(a.server, "/"), nil
	}
	path := a.socket()
	if len(path) > 100 { // the kernel takes 107 bytes
		if wd, err := os.Getwd(); err == nil {
			if rel, err := filepath.Rel(wd, path); err == nil {
				path = rel
			}
		}
	}
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}, "http://lanyard", nil
}

// request sends one request and returns its answer, which is not a refusal.
func (a *app) request(ctx context.Context, method, path string, in any) (*http.Response, error) {
	client, base, err := a.client()
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.server != "" {
		token, err := a.bearer()
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, a.unreachable(err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err != nil {
		return nil, err
	}
	e := &refusedError{}
	if json.Unmarshal(b, &e.Problem) != nil || e.Detail == "" {
		e.Detail = fmt.Sprintf("%s answered %s", req.URL.Host, res.Status)
	}
	if e.Status = res.StatusCode; e.Status >= 500 {
		return nil, errors.New(e.Error())
	}
	return nil, e
}

func (a *app) unreachable(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if a.server != "" {
		return fmt.Errorf("%s cannot be reached: %w", a.server, err)
	}
	return fmt.Errorf("no Lanyard is running with the data folder %s (%w); start it with lanyard serve --data %s, or name its folder with --data", a.data, err, a.data)
}

// ask sends in, if any, and decodes the answer.
func ask[T any](ctx context.Context, a *app, method, path string, in any) (out T, err error) {
	res, err := a.request(ctx, method, path, in)
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("reading the answer to %s %s: %w", method, path, err)
	}
	return out, nil
}

// pages reads all pages of a list.
func pages[T any](ctx context.Context, a *app, path string, query url.Values) (all []T, err error) {
	if query == nil {
		query = url.Values{}
	}
	for {
		p, err := ask[control.Page[T]](ctx, a, "GET", path+"?"+query.Encode(), nil)
		if err != nil {
			return nil, err
		}
		if all = append(all, p.Items...); p.Next == "" {
			return all, nil
		}
		query.Set("after", p.Next)
	}
}

// show prints v as JSON, or for people.
func (a *app) show(v any, text func(io.Writer)) error {
	if a.output == "json" {
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	text(a.out)
	return nil
}

// table prints rows under headings, in columns.
func table(w io.Writer, headings string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ReplaceAll(headings, " ", "\t"))
	for _, r := range rows {
		for i := range r {
			r[i] = printable(r[i])
		}
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	t.Flush()
}

// printable keeps what others wrote from moving the cursor of who reads it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}

func day(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.DateOnly)
}

// plural is a number of what there is one or many of.
func plural[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// confirm asks yes or no; without a terminal to ask, it is no.
func (a *app) confirm(question string) (bool, error) {
	f, ok := a.in.(*os.File)
	if ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		ok = err == nil
	}
	if !ok {
		return false, usage("there is no terminal to ask at; give --yes to go on, or --dry-run to look only")
	}
	fmt.Fprint(a.errs, question+" [y/N] ")
	var answer string
	fmt.Fscanln(f, &answer)
	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes"), nil
}

// progress says on stderr how far something is that takes more than a second. Call the result when it is over.
func (a *app) progress(what string, done func() int64) (over func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for said := false; ; said = true {
			select {
			case <-stop:
				if said {
					fmt.Fprintln(a.errs)
				}
				return
			case <-tick.C:
				fmt.Fprintf(a.errs, "\r%s: %d", what, done())
			}
		}
	}()
	return func() { close(stop); <-ended }
}
