package cabinet

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/webdav"
)

const secret = "a-credential-of-the-gateway"

type world struct {
	*testing.T
	url   string
	k     *Cabinet
	fails atomic.Int64 // so many PUT of the server fail

	mu    sync.Mutex
	asked []string
}

// open is a drive at /dav/maya of a server of golang.org/x/net, with something beside it that is not the account's.
func open(t *testing.T, more ...string) *world {
	t.Helper()
	w := &world{T: t}
	files := &webdav.Handler{FileSystem: webdav.NewMemFS(), LockSystem: webdav.NewMemLS()}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != "maya" || password != "password" {
			rw.WriteHeader(401)
			return
		}
		w.mu.Lock()
		w.asked = append(w.asked, r.Method+" "+r.URL.EscapedPath()+" "+r.Header.Get("Destination"))
		w.mu.Unlock()
		if r.Method == "PUT" && w.fails.Add(-1) >= 0 {
			rw.WriteHeader(503)
			return
		}
		files.ServeHTTP(rw, r)
	}))
	do := func(method, path, body string) {
		t.Helper()
		r, err := http.NewRequest(method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("maya", "password")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode/100 != 2 {
			t.Fatalf("%s %s: %d", method, path, res.StatusCode)
		}
	}
	for _, d := range []string{"/dav", "/dav/maya", "/dav/eve", "/dav/maya/Bills", "/dav/maya/Bills/Old%20ones"} {
		do("MKCOL", d, "")
	}
	do("PUT", "/dav/eve/secret.txt", "secret")
	do("PUT", "/dav/maya/notes.txt", "0123456789")
	do("PUT", "/dav/maya/Bills/a%20100%25%20b.pdf", "%PDF-")
	do("PUT", "/dav/maya/Bills/Old%20ones/%C3%BCber.txt", "x")
	k, err := New(Config{URL: server.URL + "/dav/maya/", User: "maya", Password: "password", Address: "maya@example.com", SeenBy: more, Credential: secret})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(k)
	t.Cleanup(func() { front.Close(); k.Close(); server.Close() })
	w.url, w.k = front.URL, k
	return w
}

func (w *world) raw(method, path, body string, header ...string) (*http.Response, string) {
	w.Helper()
	r, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.Fatal(err)
	}
	return res, string(b)
}

func (w *world) ask(method, path, body string, header ...string) (int, object) {
	w.Helper()
	res, b := w.raw(method, "/drive/v3/"+path, body, header...)
	var v object
	if b != "" {
		if err := json.Unmarshal([]byte(b), &v); err != nil {
			w.Fatalf("%s %s: %v in %s", method, path, err, b)
		}
	}
	return res.StatusCode, v
}

func (w *world) names(path string) []string {
	w.Helper()
	status, v := w.ask("GET", path, "")
	files, ok := v["files"].([]any)
	if status != 200 || !ok {
		w.Fatalf("%s: %d %v", path, status, v)
	}
	list := []string{}
	for _, f := range files {
		list = append(list, f.(object)["name"].(string))
	}
	return list
}

func id(names ...string) string { return fileID(names) }

