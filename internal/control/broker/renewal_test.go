package broker_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// TestRenewal: many who ask at once show a refresh token once, and what came of it is kept before it is used.
func TestRenewal(t *testing.T) {
	w := open(t)
	w.connect("maya")
	first := w.gets("mayas")
	for range 3 {
		w.pass(11 * time.Minute)
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				s, err := w.ask("mayas")
				a, err2 := w.account("maya")
				if err != nil || err2 != nil || s.Value == first.Value || "Bearer "+a.Token.Access != s.Value {
					t.Errorf("%v %v", err, err2)
				}
			})
		}
		wg.Wait()
	}
	if n := w.as.count("refresh_token"); n != 3 || w.as.reused != 0 {
		t.Errorf("%d renewals, %d refresh tokens shown twice", n, w.as.reused)
	}
}

// TestRefused: a token that the upstream no longer takes is renewed once; one that was got just now is not.
func TestRefused(t *testing.T) {
	w := open(t)
	w.connect("maya")
	first := w.gets("mayas")
	if s, err := w.ask("mayas", first); err == nil {
		t.Errorf("at once: %v", s.Owner)
	}
	w.pass(time.Minute)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if s, err := w.ask("mayas", first); err != nil || s.Value == first.Value {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	second := w.gets("mayas")
	if n := w.as.count("refresh_token"); n != 1 {
		t.Errorf("%d renewals", n)
	}
	if _, err := w.ask("mayas", second); err == nil {
		t.Error("one that was got just now is renewed")
	}
	if w.gets("mayas", first).Value != second.Value || w.as.count("refresh_token") != 1 {
		t.Error("an old refusal renews a new token")
	}
}

// TestLapsed: what its server calls no longer good is forgotten, its owner is told, and it can be connected again.
func TestLapsed(t *testing.T) {
	w := open(t)
	w.connect("maya")
	w.as.mu.Lock()
	clear(w.as.live) // the owner took it back there
	w.as.mu.Unlock()
	w.pass(11 * time.Minute)
	if text := w.none("mayas"); !strings.Contains(text, "Maya Lind, who has to connect the account there again: its server says that the sign-in is no longer good") {
		t.Error(text)
	}
	a, err := w.account("maya")
	if err != nil || a.Lapsed == "" || a.Token.Access+a.Token.Refresh != "" {
		t.Errorf("%q %v", a.Lapsed, err)
	}
	w.none("mayas")
	if n := w.as.count("refresh_token"); n != 1 {
		t.Errorf("it was shown %d times", n)
	}
	w.connect("maya")
	w.gets("mayas")
	w.as.answers(func(rw http.ResponseWriter, form url.Values) bool { // as some do: nothing to renew it with
		_, _ = io.WriteString(rw, `{"access_token":"short","token_type":"bearer","expires_in":60}`)
		return true
	})
	w.connect("maya")
	w.gets("mayas")
	w.pass(time.Minute)
	if text := w.none("mayas"); !strings.Contains(text, "there is none to renew it with") {
		t.Error(text)
	}
}

// TestForgotten: a server that no longer knows the client that had registered itself there is asked to know it anew.
func TestForgotten(t *testing.T) {
	w := open(t)
	w.connect("maya")
	before, _ := w.account("maya")
	w.as.answers(func(rw http.ResponseWriter, _ url.Values) bool {
		rw.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(rw, `{"error":"invalid_client"}`)
		return true
	})
	w.pass(11 * time.Minute)
	if text := w.none("mayas"); !strings.Contains(text, "its server has forgotten Lanyard") {
		t.Error(text)
	}
	w.as.answers(nil)
	w.connect("maya")
	if after, _ := w.account("maya"); after.Client.ID == before.Client.ID || after.Client.ID == "" {
		t.Errorf("%q, then %q", before.Client.ID, after.Client.ID)
	}
}

// TestTrouble: a server that is down or answers nonsense costs nobody a sign-in, and is not asked by everyone.
func TestTrouble(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter, url.Values) bool{
		"down":            func(rw http.ResponseWriter, _ url.Values) bool { panic(http.ErrAbortHandler) },
		"broken":          func(rw http.ResponseWriter, _ url.Values) bool { rw.WriteHeader(500); return true },
		"HTML":            func(rw http.ResponseWriter, _ url.Values) bool { _, _ = io.WriteString(rw, "<html>"); return true },
		"nothing":         func(rw http.ResponseWriter, _ url.Values) bool { _, _ = io.WriteString(rw, "{}"); return true },
		"twice":           says(`{"access_token":"a","access_token":"b","token_type":"Bearer"}`),
		"a header in it":  says(`{"access_token":"a\r\nX: y","token_type":"Bearer"}`),
		"another type":    says(`{"access_token":"a","token_type":"mac"}`),
		"bound to a key":  says(`{"access_token":"a","token_type":"DPoP"}`),
		"a negative life": says(`{"access_token":"a","token_type":"Bearer","expires_in":-1}`),
		"too long":        says(`{"access_token":"` + strings.Repeat("a", 2<<20) + `","token_type":"Bearer"}`),
		"somewhere else": func(rw http.ResponseWriter, _ url.Values) bool {
			rw.Header().Set("Location", "http://127.0.0.1:2/")
			rw.WriteHeader(307)
			return true
		},
		"an unknown error": func(rw http.ResponseWriter, _ url.Values) bool {
			rw.WriteHeader(400)
			_, _ = io.WriteString(rw, `{"error":"slow_down"}`)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t)
			w.as.answers(answer)
			if err := w.finish("maya", "s", w.as.person(t, w.begin("maya", "s"))); err == nil {
				t.Fatal("it is taken for a token")
			}
			if _, err := w.account("maya"); !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
			w.as.answers(nil)
			w.connect("maya")
			w.pass(11 * time.Minute)
			w.as.answers(answer)
			for range 5 {
				if s, err := w.ask("mayas"); err == nil || s.Value != "" || strings.Contains(err.Error(), "refresh-") {
					t.Errorf("%s %v", s.Value, err)
				}
			}
			if n := w.as.count("refresh_token"); n != 1 {
				t.Errorf("it was asked %d times in one moment", n)
			}
			w.as.answers(nil)
			w.pass(time.Minute)
			w.gets("mayas")
		})
	}
}

