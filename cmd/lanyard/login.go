package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/control"
)

// kept is where this user's sessions are, by the server's address.
func kept() (string, error) {
	dir, err := os.UserConfigDir()
	return filepath.Join(dir, "lanyard", "sessions.json"), err
}

func sessions() (map[string]string, error) {
	all := map[string]string{}
	path, err := kept()
	if err != nil {
		return all, nil // there is no such place, and so nothing in it
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		if err = json.Unmarshal(b, &all); err != nil {
			err = fmt.Errorf("%s is damaged: remove it, and lanyard login again", path)
		}
	}
	return all, err
}

// keepSession keeps the session at a server for this user alone; "" forgets it.
func keepSession(server, token string) error {
	all, err := sessions()
	path, err2 := kept()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if all[server] = token; token == "" {
		delete(all, server)
	}
	b, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "sessions") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// bearer is what is shown at the server that was named: the admin token, or the session of lanyard login.
func (a *app) bearer() (string, error) {
	if token := os.Getenv("LANYARD_ADMIN_TOKEN"); token != "" {
		return token, nil
	}
	all, err := sessions()
	if err == nil && all[strings.TrimSuffix(a.server, "/")] == "" {
		err = errors.New("--server needs the admin token in LANYARD_ADMIN_TOKEN, or lanyard login --server " + a.server + " first")
	}
	return all[strings.TrimSuffix(a.server, "/")], err
}

func (a *app) login() *cobra.Command {
	return &cobra.Command{Use: "login --server URL", Short: "Sign in at a control plane elsewhere, as yourself, with a browser", Args: cobra.NoArgs,
		Long: `Sign in at the control plane of --server as yourself. You let this program in at a
browser, on any machine, in which you are signed in there (RFC 8628). From then on
commands with --server may do what your roles let you do, for a day; what they are
let in with is kept in your configuration folder, for you alone. LANYARD_ADMIN_TOKEN,
where it is set, goes before it.`,
		Example: `  lanyard login --server https://lanyard.example.com:8440
  lanyard identity list --server https://lanyard.example.com:8440
  lanyard logout --server https://lanyard.example.com:8440`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.server == "" {
				return usage("say where, with --server; on the machine itself no sign-in is needed")
			}
			server := strings.TrimSuffix(a.server, "/")
			var asked struct {
				Device   string `json:"device_code"`
				User     string `json:"user_code"`
				URL      string `json:"verification_uri"`
				Complete string `json:"verification_uri_complete"`
				Interval int    `json:"interval"`
			}
			if code, err := a.form(cmd.Context(), server+"/console/device/authorization", url.Values{"client_id": {"lanyard"}}, &asked); err != nil || code != "" {
				return errors.Join(err, said(code))
			}
			fmt.Fprintf(a.errs, "Open this in a browser, and let in the program that shows the code %s:\n\n  %s\n\n", printable(asked.User), printable(asked.Complete))
			for {
				select {
				case <-cmd.Context().Done():
					return cmd.Context().Err()
				case <-time.After(time.Duration(max(asked.Interval, 1)) * time.Second):
				}
				var got struct {
					Token string `json:"access_token"`
				}
				code, err := a.form(cmd.Context(), server+"/console/device/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {asked.Device}, "client_id": {"lanyard"}}, &got)
				switch {
				case code == "authorization_pending":
					continue
				case err != nil || code != "":
					return errors.Join(err, said(code))
				}
				if err := keepSession(server, got.Token); err != nil {
					return err
				}
				fmt.Fprintln(a.out, "You are signed in at "+server+". lanyard logout --server "+server+" ends it.")
				return nil
			}
		}}
}

func (a *app) logout() *cobra.Command {
	return &cobra.Command{Use: "logout --server URL", Short: "End the session of lanyard login", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if a.server == "" {
			return usage("say where, with --server")
		}
		server := strings.TrimSuffix(a.server, "/")
		all, err := sessions()
		if err != nil || all[server] == "" {
			return errors.Join(err, fmt.Errorf("nobody is signed in at %s", server))
		}
		os.Unsetenv("LANYARD_ADMIN_TOKEN") // it is not what is to end
		me, err := ask[control.Me](cmd.Context(), a, "GET", "/v1/me", nil)
		if err == nil {
			_, err = ask[struct{}](cmd.Context(), a, "DELETE", pathOf("me", "sessions", me.Session.ID), nil)
		}
		var no *refusedError
		if errors.As(err, &no) && no.Status == http.StatusUnauthorized {
			err = nil // it has ended
		}
		if err = errors.Join(err, keepSession(server, "")); err != nil {
			return err
		}
		fmt.Fprintln(a.out, "You are signed out of "+server+".")
		return nil
	}}
}

func said(code string) error {
	switch code {
	case "":
		return nil
	case "access_denied":
		return errors.New("it was not let in")
	case "expired_token":
		return errors.New("nobody let it in within ten minutes; begin again")
	}
	return fmt.Errorf("the server said no: %s", printable(code))
}

// form sends one, and reads the answer into v, or the code of a refusal.
func (a *app) form(ctx context.Context, to string, form url.Values, v any) (code string, err error) {
	req, err := http.NewRequestWithContext(ctx, "POST", to, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", "lanyard "+version)
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return "", a.unreachable(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return "", err
	}
	var no struct {
		Code string `json:"error"`
	}
	if res.StatusCode == http.StatusOK {
		return "", json.Unmarshal(b, v)
	}
	if json.Unmarshal(b, &no) != nil || no.Code == "" {
		return "", fmt.Errorf("%s answered %s", req.URL.Host, res.Status)
	}
	return no.Code, nil
}
