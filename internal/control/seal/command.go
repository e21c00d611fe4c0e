package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// command is a program that speaks to a KMS for us.
type command struct {
	path    string
	patient time.Duration
}

// Command is the KEK behind a program. It is run for each wrapping and unwrapping with one line of JSON on its standard input,
// {"op":"wrap","data":"<base64>"} or {"op":"unwrap","data":"<base64>"}, and answers {"data":"<base64>"} on its standard output and exit status 0.
// Exit status 2 says that what it should unwrap is of another key, any other that the key cannot be used now. It has our environment, so
// that it can find its KMS, and 30 seconds.
func Command(program string) (KEK, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, fmt.Errorf("--seal command: %w", err)
	}
	return &command{path, 30 * time.Second}, nil
}

type message struct {
	Op   string `json:"op,omitempty"`
	Data []byte `json:"data"`
}

// Name implements KEK.
func (c *command) Name() string { return "command:" + c.path }

// Wrap implements KEK.
func (c *command) Wrap(ctx context.Context, plain []byte) ([]byte, error) {
	return c.run(ctx, message{"wrap", plain})
}

// Unwrap implements KEK.
func (c *command) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	return c.run(ctx, message{"unwrap", wrapped})
}

func (c *command) run(ctx context.Context, m message) ([]byte, error) {
	in, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.patient)
	defer cancel()
	var out bounded
	p := exec.CommandContext(ctx, c.path)
	p.Stdin, p.Stdout, p.Stderr, p.Dir, p.WaitDelay = bytes.NewReader(append(in, '\n')), &out, os.Stderr, "/", time.Second
	err = p.Run()
	clear(in)
	var e *exec.ExitError
	switch {
	case errors.As(err, &e) && e.ExitCode() == 2 && m.Op == "unwrap":
		return nil, ErrOther
	case err != nil:
		return nil, fmt.Errorf("it did not %s: %w", m.Op, err)
	}
	var answer message
	if err := json.Unmarshal(out.b.Bytes(), &answer); err != nil || len(answer.Data) == 0 { // what it printed could be a key, and is not told
		return nil, errors.New(`its answer is not {"data":"<base64>"}`)
	}
	return answer.Data, nil
}

// bounded takes so much and no more. It has no method of bytes.Buffer but Write, or io.Copy would go past it.
type bounded struct{ b bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.b.Len()+len(p) > maxWrapped {
		return 0, errors.New("it says too much")
	}
	return b.b.Write(p)
}
