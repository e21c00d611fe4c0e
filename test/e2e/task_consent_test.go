package e2e

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/lanyard-dev/lanyard/internal/control"
)

// TestTaskConsent: an agent asks a person to let it work in their name. Nothing can be had for that until they say so in
// their browser; then what it does is on record as done by both; and they end it in the same place.
func TestTaskConsent(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(whsec+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	receiver := &hook{T: t}
	webhook := httptest.NewServer(receiver)
	defer webhook.Close()
	h := build(t, "--notify-webhook", webhook.URL, "--notify-webhook-secret-file", secret)
	h.settle()
	key := h.first(`(lyd_\S+)`, h.do("credential", "add", "reader", "--api-key"))
	own := h.bearer("reader", key, h.control)
	status, answer := h.send("POST", h.control+"/v1/tasks", own, `{"on":"maya","purpose":"Find the invoice of the dentist","scope":[{"upstream":"mail","actions":["read"],"conditions":{"userId":{"is":"me"}}}],"budget":{"calls":3}}`)
	var k control.TaskOpened
	if err := json.Unmarshal([]byte(answer), &k); err != nil || status != 200 || k.State != "waiting" {
		t.Fatal(status, answer)
	}
	h.eventually("maya is told", func() bool { return strings.Contains(receiver.all(), h.control+"/approvals/"+k.ID) })
	if all := receiver.all(); !strings.Contains(all, `"type":"task.waiting"`) || !strings.Contains(all, "maya@example.com") || strings.Contains(all, "dentist") {
		t.Error(all)
	}
	if out := h.do("task", "list"); !strings.Contains(out, k.ID) || !strings.Contains(out, "waiting") {
		t.Error(out)
	}
	token := func() tokens {
		return h.tokens(url.Values{"grant_type": {"client_credentials"}, "client_id": {"spiffe://lanyard.local/agent/reader"}, "client_secret": {key}, "resource": {h.gate + "/mail"},
			"authorization_details": {`[{"type":"lanyard_task","task":"` + k.ID + `"}]`}})
	}
	if got := token(); got.Access != "" || got.Error != "authorization_pending" {
		t.Errorf("%+v", got)
	}
	h.stop() // what waits is there after a restart
	h.start()
	own = h.bearer("reader", key, h.control)
	waited := make(chan string, 1)
	go func() {
		_, answer := h.send("GET", h.control+"/v1/tasks/"+k.ID+"?wait=60s", own, "")
		waited <- answer
	}()
	var code control.SignInCode
	h.json(&code, "owner", "sign-in", "maya")
	ctx, picture := chrome(t)
	css := func(s string) chromedp.CSS { return chromedp.CSS(s) }
	if err := chromedp.Do(ctx,
		chromedp.Navigate(k.URL),
		chromedp.WaitVisible(css("#code")),
		chromedp.SendKeys(css("#code"), code.Code+"\r"),
		chromedp.WaitVisible(css("button[value=allow]")), picture("task"),
		chromedp.SendKeys(css("#note"), "thank you\r")); err != nil { // the key that ends a line decides nothing
		t.Fatal(err)
	}
	text, err := chromedp.Run(ctx, chromedp.Text(css("main")))
	for _, want := range []string{"May reader act in your name?", "Find the invoice of the dentist", "calls: 3 at most", "See things (read)", `userId is "me"`} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("the page does not say %q: %v\n%s", want, err, text)
		}
	}
	if got := token(); got.Error != "authorization_pending" {
		t.Errorf("Enter in the note allows: %+v", got)
	}
	if err := chromedp.Do(ctx, chromedp.Click(css("button[value=allow]")), chromedp.WaitVisible(css("button[value=end]")), picture("task-allowed")); err != nil {
		t.Fatal(err)
	}
	if answer := <-waited; !strings.Contains(answer, `"going":true`) {
		t.Errorf("who waited hears %s", answer)
	}
	got := token()
	if status, answer := h.send("GET", h.gate+"/mail"+profile, got.Access, ""); status != 200 || !strings.Contains(answer, "maya@example.com") {
		t.Errorf("%d %s", status, answer)
	}
	h.eventually("both are on record", func() bool {
		return strings.Contains(h.do("audit", "search", "--task", k.ID, "-o", "json"), `spiffe://lanyard.local/person/maya`)
	})
	for _, want := range []string{"task.ask", "task.notify", "task.open"} {
		if out := h.do("audit", "search", "--type", want, "-o", "json"); !strings.Contains(out, k.ID) {
			t.Errorf("%s is not on record: %s", want, out)
		}
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(h.control+"/approvals"), chromedp.WaitVisible(css("h1")), picture("task-inbox")); err != nil {
		t.Fatal(err)
	}
	if list, err := chromedp.Run(ctx, chromedp.Text(css("main"))); err != nil || !strings.Contains(list, "What goes on in your name") {
		t.Errorf("%s %v", list, err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(k.URL), chromedp.Click(css("button[value=end]")), chromedp.WaitNotPresent(css("button[value=end]"))); err != nil {
		t.Fatal(err)
	}
	if status, answer := h.send("GET", h.gate+"/mail"+profile, got.Access, ""); status != 401 {
		t.Errorf("after maya ended it: %d %s", status, answer)
	}
	h.do("audit", "verify")
}
