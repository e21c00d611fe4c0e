// Package ca is the authority that the fleet's certificates come from: of gateways, and of
// the control plane where gateways reach it. It is nobody else's authority, and nothing
// that people or agents show is of it.
//
// Its keys lie sealed in the store. One of them issues; the ones before it stay trusted until
// the last that they issued has ended, and vouch for it, so that whoever was away while
// the authority changed still knows the control plane.
package ca

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

const (
	life    = 10 * 365 * 24 * time.Hour // of an authority that is not replaced before
	overlap = 30 * 24 * time.Hour       // for which one is trusted after it was replaced: who is away for longer joins again
	// DefaultTTL is how long a certificate is good.
	DefaultTTL = 24 * time.Hour
)

// Vault keeps the authority's keys, sealed by whoever fills it in.
type Vault struct {
	// Load returns every key kept, by id. The values are secret.
	Load func(context.Context) (map[string][]byte, error)
	// Save puts and drops keys and records the event, all in one transaction. It returns ErrOtherKeys, and does
	// nothing, when there is a key that is neither put nor dropped.
	Save func(ctx context.Context, put map[string][]byte, drop []string, e ledger.Event) error
}

// ErrOtherKeys means that another node has made an authority since ours were loaded.
var ErrOtherKeys = errors.New("another node has made an authority of the fleet")

// Authority issues certificates. Fields without a default are required.
type Authority struct {
	Vault  Vault
	Domain string // trust domain
	Now    func() time.Time
	Rand   io.Reader
	TTL    time.Duration // of a certificate; default 24 hours

	mu       sync.Mutex
	roots    []root // the one that issues first
	listener *tls.Certificate
	changed  chan struct{} // closed when roots change
}

type root struct {
	id    string
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	until time.Time // trusted until then; zero: it issues
}

// sealedRoot is what the vault keeps of one.
type sealedRoot struct {
	Certificate []byte    `json:"certificate"`
	Key         []byte    `json:"key"`
	Until       time.Time `json:"until,omitzero"`
}

// Info is one authority as shown to people.
type Info struct {
	ID          string    `json:"id"`
	Fingerprint string    `json:"fingerprint" doc:"SHA-256 of its key, as join tokens carry it"`
	State       string    `json:"state" enum:"issues,trusted"`
	Created     time.Time `json:"created"`
	Until       time.Time `json:"until" doc:"It is trusted until then"`
}

// Open loads the authority, and makes it on the first start. It must succeed before anything else is called.
func (a *Authority) Open(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.load(ctx)
	if err == nil && len(a.roots) == 0 {
		if err = a.rotate(ctx, "lanyard", "ca.create"); errors.Is(err, ErrOtherKeys) { // which started at the same moment
			err = a.load(ctx)
		}
	}
	return err
}

// Refresh loads the authority again, since another node may have changed it.
func (a *Authority) Refresh(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.load(ctx)
}

// load brings a to what is kept.
func (a *Authority) load(ctx context.Context) error {
	kept, err := a.Vault.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the fleet's authority: %w", err)
	}
	var roots []root
	for id, b := range kept {
		var s sealedRoot
		if err := json.Unmarshal(b, &s); err != nil {
			return fmt.Errorf("load the fleet's authority %s: it is damaged", id)
		}
		cert, err1 := x509.ParseCertificate(s.Certificate)
		key, err2 := x509.ParsePKCS8PrivateKey(s.Key)
		k, ok := key.(*ecdsa.PrivateKey)
		if err1 != nil || err2 != nil || !ok || !k.PublicKey.Equal(cert.PublicKey) {
			return fmt.Errorf("load the fleet's authority %s: it is damaged", id)
		}
		roots = append(roots, root{id, cert, k, s.Until})
	}
	if len(roots) == 0 {
		return nil
	}
	same := func(r root) bool {
		return slices.ContainsFunc(a.roots, func(o root) bool { return o.id == r.id && o.until.Equal(r.until) })
	}
	if len(roots) != len(a.roots) || slices.ContainsFunc(roots, func(r root) bool { return !same(r) }) {
		a.use(roots)
	}
	return nil
}

