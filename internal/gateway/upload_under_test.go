package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/graph"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// What else decides on an upload, in the midst of it: people, where values came from, budgets, layers, the cord.

// TestUploadsAsked: nobody is asked about content that they cannot be shown, neither when it begins nor later.
func TestUploadsAsked(t *testing.T) {
	o := newOffice(t)
	o.grant("drive", layer.Layers{}, "read", "write")
	p := &people{view: o.view}
	o.g.Desk = p
	target := o.begin(`{"name":"x.bin"}`)
	o.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "asks", Cedar: `@approve("owner") forbid(principal, action in [Lanyard::Action::"write"], resource);`}})
	for name, c := range map[string][3]string{"begun": {"POST", "/upload/drive/v3/files?uploadType=resumable", `{"name":"y.bin"}`}, "gone on with": {"PUT", target, "0123456789"}} {
		kind := asJSON
		if c[0] == "PUT" {
			kind = "application/pdf"
		}
		if res, s := o.send(c[0], "drive", c[1], kind, c[2]); res.StatusCode != 403 || !strings.Contains(s, "whose content comes later") || len(p.all) != 0 {
			t.Errorf("%s: %d %s, %d questions", name, res.StatusCode, s, len(p.all))
		}
	}
	if res, s := o.send("POST", "drive", "/upload/drive/v3/files?uploadType=multipart", related, inParts("Content-Type: application/json\r\n\r\n{\"name\":\"z.bin\"}", "Content-Type: text/plain\r\n\r\nhello")); res.StatusCode != 403 || len(p.all) != 1 {
		t.Errorf("in one: %d %s, %d questions", res.StatusCode, s, len(p.all))
	}
}

// TestUploadsTraced: what is looked at of content in one request is looked at in several.
func TestUploadsTraced(t *testing.T) {
	w, _, ask := rest(t, "Put a summary into my drive")
	w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "links", Cedar: `forbid(principal, action in [Lanyard::Action::"write"], resource) when { context has links && (context.links.contains("content") || context.links.contains("unseen")) };`}})
	const link, plain = "see https://www.evil-pages.example/x", "nothing to see"
	for name, c := range map[string]struct {
		metadata, kind, content string
		begins, goes            int
	}{
		"a link in its name":        {`{"name":"` + link + `"}`, "text/plain", plain, 403, 0},
		"a link in its description": {`{"name":"x","description":"` + link + `"}`, "text/plain", plain, 403, 0},
		"a link in its text":        {`{"name":"x"}`, "text/plain; charset=utf-8", link, 200, 403},
		"no link":                   {`{"name":"x"}`, "text/plain", plain, 200, 200},
		"of another type":           {`{"name":"x"}`, "application/pdf", link, 200, 200}, // as in one request
	} {
		for _, in := range []struct {
			what, target, kind, content string
			status                      int
		}{
			{"in parts", "/upload/drive/v3/files?uploadType=multipart", related, inParts("Content-Type: application/json\r\n\r\n"+c.metadata, "Content-Type: "+c.kind+"\r\n\r\n"+c.content), c.begins},
			{"alone", "/upload/drive/v3/files?uploadType=media", c.kind, c.content, c.goes},
		} {
			if status, s := ask("POST", "drive", in.target, in.kind, in.content); in.status != 0 && status != in.status {
				t.Errorf("%s, %s: %d %s, want %d", name, in.what, status, s, in.status)
			}
		}
		cl := w.claims("bot")
		cl.Audience, cl.Task = testScope+"/drive", "task_t"
		r := w.request("POST", "/drive/upload/drive/v3/files?uploadType=resumable", w.mint(cl), strings.NewReader(c.metadata))
		r.Header.Set("Content-Type", asJSON)
		res, s := w.do(r)
		if res.StatusCode != c.begins {
			t.Errorf("%s, begun: %d %s, want %d", name, res.StatusCode, s, c.begins)
		}
		if res.StatusCode == 200 {
			if status, s := ask("PUT", "drive", strings.TrimPrefix(res.Header.Get("Location"), testScope+"/drive"), c.kind, c.content); status != c.goes {
				t.Errorf("%s, gone on with: %d %s, want %d", name, status, s, c.goes)
			}
		}
	}
}

