package datebook

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const secret = "a-credential-of-the-gateway"

var now = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

// shelf is a CalDAV server that keeps what it is given, and finds everything whatever the time asked for.
type shelf struct {
	mu      sync.Mutex
	objects map[string]string // by path
	version map[string]int
	asked   []string
}

func (s *shelf) put(path, data string) {
	s.objects[path] = data
	s.version[path]++
}

func (s *shelf) tag(path string) string { return fmt.Sprintf(`"%d"`, s.version[path]) }

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := r.URL.Path
	s.asked = append(s.asked, r.Method+" "+path)
	if user, password, _ := r.BasicAuth(); user != "maya" || password != "password" {
		w.WriteHeader(401)
		return
	}
	body, _ := io.ReadAll(r.Body)
	reply := func(list ...string) {
		w.WriteHeader(207)
		fmt.Fprint(w, `<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">`)
		for i := 0; i < len(list); i += 2 {
			fmt.Fprintf(w, `<d:response><d:href>%s</d:href><d:propstat><d:prop>%s</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`, list[i], list[i+1])
		}
		fmt.Fprint(w, `</d:multistatus>`)
	}
	const calendar = `<d:resourcetype><d:collection/><c:calendar/></d:resourcetype>`
	_, there := s.objects[path]
	if m := r.Header.Get("If-Match"); m != "" && m != s.tag(path) || r.Header.Get("If-None-Match") == "*" && there {
		w.WriteHeader(412)
		return
	}
	switch {
	case r.Method == "PROPFIND" && path == "/.well-known/caldav":
		http.Redirect(w, r, "/dav/", http.StatusMovedPermanently)
	case r.Method == "PROPFIND" && path == "/dav/":
		reply("/dav/", `<d:current-user-principal><d:href>/dav/p/maya/</d:href></d:current-user-principal>`)
	case r.Method == "PROPFIND" && path == "/dav/p/maya/":
		reply("/dav/p/maya/", `<c:calendar-home-set><d:href>/dav/c/maya/</d:href></c:calendar-home-set>`)
	case r.Method == "PROPFIND" && path == "/dav/c/maya/":
		reply("/dav/c/maya/", `<d:resourcetype><d:collection/></d:resourcetype>`,
			"/dav/c/maya/home/", calendar+`<d:displayname>Home</d:displayname><c:calendar-timezone>`+zoneBerlin+`</c:calendar-timezone>`,
			"/dav/c/maya/Work%20days/", calendar+`<d:current-user-privilege-set><d:privilege><d:read/></d:privilege></d:current-user-privilege-set>`,
			"/dav/c/maya/HOME/", calendar, "/dav/c/maya/primary/", calendar,
			"/dav/c/maya/tasks/", calendar+`<c:supported-calendar-component-set><c:comp name="VTODO"/></c:supported-calendar-component-set>`,
			"/dav/c/eve/home/", calendar, "http://evil.example/dav/c/maya/x/", calendar)
	case r.Method == "REPORT" && !strings.Contains(string(body), "calendar-query"):
		w.WriteHeader(400)
	case r.Method == "REPORT":
		list := []string{"/dav/c/eve/home/x.ics", `<d:getetag>"1"</d:getetag><c:calendar-data>` + event("UID:eve\r\nDTSTART:20261124T100000Z\r\nSUMMARY:Not here\r\n") + `</c:calendar-data>`}
		for p, data := range s.objects {
			if strings.HasPrefix(p, path) {
				list = append(list, (&url.URL{Path: p}).EscapedPath(), `<d:getetag>`+html.EscapeString(s.tag(p))+`</d:getetag><c:calendar-data>`+html.EscapeString(data)+`</c:calendar-data>`)
			}
		}
		reply(list...)
	case r.Method == "PUT":
		s.put(path, string(body))
		w.WriteHeader(201)
	case !there:
		w.WriteHeader(404)
	case r.Method == "GET":
		w.Header().Set("Etag", s.tag(path))
		fmt.Fprint(w, s.objects[path])
	case r.Method == "DELETE":
		delete(s.objects, path)
		w.WriteHeader(204)
	}
}

