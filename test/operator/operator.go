// Package operator asks a control plane that a test, or a measurement, started, as an operator on its machine does: through its socket.
package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
)

// Socket is a client of the control plane that has that folder.
func Socket(data string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(data, "lanyard.sock"))
	}}}
}

// Failed is an answer that is none of success.
type Failed struct {
	Status int
	Text   string
}

func (f *Failed) Error() string { return fmt.Sprintf("%d %s", f.Status, f.Text) }

// Ask sends one request, with in as its body if that is not nil, to a path below /v1/, and reads the answer into out if that is not nil. An
// answer that is none of success is a *Failed.
func Ask(ctx context.Context, c *http.Client, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://lanyard/v1/"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = &Failed{res.StatusCode, string(b)}
	}
	if err == nil && out != nil {
		err = json.Unmarshal(b, out)
	}
	return err
}