func TestReads(t *testing.T) {
	w := open(t)
	for q, want := range map[string][]string{
		"":                    {"Bills", "Old ones", "über.txt", "a 100% b.pdf", "notes.txt"},
		"q='root'+in+parents": {"Bills", "notes.txt"},
		"q='" + id("Bills") + "'+in+parents+and+trashed%3Dfalse":            {"Old ones", "a 100% b.pdf"},
		"q=mimeType%3D'" + folder + "'":                                     {"Bills", "Old ones"},
		"q=mimeType!%3D'" + folder + "'+and+not+name+contains+'PDF'":        {"über.txt", "notes.txt"},
		"q=name%3D'notes.txt'+or+(name+contains+'100'+and+trashed!%3Dtrue)": {"a 100% b.pdf", "notes.txt"},
		"q='root'+in+parents+or+'" + id("Bills") + "'+in+parents":           {"Bills", "Old ones", "a 100% b.pdf", "notes.txt"},
		"q=trashed%3Dtrue":  {},
		"q=name%3D'it\\'s'": {},
		"q=modifiedTime+>+'2020-01-01'+and+name+contains+'b'&orderBy=name+desc": {"über.txt", "Bills", "a 100% b.pdf"},
		"orderBy=folder,name&pageSize=2&pageToken=2":                            {"a 100% b.pdf", "notes.txt"},
	} {
		if got := w.names("files?" + q); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", q, got, want)
		}
	}
	for _, q := range []string{"q=fullText+contains+'x'", "q=name", "q=name+contains", "q=name+<+'x'", "q=name%3D'x", "q=(name%3D'x'", "q=name%3D'x')", "q='root'+in+owners", "q=trashed+contains+true", "q=name%3Dx", "q=" + strings.Repeat("(", 30) + "name%3D'x'",
		"orderBy=x", "orderBy=name+up", "pageSize=x", "pageToken=-1", "driveId=x", "spaces=appDataFolder", "corpora=drive"} {
		if status, v := w.ask("GET", "files?"+q, ""); status != 400 {
			t.Errorf("%s: %d %v", q, status, v)
		}
	}
	_, v := w.ask("GET", "files/"+id("Bills", "a 100% b.pdf")+"?fields=id", "")
	if v["mimeType"] != "application/pdf" || v["size"] != "5" || v["parents"].([]any)[0] != id("Bills") || len(v["permissions"].([]any)) != 1 || v["owners"].([]any)[0].(object)["emailAddress"] != "maya@example.com" || v["modifiedTime"] == nil {
		t.Errorf("%v", v)
	}
	if _, v := w.ask("GET", "files/root", ""); v["mimeType"] != folder || v["parents"] != nil {
		t.Errorf("root: %v", v)
	}
	if _, v := w.ask("GET", "about?fields=user", ""); v["user"].(object)["emailAddress"] != "maya@example.com" {
		t.Errorf("about: %v", v)
	}
	res, b := w.raw("GET", "/drive/v3/files/"+id("notes.txt")+"?alt=media", "", "Range", "bytes=2-4")
	if res.StatusCode != 206 || b != "234" || res.Header.Get("Content-Range") != "bytes 2-4/10" || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("a range: %d %q %v", res.StatusCode, b, res.Header)
	}
	if res, _ = w.raw("GET", "/drive/v3/files/"+id("notes.txt")+"?alt=media", "", "If-None-Match", res.Header.Get("Etag")); res.StatusCode != 304 {
		t.Errorf("unchanged: %d", res.StatusCode)
	}
	if res, _ = w.raw("GET", "/drive/v3/files/"+id("notes.txt")+"?alt=media", "", "Range", "bytes=20-"); res.StatusCode != 416 {
		t.Errorf("past its end: %d", res.StatusCode)
	}
	if status, _ := w.ask("GET", "files/"+id("Bills")+"?alt=media", ""); status != 403 {
		t.Errorf("a folder's content: %d", status)
	}
	outside := func(path string) string { return strings.ToLower(ids.EncodeToString([]byte(path))) }
	for _, bad := range []string{"x", outside("../eve/secret.txt"), outside(".."), outside("/dav/eve/secret.txt"), outside("Bills/../notes.txt"), outside("Bills//a"), outside("notes.txt/"), outside("http://evil.example/"), outside(`..\eve`), outside("a\x00"), strings.ToUpper(id("notes.txt")), id("nothing"), "..%2Feve%2Fsecret.txt", "%2e%2e"} {
		for _, alt := range []string{"", "?alt=media"} {
			if res, b := w.raw("GET", "/drive/v3/files/"+bad+alt, ""); res.StatusCode != 404 && res.StatusCode != 501 {
				t.Errorf("%s%s: %d %s", bad, alt, res.StatusCode, b)
			}
		}
	}
	for _, p := range []string{"GET files/x/permissions", "POST files/x/permissions", "DELETE files/x/permissions/1", "GET drives", "GET changes", "POST files/x/watch", "GET files/x/export", "GET files/x/revisions"} {
		method, path, _ := strings.Cut(p, " ")
		if status, v := w.ask(method, path, ""); status != 501 || strings.Contains(path, "permissions") != strings.Contains(v["error"].(object)["message"].(string), "sharing") {
			t.Errorf("%s: %d %v", p, status, v)
		}
	}
	r, err := http.Get(w.url + "/drive/v3/files")
	if err != nil {
		t.Fatal(err)
	}
	if r.Body.Close(); r.StatusCode != 401 {
		t.Errorf("without the credential: %d", r.StatusCode)
	}
	w.stayed()
}

// stayed fails when the server was asked about anything but what is below the drive.
func (w *world) stayed() {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.asked {
		method, rest, _ := strings.Cut(s, " ")
		path, to, _ := strings.Cut(rest, " ")
		if !strings.HasPrefix(path+"/", "/dav/maya/") && !slices.Contains([]string{"/dav", "/dav/eve", "/dav/eve/secret.txt"}, path) || to != "" && !strings.Contains(to, "/dav/maya/") || strings.Contains(path+to, "..") {
			w.Errorf("the server was asked %s %s %s", method, path, to)
		}
	}
}

