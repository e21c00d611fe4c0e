package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector/graph"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// sixLayers holds back in every way there is, and shows all mails of the page.
var sixLayers = layer.Layers{Show: layer.Full, Contacts: layer.Contacts{See: []string{"example.com"}, Never: []string{"evil.example"}}, Time: layer.Time{Days: 30, Hours: "00:00-24:00 UTC"}, Within: layer.Within{Labels: []string{"inbox"}},
	Reduce: layer.Reduce{Mask: []string{"cards", "accounts", "identities", "secrets"}, Strip: []string{"html", "invisible", "tracking"}, Attachments: []string{"text"}}}

// runPages is the role: a mailbox in Graph's form, which answers every request for mail with one page of fifty.
func runPages() error {
	text := strings.Repeat("Please find the numbers of this quarter below; the agenda is in the shared folder. ", 20)
	var list []string
	for i := range 50 {
		list = append(list, fmt.Sprintf(`{"id":"m%d","conversationId":"c","subject":"Review %d","receivedDateTime":%q,"parentFolderId":"in","categories":["inbox"],"from":{"emailAddress":{"address":"ben@example.com"}},"sender":{"emailAddress":{"address":"ben@example.com"}},"toRecipients":[{"emailAddress":{"address":"maya@example.com"}}],"ccRecipients":[],"bccRecipients":[],"replyTo":[],"bodyPreview":"Please","body":{"contentType":"html","content":"<p>%s</p>"}}`,
			i, i, time.Now().UTC().Format(time.RFC3339), text))
	}
	page := []byte(`{"value":[` + strings.Join(list, ",") + `]}`)
	return serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(r.URL.Path, "mailFolders") {
			_, _ = w.Write([]byte(`{"id":"in"}`))
			return
		}
		_, _ = w.Write(page)
	}), nil)
}

// runPageWing is the role: a gateway before the mailbox at to, whose grant holds back nothing, or in all six ways. It prints its address and a token.
func runPageWing(to, how string) error {
	w, err := newWing()
	if err != nil {
		return err
	}
	until := time.Now().Add(24 * time.Hour)
	grant := policy.Grant{ID: "bot-0/read", Identity: agentID(0), Upstream: "mail", Cedar: "permit(principal, action, resource);", Until: until}
	if how == "layers" {
		grant.Layers = &sixLayers
	}
	return w.serve(policy.Upstream{Name: "mail", URL: to, Owner: "maya", Environment: "production", Family: "graph", Description: []byte("v1.0"), Version: 1}, grant, graph.Family())
}

// pages compares a page of fifty mails under all six layers with the same page as it is, one request at a time.
func pages(rounds int, each time.Duration) error {
	mailbox, err := child("page-upstream")
	if err != nil {
		return err
	}
	defer mailbox.end()
	var targets []target
	for _, how := range []string{"plain", "layers"} {
		gate, err := child("page-gateway", "http://"+mailbox.addr, how)
		if err != nil {
			return err
		}
		defer gate.end()
		request := []byte("GET /mail/v1.0/me/messages?$top=50 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + gate.more[0] + "\r\n\r\n")
		targets = append(targets, target{name: how, addr: gate.addr, pid: gate.pid, request: func(int) []byte { return request }})
	}
	got, err := compare(1, rounds, each, targets...)
	if err != nil {
		return err
	}
	ratio("connector_vs_plain", rate(got["layers"])/rate(got["plain"]))
	for _, how := range []string{"plain", "layers"} {
		figure("page_"+how, 1000/rate(got[how]), "ms")
		figure("page_"+how+"_cpu", cpu(got[how]), "ms")
	}
	return nil
}
