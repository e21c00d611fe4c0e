package feed

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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

// BenchmarkSnapshot is what a line of a snapshot costs who reads it.
func BenchmarkSnapshot(b *testing.B) {
	var wire []byte
	for i := range 2000 {
		name := fmt.Sprint("a", i)
		c, g := credentialOf(name), *grantOf(name)
		c.ID, c.Thumbprint, c.PublicKey = "cred_0193a1f0-8350-7407-a000-"+fmt.Sprintf("%012x", i), fmt.Sprintf("%043d", i), []byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`)
		for _, change := range []Change{{Identity: identityOf(name)}, {Credential: c}, {Grant: &g}} {
			change.Cursor = Cursor{Epoch: "0123456789abcdef", Seq: 7}
			wire, _ = Line{Change: &change}.Append(wire)
		}
	}
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
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/6000, "ns/line")
}
