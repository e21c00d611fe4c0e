package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/test/port"
)

// passkeyScript is what a page does with passkeys: the encodings are the browser's own (WebAuthn level 3, toJSON).
const passkeyScript = `
const send = async (path, body) => { const r = await fetch(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)}); return [r.status, await r.json()] };
const make = async () => {
  const [status, o] = await send("/v1/me/passkeys/begin", {}); if (status != 200) return status + " " + o.detail;
  const c = await navigator.credentials.create({publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(o.publicKey)});
  const [done, k] = await send("/v1/me/passkeys/finish", c.toJSON()); return done + " " + (k.detail ?? k.id);
};
const show = async (twice) => {
  const [status, o] = await send("/console/passkey/begin", {}); if (status != 200) return status + " " + o.detail;
  const c = await navigator.credentials.get({publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(o.publicKey)});
  const [done, k] = await send("/console/passkey/finish", c.toJSON());
  if (!twice) return done + " " + (k.detail ?? "");
  const [again] = await send("/console/passkey/finish", c.toJSON()); return done + " " + again;
};
`

// TestPasskey: the administrator makes a passkey in a browser, and signs in with it from then on, until it is removed.
func TestPasskey(t *testing.T) {
	t.Parallel()
	addr := port.Free()
	_, at, _ := strings.Cut(addr, ":")
	url := "http://localhost:" + at
	h := build(t, "--listen", addr, "--url", url)
	ctx, _ := chrome(t)
	err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if _, err := cdp.Call(ctx, target, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return err
		}
		if _, err := cdp.Call(ctx, target, page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true}); err != nil { // the test's script is none of ours
			return err
		}
		_, err := cdp.Call(ctx, target, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: "ctap2", Transport: "internal", HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true}})
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	run := func(script string) string {
		t.Helper()
		got, err := chromedp.Run(ctx, chromedp.Evaluate[string]("(async () => {"+passkeyScript+"return String("+script+")})()", chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, h.log)
		}
		return got
	}
	var link control.AdminLink
	h.json(&link, "console")
	if err := chromedp.Do(ctx, chromedp.Navigate(url+"/healthz")); err != nil {
		t.Fatal(err)
	}
	_, query, _ := strings.Cut(link.URL, "?")
	run(fmt.Sprintf(`(await fetch("/signin", {method: "POST", body: new URLSearchParams(%q), redirect: "manual"})).type`, query))
	made := run("await make()")
	id, ok := strings.CutPrefix(made, "200 ")
	if !ok {
		t.Fatalf("made: %s\n%s", made, h.log)
	}
	if got := run(`await (await fetch("/console/sign-in/options")).text()`); !strings.Contains(got, `"passkey":true`) {
		t.Errorf("how to sign in: %s", got)
	}
	if got := run(`(await send("/console/sign-out", {everywhere: true}))[0] + " " + (await fetch("/v1/me")).status`); got != "200 401" {
		t.Errorf("signed out: %s", got)
	}
	if got := run("await show(true)"); got != "200 403" {
		t.Errorf("signed in with it, and what it signed shown again: %s\n%s", got, h.log)
	}
	if got := run(`JSON.stringify(await (await fetch("/v1/me")).json())`); !strings.Contains(got, `"method":"passkey"`) || !strings.Contains(got, `"roles":["admin"]`) {
		t.Errorf("who is signed in: %s", got)
	}
	if got := run(fmt.Sprintf(`(await fetch("/v1/me/passkeys/%s", {method: "DELETE", headers: {"Content-Type": "application/json"}})).status`, id)); got != "200" {
		t.Errorf("removed: %s", got)
	}
	if got := run("await show(false)"); !strings.HasPrefix(got, "403 ") {
		t.Errorf("signed in with one that was removed: %s", got)
	}
}
