package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
)

// gateways: they come back as they were put, are no change of the feed, and when they were heard of is written later.
func gateways(t *testing.T, k kit) {
	db := k.open()
	at := db.Head()
	one := store.Gateway{Name: "gw-fra", State: store.GatewayJoined, Upstreams: []string{"mail"}, Joined: Epoch, From: "10.0.0.7:1",
		Current: store.GatewayCertificate{Serial: "01", Print: "p1", Expires: Epoch.Add(time.Hour)}, Next: store.GatewayCertificate{Serial: "02", Print: "p2", Expires: Epoch.Add(2 * time.Hour)}}
	two := store.Gateway{Name: "a", State: store.GatewayEvicted, Evicted: Epoch, Reason: "gone", Joined: Epoch}
	k.write(db, func(tx *store.Tx) error {
		tx.Record(Event("gateway.join"))
		return errors.Join(tx.PutGateway(one), tx.PutGateway(two))
	})
	if db.Head() != at {
		t.Error("a gateway is a change of the feed")
	}
	db.TouchGateway("gw-fra", Epoch.Add(time.Minute))
	db.TouchGateway("gw-fra", Epoch)
	db.TouchGateway("nobody", Epoch)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = k.open()
	one.Seen = Epoch.Add(time.Minute)
	k.read(db, func(tx *store.Tx) error {
		got, err := tx.Gateway("gw-fra")
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", one) {
			t.Errorf("read %+v\nput  %+v", got, one)
		}
		all, err2 := tx.Gateways()
		if len(all) != 2 || all[0].Name != "a" {
			t.Errorf("%+v", all)
		}
		if _, err := tx.Gateway("GW-FRA"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("one that is not there: %v", err)
		}
		return errors.Join(err, err2)
	})
	alone, err := db.Gateway(t.Context(), "gw-fra")
	if _, err2 := db.Gateway(t.Context(), "GW-FRA"); err != nil || fmt.Sprintf("%+v", alone) != fmt.Sprintf("%+v", one) || !errors.Is(err2, store.ErrNotFound) {
		t.Errorf("alone %+v %v; one that is not there: %v", alone, err, err2)
	}
	if !one.For("mail") || one.For("drive") || !two.For("drive") {
		t.Error("what a gateway is for")
	}
	if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.PutGateway(one) }); !errors.Is(err, store.ErrUnrecorded) {
		t.Errorf("without an event: %v", err)
	}
	one.State, one.Seen = store.GatewayEvicted, time.Time{}
	k.write(db, func(tx *store.Tx) error { tx.Record(Event("gateway.evict")); return tx.PutGateway(one) })
	k.read(db, func(tx *store.Tx) error {
		got, err := tx.Gateway("gw-fra")
		if got.State != store.GatewayEvicted || !got.Seen.Equal(Epoch.Add(time.Minute)) {
			t.Errorf("%+v", got)
		}
		return err
	})
}
