package registry

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// Proof is what an identity will prove itself with: a public key (a JWK), a
// certificate (PEM), or, with neither, an API key that is made.
type Proof struct {
	PublicKey   []byte
	Certificate []byte
	Expires     End // default and at most the identity's
}

// Thumbprint is what the proof is known by, "" for an API key still to be made. Errors say what is wrong with it.
func (p Proof) Thumbprint() (string, error) {
	switch {
	case p.PublicKey != nil:
		return token.Thumbprint(p.PublicKey)
	case p.Certificate != nil:
		cert, err := p.certificate()
		if err != nil {
			return "", err
		}
		return token.CertThumbprint(cert.Raw), nil
	}
	return "", nil
}

func (p Proof) certificate() (*x509.Certificate, error) {
	block, rest := pem.Decode(p.Certificate)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("this is no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("there is more than one certificate; give only the client's own")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the certificate cannot be read: %w", err)
	}
	return cert, nil
}

// AddCredential adds one way for an identity to prove itself. Others stay good,
// for rotation with overlap. The API key, if one was made, is returned this once.
func (c *Change) AddCredential(ref string, p Proof) (k identity.Credential, apiKey string, err error) {
	i, err := FindIdentity(c.Tx, ref)
	if err != nil {
		return k, "", err
	}
	if k, apiKey, err = c.addCredential(i, p); err != nil {
		return k, "", err
	}
	return k, apiKey, c.record("credential.add", i.ID.String(), string(i.Owner), "", credentialDetail(k))
}

func credentialDetail(k identity.Credential) map[string]string {
	return map[string]string{"credential": k.ID, "kind": string(k.Kind), "thumbprint": k.Thumbprint, "expires": k.Expires.Format(time.RFC3339)}
}

// addCredential is AddCredential without the record.
func (c *Change) addCredential(i identity.Identity, p Proof) (k identity.Credential, apiKey string, err error) {
	what := "credential of " + i.ID.Name()
	bad := func(field string, err error) error { return &Invalid{what, field, err.Error()} }
	if i.State == identity.Retired || i.State == identity.Killed {
		return k, "", &Conflict{fmt.Sprintf("%s is %s and takes no new credential", i.ID.Name(), i.State)}
	}
	k = identity.Credential{Identity: i.ID, Created: c.Now(), Kind: identity.Key}
	field := ""
	switch {
	case p.PublicKey != nil:
		k.Kind, k.PublicKey, field = identity.PrivateKeyJWT, p.PublicKey, "public_key"
	case p.Certificate != nil:
		k.Kind, field = identity.Certificate, "certificate"
	default:
		if apiKey, k.Thumbprint, err = token.NewAPIKey(c.r.Rand); err != nil {
			return k, "", err
		}
		if p.Expires.Zero() {
			p.Expires = For(90 * 24 * time.Hour)
		}
	}
	if field != "" {
		if k.Thumbprint, err = p.Thumbprint(); err != nil {
			return k, "", bad(field, err)
		}
	}
	k.Expires = i.Expires
	if !p.Expires.Zero() {
		if e := p.Expires.From(c.Now()); e.Before(k.Expires) {
			k.Expires = e
		}
	}
	if k.Kind == identity.Certificate {
		cert, err := p.certificate()
		if err != nil {
			return k, "", bad(field, err)
		}
		if k.KeyPrint, err = token.KeyThumbprint(cert.PublicKey); err != nil {
			return k, "", bad(field, err)
		}
		end := cert.NotAfter.UTC()
		if k.NotAfter = &end; end.Before(k.Expires) {
			k.Expires = end
		}
	}
	if !k.Expires.After(c.Now()) {
		return k, "", bad("expires", fmt.Errorf("it would end at %s, which has passed", k.Expires.Format(time.RFC3339)))
	}
	if k.ID, err = c.newID(identity.CredentialPrefix); err != nil {
		return k, "", err
	}
	if old, err := c.sameKey(k); err == nil {
		whose, err := c.Identity(old.Identity)
		if err != nil {
			return k, "", err
		}
		if !c.by.sees(whose.Owner) {
			return k, "", bad(field, errors.New("this key is or was another identity's; each needs a key of its own: make a new one"))
		}
		return k, "", bad(field, taken(old, i.ID))
	} else if !errors.Is(err, store.ErrNotFound) {
		return k, "", err
	}
	for _, print := range []string{k.Thumbprint, k.KeyPrint} {
		if spent, err := c.Spent(print); err != nil {
			return k, "", err
		} else if spent {
			return k, "", bad(field, errors.New("this key was of an identity that has ended; each identity needs a key of its own: make a new one"))
		}
	}
	return k, apiKey, c.PutCredential(k)
}

// sameKey returns the credential that has k's key already, or ErrNotFound.
func (c *Change) sameKey(k identity.Credential) (identity.Credential, error) {
	old, err := c.CredentialByThumbprint(k.Thumbprint)
	if !errors.Is(err, store.ErrNotFound) {
		return old, err
	}
	if k.KeyPrint != "" {
		return c.CredentialByKey(k.KeyPrint)
	}
	return c.CredentialByKey(k.Thumbprint)
}

// taken says why a key cannot be registered once more.
func taken(old identity.Credential, id identity.ID) error {
	switch {
	case !old.Revoked.IsZero():
		return fmt.Errorf("this key was %s of %s and was revoked on %s; a revoked key stays dead: make a new one", old.ID, old.Identity.Name(), old.Revoked.Format(time.DateOnly))
	case old.Identity != id:
		return fmt.Errorf("this key is already %s of %s; each identity needs a key of its own", old.ID, old.Identity.Name())
	}
	return fmt.Errorf("this key is already %s of %s; another credential needs another key", old.ID, old.Identity.Name())
}

// RevokeCredential ends a credential, and every token that was got with it.
func (c *Change) RevokeCredential(id, reason string) error {
	k, err := c.Credential(id)
	if err != nil {
		return missing(err, "credential", id)
	}
	if !k.Revoked.IsZero() {
		return nil // it is as dead as asked for
	}
	i, err := c.Identity(k.Identity)
	if err != nil {
		return err
	}
	k.Revoked = c.Now()
	return errors.Join(c.PutCredential(k), c.record("credential.revoke", k.Identity.String(), string(i.Owner), reason, map[string]string{"credential": k.ID}))
}
