package e2e

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lanyard-dev/lanyard/internal/control"
)

// chrome is a real browser. Its pages are kept as pictures in $LANYARD_PICTURES, if that is set.
func chrome(t *testing.T) (context.Context, func(string) chromedp.Action[chromedp.Void]) {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(900, 1100))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("%v (this needs Chromium: make test installs it)", err)
	}
	ctx, cancel = context.WithTimeout(ctx, 90*time.Second)
	t.Cleanup(cancel)
	return ctx, func(name string) chromedp.Action[chromedp.Void] {
		return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
			dir := os.Getenv("LANYARD_PICTURES")
			if dir == "" {
				return nil
			}
			picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644)
		})
	}
}

// TestConsentInBrowser: a person goes the way of the consent page with a browser, whose rules about forms,
// redirects, cookies and styles are not ours to imagine.
func TestConsentInBrowser(t *testing.T) {
	t.Parallel()
	h := desk(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	back := make(chan string, 1)
	client := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/callback" {
			back <- r.URL.Query().Get("code")
		}
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte("<p id=connected>connected</p>"))
	})}
	go client.Serve(l)
	t.Cleanup(func() { client.Close() })
	f := h.flow(document(t, nil))
	f.redirect = "http://" + l.Addr().String() + "/callback"
	f.query.Set("redirect_uri", f.redirect)
	f.query.Set("scope", "read write")
	var code control.SignInCode
	h.json(&code, "owner", "sign-in", "maya")
	ctx, picture := chrome(t)
	css := func(s string) chromedp.CSS { return chromedp.CSS(s) }
	err = chromedp.Do(ctx,
		chromedp.Navigate(h.control+"/oauth/authorize?"+f.query.Encode()),
		chromedp.WaitVisible(css("#code")), picture("sign-in"),
		chromedp.SendKeys(css("#code"), "WRONG-CODE\r"),
		chromedp.WaitVisible(css(".wrong")),
		chromedp.SendKeys(css("#code"), strings.ToLower(code.Code)+"\r"),
		chromedp.WaitVisible(css("button[value=connect]")), picture("consent"))
	if err != nil {
		t.Fatal(err)
	}
	heading, err := chromedp.Run(ctx, chromedp.Text(css("h1")))
	if err != nil || heading != "Connect Scribe Desktop to notes?" {
		t.Errorf("the page says %q %v", heading, err)
	}
	if weight, err := chromedp.Run(ctx, chromedp.Evaluate[string](`getComputedStyle(document.querySelector("button.main")).fontWeight`)); err != nil || weight != "600" {
		t.Errorf("the page has no style: %s %v", weight, err)
	}
	if err := chromedp.Do(ctx, chromedp.Click(css("input[name=class-delete][value=none]")), chromedp.Click(css("button[value=connect]")), chromedp.WaitVisible(css("#connected"))); err != nil {
		t.Fatal(err)
	}
	if got := h.tokens(f.exchange(<-back)); got.Access == "" || !h.reaches(got.Access) {
		t.Errorf("the code from the browser: %+v", got)
	}
	var i control.IdentityView
	h.json(&i, "identity", "show", "scribe-desktop-maya")
	if len(i.Grants) != 1 || strings.Contains(strings.Join(i.Grants[0].Actions, " "), "drop_notes") || !strings.Contains(strings.Join(i.Grants[0].Actions, " "), "write_note") {
		t.Errorf("it was given %+v", i.Grants)
	}
}