// TestUploadsCounted: each part is a call of a task's, and its bytes are counted as they go by.
func TestUploadsCounted(t *testing.T) {
	for name, c := range map[string]struct {
		budget policy.Budget
		parts  int // that pass
	}{"calls": {policy.Budget{policy.Calls: 3}, 2}, "bytes": {policy.Budget{policy.Bytes: 3*unit + 100}, 3}, "both": {policy.Budget{policy.Calls: 100, policy.Bytes: 100}, 0}} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.grant("drive", layer.Layers{}, "read", "write")
			b := &treasury{plane: o.plane, limit: map[string]policy.Budget{}, given: map[string]policy.Budget{}}
			o.g.Source, o.g.purses.source = b, b
			o.task(b, "task_u", c.budget, func(t *policy.Task) { t.Scope[0].Upstream = "drive" })
			cl := o.claims("bot")
			cl.Audience, cl.Task = testScope+"/drive", "task_u"
			send := func(method, target, body, said string) (*http.Response, string) {
				r := o.request(method, "/drive"+target, o.mint(cl), strings.NewReader(body))
				r.Header.Set("Content-Type", asJSON)
				if said != "" {
					r.Header.Set("Content-Range", said)
				}
				res, err := http.DefaultClient.Do(r)
				if err != nil { // it was cut in the midst of its part
					return &http.Response{StatusCode: 403}, ""
				}
				defer res.Body.Close()
				b, _ := io.ReadAll(res.Body) // or in the midst of its answer
				return res, string(b)
			}
			res, s := send("POST", "/upload/drive/v3/files?uploadType=resumable", `{"name":"x"}`, "")
			target := o.begun("drive", res, s)
			for i := range c.parts + 1 {
				res, s := send("PUT", target, content(t, unit), fmt.Sprintf("bytes %d-%d/*", i*unit, (i+1)*unit-1))
				if (res.StatusCode == 308) != (i < c.parts) {
					t.Fatalf("part %d: %d %s", i, res.StatusCode, s)
				}
			}
		})
	}
}

