package google

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/connectortest"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

func open(t testing.TB, description string) connector.Connector {
	t.Helper()
	c, err := Open([]byte(description))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGmail(t *testing.T)    { connectortest.Test(t, open(t, "gmail/v1"), "testdata/gmail") }
func TestDrive(t *testing.T)    { connectortest.Test(t, open(t, "drive/v3\n"), "testdata/drive") }
func TestCalendar(t *testing.T) { connectortest.Test(t, open(t, "calendar/v3"), "testdata/calendar") }
func TestPubSub(t *testing.T)   { connectortest.Test(t, open(t, topics), "testdata/topics") }

// topics is a document in the style of Google Cloud: one name over several segments.
const topics = `{"name":"pubsub","version":"v1","servicePath":"","parameters":{"alt":{"type":"string","location":"query"}},"resources":{"projects":{"resources":{
"topics":{"methods":{
"get":{"id":"pubsub.projects.topics.get","httpMethod":"GET","path":"v1/{+topic}","parameters":{"topic":{"location":"path","type":"string","pattern":"^projects/[^/]+/topics/[^/]+$"}}},
"publish":{"id":"pubsub.projects.topics.publish","httpMethod":"POST","path":"v1/{+topic}:publish","parameters":{"topic":{"location":"path","type":"string","pattern":"^projects/[^/]+/topics/[^/]+$"}}},
"setIamPolicy":{"id":"pubsub.projects.topics.setIamPolicy","httpMethod":"POST","path":"v1/{+resource}:setIamPolicy","parameters":{"resource":{"location":"path","type":"string","pattern":"^projects/[^/]+/topics/[^/]+$"}}}}},
"operations":{"methods":{
"get":{"id":"pubsub.projects.operations.get","httpMethod":"GET","path":"v1/{+name}","parameters":{"name":{"location":"path","type":"string","pattern":"^projects/[^/]+/operations/.*$"}}}}}}}}}`

func TestClasses(t *testing.T) {
	want := map[string]policy.Class{
		"gmail.users.messages.list": policy.Read, "gmail.users.messages.send": policy.Write, "gmail.users.messages.trash": policy.Write,
		"gmail.users.messages.delete": policy.Delete, "gmail.users.messages.batchDelete": policy.Delete, "gmail.users.watch": policy.Admin,
		"gmail.users.settings.getVacation": policy.Read, "gmail.users.settings.updateVacation": policy.Admin, "gmail.users.stop": policy.Write,
		"gmail.users.settings.forwardingAddresses.create": policy.Admin, "gmail.users.settings.filters.delete": policy.Admin,
		"drive.files.create": policy.Write, "drive.files.emptyTrash": policy.Delete, "drive.files.download": policy.Read, "drive.files.watch": policy.Admin,
		"drive.permissions.create": policy.Admin, "drive.permissions.list": policy.Read, "drive.permissions.delete": policy.Admin,
		"drive.accessproposals.resolve": policy.Admin, "drive.drives.update": policy.Admin, "drive.drives.delete": policy.Delete,
		"calendar.acl.insert": policy.Admin, "calendar.acl.get": policy.Read, "calendar.calendars.clear": policy.Delete,
		"calendar.freebusy.query": policy.Read, "calendar.events.insert": policy.Write, "calendar.calendars.transferOwnership": policy.Admin,
	}
	for _, name := range Builtin() {
		for _, a := range open(t, name).Actions() {
			if w, ok := want[a.Name]; ok && a.Class != w {
				t.Errorf("%s is %s, want %s", a.Name, a.Class, w)
			}
			if a.Summary == "" {
				t.Errorf("%s has no summary", a.Name)
			}
			delete(want, a.Name)
		}
	}
	for name := range want {
		t.Errorf("there is no action %s", name)
	}
}

func TestOpenRefuses(t *testing.T) {
	for description, want := range map[string]string{
		"":                                      "no document",
		"slack/v1":                              "built in",
		"../gmail":                              "built in",
		"{":                                     "reading",
		"{}":                                    "no version",
		`{"version":"v1","version":"v2"}`:       "duplicate",
		`{"version":"v1","methods":{"a":null}}`: "null",
		`{"version":"v1","methods":{"a":{"id":"a","httpMethod":"GET","path":"{+x}","parameters":{"x":{"location":"path","type":"string","pattern":"^(a|b)$"}}}}}`: "pattern",
		`{"version":"v1","methods":{"a":{"id":"a","httpMethod":"GET","path":"x","parameters":{"x":{"location":"query","type":"any"}}}}}`:                          "type",
		`{"version":"v1","methods":{"a":{"id":"a","httpMethod":"GET","path":"x","parameters":{"x":{"location":"body","type":"string"}}}}}`:                        "location",
		`{"version":"v1","methods":{"a":{"id":"a","httpMethod":"GET","path":"x"},"b":{"id":"b","httpMethod":"GET","path":"x"}}}`:                                  "ambiguous",
	} {
		if _, err := Open([]byte(description)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", description, err, want)
		}
	}
}

func FuzzRecognise(f *testing.F) {
	f.Add("GET", "/gmail/v1/users/me/messages", "alt=json&maxResults=5&labelIds=INBOX&labelIds=UNREAD&prettyPrint=false")
	f.Add("POST", "/upload/drive/v3/files", "uploadType=multipart")
	f.Add("POST", "/drive/v3/files/a/approvals/b:approve", "")
	f.Add("PATCH", "/calendar/v3/calendars/maya%40example.com/events/e1", "sendUpdates=all")
	var all []connector.Connector
	for _, name := range Builtin() {
		all = append(all, open(f, name))
	}
	f.Fuzz(func(t *testing.T, method, path, query string) {
		for _, c := range all {
			connectortest.Check(t, c, &connector.Request{Method: method, Path: path, Query: query})
		}
	})
}

func FuzzOpen(f *testing.F) {
	f.Add(topics)
	f.Add("drive/v3")
	f.Fuzz(func(t *testing.T, description string) {
		c, err := Open([]byte(description))
		if (c == nil) == (err == nil) {
			t.Fatalf("%v and %v", c, err)
		}
		if err == nil {
			connectortest.Check(t, c, &connector.Request{Method: "GET", Path: "/v1/projects/p/topics/t", Query: "alt=json"})
		}
	})
}

func BenchmarkRecognise(b *testing.B) {
	for name, r := range map[string]*connector.Request{
		"list": {Method: "GET", Path: "/gmail/v1/users/me/messages", Query: "alt=json&maxResults=25&prettyPrint=false"},
		"get":  {Method: "GET", Path: "/gmail/v1/users/me/messages/17c2a9", Query: "alt=json&prettyPrint=false"},
		"send": {Method: "POST", Path: "/gmail/v1/users/maya%40example.com/messages/send"},
	} {
		c := open(b, "gmail/v1")
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Recognise(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestHeaders: no header makes a request, or its reply, another than the first line says.
func TestHeaders(t *testing.T) {
	c := open(t, "drive/v3")
	for name, good := range map[string]bool{"X-Goog-Api-Client": true, "X-Http-Method-Override": false, "X-Goog-Upload-Protocol": false, "X-Goog-Upload-Command": false,
		"X-Goog-FieldMask": false, "X-Goog-Encode-Response-If-Executable": false} {
		r := &connector.Request{Method: "GET", Path: "/drive/v3/files/f1", Query: "alt=media", Header: http.Header{}}
		r.Header.Set(name, "base64")
		if _, err := c.Recognise(r); (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
