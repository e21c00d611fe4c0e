package gateway

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/google"
	"github.com/lanyard-dev/lanyard/internal/connector/graph"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

const unit = 256 << 10 // all parts of Google's but the last are multiples of it

// content is n bytes that no part of could be taken for another.
func content(t testing.TB, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// begun is what an answer says of where an upload goes on, as a target at that upstream. Nothing else of it may lead there.
func (o *layeredOffice) begun(upstream string, res *http.Response, s string) string {
	o.t.Helper()
	at := res.Header.Get("Location")
	if upstream == "graph" {
		var v map[string]any
		_ = json.Unmarshal([]byte(s), &v)
		at, _ = v["uploadUrl"].(string)
		if v["nextExpectedRanges"] == nil || v["expirationDateTime"] == nil {
			o.t.Errorf("begun: %s", s)
		}
	} else if s != "" {
		o.t.Errorf("begun with a body: %q", s)
	}
	target, here := strings.CutPrefix(at, testScope+"/"+upstream)
	if res.StatusCode != 200 || !here {
		o.t.Fatalf("begun: %d %v %s", res.StatusCode, res.Header, s)
	}
	o.sealed(res, s)
	return target
}

// sealed fails when an answer tells where the upstream takes content.
func (o *layeredOffice) sealed(res *http.Response, s string) {
	o.t.Helper()
	all := fmt.Sprint(res.Header) + s
	for _, seen := range o.o.Requests() {
		if _, id, ok := strings.Cut(seen.Target, "upload_id="); ok && strings.Contains(all, id) {
			o.t.Errorf("the place is told: %s", all)
		}
	}
	if strings.Contains(all, "/up/") || res.Header.Get("X-Guploader-Uploadid") != "" || strings.Contains(all, o.back.URL) {
		o.t.Errorf("the place is told: %s", all)
	}
}

func (o *layeredOffice) begin(body string) string {
	o.t.Helper()
	res, s := o.send("POST", "drive", "/upload/drive/v3/files?uploadType=resumable", asJSON, body, "X-Upload-Content-Type", "application/pdf")
	return o.begun("drive", res, s)
}

// holds is what the office has of a file of that name; nothing if there is none.
func (o *layeredOffice) holds(name string) []string {
	o.t.Helper()
	req, err := http.NewRequest("GET", o.back.URL+"/drive/v3/files?q=name='"+name+"'", nil)
	if err != nil {
		o.t.Fatal(err)
	}
	get := func() []byte {
		req.Header.Set("Authorization", "Bearer "+canary)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			o.t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			o.t.Fatal(err)
		}
		return b
	}
	var v struct{ Files []struct{ ID string } }
	if err := json.Unmarshal(get(), &v); err != nil {
		o.t.Fatal(err)
	}
	var all []string
	for _, f := range v.Files {
		if req, err = http.NewRequest("GET", o.back.URL+"/drive/v3/files/"+f.ID+"?alt=media", nil); err != nil {
			o.t.Fatal(err)
		}
		all = append(all, string(get()))
	}
	return all
}

// underBoth runs f without layers and with.
func underBoth(t *testing.T, f func(t *testing.T, o *layeredOffice)) {
	for name, l := range map[string]layer.Layers{"plain": {}, "layers": {Show: layer.Headers, Contacts: layer.Contacts{See: []string{"example.com"}, Write: []string{"example.com"}}}} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			for _, u := range []string{"drive", "graph"} {
				o.grant(u, l, "read", "write")
			}
			f(t, o)
		})
	}
}

