package google

import (
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/connectortest"
)

func FuzzHears(f *testing.F) {
	f.Add("/gmail/v1/users/me/messages/1", `{"id":"1","payload":{"headers":[{"name":"From","value":"a@b.example"}],"parts":[{"mimeType":"text/plain","body":{"data":"Qk9EWQ=="}}]}}`)
	f.Add("/gmail/v1/users/me/messages/1/attachments/2", `{"data":"Qk9EWQ=="}`)
	f.Add("/gmail/v1/users/me/drafts/1", `{"message":{"raw":"VG86IGFAYi5leGFtcGxlDQpDb250ZW50LVR5cGU6IG11bHRpcGFydC9taXhlZDsgYm91bmRhcnk9Yg0KDQotLWINCg0KeA0KLS1iLS0NCg=="}}`)
	c := open(f, "gmail/v1").(connector.Speaker)
	f.Fuzz(func(t *testing.T, path, body string) { connectortest.Hears(t, c, path, body) })
}
