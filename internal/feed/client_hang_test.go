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
