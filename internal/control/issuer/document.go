package issuer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// document is what an OAuth client says of itself (RFC 7591 section 2), in its
// metadata document (draft-ietf-oauth-client-id-metadata-document) or when it
// registered itself. Members that are not here have no effect.
type document struct {
	ID        string   `json:"client_id"`
	Name      string   `json:"client_name"`
	Redirects []string `json:"redirect_uris"`
	Method    string   `json:"token_endpoint_auth_method,omitempty"`
	Grants    []string `json:"grant_types,omitempty"`
	Responses []string `json:"response_types,omitempty"`
	Keys      keySet   `json:"jwks,omitempty"`
	KeysAt    string   `json:"jwks_uri,omitempty"`
}

// keySet is the JSON of a key set, to be read when it is needed.
type keySet = jsontext.Value

// Host is who answers for the document, "" for a client that registered itself.
func (d document) Host() string {
	if u, err := url.Parse(d.ID); err == nil {
		return u.Host
	}
	return ""
}

// readDocument reads a document that has one meaning.
func readDocument(body []byte) (d document, err error) {
	if json.Unmarshal(body, &d) != nil {
		return d, refuse("invalid_client_metadata", "It must be JSON like {\"client_name\": ..., \"redirect_uris\": [...]}, each member once.")
	}
	return d, nil
}

// check returns what is wrong with the document of a client that a person connects, in
// the words of RFC 7591 section 3.2.2.
func (d *document) check() error {
	if err := d.checkName(); err != nil {
		return err
	}
	switch {
	case len(d.Redirects) == 0 || len(d.Redirects) > 32:
		return refuse("invalid_redirect_uri", "redirect_uris must have 1 to 32 addresses.")
	case d.Method != "" && d.Method != "none":
		return refuse("invalid_client_metadata", "token_endpoint_auth_method must be none: a client that a person connects is a public one and uses PKCE.")
	case len(d.Grants) > 0 && !slices.Contains(d.Grants, "authorization_code"), len(d.Responses) > 0 && !slices.Contains(d.Responses, "code"):
		return refuse("invalid_client_metadata", "grant_types must have authorization_code, and response_types code.")
	}
	for _, r := range d.Redirects {
		if err := checkRedirect(r); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) checkName() error {
	d.Name = strings.TrimSpace(d.Name)
	if utf8.RuneCountInString(d.Name) > 80 || strings.ContainsFunc(d.Name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return refuse("invalid_client_metadata", "client_name must be at most 80 printable characters.")
	}
	return nil
}

// checkRedirect accepts https, http to this machine (RFC 8252 section 7.3), and a
// scheme of an app's own (section 7.1).
func checkRedirect(s string) error {
	u, err := url.Parse(s)
	if err == nil && len(s) <= 2048 && u.Fragment == "" && !strings.Contains(s, "#") && u.Opaque == "" && u.Host != "" && u.User == nil {
		web := strings.Trim(strings.ToLower(u.Host), "abcdefghijklmnopqrstuvwxyz0123456789.:[]-") == "" // it goes into a header of ours
		switch u.Scheme {
		case "https":
			if web {
				return nil
			}
		case "http":
			if web && fetch.Loopback(u.Hostname()) {
				return nil
			}
		case "javascript", "data", "file", "blob", "about", "vbscript", "ftp", "ws", "wss", "view-source", "filesystem", "chrome", "jar":
		default:
			return nil
		}
	}
	return refuse("invalid_redirect_uri", fmt.Sprintf("%.100q is no address to go back to: https, http to this machine alone, or an app's own scheme like app://host, without a fragment.", s))
}

// redirect reports whether the client may be answered at s: one of its addresses,
// character by character, but for the port on this machine (RFC 8252 section 7.3).
func (d document) redirect(s string) bool {
	if slices.Contains(d.Redirects, s) {
		return checkRedirect(s) == nil
	}
	u, err := url.Parse(s)
	if err != nil || checkRedirect(s) != nil || u.Scheme != "http" || u.RawQuery != "" {
		return false
	}
	return slices.ContainsFunc(d.Redirects, func(known string) bool {
		k, err := url.Parse(known)
		return err == nil && k.Scheme == "http" && k.RawQuery == "" && k.Hostname() == u.Hostname() && k.EscapedPath() == u.EscapedPath() && s == "http://"+u.Host+u.EscapedPath()
	})
}

// documents remembers what was fetched.
type documents struct {
	mu    sync.Mutex
	known map[string]kept
}

type kept struct {
	document
	until time.Time
}

// client finds out who a client_id is, whose document is to pass check. The error is for people.
func (i *Issuer) client(ctx context.Context, id string, check func(*document) error) (d document, err error) {
	if id == "" || len(id) > 2048 {
		return d, errors.New("it does not say who it is (client_id)")
	}
	if !strings.Contains(id, "://") {
		err = i.ticket(ctx, store.RegisteredClient, id, &d)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("no client is registered as %.60q; it may have been too long ago: let it register again", id)
		}
		return d, err
	}
	now := i.Now()
	i.documents.mu.Lock()
	known, ok := i.documents.known[id]
	i.documents.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.document, inDocument(check(&known.document))
	}
	u, err := url.Parse(id)
	if err != nil || u.Path == "" || u.Path == "/" || strings.Contains(u.Path+"/", "/../") || strings.Contains(u.Path+"/", "/./") {
		return d, errors.New("its client_id is no https URL with a path, as a metadata document has")
	}
	body, keep, err := i.Fetch.JSON(ctx, id)
	if err != nil {
		return d, fmt.Errorf("its metadata document cannot be had: %w", err)
	}
	if d, err = readDocument(body); err != nil {
		return d, inDocument(err)
	}
	if d.ID != id {
		return d, fmt.Errorf("its metadata document is one of %.100q, not of itself", d.ID)
	}
	if err := check(&d); err != nil {
		return d, inDocument(err)
	}
	if d.Name == "" {
		d.Name = u.Hostname()
	}
	if d.Method == methodKey && d.KeysAt != "" {
		var short time.Duration
		if d.Keys, short, err = i.Fetch.JSON(ctx, d.KeysAt); err != nil {
			return d, fmt.Errorf("its keys (jwks_uri) cannot be had: %w", err)
		}
		keep, d.KeysAt = min(keep, short), ""
	}
	i.documents.mu.Lock()
	defer i.documents.mu.Unlock()
	if i.documents.known == nil || len(i.documents.known) >= 1000 {
		i.documents.known = map[string]kept{}
	}
	i.documents.known[id] = kept{d, now.Add(max(keep, formLife))} // for as long as a person looks at the page about it
	return d, nil
}