const zoneBerlin = "BEGIN:VCALENDAR\r\nBEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nEND:VTIMEZONE\r\nEND:VCALENDAR\r\n"

// office is how Outlook writes a zone: by a name of its own, with its rules.
const office = "BEGIN:VTIMEZONE\r\nTZID:W. Europe Standard Time\r\nBEGIN:STANDARD\r\nDTSTART:16010101T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nRRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10\r\nEND:STANDARD\r\nBEGIN:DAYLIGHT\r\nDTSTART:16010101T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nRRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n"

func event(props ...string) string {
	s := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:test\r\n"
	for _, p := range props {
		if strings.HasPrefix(p, "BEGIN:") {
			s += p
		} else {
			s += "BEGIN:VEVENT\r\nDTSTAMP:20261101T000000Z\r\n" + p + "END:VEVENT\r\n"
		}
	}
	return s + "END:VCALENDAR\r\n"
}

type world struct {
	*testing.T
	url   string
	shelf *shelf
}

func open(t *testing.T, objects map[string]string) *world {
	t.Helper()
	s := &shelf{objects: map[string]string{}, version: map[string]int{}}
	for name, data := range objects {
		s.put("/dav/c/maya/home/"+name, data)
	}
	server := httptest.NewServer(s)
	n := 0
	d, err := New(Config{URL: server.URL, User: "maya", Password: "password", Address: "maya@example.com", Credential: secret,
		Now: func() time.Time { return now }, Name: func() string { n++; return fmt.Sprintf("new%d", n) }})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(d)
	t.Cleanup(func() { front.Close(); d.Close(); server.Close() })
	return &world{t, front.URL, s}
}