// TestResumable: a file of Drive's comes in several requests, each of which is recorded, and nobody learns where to.
func TestResumable(t *testing.T) {
	underBoth(t, func(t *testing.T, o *layeredOffice) {
		want := content(t, 2*unit+100)
		target := o.begin(`{"name":"large.pdf"}`)
		part := func(method string, from, to int, total string, status int, upto string, header ...string) string {
			t.Helper()
			body, said := want[from:to], fmt.Sprintf("bytes %d-%d/%s", from, to-1, total)
			if from == to {
				said = "bytes */" + total
			}
			res, s := o.send(method, "drive", target, "application/pdf", body, append([]string{"Content-Range", said}, header...)...)
			if res.StatusCode != status || res.Header.Get("Range") != upto {
				t.Fatalf("%s: %d %v %s", said, res.StatusCode, res.Header, s)
			}
			if more := res.Header.Get("X-Http-Status-Code-Override") == "308"; more != (len(header) > 0) {
				t.Errorf("%s: %v", said, res.Header)
			}
			o.sealed(res, s)
			return s
		}
		part("PUT", 0, 0, "*", 308, "")
		part("POST", 0, unit, "*", 200, fmt.Sprintf("bytes=0-%d", unit-1), "X-GUploader-No-308", "yes")
		part("PUT", unit, 2*unit, strconv.Itoa(len(want)), 308, fmt.Sprintf("bytes=0-%d", 2*unit-1))
		part("PUT", 0, 0, strconv.Itoa(len(want)), 308, fmt.Sprintf("bytes=0-%d", 2*unit-1))
		if s := part("PUT", 2*unit, len(want), strconv.Itoa(len(want)), 200, ""); !strings.Contains(s, `"id":"`) {
			t.Errorf("made: %s", s)
		}
		if got := o.holds("large.pdf"); len(got) != 1 || got[0] != want {
			t.Errorf("%d files", len(got))
		}
		if res, s := o.send("PUT", "drive", target, "", "", "Content-Range", "bytes */*"); res.StatusCode != 404 {
			t.Errorf("over: %d %s", res.StatusCode, s)
		}
		for _, r := range o.o.Requests() {
			if strings.Contains(r.Target, "upload_id") && (r.Header.Get("Authorization") != "Bearer "+canary || r.Header.Get("Traceparent") == "") {
				t.Errorf("a part went out without what is due: %v", r)
			}
		}
		parts := map[string]int{}
		eventually(t, "all is recorded", func() bool {
			clear(parts)
			for _, e := range o.plane.recorded() {
				if e.Action == "drive.files.create" && e.Outcome != "pending" {
					parts[e.Detail["upload"]]++
				}
			}
			return len(parts) == 7-1
		})
		for _, said := range []string{"begins", "bytes */*", fmt.Sprintf("bytes 0-%d/*", unit-1), fmt.Sprintf("bytes */%d", len(want)), fmt.Sprintf("bytes %d-%d/%d", 2*unit, len(want)-1, len(want))} {
			if parts[said] == 0 {
				t.Errorf("%s is not recorded: %v", said, parts)
			}
		}
		// An existing file, whose content comes in one request without a Content-Range.
		res, s := o.send("PATCH", "drive", "/upload/drive/v3/files/"+o.id("large.pdf")+"?uploadType=resumable", asJSON, `{"name":"new.pdf"}`, "X-Upload-Content-Length", "5")
		target = o.begun("drive", res, s)
		if res, s := o.send("PUT", "drive", target, "application/pdf", "hello"); res.StatusCode != 200 {
			t.Errorf("over it: %d %s", res.StatusCode, s)
		}
		if got := o.holds("new.pdf"); len(got) != 1 || got[0] != "hello" || len(o.holds("large.pdf")) != 0 {
			t.Errorf("over it: %q", got)
		}
		target = o.begin(`{"name":"never.pdf"}`)
		if res, _ := o.send("DELETE", "drive", target, "", ""); res.StatusCode != 499 {
			t.Errorf("given up: %d", res.StatusCode)
		}
		if res, _ := o.send("PUT", "drive", target, "", "x"); res.StatusCode != 404 {
			t.Errorf("after it was given up: %d", res.StatusCode)
		}
	})
}

// id is that of a file, as the office itself says it.
func (o *layeredOffice) id(name string) string {
	o.t.Helper()
	req, err := http.NewRequest("GET", o.back.URL+"/drive/v3/files?q=name='"+name+"'", nil)
	if err != nil {
		o.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+canary)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer res.Body.Close()
	var v struct{ Files []struct{ ID string } }
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil || len(v.Files) != 1 {
		o.t.Fatalf("%s: %v %v", name, v, err)
	}
	return v.Files[0].ID
}

