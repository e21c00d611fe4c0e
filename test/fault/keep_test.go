package fault

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/feed/feedtest"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/journal"
)

// heard tells of each cursor that was acknowledged, before the follower knows that it was.
type heard struct{ *feedtest.Memory }

func (h heard) Ack(ctx context.Context, at feed.Cursor) (time.Duration, error) {
	fmt.Println("ack", at.Epoch, at.Seq)
	return h.Memory.Ack(ctx, at)
}

// gatewayBox is open with the key of the file itself, as that of a gateway process.
func gatewayBox() (*seal.Box, error) {
	box, err := seal.Open(os.Getenv(sealPath))
	if err != nil {
		return nil, err
	}
	own, err := box.Begin(context.Background(), true, time.Now())
	if err == nil {
		box.Apply(own)
	}
	return box, err
}

// keptView opens the keep in a folder, and a view with what is in it.
func keptView(dir string) (*feed.View, error) {
	box, err := gatewayBox()
	if err != nil {
		return nil, err
	}
	boot, err := feed.BootID()
	if err != nil {
		return nil, err
	}
	v := feed.NewView()
	v.Lease = feed.NewLease(feed.BootClock)
	if v.Keep, err = feed.NewKeep(dir, "gw", boot, journal.Sealer{Seal: box.Seal, Unseal: box.Unseal}); err != nil {
		return nil, err
	}
	return v, v.Keep.Load(v)
}

// runKeep follows a feed of its own that changes in bursts, until it is killed.
func runKeep(dir string) error {
	v, err := keptView(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	src := heard{feedtest.NewMemory(rand.Text())}
	go feed.Follow(context.Background(), src, v, func(error) {})
	for n := 0; ; n++ {
		src.Put(feed.Change{Identity: &identity.Identity{ID: identity.MustID(fmt.Sprintf("spiffe://lanyard.local/agent/a%d", n)), Owner: "maya", State: identity.Active, Expires: time.Now().Add(time.Hour)}})
		if mathrand.IntN(20) == 0 { // a view is written down once a second: some pauses are long enough for it, some are not
			time.Sleep(time.Duration(mathrand.IntN(2000)) * time.Millisecond)
		}
	}
}

// TestKeepKilled: after kill -9 at any moment, what is on disk either has no lease or all that was acknowledged.
func TestKeepKilled(t *testing.T) {
	t.Parallel()
	const usual = 12
	n, dir, leases := rounds(t, usual), filepath.Join(scratch(t), "view"), 0
	for round := range n {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "LANYARD_FAULT_WRITER=keep", "LANYARD_FAULT_DIR="+dir)
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(300+mathrand.IntN(2500))*time.Millisecond, func() { c.Process.Kill() })
		var last feed.Cursor
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var at feed.Cursor
			if _, err := fmt.Sscanf(lines.Text(), "ack %s %d", &at.Epoch, &at.Seq); err != nil {
				t.Errorf("it says %q", lines.Text())
			} else {
				last = at
			}
		}
		kill.Stop()
		c.Wait()
		v, err := keptView(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("round %d: %v", round, err)
		}
		if v.Live() == nil {
			if leases++; v.Enforced() != last {
				t.Errorf("round %d: a lease at %v, and %v was acknowledged", round, v.Enforced(), last)
			}
			if _, ok := v.Subject(identity.MustID(fmt.Sprintf("spiffe://lanyard.local/agent/a%d", last.Seq-1))); !ok {
				t.Errorf("round %d: the view is not whole", round)
			}
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) == 0 {
		t.Errorf("no view was ever kept: %v", err)
	}
	if leases == 0 && n == usual {
		t.Error("no lease was ever found, so nothing was held against what was acknowledged")
	}
	t.Logf("a lease was found %d times", leases)
}
