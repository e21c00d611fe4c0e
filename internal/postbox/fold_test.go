package postbox

import (
	"encoding/base64"
	"strings"
	"testing"
)

// TestSpelling: a member is read under its own name alone. encoding/json takes RAW, and what folds to it (U+017F is an s), for the same,
// and of two the last, while the gateway has decided on the one.
func TestSpelling(t *testing.T) {
	w := open(t)
	mail := func(to string) string { return raw("To: " + to + "\r\nSubject: x\r\n\r\nx") }
	eve := strings.TrimSuffix(strings.TrimPrefix(mail("eve@evil.example"), "{"), "}")
	ben := strings.TrimSuffix(strings.TrimPrefix(mail("ben@example.com"), "{"), "}")
	for _, body := range []string{
		"{" + ben + `,"me` + "\u017f\u017f" + `age":{` + eve + "}}", "{" + ben + `,"Message":{` + eve + "}}", "{" + ben + "," + strings.Replace(eve, "raw", "RAW", 1) + "}", "{" + ben + "," + eve + "}",
		"{" + ben + "} {" + eve + "}",
	} {
		w.ask("POST", "messages/send", body)
	}
	w.sink.mu.Lock()
	for _, s := range w.sink.sent {
		if strings.Contains(s, "evil.example") {
			t.Errorf("sent: %s", s)
		}
	}
	w.sink.mu.Unlock()
	id := w.ids("q=from:ben")[0]
	w.ask("POST", "messages/"+id+"/modify", `{"addLabelId`+"\u017f"+`":["TRASH"]}`)
	if got := w.ids("labelIds=TRASH"); len(got) != 0 {
		t.Errorf("deleted: %v", got)
	}
}

// TestBareCR: what a server could take for the end of a mail, and what follows for another mail to whom nobody allowed (SMTP smuggling), is not sent.
func TestBareCR(t *testing.T) {
	w := open(t)
	for _, text := range []string{"To: ben@example.com\r\nSubject: x\r\n\r\nx\r.\r\nMAIL FROM:<maya@example.com>\r\n", "To: ben@example.com\r\nSubject: x\r\n\r\nx\r\r\n.\r\n"} {
		if status, _ := w.ask("POST", "messages/send", `{"raw":"`+base64.URLEncoding.EncodeToString([]byte(text))+`"}`); status != 400 {
			t.Errorf("%q: %d", text, status)
		}
	}
}
