package issuer

import (
	"net/http"
	"net/url"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// client is an identity that has proven itself with one credential.
type client struct {
	subject    *feed.Subject
	credential identity.Credential
	assertion  *token.Assertion // with private_key_jwt: not yet asked whether it was used before
}

// errClient is all that somebody learns who has proven nothing: the same for an
// unknown client, a wrong key and a mistyped secret.
var errClient = refuse("invalid_client", "The client is unknown or its credential is not right. "+
	"client_id and the assertion's iss and sub are the identity's SPIFFE ID.")

// decoys are checked when there is no key to check, so that an unknown client
// takes as long to refuse as a known one. Nobody has their private halves.
var decoys = [][]byte{
	[]byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`),
	[]byte(`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`),
}

// authenticate finds out who asks. Exactly one method may be used (RFC 6749
// section 2.3). The name it returns is only claimed when err is not nil.
func (i *Issuer) authenticate(r *http.Request, form map[string]string, now time.Time) (c client, name string, err error) {
	user, secret, basic := r.BasicAuth()
	if !basic && len(r.Header.Values("Authorization")) > 0 || len(r.Header.Values("Authorization")) > 1 {
		return client{}, "", refuse("invalid_client", "Only Basic is understood in Authorization here.")
	}
	post, assertion := form["client_secret"], form["client_assertion"]
	methods := 0
	for _, used := range []bool{basic, post != "", assertion != ""} {
		if used {
			methods++
		}
	}
	if methods > 1 {
		return client{}, "", refuse("invalid_request", "The client authenticates in more than one way; use one.")
	}
	name = form["client_id"]
	switch {
	case assertion != "":
		c, name, err = i.byAssertion(assertion, form, now)
	case basic:
		if user, secret, err = unescape(user, secret); err == nil && name != "" && name != user {
			err = refuse("invalid_request", "client_id and Authorization name different clients.")
		}
		if name = user; err == nil {
			c, err = i.byThumbprint(identity.Key, token.HashAPIKey(secret), name)
		}
	case post != "":
		c, err = i.byThumbprint(identity.Key, token.HashAPIKey(post), name)
	case r.TLS != nil && len(r.TLS.PeerCertificates) > 0:
		cert := r.TLS.PeerCertificates[0]
		if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
			return client{}, name, refuse("invalid_client", "The certificate is not valid at this time.")
		}
		c, err = i.byThumbprint(identity.Certificate, token.CertThumbprint(cert.Raw), name)
	default:
		err = refuse("invalid_client", "The client shows no credential: send client_assertion (private_key_jwt), a client certificate, or an API key.")
	}
	if err == nil {
		err = usable(c, now)
	}
	if err == nil {
		err = i.line(c, now)
	}
	return c, name, err
}

// usable says to somebody who has proven to be c why it may not act, if so: that
// it was stopped before that its credential died with it.
func usable(c client, now time.Time) error {
	if err := c.subject.Identity.Usable(now); err != nil {
		return refuse("invalid_client", err.Error()+"; its owner "+string(c.subject.Identity.Owner)+" can say why.")
	}
	if err := c.credential.Usable(now); err != nil {
		return refuse("invalid_client", "The "+err.Error()+".")
	}
	return nil
}

// line says why c may not act because of those that started it, if so.
func (i *Issuer) line(c client, now time.Time) error {
	if _, err := i.View.Line(c.subject.Identity.ID, now); err != nil {
		return refuse("invalid_client", err.Error()+"; its owner "+string(c.subject.Identity.Owner)+" can say why.")
	}
	return nil
}

func (i *Issuer) byAssertion(raw string, form map[string]string, now time.Time) (client, string, error) {
	if form["client_assertion_type"] != token.AssertionType {
		return client{}, form["client_id"], refuse("invalid_request", "client_assertion_type must be "+token.AssertionType+".")
	}
	a, err := token.ParseAssertion(raw)
	if err != nil {
		return client{}, form["client_id"], err
	}
	if id := form["client_id"]; id != "" && id != a.Subject {
		return client{}, a.Subject, refuse("invalid_request", "client_id and the assertion name different clients.")
	}
	c, ok := i.signer(a)
	if !ok {
		return client{}, a.Subject, errClient
	}
	if err := a.Judge([]string{i.URL, i.URL + "/oauth/token"}, now); err != nil {
		return client{}, a.Subject, err
	}
	// In whole seconds, as iat is: a client and this server may start within the same one.
	if a.Issued.Before(i.Start) {
		return client{}, a.Subject, refuse("invalid_client",
			"The client assertion was made before this server started, which may have seen it before; retry with a fresh one.")
	}
	return c, a.Subject, nil
}

// signer finds the credential whose key made a: the one that kid names, else each.
func (i *Issuer) signer(a token.Assertion) (client, bool) {
	id, err := identity.ParseID(a.Subject)
	s, known := i.View.Subject(id)
	tried := 0
	if err == nil && known {
		for _, named := range []bool{true, false} {
			for _, c := range s.Credentials {
				if c.Kind != identity.PrivateKeyJWT || (c.Thumbprint == a.KeyID) != named || tried > 16 {
					continue
				}
				tried++
				if a.SignedBy(c.PublicKey) {
					return client{s, c, &a}, true
				}
			}
		}
	}
	if tried == 0 {
		for _, d := range decoys {
			a.SignedBy(d)
		}
	}
	return client{}, false
}

// byThumbprint finds the credential by its hash: what is compared byte by byte
// is the hash of a secret, which teaches nothing about the secret.
func (i *Issuer) byThumbprint(kind identity.CredentialKind, thumbprint, name string) (client, error) {
	c, ok := i.View.Credential(thumbprint)
	if !ok || c.Kind != kind || name == "" || c.Identity.String() != name {
		return client{}, errClient
	}
	s, ok := i.View.Subject(c.Identity)
	if !ok {
		return client{}, errClient
	}
	return client{subject: s, credential: c}, nil
}

// unescape undoes the form encoding inside Basic (RFC 6749 section 2.3.1).
func unescape(user, secret string) (string, string, error) {
	u, err1 := url.QueryUnescape(user)
	s, err2 := url.QueryUnescape(secret)
	if err1 != nil || err2 != nil {
		return "", "", refuse("invalid_client", "The Authorization header is not well-formed.")
	}
	return u, s, nil
}