// Rotate makes another authority, which issues from now on. The one before stays trusted for 30 days.
func (a *Authority) Rotate(ctx context.Context, actor string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.rotate(ctx, actor, "ca.rotate")
	if errors.Is(err, ErrOtherKeys) {
		if err = a.load(ctx); err == nil {
			err = a.rotate(ctx, actor, "ca.rotate")
		}
	}
	return err
}

func (a *Authority) rotate(ctx context.Context, actor, kind string) error {
	now := a.Now().UTC()
	key, err := ecdsa.GenerateKey(elliptic.P256(), a.Rand)
	if err != nil {
		return err
	}
	serial, err := a.serial()
	if err != nil {
		return err
	}
	id := fmt.Sprintf("%x", serial.Bytes()[:6])
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{Organization: []string{"Lanyard " + a.Domain}, CommonName: "fleet " + id}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: 1, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(a.Rand, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	roots := []root{{id: id, cert: cert, key: key}}
	for _, r := range a.roots {
		if r.until.IsZero() {
			r.until = now.Add(overlap)
		}
		roots = append(roots, r)
	}
	return a.keep(ctx, roots, kind, actor, id)
}

// Prune drops what is trusted no more, if there is anything.
func (a *Authority) Prune(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.ContainsFunc(a.roots, a.over) {
		return nil
	}
	if err := a.load(ctx); err != nil {
		return err
	}
	if i := slices.IndexFunc(a.roots, a.over); i >= 0 { // no other node was first
		return a.keep(ctx, a.roots, "ca.drop", "lanyard", a.roots[i].id)
	}
	return nil
}

func (a *Authority) over(r root) bool { return !r.until.IsZero() && !a.Now().Before(r.until) }

func (a *Authority) keep(ctx context.Context, roots []root, kind, actor, about string) error {
	now := a.Now().UTC()
	put, drop, good := map[string][]byte{}, []string(nil), []root(nil)
	for _, r := range roots {
		if a.over(r) {
			drop = append(drop, r.id)
			continue
		}
		key, err := x509.MarshalPKCS8PrivateKey(r.key)
		if err != nil {
			return err
		}
		if put[r.id], err = json.Marshal(sealedRoot{r.cert.Raw, key, r.until}); err != nil {
			return err
		}
		good = append(good, r)
	}
	id, err := ledger.NewID(a.Rand, now)
	if err != nil {
		return err
	}
	e := ledger.Event{ID: id, Time: now.Truncate(time.Microsecond), Type: kind, Outcome: ledger.Allowed, Actor: actor, Resource: "ca/" + about}
	if len(drop) > 0 {
		e.Detail = map[string]string{"dropped": strings.Join(drop, ", ")}
	}
	if err := a.Vault.Save(ctx, put, drop, e); err != nil {
		return fmt.Errorf("saving the fleet's authority: %w", err)
	}
	a.use(good)
	return nil
}

func (a *Authority) use(roots []root) {
	slices.SortFunc(roots, func(x, y root) int {
		return cmp.Or(y.cert.NotBefore.Compare(x.cert.NotBefore), cmp.Compare(x.id, y.id))
	})
	slices.SortStableFunc(roots, func(x, y root) int { // whichever issues is first, whatever the clock did
		if x.until.IsZero() != y.until.IsZero() {
			if x.until.IsZero() {
				return -1
			}
			return 1
		}
		return 0
	})
	a.roots, a.listener = roots, nil
	if a.changed != nil {
		close(a.changed)
	}
	a.changed = make(chan struct{})
}

func (a *Authority) serial() (*big.Int, error) {
	var b [16]byte
	if _, err := io.ReadFull(a.Rand, b[:]); err != nil {
		return nil, fmt.Errorf("reading randomness: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:]), nil
}

// List is the authorities, the one that issues first.
func (a *Authority) List() (list []Info) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.roots {
		i := Info{ID: r.id, Fingerprint: feed.Fingerprint(r.cert), State: "issues", Created: r.cert.NotBefore.UTC(), Until: r.cert.NotAfter.UTC()}
		if !r.until.IsZero() {
			i.State, i.Until = "trusted", r.until.UTC()
		}
		list = append(list, i)
	}
	return list
}

// Trust is whom to trust, and a channel that closes when that changes.
func (a *Authority) Trust() (ders [][]byte, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.roots {
		ders = append(ders, r.cert.Raw)
	}
	return ders, a.changed
}

// Gateway issues the certificate of a gateway for the key that request proves to have.
func (a *Authority) Gateway(request []byte, name string) (*x509.Certificate, error) {
	csr, err := x509.ParseCertificateRequest(request)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, errors.New("this is no request for a certificate, or not signed by its key")
	}
	k, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || k.Curve != elliptic.P256() {
		return nil, errors.New("a gateway's key is on the curve P-256")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.issue(k, feed.GatewayName(a.Domain, name), x509.ExtKeyUsageClientAuth)
}

func (a *Authority) ttl() time.Duration {
	if a.TTL > 0 {
		return a.TTL
	}
	return DefaultTTL
}

func (a *Authority) issue(key *ecdsa.PublicKey, name string, use x509.ExtKeyUsage) (*x509.Certificate, error) {
	serial, err := a.serial()
	if err != nil {
		return nil, err
	}
	uri, err := url.Parse(name)
	if err != nil {
		return nil, err
	}
	now, by := a.Now().UTC(), a.roots[0]
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: strings.TrimPrefix(uri.Path, "/")}, URIs: []*url.URL{uri},
		NotBefore: now.Add(-min(time.Minute, a.ttl()/10)), NotAfter: now.Add(a.ttl()), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{use}, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(a.Rand, t, by.cert, key, by.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Listener is the control plane's own certificate, renewed when half its life is over, with
// the authorities, and what those before said about the one that issues.
func (a *Authority) Listener() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.Now()
	if l := a.listener; l != nil && now.Before(l.Leaf.NotAfter.Add(-l.Leaf.NotAfter.Sub(l.Leaf.NotBefore)/2)) {
		return l, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), a.Rand)
	if err != nil {
		return nil, err
	}
	leaf, err := a.issue(&key.PublicKey, feed.ControlName(a.Domain), x509.ExtKeyUsageServerAuth)
	if err != nil {
		return nil, err
	}
	first := a.roots[0]
	l := &tls.Certificate{PrivateKey: key, Leaf: leaf, Certificate: [][]byte{leaf.Raw, first.cert.Raw}}
	for _, r := range a.roots[1:] {
		serial, err := a.serial()
		if err != nil {
			return nil, err
		}
		t := *first.cert
		t.SerialNumber, t.NotAfter = serial, r.until
		t.AuthorityKeyId, t.Signature, t.SignatureAlgorithm = nil, nil, 0
		t.MaxPathLen, t.MaxPathLenZero = 0, true
		cross, err := x509.CreateCertificate(a.Rand, &t, r.cert, first.cert.PublicKey, r.key)
		if err != nil {
			return nil, err
		}
		l.Certificate = append(l.Certificate, cross, r.cert.Raw)
	}
	a.listener = l
	return l, nil
}

// Server is how the control plane listens for gateways: TLS 1.3, every time anew. Whoever shows a certificate shows one
// of the authority's that has not ended; who may do what without one is the handler's to say.
func (a *Authority) Server() *tls.Config {
	base := &tls.Config{MinVersion: tls.VersionTLS13, Time: a.Now, SessionTicketsDisabled: true, NextProtos: []string{"http/1.1"}, ClientAuth: tls.VerifyClientCertIfGiven,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.Listener() }}
	config := base.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := base.Clone()
		c.ClientCAs = x509.NewCertPool()
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, r := range a.roots {
			c.ClientCAs.AddCert(r.cert)
		}
		return c, nil
	}
	return config
}
