package feed

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// fill gives every field of v a value, or with a chance of one in two none. It fails with a type that it does not know.
func fill(t *testing.T, r *rand.Rand, v reflect.Value, all bool) {
	if !all && r.IntN(2) == 0 {
		return
	}
	switch x := v.Addr().Interface().(type) {
	case *identity.ID:
		*x = agent(fmt.Sprint("a", r.IntN(1000)))
		return
	case *time.Time:
		*x = now.Add(time.Duration(r.Int64N(1e18))).Truncate([]time.Duration{1, time.Microsecond, time.Second}[r.IntN(3)])
		return
	case *[]byte:
		*x = fmt.Appendf(nil, "bytes %d", r.IntN(1000))
		return
	case *map[string]policy.Condition:
		limit := float64(r.IntN(100))
		*x = map[string]policy.Condition{"n": {Min: &limit}, "s": {OneOf: []string{"a", fmt.Sprint(r.IntN(10))}}}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, r, v.Field(i), all)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, r, v.Elem(), all)
	case reflect.String:
		v.SetString(fmt.Sprintf("%s %d", v.Type().Name(), r.IntN(1000)))
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64() - r.Int64())
	case reflect.Uint64:
		v.SetUint(r.Uint64())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+r.IntN(3), 3))
		for i := range v.Len() {
			fill(t, r, v.Index(i), true)
		}
	case reflect.Float64:
		v.SetFloat(r.Float64())
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, r, key, true)
		fill(t, r, value, true)
		v.SetMapIndex(key, value)
	case reflect.Interface:
		v.Set(reflect.ValueOf("anything"))
	default:
		t.Fatalf("pack_test does not know %s, and pack may not either", v.Type())
	}
}

// TestPack: what is unpacked is what was packed, with every field there is, and whatever is missing.
func TestPack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	st := NewView().newState()
	bot := agent("bot")
	for n := range 300 {
		s := Subject{Credentials: make([]identity.Credential, n%4), Grants: make([]policy.Grant, n%3)}
		for _, part := range []reflect.Value{reflect.ValueOf(&s.Identity).Elem(), reflect.ValueOf(s.Credentials), reflect.ValueOf(s.Grants)} {
			if part.Kind() == reflect.Slice {
				for i := range part.Len() {
					fill(t, r, part.Index(i), n < 20)
				}
			} else {
				fill(t, r, part, n < 20)
			}
		}
		s.Identity.ID = bot
		for i := range s.Credentials {
			c := &s.Credentials[i]
			c.Identity = bot
			switch n % 3 {
			case 1:
				c.ID, c.Thumbprint = "cred_0193a1f0-8350-7407-a000-00000000002a", strings.Repeat("A", 43)
			case 2: // not as we would write them
				c.ID, c.Thumbprint = "cred_0193A1F0-8350-7407-a000-00000000002a", strings.Repeat("_", 43)
			}
		}
		for i := range s.Grants {
			s.Grants[i].Identity = bot
			if n%2 == 0 {
				s.Grants[i].ID = "bot/read"
			}
		}
		if len(s.Credentials) == 0 {
			s.Credentials = nil
		}
		if len(s.Grants) == 0 {
			s.Grants = nil
		}
		got := st.copyOf(parts{st.packer.identity(&s.Identity), st.packer.credentials(s.Credentials), st.packer.grants(bot, s.Grants)}.of(bot))
		for what, pair := range map[string][2]any{"identity": {got.Identity, s.Identity}, "credentials": {got.Credentials, s.Credentials}, "grants": {got.Grants, s.Grants}} {
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Fatalf("%d, %s:\n%+v was packed\n%+v came out", n, what, pair[1], pair[0])
			}
		}
	}
}

