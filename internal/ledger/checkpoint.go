package ledger

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is a signed promise: the log of that origin has Size leaves under Root.
// Its text is a C2SP tlog-checkpoint, signed as a C2SP signed-note.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   Hash
}

// NewKey makes the pair of keys that sign and verify checkpoints of origin, in
// the text form of signed notes. The first is secret.
func NewKey(rand io.Reader, origin string) (secret, verifier string, err error) {
	return note.GenerateKey(rand, origin)
}

// Sign returns the checkpoint as a signed note.
func (c Checkpoint) Sign(secret string) ([]byte, error) {
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, errors.New("signing a checkpoint: the key is malformed")
	}
	text := c.Origin + "\n" + strconv.FormatInt(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
	return note.Sign(&note.Note{Text: text}, signer)
}

// OpenCheckpoint verifies a signed note against a verifier key and returns the checkpoint.
func OpenCheckpoint(signed []byte, verifier string) (Checkpoint, error) {
	v, err := note.NewVerifier(strings.TrimSpace(verifier))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("verifier key: %w", err)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint is not signed by %s: %w", v.Name(), err)
	}
	line := strings.Split(n.Text, "\n")
	if len(line) < 4 || line[0] != v.Name() {
		return Checkpoint{}, errors.New("checkpoint is malformed")
	}
	size, err := strconv.ParseInt(line[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != line[1] {
		return Checkpoint{}, errors.New("checkpoint is malformed: bad size")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(line[2])
	if err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, errors.New("checkpoint is malformed: bad root")
	}
	return Checkpoint{line[0], size, Hash(root)}, nil
}

// Inclusion proves that a leaf stands at an index of the log.
type Inclusion struct {
	Index      int64            `json:"index"`
	Leaf       string           `json:"leaf"`
	Proof      tlog.RecordProof `json:"proof"`
	Checkpoint string           `json:"checkpoint"`
}

// Check verifies the proof with the log's verifier key alone.
func (p Inclusion) Check(verifier string) error {
	c, err := OpenCheckpoint([]byte(p.Checkpoint), verifier)
	if err != nil {
		return err
	}
	if p.Index < 0 || p.Index >= c.Size {
		return fmt.Errorf("event %d is not under a checkpoint of %d events", p.Index, c.Size)
	}
	if err := tlog.CheckRecord(p.Proof, c.Size, c.Root, p.Index, tlog.RecordHash([]byte(p.Leaf))); err != nil {
		return fmt.Errorf("event %d is not what was recorded: %w", p.Index, err)
	}
	return nil
}

// TilePath is where a tile of that width is served and exported (C2SP tlog-tiles).
func TilePath(level, index int64, width int) string {
	p := tlog.Tile{H: tileHeight, L: int(level), N: index, W: width}.Path()
	return "tile/" + strings.TrimPrefix(p, "tile/8/")
}
