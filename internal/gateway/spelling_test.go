package gateway

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/layer"
)

// send makes one request with a body as it stands.
func (o *layeredOffice) send(method, upstream, target, kind, body string, header ...string) (*http.Response, string) {
	o.t.Helper()
	c := o.claims("bot")
	c.Audience = testScope + "/" + upstream
	r := o.request(method, "/"+upstream+target, o.mint(c), strings.NewReader(body))
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return o.do(r)
}

const (
	asJSON  = "application/json"
	related = "multipart/related; boundary=b"
)

func inBase64(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) }

func inParts(list ...string) string {
	var b strings.Builder
	for _, p := range list {
		b.WriteString("--b\r\n" + p + "\r\n")
	}
	return b.String() + "--b--\r\n"
}

// TestSpellings: whoever may not be written to is not reached by writing it, or asking for it, in another way.
func TestSpellings(t *testing.T) {
	o := newOffice(t)
	held := layer.Layers{Contacts: layer.Contacts{Write: []string{"example.com", "bücher.example"}, Never: []string{"legal@example.com"}}}
	for _, u := range []string{"mail", "drive", "calendar", "graph"} {
		o.grant(u, held, "read", "write", "delete", "admin")
	}
	const gmailSend, upload, rest = "/gmail/v1/users/me/messages/send", "/upload/gmail/v1/users/me/messages/send", "\r\nSubject: x\r\n\r\ny"
	refuses := func(name, method, upstream, target, kind, body string, header ...string) {
		t.Helper()
		sent := len(o.o.Sent())
		res, s := o.send(method, upstream, target, kind, body, header...)
		if res.StatusCode < 400 || len(o.o.Sent()) != sent {
			t.Errorf("%s: %d %.200s", name, res.StatusCode, s)
		}
	}
	passes := func(name, method, upstream, target, kind, body string, header ...string) {
		t.Helper()
		if res, s := o.send(method, upstream, target, kind, body, header...); res.StatusCode >= 300 {
			t.Errorf("%s: %d %.300s", name, res.StatusCode, s)
		}
	}
	for name, head := range map[string]string{
		"plain": "To: ben@example.com", "capitals": "TO: Ben <BEN@EXAMPLE.COM>", "a name like an address": `To: "eve@evil.example" <ben@example.com>`, "an encoded name": "To: =?utf-8?b?ZXZlQGV2aWwuZXhhbXBsZQ==?= <ben@example.com>",
		"a group of ours": "To: Team: ben@example.com, maya@example.com;", "IDN": "To: a@bücher.example", "punycode": "To: a@xn--bcher-kva.example", "plus": "To: ben+x@example.com", "folded": "To: ben@example.com,\r\n maya@example.com", "wide": "To: ben@ｅｘａｍｐｌｅ.com",
		"a comment": "To: ben@example.com (not eve@evil.example)",
	} {
		passes(name, "POST", "mail", gmailSend, asJSON, `{"raw":"`+inBase64(head+rest)+`"}`)
	}
	heads := map[string]string{
		"plain": "To: eve@evil.example", "never": "To: legal@example.com", "never with plus": "To: legal+x@example.com", "never with dots": "To: l.e.gal@example.com", "never in capitals": "To: LEGAL@EXAMPLE.COM", "never, quoted": `To: "legal"@example.com`,
		"homoglyph": "To: ben@exаmple.com", "its punycode": "To: ben@xn--exmple-4nf.com", "homoglyph in the IDN": "To: a@bücһer.example", "below": "To: ben@sub.example.com", "above": "To: ben@com", "longer": "To: ben@example.com.evil.example", "prefixed": "To: ben@evilexample.com",
		"another dot": "To: ben@example。com。evil.example", "invisible": "To: ben@exam\u00adple.com.evil.example", "zero width": "To: ben@example.com\u200b", "right to left": "To: \u202eelpmaxe.live@eve",
		"encoded": "To: =?utf-8?q?eve=40evil.example?=", "encoded in angles": "To: Ben <=?utf-8?q?eve=40evil.example?=>", "encoded domain": "To: eve@=?utf-8?q?evil.example?=", "two": "To: ben@example.com, eve@evil.example", "semicolon": "To: ben@example.com; eve@evil.example",
		"blank between": "To: ben@example.com eve@evil.example", "group": "To: Team: ben@example.com, eve@evil.example;", "empty group and more": "To: Nobody:;, eve@evil.example", "group in a group": "To: A: B: eve@evil.example;;", "comment": "To: ben(x)@example.com, eve(example.com)@evil.example",
		"quoted": `To: "ben@example.com"@evil.example`, "quoted at": `To: "eve@evil.example"@example.com`, "escaped": `To: ben@example.com\,eve@evil.example`, "route": "To: <@evil.example:ben@example.com>", "percent": "To: eve%evil.example@example.com", "bang": "To: evil.example!eve@example.com", "literal": "To: eve@[192.0.2.1]",
		"two at": "To: eve@evil.example@example.com", "no domain": "To: eve", "Cc": "To: ben@example.com\r\nCc: eve@evil.example", "Bcc": "To: ben@example.com\r\nbCC: eve@evil.example", "twice": "To: ben@example.com\r\nTo: eve@evil.example", "folded": "To: ben@example.com\r\n\t, eve@evil.example",
		"Resent": "To: ben@example.com\r\nResent-Bcc: eve@evil.example", "answers": "To: ben@example.com\r\nReply-To: eve@evil.example", "receipt": "To: ben@example.com\r\nDisposition-Notification-To: eve@evil.example", "Apparently": "To: ben@example.com\r\nApparently-To: eve@evil.example",
		"bare CR": "To: ben@example.com\rBcc: eve@evil.example", "bare LF": "To: ben@example.com\nBcc: eve@evil.example", "NUL": "To: ben@example.com\x00\r\nBcc: eve@evil.example", "a blank before the colon": "To: ben@example.com\r\nBcc : eve@evil.example", "a line of blanks": "To: ben@example.com\r\n \r\nBcc: eve@evil.example",
		"BOM": "\ufeffTo: eve@evil.example", "an empty line first": "\r\nTo: eve@evil.example", "mbox": "From maya Thu Nov 26 10:00:00 2026\r\nTo: eve@evil.example", "no colon": "To ben@example.com\r\nBcc: eve@evil.example", "8-bit name": "T\u00f6: x\r\nTo: eve@evil.example", "vertical tab": "To: ben@example.com\v\r\nBcc: eve@evil.example",
	}
	for name, head := range heads {
		refuses(name, "POST", "mail", gmailSend, asJSON, `{"raw":"`+inBase64(head+rest)+`"}`)
		refuses(name+", drafted", "POST", "mail", "/gmail/v1/users/me/drafts", asJSON, `{"message":{"raw":"`+inBase64(head+rest)+`"}}`)
		refuses(name+", uploaded", "POST", "mail", upload+"?uploadType=media", "message/rfc822", head+rest)
		refuses(name+", in parts", "POST", "mail", upload+"?uploadType=multipart", related, inParts("Content-Type: application/json\r\n\r\n{}", "Content-Type: message/rfc822\r\n\r\n"+head+rest))
		refuses(name+", by Graph", "POST", "graph", "/v1.0/me/sendMail", "text/plain", base64.StdEncoding.EncodeToString([]byte(head+rest)))
	}
	eve, ben := inBase64("To: eve@evil.example"+rest), inBase64("To: ben@example.com"+rest)
	for name, body := range map[string]string{
		"another spelling": `{"Raw":"` + eve + `"}`, "escaped twice": `{"raw":"` + ben + `","r\u0061w":"` + eve + `"}`, "both": `{"raw":"` + ben + `","message":{"raw":"` + eve + `"}}`, "a list": `[{"raw":"` + eve + `"}]`, "twice": `{"raw":"` + ben + `","raw":"` + eve + `"}`,
		"two bodies": `{"raw":"` + ben + `"}{"raw":"` + eve + `"}`, "UTF-16": "\xff\xfe{\x00}\x00", "BOM": "\ufeff" + `{"raw":"` + eve + `"}`, "padded inside": `{"raw":"` + inBase64("To: ben@example.com\r\n") + "==" + inBase64("Bcc: eve@evil.example"+rest) + `"}`, "a number": `{"raw":1}`, "null": `{"raw":null}`,
		"the parsed form": `{"payload":{"headers":[{"name":"To","value":"eve@evil.example"}]},"raw":"` + ben + `"}`, "a form": "raw=" + eve, "nothing": "",
	} {
		refuses(name, "POST", "mail", gmailSend, asJSON, body)
	}
	mail := "Content-Type: message/rfc822\r\n\r\nTo: eve@evil.example" + rest
	for name, c := range map[string][2]string{
		"one part": {related, inParts(mail)}, "mail first": {related, inParts(mail, "Content-Type: application/json\r\n\r\n{}")}, "three parts": {related, inParts("Content-Type: application/json\r\n\r\n{}", "Content-Type: message/rfc822\r\n\r\nTo: ben@example.com"+rest, mail)},
		"two boundaries": {"multipart/related; boundary=b; boundary=c", inParts("\r\n{}", mail)}, "in quoted-printable": {related, inParts("Content-Type: application/json\r\n\r\n{}", "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nTo: eve=40evil.example"+rest)},
		"in base64": {related, inParts("\r\n{}", "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"+base64.StdEncoding.EncodeToString([]byte("To: eve@evil.example"+rest)))}, "raw in both": {related, inParts("Content-Type: application/json\r\n\r\n{\"raw\":\""+ben+"\"}", mail)}, "no end": {related, strings.TrimSuffix(inParts("\r\n{}", mail), "--b--\r\n")},
		"no type": {"", inParts("\r\n{}", mail)}, "no boundary": {"multipart/related", inParts("\r\n{}", mail)},
	} {
		refuses("upload, "+name, "POST", "mail", upload+"?uploadType=multipart", c[0], c[1])
	}
	for name, c := range map[string][]string{
		"resumable":           {"POST", "mail", upload + "?uploadType=resumable", asJSON, "{}"},
		"resumable, begun":    {"PUT", "mail", upload + "?uploadType=resumable&upload_id=x", "message/rfc822", "To: eve@evil.example" + rest},
		"resumable, shared":   {"POST", "drive", "/upload/drive/v3/files?uploadType=resumable", asJSON, `{"name":"x","permissions":[{"type":"user","role":"reader","emailAddress":"eve@evil.example"}]}`},
		"resumable, as text":  {"POST", "drive", "/upload/drive/v3/files?uploadType=resumable", "text/plain", `{"name":"x","permissions":[{"type":"user","role":"reader","emailAddress":"eve@evil.example"}]}`},
		"resumable, in parts": {"POST", "drive", "/upload/drive/v3/files?uploadType=resumable", related, inParts("Content-Type: application/json\r\n\r\n{\"name\":\"x\"}", "Content-Type: text/plain\r\n\r\nx")},
		"by header":           {"POST", "mail", upload + "?uploadType=media", "message/rfc822", "To: ben@example.com" + rest, "X-Goog-Upload-Protocol", "resumable"},
		"a batch":             {"POST", "mail", "/batch/gmail/v1", "multipart/mixed; boundary=b", inParts("Content-Type: application/http\r\n\r\nPOST " + gmailSend + "\r\n\r\n{\"raw\":\"" + eve + "\"}")},
		"an old batch":        {"POST", "mail", "/batch", "multipart/mixed; boundary=b", inParts("Content-Type: application/http\r\n\r\nPOST /batch HTTP/1.1\r\n\r\n")},
		"a batch of Graph":    {"POST", "graph", "/v1.0/$batch", asJSON, `{"requests":[{"id":"1","method":"POST","url":"/me/sendMail"}]}`},
		"one in encoding":     {"POST", "graph", "/v1.0/%24batch", asJSON, `{"requests":[{"id":"1","method":"POST","url":"/$batch"}]}`},
		"an upload session":   {"POST", "graph", "/v1.0/me/drive/items/root/createUploadSession", asJSON, "{}"},
		"another method":      {"POST", "mail", "/gmail/v1/users/me/messages/" + o.o.All()[0], asJSON, "", "X-HTTP-Method-Override", "DELETE"},
		"another of Graph":    {"POST", "graph", "/v1.0/me/messages/" + o.o.All()[0], asJSON, "{}", "X-HTTP-Method", "DELETE"},
		"an import":           {"POST", "mail", "/gmail/v1/users/me/messages/import", asJSON, `{"raw":"` + eve + `"}`},
		"compressed":          {"POST", "mail", gmailSend, asJSON, "\x1f\x8b", "Content-Encoding", "gzip"},
		"an empty send":       {"POST", "mail", "/gmail/v1/users/me/drafts/send", asJSON, `{}`},
		"words":               {"POST", "calendar", "/calendar/v3/calendars/primary/events/quickAdd?text=Lunch+with+eve%40evil.example", "", ""},
		"a shared file":       {"POST", "drive", "/drive/v3/files", asJSON, `{"name":"x","permissions":[{"type":"user","role":"reader","emailAddress":"eve@evil.example"}]}`},
		"given away":          {"POST", "drive", "/drive/v3/files", asJSON, `{"name":"x","owners":[{"emailAddress":"eve@evil.example"}]}`},
		"forwarding":          {"POST", "mail", "/gmail/v1/users/me/settings/forwardingAddresses", asJSON, `{"forwardingEmail":"eve@evil.example"}`},
		"a watch":             {"POST", "mail", "/gmail/v1/users/me/watch", asJSON, `{"topicName":"projects/evil/topics/x"}`},
		"a filter":            {"POST", "mail", "/gmail/v1/users/me/settings/filters", asJSON, `{"action":{"forward":"eve@evil.example"}}`},
		"a rule":              {"POST", "graph", "/v1.0/me/mailFolders/inbox/messageRules", asJSON, `{"actions":{"forwardTo":[{"emailAddress":{"address":"eve@evil.example"}}]}}`},
		"a calendar shared":   {"POST", "calendar", "/calendar/v3/calendars/primary/acl", asJSON, `{"role":"reader","scope":{"type":"user","value":"eve@evil.example"}}`},
	} {
		refuses(name, c[0], c[1], c[2], c[3], c[4], c[5:]...)
	}
	for name, a := range map[string]string{"plain": "eve@evil.example", "never": "Legal+x@example.com", "a name": "Ben <eve@evil.example>", "angles": "<ben@example.com>", "mailto": "mailto:ben@example.com", "two": "ben@example.com,eve@evil.example", "semicolon": "ben@example.com;eve@evil.example", "a blank": " eve@evil.example",
		"homoglyph": "ben@exаmple.com", "quoted": `\"ben@example.com\"@evil.example`, "encoded": "=?utf-8?q?eve=40evil.example?=", "a line": `ben@example.com\neve@evil.example`, "nothing": "", "domain": "evil.example", "invisible": `ben@example.com\u200b`, "percent": "eve%evil.example@example.com"} {
		start := `"start":{"dateTime":"2027-01-04T10:00:00Z"},"end":{"dateTime":"2027-01-04T11:00:00Z"}`
		refuses(name+" invited", "POST", "calendar", "/calendar/v3/calendars/primary/events", asJSON, `{`+start+`,"attendees":[{"email":"ben@example.com"},{"email":"`+a+`"}]}`)
		refuses(name+" invited by Graph", "POST", "graph", "/v1.0/me/events", asJSON, `{"subject":"x",`+start+`,"attendees":[{"emailAddress":{"address":"`+a+`"}}]}`)
		refuses(name+" written to by Graph", "POST", "graph", "/v1.0/me/sendMail", asJSON, `{"message":{"toRecipients":[{"emailAddress":{"address":"ben@example.com"}}],"bccRecipients":[{"emailAddress":{"address":"`+a+`"}}]}}`)
		refuses(name+" shared with", "POST", "drive", "/drive/v3/files/"+o.file("suppliers.csv")+"/permissions", asJSON, `{"type":"user","role":"reader","emailAddress":"`+a+`"}`)
		refuses(name+" shared with by Graph", "POST", "graph", "/v1.0/me/drive/items/"+o.file("suppliers.csv")+"/invite", asJSON, `{"recipients":[{"email":"`+a+`"}],"roles":["read"]}`)
	}
	large := strings.Repeat("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5\r\n", 25<<20/54)
	attached := func(to string) string {
		return "To: " + to + "\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + large + "--c--\r\n"
	}
	passes("25 MB", "POST", "mail", upload+"?uploadType=media", "message/rfc822", attached("ben@example.com"))
	refuses("25 MB to somebody else", "POST", "mail", upload+"?uploadType=media", "message/rfc822", attached("eve@evil.example"))
	refuses("50 MB", "POST", "mail", upload+"?uploadType=media", "message/rfc822", attached("ben@example.com")+large)
	for _, m := range o.o.Sent() {
		for _, a := range layer.Addresses(m.To) {
			if d := layer.Domain(a); d != "example.com" && d != "xn--bcher-kva.example" && !strings.HasSuffix(a, "<ben@example.com>") || strings.HasPrefix(a, "l") {
				t.Errorf("%+v was sent", m)
			}
		}
	}
}

