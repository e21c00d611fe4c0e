package control

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/web"
)

// SignInOptions is how people can sign in, besides with a code.
type SignInOptions struct {
	OIDC    *SignInProvider `json:"oidc"`
	Passkey bool            `json:"passkey"`
}

// SignInProvider is an identity provider that people sign in with.
type SignInProvider struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// console puts the console on mux: its files, and what it needs before anybody is signed in.
func (p *Plane) console(mux *http.ServeMux) {
	mux.Handle("GET /console/", http.StripPrefix("/console", web.Console(p.publicPath()+"/console/", p.nonce)))
	mux.HandleFunc("GET /console/sign-in/options", func(w http.ResponseWriter, r *http.Request) {
		o, err := p.signInOptions(r.Context())
		p.reply(w, "sign-in-options", o, err)
	})
	p.passkeys(mux)
	mux.HandleFunc("POST /console/sign-out", p.form(func(w http.ResponseWriter, r *http.Request) (any, error) {
		var in struct {
			Everywhere bool `json:"everywhere"`
		}
		if err := readJSON(w, r, &in); err != nil {
			return nil, err
		}
		if text := p.issuer.Cookie(r); text != "" {
			if _, err := p.registry.Do(r.Context(), registry.Actor{Source: r.RemoteAddr}, func(c *registry.Change) error { return c.SignOut(text, in.Everywhere) }); err != nil {
				return nil, err
			}
		}
		p.issuer.SetCookie(w, "")
		return struct{}{}, nil
	}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			http.Redirect(w, r, "/console/", http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte("Lanyard " + p.Version + ", control plane.\n\n  " + p.URL + "/console/                                   the console\n  " +
			p.URL + "/openapi.json                               the REST API\n  " +
			p.URL + "/.well-known/oauth-authorization-server     the token issuer\n  " + p.URL + "/healthz /readyz /metrics\n"))
	})
}

// nonce is what only the page that it was made for knows.
func (p *Plane) nonce() string {
	var b [16]byte
	if _, err := io.ReadFull(p.Rand, b[:]); err != nil {
		return "" // no style that is made as the page runs is taken then
	}
	return base64.RawStdEncoding.EncodeToString(b[:])
}

func (p *Plane) signInOptions(ctx context.Context) (o SignInOptions, err error) {
	provider, err := p.issuer.SignInProvider(ctx)
	if err == nil {
		o.OIDC = &SignInProvider{provider.Called(), "oidc/start"}
	} else if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	if _, none := p.webAuthn(); err == nil && none == nil {
		o.Passkey, err = read(ctx, p, (*store.Tx).AnyPasskey)
	}
	return o, err
}

// form answers what a page of the console sends, and no other.
func (p *Plane) form(f func(http.ResponseWriter, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := p.ownPage(r)
		var out any
		if err == nil {
			out, err = f(w, r)
		}
		p.reply(w, r.URL.Path, out, err)
	}
}

// reply writes an answer, or the problem that there is instead.
func (p *Plane) reply(w http.ResponseWriter, what string, out any, err error) {
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		var told *Problem
		if err = problem(err); errors.As(err, &told) {
			if told.cause != nil {
				p.Log.Error("request", "operation", what, "error", told.cause)
			}
			writeProblem(w, told)
		}
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // the caller may be gone
}

// readJSON reads a small body that means one thing; none is {}.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		return invalid("the body could not be read, or is larger than 64 KiB")
	}
	if len(b) == 0 {
		return nil
	}
	if err := strict.Unmarshal(b, v); err != nil {
		return invalid(err.Error())
	}
	return nil
}
