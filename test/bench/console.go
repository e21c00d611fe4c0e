package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// What the console is looked at with, and beside it an instance with next to nothing.
const (
	manyIdentities, manyEvents = 100_000, 1_000_000
	fewIdentities, fewEvents   = 50, 500
)

// consoleScript does in the page what a person does, and takes the time from the key or the click until what they asked for is drawn.
//
//go:embed console.js
var consoleScript string

// console drives the console in a browser, with a hundred thousand identities and a million events, and with few of each, in turn.
func console(rounds int) error {
	var pages [2]context.Context
	for k, n := range [2][2]int{{fewIdentities, fewEvents}, {manyIdentities, manyEvents}} {
		s, err := furnished(n[0], n[1])
		if err != nil {
			return err
		}
		defer s.end()
		ctx, end, err := s.browse()
		if err != nil {
			return err
		}
		defer end()
		pages[k] = ctx
	}
	all := [2]map[string][]float64{{}, {}}
	var order []string
	for range max(3, rounds) {
		for k, ctx := range pages {
			said, err := chromedp.Run(ctx, chromedp.Evaluate[string]("(async () => {"+consoleScript+"})()", chromedp.EvalAwaitPromise))
			if err != nil {
				return fmt.Errorf("in the console: %w", err)
			}
			var took []struct {
				Name string
				MS   float64
			}
			if err := json.Unmarshal([]byte(said), &took); err != nil {
				return fmt.Errorf("%w: %s", err, said)
			}
			if order = order[:0]; len(took) == 0 {
				return errors.New("the console was not measured")
			}
			for _, t := range took {
				order = append(order, t.Name)
				all[k][t.Name] = append(all[k][t.Name], t.MS)
			}
		}
	}
	slowest := 0.0
	for _, name := range order {
		few, many := median(all[0][name]), median(all[1][name])
		figure("console_"+name+"_ms", many, "ms")
		ratio("console_"+name+"_vs_empty", many/few)
		slowest = max(slowest, many)
	}
	figure("console_slowest_ms", slowest, "ms")
	return nil
}

func consoleName(i int) string {
	return fmt.Sprintf("%s-%s-%06d", []string{"invoice", "mail", "deploy", "report", "support"}[i%5], []string{"eu", "us"}[i/5%2], i)
}

// furnished is the built binary on a store with so many identities and events: half of the events are of a hundred busy identities,
// the others of whichever.
func furnished(identities, events int) (*served, error) {
	dir, err := os.MkdirTemp("", "lyd")
	if err != nil {
		return nil, err
	}
	box, err := seal.Create(filepath.Join(dir, "seal.key"))
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	db, err := store.Open(ctx, store.Config{Dir: dir, Now: time.Now, Rand: rand.Reader, Seal: box, Fatal: func(err error) { panic(err) }})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(fillConsole(ctx, db, identities, events), db.Close()); err != nil {
		return nil, err
	}
	s, err := startIn(dir)
	if err == nil {
		err = s.cli("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com", "--role", "admin")
	}
	return s, err
}

func fillConsole(ctx context.Context, db *store.DB, identities, events int) error {
	now := time.Now().UTC().Truncate(time.Microsecond)
	owner := func(i int) string { return fmt.Sprintf("owner-%03d", i%200) }
	id := func(i int) identity.ID { return identity.MustID(agentPrefix + consoleName(i)) }
	for from := 0; from < identities; from += 1000 {
		if _, err := db.Write(ctx, func(tx *store.Tx) (err error) {
			for i := from; i < min(from+1000, identities); i++ {
				if i < 200 {
					err = errors.Join(err, tx.PutOwner(identity.Owner{ID: identity.OwnerID(owner(i)), Name: fmt.Sprint("Owner ", i), State: identity.OwnerActive}))
				}
				err = errors.Join(err, tx.PutIdentity(identity.Identity{ID: id(i), Owner: identity.OwnerID(owner(i)), Purpose: fmt.Sprint("Handles what customer ", i, " asks for"), Environment: "production",
					State: identity.Active, Created: now.AddDate(0, -3, 0).Add(time.Duration(i) * time.Second), Expires: now.AddDate(0, 0, 30+i%300), Version: 1}))
			}
			e := sample(events + from)
			e.Type, e.Actor, e.Chain, e.Time = "identity.register", "operator:bench", nil, now.AddDate(0, -1, 0)
			tx.Record(e)
			return err
		}); err != nil {
			return err
		}
	}
	for from := 0; from < events; from += 4000 {
		var list []ledger.Event
		for n := from; n < min(from+4000, events); n++ {
			i := n * 7919 % identities
			if n%2 == 0 {
				i = n / 2 % min(100, identities)
			}
			e := sample(n)
			e.Time = now.Add(-time.Duration(events-n) * 30 * 24 * time.Hour / time.Duration(events))
			e.Actor, e.Owner, e.Upstream, e.Chain = id(i).String(), owner(i), []string{"mail", "drive", "crm"}[n%3], []string{id(i).String()}
			if n%50 == 0 {
				e.Outcome = ledger.Refused
			}
			list = append(list, e)
		}
		if err := db.Record(ctx, list); err != nil {
			return err
		}
	}
	return nil
}

// browse is a browser in which maya is signed in.
func (s *served) browse() (ctx context.Context, end func(), err error) {
	ctx, one := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1360, 900))...)
	ctx, two := chromedp.NewContext(ctx)
	end = func() { two(); one() }
	var code struct{ Code string }
	if err := s.post("POST", "owners/maya/sign-in", map[string]any{}, &code); err != nil {
		return nil, end, err
	}
	return ctx, end, chromedp.Do(ctx, chromedp.Navigate(s.control+"/console/sign-in"), chromedp.WaitVisible(chromedp.CSS("form input")),
		chromedp.SendKeys(chromedp.CSS("form input"), code.Code+"\r"), chromedp.WaitVisible(chromedp.CSS(".tiles .n")))
}
