package control

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// Who changes what another has changed since it was read is told, and nothing is overwritten.
func TestChangedSinceRead(t *testing.T) {
	p := start(t)
	office(p)
	grant := func() string {
		t.Helper()
		var i struct{ Grants []json.RawMessage }
		if err := json.Unmarshal([]byte(p.must("GET", "/v1/identities/mayas", "")), &i); err != nil || len(i.Grants) != 1 {
			t.Fatal(err, i)
		}
		return string(i.Grants[0])
	}
	guardrail := func() string { t.Helper(); return strings.TrimSpace(p.must("GET", "/v1/guardrails/calm", "")) }
	const forbid = `"cedar":"forbid (principal, action in Lanyard::Action::\"delete\", resource);"`
	for _, one := range []struct {
		path, body string
		now        func() string
	}{
		{"/v1/guardrails/calm", forbid + `,"description":"%s"`, guardrail},
		{"/v1/identities/mayas/grants/read", `"upstream":"files","actions":["read"],"resources":["%s"]`, grant},
	} {
		put := func(text, was string) (int, string) {
			t.Helper()
			return p.ask("PUT", one.path, "{"+fmt.Sprintf(one.body, text)+was+"}")
		}
		if one.path == "/v1/guardrails/calm" {
			if status, answer := put("first", `,"was":{"id":"calm","cedar":"x"}`); status != 409 || !strings.Contains(answer, "removed") {
				t.Errorf("%s that is gone: %d %s", one.path, status, answer)
			}
			if status, answer := put("first", `,"was":null`); status != 200 {
				t.Fatalf("%s anew: %d %s", one.path, status, answer)
			}
		}
		read := one.now()
		if status, answer := put("mine", `,"was":null`); status != 409 || !strings.Contains(answer, "is there already") {
			t.Errorf("%s as if it were new: %d %s", one.path, status, answer)
		}
		if status, answer := put("theirs", `,"was":`+read); status != 200 {
			t.Errorf("%s as it was read: %d %s", one.path, status, answer)
		}
		if status, answer := put("mine", `,"was":`+read); status != 409 || !strings.Contains(answer, "was changed by somebody") {
			t.Errorf("%s after another's change: %d %s", one.path, status, answer)
		}
		if now := one.now(); !strings.Contains(now, "theirs") {
			t.Errorf("%s is overwritten: %s", one.path, now)
		}
		if status, answer := put("mine", `,"was":`+one.now()); status != 200 {
			t.Errorf("%s after it was read again: %d %s", one.path, status, answer)
		}
		if status, answer := put("last", `,"was":17`); status != 422 {
			t.Errorf("%s with nonsense: %d %s", one.path, status, answer)
		}
		if status, answer := put("last", ""); status != 200 {
			t.Errorf("%s of who does not say: %d %s", one.path, status, answer)
		}
	}
}
