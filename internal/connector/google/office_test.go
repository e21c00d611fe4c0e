package google

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/connectortest"
	"github.com/lanyard-dev/lanyard/internal/connector/office"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestMeanings holds the table against the methods that there are, and the words against those that all share.
func TestMeanings(t *testing.T) {
	known := map[string]policy.Action{}
	for _, name := range Builtin() {
		for _, a := range open(t, name).Actions() {
			known[a.Name] = a
		}
	}
	for name, m := range dialect.Of {
		a, ok := known[name]
		if !ok || !slices.Equal(a.Words, m.Words) {
			t.Errorf("%s: there is %v, with the words %v", name, ok, a.Words)
		}
		for _, w := range m.Words {
			if !slices.Contains(office.Words, w) {
				t.Errorf("%s: %s is no word", name, w)
			}
		}
		for _, p := range m.Args {
			if !slices.ContainsFunc(a.Parameters, func(q policy.Parameter) bool { return q == p }) {
				t.Errorf("%s lacks the argument %s", name, p.Name)
			}
		}
	}
	for name, a := range known {
		if strings.HasPrefix(name, "gmail.users.settings.") && a.Class == policy.Admin && !slices.Equal(a.Words, []string{"mail.rule"}) {
			t.Errorf("%s has the words %v", name, a.Words)
		}
	}
}

func upload(metadata, content string) string {
	return "--b\r\nContent-Type: application/json\r\n\r\n" + metadata + "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + content + "\r\n--b--\r\n"
}