// TestEveryLine: what is in a line is what is read from it, for every kind of change and every field of it.
func TestEveryLine(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	kinds := reflect.TypeFor[Change]()
	for n := range kinds.NumField() {
		for range 20 {
			c := Change{Cursor: Cursor{"e", 7}}
			fill(t, r, reflect.ValueOf(&c).Elem().Field(n), n != 0)
			wire, err := Line{Change: &c}.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			doc, _ := json.Marshal(Change{Removed: c.Removed, Owner: c.Owner, Identity: c.Identity, Credential: c.Credential, Upstream: c.Upstream, Grant: c.Grant, Guardrail: c.Guardrail,
				Task: c.Task, Token: c.Token, Kill: c.Kill, Keys: c.Keys, Account: c.Account, Approval: c.Approval, Synced: c.Synced})
			e, err := Encode(c.Cursor, doc)
			if again := string(e.Append(nil)); n > 0 && (err != nil || again != string(wire)) {
				t.Fatalf("%s is passed on as\n%swant\n%s%v", kinds.Field(n).Name, again, wire, err)
			}
			want := Line{}
			if err := json.Unmarshal(wire, &want); err != nil {
				t.Fatal(err)
			}
			if got, err := ParseLine(wire); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s:\n%s\n%v\n%+v\n%+v", kinds.Field(n).Name, wire, err, got.Change, want.Change)
			}
			if n == 0 {
				continue
			}
			// As a part of a snapshot, and on disk, it says the same without the cursor.
			e.Part, want.Change.Cursor = true, Cursor{}
			if got, err := ParseLine(e.Append(nil)); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s in a snapshot:\n%s\n%v\n%+v\n%+v", kinds.Field(n).Name, e.Append(nil), err, got.Change, want.Change)
			}
			if got, err := parseChange(append(doc, '\n')); err != nil || !reflect.DeepEqual(got, *want.Change) {
				t.Fatalf("%s on disk:\n%s\n%v\n%+v\n%+v", kinds.Field(n).Name, doc, err, got, want.Change)
			}
			if got, err := e.Change(); err != nil || !reflect.DeepEqual(got, *want.Change) {
				t.Fatalf("%s in the store:\n%s\n%v\n%+v\n%+v", kinds.Field(n).Name, doc, err, got, want.Change)
			}
		}
	}
}

// TestPackBounds: when there are more words and shapes than are shared, the others are held whole.
func TestPackBounds(t *testing.T) {
	st := NewView().newState()
	for n := range maxWords + 10 {
		i := identity.Identity{ID: agent("bot"), Owner: identity.OwnerID(fmt.Sprint("owner", n)), State: identity.Active}
		if got := st.copyOf(parts{identity: st.packer.identity(&i)}.of(i.ID)).Identity; got != i {
			t.Fatalf("%+v, want %+v", got, i)
		}
	}
	for n := range maxShapes + 10 {
		g := []policy.Grant{{ID: "bot/g", Identity: agent("bot"), Actions: []string{"read"}, Resources: []string{fmt.Sprint("/", n, "/<*>")}}}
		if got := st.copyOf(parts{grants: st.packer.grants(agent("bot"), g)}.of(agent("bot"))).Grants; !reflect.DeepEqual(got, g) {
			t.Fatalf("%+v, want %+v", got, g)
		}
	}
	if len(*st.words.list.Load()) > maxWords || len(*st.words.shapes.Load()) > maxShapes {
		t.Error("there is no bound")
	}
}

