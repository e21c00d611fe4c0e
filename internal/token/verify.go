package token

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Verifier judges access tokens by a set of public keys. It is immutable.
type Verifier struct{ keys map[string]publicKey }

// ParseJWKS reads a key set. Keys that are not Ed25519 are refused: only ours belong in it.
func ParseJWKS(data []byte) (*Verifier, error) {
	if len(data) > 64<<10 {
		return nil, errors.New("key set is too large")
	}
	o, err := parseObject(data)
	if err != nil {
		return nil, fmt.Errorf("key set %w", err)
	}
	var keys []jsontext.Value
	if v := o.value("keys"); v == nil || json.Unmarshal(v, &keys) != nil {
		return nil, errors.New("key set has no keys")
	}
	v := &Verifier{make(map[string]publicKey, len(keys))}
	for _, raw := range keys {
		k, err := parseJWK(raw)
		if err != nil {
			return nil, fmt.Errorf("key set: %w", err)
		}
		if _, ok := k.key.(ed25519.PublicKey); !ok || k.id == "" || v.keys[k.id].key != nil {
			return nil, errors.New("key set: a key is not Ed25519, or has no kid of its own")
		}
		v.keys[k.id] = k
	}
	return v, nil
}

// Verify returns what raw says if one of our keys signed it, the issuer and the
// audience are the ones wanted, and now is within its time. The empty audience
// accepts any (introspection). Whether the token was revoked is not its question.
// The error is an *Error with Code InvalidToken.
func (v *Verifier) Verify(raw, issuer, audience string, now time.Time) (Claims, error) {
	c, err := v.verify(raw, "at+jwt", now)
	if err == nil {
		err = c.judge(issuer, audience, now)
	}
	if err == nil && !c.MayAct.IsZero() {
		err = errors.New("says that another may act with it")
	}
	if err != nil {
		return Claims{}, &Error{InvalidToken, "access token " + err.Error()}
	}
	return c, nil
}

func (v *Verifier) verify(raw, typ string, now time.Time) (Claims, error) {
	o, err := v.signed(raw, typ, MaxToken)
	if err != nil {
		return Claims{}, err
	}
	return readClaims(o, now)
}

// signed is what raw says, if one of our keys signed it as what typ says.
func (v *Verifier) signed(raw, typ string, most int) (object, error) {
	j, err := parseLongJWS(raw, most, "kid")
	if err != nil {
		return nil, err
	}
	r := reader{object: j.header}
	kid := r.text("kid", true)
	k, known := v.keys[kid]
	switch {
	case r.err != nil:
		return nil, r.err
	case j.typ != typ: // RFC 9068 section 4: so no id token, proof or assertion passes for one
		return nil, fmt.Errorf("has typ %q, not %s", j.typ, typ)
	case j.alg != "EdDSA":
		return nil, fmt.Errorf("has alg %q, not EdDSA", j.alg)
	case !known:
		return nil, errors.New("is signed by a key we do not know")
	case !j.verify(k):
		return nil, errors.New("has a wrong signature")
	}
	o, err := parseObject(j.payload)
	if err != nil {
		return nil, fmt.Errorf("payload %w", err)
	}
	return o, nil
}

func readClaims(o object, now time.Time) (Claims, error) {
	r := reader{object: o}
	c := Claims{
		ID: r.text("jti", true), Issuer: r.text("iss", true), Client: r.text("client_id", true),
		Audience: r.text("aud", true), Scope: r.text("scope", false),
		Issued: r.date("iat", true), Expires: r.date("exp", true),
		Owner: identity.OwnerID(r.text("owner", false)), Credential: r.text("cred", false),
	}
	if r.date("nbf", false).After(now.Add(Skew)) {
		r.fail("nbf", "says that it is not valid yet")
	}
	c.Chain = r.chain()
	c.Key = r.confirmation("cnf")
	c.MayAct, c.From = r.mayAct(), r.texts("from", false)
	c.Task = r.task()
	c.Status = r.place()
	if len(c.ID) > maxID {
		r.fail("jti", "is too long")
	}
	return c, r.err
}

// chain reads who is behind the token. It is said twice, in the words of RFC 8693 and in
// ours, and both must say the same: whoever reads either is not misled.
func (r *reader) chain() identity.Chain {
	root := r.text("sub", true)
	list := r.texts("chain", false)
	if list == nil {
		list = []string{root}
	}
	generations := r.numbers("gen")
	if len(list) > identity.MaxChain || len(generations) != len(list) || list[len(list)-1] != root {
		r.fail("chain", "is not a chain that ends with the subject, each link with its generation")
		return nil
	}
	chain := make(identity.Chain, len(list))
	for i, s := range list {
		id, err := identity.ParseID(s)
		if err != nil || i == 0 && id.Kind() == identity.Person {
			r.fail("chain", "is not a chain of identities that begins with one that can act")
		}
		chain[i] = identity.Link{ID: id, Generation: generations[i]}
	}
	at := r.object
	for _, s := range list[:len(list)-1] {
		o, err := parseObject(at.value("act"))
		sub := reader{object: o}
		if err != nil || sub.text("sub", true) != s || o.other("sub", "act") != "" {
			r.fail("act", "says another chain than chain does")
			return nil
		}
		at = o
	}
	if at.has("act") {
		r.fail("act", "says another chain than chain does")
	}
	return chain
}

// task reads which task the token is for. It is said twice, too, and one that is
// limited in a way that we do not know is not good for anything.
func (r *reader) task() string {
	id := r.text("task", false)
	v := r.value("authorization_details")
	if v == nil && id == "" {
		return ""
	}
	var list []jsontext.Value
	if v == nil || json.Unmarshal(v, &list) != nil || len(list) != 1 {
		r.fail("authorization_details", "is not one task")
		return ""
	}
	o, err := parseObject(list[0])
	d := reader{object: o}
	if err != nil || d.text("type", true) != TaskType || d.text("task", true) != id || d.err != nil || o.other("type", "task") != "" {
		r.fail("authorization_details", "says another task than task does")
	}
	return id
}

func (r *reader) confirmation(name string) Confirmation {
	v := r.value(name)
	if v == nil {
		return Confirmation{}
	}
	o, err := parseObject(v)
	sub := reader{object: o}
	c := Confirmation{sub.text("jkt", false), sub.text("x5t#S256", false)}
	// A confirmation that we cannot check must not turn a bound token into a bearer one.
	if err != nil || sub.err != nil || o.other("jkt", "x5t#S256") != "" || c == (Confirmation{}) {
		r.fail(name, "is not a confirmation we know")
	}
	return c
}

func (c Claims) judge(issuer, audience string, now time.Time) error {
	switch {
	case c.Issuer != issuer:
		return fmt.Errorf("is from issuer %q", c.Issuer)
	case audience != "" && c.Audience != audience:
		return fmt.Errorf("is for %q, not for %q", c.Audience, audience)
	case !now.Before(c.Expires):
		return fmt.Errorf("expired at %s", c.Expires.Format(time.RFC3339))
	case c.Issued.After(now.Add(Skew)):
		return errors.New("is not valid yet")
	}
	return nil
}
