package fleet

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/test/fault/history"
	"github.com/lanyard-dev/lanyard/test/operator"
)

// The identities of the load. What one may is taken away from those that come and go, and given back; the mortal
// one is killed, and comes back with new credentials: each life of it is a subject of its own.
const (
	steady = "steady"
	mortal = "mortal"
)

var comers = []string{"comer1", "comer2"}

// load is what is asked all the while.
type load struct {
	stop     chan struct{}
	over     sync.WaitGroup
	next     atomic.Int64
	good     sync.Map // machine → *atomic.Int64: when something that worked was begun last
	mu       sync.Mutex
	subjects []*subject
}

// subject is who asks.
type subject struct {
	name, identity string
	key            ed25519.PrivateKey
	token          atomic.Pointer[string]
	got            time.Time
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// enrol gives an identity a key of its own.
func (w *world) enrol(m *machine, name, identity string) (*subject, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	jwk := json.RawMessage(`{"kty":"OKP","crv":"Ed25519","x":"` + b64(public) + `"}`)
	return &subject{name: name, identity: identity, key: key}, m.ask("POST", "identities/"+identity+"/credentials", map[string]any{"public_key": jwk}, nil)
}

// fetch has a control node give a subject a token.
func (w *world) fetch(m *machine, s *subject) error {
	now, id := time.Now().Unix(), "spiffe://lanyard.local/agent/"+s.identity
	in := b64([]byte(`{"typ":"JWT","alg":"EdDSA"}`)) + "." + b64(fmt.Appendf(nil, `{"jti":%q,"iss":%q,"sub":%q,"aud":"http://127.0.0.1:8440","iat":%d,"exp":%d}`, rand.Text(), id, id, now, now+60))
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {"http://127.0.0.1:8441/mail"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {in + "." + b64(ed25519.Sign(s.key, []byte(in)))}}
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: m.at.dial, DisableKeepAlives: true}}
	res, err := c.PostForm("http://127.0.0.1:8440/oauth/token", form)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	b, err := io.ReadAll(res.Body)
	if err == nil && (json.Unmarshal(b, &answer) != nil || answer.Token == "") {
		err = fmt.Errorf("%s: %s", res.Status, b)
	}
	if err == nil {
		s.got = time.Now()
		s.token.Store(&answer.Token)
	}
	return err
}

// furnish makes what the load needs.
func (w *world) furnish() {
	m := w.nodes[0]
	w.must(m.ask("PUT", "owners/maya", map[string]any{"name": "Maya", "email": "maya@example.com"}, nil))
	w.must(m.ask("PUT", "upstreams/mail", map[string]any{"url": "http://" + w.net.spaces["up"].ip, "owner": "maya", "family": "patterns",
		"description": "POST /x/{id} -> x.write write /x/{id}"}, nil))
	for _, name := range append([]string{steady, mortal}, comers...) {
		w.must(m.ask("PUT", "identities/"+name, map[string]any{"kind": "agent", "owner": "maya", "purpose": "Asks"}, nil))
		w.must(m.ask("PUT", "identities/"+name+"/grants/write", grant, nil))
		s, err := w.enrol(m, name, name)
		w.must(err)
		w.eventually(name+" has a token", func() error { return w.fetch(m, s) })
		w.load.subjects = append(w.load.subjects, s)
	}
}

var grant = map[string]any{"upstream": "mail", "actions": []string{"write"}}

// begin starts the load, and waits until all of it works.
func (w *world) begin() {
	w.load.stop = make(chan struct{})
	w.t.Cleanup(w.halt)
	for _, g := range w.gateways {
		for range 3 {
			w.load.over.Go(func() { w.agent(g) })
		}
	}
	for _, m := range w.nodes {
		w.load.over.Go(func() { w.maker(m) })
	}
	w.healed("the start")
	for _, name := range comers {
		w.load.over.Go(func() { w.switcher(name) })
	}
	w.load.over.Go(w.killer)
	w.load.over.Go(w.renewer)
}

// halt ends the load.
func (w *world) halt() {
	if w.load.stop == nil {
		return
	}
	select {
	case <-w.load.stop:
	default:
		close(w.load.stop)
	}
	w.load.over.Wait()
}

func (l *load) stopped(after time.Duration) bool {
	select {
	case <-l.stop:
		return true
	case <-time.After(after):
		return false
	}
}

func (l *load) worked(m *machine, began int64) {
	v, _ := l.good.LoadOrStore(m.name, new(atomic.Int64))
	for a := v.(*atomic.Int64); ; {
		if was := a.Load(); was >= began || a.CompareAndSwap(was, began) {
			return
		}
	}
}

// all is who asks now, and who once did: what was taken from them stays taken.
func (l *load) all() []*subject {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*subject{}, l.subjects...)
}