// TestSnapshotAsApplied: a snapshot makes of changes, in whatever order and however often, what they make one by one.
func TestSnapshotAsApplied(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		list := []Change{{Upstream: mail}}
		for range 1 + r.IntN(40) {
			name := fmt.Sprint("a", r.IntN(4))
			i, c, g := identityOf(name), credentialOf(name), grantOf(name)
			i.Purpose = fmt.Sprint(r.IntN(10))
			c.ID, c.Expires = fmt.Sprint("cred_", r.IntN(3)), later.Add(time.Duration(r.IntN(3))*time.Hour)
			c.Thumbprint = fmt.Sprint(name, r.IntN(5))
			g.ID, g.Record = fmt.Sprint(name, "/", r.IntN(3)), []string{"", "before"}[r.IntN(2)]
			switch r.IntN(14) {
			case 0:
				i.State = identity.Retired
				list = append(list, Change{Identity: i})
			case 1:
				list = append(list, Change{Identity: i, Removed: true})
			case 2:
				list = append(list, Change{Grant: g, Removed: true})
			case 3:
				list = append(list, Change{Identity: i}, Change{Kill: &Kill{ID: fmt.Sprint("kill_", r.IntN(3)), Identities: []identity.ID{agent(name)}, At: now}})
			case 4, 5, 6:
				list = append(list, Change{Identity: i})
			case 7, 8, 9:
				list = append(list, Change{Credential: c})
			default:
				list = append(list, Change{Grant: g})
			}
		}
		one, all := NewView(), NewView()
		apply(t, one, Change{Synced: true})
		apply(t, one, list...)
		all.Restart()
		apply(t, all, append(list, Change{Synced: true})...)
		for n := range 4 {
			name := fmt.Sprint("a", n)
			a, oka := one.Subject(agent(name))
			b, okb := all.Subject(agent(name))
			if oka != okb || oka && !reflect.DeepEqual([]any{a.Identity, a.Credentials, a.Grants}, []any{b.Identity, b.Credentials, b.Grants}) {
				t.Fatalf("%s of %+v is\n%+v\none by one, and\n%+v\nas a snapshot", name, list, a, b)
			}
			for n := range 5 {
				a, oka := one.Credential(fmt.Sprint(name, n))
				b, okb := all.Credential(fmt.Sprint(name, n))
				if oka != okb || !reflect.DeepEqual(a, b) {
					t.Fatalf("a credential of %+v is %v one by one, and %v as a snapshot", list, a, b)
				}
			}
		}
		if a, b := one.now.Load().subjects.len(), all.now.Load().subjects.len(); a != b {
			t.Fatalf("%d are held one by one, and %d as a snapshot, of %+v", a, b, list)
		}
	}
}

// TestSameHash: two identities that share the bits of their hashes are told apart, also once one of them is gone.
func TestSameHash(t *testing.T) {
	v := office(t)
	st := v.now.Load()
	bot, _ := st.subjects.get(agent("bot"))
	_, at := st.subjects.find(agent("new"))
	st.subjects.of.put(at.bits, bot)
	apply(t, v, enrolled("new")...)
	for _, name := range []string{"bot", "new"} {
		c, ok := v.Credential("print-" + name)
		if s, known := v.Subject(agent(name)); !known || s.Identity.ID != agent(name) || len(s.Grants) != 1 || !ok || c.Identity != agent(name) {
			t.Errorf("%s is %+v, with %+v", name, s, c)
		}
	}
	apply(t, v, Change{Identity: identityOf("new"), Removed: true})
	if _, ok := v.Subject(agent("new")); ok {
		t.Error("it is still known")
	}
	if _, ok := v.Credential("print-new"); ok {
		t.Error("its credential is still found")
	}
	if _, ok := v.Credential("print-bot"); !ok {
		t.Error("the other's is not")
	}
}

// TestSameBits: two thumbprints that share the bits of their hashes are told apart.
func TestSameBits(t *testing.T) {
	v := office(t)
	st := v.now.Load()
	bot, _ := st.prints.of.get(st.prints.hash("print-bot"))
	st.prints.of.put(st.prints.hash("print-new"), bot)
	apply(t, v, enrolled("new")...)
	a, ok1 := v.Credential("print-bot")
	b, ok2 := v.Credential("print-new")
	if !ok1 || !ok2 || a.Identity != agent("bot") || b.Identity != agent("new") {
		t.Fatalf("%v, %v", a, b)
	}
	st.prints.drop("print-new", agent("new"))
	if _, ok := v.Credential("print-new"); ok {
		t.Error("it is still found")
	}
	if _, ok := v.Credential("print-bot"); !ok {
		t.Error("the other is not found any more")
	}
}
