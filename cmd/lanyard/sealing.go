package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/control/store"
)

// sealing is what wraps the keys that secrets are sealed with.
type sealing struct{ seal, sealToken string }

func (o *sealing) flags(f *pflag.FlagSet) {
	f.StringVar(&o.seal, "seal", "", "what wraps the keys that secrets are sealed with: file:PATH, openbao:https://host:8200/transit/keys/NAME, or command:PROGRAM (default file: seal.key in the data folder)")
	f.StringVar(&o.sealToken, "seal-token-file", "", "file of the token for --seal openbao, read anew each time; without it, the environment's LANYARD_SEAL_TOKEN")
}

// token is what an OpenBao wants to see. It is read each time, because whoever renews it writes it anew.
func (o sealing) token() (string, error) {
	t := os.Getenv("LANYARD_SEAL_TOKEN")
	if o.sealToken != "" {
		var err error
		if t, err = content(o.sealToken); err != nil {
			return "", err
		}
	}
	if t == "" || strings.ContainsAny(t, "\r\n") {
		return "", errors.New("there is none, or it is no token: give --seal-token-file, or LANYARD_SEAL_TOKEN")
	}
	return t, nil
}

// kek makes the KEK that a setting names, to wrap the seal keys with from now on.
func (o sealing) kek(setting string) (seal.KEK, error) { return seal.Parse(setting, true, o.token) }

// box finds what wraps the seal keys of the store in a data folder, whose key file it makes only where there is no store yet.
func (o sealing) box(data, where string, fresh bool) (*seal.Box, error) {
	setting := o.seal
	if setting == "" {
		setting = "file:" + filepath.Join(data, "seal.key")
	}
	if fresh {
		if err := os.MkdirAll(data, 0o700); err != nil {
			return nil, err
		}
	}
	k, err := seal.Parse(setting, fresh, o.token)
	if errors.Is(err, seal.ErrMissing) {
		return nil, fmt.Errorf("%w: the store in %s was sealed with it; put it back from where you keep it", err, where)
	}
	if err != nil {
		return nil, err
	}
	return seal.Hold(k), nil
}

// sealBox is the box of a server's store.
func (s *server) sealBox(ctx context.Context) (*seal.Box, error) {
	if s.databaseURL == "" {
		return s.box(s.data, s.data, !store.Exists(s.data))
	}
	exists, err := store.ExistsIn(ctx, s.databaseURL)
	if err != nil {
		return nil, err
	}
	return s.box(s.data, "the database", !exists)
}
