package graph

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/layer"
)

// BenchmarkReveal is what the layers alone do with a page of fifty mails: of plain words, and as programs write them.
func BenchmarkReveal(b *testing.B) {
	rules, err := layer.New(layer.Layers{Contacts: layer.Contacts{See: []string{"example.com"}, Never: []string{"evil.example"}}, Time: layer.Time{Days: 30}, Within: layer.Within{Labels: []string{"inbox"}},
		Reduce: layer.Reduce{Mask: []string{"cards", "accounts", "identities", "secrets"}, Strip: []string{"html", "invisible", "tracking"}}})
	if err != nil {
		b.Fatal(err)
	}
	for name, body := range map[string]string{
		"words":  "<p>" + strings.Repeat("Please find the numbers of this quarter below; the agenda is in the shared folder. ", 20) + "</p>",
		"styled": `<html><head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"></head><body>` + strings.Repeat(`<div class=\"x\" style=\"font-family:Calibri\">Grüße, die Zahlen für 2026 stehen unten: 1.204 Stück zu 12,40\u00a0€.<br>\r\n</div>`, 12) + `</body></html>`,
	} {
		b.Run(name, func(b *testing.B) {
			var list []string
			for i := range 50 {
				list = append(list, fmt.Sprintf(`{"id":"m%d","conversationId":"c","subject":"Review %d","receivedDateTime":%q,"parentFolderId":"in","categories":["inbox"],"from":{"emailAddress":{"address":"ben@example.com"}},"sender":{"emailAddress":{"address":"ben@example.com"}},"toRecipients":[{"emailAddress":{"address":"maya@example.com"}}],"ccRecipients":[],"bccRecipients":[],"replyTo":[],"bodyPreview":"Please","body":{"contentType":"html","content":"%s"}}`,
					i, i, time.Now().UTC().Format(time.RFC3339), body))
			}
			page := []byte(`{"value":[` + strings.Join(list, ",") + `]}`)
			c := open(b)
			r := &connector.Request{Method: "GET", Path: "/v1.0/me/messages"}
			call, err := c.Recognise(r)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(page)))
			room := make([]byte, 0, len(page))
			for b.Loop() {
				out, _, err := c.Reveal(r, call, connector.Under{Rules: []*layer.Rules{rules}, Now: time.Now(), Room: room}, "application/json", page)
				if err != nil || strings.Count(string(out), `"subject"`) != 50 {
					b.Fatalf("%v %.200s", err, out)
				}
			}
		})
	}
}
