package client

import (
	"net/url"
	"testing"
)

// TestBelow: an upload of Google's clients goes to the upstream that they were made for, and nothing else is moved.
func TestBelow(t *testing.T) {
	for _, c := range [][3]string{
		{"http://gate:8441/mail", "http://gate:8441/upload/gmail/v1/users/me/messages/send?uploadType=multipart", "http://gate:8441/mail/upload/gmail/v1/users/me/messages/send?uploadType=multipart"},
		{"http://gate:8441/base/mail/", "http://gate:8441/upload/a%2Fb", "http://gate:8441/base/mail/upload/a%2Fb"},
		{"http://mail.gate:8441", "http://mail.gate:8441/upload/x", "http://mail.gate:8441/upload/x"},
		{"http://gate:8441/upload", "http://gate:8441/upload/x", "http://gate:8441/upload/x"},
		{"http://gate:8441/mail", "http://gate:8441/drive/upload/x", "http://gate:8441/drive/upload/x"},
		{"http://gate:8441/mail", "http://other:8441/upload/x", "http://other:8441/upload/x"},
	} {
		u, err := url.Parse(c[1])
		if err != nil {
			t.Fatal(err)
		}
		if (&Transport{Audience: c[0]}).below(u); u.String() != c[2] {
			t.Errorf("%s of %s became %s", c[1], c[0], u)
		}
	}
}
