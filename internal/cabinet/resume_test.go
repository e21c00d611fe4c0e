package cabinet

import (
	"crypto/rand"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// begin begins an upload and returns where it goes on.
func (w *world) begin(method, path, body string, header ...string) string {
	w.Helper()
	res, s := w.raw(method, "/upload/drive/v3/"+path, body, append([]string{"Content-Type", "application/json"}, header...)...)
	at, ok := strings.CutPrefix(res.Header.Get("Location"), w.url)
	if res.StatusCode != 200 || !ok || s != "" {
		w.Fatalf("%s: %d %v %s", path, res.StatusCode, res.Header, s)
	}
	return at
}

func (w *world) part(at, body, said string, header ...string) (*http.Response, string) {
	w.Helper()
	if said != "" {
		header = append(header, "Content-Range", said)
	}
	return w.raw("PUT", at, body, header...)
}

func (w *world) content(names ...string) string {
	w.Helper()
	_, s := w.raw("GET", "/drive/v3/files/"+id(names...)+"?alt=media", "")
	return s
}

// spooled is how many files of uploads are to be seen in the folder for them.
func (w *world) spooled() int {
	w.Helper()
	list, err := os.ReadDir(w.k.Spool)
	if err != nil {
		w.Fatal(err)
	}
	n := 0
	for _, e := range list {
		if strings.HasPrefix(e.Name(), "lanyard-upload-") {
			n++
		}
	}
	return n
}

// TestResume: content comes part by part, and is a file when all of it is there, not before.
func TestResume(t *testing.T) {
	w := open(t)
	w.k.Spool = t.TempDir()
	at := w.begin("POST", "files?uploadType=resumable&fields=id", `{"name":"large.bin","parents":["`+id("Bills")+`"]}`, "X-Upload-Content-Type", "image/png")
	for _, c := range []struct {
		body, said, upto string
		no308            bool
	}{
		{"", "bytes */*", "", false}, {"0123", "bytes 0-3/*", "bytes=0-3", false}, {"0123", "bytes 0-3/*", "bytes=0-3", false}, {"2345", "bytes 2-5/*", "bytes=0-5", true}, {"", "bytes */10", "bytes=0-5", true}, {"123", "bytes 1-3/10", "bytes=0-5", false},
	} {
		var h []string
		want := 308
		if c.no308 {
			h, want = []string{"X-GUploader-No-308", "yes"}, 200
		}
		res, s := w.part(at, c.body, c.said, h...)
		if res.StatusCode != want || s != "" || res.Header.Get("Range") != c.upto || (res.Header.Get("X-Http-Status-Code-Override") == "308") != c.no308 {
			t.Errorf("%s: %d %v %q", c.said, res.StatusCode, res.Header, s)
		}
	}
	if w.content("Bills", "large.bin") == "012345" || w.spooled() != 0 || w.k.comings.held.Load() != 6 {
		t.Errorf("half of it is there: %d files, %d bytes", w.spooled(), w.k.comings.held.Load())
	}
	// The server fails twice; what has come is not lost, and it is made once.
	w.fails.Store(2)
	for _, want := range []int{502, 502, 200, 200} {
		res, s := w.part(at, "6789", "bytes 6-9/10")
		if res.StatusCode != want || (want == 200) != strings.Contains(s, `"id":"`+id("Bills", "large.bin")+`"`) {
			t.Fatalf("the end: %d %s, want %d", res.StatusCode, s, want)
		}
	}
	if res, _ := w.part(at, "", "bytes */*"); res.StatusCode != 200 || w.content("Bills", "large.bin") != "0123456789" || w.k.comings.held.Load() != 0 {
		t.Errorf("made: %d %q, %d bytes are held", res.StatusCode, w.content("Bills", "large.bin"), w.k.comings.held.Load())
	}
	// Over a file, in one, with a new name.
	at = w.begin("PATCH", "files/"+id("Bills", "large.bin")+"?uploadType=resumable&addParents=root&removeParents="+id("Bills"), `{"name":"moved.bin"}`, "X-Upload-Content-Length", "3")
	if res, s := w.raw("POST", at, "new"); res.StatusCode != 200 || !strings.Contains(s, id("moved.bin")) || w.content("moved.bin") != "new" {
		t.Errorf("over it: %d %s", res.StatusCode, s)
	}
	// Nothing at all is a file, too.
	at = w.begin("POST", "files?uploadType=resumable", `{"name":"empty.bin"}`)
	if res, s := w.part(at, "", "bytes */0"); res.StatusCode != 200 || !strings.Contains(s, `"size":"0"`) {
		t.Errorf("empty: %d %s", res.StatusCode, s)
	}
	// What came of a part that was cut off stays.
	at = w.begin("POST", "files?uploadType=resumable", `{"name":"cut.bin"}`)
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Range: bytes 0-99/100\r\nContent-Length: 100\r\n\r\n%s", at, secret, strings.Repeat("a", 40))
	for w.k.comings.held.Load() != 40 {
		time.Sleep(time.Millisecond)
	}
	c.Close()
	if res, _ := w.part(at, "", "bytes */100"); res.Header.Get("Range") != "bytes=0-39" {
		t.Errorf("cut off: %v", res.Header)
	}
	if res, _ := w.part(at, strings.Repeat("b", 60), "bytes 40-99/100"); res.StatusCode != 200 || w.content("cut.bin") != strings.Repeat("a", 40)+strings.Repeat("b", 60) {
		t.Errorf("gone on: %d %q", res.StatusCode, w.content("cut.bin"))
	}
	w.stayed()
}

// TestResumeRefuses: what does not fit is refused, and nothing lies there of what was given up.
func TestResumeRefuses(t *testing.T) {
	w := open(t)
	w.k.Spool, w.k.Room = t.TempDir(), 100
	w.k.comings.room = 100
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		header             []string
	}{
		"over what is there": {"POST", "files?uploadType=resumable", `{"name":"notes.txt"}`, 409, nil}, "in a file": {"POST", "files?uploadType=resumable", `{"name":"x","parents":["` + id("notes.txt") + `"]}`, 400, nil}, "nowhere": {"POST", "files?uploadType=resumable", `{"name":"x","parents":["` + id("nowhere") + `"]}`, 404, nil},
		"a folder": {"POST", "files?uploadType=resumable", `{"name":"x","mimeType":"` + folder + `"}`, 400, nil}, "a document": {"POST", "files?uploadType=resumable", `{"name":"x","mimeType":"application/vnd.google-apps.document"}`, 501, nil}, "of a folder": {"PATCH", "files/" + id("Bills") + "?uploadType=resumable", `{}`, 400, nil},
		"of nothing": {"PATCH", "files/" + id("nothing") + "?uploadType=resumable", `{}`, 404, nil}, "no JSON": {"POST", "files?uploadType=resumable", `x`, 400, nil}, "a path": {"POST", "files?uploadType=resumable", `{"name":"../x"}`, 400, nil}, "too large": {"POST", "files?uploadType=resumable", `{"name":"x"}`, 413, []string{"X-Upload-Content-Length", "101"}},
		"huge": {"POST", "files?uploadType=resumable", `{"name":"x"}`, 413, []string{"X-Upload-Content-Length", strconv.FormatInt(math.MaxInt64, 10)}}, "below zero": {"POST", "files?uploadType=resumable", `{"name":"x"}`, 400, []string{"X-Upload-Content-Length", "-1"}}, "in parts": {"POST", "files?uploadType=resumable", "--b\r\n\r\n{}\r\n--b--\r\n", 400, []string{"Content-Type", "multipart/related; boundary=b"}},
		"unknown": {"PUT", "files?uploadType=resumable&upload_id=x", "x", 404, nil}, "no name": {"PUT", "files?uploadType=resumable", "x", 404, nil}, "none": {"PUT", "files?upload_id=", "x", 404, nil},
	} {
		if res, s := w.raw(c.method, "/upload/drive/v3/"+c.path, c.body, append([]string{"Content-Type", "application/json"}, c.header...)...); res.StatusCode != c.status || res.Header.Get("Location") != "" {
			t.Errorf("%s: %d %s", name, res.StatusCode, s)
		}
	}
	at := w.begin("POST", "files?uploadType=resumable", `{"name":"x"}`, "X-Upload-Content-Length", "20")
	if res, _ := w.part(at, "0123456789", "bytes 0-9/*"); res.StatusCode != 308 {
		t.Fatal(res.StatusCode)
	}
	for _, c := range [][2]string{{"x", "bytes 11-11/20"}, {"x", "bytes 10-11/20"}, {"xx", "bytes 10-10/20"}, {"x", "bytes 10-10/21"}, {"x", "bytes 20-20/*"}, {"x", "bytes 9-5/20"}, {"x", "bytes -1-0/20"}, {"x", "10-10/20"}, {"x", "bytes */20"}, {"", "bytes */21"}, {"01234", "bytes 0-4/5"}, {"x", ""}, {"x", "bytes 10-10/" + strconv.FormatInt(math.MaxInt64, 10)}} {
		if res, s := w.part(at, c[0], c[1]); res.StatusCode != 400 {
			t.Errorf("%s: %d %s", c[1], res.StatusCode, s)
		}
	}
	if res, _ := w.part(strings.Replace(at, "files?", "files/"+id("notes.txt")+"?", 1), "0123456789", "bytes 10-19/20"); res.StatusCode != 404 {
		t.Errorf("of another file: %d", res.StatusCode)
	}
	if res, _ := w.part(at, "", "bytes */20"); res.Header.Get("Range") != "bytes=0-9" {
		t.Errorf("after all that: %v", res.Header)
	}
	// Where the disk does not take it, it may come again.
	spool := w.k.Spool
	w.k.Spool = spool + "/nowhere"
	disk := w.begin("POST", "files?uploadType=resumable", `{"name":"disk"}`)
	if res, s := w.part(disk, "0123", "bytes 0-3/4"); res.StatusCode != 503 || strings.Contains(s, "nowhere") {
		t.Errorf("on no disk: %d %s", res.StatusCode, s)
	}
	w.k.Spool = spool
	if res, s := w.part(disk, "0123", "bytes 0-3/4"); res.StatusCode != 200 {
		t.Errorf("on one: %d %s", res.StatusCode, s)
	}
	// All of them together have one room.
	other := w.begin("POST", "files?uploadType=resumable", `{"name":"y"}`)
	if res, s := w.part(other, strings.Repeat("y", 95), "bytes 0-94/*"); res.StatusCode != 503 || w.k.comings.held.Load() > 100 {
		t.Errorf("beyond the room: %d %s", res.StatusCode, s)
	}
	if res, _ := w.part(other, "y", "bytes 0-0/101"); res.StatusCode != 413 {
		t.Errorf("beyond it alone: %d", res.StatusCode)
	}
	if res, _ := w.raw("DELETE", at, ""); res.StatusCode != 499 {
		t.Errorf("given up: %d", res.StatusCode)
	}
	if res, _ := w.part(at, "0123456789", "bytes 10-19/20"); res.StatusCode != 404 {
		t.Errorf("after it was given up: %d", res.StatusCode)
	}
	if res, s := w.part(other, strings.Repeat("y", 95), "bytes 0-94/95"); res.StatusCode != 200 || w.content("y") != strings.Repeat("y", 95) {
		t.Errorf("when there is room again: %d %s", res.StatusCode, s)
	}
	at = w.begin("POST", "files?uploadType=resumable", `{"name":"z"}`)
	w.part(at, "zzz", "bytes 0-2/*")
	w.k.Close()
	for end := time.Now().Add(10 * time.Second); w.k.comings.held.Load() != 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if n := w.k.comings.held.Load(); n != 0 || w.spooled() != 0 {
		t.Errorf("closed: %d bytes in %d files are left", n, w.spooled())
	}
	w.stayed()
}

