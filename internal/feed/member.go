package feed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Member is a gateway's place in the fleet, as it keeps it: who it is, by which key, and whom
// it takes for the control plane.
type Member struct {
	Membership
	Key []byte `json:"key"` // PKCS #8; secret
}

// controlPath is the path of the control plane's own name, beside those of gateways.
const controlPath = "/control"

// ControlName and GatewayName are the names in certificates of the fleet.
func ControlName(domain string) string       { return "spiffe://" + domain + controlPath }
func GatewayName(domain, name string) string { return "spiffe://" + domain + "/gateway/" + name }

// JoinToken is what an operator gives a gateway to join with: a secret that is good for once, and
// by which authority the control plane is known.
type JoinToken struct {
	Secret      string
	Fingerprint string // of the authority's key, see Fingerprint
	Name        string // of the gateway
}

const joinPrefix = "lyd_join_"

func (t JoinToken) String() string               { return "[join token]" }
func (t JoinToken) GoString() string             { return "[join token]" }
func (t JoinToken) MarshalText() ([]byte, error) { return []byte("[join token]"), nil }

// UnsafeText is the token as it is handed over.
func (t JoinToken) UnsafeText() string {
	return joinPrefix + t.Secret + "." + t.Fingerprint + "." + t.Name
}

// ParseJoinToken reads what UnsafeText wrote.
func ParseJoinToken(s string) (JoinToken, error) {
	rest, ours := strings.CutPrefix(strings.TrimSpace(s), joinPrefix)
	part := strings.SplitN(rest, ".", 3)
	if !ours || len(part) != 3 || len(part[0]) < 32 || len(part[1]) != 43 || !identity.ValidName(part[2]) {
		return JoinToken{}, errors.New("this is no join token: lanyard gateway token NAME prints one, which begins with " + joinPrefix)
	}
	return JoinToken{part[0], part[1], part[2]}, nil
}

// Fingerprint names an authority by its key.
func Fingerprint(authority *x509.Certificate) string {
	sum := sha256.Sum256(authority.RawSubjectPublicKeyInfo)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Join makes a key and has the control plane at one of the addresses take the gateway into its
// fleet. The control plane is known by the fingerprint in the token.
func Join(ctx context.Context, addresses []string, t JoinToken, now func() time.Time, rand io.Reader) (*Member, error) {
	return join(ctx, addresses, t.Fingerprint, JoinCall{Name: t.Name, Secret: t.Secret}, now, rand)
}

// JoinAttested is Join by the word of who attests that this is the gateway of that name: a JWT.
func JoinAttested(ctx context.Context, addresses []string, fingerprint, name, attest string, now func() time.Time, rand io.Reader) (*Member, error) {
	return join(ctx, addresses, fingerprint, JoinCall{Name: name, Attest: attest}, now, rand)
}

func join(ctx context.Context, addresses []string, fingerprint string, in JoinCall, now func() time.Time, rand io.Reader) (*Member, error) {
	c, err := NewClient(addresses, &tls.Config{MinVersion: tls.VersionTLS13, Time: now, InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		for _, authority := range s.PeerCertificates[1:] {
			if subtle.ConstantTimeCompare([]byte(Fingerprint(authority)), []byte(fingerprint)) == 1 && authority.IsCA {
				return isControl(s, []*x509.Certificate{authority}, "", now())
			}
		}
		return errors.New("this is not the control plane that the gateway is to join: its certificate comes from another authority")
	}})
	if err != nil {
		return nil, err
	}
	defer c.Forget()
	m, err := c.certified(ctx, PathJoin, in, in.Name, rand)
	if err != nil {
		return nil, fmt.Errorf("joining as %s: %w", in.Name, err)
	}
	return m, nil
}

// Rotate has the control plane give m, which the client shows, a certificate for a new key. The old
// one is good until the new one is first shown.
func (c *Client) Rotate(ctx context.Context, m *Member, rand io.Reader) (*Member, error) {
	next, err := c.certified(ctx, PathRotate, JoinCall{}, m.Name, rand)
	if err != nil {
		return nil, fmt.Errorf("a new certificate: %w", err)
	}
	return next, nil
}

func (c *Client) certified(ctx context.Context, path string, in JoinCall, name string, rand io.Reader) (*Member, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand)
	if err != nil {
		return nil, err
	}
	m := &Member{}
	if m.Key, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return nil, err
	}
	if in.Request, err = x509.CreateCertificateRequest(rand, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key); err != nil {
		return nil, err
	}
	if err := c.call(ctx, path, false, in, &m.Membership); err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(m.Certificate)
	if err != nil || !key.PublicKey.Equal(leaf.PublicKey) || m.Name != name || len(leaf.URIs) != 1 || leaf.URIs[0].String() != GatewayName(m.Domain, name) {
		return nil, errors.New("the control plane gave a certificate for something else")
	}
	_, err = authorities(m.Trust)
	return m, err
}

func authorities(ders [][]byte) (list []*x509.Certificate, err error) {
	for _, der := range ders {
		a, err := x509.ParseCertificate(der)
		if err != nil || !a.IsCA {
			return nil, errors.New("what the control plane gave as an authority is none")
		}
		list = append(list, a)
	}
	if len(list) == 0 {
		return nil, errors.New("the control plane gave no authority to trust")
	}
	return list, nil
}

// Leaf is m's certificate.
func (m *Member) Leaf() (*x509.Certificate, error) { return x509.ParseCertificate(m.Certificate) }

// Due is when half the life of m's certificate is over.
func (m *Member) Due() time.Time {
	leaf, err := m.Leaf()
	if err != nil {
		return time.Time{}
	}
	return leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / 2)
}

// Check says what is wrong with m as it was kept, or nil.
func (m *Member) Check() error {
	if _, err := m.pair(); err != nil {
		return err
	}
	_, err := authorities(m.Trust)
	return err
}

func (m *Member) pair() (*tls.Certificate, error) {
	key, err := x509.ParsePKCS8PrivateKey(m.Key)
	if err != nil {
		return nil, errors.New("the gateway's key is damaged")
	}
	leaf, err := m.Leaf()
	k, ok := key.(*ecdsa.PrivateKey)
	if err != nil || !ok || !k.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("the gateway's certificate is damaged, or of another key")
	}
	return &tls.Certificate{Certificate: [][]byte{m.Certificate}, PrivateKey: key, Leaf: leaf}, nil
}

// MemberTLS is how a gateway talks with its control plane: it shows the certificate that it has at that moment,
// and the other end has to be the control plane of its trust domain, whatever address it answers at.
func MemberTLS(current func() *Member, now func() time.Time) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Time: now, InsecureSkipVerify: true, // the name of the host says nothing here
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return current().pair() },
		VerifyConnection: func(s tls.ConnectionState) error {
			m := current()
			roots, err := authorities(m.Trust)
			if err != nil {
				return err
			}
			return isControl(s, roots, m.Domain, now())
		}}
}

// isControl says whether the other end of s is the control plane that one of roots says it is.
func isControl(s tls.ConnectionState, roots []*x509.Certificate, domain string, now time.Time) error {
	trusted, between := x509.NewCertPool(), x509.NewCertPool()
	for _, r := range roots {
		trusted.AddCert(r)
	}
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	leaf := s.PeerCertificates[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: trusted, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		return fmt.Errorf("this is not the control plane that the gateway belongs to: %w", err)
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].Scheme != "spiffe" || leaf.URIs[0].Path != controlPath || domain != "" && leaf.URIs[0].Host != domain {
		return errors.New("this is not a control plane: its certificate is of something else")
	}
	return nil
}
