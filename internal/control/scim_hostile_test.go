package control

import (
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"
)

// worked is how long this process has worked: a machine that is busy with something else makes that no longer.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestStrangersDoNotLockOutDirectories: who shows keys that are none, as fast as they can, keeps no directory from saying that somebody left.
func TestStrangersDoNotLockOutDirectories(t *testing.T) {
	p := start(t)
	d := p.directory("entra", `{}`)
	last := 0
	for range 30 * scimStrangers {
		last, _ = d.sends("GET", "/Users", "", "Authorization", "Bearer lyd_scim_notone")
	}
	if last != 429 {
		t.Errorf("a stranger asks as often as they like: %d", last)
	}
	if status, m := d.sends("GET", "/Users", ""); status != 200 {
		t.Errorf("the directory: %d %v", status, m)
	}
}

// TestLargePatches: nobody waits long for a PATCH that is as large as one may be.
func TestLargePatches(t *testing.T) {
	p := start(t)
	d := p.directory("entra", `{}`)
	group := d.good("POST", "/Groups", `{"displayName":"All"}`)["id"].(string)
	within := func(what string, long time.Duration, f func()) {
		t.Helper()
		before := worked(t)
		if f(); worked(t)-before > long {
			t.Errorf("%s took %s", what, worked(t)-before)
		}
	}
	var members []string
	for n := range 100_000 {
		members = append(members, fmt.Sprintf(`{"value":"u%d"}`, n))
	}
	within("to add a hundred thousand", 5*time.Second, func() {
		if status, m := d.sends("PATCH", "/Groups/"+group, patchOf(`{"op":"add","path":"members","value":[`+strings.Join(members, ",")+`]}`)); status != 400 {
			t.Errorf("%d %v", status, m)
		}
	})
	filter := `members[value eq \"y\"` + strings.Repeat(` or value eq \"x\"`, 200) + `]`
	var ops []string
	ops = append(ops, `{"op":"add","path":"members","value":[`+strings.Join(members[:10_000], ",")+`]}`)
	for range 500 {
		ops = append(ops, `{"op":"remove","path":"`+filter+`"}`)
	}
	within("a filter in each operation", 10*time.Second, func() {
		if status, m := d.sends("PATCH", "/Groups/"+group, patchOf(strings.Join(ops, ","))); status != 413 || m["scimType"] != "tooMany" {
			t.Errorf("%d %v", status, m)
		}
	})
}

// TestTextThatNoDatabaseHolds: it finds nothing, and breaks nothing.
func TestTextThatNoDatabaseHolds(t *testing.T) {
	p := start(t)
	d := p.directory("entra", `{}`)
	for _, path := range []string{"/Users?filter=" + url.QueryEscape(`userName eq "a\u0000b"`), "/Users?filter=" + url.QueryEscape(`externalId eq "\u0000"`)} {
		if status, m := d.sends("GET", path, ""); status != 200 || m["totalResults"] != 0.0 {
			t.Errorf("%s: %d %v", path, status, m)
		}
	}
	for _, path := range []string{"/Users/%00", "/Users/%ff", "/Groups/a%00b"} {
		if status, m := d.sends("GET", path, ""); status != 404 {
			t.Errorf("%s: %d %v", path, status, m)
		}
	}
}
