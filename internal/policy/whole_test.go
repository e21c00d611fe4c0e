package policy

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// whole decides as Cedar does over the policies of everyone at once: the reference
// that an identity's own slice, with its scopes taken off, is compared with.
type whole struct {
	permits, forbids *cedar.PolicySet
}

func (w *whole) add(t *testing.T, set *cedar.PolicySet, id, text string) {
	t.Helper()
	list, err := cedar.NewPolicyListFromBytes("", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for i, p := range list {
		set.Add(cedar.PolicyID(fmt.Sprint(id, "#", i)), p)
	}
}

func (w *whole) decide(s Subject, r Request) bool {
	principal := types.NewEntityUID(principalType(s.ID.Kind()), types.String(s.ID.String()))
	action := types.NewEntityUID("Lanyard::Action", types.String(r.Call.Action))
	class := types.NewEntityUID("Lanyard::Action", types.String(r.Call.Class))
	upstream := types.NewEntityUID("Lanyard::Upstream", types.String(r.Call.Upstream))
	resource := types.NewEntityUID("Lanyard::Resource", types.String(r.Call.Upstream+"/"+r.Call.Resource))
	entities := types.EntityMap{
		principal: {UID: principal, Attributes: types.NewRecord(types.RecordMap{"name": types.String(s.ID.Name()), "owner": types.String(s.Owner), "environment": types.String(s.Environment)})},
		action:    {UID: action, Parents: types.NewEntityUIDSet(class)},
		class:     {UID: class},
		upstream:  {UID: upstream},
		resource: {UID: resource, Parents: types.NewEntityUIDSet(upstream), Attributes: types.NewRecord(types.RecordMap{
			"path": types.String(r.Call.Resource), "upstream": types.String(r.Call.Upstream), "environment": types.String(r.Upstream.Environment)})},
	}
	args := types.RecordMap{}
	for n, v := range r.Call.Arguments {
		args[types.String(n)] = cedarValue(v)
	}
	request := cedar.Request{Principal: principal, Action: action, Resource: resource, Context: types.NewRecord(types.RecordMap{
		"now": types.NewDatetime(r.Now), "source": types.String(r.Source), "args": types.NewRecord(args)})}
	if _, why := cedar.Authorize(w.forbids, entities, request); len(why.Errors)+len(why.Reasons) > 0 {
		return false
	}
	verdict, _ := cedar.Authorize(w.permits, entities, request)
	return verdict == cedar.Allow
}

// TestSliceAgainstWhole: an identity's own slice decides as all policies of all identities would.
func TestSliceAgainstWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 9))
	pick := func(s ...string) string { return s[random.IntN(len(s))] }
	crm := Described{Upstream: Upstream{Name: "crm", Environment: "staging"}, Actions: mail.Actions}
	var everyone []Subject
	for i := range 5 {
		everyone = append(everyone, Subject{ID: identity.MustID(fmt.Sprintf("spiffe://lanyard.local/%s/a%d", identity.Kinds[i], i)),
			Owner: identity.OwnerID(pick("maya", "ben")), Environment: pick("production", "production", "production", "staging")})
	}
	action := func() string {
		return pick("action", `action == Lanyard::Action::"messages.send"`, `action in Lanyard::Action::"read"`,
			`action in [Lanyard::Action::"write", Lanyard::Action::"messages.get"]`, `action in Lanyard::Action::"admin"`,
			`action == Lanyard::Action::"read"`, `action in [Lanyard::Action::"1", Lanyard::Action::"2", Lanyard::Action::"3", Lanyard::Action::"4", Lanyard::Action::"5", Lanyard::Action::"6", Lanyard::Action::"7", Lanyard::Action::"8", Lanyard::Action::"messages.list"]`)
	}
	principal := func(own string) string {
		return pick("principal", own, "principal is Lanyard::Agent", "principal is Lanyard::Bot")
	}
	resource := func() string {
		return pick("resource", `resource in Lanyard::Upstream::"mail"`, `resource is Lanyard::Resource in Lanyard::Upstream::"crm"`,
			`resource == Lanyard::Resource::"mail/users/me"`, `resource is Lanyard::Upstream`)
	}
	when := func() string {
		return pick("", ` when { context.args has userId && context.args.userId == "me" }`, ` unless { context.args has userId }`,
			` when { resource.path like "users/*" }`, ` when { principal.owner == "maya" }`, ` when { context.args.maxResults > 3 }`,
			` when { action in Lanyard::Action::"read" }`, ` when { resource in Lanyard::Upstream::"mail" }`)
	}
	allowed, cases := 0, 0
	for range 1500 {
		w := &whole{cedar.NewPolicySet(), cedar.NewPolicySet()}
		own := map[identity.ID][]Grant{}
		for n := range 25 {
			s := everyone[random.IntN(5)]
			d := mail
			if random.IntN(3) == 0 {
				d = crm
			}
			g := Grant{ID: fmt.Sprint("g", n), Identity: s.ID, Upstream: d.Upstream.Name, Until: now.Add(time.Duration(random.IntN(6)) * time.Hour)}
			uid := types.NewEntityUID(principalType(s.ID.Kind()), types.String(s.ID.String())).String()
			if random.IntN(2) == 0 {
				g.Plain, g.Actions = true, []string{pick("read", "write", "messages.list", "messages.*", "admin")}
				if random.IntN(2) == 0 {
					g.Where = map[string]Condition{"userId": {Is: pick("me", "you")}}
				}
				var err error
				if g, err = Compile(g, d); err != nil {
					continue
				}
			} else {
				g.Cedar = fmt.Sprintf("permit(%s, %s, %s)%s;", principal("principal == "+uid), action(), resource(), when())
			}
			own[s.ID] = append(own[s.ID], g)
			if now.Before(g.Until) { // what the slice knows besides Cedar: whose it is, for what, until when
				text := g.Cedar
				if !g.Plain {
					text = text[:len(text)-1] + fmt.Sprintf(" when { principal == %s && resource in Lanyard::Upstream::%q };", uid, g.Upstream)
				}
				w.add(t, w.permits, g.ID, text)
			}
		}
		list := []Guardrail{}
		for n := range random.IntN(6) / 3 {
			list = append(list, Guardrail{ID: fmt.Sprint("r", n), Cedar: fmt.Sprintf("forbid(%s, %s, %s)%s;", principal(`principal == Lanyard::Service::"spiffe://lanyard.local/service/a1"`), action(), resource(), when())})
		}
		for _, r := range append(Builtin(), list...) {
			w.add(t, w.forbids, r.ID, r.Cedar)
		}
		rails, err := NewGuardrails(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range everyone {
			set, err := NewSet(s, own[s.ID], rails)
			if err != nil {
				t.Fatal(err)
			}
			d := mail
			if random.IntN(3) == 0 {
				d = crm
			}
			a := d.Actions[random.IntN(len(d.Actions))]
			r := Request{Call{d.Upstream.Name, a.Name, ClassOf(d.Upstream, a), pick("users/me", "users/you", ""), map[string]any{}, ""}, &d.Upstream, now, "127.0.0.1", nil}
			if random.IntN(3) > 0 {
				r.Call.Arguments["userId"] = pick("me", "you")
			}
			if random.IntN(2) == 0 {
				r.Call.Arguments["maxResults"] = int64(random.IntN(8))
			}
			cases++
			want, got := w.decide(s, r), set.Decide(r)
			if got.Allow != want {
				t.Fatalf("%s %s on %s: slice %+v, whole %v\ngrants %+v\nguardrails %+v", s.ID.Name(), a.Name, d.Upstream.Name, got, want, own[s.ID], list)
			}
			if e := set.Explain(r); got.Allow && !matched(e.Grants, true) || got.Allow && matched(e.Guardrails, true) {
				t.Fatalf("explained otherwise than decided: %+v", e)
			}
			if want {
				allowed++
			}
		}
	}
	if allowed < cases/20 || allowed > cases*19/20 {
		t.Errorf("%d of %d are allowed: the cases show nothing", allowed, cases)
	}
	t.Logf("%d cases, %d allowed", cases, allowed)
}

func matched(list []Verdict, want bool) bool {
	for _, v := range list {
		if v.Matched == want {
			return true
		}
	}
	return false
}
