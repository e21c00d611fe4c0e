package policy

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

func TestTaskSet(t *testing.T) {
	k := Task{ID: "task_1", Identity: bot, State: TaskOpen, Until: now.Add(time.Hour)}
	for i, g := range []Grant{{Actions: []string{"messages.list"}, Where: map[string]Condition{"userId": {Is: "me"}}}, {Actions: []string{"write"}, Resources: []string{"users/you/*"}}} {
		g.ID, g.Identity, g.Upstream, g.Plain, g.Until = fmt.Sprint("task_1/", i), bot, "mail", true, k.Until
		c, err := Compile(g, mail)
		if err != nil {
			t.Fatal(err)
		}
		k.Scope = append(k.Scope, c)
	}
	s, err := NewTaskSet(k)
	if err != nil {
		t.Fatal(err)
	}
	me := map[string]any{"userId": "me"}
	elsewhere := ask("messages.list", Read, me)
	elsewhere.Call.Upstream = "drive"
	late := ask("messages.list", Read, me)
	late.Now = k.Until
	for name, c := range map[string]struct {
		ask        Request
		names, may bool
	}{
		"what it names":         {ask("messages.list", Read, me), true, true},
		"other arguments":       {ask("messages.list", Read, map[string]any{"userId": "you"}), false, true},
		"no arguments":          {ask("messages.list", Read, nil), false, true},
		"another action":        {ask("messages.get", Read, me), false, false},
		"another resource":      {ask("messages.send", Write, me), false, true},
		"another upstream":      {elsewhere, false, false},
		"after its end":         {late, false, false},
		"no upstream":           {Request{Call: Call{Action: "messages.list"}, Now: now}, false, false},
		"a class for an action": {ask("write", Write, me), false, true},
		"what cannot be judged": {ask("messages.list", Read, map[string]any{"userId": 1.5}), false, false},
	} {
		if got := len(s.Names(c.ask)) == 1; got != c.names {
			t.Errorf("%s: named %v", name, got)
		}
		if got := s.May(c.ask); got != c.may {
			t.Errorf("%s: may %v", name, got)
		}
	}
	if !k.Uses("mail") || k.Uses("drive") {
		t.Error("what it uses")
	}
	if len(new(TaskSet).Names(ask("messages.list", Read, me))) != 0 {
		t.Error("the zero set names something")
	}
}

func TestTaskOf(t *testing.T) {
	other, person := identity.MustID("spiffe://lanyard.local/agent/other"), identity.MustID("spiffe://lanyard.local/person/maya")
	for name, c := range map[string]struct {
		on    identity.OwnerID
		chain identity.Chain
		want  bool
	}{
		"its own": {"", identity.Alone(bot, 0), true}, "another's": {"", identity.Alone(other, 0), false}, "nobody's": {"", nil, false},
		"who works for it": {"", identity.Chain{{ID: other}, {ID: bot}}, true}, "for whom it is": {"maya", identity.Chain{{ID: bot}, {ID: person}}, true},
		"for nobody": {"maya", identity.Alone(bot, 0), false}, "for somebody else": {"ben", identity.Chain{{ID: bot}, {ID: person}}, false},
		"for somebody, of nobody's task": {"", identity.Chain{{ID: bot}, {ID: person}}, true},
	} {
		k := Task{ID: "task_1", Identity: bot, On: c.on}
		if err := k.For(c.chain); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCount(t *testing.T) {
	n := Count{Name: "spend", Upstream: "mail", Counter: Counter{Actions: []string{"messages.send*", "admin"}, Argument: "amount"}}
	for value, want := range map[any]int64{int64(5): 5, "5": 5, int64(0): 0, "007": 7, int64(-5): -1, "-5": -1, "+5": -1, "5.0": -1, "": -1, " 5": -1, "1e3": -1, true: -1, nil: -1, "9223372036854775807": math.MaxInt64, "9223372036854775808": -1} {
		args := map[string]any{"amount": value}
		if value == nil {
			args = nil
		}
		got, err := n.Amount(Call{Arguments: args})
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%#v: %d %v", value, got, err)
		}
	}
	for _, c := range []struct {
		call Call
		want bool
	}{{Call{Upstream: "mail", Action: "messages.send"}, true}, {Call{Upstream: "mail", Action: "messages.sendAll"}, true}, {Call{Upstream: "mail", Action: "messages.get", Class: Read}, false},
		{Call{Upstream: "mail", Action: "messages.get", Class: Admin}, true}, {Call{Upstream: "drive", Action: "messages.send"}, false}} {
		if n.Of(c.call) != c.want {
			t.Errorf("%+v: %v", c.call, !c.want)
		}
	}
}

// TestSlice: what is given out is never more than remains and never less than needed, whoever asks in whatever order.
func TestSlice(t *testing.T) {
	for _, kind := range []string{Calls, Bytes, "spend"} {
		for _, limit := range []int64{1, 2, 7, 8, 10, 1000, 1 << 40} {
			given := int64(0)
			for need := int64(1); given < limit; need = need%3 + 1 {
				n := Slice(kind, limit-given, need)
				if n == 0 && need > limit-given {
					need = limit - given
					n = Slice(kind, limit-given, need)
				}
				if n < need || given+n > limit || kind == "spend" && n != need || n > max(need, 8<<20) {
					t.Fatalf("%s: %d of %d, needing %d, with %d given", kind, n, limit, need, given)
				}
				if given += n; limit == 1<<40 { // enough of it was seen
					break
				}
			}
			if n := Slice(kind, limit-given, 1<<41); n != 0 {
				t.Errorf("%d of what is not there", n)
			}
		}
	}
}
