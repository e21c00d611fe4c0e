package feed_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
)

// TestHanging: a control plane that takes connections and answers nothing costs one call its time, not all of them; a
// call that was given up says nothing about it.
func TestHanging(t *testing.T) {
	a := newAuthority(t)
	good := a.serve(feed.ControlName("lanyard.local"), func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"lease_ms":1000}`) })
	hung, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	c := a.client("https://"+hung.Addr().String(), good.URL)
	ack := func(wait func(context.Context) (context.Context, context.CancelFunc)) error {
		ctx, cancel := wait(t.Context())
		defer cancel()
		_, err := c.Ack(ctx, feed.Cursor{})
		return err
	}
	short := func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, 200*time.Millisecond)
	}
	given := func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(50*time.Millisecond, cancel)
		return ctx, cancel
	}
	if ack(given) == nil || ack(short) == nil {
		t.Error("an answer of one that answers nothing")
	}
	long := func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, 4*time.Second) // less than a handshake may take
	}
	if err := ack(long); err != nil {
		t.Errorf("the next address is not tried: %v", err)
	}
}

// TestHalfDeaf: a control plane that keeps a watch open and answers no acknowledgement, as one without its database does, is left
// for one that does, long before the watch is taken for dead.
func TestHalfDeaf(t *testing.T) {
	a := newAuthority(t)
	over := make(chan struct{})
	deaf := a.serve(feed.ControlName("lanyard.local"), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == feed.PathWatch {
			io.WriteString(w, `{"version":1}`+"\n")
			w.(http.Flusher).Flush()
		}
		io.Copy(io.Discard, r.Body) // else nobody sees that the caller goes
		select {
		case <-r.Context().Done():
		case <-over:
		}
	})
	t.Cleanup(func() { close(over) })
	watched := make(chan bool, 1)
	good := a.serve(feed.ControlName("lanyard.local"), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == feed.PathWatch {
			watched <- true
			io.WriteString(w, `{"version":1}`+"\n")
			return
		}
		io.WriteString(w, `{"lease_ms":1000}`)
	})
	c := a.client(deaf.URL, good.URL)
	c.Quiet = time.Minute
	ended := make(chan error, 1)
	go func() {
		for _, err := range c.Watch(t.Context(), feed.Cursor{Epoch: "e", Seq: 1}) {
			ended <- err
		}
	}()
	for n := 0; ; n++ {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := c.Ack(ctx, feed.Cursor{Epoch: "e", Seq: 1})
		cancel()
		if err == nil {
			break
		} else if n == 20 {
			t.Fatal(err)
		}
	}
	select {
	case err := <-ended:
		t.Log(err)
	case <-time.After(10 * time.Second):
		t.Fatal("the watch stays where nothing is answered")
	}
	for range c.Watch(t.Context(), feed.Cursor{Epoch: "e", Seq: 1}) {
	}
	select {
	case <-watched:
	default:
		t.Error("the next watch is not where it was answered")
	}
}

// TestHalfALine: what is said in a line does not wait for the rest of the next.
func TestHalfALine(t *testing.T) {
	a := newAuthority(t)
	over := make(chan struct{})
	half := a.serve(feed.ControlName("lanyard.local"), func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"version":1}`+"\n"+`{"change":{"cursor":{"epoch":"e","seq":2},"token":{"id":"t","expires":"2030-01-01T00:00:00Z"}}}`+"\n"+`{"change":{"cur`)
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case <-over:
		}
	})
	t.Cleanup(func() { close(over) })
	c := a.client(half.URL)
	c.Quiet = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for change, err := range c.Watch(ctx, feed.Cursor{Epoch: "e", Seq: 1}) {
		if err != nil || change.Token == nil || change.Token.ID != "t" {
			t.Fatal(change, err)
		}
		return
	}
	t.Error("it was not said")
}
