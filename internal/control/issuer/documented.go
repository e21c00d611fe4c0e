package issuer

import (
	"context"
	"net/http"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// methodKey is how a client of a metadata document proves itself, when it can.
const methodKey = "private_key_jwt"

// checkVouched is check for a client that a provider vouches for: nobody is sent back to
// it, and it may have keys.
func (d *document) checkVouched() error {
	switch d.Method {
	case "", "none":
		if len(d.Keys) > 0 || d.KeysAt != "" { // which of the two it means is not to be guessed
			return refuse("invalid_client_metadata", "with keys, token_endpoint_auth_method must be private_key_jwt.")
		}
	case methodKey:
		if (len(d.Keys) > 0) == (d.KeysAt != "") {
			return refuse("invalid_client_metadata", "private_key_jwt needs either jwks or jwks_uri.")
		}
	default:
		return refuse("invalid_client_metadata", "token_endpoint_auth_method must be none or private_key_jwt.")
	}
	return d.checkName()
}

// documented reports whether the client is one that only a document, or its registration,
// tells of. It is asked to prove itself when a provider has said that it is the one.
func (i *Issuer) documented(r *http.Request, q *issue) bool {
	id := q.form["client_id"]
	if i.publicClient(r, q.form) {
		if strings.HasPrefix(id, "spiffe://") {
			return false
		}
		q.claimed = id
		return true
	}
	a, err := token.ParseAssertion(q.form["client_assertion"])
	if err != nil || q.form["client_assertion_type"] != token.AssertionType || q.form["client_secret"] != "" || len(r.Header.Values("Authorization")) > 0 ||
		strings.HasPrefix(a.Subject, "spiffe://") || !strings.Contains(a.Subject, "://") || id != "" && id != a.Subject {
		return false
	}
	q.claimed, q.client.assertion = a.Subject, &a
	return true
}

// byDocument finds out who such a client is, and whether it is that one as far as its
// document lets that be known: with a key if it has one, else if the provider's entry
// takes clients without a credential. It returns its name.
func (i *Issuer) byDocument(ctx context.Context, q *issue, p identity.Provider) (name string, err error) {
	wrong := func(text string) error { return refuse("invalid_client", text) }
	d, err := i.client(ctx, q.claimed, (*document).checkVouched)
	if err != nil {
		return "", wrong("The client cannot be made out: " + err.Error() + ".")
	}
	a := q.client.assertion
	switch {
	case d.Method != methodKey && a != nil:
		return "", wrong("The client's document does not say that it proves itself with a key (token_endpoint_auth_method).")
	case d.Method != methodKey && !p.Public:
		return "", &refusal{code: "invalid_client", why: "the provider " + p.Name + " is not trusted for clients without a credential (public_clients)",
			text: "The client shows no credential, and with this assertion it has to."}
	case d.Method != methodKey:
		return d.Name, nil
	case a == nil:
		return "", wrong("The client's document says that it proves itself with a key: send client_assertion.")
	}
	keys, err := token.ParseProviderKeys(d.Keys)
	if err != nil || !a.SignedByOne(keys) {
		return "", wrong("The client assertion has a wrong signature, or is signed by a key that the client's document does not have.")
	}
	if err := a.Judge([]string{i.URL, i.URL + "/oauth/token"}, q.now); err != nil {
		return "", err
	}
	if a.Issued.Before(i.Start) {
		return "", wrong("The client assertion was made before this server started, which may have seen it before; retry with a fresh one.")
	}
	return d.Name, nil
}
