package datebook

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// worked is how long this process has worked: a machine that is busy with something else makes that no longer.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestHostileSeries: whoever sends an invitation can have little time and memory of whoever lists the calendar.
func TestHostileSeries(t *testing.T) {
	const all = "BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23"
	zone := "BEGIN:VTIMEZONE\r\nTZID:Z\r\n" + strings.Repeat("BEGIN:STANDARD\r\nDTSTART:20000101T000000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nRRULE:FREQ=YEARLY;BYMONTH=1,2,3,4,5,6,7,8,9,10,11,12;BYMONTHDAY=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\r\nEND:STANDARD\r\n", 40) + "END:VTIMEZONE\r\n"
	for name, test := range map[string]struct{ zone, tz, event string }{
		"many rules":      {"", "", strings.Repeat("RRULE:FREQ=DAILY;"+all+"\r\n", 2000)},
		"many dates":      {"", "", strings.Repeat("RDATE:"+strings.Repeat("20270101T000000Z,", 1000)+"20270101T000000Z\r\n", 200)},
		"a rule of never": {"", "", strings.Repeat("RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=31\r\n", 1000)},
		"an odd rule":     {"", "", "RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYMONTHDAY=31;BYMONTH=2;BYSETPOS=300;" + all + "\r\n"},
		"a heavy zone":    {zone, ";TZID=Z", "RRULE:FREQ=DAILY;" + all + "\r\n"},
		"zone of many":    {zone, ";TZID=Z", strings.Repeat("EXDATE;TZID=Z:"+strings.Repeat("20270101T000000,", 1000)+"20270101T000000\r\n", 200) + "RRULE:FREQ=DAILY\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			o := "BEGIN:VCALENDAR\r\n" + test.zone + "BEGIN:VEVENT\r\nUID:x\r\nDTSTART" + test.tz + ":20260101T000000\r\nDURATION:PT1H\r\n" + test.event + "END:VEVENT\r\nEND:VCALENDAR\r\n"
			e, ok := newEntry(&calendar{zone: utc}, "x", "", []byte(o))
			if !ok {
				t.Fatal("not read")
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := worked(t)
			ctx, done := context.WithTimeout(t.Context(), time.Minute)
			defer done()
			list, err := e.between(ctx, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 11, 1, 0, 0, 0, 0, time.UTC))
			took := worked(t) - begun
			runtime.ReadMemStats(&after)
			if err != nil || took > 8*time.Second || (after.TotalAlloc-before.TotalAlloc)>>20 > 500 {
				t.Errorf("%d, %v: it took %s, and %d MB", len(list), err, took, (after.TotalAlloc-before.TotalAlloc)>>20)
			}
		})
	}
}

// TestCalendarAtTheRoot: a server may call itself a calendar; there is no name for that.
func TestCalendarAtTheRoot(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusMultiStatus)
		_, _ = w.Write([]byte(`<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:response><d:href>/</d:href><d:propstat><d:prop><d:resourcetype><d:collection/><c:calendar/></d:resourcetype><c:calendar-home-set><d:href>/</d:href></c:calendar-home-set></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`))
	}))
	defer server.Close()
	d, err := New(Config{URL: server.URL, User: "u@example.com", Password: "p", Credential: "0123456789abcdef"})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := d.all(t.Context(), true); len(list) != 0 || err != nil {
		t.Errorf("%v %v", list, err)
	}
}