// TestUploadSession: the same with Graph, which has the content put at another address that asks for no token.
func TestUploadSession(t *testing.T) {
	underBoth(t, func(t *testing.T, o *layeredOffice) {
		want := content(t, 3000)
		put := func(target string, from, to int) (*http.Response, string) {
			t.Helper()
			res, s := o.send("PUT", "graph", target, "application/octet-stream", want[from:to], "Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(want)), "X-Smuggled", "1", "Cookie", "a=b", "Lanyard-X", "1")
			o.sealed(res, s)
			return res, s
		}
		for _, path := range []string{"/v1.0/me/drive/root:/large.bin:/createUploadSession", "/v1.0/me/drive/items/" + o.id("Invoices") + ":/large%20one.bin:/createUploadSession", "/v1.0/me/drive/items/" + o.id("suppliers.csv") + "/createUploadSession"} {
			body := `{"item":{"@microsoft.graph.conflictBehavior":"fail"}}`
			if !strings.Contains(path, ":") {
				body = `{"item":{"fileSize":3000}}`
			}
			res, s := o.send("POST", "graph", path, asJSON, body)
			target := o.begun("graph", res, s)
			if res, s := put(target, 0, 1000); res.StatusCode != 202 || !strings.Contains(s, `"nextExpectedRanges":["1000-"]`) {
				t.Fatalf("%s: %d %s", path, res.StatusCode, s)
			}
			if res, s := put(target, 0, 1000); res.StatusCode != 416 || strings.Contains(s, "here already") {
				t.Errorf("again: %d %s", res.StatusCode, s)
			}
			res, s = o.send("GET", "graph", target, "", "")
			if o.sealed(res, s); res.StatusCode != 200 || !strings.Contains(s, `"nextExpectedRanges":["1000-"]`) || strings.Contains(s, "uploadUrl") {
				t.Errorf("asked: %d %s", res.StatusCode, s)
			}
			if res, s := put(target, 1000, 3000); res.StatusCode != 201 || !strings.Contains(s, `"id"`) || strings.Contains(s, "download") {
				t.Errorf("made: %d %s", res.StatusCode, s)
			}
		}
		for _, name := range []string{"large.bin", "large%20one.bin", "suppliers.csv"} {
			if got := o.holds(strings.ReplaceAll(name, "%20", "+")); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %d files", name, len(got))
			}
		}
		for _, r := range o.o.Requests() {
			if strings.HasPrefix(r.Target, "/up/") {
				for _, name := range []string{"Authorization", "Traceparent", "X-Smuggled", "Cookie", "Lanyard-X", "Lanyard-Chain"} {
					if r.Header.Get(name) != "" {
						t.Errorf("the place was shown %s: %v", name, r)
					}
				}
			}
		}
		res, s := o.send("POST", "graph", "/v1.0/me/drive/root:/never.bin:/createUploadSession", asJSON, `{"item":{"@microsoft.graph.conflictBehavior":"rename","name":"never.bin"}}`)
		target := o.begun("graph", res, s)
		if res, s := o.send("DELETE", "graph", target, "", ""); res.StatusCode != 204 {
			t.Errorf("given up: %d %s", res.StatusCode, s)
		}
		if res, _ := put(target, 0, 1000); res.StatusCode != 404 {
			t.Errorf("after it was given up: %d", res.StatusCode)
		}
	})
}

