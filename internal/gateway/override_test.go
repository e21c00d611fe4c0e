package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// TestMethodOverride: a POST that some server takes for a DELETE never reaches the upstream whole, and nothing else is held up.
func TestMethodOverride(t *testing.T) {
	arrived := make(chan string, 1)
	w := newWorld(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err == nil {
			arrived <- string(b)
		}
	}))
	part := func(disposition string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b\r\n" + disposition + "\r\n\r\nDELETE\r\n--b--\r\n"
	}
	const form, parts, js = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "application/json"
	for _, c := range []struct {
		kind, query, body string
		passes            bool
	}{
		{form, "", "a=1&_method=DELETE", false},
		{form, "", "_method=DELETE&a=1", false},
		{form, "", "a=1&_METHOD=DELETE", false},
		{form, "", "%5fmethod=DELETE", false},
		{form, "", "+_method=DELETE", false},
		{form, "", ".method=DELETE", false},
		{form, "", "_method[]=DELETE", false},
		{form, "", "a=1;_method=DELETE", false},
		{form, "", "a=1&_method", false},
		{"", "", "_method=DELETE", false},
		{form, "", "a=_method&b=_method=", true},
		{form, "", "my_method=1&_methods=2", true},
		{form, "", "note=a;b", true},
		{parts, "", part(`Content-Disposition: form-data; name="_method"`), false},
		{parts, "", part(`content-disposition:form-data;name=_method`), false},
		{parts, "", part("Content-Disposition: form-data;\r\n name=\"_method\""), false},
		{parts, "", part(`Content-Disposition: form-data; name*=utf-8''%5Fmethod`), false},
		{"multipart/mixed; boundary=b", "", part(`Content-Disposition: form-data; name="_method"`), false},
		{parts, "", part("Content-Disposition: form-data; name=\"f\"; filename=\"_method\"\r\n\r\n<input type=\"hidden\" name=\"_method\" value=\"PUT\">"), true},
		{js, "", `{"a":{"x":1},"_method":"DELETE"}`, false},
		{js, "", `{"\u005fmethod" : "DELETE"}`, false},
		{js, "", `{"a":{"_method":"x"},"b":["_method"],"c":"_method"}`, true},
		{"text/plain", "", "_method=DELETE", true},
		{"application/octet-stream; name=a b.pdf", "", "_method=DELETE", true},
		{form + ", text/plain", "", "_method=DELETE", false},
		{form + "; x", "", "_method=DELETE", false},
		{js, "?.method=DELETE", `{}`, false},
		{js, "?+_method=DELETE", `{}`, false},
		{js, "?%20_method=DELETE", `{}`, false},
		{js, "?my_method=DELETE", `{}`, true},
	} {
		for _, body := range []io.Reader{strings.NewReader(c.body), iotest.OneByteReader(strings.NewReader(c.body))} {
			r := w.request("POST", "/mail/things/1"+c.query, w.mint(w.claims("bot")), body)
			if c.kind != "" {
				r.Header.Set("Content-Type", c.kind)
			}
			res, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			got := ""
			select {
			case got = <-arrived:
			default:
			}
			if (got == c.body) != c.passes || !c.passes && (got != "" || res.StatusCode != 400) {
				t.Errorf("%s %s %q: status %d, arrived %q", c.kind, c.query, c.body, res.StatusCode, got)
			}
		}
	}
}
