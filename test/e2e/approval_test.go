package e2e

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/emersion/go-smtp"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

// post is a mail server that keeps what it gets.
type post struct {
	mu    sync.Mutex
	mails []string
}

func (p *post) NewSession(*smtp.Conn) (smtp.Session, error) { return p, nil }
func (p *post) Mail(string, *smtp.MailOptions) error        { return nil }
func (p *post) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (p *post) Reset()                                      {}
func (p *post) Logout() error                               { return nil }
func (p *post) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mails = append(p.mails, string(b))
	return err
}

func (p *post) all() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.mails, "\n")
}

const whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// hook is a webhook that is down at first, and then checks what it gets.
type hook struct {
	*testing.T
	down  atomic.Int64 // refuses so many times
	tries atomic.Int64
	mu    sync.Mutex
	got   []string
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.tries.Add(1)
	if h.down.Add(-1) >= 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	body, _ := io.ReadAll(r.Body)
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(whsec, "whsec_"))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(body)))
	if r.Header.Get("webhook-signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		h.Errorf("the webhook's signature is not that of %s", body)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, string(body))
}

func (h *hook) all() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.got, "\n")
}

// bureau is a house whose reader may write mail with the yes of its owner.
func bureau(t *testing.T, flags ...string) *house {
	h := build(t, flags...)
	h.settle()
	h.do("grant", "put", "reader", "write-mail", "--upstream", "mail", "--action", "write", "--approve", "owner")
	return h
}

const (
	drafts = "/gmail/v1/users/me/drafts"
	draft  = `{"message":{"raw":"VG86IGJlbkBleGFtcGxlLmNvbQ0KU3ViamVjdDogTHVuY2gNCg0KQXQgbm9vbj8NCg"}}`
)

// bearer is a token of the identity's for an upstream, or for the control plane.
func (h *house) bearer(name, key, resource string) string {
	h.Helper()
	got := h.tokens(url.Values{"grant_type": {"client_credentials"}, "client_id": {"spiffe://lanyard.local/agent/" + name}, "client_secret": {key}, "resource": {resource}})
	if got.Access == "" {
		h.Fatalf("%+v", got)
	}
	return got.Access
}

func (h *house) send(method, address, bearer, body string, header ...string) (int, string) {
	h.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+bearer)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		h.Error(err)
		return 0, ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.Error(err)
	}
	return res.StatusCode, string(b)
}

// asked is the approval that a refusal speaks of.
func (h *house) asked(refusal string) string {
	h.Helper()
	var d struct{ Type, Approval string }
	if err := json.Unmarshal([]byte(refusal), &d); err != nil || d.Type != "urn:lanyard:problem:approval-needed" || d.Approval == "" {
		h.Fatalf("%v: %s", err, refusal)
	}
	return d.Approval
}