// TestUploadsLie: what says what it is not is refused before anything is sent.
func TestUploadsLie(t *testing.T) {
	o := newOffice(t)
	for _, u := range []string{"drive", "graph"} {
		o.grant(u, layer.Layers{}, "read", "write")
	}
	res, s := o.send("POST", "drive", "/upload/drive/v3/files?uploadType=resumable", asJSON, `{"name":"x.bin"}`, "X-Upload-Content-Length", "20")
	target, open := o.begun("drive", res, s), o.begin(`{"name":"y.bin"}`)
	csv := o.id("suppliers.csv")
	asked := len(o.o.Requests())
	for name, c := range map[string][]string{
		"another total": {"PUT", "0123456789", "bytes 0-9/30"}, "behind the end": {"PUT", "0123456789", "bytes 15-24/*"}, "behind its own": {"PUT", "0123456789", "bytes 15-24/20"}, "more than it says": {"PUT", "0123456789", "bytes 0-8/20"}, "less than it says": {"PUT", "0123456789", "bytes 0-10/20"},
		"backwards": {"PUT", "0123456789", "bytes 9-0/20"}, "below zero": {"PUT", "0123456789", "bytes -10-0/20"}, "huge": {"PUT", "0123456789", "bytes 0-9/" + strconv.FormatInt(math.MaxInt64, 10)}, "too huge": {"PUT", "0123456789", "bytes 0-9/99999999999999999999"}, "no form": {"PUT", "0123456789", "0-9"},
		"whole of another": {"PUT", "0123456789", ""}, "asks with content": {"PUT", "x", "bytes */20"}, "asks of another": {"PUT", "", "bytes */21"}, "two": {"PUT", "0123456789", "bytes 0-9/20", "bytes 10-19/20"}, "in a list": {"PUT", "0123456789", "bytes 0-4/20, bytes 5-9/20"},
		"given up with content": {"DELETE", "x", ""}, "read": {"GET", "", ""}, "PATCH": {"PATCH", "0123456789", "bytes 0-9/20"}, "looked at": {"HEAD", "", ""},
	} {
		var h []string
		for _, said := range c[2:] {
			if said != "" {
				h = append(h, "Content-Range", said)
			}
		}
		for _, at := range []string{target, open} {
			if at == open && slices.Contains([]string{"another total", "behind the end", "huge", "whole of another", "asks of another"}, name) {
				continue // nobody has said how much is to come
			}
			if res, s := o.send(c[0], "drive", at, "application/octet-stream", c[1], h...); res.StatusCode < 400 || len(o.o.Requests()) != asked {
				t.Errorf("%s: %d %s", name, res.StatusCode, s)
			}
		}
	}
	for name, h := range map[string][]string{"compressed": {"Content-Encoding", "gzip"}, "another protocol": {"X-Goog-Upload-Protocol", "raw"}, "another command": {"X-Goog-Upload-Command", "upload, finalize"}, "another method": {"X-HTTP-Method-Override", "DELETE"}} {
		if res, s := o.send("PUT", "drive", target, "application/octet-stream", "0123456789", append([]string{"Content-Range", "bytes 0-9/20"}, h...)...); res.StatusCode < 400 || len(o.o.Requests()) != asked {
			t.Errorf("%s: %d %s", name, res.StatusCode, s)
		}
	}
	id := target[strings.Index(target, "upload_id=")+len("upload_id="):]
	bent := []byte(id)
	if bent[40]++; bent[40] > 'z' {
		bent[40] = 'a'
	}
	for _, bad := range []string{target + "&addParents=x", target + "&uploadType=resumable", target + "&upload_id=x", target + "&alt=media", target + "&", strings.Replace(target, "uploadType=resumable&", "", 1), strings.Replace(target, "resumable", "media", 1), strings.Replace(target, "resumable", "multipart", 1), strings.Replace(target, "/files", "/files/"+csv, 1),
		strings.Replace(target, "/upload/", "/resumable/upload/", 1), strings.Replace(target, "/upload", "", 1), strings.Replace(target, "upload_id=", "upload_id=%41", 1), target + "=", target + "A", target[:len(target)-1], strings.Replace(target, id, string(bent), 1), strings.Replace(target, id, "", 1), strings.Replace(target, id, "x", 1), strings.Replace(target, id, strings.Repeat("A", 3000), 1),
		"/upload/drive/v3/files?upload_id=" + id + "&uploadType=resumable"} {
		if res, s := o.send("PUT", "drive", bad, "application/octet-stream", "0123456789", "Content-Range", "bytes 0-9/20"); res.StatusCode < 400 || len(o.o.Requests()) != asked {
			t.Errorf("%s: %d %s", bad, res.StatusCode, s)
		}
	}
	// A body of unknown length, and a part with trailers.
	c := o.claims("bot")
	c.Audience = testScope + "/drive"
	for _, head := range []string{"Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\na\r\n0123456789\r\n0\r\nX-A: 1\r\n\r\n"} {
		if status, s := o.world.raw("PUT /drive" + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Range: bytes 0-9/20\r\nAuthorization: Bearer " + o.mint(c) + "\r\n" + head); status != 411 || len(o.o.Requests()) != asked {
			t.Errorf("without a length: %d %s", status, s)
		}
	}
	// Gaps and overlaps are what the upstream knows of; its refusal is told, not what it says.
	for said, status := range map[string]int{"bytes 10-19/20": 400} {
		if res, s := o.send("PUT", "drive", target, "application/octet-stream", "0123456789", "Content-Range", said); res.StatusCode != status || strings.Contains(s, "after what has come") {
			t.Errorf("%s: %d %s", said, res.StatusCode, s)
		}
	}
	for name, c := range map[string][2]string{
		"over what is there":  {"/v1.0/me/drive/root:/suppliers.csv:/createUploadSession", `{"item":{"@microsoft.graph.conflictBehavior":"replace"}}`},
		"by default":          {"/v1.0/me/drive/root:/suppliers.csv:/createUploadSession", `{"item":{}}`},
		"nothing said":        {"/v1.0/me/drive/root:/suppliers.csv:/createUploadSession", ``},
		"another name":        {"/v1.0/me/drive/root:/a.txt:/createUploadSession", `{"item":{"@microsoft.graph.conflictBehavior":"fail","name":"suppliers.csv"}}`},
		"another spelling":    {"/v1.0/me/drive/root:/a.txt:/createUploadSession", `{"item":{"@microsoft.graph.conflictBehavior":"fail","Name":"suppliers.csv"}}`},
		"two of them":         {"/v1.0/me/drive/root:/a.txt:/createUploadSession", `{"item":{"@microsoft.graph.conflictBehavior":"fail"},"Item":{"@microsoft.graph.conflictBehavior":"replace"}}`},
		"by the old name":     {"/v1.0/me/drive/root:/a.txt:/createUploadSession", `{"item":{"@microsoft.graph.conflictBehavior":"fail","@name.conflictBehavior":"replace"}}`},
		"later":               {"/v1.0/me/drive/root:/a.txt:/createUploadSession", `{"item":{"@microsoft.graph.conflictBehavior":"fail"},"deferCommit":true}`},
		"from elsewhere":      {"/v1.0/me/drive/root:/a.txt:/createUploadSession", `{"item":{"@microsoft.graph.conflictBehavior":"fail","@microsoft.graph.sourceUrl":"http://evil.example"}}`},
		"a path":              {"/v1.0/me/drive/root:/a/b.txt:/createUploadSession", `{"item":{"@microsoft.graph.conflictBehavior":"fail"}}`},
		"a path, encoded":     {"/v1.0/me/drive/root:/a%3A:/createUploadSession", `{"item":{"@microsoft.graph.conflictBehavior":"fail"}}`},
		"up":                  {"/v1.0/me/drive/root:/..:/createUploadSession", `{"item":{"@microsoft.graph.conflictBehavior":"fail"}}`},
		"a function":          {"/v1.0/me/drive/items/microsoft.graph.delta():/a:/createUploadSession", `{"item":{"@microsoft.graph.conflictBehavior":"fail"}}`},
		"beside a file by id": {"/v1.0/me/drive/items/" + csv + "/createUploadSession", `{"item":{"@microsoft.graph.conflictBehavior":"rename"}}`},
		"a name for an id":    {"/v1.0/me/drive/items/" + csv + "/createUploadSession", `{"item":{"name":"x"}}`},
		"a link attached":     {"/v1.0/me/messages/" + o.o.All()[0] + "/attachments/createUploadSession", `{"AttachmentItem":{"attachmentType":"reference","name":"x","size":1}}`},
	} {
		if res, s := o.send("POST", "graph", c[0], asJSON, c[1]); res.StatusCode < 400 || res.StatusCode == 404 {
			t.Errorf("%s: %d %s", name, res.StatusCode, s)
		}
	}
}

