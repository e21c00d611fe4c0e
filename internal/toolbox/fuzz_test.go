package toolbox

import (
	"encoding/json"
	"net/mail"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzCut: the parts of a text are the text, none is longer than it may be, and none is cut within a letter.
func FuzzCut(f *testing.F) {
	f.Add("short", "")
	f.Add("Zoë and all that is here, Zoë", "7")
	f.Fuzz(func(t *testing.T, s, cursor string) {
		s = plain("text/plain", s)
		if part, _, err := cut(s, cursor, 16); err == nil && !utf8.ValidString(part) {
			t.Fatalf("from %q: cut within a letter", cursor)
		}
		whole := ""
		for cursor = ""; ; {
			part, next, err := cut(s, cursor, 16)
			if err != nil || len(part) > 16 {
				t.Fatalf("%d bytes, %v", len(part), err)
			}
			if whole += part; next == "" {
				break
			}
			cursor = next
		}
		if whole != s {
			t.Fatal("the parts are not the text")
		}
	})
}

// FuzzReplies: whatever a system answers is read or not, and nothing worse comes of it.
func FuzzReplies(f *testing.F) {
	f.Add(`{"id":"1","internalDate":"1","payload":{"headers":[{"name":"From","value":"Ben <ben@example.com>"}],"parts":[{"mimeType":"text/html","body":{"data":"PGI-eDwvYj4"}}]}}`)
	f.Add(`{"id":"1","from":{"emailAddress":{"address":"ben@example.com"}},"body":{"contentType":"html","content":"<b>x</b>"},"@odata.nextLink":"https://graph.example/x?$skip=1"}`)
	f.Add(`{"start":{"dateTime":"2026-12-01T10:00:00.0000000","timeZone":"UTC"},"isAllDay":true}`)
	f.Fuzz(func(t *testing.T, s string) {
		var g gmailMessage
		if json.Unmarshal([]byte(s), &g) == nil {
			g.line()
			g.Payload.content(new([]Attachment), 0)
		}
		var m graphMessage
		if json.Unmarshal([]byte(s), &m) == nil {
			m.line()
		}
		var e graphEvent
		if json.Unmarshal([]byte(s), &e) == nil {
			e.event()
		}
		var p page
		if json.Unmarshal([]byte(s), &p) == nil {
			p.cursor()
		}
	})
}

// FuzzLetter: a mail is to whom it was said to be, and to nobody else, whatever is in its other fields.
func FuzzLetter(f *testing.F) {
	f.Add("Ann <ann@example.com>", "Hello", "there")
	f.Add("ann@example.com", "x\r\nBcc: eve@evil.example", "y")
	f.Add("\"a, b@evil.example\" <ann@example.com>", "=?utf-8?q?x?=", ".\r\n.")
	f.Fuzz(func(t *testing.T, to, subject, text string) {
		l, err := DraftMail{To: []string{to}, Subject: subject, Text: text}.letter()
		if err != nil {
			return
		}
		m, err := mail.ReadMessage(strings.NewReader(string(l.bytes(nil))))
		if err != nil {
			t.Fatal(err)
		}
		for name := range m.Header {
			if name != "To" && name != "Subject" && name != "Mime-Version" && name != "Content-Type" && name != "Content-Transfer-Encoding" {
				t.Fatalf("it has a header %q", name)
			}
		}
		all, err := m.Header.AddressList("To")
		if err != nil || len(all) != 1 || all[0].Address != l.to[0].Address {
			t.Fatalf("it goes to %v (%v), not to %v", all, err, l.to)
		}
	})
}
