package asi03

import (
	"testing"

	"github.com/lanyard-dev/lanyard/client"
)

// TestIdentityOfAgentAndUserBlurredByName: somebody gets the name of a person who was removed. What an agent did for the one before
// it cannot go on doing for the next, neither with the token that it kept nor with that person's sign-in.
func TestIdentityOfAgentAndUserBlurredByName(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll := h.upstream("payroll", "--consent", "*", "--consent-class", "read")
	reader := h.agent("reader", "eve")
	h.do("grant", "put", "reader", "payroll", "--upstream", "payroll", "--action", "read")
	before := reader.OnBehalf(h.signedIn("ben"), client.IDToken)
	again := func(when string, badge *client.Source) {
		t.Helper()
		n, _ := payroll.reached()
		status, said := h.call(badge, "payroll", "GET", "/records/7")
		if now, _ := payroll.reached(); status == 200 || now > n {
			t.Errorf("%s: %d %s", when, status, said)
		}
	}
	if status, said := h.call(before, "payroll", "GET", "/records/7"); status != 200 {
		t.Fatal(status, said)
	}
	signedIn := h.signedIn("ben")
	h.do("owner", "remove", "ben")
	again("removed", before)
	h.do("owner", "put", "ben", "--name", "Ben Castle", "--email", "ben@acme.example")
	again("with the token that was kept", before)
	again("with the sign-in of before", reader.OnBehalf(signedIn, client.IDToken))
	h.eventually("it acts for who has the name now", func() bool { // from the next second on: sign-ins are dated in seconds
		status, _ := h.call(reader.OnBehalf(h.signedIn("ben"), client.IDToken), "payroll", "GET", "/records/7")
		return status == 200
	})
}