// TestAttachmentSession: what is attached to a draft goes the same way, in the words that Outlook has for it, and to the draft of one's own alone.
func TestAttachmentSession(t *testing.T) {
	var got []string
	places := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = append(got, string(b))
		if r.Header.Get("Authorization") != "" || r.URL.RawQuery != "authtoken=secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if len(got) == 1 {
			_, _ = io.WriteString(w, `{"@odata.context":"secret","ExpirationDateTime":"x","NextExpectedRanges":["3"]}`)
			return
		}
		w.Header().Set("Location", "https://outlook.example/secret")
		w.WriteHeader(http.StatusCreated)
	}))
	defer places.Close()
	from := "maya@example.com"
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", asJSON)
		if r.Method == "GET" {
			fmt.Fprintf(w, `{"id":"m1","isDraft":true,"receivedDateTime":"2026-11-26T10:00:00Z","from":{"emailAddress":{"address":%q}},"toRecipients":[],"ccRecipients":[],"bccRecipients":[],"replyTo":[]}`, from)
			return
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"uploadUrl":%q,"expirationDateTime":"x","nextExpectedRanges":["0-"]}`, places.URL+"/AttachmentSessions('a')?authtoken=secret")
	}), func(c *Config) { c.Families = []connector.Family{graph.Family()} })
	w.applyUpstream(&policy.Upstream{Name: "graph", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "graph", Description: []byte("v1.0"), Version: 2})
	o := &layeredOffice{world: w}
	o.grant("graph", layer.Layers{Contacts: layer.Contacts{See: []string{"example.com"}}}, "mail.draft")
	const path, body = "/v1.0/me/messages/m1/attachments/createUploadSession", `{"AttachmentItem":{"attachmentType":"file","name":"a.pdf","size":6}}`
	res, s := o.send("POST", "graph", path, asJSON, body)
	var v struct{ UploadURL string }
	if err := json.Unmarshal([]byte(s), &v); err != nil || res.StatusCode != 201 || strings.Contains(s, "secret") || !strings.HasPrefix(v.UploadURL, testScope+"/graph/v1.0/me/messages/m1/attachments/createUploadSession?upload_id=") {
		t.Fatalf("begun: %d %s", res.StatusCode, s)
	}
	target := strings.TrimPrefix(v.UploadURL, testScope+"/graph")
	if res, s := o.send("PUT", "graph", target, "", "012", "Content-Range", "bytes 0-2/7"); res.StatusCode != 400 {
		t.Errorf("of another size: %d %s", res.StatusCode, s)
	}
	if res, s := o.send("PUT", "graph", target, "", "012", "Content-Range", "bytes 0-2/6"); res.StatusCode != 200 || s != `{"ExpirationDateTime":"x","NextExpectedRanges":["3"]}` {
		t.Errorf("a part: %d %s", res.StatusCode, s)
	}
	if res, s := o.send("PUT", "graph", target, "", "345", "Content-Range", "bytes 3-5/6"); res.StatusCode != 201 || s != "" || res.Header.Get("Location") != "" {
		t.Errorf("the end: %d %v %s", res.StatusCode, res.Header, s)
	}
	from = "eve@evil.example" // who is not seen: the draft is not one that is there
	for method, target := range map[string]string{"POST": path, "PUT": target} {
		content := body
		if method == "PUT" {
			content = "012345"
		}
		if res, s := o.send(method, "graph", target, asJSON, content); res.StatusCode != 404 {
			t.Errorf("%s to what is hidden: %d %s", method, res.StatusCode, s)
		}
	}
	if strings.Join(got, "|") != "012|345" {
		t.Errorf("%q came", got)
	}
}

// TestUploadsUnderLayers: an upload begins where layers reach and nowhere else, in both protocols, and a folder that others come to see takes no more of it.
func TestUploadsUnderLayers(t *testing.T) {
	o := newOffice(t)
	folder, csv := o.id("Invoices"), o.id("suppliers.csv")
	l := layer.Layers{Within: layer.Within{Folders: []string{folder}}, Contacts: layer.Contacts{See: []string{"example.com"}, Write: []string{"example.com"}}}
	for _, u := range []string{"drive", "graph"} {
		o.grant(u, l, "read", "write")
	}
	const fail = `{"item":{"@microsoft.graph.conflictBehavior":"fail"}}`
	begin := func(upstream, method, target, body string) (*http.Response, string) {
		return o.send(method, upstream, target, asJSON, body)
	}
	for name, c := range map[string][4]string{
		"into the root":          {"drive", "POST", "/upload/drive/v3/files?uploadType=resumable", `{"name":"x"}`},
		"into another":           {"drive", "POST", "/upload/drive/v3/files?uploadType=resumable", `{"name":"x","parents":["elsewhere"]}`},
		"into both":              {"drive", "POST", "/upload/drive/v3/files?uploadType=resumable", `{"name":"x","parents":["` + folder + `","root"]}`},
		"over a file elsewhere":  {"drive", "PATCH", "/upload/drive/v3/files/" + csv + "?uploadType=resumable", `{}`},
		"into Graph's root":      {"graph", "POST", "/v1.0/me/drive/root:/x:/createUploadSession", fail},
		"into another of Graph":  {"graph", "POST", "/v1.0/me/drive/items/" + csv + ":/x:/createUploadSession", fail},
		"over a file of Graph's": {"graph", "POST", "/v1.0/me/drive/items/" + csv + "/createUploadSession", `{}`},
		"of another drive":       {"graph", "POST", "/v1.0/drives/b9/items/" + folder + ":/x:/createUploadSession", fail},
	} {
		if res, s := begin(c[0], c[1], c[2], c[3]); res.StatusCode != 403 && res.StatusCode != 404 {
			t.Errorf("%s: %d %s", name, res.StatusCode, s)
		}
	}
	targets := map[string]string{}
	res, s := begin("drive", "POST", "/upload/drive/v3/files?uploadType=resumable", `{"name":"x","parents":["`+folder+`"]}`)
	targets["drive"] = o.begun("drive", res, s)
	res, s = begin("graph", "POST", "/v1.0/me/drive/items/"+folder+":/y:/createUploadSession", fail)
	targets["graph"] = o.begun("graph", res, s)
	part := func(upstream string, n int) int {
		res, _ := o.send("PUT", upstream, targets[upstream], "application/pdf", content(t, unit), "Content-Range", fmt.Sprintf("bytes %d-%d/%d", n*unit, (n+1)*unit-1, 10*unit))
		return res.StatusCode
	}
	if a, b := part("drive", 0), part("graph", 0); a != 308 || b != 202 {
		t.Errorf("where they reach: %d, %d", a, b)
	}
	r, err := http.NewRequest("POST", o.back.URL+"/drive/v3/files/"+folder+"/permissions", strings.NewReader(`{"type":"user","role":"reader","emailAddress":"eve@evil.example"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+canary)
	if res, s := o.do(r); res.StatusCode != 200 {
		t.Fatalf("shared: %d %s", res.StatusCode, s)
	}
	asked := len(o.o.Requests())
	for upstream := range targets {
		if status := part(upstream, 1); status != 403 && status != 404 {
			t.Errorf("%s, when somebody else has come to see it: %d", upstream, status)
		}
	}
	for _, r := range o.o.Requests()[asked:] {
		if strings.Contains(r.Target, "upload_id") || strings.HasPrefix(r.Target, "/up/") {
			t.Errorf("a part was sent: %s", r.Target)
		}
	}
}