// decide has an owner, who is signed in, answer on the page.
func (b *browser) decide(id, decision string, more ...string) (int, string) {
	b.Helper()
	_, page := b.open(b.control + "/approvals/" + id)
	form := url.Values{"request": {field(page, "request")}, "decision": {decision}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return b.send("/approvals/"+id, form)
}

func (h *house) signedIn(owner string) *browser {
	h.Helper()
	b := h.browser()
	_, page := b.open(h.control + "/approvals")
	if status, page := b.signIn(owner, page); status != 200 || !strings.Contains(page, "What waits for you") {
		h.Fatalf("%d\n%s", status, page)
	}
	return b
}

// TestApproval: a draft waits for its owner's yes, who is told by webhook, mail and program, sees it, and says so;
// then it is made, once.
func TestApproval(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret, told, program := filepath.Join(dir, "secret"), filepath.Join(dir, "told"), filepath.Join(dir, "tell")
	if err := os.WriteFile(secret, []byte(whsec+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte("#!/bin/sh\ncat >> "+told+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	receiver := &hook{T: t}
	receiver.down.Store(1)
	webhook := httptest.NewServer(receiver)
	defer webhook.Close()
	mails := &post{}
	office := smtp.NewServer(mails)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go office.Serve(l)
	defer office.Close()
	h := bureau(t, "--notify-webhook", webhook.URL, "--notify-webhook-secret-file", secret, "--notify-smtp", "smtp://"+l.Addr().String(), "--notify-from", "lanyard@example.com", "--notify-command", program)

	make := append(h.asReader("POST", drafts), "--body", draft)
	r := h.try(make...)
	if r.code == 0 || !strings.Contains(r.out+r.err, "needs approval") || !strings.Contains(r.out+r.err, "Maya Lind can approve it at "+h.control+"/approvals/appr_") {
		t.Fatalf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	id := h.first(`/approvals/(appr_[a-z0-9]+)`, r.out+r.err)
	link := h.control + "/approvals/" + id
	h.eventually("all are told", func() bool {
		b, _ := os.ReadFile(told)
		return strings.Contains(receiver.all(), link) && strings.Contains(mails.all(), link) && strings.Contains(string(b), link)
	})
	b, _ := os.ReadFile(told)
	if all := receiver.all() + mails.all() + string(b); strings.Contains(all, "Lunch") || strings.Contains(all, "VG86") || receiver.tries.Load() != 2 || !strings.Contains(mails.all(), "To: \"Maya Lind\" <maya@example.com>") {
		t.Errorf("%d tries\n%s", receiver.tries.Load(), all)
	}
	maya := h.signedIn("maya")
	_, page := maya.open(link)
	for _, want := range []string{"May reader do this?", "gmail.users.drafts.create", "Subject: Lunch", "At noon?", "Reads mail", "write-mail"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q\n%s", want, page)
		}
	}
	if status, page := maya.decide(id, "once", "note", "go ahead"); status != 200 || !strings.Contains(page, "approved it once: go ahead") {
		t.Errorf("%d\n%s", status, page)
	}
	h.fails(3, "needs approval", append(h.asReader("POST", drafts), "--body", strings.Replace(draft, "bm9vbj8", "bmlnaHQ", 1))...) // another body
	if out := h.do(make...); !strings.Contains(out, `"id"`) {
		t.Errorf("approved: %s", out)
	}
	h.fails(3, "needs approval", make...)
	var v control.ApprovalView
	h.json(&v, "approval", "show", id)
	if v.State != feed.Used || v.Decisions[0].By != "maya" || v.Shown != nil {
		t.Errorf("%+v", v)
	}
	for _, want := range []string{"approval.ask", "approval.notify", "approval.approve", "approval.use"} {
		if out := h.do("audit", "search", "-o", "json"); !strings.Contains(out, want) {
			t.Errorf("%s is not on record", want)
		}
	}
	if out := h.do("audit", "search", "-o", "json"); strings.Contains(out, "VG86") {
		t.Error("the record holds what the request holds")
	}
	h.stop() // what waits is there after a restart
	h.start()
	var list []control.ApprovalView
	h.json(&list, "approval", "list", "--state", "waiting")
	if len(list) != 2 {
		t.Errorf("%d wait after a restart", len(list))
	}
	if _, page := maya.open(h.control + "/approvals"); strings.Count(page, "drafts.create") != 3 {
		t.Errorf("maya's list\n%s", page)
	}
	h.do("approval", "deny", list[0].ID, "--note", "not now")
	if out := h.do("approval", "stats"); !strings.Contains(out, "maya") {
		t.Error(out)
	}
	h.fails(3, "may not decide", "approval", "approve", list[1].ID)
	h.do("audit", "verify")
}

// TestApprovalOnce: of many that send what was approved, one gets through; and who waits goes on by itself.
func TestApprovalOnce(t *testing.T) {
	t.Parallel()
	h := bureau(t)
	key := h.first(`(lyd_\S+)`, h.do("credential", "add", "reader", "--api-key"))
	mail, own := h.bearer("reader", key, h.gate+"/mail"), h.bearer("reader", key, h.control)
	made := func() int {
		_, out := h.send("GET", h.gate+"/mail"+drafts, mail, "")
		return strings.Count(out, `"threadId"`)
	}
	before := made()
	_, refusal := h.send("POST", h.gate+"/mail"+drafts, mail, draft)
	id := h.asked(refusal)
	maya := h.signedIn("maya")
	answered := make(chan string, 1)
	go func() { // the identity waits on the control plane
		_, out := h.send("GET", h.control+"/v1/approvals/"+id+"?wait=60s", own, "")
		answered <- out
	}()
	waited := make(chan int, 1)
	maya.decide(id, "once")
	if out := <-answered; !strings.Contains(out, `"state":"approved"`) {
		t.Errorf("who waits hears %s", out)
	}
	var passed atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			if status, out := h.send("POST", h.gate+"/mail"+drafts, mail, draft); status == 200 {
				passed.Add(1)
			} else if status != 403 {
				t.Errorf("%d %s", status, out)
			}
		})
	}
	all.Wait()
	if passed.Load() != 1 || made() != before+1 {
		t.Fatalf("%d of 64 passed, %d drafts were made", passed.Load(), made()-before)
	}
	_, refusal = h.send("POST", h.gate+"/mail"+drafts, mail, draft)
	id = h.asked(refusal)
	go func() { // the request itself waits at the gateway
		status, _ := h.send("POST", h.gate+"/mail"+drafts, mail, draft, "Prefer", "wait=60")
		waited <- status
	}()
	maya.decide(id, "once")
	if status := <-waited; status != 200 || made() != before+2 {
		t.Errorf("the one that waited: %d, %d drafts", status, made()-before)
	}
	// A lasting yes is a grant; a guardrail that asks holds against it, until it is agreed to as well.
	_, refusal = h.send("POST", h.gate+"/mail"+drafts, mail, draft)
	maya.decide(h.asked(refusal), "lasting", "until", "1d")
	if status, out := h.send("POST", h.gate+"/mail"+drafts, mail, `{"message":{"raw":"VG86IGtpbUBleGFtcGxlLmNvbQ0KDQpIaQ"}}`); status != 200 {
		t.Errorf("after a lasting yes: %d %s", status, out)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "rail.cedar"), []byte(`@approve("2 of maya ben") @fresh("5m") forbid (principal, action in Lanyard::Action::"write", resource);`), 0o600); err != nil {
		t.Fatal(err)
	}
	h.do("guardrail", "put", "two", "--cedar", "rail.cedar")
	_, refusal = h.send("POST", h.gate+"/mail"+drafts, mail, draft)
	id = h.asked(refusal)
	maya.decide(id, "once")
	if status, _ := h.send("POST", h.gate+"/mail"+drafts, mail, draft); status != 403 {
		t.Errorf("one of two said yes: %d", status)
	}
	h.signedIn("ben").decide(id, "once")
	if status, out := h.send("POST", h.gate+"/mail"+drafts, mail, draft); status != 200 {
		t.Errorf("both said yes: %d %s", status, out)
	}
	h.do("audit", "verify")
}