// TestUploadsAreOfWhoBegan: an upload's name is good for its identity alone, and no longer than that may still do what it began.
func TestUploadsAreOfWhoBegan(t *testing.T) {
	t.Parallel()
	kill := func(o *layeredOffice, gen uint64, s identity.State) {
		o.apply(feed.Change{Identity: &identity.Identity{ID: id("bot"), Owner: "maya", Purpose: "tests", Environment: "production", State: s, Generation: gen, Expires: time.Now().Add(time.Hour)}})
	}
	for name, c := range map[string]struct {
		who    string
		change func(o *layeredOffice)
		status int
	}{
		"its own":   {"bot", func(*layeredOffice) {}, 308},
		"another's": {"eve", func(*layeredOffice) {}, 404},
		"killed":    {"bot", func(o *layeredOffice) { kill(o, 1, identity.Killed) }, 401},
		"suspended": {"bot", func(o *layeredOffice) { kill(o, 0, identity.Suspended) }, 401},
		"restored":  {"bot2", func(o *layeredOffice) { kill(o, 1, identity.Active) }, 404},
		"ungranted": {"bot", func(o *layeredOffice) {
			o.apply(feed.Change{Grant: &policy.Grant{ID: "bot/drive", Identity: id("bot")}, Removed: true})
		}, 403},
		"read alone": {"bot", func(o *layeredOffice) { o.grant("drive", layer.Layers{}, "read") }, 403},
		"out of reach": {"bot", func(o *layeredOffice) {
			o.grant("drive", layer.Layers{Within: layer.Within{Folders: []string{"elsewhere"}}}, "write")
		}, 403},
		"in the evening": {"bot", func(o *layeredOffice) {
			o.grant("drive", layer.Layers{Contacts: layer.Contacts{Write: []string{"nobody.example"}}}, "write")
		}, 403},
		"asked about": {"bot", func(o *layeredOffice) {
			o.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "no", Cedar: `forbid(principal, action == Lanyard::Action::"drive.files.create", resource);`}})
		}, 403},
		"upstream killed": {"bot", func(o *layeredOffice) {
			o.applyUpstream(&policy.Upstream{Name: "drive", URL: o.back.URL, Owner: "maya", Environment: "production", Family: "google", Description: []byte("drive/v3"), Version: 3, Killed: true})
		}, 403},
		"upstream moved": {"bot", func(o *layeredOffice) {
			o.applyUpstream(&policy.Upstream{Name: "drive", URL: o.back.URL + "/x", Owner: "maya", Environment: "production", Family: "google", Description: []byte("drive/v3"), Version: 3})
		}, 404},
		"almost its own": {"bot", func(*layeredOffice) {}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.grant("drive", layer.Layers{}, "read", "write")
			o.enrol("eve")
			o.apply(feed.Change{Grant: &policy.Grant{ID: "eve/drive", Identity: id("eve"), Upstream: "drive", Cedar: "permit(principal, action, resource);", Until: time.Now().Add(time.Hour)}})
			target := o.begin(`{"name":"x.bin","parents":["` + o.id("Invoices") + `"]}`)
			if c.status == 0 {
				o.unopened(target)
				return
			}
			c.change(o)
			asked := len(o.o.Requests())
			claims := o.claims(strings.TrimSuffix(c.who, "2"))
			if claims.Audience = testScope + "/drive"; c.who == "bot2" {
				claims.Chain = identity.Alone(id("bot"), 1)
			}
			r := o.request("PUT", "/drive"+target, o.mint(claims), strings.NewReader(content(t, unit)))
			r.Header.Set("Content-Range", fmt.Sprintf("bytes 0-%d/*", unit-1))
			res, s := o.do(r)
			if res.StatusCode != c.status || c.status >= 400 && sentUpload(o, asked) {
				t.Errorf("%d %s", res.StatusCode, s)
			}
		})
	}
}

