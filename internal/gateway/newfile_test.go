package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/graph"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestNewFile: a file is made with its content in one request, where the layers reach, and in nobody's place.
func TestNewFile(t *testing.T) {
	seenBy, made := "ben@example.com", ""
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method != http.MethodGet {
			b, _ := io.ReadAll(r.Body)
			made = r.Method + " " + r.RequestURI + " " + string(b)
			w.WriteHeader(http.StatusCreated)
			if strings.HasSuffix(r.URL.Path, "/createUploadSession") {
				_, _ = io.WriteString(w, `{"uploadUrl":"http://`+r.Host+`/up"}`)
				return
			}
			_, _ = io.WriteString(w, `{"id":"f2","name":"notes.txt","@microsoft.graph.downloadUrl":"https://elsewhere.example/x"}`)
			return
		}
		_, _ = io.WriteString(w, `{"id":"d1","folder":{},"lastModifiedDateTime":"2020-11-26T10:00:00Z","parentReference":{"id":"root"},"permissions":[{"grantedToV2":{"user":{"email":"`+seenBy+`"}}}]}`)
	}), func(c *Config) { c.Families = []connector.Family{graph.Family()} })
	w.applyUpstream(&policy.Upstream{Name: "graph", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "graph", Description: []byte("v1.0"), Version: 2})
	w.apply(feed.Change{Grant: all("bot"), Removed: true})
	o := &layeredOffice{world: w}
	contacts := layer.Layers{Contacts: layer.Contacts{Write: []string{"example.com"}}}
	inside := layer.Layers{Within: layer.Within{Folders: []string{"d1!x"}}}
	own := layer.Layers{Within: layer.Within{Drives: []string{"own"}}}
	const fail = "?%40microsoft.graph.conflictBehavior=fail"
	const begin = `{"item":{"@microsoft.graph.conflictBehavior":"fail"}}`
	for _, c := range []struct {
		name, method, target, body, seenBy string
		layers                             layer.Layers
		want                               int
	}{
		{"in a folder", "PUT", "/me/drive/items/d1:/notes.txt:/content" + fail, "hello", "ben@example.com", contacts, 201},
		{"a name with a blank", "PUT", "/me/drive/items/d1:/my%20notes%23.txt:/content" + fail, "hello", "ben@example.com", contacts, 201},
		{"renamed if need be", "PUT", "/me/drive/items/d1:/notes.txt:/content?@microsoft.graph.conflictBehavior=rename", "hello", "ben@example.com", contacts, 201},
		{"at the top", "PUT", "/me/drive/items/root:/notes.txt:/content" + fail, "hello", "ben@example.com", contacts, 201},
		{"that a stranger sees", "PUT", "/me/drive/items/d1:/notes.txt:/content" + fail, "hello", "eve@evil.example", contacts, 403},
		{"at the top that a stranger sees", "PUT", "/drives/b1/items/root:/notes.txt:/content" + fail, "hello", "eve@evil.example", contacts, 403},
		{"in two steps, that a stranger sees", "POST", "/me/drive/items/d1/children", `{"name":"x","file":{}}`, "eve@evil.example", contacts, 403},
		{"in two steps, at the top that a stranger sees", "POST", "/drives/b1/root/children", `{"name":"x","file":{}}`, "eve@evil.example", contacts, 403},
		{"in two steps", "POST", "/me/drive/items/d1/children", `{"name":"x","file":{}}`, "ben@example.com", contacts, 201},
		{"in several requests, that a stranger sees", "POST", "/me/drive/items/d1:/x:/createUploadSession", begin, "eve@evil.example", contacts, 403},
		{"in several requests, at the top that a stranger sees", "POST", "/drives/b1/root:/x:/createUploadSession", begin, "eve@evil.example", contacts, 403},
		{"in several requests", "POST", "/me/drive/items/d1:/x:/createUploadSession", begin, "ben@example.com", contacts, 201},
		{"in several requests, at the top", "POST", "/me/drive/root:/x:/createUploadSession", begin, "ben@example.com", contacts, 201},
		{"in several requests, in the folder of the grant", "POST", "/me/drive/items/d1!x:/x:/createUploadSession", begin, "ben@example.com", inside, 201},
		{"in several requests, in another", "POST", "/me/drive/items/d2:/x:/createUploadSession", begin, "ben@example.com", inside, 403},
		{"in several requests, in an old folder", "POST", "/me/drive/items/d1:/x:/createUploadSession", begin, "ben@example.com", layer.Layers{Time: layer.Time{Days: 1}}, 201},
		{"in the folder of the grant", "PUT", "/me/drive/items/d1!x:/notes.txt:/content" + fail, "hello", "ben@example.com", inside, 201},
		{"in two steps, in the folder of the grant", "POST", "/me/drive/items/d1!x/children", `{"name":"x","file":{}}`, "ben@example.com", inside, 201},
		{"in two steps, in another", "POST", "/me/drive/items/d2/children", `{"name":"x","file":{}}`, "ben@example.com", inside, 403},
		{"in an old folder", "PUT", "/me/drive/items/d1:/notes.txt:/content" + fail, "hello", "ben@example.com", layer.Layers{Time: layer.Time{Days: 1}}, 201},
		{"in two steps, in an old folder", "POST", "/me/drive/root/children", `{"name":"x","file":{}}`, "ben@example.com", layer.Layers{Time: layer.Time{Days: 1}}, 201},
		{"in another", "PUT", "/me/drive/items/d2:/notes.txt:/content" + fail, "hello", "ben@example.com", inside, 403},
		{"in the own drive", "PUT", "/me/drive/items/d2:/notes.txt:/content" + fail, "hello", "ben@example.com", own, 201},
		{"in another drive", "PUT", "/drives/b1/items/d2:/notes.txt:/content" + fail, "hello", "ben@example.com", own, 403},
		{"in somebody's place", "PUT", "/me/drive/items/d1:/notes.txt:/content?%40microsoft.graph.conflictBehavior=replace", "hello", "ben@example.com", own, 403},
		{"in somebody's place, unsaid", "PUT", "/me/drive/items/d1:/notes.txt:/content", "hello", "ben@example.com", own, 403},
		{"in somebody's place, said twice", "PUT", "/me/drive/items/d1:/notes.txt:/content" + fail + "&@microsoft.graph.conflictBehavior=replace", "hello", "ben@example.com", own, 403},
		{"a path", "PUT", "/me/drive/items/d1:/a/notes.txt:/content" + fail, "hello", "ben@example.com", own, 403},
		{"up", "PUT", "/me/drive/items/d1:/..:/content" + fail, "hello", "ben@example.com", own, 403},
		{"here", "PUT", "/me/drive/items/d1:/.:/content" + fail, "hello", "ben@example.com", own, 403},
		{"a second path", "PUT", "/me/drive/items/d1:/x:y:/content" + fail, "hello", "ben@example.com", own, 403},
		{"a second path, encoded", "PUT", "/me/drive/items/d1:/x%3Ay:/content" + fail, "hello", "ben@example.com", own, 403},
		{"a colon, encoded", "PUT", "/me/drive/items/d1%3A/notes.txt%3A/content" + fail, "hello", "ben@example.com", own, 403},
		{"two colons", "PUT", "/me/drive/items/d1::/notes.txt:/content" + fail, "hello", "ben@example.com", own, 403},
		{"no name", "PUT", "/me/drive/items/d1:/:/content" + fail, "hello", "ben@example.com", own, 403},
		{"to read it so", "GET", "/me/drive/items/d1:/notes.txt:/content", "", "ben@example.com", own, 403},
		{"by a path from the top", "PUT", "/me/drive/root:/notes.txt:/content" + fail, "hello", "ben@example.com", own, 403},
	} {
		o.grant("graph", c.layers, "file.write", "file.read")
		seenBy, made = c.seenBy, ""
		claims := w.claims("bot")
		claims.Audience = testScope + "/graph"
		r := w.request(c.method, "/graph/v1.0"+c.target, w.mint(claims), strings.NewReader(c.body))
		r.Header.Set("Content-Type", map[bool]string{true: "application/json", false: "text/plain"}[strings.HasPrefix(c.body, "{")])
		res, s := w.do(r)
		if res.StatusCode != c.want || (made != "") != (c.want == 201) || strings.Contains(s, "elsewhere.example") {
			t.Errorf("%s: %d %s, made %q", c.name, res.StatusCode, s, made)
		}
		if c.want == 201 && made != c.method+" /v1.0"+c.target+" "+c.body {
			t.Errorf("%s: another request went on: %s", c.name, made)
		}
	}
}
