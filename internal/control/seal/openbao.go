package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// transit is a key of the transit engine of an OpenBao (or a Vault, whose API is the same).
type transit struct {
	name    string
	base    string // https://host:8200/v1/transit
	key     string
	token   func() (string, error)
	client  *http.Client
	patient time.Duration // with one answer
}

var transitPath = regexp.MustCompile(`^(?:/v1)?((?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+)/keys/([A-Za-z0-9_-][A-Za-z0-9._-]*)$`)

// OpenBao is the KEK at the address of a transit key, https://host:8200/transit/keys/NAME, which never leaves the server. token is asked
// before each request, so that a token that an agent renews in a file is read anew. Without TLS only this machine is spoken to.
func OpenBao(address string, token func() (string, error)) (KEK, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("--seal openbao: want openbao:https://host:8200/transit/keys/NAME")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("--seal openbao: http to %s would show the seal keys to the network: use https", u.Host)
	}
	m := transitPath.FindStringSubmatch(u.Path)
	if m == nil {
		return nil, fmt.Errorf("--seal openbao: the path %q is no key of a transit engine, as /transit/keys/NAME is", u.Path)
	}
	return &transit{name: "openbao:" + u.Scheme + "://" + u.Host + m[1] + "/keys/" + m[2], base: u.Scheme + "://" + u.Host + "/v1" + m[1], key: m[2], token: token, patient: 10 * time.Second,
		client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// Name implements KEK.
func (t *transit) Name() string { return t.name }

// Wrap implements KEK.
func (t *transit) Wrap(ctx context.Context, plain []byte) ([]byte, error) {
	out, err := t.ask(ctx, "encrypt", "plaintext", base64.StdEncoding.EncodeToString(plain), "ciphertext")
	return []byte(out), err
}

// Unwrap implements KEK.
func (t *transit) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	if !bytes.HasPrefix(wrapped, []byte("vault:v")) { // so both products begin what they wrap
		return nil, ErrOther
	}
	out, err := t.ask(ctx, "decrypt", "ciphertext", string(wrapped), "plaintext")
	if err != nil {
		return nil, err
	}
	plain, err := base64.StdEncoding.DecodeString(out)
	if err != nil {
		return nil, errors.New("its answer is not base64")
	}
	return plain, nil
}

func (t *transit) ask(ctx context.Context, op, field, value, want string) (string, error) {
	token, err := t.token()
	if err != nil {
		return "", fmt.Errorf("its token: %w", err)
	}
	body, err := json.Marshal(map[string]string{field: value})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, t.patient)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.base+"/"+op+"/"+t.key, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Vault-Token", token)
	res, err := t.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("it cannot be reached: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxWrapped))
	if err != nil {
		return "", fmt.Errorf("its answer broke off: %w", err)
	}
	return transitAnswer(res.StatusCode, answer, want)
}

// transitAnswer reads what the transit engine answered. Of a refusal only the status is told: its text could quote what was sent.
func transitAnswer(status int, answer []byte, want string) (string, error) {
	var a struct {
		Data   map[string]any `json:"data"`
		Errors []string       `json:"errors"`
	}
	decoded := json.Unmarshal(answer, &a)
	switch {
	case status == http.StatusForbidden:
		return "", errors.New("it refuses the token (403): give one that may use encrypt and decrypt of this key")
	case status == http.StatusNotFound:
		return "", errors.New("there is no such key or engine (404)")
	case status == http.StatusServiceUnavailable:
		return "", errors.New("it is sealed or standing by (503)")
	case status == http.StatusBadRequest && want == "plaintext" && strings.Contains(strings.Join(a.Errors, " "), "authentication failed"):
		return "", ErrOther
	case status == http.StatusBadRequest && want == "plaintext":
		return "", fmt.Errorf("it refuses to open them (400): %w", ErrOther)
	case status != http.StatusOK:
		return "", fmt.Errorf("it answered %d", status)
	case decoded != nil:
		return "", errors.New("its answer is not what a transit engine answers")
	}
	if s, ok := a.Data[want].(string); ok && s != "" {
		return s, nil
	}
	return "", errors.New("its answer has no " + want)
}