// sentUpload reports whether a part was sent since then.
func sentUpload(o *layeredOffice, since int) bool {
	for _, r := range o.o.Requests()[since:] {
		if strings.Contains(r.Target, "upload_id") {
			return true
		}
	}
	return false
}

// unopened holds the name in a target against requests that are almost those it is good for.
func (o *layeredOffice) unopened(target string) {
	o.t.Helper()
	b, err := o.g.backend("drive")
	if err != nil {
		o.t.Fatal(err)
	}
	name := target[strings.Index(target, "upload_id=")+len("upload_id="):]
	open := func(change func(*request)) bool {
		c := o.claims("bot")
		r := &request{g: o.g, state: state{name: "drive", path: "/upload/drive/v3/files", claims: &c, backend: b, account: &b.accounts.own, start: time.Now()}}
		change(r)
		_, ok := r.opened(name)
		return ok
	}
	if !open(func(*request) {}) {
		o.t.Fatal("the upload's own request does not open its name")
	}
	for what, change := range map[string]func(*request){
		"a task": func(r *request) { r.claims.Task = "task_1" }, "another path": func(r *request) { r.path += "/x" }, "another upstream": func(r *request) { r.name = "mail" }, "another's account": func(r *request) { r.account = &account{owner: "ben"} },
		"on behalf of another": func(r *request) { r.claims.Chain = append(r.claims.Chain, identity.Link{ID: id("eve")}) }, "too late": func(r *request) { r.start = time.Now().Add(uploadLife + time.Second) }, "another gateway": func(r *request) {
			g := &Gateway{sessions: o.g.sessions} // with another key, but for the MAC
			if g.uploads, err = newUploads([32]byte{1}); err != nil {
				o.t.Fatal(err)
			}
			r.g = g
		},
	} {
		if open(change) {
			o.t.Errorf("%s opens it", what)
		}
	}
}

