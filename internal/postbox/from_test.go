package postbox

import "testing"

func TestFromIsAnAddress(t *testing.T) {
	for from, want := range map[string]string{"": "maya@example.com", "Maya Lind <Maya@Example.com>": "maya@example.com", "maya+bot@example.com": "maya+bot@example.com", "maya": "", "a@b.example, c@d.example": "", "maya@example.com> <x@y.example": ""} {
		p, err := New(Config{IMAP: "x:1", SMTP: "x:2", User: "maya@example.com", Password: "p", Security: None, Credential: secret, From: from})
		if err != nil {
			p = &Postbox{}
		}
		if p.From != want {
			t.Errorf("%q: from %q, %v", from, p.From, err)
		}
	}
}
