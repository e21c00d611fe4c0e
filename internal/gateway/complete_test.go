package gateway

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/google"
	"github.com/lanyard-dev/lanyard/internal/connector/graph"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestDraftIsSentAsItWasChecked: between the look at a draft and its sending somebody makes it another; what was looked at goes out.
func TestDraftIsSentAsItWasChecked(t *testing.T) {
	mail := func(to string) string {
		return base64.URLEncoding.EncodeToString([]byte("From: maya@example.com\r\nTo: " + to + "\r\nSubject: x\r\n\r\ny"))
	}
	draft, sent := "ben@example.com", ""
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == "POST":
			b, _ := io.ReadAll(r.Body)
			sent = string(b)
			_, _ = io.WriteString(w, `{"id":"m1"}`)
		case r.URL.Query().Get("format") == "raw":
			_, _ = io.WriteString(w, `{"id":"r1","message":{"id":"m1","threadId":"t1","labelIds":["DRAFT"],"raw":"`+mail(draft)+`"}}`)
			draft = "eve@evil.example" // from now on
		case strings.Contains(r.URL.Path, "/messages/m1"):
			_, _ = io.WriteString(w, `{"id":"m1","isDraft":true,"from":null,"toRecipients":[{"emailAddress":{"address":"ben@example.com"}}],"ccRecipients":[],"bccRecipients":[],"replyTo":[],"receivedDateTime":"2026-11-26T10:00:00Z","parentFolderId":"d"}`)
		default:
			_, _ = io.WriteString(w, `{"id":"r1","message":{"id":"m1","labelIds":["DRAFT"],"payload":{"headers":[{"name":"From","value":"maya@example.com"},{"name":"To","value":"ben@example.com"}]}}}`)
		}
	}), func(c *Config) { c.Families = []connector.Family{google.Family(), graph.Family()} })
	w.applyUpstream(&policy.Upstream{Name: "mail", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "google", Description: []byte("gmail/v1"), Version: 2})
	w.applyUpstream(&policy.Upstream{Name: "graph", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "graph", Description: []byte("v1.0"), Version: 2})
	w.apply(feed.Change{Grant: all("bot"), Removed: true})
	o := &layeredOffice{world: w}
	held := layer.Layers{Contacts: layer.Contacts{Write: []string{"example.com"}}}
	o.grant("mail", held, "mail.send")
	o.grant("graph", held, "mail.send")

	if status, _, s := o.ask("POST", "mail", "/gmail/v1/users/me/drafts/send", map[string]any{"id": "r1"}); status != 200 {
		t.Fatalf("a draft to ben: %d %s", status, s)
	}
	var got struct {
		ID      string
		Message struct{ Raw, ThreadID string }
	}
	if err := json.Unmarshal([]byte(sent), &got); err != nil || got.ID != "r1" || got.Message.Raw != mail("ben@example.com") || got.Message.ThreadID != "t1" {
		t.Errorf("what was looked at is not what went out: %s", sent)
	}
	sent = ""
	if status, _, s := o.ask("POST", "mail", "/gmail/v1/users/me/drafts/send", map[string]any{"id": "r1"}); status != 403 || sent != "" {
		t.Errorf("a draft that was changed before: %d %s, sent %q", status, s, sent)
	}
	if status, _, s := o.ask("POST", "mail", "/gmail/v1/users/me/drafts/send", map[string]any{"id": "r1", "message": map[string]any{"raw": mail("eve@evil.example")}}); status != 403 {
		t.Errorf("a draft that becomes another as it is sent: %d %s", status, s)
	}
	if status, _, s := o.ask("POST", "mail", "/gmail/v1/users/me/drafts/send", map[string]any{"id": "../messages/m1"}); status < 400 {
		t.Errorf("no draft: %d %s", status, s)
	}
	// Graph cannot be told what to send in place of what it has by then.
	for _, verb := range []string{"send", "reply", "replyAll"} {
		if status, _, s := o.ask("POST", "graph", "/v1.0/me/messages/m1/"+verb, map[string]any{"comment": "x"}); status != 403 || sent != "" {
			t.Errorf("%s of a draft: %d %s", verb, status, s)
		}
	}
	w.apply(feed.Change{Grant: &policy.Grant{ID: "bot/mail", Identity: id("bot"), Upstream: "mail", Cedar: "permit(principal, action, resource);", Until: w.g.Now().Add(time.Hour)}}) // it goes as it is
	if status, _, s := o.ask("POST", "mail", "/gmail/v1/users/me/drafts/send", map[string]any{"id": "r1"}); status != 200 || sent != `{"id":"r1"}` {
		t.Errorf("without layers: %d %s, sent %s", status, s, sent)
	}
	// A policy that asks whom a mail is for is told, layers or not.
	w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "inside", Cedar: `forbid(principal, action, resource) when { context.args has recipients && context.args.recipients.contains("eve@evil.example") };`}})
	for to, want := range map[string]int{"eve@evil.example": 403, "ben@example.com": 200} {
		draft, sent = to, ""
		if status, _, s := o.ask("POST", "mail", "/gmail/v1/users/me/drafts/send", map[string]any{"id": "r1"}); status != want || (sent != "") != (want == 200) {
			t.Errorf("a draft to %s under a guardrail: %d %s, sent %s", to, status, s, sent)
		}
	}
}