// TestForeignPlaces: an upstream that has content put where it may not gets none.
func TestForeignPlaces(t *testing.T) {
	var place string
	got := make(chan string, 100)
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || strings.Contains(r.RequestURI, "upload_id") {
			got <- r.RequestURI
		}
		switch {
		case strings.HasPrefix(r.URL.Path, "/v1.0/"):
			w.Header().Set("Content-Type", asJSON)
			_ = json.NewEncoder(w).Encode(map[string]any{"uploadUrl": place, "nextExpectedRanges": []string{"0-"}})
		case place == "redirect":
			w.Header().Set("Location", "http://"+r.Host+"/upload/drive/v3/files?uploadType=resumable&upload_id=secret")
			w.WriteHeader(302)
		default:
			w.Header()["Location"] = strings.Split(place, "|")
		}
	}), func(c *Config) { c.Families = []connector.Family{google.Family(), graph.Family()} })
	w.applyUpstream(&policy.Upstream{Name: "drive", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "google", Description: []byte("drive/v3"), Version: 2})
	w.applyUpstream(&policy.Upstream{Name: "graph", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "graph", Description: []byte("v1.0"), Version: 2})
	for _, u := range []string{"drive", "graph"} {
		w.apply(feed.Change{Grant: &policy.Grant{ID: "bot/" + u, Identity: id("bot"), Upstream: u, Cedar: "permit(principal, action, resource);", Until: time.Now().Add(time.Hour)}})
	}
	begin := func(upstream, target string) (*http.Response, string) {
		c := w.claims("bot")
		c.Audience = testScope + "/" + upstream
		r := w.request("POST", "/"+upstream+target, w.mint(c), strings.NewReader(`{}`))
		r.Header.Set("Content-Type", asJSON)
		return w.do(r)
	}
	for _, place = range []string{"https://evil.example/upload/drive/v3/files?upload_id=secret", "http://evil.example/secret", "//evil.example/upload/drive/secret", "/upload/drive/v3/files?upload_id=secret", w.back.URL + "/drive/v3/files/secret", w.back.URL + ".evil.example/upload/drive/v3/files?upload_id=secret",
		strings.Replace(w.back.URL, "http://", "http://secret@", 1) + "/upload/drive/v3/files", strings.Replace(w.back.URL, "http:", "https:", 1) + "/upload/drive/v3/files?upload_id=secret", "", "redirect", w.back.URL + "/upload/drive/a|" + w.back.URL + "/upload/drive/secret", "http://[::1", w.back.URL + "/upload/drive/?" + strings.Repeat("secret", 2000)} {
		if res, s := begin("drive", "/upload/drive/v3/files?uploadType=resumable"); res.StatusCode != 502 || strings.Contains(fmt.Sprint(res.Header)+s, "secret") {
			t.Errorf("%.100s: %d %v %s", place, res.StatusCode, res.Header, s)
		}
	}
	for _, place = range []string{"https://evil.example/secret", "http://contoso.sharepoint.com/secret", "https://evilsharepoint.com/secret", "https://contoso.sharepoint.com.evil.example/secret", "file:///secret", "http://10.0.0.1/secret", "http://169.254.169.254/secret", ""} {
		if res, s := begin("graph", "/v1.0/me/drive/items/i1/createUploadSession"); res.StatusCode != 502 || strings.Contains(s, "secret") {
			t.Errorf("%s: %d %s", place, res.StatusCode, s)
		}
	}
	if len(got) > 0 {
		t.Errorf("something went there: %s", <-got)
	}
}