// send sends one request through a gateway.
func (w *world) send(g *machine, s *subject) (status int) {
	line := history.Line{Kind: history.Request, Who: g.name, What: s.name, ID: fmt.Sprintf("r%d", w.load.next.Add(1))}
	req, err := http.NewRequest("POST", "http://127.0.0.1:8441/mail/x/"+line.ID, bytes.NewReader(nil))
	if err != nil {
		w.t.Error(err)
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+*s.token.Load())
	line.Began = boot()
	if res, err := g.client.Do(req); err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		if res.Body.Close(); err == nil {
			line.Status = res.StatusCode
		}
	}
	line.Ended = boot()
	w.log.Add(line)
	if line.Status == 200 && s.name == steady {
		w.load.worked(g, line.Began)
	}
	return line.Status
}

func (w *world) agent(g *machine) {
	for i := mathrand.IntN(100); !w.load.stopped(time.Duration(20+mathrand.IntN(80)) * time.Millisecond); i++ {
		list := w.load.all()
		s := list[0]
		if i%3 > 0 {
			s = list[i%len(list)]
		}
		if w.send(g, s) == 0 { // nobody is there
			w.load.stopped(50 * time.Millisecond)
		}
	}
}

// result is what became of an operation.
func result(err error) string {
	var f *operator.Failed
	switch {
	case err == nil:
		return history.OK
	case errors.As(err, &f) && strings.Contains(f.Text, "othing was changed"):
		return history.Refused
	}
	return history.Unknown
}

// maker has a node make something now and then.
func (w *world) maker(m *machine) {
	for n := 0; !w.load.stopped(time.Duration(150+mathrand.IntN(200)) * time.Millisecond); n++ {
		name := fmt.Sprintf("o-%s-%d", m.name, n)
		line := history.Line{Kind: history.Make, Who: m.name, What: name, Began: boot()}
		err := m.await(55*time.Second, "PUT", "owners/"+name, map[string]any{"name": name, "email": name + "@example.com"}, nil)
		line.Ended, line.Result = boot(), result(err)
		if err != nil {
			line.Text = err.Error()
		}
		w.log.Add(line)
		if err == nil {
			w.load.worked(m, line.Began)
		}
	}
}

// change has one node after the other be asked for a change until one acknowledges it. With the codes in already, another attempt has done it.
func (w *world) change(kind history.Kind, subject, method, path string, in any, already int) bool {
	tried := false
	for n := mathrand.IntN(len(w.nodes)); ; n++ {
		m := w.nodes[n%len(w.nodes)]
		line := history.Line{Kind: kind, Who: m.name, What: subject, Began: boot()}
		var out struct{ Receipt *feed.Receipt }
		err := m.ask(method, path, in, &out)
		line.Ended, line.Result = boot(), result(err)
		var f *operator.Failed
		switch {
		case err == nil && out.Receipt != nil && out.Receipt.Cursor != (feed.Cursor{}):
			line.Told = told(out.Receipt)
		case tried && errors.As(err, &f) && f.Status == already:
			line.Result = history.OK
		case err != nil:
			line.Text, tried = err.Error(), tried || line.Result == history.Unknown
		}
		w.log.Add(line)
		if line.Result == history.OK {
			return true
		}
		if w.load.stopped(200 * time.Millisecond) {
			return false
		}
	}
}

func told(r *feed.Receipt) *history.Told {
	t := &history.Told{Waiting: map[string]int64{}}
	for name := range r.Confirmed {
		t.Confirmed = append(t.Confirmed, name)
	}
	for name, stops := range r.Waiting {
		name = strings.TrimSuffix(name, " (evicted)") // it serves under its name
		t.Waiting[name] = max(t.Waiting[name], int64(stops.Sub(r.AsOf)))
	}
	return t
}

// switcher takes what one may away, and gives it back.
func (w *world) switcher(name string) {
	path := "identities/" + name + "/grants/write"
	for !w.load.stopped(time.Duration(200+mathrand.IntN(600)) * time.Millisecond) {
		if !w.change(history.Off, name, "DELETE", path, nil, 404) || w.load.stopped(time.Duration(300+mathrand.IntN(900))*time.Millisecond) ||
			!w.change(history.On, name, "PUT", path, grant, 0) {
			return
		}
	}
}

// killer kills the mortal one, and has it come back as somebody new.
func (w *world) killer() {
	for life := 1; !w.load.stopped(time.Duration(1000+mathrand.IntN(1500)) * time.Millisecond); life++ {
		was := w.life(life)
		if !w.change(history.Off, was, "POST", "kill", map[string]any{"identity": mortal, "reason": "tests"}, 409) {
			return
		}
		var next *subject
		for m := w.nodes[life%2]; ; m = w.nodes[mathrand.IntN(2)] {
			var f *operator.Failed
			err := m.ask("POST", "restore", map[string]any{"identity": mortal, "reason": "tests"}, nil)
			if err == nil || errors.As(err, &f) && f.Status == 409 {
				if next, err = w.enrol(m, w.life(life+1), mortal); err == nil {
					err = w.fetch(m, next)
				}
			}
			if err == nil {
				break
			}
			if w.load.stopped(200 * time.Millisecond) {
				return
			}
		}
		w.load.mu.Lock()
		w.load.subjects = append(w.load.subjects, next)
		if len(w.load.subjects) > 8 { // the oldest life is asked for no more
			i := 1
			for w.load.subjects[i].identity != mortal {
				i++
			}
			w.load.subjects = append(w.load.subjects[:i:i], w.load.subjects[i+1:]...)
		}
		w.load.mu.Unlock()
	}
}

