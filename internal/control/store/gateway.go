package store

import (
	"context"
	"slices"
	"time"
)

// GatewayState says whether a gateway is one of the fleet.
type GatewayState string

const (
	GatewayJoined   GatewayState = "joined"
	GatewayEvicted  GatewayState = "evicted"  // until another joins by its name
	GatewayAdmitted GatewayState = "admitted" // it may join as soon as it is attested
)

// Gateway is a gateway that joined from elsewhere.
type Gateway struct {
	Name      string             `json:"name"`
	State     GatewayState       `json:"state"`
	Upstreams []string           `json:"upstreams,omitempty"` // that it is for; none: all
	Current   GatewayCertificate `json:"current"`
	Next      GatewayCertificate `json:"next,omitzero"`     // given out, and not shown yet: when it is, it is the current one
	Previous  GatewayCertificate `json:"previous,omitzero"` // the one before the current: shown no more
	Joined    time.Time          `json:"joined"`
	From      string             `json:"from,omitempty"` // peer address that it joined from
	Evicted   time.Time          `json:"evicted,omitzero"`
	Reason    string             `json:"reason,omitempty"` // of the eviction
	Admit     *Admission         `json:"admit,omitempty"`  // by whose word it may join, again and again; nil: by join tokens alone
	Seen      time.Time          `json:"-"`                // when it was last heard of, as far as that is written down
}

// Admission says which workload a gateway is, by whose word.
type Admission struct {
	Provider  string   `json:"provider"` // that is trusted to attest
	Subject   string   `json:"subject"`  // in the provider's words
	Upstreams []string `json:"upstreams,omitempty"`
}

// GatewayCertificate is one certificate of a gateway.
type GatewayCertificate struct {
	Serial  string    `json:"serial"`
	Print   string    `json:"thumbprint"` // of the whole certificate, SHA-256
	Expires time.Time `json:"expires"`
}

// For reports whether the gateway is for an upstream.
func (g Gateway) For(upstream string) bool {
	return len(g.Upstreams) == 0 || slices.Contains(g.Upstreams, upstream)
}

// PutGateway adds or changes a gateway. Other gateways need not know of it, so it is no change of the feed.
func (tx *Tx) PutGateway(g Gateway) error {
	tx.changed = true
	_, err := tx.exec(`INSERT INTO gateways (name, state, seen, doc) VALUES ($1, $2, $3, $4)
		ON CONFLICT (name) DO UPDATE SET state = excluded.state, doc = excluded.doc`, g.Name, string(g.State), micros(g.Seen), encode(g))
	return err
}

const gatewayColumns = "SELECT seen, doc FROM gateways "

func scanGateway(row scanner) (g Gateway, err error) {
	var seen int64
	var b []byte
	if err := row.Scan(&seen, &b); err != nil {
		return g, err
	}
	g, err = decoded(b, g, nil)
	g.Seen = at(seen)
	return g, err
}

// Gateway returns the gateway of that name, or ErrNotFound.
func (tx *Tx) Gateway(name string) (Gateway, error) {
	all, err := list(tx, scanGateway, gatewayColumns+"WHERE name = $1", name)
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Gateway{}, err
	}
	return all[0], nil
}

// Gateway is the gateway of that name as it is now, or ErrNotFound: [Tx.Gateway] for one who asks nothing else. Each
// acknowledgement of each gateway does, and a transaction would be three ways to the database and back instead of one.
func (db *DB) Gateway(ctx context.Context, name string) (g Gateway, err error) {
	for n := 0; n < 10; n++ {
		g, err = scanGateway(db.r.QueryRowContext(ctx, gatewayColumns+"WHERE name = $1", name))
		if err == nil || !db.engine.shared || !db.engine.lost(err) || ctx.Err() != nil || db.Ready() != nil { // else it is a connection of before the database was restarted
			break
		}
	}
	return g, db.mapped(err)
}

// Gateways lists all gateways by name.
func (tx *Tx) Gateways() ([]Gateway, error) {
	return list(tx, scanGateway, gatewayColumns+"ORDER BY name")
}

// TouchGateway notes that a gateway was heard of. It does not wait for the disk.
func (db *DB) TouchGateway(name string, when time.Time) { db.heard.note(name, when) }
