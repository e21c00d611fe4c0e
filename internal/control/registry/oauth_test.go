package registry_test

import (
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestOAuth: what an upstream that is signed in to can be, and what it has when it is.
func TestOAuth(t *testing.T) {
	w := open(t)
	secret := "hush"
	put := func(c *registry.Change, client *string, credential *registry.Secret, change func(*policy.Upstream)) (registry.Outcome, error) {
		u := policy.Upstream{Name: "mail", URL: "https://mail.example.com", Owner: "maya", Family: "patterns", Description: []byte("GET /m/{id} -> m.read read /m/{id}\nPOST /m -> m.send write /m"),
			OAuth: &policy.OAuth{Account: policy.Own, Issuer: "https://as.example.com", Client: "ours", Scopes: []string{"mail.read"}}}
		if change != nil {
			change(&u)
		}
		return c.PutUpstreamOAuth(u, credential, client)
	}
	for says, change := range map[string]func(*policy.Upstream){
		"an account is own or shared":    func(u *policy.Upstream) { u.OAuth.Account = "mine" },
		"name the owner":                 func(u *policy.Upstream) { u.OAuth.Account, u.Owner = policy.Shared, "" },
		"name the issuer to sign in at":  func(u *policy.Upstream) { u.OAuth.Issuer, u.OAuth.Client = "", "" },
		"an https URL":                   func(u *policy.Upstream) { u.OAuth.Issuer = "http://as.example.com" },
		"(http on this machine":          func(u *policy.Upstream) { u.OAuth.Issuer = "http://127.0.0.1:1" },
		"without a query":                func(u *policy.Upstream) { u.OAuth.Issuer = "https://as.example.com?x=y" },
		"as the server itself writes it": func(u *policy.Upstream) { u.OAuth.Issuer = "https://me@as.example.com" },
		"printable ASCII":                func(u *policy.Upstream) { u.OAuth.Client = "a\nb" },
		`"mail.read mail.send" is no`:    func(u *policy.Upstream) { u.OAuth.Scopes = []string{"mail.read mail.send"} },
		`parameter "redirect_uri" is not`: func(u *policy.Upstream) {
			u.OAuth.Parameters = map[string]string{"redirect_uri": "https://evil.example.com"}
		},
		`parameter "state" is not`: func(u *policy.Upstream) { u.OAuth.Parameters = map[string]string{"state": "x"} },
	} {
		w.fails(says, func(c *registry.Change) error { _, err := put(c, nil, nil, change); return err })
	}
	w.fails("no credential of its own", func(c *registry.Change) error { _, err := put(c, nil, &registry.Secret{Value: "x"}, nil); return err })
	w.fails("is of one authorization server", func(c *registry.Change) error { // an MCP server names it, and may name another tomorrow
		_, err := put(c, nil, nil, func(u *policy.Upstream) { u.Family, u.Description, u.OAuth.Issuer = "mcp", []byte(`{"tools":[]}`), "" })
		return err
	})
	w.fails("needs its client_id", func(c *registry.Change) error {
		_, err := put(c, &secret, nil, func(u *policy.Upstream) { u.OAuth.Client = "" })
		return err
	})
	w.fails("a client's secret is of an upstream", func(c *registry.Change) error {
		_, err := put(c, &secret, nil, func(u *policy.Upstream) { u.OAuth = nil })
		return err
	})
	kept := func(name string) (got string) {
		t.Helper()
		if err := w.Store.Read(t.Context(), func(tx *store.Tx) error { b, err := tx.Secret(name); got = string(b); return ignore(err) }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	// A credential it had goes when it is signed in to, and what is said of the change holds no secret.
	w.do(func(c *registry.Change) error {
		_, err := put(c, nil, &registry.Secret{Value: "Bearer static"}, func(u *policy.Upstream) { u.OAuth = nil })
		return err
	})
	w.do(func(c *registry.Change) error {
		out, err := put(c, &secret, nil, nil)
		said := ""
		for _, d := range out.Fields {
			said += d.Field + d.From + d.To + " "
		}
		if !strings.Contains(said, "oauth") || !strings.Contains(said, "client_secretset") || strings.Contains(said, secret) {
			t.Errorf("%v", said)
		}
		return err
	})
	if kept(store.UpstreamSecret("mail")) != "" || kept(store.UpstreamClient("mail")) != secret {
		t.Errorf("credential %q, client secret %q", kept(store.UpstreamSecret("mail")), kept(store.UpstreamClient("mail")))
	}
	w.do(func(c *registry.Change) error { _, err := put(c, nil, nil, nil); return err })
	w.do(func(c *registry.Change) error {
		_, err := put(c, nil, nil, func(u *policy.Upstream) { u.OAuth.Scopes = nil })
		return err
	})
	if kept(store.UpstreamClient("mail")) != secret {
		t.Error("the client's secret went, though the client is the same")
	}
	w.do(func(c *registry.Change) error {
		_, err := put(c, nil, nil, func(u *policy.Upstream) { u.OAuth.Issuer = "https://other.example.com" })
		return err
	})
	if kept(store.UpstreamClient("mail")) != "" {
		t.Error("a client's secret is left for another server")
	}
}

func ignore(err error) error {
	if err == store.ErrNotFound {
		return nil
	}
	return err
}