func (w *world) ask(method, path, body string, header ...string) (int, object) {
	w.Helper()
	r, err := http.NewRequest(method, w.url+"/calendar/v3/"+path, strings.NewReader(body))
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
	var v object
	b, err := io.ReadAll(res.Body)
	if err == nil && len(b) > 0 {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		w.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, v
}

// lines are the events of a list, one line each: when, and what.
func (w *world) lines(path string) (list []string) {
	w.Helper()
	status, v := w.ask("GET", path, "")
	items, ok := v["items"].([]any)
	if status != 200 || !ok {
		w.Fatalf("%s: %d %v", path, status, v)
	}
	for _, one := range items {
		o := one.(object)
		start, _ := o["start"].(object)
		at, _ := start["dateTime"].(string)
		if at == "" {
			at, _ = start["date"].(string)
		}
		list = append(list, strings.TrimSpace(at+" "+fmt.Sprint(o["summary"])))
	}
	return list
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCalendars(t *testing.T) {
	w := open(t, nil)
	_, v := w.ask("GET", "users/me/calendarList", "")
	ids := []string{}
	for _, one := range v["items"].([]any) {
		o := one.(object)
		ids = append(ids, fmt.Sprint(o["id"], " ", o["summary"], " ", o["accessRole"], " ", o["timeZone"], " ", o["primary"]))
	}
	want := []string{"home Home owner Europe/Berlin true", "Work days Work days reader UTC <nil>", "~" + eventID("/dav/c/maya/HOME") + " HOME owner UTC <nil>", "~" + eventID("/dav/c/maya/primary") + " primary owner UTC <nil>"}
	if !slices.Equal(ids, want) {
		t.Errorf("%q, want %q", ids, want)
	}
	for path, want := range map[string]int{"users/me/calendarList/primary": 200, "calendars/home": 200, "calendars/Work%20days": 200, "calendars/..%2Feve": 404, "calendars/tasks": 404, "calendars/HOME": 404, "calendars/nowhere": 404, "colors": 501, "calendars/home/events/quickAdd": 404} {
		if status, v := w.ask("GET", path, ""); status != want {
			t.Errorf("%s: %d %v", path, status, v)
		}
	}
	for path, method := range map[string]string{"calendars": "POST", "calendars/home/acl": "GET", "calendars/home/events/watch": "POST", "calendars/home/events/quickAdd": "POST", "calendars/home": "DELETE"} {
		if status, v := w.ask(method, path, ""); status != 501 {
			t.Errorf("%s %s: %d %v", method, path, status, v)
		}
	}
	r, err := http.Get(w.url + "/calendar/v3/users/me/calendarList")
	if err != nil {
		t.Fatal(err)
	}
	if r.Body.Close(); r.StatusCode != 401 {
		t.Errorf("without the credential: %d", r.StatusCode)
	}
}

// TestElsewhere: what the server says of other servers is not followed, and they get no password.
func TestElsewhere(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other server was asked") }))
	defer other.Close()
	for name, f := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/dav/", http.StatusPermanentRedirect)
		},
		"loop": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) },
		"principal": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(207)
			fmt.Fprintf(w, `<d:multistatus xmlns:d="DAV:"><d:response><d:href>/</d:href><d:propstat><d:prop><d:current-user-principal><d:href>%s/p/</d:href></d:current-user-principal></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`, other.URL)
		},
		"home": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(207)
			fmt.Fprintf(w, `<d:multistatus xmlns:d="DAV:"><d:response><d:href>/</d:href><d:propstat><d:prop><c:calendar-home-set xmlns:c="urn:ietf:params:xml:ns:caldav"><d:href>%s/c/</d:href></c:calendar-home-set></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`, other.URL)
		},
	} {
		server := httptest.NewServer(f)
		var log strings.Builder
		d, err := New(Config{URL: server.URL, User: "maya", Password: "password", Address: "maya@example.com", Credential: secret, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/calendar/v3/users/me/calendarList", nil)
		r.Header.Set("Authorization", "Bearer "+secret)
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		if w.Code != 502 || strings.Contains(log.String(), "password") || !strings.Contains(log.String(), "finding the account's calendars") {
			t.Errorf("%s: %d %s %s", name, w.Code, w.Body, &log)
		}
		d.Close()
		server.Close()
	}
}

var seed = map[string]string{
	"lunch.ics": event("UID:lunch\r\nDTSTART:20261124T120000Z\r\nDTEND:20261124T130000Z\r\nSUMMARY:Lunch\\, with Ben\r\nDESCRIPTION:One\\nTwo\r\nLOCATION:Cafe\r\nORGANIZER;CN=Maya:mailto:maya@example.com\r\nATTENDEE;CN=\"Ben: B\";PARTSTAT=ACCEPTED:MAILTO:ben@example.com\r\nATTENDEE;EMAIL=ben@example.com:urn:uuid:1\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER:-PT15M\r\nEND:VALARM\r\n"),
	"day.ics":   event("UID:day\r\nDTSTART;VALUE=DATE:20261125\r\nSUMMARY:Day off\r\nTRANSP:TRANSPARENT\r\n"),
	"standup.ics": event("UID:standup\r\nDTSTART;TZID=Europe/Berlin:20261019T090000\r\nDURATION:PT15M\r\nRRULE:FREQ=WEEKLY;UNTIL=20261130T080000Z\r\nEXDATE;TZID=Europe/Berlin:20261102T090000\r\nSUMMARY:Stand-up\r\n",
		"UID:standup\r\nRECURRENCE-ID;TZID=Europe/Berlin:20261116T090000\r\nDTSTART;TZID=Europe/Berlin:20261117T100000\r\nDTEND;TZID=Europe/Berlin:20261117T101500\r\nSUMMARY:Stand-up\\, late\r\n"),
	"outlook.ics":  event(office, "UID:outlook\r\nDTSTART;TZID=W. Europe Standard Time:20261023T080000\r\nDTEND;TZID=W. Europe Standard Time:20261023T083000\r\nRRULE:FREQ=WEEKLY;COUNT=2\r\nSUMMARY:Outlook\r\n"),
	"floating.ics": event("UID:floating\r\nDTSTART:20261126T080000\r\nDURATION:PT1H\r\nSUMMARY:Floating\r\n"),
	"off.ics":      event("UID:off\r\nDTSTART:20261126T080000Z\r\nSTATUS:CANCELLED\r\nSUMMARY:Off\r\n"),
	"todo.ics":     "BEGIN:VCALENDAR\r\nBEGIN:VTODO\r\nEND:VTODO\r\nEND:VCALENDAR\r\n",
	"broken.ics":   "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;TZID=x\r\n",
	"unknown.ics":  event("UID:unknown\r\nDTSTART;TZID=Nowhere:20261126T080000\r\nSUMMARY:When\r\n"),
	"endless.ics":  event("UID:endless\r\nDTSTART:20261127T080000Z\r\nRRULE:FREQ=SECONDLY\r\nSUMMARY:Endless\r\n"),
}

func TestReads(t *testing.T) {
	w := open(t, seed)
	for query, want := range map[string][]string{
		"singleEvents=true&timeMin=2026-10-20T00:00:00Z&timeMax=2026-12-31T00:00:00Z&orderBy=startTime": {
			"2026-10-23T08:00:00+02:00 Outlook", "2026-10-26T09:00:00+01:00 Stand-up", "2026-10-30T08:00:00+01:00 Outlook", "2026-11-09T09:00:00+01:00 Stand-up", "2026-11-17T10:00:00+01:00 Stand-up, late",
			"2026-11-23T09:00:00+01:00 Stand-up", "2026-11-24T12:00:00Z Lunch, with Ben", "2026-11-25 Day off", "2026-11-26T08:00:00+01:00 Floating", "2026-11-27T08:00:00Z Endless", "2026-11-30T09:00:00+01:00 Stand-up"},
		"singleEvents=true&timeMin=2026-11-24T13:00:00Z&timeMax=2026-11-25T00:00:00Z":                           {"2026-11-25 Day off"}, // which begins at 23:00Z there
		"singleEvents=true&timeMin=2026-11-24T12:59:00Z&timeMax=2026-11-24T13:00:00Z&timeZone=America/New_York": {"2026-11-24T07:00:00-05:00 Lunch, with Ben"},
		"q=cafe+lunch":                             {"2026-11-24T12:00:00Z Lunch, with Ben"},
		"q=ben%40example.com":                      {"2026-11-24T12:00:00Z Lunch, with Ben"},
		"q=stand-up":                               {"2026-10-19T09:00:00+02:00 Stand-up", "2026-11-17T10:00:00+01:00 Stand-up, late"},
		"iCalUID=off&showDeleted=true":             {"2026-11-26T08:00:00Z Off"},
		"iCalUID=unknown":                          {"When"},
		"updatedMin=2026-11-02T00:00:00Z":          nil,
		"iCalUID=standup&maxResults=1&pageToken=1": {"2026-11-17T10:00:00+01:00 Stand-up, late"},
	} {
		if got := w.lines("calendars/primary/events?" + query); !slices.Equal(got, want) {
			t.Errorf("%s:\n%q, want\n%q", query, got, want)
		}
	}
	if _, v := w.ask("GET", "calendars/home/events?maxResults=1", ""); v["nextPageToken"] != "1" || v["accessRole"] != "owner" {
		t.Errorf("page: %v", v)
	}
	for _, q := range []string{"timeMin=x", "timeMin=2026-11-24T13:00:00Z&timeMax=2026-11-24T13:00:00Z", "orderBy=startTime", "orderBy=name", "maxResults=-1", "pageToken=x", "singleEvents=x", "timeZone=Local", "timeZone=../x"} {
		if status, _ := w.ask("GET", "calendars/primary/events?"+q, ""); status != 400 {
			t.Errorf("%s: %d", q, status)
		}
	}
	if status, _ := w.ask("GET", "calendars/primary/events?syncToken=x", ""); status != 501 {
		t.Errorf("syncToken: %d", status)
	}
	_, v := w.ask("GET", "calendars/home/events/"+eventID("lunch.ics"), "")
	for _, want := range []string{`{"displayName":"Ben: B","email":"ben@example.com","responseStatus":"accepted"}`, `"email":"urn:uuid:1"`, `"organizer":{"displayName":"Maya","email":"maya@example.com","self":true}`,
		`"description":"One\nTwo"`, `"minutes":15`, `"iCalUID":"lunch"`, `"etag":"\"1\""`, `"end":{"dateTime":"2026-11-24T13:00:00Z","timeZone":"UTC"}`} {
		if s := toJSON(t, v); !strings.Contains(s, want) {
			t.Errorf("%s is not in %s", want, s)
		}
	}
	if status, _ := w.ask("GET", "calendars/home/events/"+eventID("lunch.ics"), "", "If-None-Match", `W/"1"`); status != 304 {
		t.Errorf("unchanged: %d", status)
	}
	_, v = w.ask("GET", "calendars/home/events/"+eventID("standup.ics"), "")
	if s := toJSON(t, v["recurrence"]); s != `["RRULE:FREQ=WEEKLY;UNTIL=20261130T080000Z","EXDATE;TZID=Europe/Berlin:20261102T090000"]` {
		t.Errorf("recurrence: %s", s)
	}
	_, v = w.ask("GET", "calendars/home/events/"+eventID("standup.ics")+"_20261116T080000Z", "")
	if s := toJSON(t, v); !strings.Contains(s, `"originalStartTime":{"dateTime":"2026-11-16T09:00:00+01:00","timeZone":"Europe/Berlin"}`) || !strings.Contains(s, "late") {
		t.Errorf("one that differs: %s", s)
	}
	if got := w.lines("calendars/home/events/" + eventID("standup.ics") + "/instances?timeMin=2026-11-15T00:00:00Z"); len(got) != 3 {
		t.Errorf("instances: %q", got)
	}
	for _, id := range []string{"x", "LUNCH", eventID("nothing.ics"), strings.ToUpper(eventID("lunch.ics")), eventID("../../eve/home/x.ics"), eventID("..") + "_20261116T080000Z", eventID("standup.ics") + "_20261102T080000Z",
		eventID("standup.ics") + "_20261116", eventID("standup.ics") + "_20261116T080001Z", eventID("lunch.ics") + "_20261124T120000Z", eventID("todo.ics"), eventID("broken.ics")} {
		if status, v := w.ask("GET", "calendars/home/events/"+id, ""); status != 404 {
			t.Errorf("%s: %d %v", id, status, v)
		}
	}
	for _, s := range w.shelf.asked {
		if strings.Contains(s, "..") || strings.Contains(s, "eve") {
			t.Errorf("the server was asked %s", s)
		}
	}
}

func TestFreeBusy(t *testing.T) {
	w := open(t, seed)
	status, v := w.ask("POST", "freeBusy", `{"timeMin":"2026-11-23T00:00:00Z","timeMax":"2026-11-26T07:30:00Z","items":[{"id":"primary"},{"id":"ben@example.com"}]}`)
	want := `{"ben@example.com":{"busy":[],"errors":[{"domain":"global","reason":"notFound"}]},"primary":{"busy":[{"end":"2026-11-23T08:15:00Z","start":"2026-11-23T08:00:00Z"},{"end":"2026-11-24T13:00:00Z","start":"2026-11-24T12:00:00Z"},{"end":"2026-11-26T07:30:00Z","start":"2026-11-26T07:00:00Z"}]}}`
	if status != 200 || toJSON(t, v["calendars"]) != want {
		t.Errorf("%d %s, want %s", status, toJSON(t, v), want)
	}
	if status, _ := w.ask("POST", "freeBusy", `{"items":[]}`); status != 400 {
		t.Errorf("without times: %d", status)
	}
}