// beginning is a connection on which the first letters of a part came that has n.
func (o *layeredOffice) beginning(target string, n int) net.Conn {
	o.t.Helper()
	c := o.claims("bot")
	c.Audience = testScope + "/drive"
	conn, err := net.Dial("tcp", o.addr)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "PUT /drive%s HTTP/1.1\r\nHost: x\r\nContent-Range: bytes 0-%d/*\r\nContent-Length: %d\r\nAuthorization: Bearer %s\r\n\r\nabc", target, n-1, n, o.mint(c))
	return conn
}

// TestEndlessPart: a part that does not come does not hold its place for ever.
func TestEndlessPart(t *testing.T) {
	o := newOffice(t)
	o.grant("drive", layer.Layers{}, "read", "write")
	o.g.Limits.Part = 50 * time.Millisecond
	target := o.begin(`{"name":"slow.bin"}`)
	conn := o.beginning(target, 8192)
	begun := time.Now()
	b, _ := io.ReadAll(conn) // it is cut, and hears why if there is time for that
	if took := time.Since(begun); len(b) > 0 && !bytes.HasPrefix(b, []byte("HTTP/1.1 408 ")) || took > 10*time.Second {
		t.Errorf("after %s: %s", took, b)
	}
	o.ended("did not come within")
	// The next one, in time, goes on.
	if res, s := o.send("PUT", "drive", target, "", content(t, unit), "Content-Range", fmt.Sprintf("bytes 0-%d/*", unit-1)); res.StatusCode != 308 {
		t.Errorf("%d %s", res.StatusCode, s)
	}
}

// ended waits for the record to say of a request that it ended so.
func (o *layeredOffice) ended(why string) {
	o.t.Helper()
	eventually(o.t, "on record: "+why, func() bool {
		return slices.ContainsFunc(o.plane.recorded(), func(e ledger.Event) bool { return strings.Contains(e.Reason, why) && e.Outcome == ledger.Failed })
	})
}

// TestAtMost: however much is said to come, there is an end to it, and time for it.
func TestAtMost(t *testing.T) {
	for n, want := range map[int64]time.Duration{1: 0, slowestUpload: time.Second, 16 << 20: 1024 * time.Second, 1 << 50: uploadLife, math.MaxInt64: uploadLife} {
		if got := atMost(n); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
}

// TestManyUploads: what has begun takes nothing of the gateway's.
func TestManyUploads(t *testing.T) {
	o := newOffice(t)
	o.grant("drive", layer.Layers{}, "read", "write")
	for range 120 { // the office takes a hundred
		res, s := o.send("POST", "drive", "/upload/drive/v3/files?uploadType=resumable", asJSON, `{"name":"x"}`)
		if res.StatusCode != 200 && res.StatusCode != 429 {
			t.Fatalf("%d %s", res.StatusCode, s)
		}
	}
	if n := o.g.held.now.Load(); n != 0 {
		t.Errorf("%d bytes are held", n)
	}
}
