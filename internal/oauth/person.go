package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// Userinfo asks the server what it says of the person who signed in for t (OpenID Connect Core section 5.3), as JSON. It is
// of whoever its sub says, which the caller compares. nil: the server has no such endpoint.
func (c *Client) Userinfo(ctx context.Context, t Token) (map[string]json.RawMessage, error) {
	if t.Server.Userinfo == "" || t.Type != "Bearer" {
		return nil, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.Server.Userinfo, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+t.Access)
	res, body, err := c.post(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK || !isJSON(res) {
		return nil, fmt.Errorf("asking %s: it answers %s", t.Server.Userinfo, printable(res.Status))
	}
	claims := map[string]json.RawMessage{}
	if err := decode(body, &claims); err != nil {
		return nil, errors.Join(fmt.Errorf("reading the answer of %s", t.Server.Userinfo), err)
	}
	return claims, nil
}