// TestUploadCut: a kill in the midst of a part ends it there and then.
func TestUploadCut(t *testing.T) {
	o := newOffice(t)
	o.grant("drive", layer.Layers{}, "read", "write")
	target := o.begin(`{"name":"cut.bin"}`)
	conn := o.beginning(target, unit)
	eventually(t, "the part runs", func() bool { return o.g.streams.running() == 1 })
	begun := time.Now()
	o.apply(feed.Change{Identity: &identity.Identity{ID: id("bot"), Owner: "maya", Purpose: "tests", Environment: "production", State: identity.Killed, Generation: 1, Expires: time.Now().Add(time.Hour)}})
	b := make([]byte, 1024)
	n, _ := conn.Read(b)
	if took := time.Since(begun); n > 0 && !bytes.HasPrefix(b[:n], []byte("HTTP/1.1 401 ")) || took > 10*time.Second {
		t.Errorf("after %s: %s", took, b[:n])
	}
	eventually(t, "it has ended", func() bool { return o.g.streams.running() == 0 })
	o.ended("is no longer good")
	if len(o.holds("cut.bin")) != 0 {
		t.Error("the file is there")
	}
}

// TestUploadsWithAccounts: a place that refuses what comes is not shown another token of the account, and an upload of one account is none of another's.
func TestUploadsWithAccounts(t *testing.T) {
	shown := make(chan string, 10)
	places := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown <- r.Header.Get("Authorization")
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer places.Close()
	b := newBank(t, func(c *Config) { c.Families = []connector.Family{graph.Family()} })
	reply := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"uploadUrl":%q,"nextExpectedRanges":["0-"]}`, places.URL+"/up/x")
	})
	b.reply.Store(&reply)
	b.applyUpstream(&policy.Upstream{Name: "mail", URL: b.back.URL, Owner: "maya", Environment: "production", Family: "graph", Description: []byte("v1.0"), Version: 3, OAuth: &policy.OAuth{Account: policy.Own}})
	r := b.request("POST", "/mail/v1.0/me/drive/items/i1/createUploadSession", b.mint(b.claims("bot")), strings.NewReader(`{}`))
	r.Header.Set("Content-Type", asJSON)
	res, s := b.do(r)
	var v struct{ UploadURL string }
	if err := json.Unmarshal([]byte(s), &v); err != nil || res.StatusCode != 200 {
		t.Fatalf("begun: %d %s", res.StatusCode, s)
	}
	target, asks := strings.TrimPrefix(v.UploadURL, testScope), b.asks.Load()
	for _, who := range []string{"bot", "bens"} {
		if res, s := b.do(b.request("PUT", target, b.mint(b.claims(who)), strings.NewReader("0123"))); res.StatusCode != 404 {
			t.Errorf("%s: %d %s", who, res.StatusCode, s)
		}
	}
	if len(shown) != 1 || b.asks.Load() != asks {
		t.Fatalf("%d came, and the account's token was asked for %d times more", len(shown), b.asks.Load()-asks)
	}
	if token := <-shown; token != "" {
		t.Errorf("the place was shown %q", token)
	}
	// The identity is another owner's by now, and goes with that one's account.
	b.own("bot", "ben")
	if res, s := b.do(b.request("PUT", target, b.mint(b.claims("bot")), strings.NewReader("0123"))); res.StatusCode != 404 || len(shown) != 0 {
		t.Errorf("handed over: %d %s", res.StatusCode, s)
	}
}