func multi(metadata, kind, content string) (body, header string) {
	return "--b\r\nContent-Type: application/json\r\n\r\n" + metadata + "\r\n--b\r\nContent-Type: " + kind + "\r\n\r\n" + content + "\r\n--b--\r\n", "multipart/related; boundary=b"
}

func TestWrites(t *testing.T) {
	w := open(t, "ben@example.com", "partner.example", "anyone")
	body, kind := multi(`{"name":"New & old?.txt","parents":["`+id("Bills")+`"],"mimeType":"text/plain"}`, "text/plain", "hello")
	send := func(method, path, body, kind string, header ...string) (int, object) {
		t.Helper()
		res, b := w.raw(method, "/upload/drive/v3/"+path, body, append([]string{"Content-Type", kind}, header...)...)
		var v object
		if err := json.Unmarshal([]byte(b), &v); err != nil {
			t.Fatalf("%s: %v in %q", path, err, b)
		}
		return res.StatusCode, v
	}
	status, v := send("POST", "files?uploadType=multipart", body, kind)
	if status != 200 || v["id"] != id("Bills", "New & old?.txt") || v["size"] != "5" || len(v["permissions"].([]any)) != 4 || v["shared"] != true {
		t.Fatalf("%d %v", status, v)
	}
	if status, _ := send("POST", "files?uploadType=multipart", body, kind); status != 409 {
		t.Errorf("over what is there: %d", status)
	}
	if status, v := send("POST", "files?uploadType=media", "x", "text/html"); status != 200 || v["name"] != "Untitled" || v["parents"].([]any)[0] != "root" {
		t.Errorf("media: %d %v", status, v)
	}
	if status, _ := send("POST", "files?uploadType=else", "{}", "application/json"); status != 400 {
		t.Errorf("of another type: %d", status)
	}
	if status, v := w.ask("POST", "files", `{"name":"Folder","mimeType":"`+folder+`"}`); status != 200 || v["mimeType"] != folder {
		t.Errorf("folder: %d %v", status, v)
	}
	if status, v := w.ask("POST", "files", `{"name":"empty","parents":["`+id("Folder")+`"]}`); status != 200 || v["size"] != "0" {
		t.Errorf("empty: %d %v", status, v)
	}
	for name, body := range map[string]string{"no JSON": "x", "a path": `{"name":"../x"}`, "dots": `{"name":".."}`, "backslash": `{"name":"a\\b"}`, "no name": `{"name":""}`, "two folders": `{"parents":["root","root"]}`, "description": `{"description":"x"}`, "twice": `{"name":"a","name":"b"}`,
		"in a file": `{"name":"x","parents":["` + id("notes.txt") + `"]}`, "starred": `{"starred":true}`} {
		if status, v := w.ask("POST", "files", body); status != 400 {
			t.Errorf("%s: %d %v", name, status, v)
		}
	}
	for body, want := range map[string]int{`{"name":"x","parents":["` + strings.ToLower(ids.EncodeToString([]byte("../eve"))) + `"]}`: 404, `{"name":"x","parents":["` + id("nowhere") + `"]}`: 404, `{"name":"doc","mimeType":"application/vnd.google-apps.document"}`: 501} {
		if status, v := w.ask("POST", "files", body); status != want {
			t.Errorf("%s: %d %v", body, status, v)
		}
	}
	for name, body := range map[string]string{"one part": "--b\r\n\r\n{}\r\n--b--\r\n", "three": "--b\r\n\r\n{}\r\n--b\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--\r\n", "encoded": "--b\r\n\r\n{}\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--b--\r\n", "cut off": "--b\r\n\r\n{}\r\n--b\r\n\r\nx"} {
		if status, v := send("POST", "files?uploadType=multipart", body, kind); status != 400 {
			t.Errorf("%s: %d %v", name, status, v)
		}
	}
	// Content, name and place.
	if status, v := send("PATCH", "files/"+id("notes.txt")+"?uploadType=media", "changed", "text/plain"); status != 200 || v["size"] != "7" {
		t.Errorf("content: %d %v", status, v)
	}
	if status, _ := send("PATCH", "files/"+id("notes.txt")+"?uploadType=media", "x", "text/plain", "If-Match", `"another"`); status != 412 {
		t.Errorf("content of what was changed: %d", status)
	}
	if status, v := w.ask("PATCH", "files/"+id("notes.txt")+"?addParents="+id("Folder")+"&removeParents=root", `{"name":"moved.txt"}`); status != 200 || v["id"] != id("Folder", "moved.txt") {
		t.Errorf("moved: %d %v", status, v)
	}
	for query, want := range map[string]int{"files/" + id("Folder", "moved.txt") + "?removeParents=" + id("Folder"): 400, "files/" + id("Bills") + "?addParents=" + id("Bills", "Old ones"): 400, "files/root?addParents=" + id("Bills"): 400, "files/" + id("notes.txt"): 404} {
		if status, v := w.ask("PATCH", query, `{}`); status != want {
			t.Errorf("%s: %d %v", query, status, v)
		}
	}
	for body, want := range map[string]int{`{"trashed":true}`: 501, `{"parents":["root"]}`: 400, `{"name":"empty"}`: 409, `{"name":"a/b"}`: 400, `{"trashed":false,"name":"moved.txt"}`: 200} {
		if status, v := w.ask("PATCH", "files/"+id("Folder", "moved.txt"), body); status != want {
			t.Errorf("%s: %d %v", body, status, v)
		}
	}
	if status, v := w.ask("POST", "files/"+id("Folder", "moved.txt")+"/copy", `{"parents":["root"]}`); status != 200 || v["name"] != "Copy of moved.txt" || v["parents"].([]any)[0] != "root" {
		t.Errorf("copy: %d %v", status, v)
	}
	if status, _ := w.ask("POST", "files/"+id("Folder")+"/copy", ""); status != 403 {
		t.Errorf("copy of a folder: %d", status)
	}
	if status, v := w.ask("PATCH", "files/"+id("Folder"), `{"name":"Renamed"}`); status != 200 || v["id"] != id("Renamed") {
		t.Errorf("renamed: %d %v", status, v)
	}
	if status, _ := w.ask("DELETE", "files/"+id("Renamed"), ""); status != 204 || len(w.names("files?q=name%3D'moved.txt'")) != 0 {
		t.Errorf("deleted: %d", status)
	}
	if status, _ := w.ask("DELETE", "files/root", ""); status != 403 {
		t.Errorf("the drive deleted: %d", status)
	}
	w.stayed()
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{{}, {URL: "http://dav.example.com/", User: "maya@example.com", Password: "x"}, {URL: "https://dav.example.com/", User: "maya", Password: "x"}, {URL: "https://dav.example.com/", User: "maya@example.com", Password: "x", SeenBy: []string{"everyone"}}, {URL: "https://dav.example.com/", User: "maya@example.com"}} {
		c.Credential = secret
		if _, err := New(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

// FuzzQuery: a query is read in little time, and one that says in which folder finds nothing elsewhere.
func FuzzQuery(f *testing.F) {
	f.Add("'root' in parents and (name contains 'a' or not trashed = false)")
	f.Add("modifiedTime > '2026-11-26T09:00:00' and mimeType != 'a/b'")
	all := []*file{{names: nil, folder: true, kind: folder}, {names: []string{"a"}, kind: "text/plain"}, {names: []string{"b"}, folder: true, kind: folder}, {names: []string{"b", "c"}, kind: "a/b"}}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := parseQuery(s)
		if err != nil {
			return
		}
		for _, one := range all {
			if q.meets(one) && q.within && (len(one.names) == 0 || one.parent() != fileID(q.parent)) {
				t.Fatalf("%q is of %v and finds %v", s, q.parent, one.names)
			}
		}
	})
}

func FuzzID(f *testing.F) {
	f.Add(fileID([]string{"Bills", "a b"}))
	f.Add(strings.ToLower(ids.EncodeToString([]byte("../x"))))
	f.Fuzz(func(t *testing.T, s string) {
		names, err := parseID(s)
		if err != nil {
			return
		}
		if fileID(names) != s || slices.Contains(names, "..") || strings.ContainsAny(strings.Join(names, ""), "/\\\x00") {
			t.Fatalf("%q means %q", s, names)
		}
	})
}

// FuzzUpload: what is read of an upload in parts is what was put into it.
func FuzzUpload(f *testing.F) {
	f.Add([]byte(`{"name":"x"}`), []byte("content"))
	f.Add([]byte("--b--"), []byte("--b\r\n\r\nx"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		body, _ := multi(string(first), "text/plain", string(second))
		a, b, _, err := parts([]byte(body), "b")
		if err != nil {
			return
		}
		if bytes.Contains(first, []byte("--b")) || bytes.Contains(second, []byte("--b")) {
			return // it says itself where its parts end
		}
		if !bytes.Equal(a, first) || !bytes.Equal(b, second) {
			t.Fatalf("%q and %q are read as %q and %q", first, second, a, b)
		}
		if m, err := readMetadata(a); err == nil && m.Name != nil && strings.ContainsAny(*m.Name, "/\\") {
			t.Fatalf("a name %q", *m.Name)
		}
	})
}