func TestBodies(t *testing.T) {
	encoded := func(s string) string { return `{"raw":"` + base64.URLEncoding.EncodeToString([]byte(s)) + `"}` }
	const hidden = "To: ben@example.com\r\nBcc: eve@evil.example\r\nSubject: =?utf-8?q?hi?=\r\n\r\nx"
	for name, x := range map[string]struct{ api, method, target, kind, body, want string }{
		"sent":               {"gmail/v1", "POST", "/gmail/v1/users/me/messages/send", "application/json", encoded(hidden), "mail.send ben@example.com eve@evil.example"},
		"uploaded":           {"gmail/v1", "POST", "/upload/gmail/v1/users/me/messages/send?uploadType=media", "message/rfc822", hidden, "mail.send ben@example.com eve@evil.example"},
		"in parts":           {"gmail/v1", "POST", "/upload/gmail/v1/users/me/messages/send?uploadType=multipart", "multipart/related; boundary=b", upload(`{"threadId":"1"}`, hidden), "mail.send ben@example.com eve@evil.example"},
		"a long s":           {"gmail/v1", "POST", "/gmail/v1/users/me/messages/send", "application/json", strings.TrimSuffix(encoded(hidden), "}") + `,"me\u017f\u017fage":` + encoded(hidden) + "}", "refused"},
		"labels, a long s":   {"gmail/v1", "POST", "/gmail/v1/users/me/messages/m1/modify", "application/json", `{"addLabelId\u017f":["TRASH"]}`, "refused"},
		"content, in parts":  {"gmail/v1", "POST", "/upload/gmail/v1/users/me/messages/send?uploadType=media", "multipart/related; boundary=b", "To: eve@evil.example\r\n\r\n" + upload("{}", "To: ben@example.com\r\n\r\nx"), "refused"},
		"parts, of a mail":   {"gmail/v1", "POST", "/upload/gmail/v1/users/me/messages/send?uploadType=multipart", "message/rfc822", hidden, "refused"},
		"parts, of any kind": {"gmail/v1", "POST", "/upload/gmail/v1/users/me/messages/send?uploadType=multipart", "multipart/mixed; boundary=b", upload("{}", hidden), "refused"},
		"of no type":         {"gmail/v1", "POST", "/upload/gmail/v1/users/me/messages/send", "message/rfc822", hidden, "refused"},
		"parts, in UTF-7":    {"gmail/v1", "POST", "/upload/gmail/v1/users/me/messages/send?uploadType=multipart", "multipart/related; boundary=b", strings.Replace(upload(`{"threadId":"1"}`, hidden), "application/json", "application/json; charset=utf-7", 1), "refused"},
		"in parts and raw":   {"gmail/v1", "POST", "/upload/gmail/v1/users/me/messages/send?uploadType=multipart", "multipart/related; boundary=b", upload(encoded(hidden), hidden), "refused"},
		"three parts":        {"gmail/v1", "POST", "/upload/gmail/v1/users/me/messages/send?uploadType=multipart", "multipart/related; boundary=b", strings.Replace(upload(`{}`, hidden), "--b--", "--b\r\n\r\nx\r\n--b--", 1), "refused"},
		"answers elsewhere":  {"gmail/v1", "POST", "/gmail/v1/users/me/messages/send", "application/json", encoded("To: ben@example.com\r\nReply-To: eve@evil.example\r\nDisposition-Notification-To: mal@evil.example\r\n\r\nx"), "mail.send ben@example.com eve@evil.example mal@evil.example"},
		"drafted":            {"gmail/v1", "POST", "/gmail/v1/users/me/drafts", "application/json", `{"message":` + encoded("To: ben@example.com\r\n\r\nx") + `}`, "mail.draft ben@example.com"},
		"a draft sent":       {"gmail/v1", "POST", "/gmail/v1/users/me/drafts/send", "application/json", `{"id":"r1"}`, "mail.send"},
		"a bare CR":          {"gmail/v1", "POST", "/gmail/v1/users/me/messages/send", "application/json", encoded("To: ben@example.com\rBcc: e@evil.example\r\n\r\nx"), "refused"},
		"a space":            {"gmail/v1", "POST", "/gmail/v1/users/me/messages/send", "application/json", encoded("To: ben@example.com\r\nBcc : e@evil.example\r\n\r\nx"), "refused"},
		"no header at all":   {"gmail/v1", "POST", "/gmail/v1/users/me/messages/send", "application/json", encoded("hello"), "refused"},
		"not base64":         {"gmail/v1", "POST", "/gmail/v1/users/me/messages/send", "application/json", `{"raw":"%%%"}`, "refused"},
		"twice":              {"gmail/v1", "POST", "/gmail/v1/users/me/messages/send", "application/json", `{"raw":"","raw":""}`, "refused"},
		"trashed by label":   {"gmail/v1", "POST", "/gmail/v1/users/me/messages/1/modify", "application/json", `{"addLabelIds":["trash"]}`, "mail.delete"},
		"labelled":           {"gmail/v1", "POST", "/gmail/v1/users/me/messages/1/modify", "application/json", `{"addLabelIds":["X"]}`, "mail.label"},
		"another spelling":   {"gmail/v1", "POST", "/gmail/v1/users/me/messages/1/modify", "application/json", `{"add_label_ids":["TRASH"]}`, "refused"},
		"too many":           {"gmail/v1", "POST", "/gmail/v1/users/me/messages/batchDelete", "application/json", `{"ids":[]}`, "refused"},
		"shared":             {"drive/v3", "POST", "/drive/v3/files/1/permissions", "application/json", `{"type":"user","emailAddress":"Ben@example.com","role":"reader"}`, "file.share ben@example.com"},
		"with a domain":      {"drive/v3", "POST", "/drive/v3/files/1/permissions", "application/json", `{"type":"domain","domain":"example.com"}`, "file.share everyone@example.com"},
		"with all":           {"drive/v3", "POST", "/drive/v3/files/1/permissions", "application/json", `{"type":"anyone","emailAddress":"ben@example.com"}`, "file.share anyone"},
		"of an unknown type": {"drive/v3", "POST", "/drive/v3/files/1/permissions", "application/json", `{"emailAddress":"ben@example.com"}`, "file.share anyone"},
		"a file trashed":     {"drive/v3", "PATCH", "/drive/v3/files/1", "application/json", `{"trashed":true}`, "file.delete"},
		"a file written":     {"drive/v3", "PATCH", "/drive/v3/files/1", "application/json", `{"name":"x"}`, "file.write"},
		"invited":            {"calendar/v3", "POST", "/calendar/v3/calendars/primary/events", "application/json", `{"attendees":[{"email":"ben@example.com"}]}`, "event.invite ben@example.com"},
		"in words":           {"calendar/v3", "POST", "/calendar/v3/calendars/primary/events/quickAdd?text=Lunch+with+eve%40evil.example", "", "", "event.invite"},
		"alone":              {"calendar/v3", "POST", "/calendar/v3/calendars/primary/events", "application/json", `{"summary":"x"}`, "event.create"},
		"changed":            {"calendar/v3", "PATCH", "/calendar/v3/calendars/primary/events/1", "application/json", `{"summary":"x"}`, "event.update"},
		"a nameless guest":   {"calendar/v3", "POST", "/calendar/v3/calendars/primary/events", "application/json", `{"attendees":[{"id":"x"}]}`, "refused"},
	} {
		path, query, _ := strings.Cut(x.target, "?")
		r := &connector.Request{Method: x.method, Path: path, Query: query, Header: map[string][]string{"Content-Type": {x.kind}}, Body: []byte(x.body)}
		call, err := open(t, x.api).Recognise(r)
		got := "refused"
		if err == nil {
			words := []string{call.Word}
			for _, n := range []string{"recipients", "attendees", "shared_with"} {
				list, _ := call.Arguments[n].([]string)
				words = append(words, list...)
			}
			got = strings.Join(words, " ")
		}
		if got != x.want {
			t.Errorf("%s: %q, want %q (%v)", name, got, x.want, err)
		}
	}
}

