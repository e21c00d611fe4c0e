package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/control"
)

// TestSCIMChecked: a checker that nobody here wrote finds nothing wrong with the SCIM server, at a path of a host as well.
func TestSCIMChecked(t *testing.T) {
	t.Parallel()
	h, _ := below(t, "/nhi")
	h.do("directory", "put", "tester")
	var key control.DirectoryKeyMade
	if h.json(&key, "directory", "key", "tester"); key.URL != h.control+"/scim/v2" {
		t.Fatalf("%+v", key)
	}
	c := exec.CommandContext(t.Context(), absolute(t, ".venv/bin/python"), absolute(t, "scim.py"), key.URL, key.Key)
	c.Stderr = os.Stderr
	out, err := c.Output()
	var found []struct{ Status, Check, Reason string }
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, out, h.log)
	}
	good := 0
	for _, f := range found {
		switch {
		case f.Status == "SUCCESS":
			good++
		case f.Status == "SKIPPED" && strings.Contains(f.Reason, "searching several resource types at once"): // we answer 501, as RFC 7644 section 3.4.3 has it
		case f.Status == "ERROR" && f.Reason == "Failed to remove attribute 'active': active is true or false": // whether somebody has left, is said
		default:
			t.Errorf("%+v", f)
		}
	}
	if good < 60 {
		t.Errorf("%d checks are passed", good)
	}
	if out := h.do("directory", "show", "tester"); !strings.Contains(out, "key_") || strings.Contains(out, key.Key) {
		t.Errorf("%s", out)
	}
	for _, word := range []string{"owner.add", "owner.change", "directory.group"} {
		if out := h.do("audit", "search", "--type", word, "-o", "json"); !strings.Contains(out, "directory:tester") {
			t.Errorf("nothing of %s is on record: %s", word, out)
		}
	}
	if out := h.do("audit", "search", "--identity", "directory:tester"); !strings.Contains(out, "owner.add") {
		t.Errorf("by whom: %s", out)
	}
	if out := h.try("doctor"); strings.Contains(out.out, "directory tester has no key") {
		t.Errorf("%s", out.out)
	}
	h.do("directory", "revoke", "tester", key.ID)
	if status, _ := h.get(key.URL+"/Users", key.Key); status != 401 {
		t.Errorf("with a revoked key: %d", status)
	}
	if out := h.try("doctor"); !strings.Contains(out.out+out.err, "directory tester has no key that is good") {
		t.Errorf("%s%s", out.out, out.err)
	}
}