// TestRoomOfTheIdle: who begins, fills the room and goes away does not keep others out for a day; who is in the midst of a slow part stays.
func TestRoomOfTheIdle(t *testing.T) {
	w := open(t)
	w.k.Spool, w.k.Room = t.TempDir(), 100
	w.k.comings.room = 100
	held := func(want int64) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); w.k.comings.held.Load() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d bytes are held, not %d", w.k.comings.held.Load(), want)
			}
		}
	}
	left := w.begin("POST", "files?uploadType=resumable", `{"name":"left"}`)
	w.part(left, strings.Repeat("x", 60), "bytes 0-59/*")
	next := w.begin("POST", "files?uploadType=resumable", `{"name":"next"}`)
	if res, _ := w.part(next, strings.Repeat("y", 60), "bytes 0-59/60"); res.StatusCode != 503 {
		t.Errorf("of one that was gone on with a moment ago: %d", res.StatusCode)
	}
	held(60)
	w.k.comings.mu.Lock()
	c := w.k.comings.of[left[strings.LastIndexByte(left, '=')+1:]]
	c.used = time.Now().Add(-comingIdle)
	w.k.comings.mu.Unlock()
	c.busy <- struct{}{}
	if res, _ := w.part(next, strings.Repeat("y", 60), "bytes 0-59/60"); res.StatusCode != 503 {
		t.Errorf("of one that is in the midst of a part: %d", res.StatusCode)
	}
	<-c.busy
	held(60)
	w.part(next, strings.Repeat("y", 60), "bytes 0-59/60")
	held(0)
	if res, s := w.part(next, strings.Repeat("y", 60), "bytes 0-59/60"); res.StatusCode != 200 || w.content("next") != strings.Repeat("y", 60) {
		t.Errorf("of one that lay idle: %d %s", res.StatusCode, s)
	}
	if res, _ := w.part(left, "x", "bytes 60-60/61"); res.StatusCode != 404 {
		t.Errorf("the idle one: %d", res.StatusCode)
	}
}