// TestMeanwhileRenewed: what is disconnected while it is renewed stays so, and what came is given up.
func TestMeanwhileRenewed(t *testing.T) {
	w := open(t)
	w.connect("maya")
	w.pass(11 * time.Minute)
	w.as.answers(func(rw http.ResponseWriter, _ url.Values) bool {
		w.as.mu.Unlock() // the server of the test is one at a time, and is told of the end meanwhile
		defer w.as.mu.Lock()
		w.do(func(c *registry.Change) error { return c.Disconnect("notes", "maya") })
		_, err := io.WriteString(rw, `{"access_token":"access-renewed","refresh_token":"refresh-renewed","token_type":"Bearer","expires_in":600}`)
		return err == nil // it had renewed before it was told
	})
	w.none("mayas")
	if _, err := w.account("maya"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	w.eventually("both are given up", func() bool { return len(w.as.gone()) == 2 })
}

// TestUnkept: a token that cannot be kept is not used; once it can be, the server need not be asked again, which would
// take the refresh token before for stolen.
func TestUnkept(t *testing.T) {
	w := open(t)
	w.connect("maya")
	before := w.gets("mayas")
	w.pass(11 * time.Minute)
	exec := func(query string) {
		t.Helper()
		if err := w.Registry.Store.UnsafeExec(query); err != nil {
			t.Fatal(err)
		}
	}
	stuck, loose := []string{"CREATE TRIGGER stuck BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'stuck'); END"}, "DROP TRIGGER stuck"
	if w.Registry.Store.Database != "" {
		stuck = []string{"CREATE FUNCTION stuck() RETURNS trigger AS 'BEGIN RAISE EXCEPTION ''stuck''; END' LANGUAGE plpgsql", "CREATE TRIGGER stuck BEFORE INSERT ON secrets FOR EACH ROW EXECUTE FUNCTION stuck()"}
		loose += " ON secrets"
	}
	for _, statement := range stuck {
		exec(statement)
	}
	if s, err := w.ask("mayas"); err == nil || s.Value != "" {
		t.Errorf("%v", err)
	}
	exec(loose)
	w.pass(time.Minute)
	if s := w.gets("mayas"); s.Value == before.Value {
		t.Error("it is the one before")
	}
	if n := w.as.count("refresh_token"); n != 1 || w.as.reused != 0 {
		t.Errorf("asked %d times", n)
	}
}

// TestClosing: what is under way at the end of the process is kept, and nothing more is begun.
func TestClosing(t *testing.T) {
	w := open(t)
	w.connect("maya")
	w.pass(11 * time.Minute)
	asked, let := make(chan struct{}), make(chan struct{})
	w.as.answers(func(http.ResponseWriter, url.Values) bool { close(asked); <-let; return false })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := w.Credential(ctx, "notes", identity.Alone(id("mayas"), 0), feed.Secret{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	closed := make(chan struct{})
	go func() { w.Close(); close(closed) }()
	close(let)
	<-closed
	if a, err := w.account("maya"); err != nil || !a.Renewed.Equal(w.Now()) {
		t.Errorf("renewed %v %v", a.Renewed, err)
	}
	w.pass(11 * time.Minute)
	if _, err := w.ask("mayas"); !errors.Is(err, store.ErrClosed) {
		t.Error(err)
	}
}
