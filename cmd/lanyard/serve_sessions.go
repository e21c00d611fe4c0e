package main

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/journal"
)

// sessionKey is what the gateway binds sessions with upstreams to identities with. It is kept
// sealed, so that they go on after a restart, and sealed anew with each start, since keys of the
// seal come and go. One that cannot be opened any more is replaced: clients open new sessions.
func (s *server) sessionKey(box *seal.Box) ([]byte, error) {
	const context = "gateway/sessions"
	path := filepath.Join(s.data, "sessions.sealed")
	var key []byte
	sealed, err := os.ReadFile(path)
	switch {
	case err == nil:
		if key, err = box.Unseal(sealed, context); err != nil || len(key) != 32 {
			s.log.Warn("MCP sessions and uploads from before this start end: what they were bound with cannot be opened", "file", path)
			key = nil
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if key == nil {
		key = make([]byte, 32)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
	}
	if sealed, err = box.Seal(key, context); err != nil {
		return nil, err
	}
	if err := journal.Put(path, sealed); err != nil { // a full disk keeps nothing from starting
		s.log.Warn("MCP sessions and uploads will end with the next start: what they are bound with cannot be kept", "error", err)
	}
	return key, nil
}