func inDocument(err error) error {
	if err != nil {
		return fmt.Errorf("its metadata document: %w", err)
	}
	return nil
}

const (
	newClient  = time.Hour            // a client that registers itself is forgotten when nobody connects it
	usedClient = 365 * 24 * time.Hour // since it was last connected
	maxClients = 10_000               // that nobody has connected yet, with those that were
)

// register lets a client say who it is (RFC 7591 section 3.1), on its own word alone.
func (i *Issuer) register(w http.ResponseWriter, r *http.Request) {
	var d document
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, fetch.MaxDocument))
	if err != nil {
		err = refuse("invalid_client_metadata", "The body could not be read, or is larger than 64 KiB.")
	} else if d, err = readDocument(body); err == nil {
		if strings.HasPrefix(d.Method, "client_secret_") { // what RFC 7591 takes for granted; the answer tells it none
			d.Method = ""
		}
		err = d.check()
	}
	if err == nil {
		err = i.keepClient(r, &d)
	}
	if err != nil {
		replyError(w, r, err)
		return
	}
	reply(w, http.StatusCreated, map[string]any{"client_id": d.ID, "client_name": d.Name, "redirect_uris": d.Redirects, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"}, "client_id_issued_at": i.Now().Unix()})
}

func (i *Issuer) keepClient(r *http.Request, d *document) error {
	name, err := i.random()
	if err != nil {
		return err
	}
	if d.ID = "client_" + name; d.Name == "" {
		d.Name = "a client without a name"
	}
	id, err := ledger.NewID(i.Rand, i.Now())
	if err != nil {
		return err
	}
	_, err = i.Registry.Store.Write(r.Context(), func(tx *store.Tx) error {
		if n, err := tx.CountTickets(store.RegisteredClient); err != nil || n >= maxClients {
			return errors.Join(err, refuse("temporarily_unavailable", "Too many clients have registered lately; try again in an hour."))
		}
		tx.Record(ledger.Event{ID: id, Time: tx.Now(), Type: "client.register", Outcome: ledger.Allowed, Actor: registry.Self.Name, Source: r.RemoteAddr,
			Resource: d.ID, Detail: map[string]string{"name": clip(d.Name), "redirects": clip(strings.Join(d.Redirects, " "))}})
		return tx.PutTicket(store.RegisteredClient, d.ID, tx.Now().Add(newClient), d)
	})
	return err
}