// TestApprovalMCP: the official SDK's client is given the page to show to its person, by servers of both revisions, and
// the call goes on with the answer.
func TestApprovalMCP(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			h := build(t)
			h.do("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com")
			server(t, h, "notes", []string{version}, reading)
			h.do("identity", "register", "scribe", "--owner", "maya", "--purpose", "Keeps notes")
			h.do("grant", "put", "scribe", "read", "--upstream", "notes", "--action", "read")
			h.do("grant", "put", "scribe", "drop", "--upstream", "notes", "--action", "delete", "--approve", "owner")
			key := h.first(`(lyd_\S+)`, h.do("credential", "add", "scribe", "--api-key"))
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			maya, decision := h.signedIn("maya"), "once"
			answer := func(address string) {
				id := h.first(`/approvals/(appr_[a-z0-9]+)$`, address)
				if status, page := maya.decide(id, decision); status != 200 {
					t.Errorf("%d\n%s", status, page)
				}
			}
			web := oauth2.NewClient(ctx, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: h.bearer("scribe", key, h.gate+"/notes")}))
			s, err := mcp.NewClient(&mcp.Implementation{Name: "scribe", Version: "1"}, &mcp.ClientOptions{
				Capabilities: &mcp.ClientCapabilities{Elicitation: &mcp.ElicitationCapabilities{URL: &mcp.URLElicitationCapabilities{}}},
				ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
					go answer(r.Params.URL)
					return &mcp.ElicitResult{Action: "accept"}, nil
				}}).Connect(ctx, &mcp.StreamableClientTransport{Endpoint: h.gate + "/notes/mcp", HTTPClient: web, MaxRetries: -1}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			drop := func() (string, error) {
				res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "drop_notes", Arguments: note{Path: "/a"}})
				var asked *jsonrpc.Error
				if errors.As(err, &asked) && asked.Code == mcp.CodeURLElicitationRequired { // the SDK leaves this one to its user
					var data struct{ Elicitations []mcp.ElicitParams }
					if err := json.Unmarshal(asked.Data, &data); err != nil || len(data.Elicitations) != 1 {
						t.Fatalf("%s %v", asked.Data, err)
					}
					answer(data.Elicitations[0].URL)
					res, err = s.CallTool(ctx, &mcp.CallToolParams{Name: "drop_notes", Arguments: note{Path: "/a"}})
				}
				return text(res), err
			}
			if got, err := drop(); err != nil || got != "dropped /a" {
				t.Errorf("approved: %q %v", got, err)
			}
			decision = "deny"
			if got, err := drop(); err == nil || !strings.Contains(err.Error(), "maya denied it") {
				t.Errorf("denied: %q %v", got, err)
			}
			h.do("audit", "verify")
		})
	}
}