// TestManyBegin: uploads that nobody goes on with take no more than their number, and make room when they lie idle.
func TestManyBegin(t *testing.T) {
	var s comings
	for i := range 10 * maxComing {
		if err := s.add(&coming{}); (err == nil) != (i < maxComing) {
			t.Fatalf("the %dth: %v", i, err)
		}
	}
	for _, c := range s.of {
		c.used = time.Now().Add(-time.Hour)
		break
	}
	if err := s.add(&coming{}); err != nil || len(s.of) != maxComing {
		t.Errorf("with one that is idle: %v, %d", err, len(s.of))
	}
	s.close()
	if len(s.of) != 0 {
		t.Errorf("%d are left", len(s.of))
	}
}

// TestResumeTwiceAtOnce: parts that come at one time are one after the other, and the file is what was sent.
func TestResumeTwiceAtOnce(t *testing.T) {
	w := open(t)
	w.k.Spool = t.TempDir()
	b := make([]byte, 1<<20)
	if _, err := io.ReadFull(rand.Reader, b); err != nil {
		t.Fatal(err)
	}
	at := w.begin("POST", "files?uploadType=resumable", `{"name":"x"}`)
	done := make(chan int)
	for range 8 {
		go func() {
			r, err := http.NewRequest("PUT", w.url+at, strings.NewReader(string(b)))
			if err != nil {
				done <- 0
				return
			}
			r.Header.Set("Authorization", "Bearer "+secret)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				done <- 0
				return
			}
			res.Body.Close()
			done <- res.StatusCode
		}()
	}
	for range 8 {
		if status := <-done; status != 200 {
			t.Errorf("%d", status)
		}
	}
	if w.content("x") != string(b) || w.k.comings.held.Load() != 0 {
		t.Errorf("it is another, or %d bytes are held", w.k.comings.held.Load())
	}
	puts := 0
	for _, s := range w.asked {
		if strings.HasPrefix(s, "PUT /dav/maya/x") {
			puts++
		}
	}
	if puts != 1 {
		t.Errorf("%d files were put", puts)
	}
}