// life is the name of a life of the mortal one.
func (w *world) life(n int) string {
	if n == 1 {
		return mortal
	}
	return fmt.Sprintf("%s#%d", mortal, n)
}

// renewer has those who may get new tokens before theirs end.
func (w *world) renewer() {
	for !w.load.stopped(time.Second) {
		for _, s := range w.load.all() {
			if s.identity != mortal && time.Since(s.got) > 5*time.Minute {
				_ = w.fetch(w.nodes[mathrand.IntN(2)], s) // or the next time
			}
		}
	}
}

// judge ends the load, looks at what there is, and has the checker look at all that happened.
func (w *world) judge() {
	w.t.Helper()
	w.healed("everything")
	w.halt()
	n := w.nodes[0]
	for _, m := range w.nodes {
		line := history.Line{Kind: history.Ledger, Who: m.name, Result: history.OK}
		var v struct{ OK bool }
		if err := m.ask("POST", "ledger/verify", nil, &v); err != nil || !v.OK {
			line.Result, line.Text = history.Unknown, fmt.Sprintf("it does not verify: %v", err)
		}
		line.Ended = boot()
		w.log.Add(line)
	}
	for after := ""; ; {
		var page struct {
			Items []struct{ ID string }
			Next  string
		}
		w.must(n.ask("GET", "owners?limit=1000&after="+after, nil, &page))
		for _, o := range page.Items {
			w.log.Add(history.Line{Kind: history.Made, What: o.ID})
		}
		if after = page.Next; after == "" {
			break
		}
	}
	for _, s := range w.load.all() {
		w.eventually("all gateways say the same of "+s.name, func() error {
			first := w.send(w.gateways[0], s)
			for _, g := range w.gateways[1:] {
				if got := w.send(g, s); got != first || got != 200 && got != 403 && got != 401 {
					return fmt.Errorf("%d and %d", first, got)
				}
			}
			if first == 200 {
				w.log.Add(history.Line{Kind: history.May, What: s.name})
			}
			return nil
		})
	}
	w.events(n)
	w.log.Add(history.Line{Kind: history.End, Ended: boot()})
	w.must(w.log.Close())
	f, err := os.Open(w.file)
	w.must(err)
	defer f.Close()
	lines, err := history.Read(f)
	w.must(err)
	found := history.Check(lines)
	for i, f := range found {
		if i == 20 {
			w.t.Errorf("and %d more", len(found)-i)
			break
		}
		w.t.Error(f)
	}
	w.count(lines)
	for _, m := range append(w.nodes, w.gateways...) {
		b, _ := os.ReadFile(m.log)
		if i := bytes.Index(b, []byte("panic")); i >= 0 {
			w.t.Errorf("%s panicked: %.3000s", m.name, b[i:])
		}
		if w.t.Failed() {
			w.t.Logf("%s: %s", m.name, m.said())
		}
	}
}

// events writes down which requests the ledger says were let pass. What a gateway has spooled comes when it can.
func (w *world) events(m *machine) {
	var have map[string]int
	size := -1
	w.eventually("all that was spooled is in the ledger", func() error {
		res, err := m.client.Get("http://lanyard/v1/ledger/export")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		have = map[string]int{}
		leaves := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
		for _, leaf := range leaves {
			e, err := ledger.Parse(leaf)
			if err != nil {
				w.t.Fatal(err)
			}
			if e.Outcome == ledger.Pending {
				have[e.Resource[strings.LastIndex(e.Resource, "/")+1:]]++
			}
		}
		if was := size; len(leaves) != was {
			size = len(leaves)
			time.Sleep(time.Second)
			return errors.New("it still grows")
		}
		return nil
	})
	for id, n := range have {
		for range n {
			w.log.Add(history.Line{Kind: history.Event, ID: id})
		}
	}
}

// count says how much the history shows.
func (w *world) count(lines []history.Line) {
	n := map[string]int{}
	for _, l := range lines {
		switch l.Kind {
		case history.Request:
			n[fmt.Sprint("answered ", l.Status)]++
		case history.Off, history.On, history.Make:
			n[string(l.Kind)+" "+l.Result]++
		case history.Got, history.Fault:
			n[string(l.Kind)]++
		}
	}
	w.t.Log(len(lines), "lines:", n)
}