func FuzzBodies(f *testing.F) {
	f.Add("POST", "/gmail/v1/users/me/messages/send", "", "application/json", `{"raw":"VG86IGFAYi5leGFtcGxlDQoNCg=="}`)
	f.Add("POST", "/upload/gmail/v1/users/me/drafts", "uploadType=multipart", "multipart/related; boundary=b", upload("{}", "To: a@b.example\r\n\r\nx"))
	f.Add("POST", "/drive/v3/files/1/permissions", "", "application/json", `{"type":"anyone"}`)
	f.Add("POST", "/calendar/v3/calendars/primary/events", "", "application/json", `{"attendees":[{"email":"a@b.example"}]}`)
	var all []connector.Connector
	for _, name := range Builtin() {
		all = append(all, open(f, name))
	}
	f.Fuzz(func(t *testing.T, method, path, query, kind, body string) {
		for _, c := range all {
			connectortest.Check(t, c, &connector.Request{Method: method, Path: path, Query: query, Header: map[string][]string{"Content-Type": {kind}}, Body: []byte(body)})
		}
	})
}

// FuzzReveal: whatever a mailbox says, under headers no text of a mail is shown, nor any member that is in no table.
func FuzzReveal(f *testing.F) {
	f.Add("/gmail/v1/users/me/messages/1", "", `{"id":"1","snippet":"BODY","payload":{"headers":[{"name":"From","value":"a@b.example"},{"name":"X-Body","value":"BODY"}],"body":{"data":"Qk9EWQ=="},"parts":[{"body":{"data":"Qk9EWQ=="}}]}}`)
	f.Add("/gmail/v1/users/me/threads/1", "", `{"id":"1","snippet":"BODY","messages":[{"id":"1","raw":"Qk9EWQ=="}]}`)
	f.Add("/gmail/v1/users/me/messages", "", `{"messages":[{"id":"1","snippet":"BODY"}],"resultSizeEstimate":7}`)
	f.Add("/gmail/v1/users/me/drafts/1", "", `{"id":"1","message":{"snippet":"BODY"}}`)
	f.Add("/gmail/v1/users/me/labels", "", `{"labels":[{"id":"1","messagesTotal":7}]}`)
	c := open(f, "gmail/v1").(connector.Layered)
	headers, err := layer.New(layer.Layers{Show: layer.Headers})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path, query, reply string) {
		r := &connector.Request{Method: "GET", Path: path, Query: query}
		call, err := c.Recognise(r)
		if err != nil {
			return
		}
		out, _, err := c.Reveal(r, call, connector.Under{Rules: []*layer.Rules{headers}, Now: time.Now()}, "application/json", []byte(reply))
		if err != nil {
			return
		}
		o, err := office.JSON(out)
		if err != nil {
			return
		}
		var walk func(any)
		walk = func(v any) {
			switch v := v.(type) {
			case office.Object:
				for name, inner := range v {
					switch name {
					case "snippet", "raw", "data", "body", "parts", "attachmentId", "messagesTotal", "historyId":
						t.Fatalf("%s shows %s: %s", path, name, out)
					}
					walk(inner)
				}
			case []any:
				for _, inner := range v {
					walk(inner)
				}
			}
		}
		if dialect.Of[call.Action].Reply != office.Receipt {
			walk(o)
		}
	})
}
