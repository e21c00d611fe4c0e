package gateway

import (
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

// bearers is an upstream that answers with what it is told to.
type bearers struct {
	*world
	status   int
	kind     string
	location string
	reply    string
}

func newBearers(t *testing.T) *bearers {
	b := &bearers{}
	b.world = newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.location != "" {
			w.Header()["Location"], w.Header()["Content-Location"] = []string{b.location}, []string{b.location}
		}
		w.Header().Set("Content-Type", b.kind)
		w.WriteHeader(b.status)
		_, _ = io.WriteString(w, b.reply)
	}), func(c *Config) { c.Families = []connector.Family{google.Family(), graph.Family()} })
	for name, family := range map[string][2]string{"graph": {"graph", "v1.0"}, "drive": {"google", "drive/v3"}} {
		b.applyUpstream(&policy.Upstream{Name: name, URL: b.back.URL, Owner: "maya", Environment: "production", Family: family[0], Description: []byte(family[1]), Version: 2})
	}
	b.apply(feed.Change{Grant: all("bot"), Removed: true})
	return b
}

func (b *bearers) ask(method, upstream, target, body string, l *layer.Layers) (*http.Response, string) {
	b.t.Helper()
	b.apply(feed.Change{Grant: &policy.Grant{ID: "bot/all", Identity: id("bot"), Upstream: upstream, Layers: l, Cedar: "permit(principal, action, resource);", Until: time.Now().Add(time.Hour)}})
	c := b.claims("bot")
	c.Audience = testScope + "/" + upstream
	r := b.request(method, "/"+upstream+target, b.mint(c), strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultTransport.RoundTrip(r) // which follows nothing
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	s, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res, string(s)
}

const (
	aFile  = `"id":"f1","name":"a.txt","lastModifiedDateTime":"2026-11-26T10:00:00Z","webUrl":"https://contoso.sharepoint.com/a.txt"`
	aThumb = `"thumbnails":[{"id":"0","small":{"width":1,"url":"https://x.1drv.com/s3cret"}}]`
	aLink  = `{"id":"p1","roles":["read"],"shareId":"u!s3cret","link":{"type":"edit","scope":"anonymous","webUrl":"https://1drv.ms/s3cret","webHtml":"<iframe src=s3cret>"}}`
	aGuest = `{"id":"p2","roles":["read"],"link":{"webUrl":"https://1drv.ms/s3cret"},"invitation":{"signInRequired":false}}`
	aStaff = `{"id":"p3","roles":["read"],"link":{"type":"view","scope":"organization","webUrl":"https://contoso.sharepoint.com/signed-in"}}`
)

// TestWithheld: what is good for everybody who has it reaches no caller, with layers or without; all else is what it was.
func TestWithheld(t *testing.T) {
	b := newBearers(t)
	b.kind = "application/json; odata.metadata=minimal"
	under := &layer.Layers{Reduce: layer.Reduce{Mask: []string{"cards"}}}
	for name, c := range map[string]struct {
		method, upstream, target, body string
		status                         int
		location, reply, want          string
	}{
		"a folder":                      {"GET", "graph", "/v1.0/me/drive/root/children?$expand=thumbnails", "", 200, "", `{"value":[{` + aFile + `,"@microsoft.graph.downloadUrl":"https://x/s3cret",` + aThumb + `}]}`, `{"value":[{` + aFile + `}]}`},
		"a search":                      {"GET", "graph", "/v1.0/me/drive/root/search(q='a')", "", 200, "", `{"value":[{` + aFile + `,"remoteItem":{"id":"r","@content.downloadUrl":"s3cret"}}]}`, `{"value":[{` + aFile + `,"remoteItem":{"id":"r"}}]}`},
		"a file in a folder of a drive": {"GET", "graph", "/v1.0/drives/b1?$expand=root($expand=children)", "", 200, "", `{"id":"b1","root":{"children":[{"@microsoft.graph.downloadU\u0072l":"s3cret",` + aFile + `}]}}`, `{"id":"b1","root":{"children":[{` + aFile + `}]}}`},
		"versions":                      {"GET", "graph", "/v1.0/me/drive/items/f1?$expand=versions", "", 200, "", `{"id":"f1","versions":[{"id":"1.0","@microsoft.graph.downloadUrl":"s3cret"}]}`, `{"id":"f1","versions":[{"id":"1.0"}]}`},
		"what is written":               {"PUT", "graph", "/v1.0/me/drive/items/f1/content", "x", 200, "", `{` + aFile + `,"@microsoft.graph.downloadUrl":"s3cret"}`, `{` + aFile + `}`},
		"what is made":                  {"POST", "graph", "/v1.0/me/drive/items/d1/children", `{"name":"a","file":{}}`, 201, "", `{` + aFile + `,"@microsoft.graph.downloadUrl":"s3cret"}`, `{` + aFile + `}`},
		"what is shared": {"GET", "graph", "/v1.0/me/drive/items/f1/permissions", "", 200, "", `{"value":[` + aLink + `,` + aGuest + `,` + aStaff + `]}`,
			`{"value":[{"id":"p1","roles":["read"],"link":{"type":"edit","scope":"anonymous"}},{"id":"p2","roles":["read"],"link":{},"invitation":{"signInRequired":false}},` + aStaff + `]}`},
		"what is shared of a file": {"GET", "graph", "/v1.0/me/drive/items/f1?$expand=permissions", "", 200, "", `{` + aFile + `,"permissions":[` + aLink + `]}`, `{` + aFile + `,"permissions":[{"id":"p1","roles":["read"],"link":{"type":"edit","scope":"anonymous"}}]}`},
		"a link for everybody":     {"POST", "graph", "/v1.0/me/drive/items/f1/createLink", `{"type":"edit","scope":"anonymous"}`, 201, "", aLink, `{"id":"p1","roles":["read"],"link":{"type":"edit","scope":"anonymous"}}`},
		"a link for colleagues":    {"POST", "graph", "/v1.0/me/drive/items/f1/createLink", `{"type":"view","scope":"organization"}`, 201, "", aStaff, aStaff},
		"how a copy goes":          {"POST", "graph", "/v1.0/me/drive/items/f1/copy", `{"name":"b"}`, 202, "https://contoso.sharepoint.com/_api/v2.0/monitor/s3cret", ``, ``},
		"where a mail is":          {"POST", "graph", "/v1.0/me/messages", `{"subject":"x"}`, 201, "BACK/v1.0/me/messages/m1", `{ "id":"m1" }`, `{ "id":"m1" }`},
		"nothing of the kind":      {"GET", "graph", "/v1.0/me/drive/items/f1", "", 200, "", "{ " + aFile + " }\n", "{ " + aFile + " }\n"},

		"files of Drive":   {"GET", "drive", "/drive/v3/files?fields=*", "", 200, "", `{"files":[{"id":"f1","thumbnailLink":"https://lh3.googleusercontent.com/s3cret","webViewLink":"https://drive.google.com/file/d/f1/view"}]}`, `{"files":[{"id":"f1","webViewLink":"https://drive.google.com/file/d/f1/view"}]}`},
		"what has changed": {"GET", "drive", "/drive/v3/changes?pageToken=1", "", 200, "", `{"changes":[{"file":{"thumbnailLink":"s3cret","id":"f1"}}]}`, `{"changes":[{"file":{"id":"f1"}}]}`},
		"a download":       {"POST", "drive", "/drive/v3/files/f1/download", "", 200, "", `{"done":true,"response":{"downloadUri":"https://x/s3cret","partialDownloadAllowed":true}}`, `{"done":true,"response":{"partialDownloadAllowed":true}}`},
		"how it goes":      {"GET", "drive", "/drive/v3/operations/o1", "", 200, "", `{"done":true,"response":{"downloadUri":"https://x/s3cret"}}`, `{"done":true,"response":{}}`},
		"a token":          {"GET", "drive", "/drive/v3/files/generateCseToken", "", 200, "", `{"fileId":"f2","jwt":"s3cret"}`, `{"fileId":"f2"}`},
		"revisions":        {"GET", "drive", "/drive/v3/files/f1/revisions", "", 200, "", `{"revisions":[{"id":"1","published":true,"publishedLink":"https://docs.google.com/document/d/e/s3cret/pub"}]}`, `{"revisions":[{"id":"1","published":true}]}`},
		"shared drives":    {"GET", "drive", "/drive/v3/drives", "", 200, "", `{"drives":[{"id":"d","backgroundImageLink":"https://lh3.googleusercontent.com/s3cret"}]}`, `{"drives":[{"id":"d"}]}`},
		"content":          {"GET", "drive", "/drive/v3/files/f1?alt=media", "", 200, "", `{ "thumbnailLink":"of the file's own" }`, `{ "thumbnailLink":"of the file's own" }`},
		"an error":         {"GET", "drive", "/drive/v3/files/f1", "", 404, "", "gone", "gone"},
	} {
		b.status, b.reply, b.location = c.status, c.reply, strings.Replace(c.location, "BACK", b.back.URL, 1)
		res, s := b.ask(c.method, c.upstream, c.target, c.body, nil)
		if res.StatusCode != c.status || s != c.want {
			t.Errorf("%s: %d %s, want %s", name, res.StatusCode, s, c.want)
		}
		if at := res.Header.Get("Location"); at != strings.Replace(c.location, "BACK", testScope+"/"+c.upstream, 1) && !(at == "" && strings.Contains(c.location, "s3cret")) || len(res.Header["Content-Location"]) > 0 {
			t.Errorf("%s leads to %q, and %q", name, at, res.Header["Content-Location"])
		}
		res, s = b.ask(c.method, c.upstream, c.target, c.body, under)
		for _, v := range res.Header {
			s += strings.Join(v, " ")
		}
		if strings.Contains(s, "s3cret") {
			t.Errorf("%s, under layers: %s", name, s)
		}
	}
}

// TestWithheldOfMany: a long list is looked through, too, and takes its room among what is held.
func TestWithheldOfMany(t *testing.T) {
	b := newBearers(t)
	many := func(n int, last string) string {
		return `{"files":[` + strings.Repeat(`{"id":"f1","trashed":false},`, n) + `{"id":"f1"` + last + `}]}`
	}
	b.status, b.kind, b.reply = http.StatusOK, "application/json", many(50_000, `,"thumbnailLink":"s3cret"`)
	if res, s := b.ask("GET", "drive", "/drive/v3/files", "", nil); res.StatusCode != http.StatusOK || s != many(50_000, "") {
		t.Errorf("%d %.200s", res.StatusCode, s)
	}
	b.g.held.most.Store(8 << 20)
	if res, s := b.ask("GET", "drive", "/drive/v3/files", "", nil); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without room: %d %.200s", res.StatusCode, s)
	}
}

// TestWithheldOrNothing: what cannot be looked through is not sent on.
func TestWithheldOrNothing(t *testing.T) {
	b := newBearers(t)
	b.kind, b.status, b.location = "text/plain", http.StatusFound, "https://doc-0s.googleusercontent.com/s3cret"
	if res, s := b.ask("GET", "drive", "/drive/v3/files/f1?alt=media", "", nil); res.StatusCode != http.StatusBadGateway || strings.Contains(s, "s3cret") || len(res.Header["Location"]) > 0 {
		t.Errorf("at an address elsewhere: %d %s %v", res.StatusCode, s, res.Header)
	}
	b.status, b.location = http.StatusOK, ""
	for _, c := range [][2]string{{"application/x-protobuf", "s3cret"}, {"application/json", `{"id":"f1","thumbnailLink":"s3cret"`}, {"application/json", `["s3cret"]`}, {"text/html", "<a href=s3cret>"}} {
		b.kind, b.reply = c[0], c[1]
		if res, s := b.ask("GET", "drive", "/drive/v3/files/f1", "", nil); res.StatusCode != http.StatusBadGateway || strings.Contains(s, "s3cret") {
			t.Errorf("%s: %d %s", c, res.StatusCode, s)
		}
	}
}