// file is the id of one of the example's files.
func (o *layeredOffice) file(name string) string {
	o.t.Helper()
	_, v, s := o.ask("GET", "drive", "/drive/v3/files?q=name='"+name+"'", nil)
	files, _ := v["files"].([]any)
	if len(files) == 0 {
		o.t.Fatalf("no %s: %s", name, s)
	}
	return files[0].(map[string]any)["id"].(string)
}

// TestPiecesUnderLayers: what is not shown is not shown in parts, as unchanged, by its size or in another form.
func TestPiecesUnderLayers(t *testing.T) {
	o := newOffice(t)
	l := layer.Layers{Show: layer.Headers}
	for _, u := range []string{"mail", "drive", "graph"} {
		o.grant(u, layer.Layers{}, "read")
	}
	csv, id := o.file("suppliers.csv"), o.o.All()[0]
	for _, u := range []string{"mail", "drive", "graph"} {
		o.grant(u, l, "read")
	}
	targets := map[string]string{"mail": "/gmail/v1/users/me/messages/" + id, "drive": "/drive/v3/files/" + csv, "graph": "/v1.0/me/messages/" + id}
	for upstream, target := range targets {
		for name, h := range map[string][]string{"range": {"Range", "bytes=0-10"}, "a range from": {"Range", "bytes=-1"}} {
			if res, s := o.send("GET", upstream, target, "", "", h...); res.StatusCode < 400 {
				t.Errorf("%s, %s: %d %.100s", upstream, name, res.StatusCode, s)
			}
		}
		for name, h := range map[string][]string{"unchanged": {"If-None-Match", "*"}, "by its tag": {"If-None-Match", `W/"` + id + `"`}, "by its time": {"If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"}, "preferred": {"Prefer", `outlook.body-content-type="text"`}, "compressed": {"Accept-Encoding", "gzip"}} {
			res, s := o.send("GET", upstream, target, "", "", h...)
			if res.StatusCode != 200 || res.Header.Get("Etag") != "" || res.Header.Get("Content-Encoding") != "" || res.Header.Get("Last-Modified") != "" || strings.Contains(s, `"body"`) || strings.Contains(s, "DE0212") {
				t.Errorf("%s, %s: %d %v %.300s", upstream, name, res.StatusCode, res.Header, s)
			}
		}
		if res, s := o.send("HEAD", upstream, target, "", ""); res.StatusCode < 400 {
			t.Errorf("%s: HEAD: %d %v %s", upstream, res.StatusCode, res.Header, s)
		}
	}
	for _, target := range []string{"?alt=media", "?alt=media&acknowledgeAbuse=true", "?alt=MEDIA", "?fields=webContentLink", "/export?mimeType=text/plain", "/revisions", "/comments"} {
		if res, s := o.send("GET", "drive", targets["drive"]+target, "", ""); res.StatusCode == 200 && (strings.Contains(s, "DE0212") || strings.Contains(s, "http")) {
			t.Errorf("%s: %.200s", target, s)
		}
	}
}
