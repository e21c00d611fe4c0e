package graph

import (
	"testing"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/connectortest"
)

func FuzzHears(f *testing.F) {
	f.Add("/v1.0/me/messages/1", `{"id":"1","from":{"emailAddress":{"name":"x","address":"a@b.example"}},"toRecipients":[{"emailAddress":{}}],"body":{"content":"x"}}`)
	f.Add("/v1.0/me/messages/1/attachments/2", `{"contentBytes":"Qk9EWQ==","contentType":"text/plain"}`)
	f.Add("/v1.0/me/messages", `{"value":[{"toRecipients":[]}]}`)
	c := open(f).(connector.Speaker)
	f.Fuzz(func(t *testing.T, path, body string) { connectortest.Hears(t, c, path, body) })
}
