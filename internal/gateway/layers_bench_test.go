package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/graph"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// BenchmarkPage is a page of 50 mails in Graph's form, as it is and under all six layers.
func BenchmarkPage(b *testing.B) {
	text := strings.Repeat("Please find the numbers of this quarter below; the agenda is in the shared folder. ", 20)
	var list []string
	for i := range 50 {
		list = append(list, fmt.Sprintf(`{"id":"m%d","conversationId":"c","subject":"Review %d","receivedDateTime":%q,"parentFolderId":"in","categories":["inbox"],"from":{"emailAddress":{"address":"ben@example.com"}},"sender":{"emailAddress":{"address":"ben@example.com"}},"toRecipients":[{"emailAddress":{"address":"maya@example.com"}}],"ccRecipients":[],"bccRecipients":[],"replyTo":[],"bodyPreview":"Please","body":{"contentType":"html","content":"<p>%s</p>"}}`,
			i, i, time.Now().UTC().Format(time.RFC3339), text))
	}
	page := []byte(`{"value":[` + strings.Join(list, ",") + `]}`)
	for name, l := range map[string]*layer.Layers{"plain": nil, "layers": {Show: layer.Full, Contacts: layer.Contacts{See: []string{"example.com"}, Never: []string{"evil.example"}}, Time: layer.Time{Days: 30, Hours: "00:00-24:00 UTC"},
		Within: layer.Within{Labels: []string{"inbox"}}, Reduce: layer.Reduce{Mask: []string{"cards", "accounts", "identities", "secrets"}, Strip: []string{"html", "invisible", "tracking"}, Attachments: []string{"text"}}}} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if strings.Contains(r.URL.Path, "mailFolders") {
					_, _ = io.WriteString(w, `{"id":"in"}`)
					return
				}
				_, _ = w.Write(page)
			}), func(c *Config) { c.Families = []connector.Family{graph.Family()} })
			w.applyUpstream(&policy.Upstream{Name: "mail", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "graph", Description: []byte("v1.0"), Version: 2})
			w.apply(feed.Change{Grant: &policy.Grant{ID: "bot/all", Identity: id("bot"), Upstream: "mail", Cedar: "permit(principal, action, resource);", Layers: l, Until: time.Now().Add(time.Hour)}})
			raw := w.mint(w.claims("bot"))
			b.ReportAllocs()
			b.SetBytes(int64(len(page)))
			begun := worked(b)
			for b.Loop() {
				if res, s := w.do(w.request("GET", "/mail/v1.0/me/messages?$top=50", raw, nil)); res.StatusCode != 200 || strings.Count(s, `"subject"`) != 50 {
					b.Fatalf("%d %.200s", res.StatusCode, s)
				}
			}
			b.ReportMetric(float64(worked(b)-begun)/float64(b.N)/1000, "cpu-us/op") // whatever else the machine does
		})
	}
}

// worked is how long this process has been at work, in nanoseconds.
func worked(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
