package feed

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// load fills a view with n agents, of one credential and one plain grant each, as a source would: no string is shared.
func load(b testing.TB, n int) *View {
	v := NewView()
	d := policy.Described{Upstream: *mail, Actions: []policy.Action{{Name: "list", Class: policy.Read, Parameters: []policy.Parameter{{Name: "userId", Type: "string"}}}}}
	g, err := policy.Compile(policy.Grant{ID: "a/read", Identity: agent("a"), Upstream: "mail", Plain: true, Actions: []string{"read"},
		Where: map[string]policy.Condition{"userId": {Is: "me"}}, Until: later}, d)
	if err != nil {
		b.Fatal(err)
	}
	apply(b, v, Change{Upstream: mail})
	jwk := `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	for i := range n {
		name := fmt.Sprint("a", i)
		c, grant := credentialOf(name), g
		c.Thumbprint, c.PublicKey = fmt.Sprintf("%043d", i), []byte(jwk)
		grant.ID, grant.Identity, grant.Cedar, grant.Actions = name+"/read", agent(name), strings.NewReplacer(`/a"`, `/`+name+`"`, `"a/`, `"`+name+`/`).Replace(g.Cedar), []string{string([]byte("read"))}
		grant.Where = map[string]policy.Condition{"userId": {Is: "me"}}
		apply(b, v, Change{Identity: identityOf(name)}, Change{Credential: c}, Change{Grant: &grant})
	}
	apply(b, v, Change{Synced: true})
	return v
}

// BenchmarkDecide is Check and Decide for one of many identities.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 10_000 && testing.Short() {
				b.Skip("short")
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			v := load(b, n)
			runtime.GC()
			runtime.ReadMemStats(&after)
			hot := make([]token.Claims, min(n, 4096)) // spread over all of them
			for i := range hot {
				hot[i] = claims(fmt.Sprint("a", rand.IntN(n)))
			}
			r := ask("list", policy.Read)
			r.Call.Arguments = map[string]any{"userId": "me"}
			one := func(c token.Claims) {
				s, ok := v.Subject(c.Actor())
				if err := v.Check(c, now); err != nil || !ok {
					b.Fatal(err)
				}
				set, err := s.Set()
				if err != nil || !set.Decide(r).Allow {
					b.Fatal(err)
				}
			}
			for _, c := range hot {
				one(c)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				one(hot[i%len(hot)])
				i++
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "bytes/identity")
		})
	}
}

func BenchmarkCheckParallel(b *testing.B) {
	v := load(b, 1000)
	var turn atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		c := claims(fmt.Sprint("a", turn.Add(1)))
		for pb.Next() {
			if err := v.Check(c, now); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkKill is one kill of 10 000 identities among 100 000.
func BenchmarkKill(b *testing.B) {
	v := load(b, 100_000)
	k := &Kill{At: now}
	for i := range 10_000 {
		k.Identities = append(k.Identities, agent(fmt.Sprint("a", i*7)))
	}
	i := 0
	for b.Loop() {
		i++
		kill := *k
		kill.ID = fmt.Sprint("kill_", i)
		apply(b, v, Change{Kill: &kill})
	}
	b.ReportMetric(float64(b.Elapsed())/float64(time.Millisecond)/float64(b.N), "ms/kill")
}

// BenchmarkLive is what the lease costs each time it is asked.
func BenchmarkLive(b *testing.B) {
	v := NewView()
	if err := v.Apply(Change{Synced: true}); err != nil {
		b.Fatal(err)
	}
	v.Lease = NewLease(BootClock)
	if err := v.Lease.Renew(v.Lease.Now(), MaxLease); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if v.Live() != nil {
			b.Fatal("it has ended")
		}
	}
}

// snapshotOf is the wire of a snapshot as a control plane sends it, of n identities with two credentials and two grants each.
func snapshotOf(b *testing.B, n int) []byte {
	b.Helper()
	var wire []byte
	put := func(c Change) {
		doc, err := json.Marshal(c)
		if err != nil {
			b.Fatal(err)
		}
		e, err := Encode(Cursor{"0123456789abcdef", 7}, doc)
		if err != nil {
			b.Fatal(err)
		}
		e.Part, e.Synced = !c.Synced, c.Synced
		wire = e.Append(wire)
	}
	name := func(i int) string { return fmt.Sprintf("invoice-eu-%07d", i) }
	for i := range n {
		v := *identityOf(name(i))
		v.Purpose = fmt.Sprint("Handles the invoices of customer ", i)
		put(Change{Identity: &v})
	}
	for i := range n {
		for k := range 2 {
			c := *credentialOf(name(i))
			print := sha256.Sum256(fmt.Append(nil, i, k))
			c.ID, c.Thumbprint = uuid(print[:16]), base64.RawURLEncoding.EncodeToString(print[:])
			if c.Kind = identity.Key; k == 0 {
				c.Kind, c.PublicKey = identity.PrivateKeyJWT, []byte(`{"kty":"OKP","crv":"Ed25519","x":"`+c.Thumbprint+`"}`)
			}
			put(Change{Credential: &c})
		}
	}
	d := policy.Described{Upstream: *mail, Actions: []policy.Action{{Name: "things.read", Class: policy.Read}, {Name: "things.make", Class: policy.Write}}}
	var compiled []policy.Grant
	for _, class := range []string{"read", "write"} {
		g, err := policy.Compile(policy.Grant{ID: "NAME/" + class, Identity: agent("name"), Upstream: "mail", Plain: true, Actions: []string{class}, Until: later}, d)
		if err != nil {
			b.Fatal(err)
		}
		compiled = append(compiled, g)
	}
	for i := range n {
		for _, g := range compiled {
			g.ID, g.Identity, g.Cedar = strings.Replace(g.ID, "NAME", name(i), 1), agent(name(i)), strings.NewReplacer(`/name"`, "/"+name(i)+`"`, "NAME", name(i)).Replace(g.Cedar)
			put(Change{Grant: &g})
		}
	}
	put(Change{Synced: true})
	return wire
}

// BenchmarkSnapshot is what a line of a snapshot costs who reads it.
func BenchmarkSnapshot(b *testing.B) {
	const n = 50_000
	wire := snapshotOf(b, n)
	v := NewView()
	for b.Loop() {
		v.Restart()
		for r := NewLineReader(bytes.NewReader(wire)); ; {
			l, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			apply(b, v, *l.Change)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/identity")
}