// TestApprovalInBrowser: a person decides with a browser, from the link to the answer.
func TestApprovalInBrowser(t *testing.T) {
	t.Parallel()
	h := bureau(t)
	key := h.first(`(lyd_\S+)`, h.do("credential", "add", "reader", "--api-key"))
	mail := h.bearer("reader", key, h.gate+"/mail")
	_, refusal := h.send("POST", h.gate+"/mail"+drafts, mail, draft)
	id := h.asked(refusal)
	var code control.SignInCode
	h.json(&code, "owner", "sign-in", "maya")
	ctx, picture := chrome(t)
	css := func(s string) chromedp.CSS { return chromedp.CSS(s) }
	err := chromedp.Do(ctx,
		chromedp.Navigate(h.control+"/approvals/"+id),
		chromedp.WaitVisible(css("#code")),
		chromedp.SendKeys(css("#code"), code.Code+"\r"),
		chromedp.WaitVisible(css("button[value=once]")), picture("approval"))
	if err != nil {
		t.Fatal(err)
	}
	heading, err := chromedp.Run(ctx, chromedp.Text(css("h1")))
	if err != nil || heading != "May reader do this?" {
		t.Errorf("the page says %q %v", heading, err)
	}
	request, err := chromedp.Run(ctx, chromedp.Text(css("#request")))
	if err != nil || !strings.Contains(request, "POST "+drafts) || !strings.Contains(request, `"raw": "VG86`) {
		t.Errorf("the page shows %q %v", request, err)
	}
	if err := chromedp.Do(ctx, chromedp.SendKeys(css("#note"), "fine\r")); err != nil { // the key that ends a line decides nothing
		t.Fatal(err)
	}
	if status, _ := h.send("POST", h.gate+"/mail"+drafts, mail, draft, "Prefer", "wait=1"); status != 403 {
		t.Errorf("Enter in the note approves: %d", status)
	}
	if err := chromedp.Do(ctx, chromedp.Click(css("button[value=once]")), chromedp.WaitNotPresent(css("button[value=once]")), picture("approved")); err != nil {
		t.Fatal(err)
	}
	if status, out := h.send("POST", h.gate+"/mail"+drafts, mail, draft); status != 200 {
		t.Errorf("approved in the browser: %d %s", status, out)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(h.control+"/approvals"), chromedp.WaitVisible(css("h1")), picture("inbox")); err != nil {
		t.Fatal(err)
	}
	list, err := chromedp.Run(ctx, chromedp.Text(css("main")))
	if err != nil || !strings.Contains(list, "Nothing. You can close this page.") || !strings.Contains(list, "gmail.users.drafts.create") {
		t.Errorf("the list says %q %v", list, err)
	}
}
