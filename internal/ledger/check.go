package ledger

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

// The files of an export. Tiles lie beside them, at [TilePath].
const (
	EventsFile     = "events.jsonl" // the leaves, one a line: OCSF as it is
	CheckpointFile = "checkpoint"
	KeyFile        = "key" // the verifier key; compare it with one you got another way
)

// Export writes the first size leaves of a log, its checkpoint, verifier key and tiles into a new folder.
func Export(dir string, signed []byte, verifier string, leaves func(yield func(leaf []byte) error) error) error {
	c, err := OpenCheckpoint(signed, verifier)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("exporting the ledger: %w", err)
	}
	f, err := os.Create(filepath.Join(dir, EventsFile))
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<20)
	var t Tree
	save := func(tile Tile) error {
		path := filepath.Join(dir, TilePath(tile.Level, tile.Index, len(tile.Hashes)))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, tile.Data(), 0o644)
	}
	err = leaves(func(leaf []byte) error {
		out.Write(leaf)
		out.WriteByte('\n') // a bufio.Writer keeps its first error for Flush
		for _, tile := range t.Append(leaf) {
			if err := save(tile); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("exporting the ledger: %w", err)
	}
	if t.Size() != c.Size || t.Root() != c.Root {
		return fmt.Errorf("exporting the ledger: its %d events do not match the checkpoint of %d", t.Size(), c.Size)
	}
	for level := int64(0); t.Size()>>(tileHeight*level) > 0; level++ {
		if tile := t.Partial(level); len(tile.Hashes) > 0 {
			if err := save(tile); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, CheckpointFile), signed, 0o644), os.WriteFile(filepath.Join(dir, KeyFile), []byte(verifier+"\n"), 0o644)); err != nil {
		return err
	}
	return errors.Join(out.Flush(), f.Sync(), f.Close())
}

// Report is what [Check] found.
type Report struct {
	Checkpoint Checkpoint `json:"checkpoint"`
	Events     int64      `json:"events"`             // lines read
	Problems   []Problem  `json:"problems,omitempty"` // at most 100
}

// OK reports whether every event is what was recorded, where it was recorded, and none is missing.
func (r Report) OK() bool { return len(r.Problems) == 0 }

// Problem is one place where an export is not what was recorded.
type Problem struct {
	Line int64  `json:"line,omitempty"` // of events.jsonl, from 1; 0 when it is not about a line
	What string `json:"what"`
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.What
	}
	return fmt.Sprintf("line %d: %s", p.Line, p.What)
}

const maxProblems = 100

// Check compares an export with its checkpoint. It trusts only the verifier
// key. It returns an error when the checkpoint itself cannot be believed;
// everything else it finds is in the Report, with its place.
func Check(export fs.FS, verifier string) (Report, error) {
	signed, err := fs.ReadFile(export, CheckpointFile)
	if err != nil {
		return Report{}, fmt.Errorf("this is no export of a ledger: %w", err)
	}
	c, err := OpenCheckpoint(signed, verifier)
	if err != nil {
		return Report{}, err
	}
	f, err := export.Open(EventsFile)
	if err != nil {
		return Report{}, fmt.Errorf("this is no export of a ledger: %w", err)
	}
	defer f.Close()
	k := &checker{Report: Report{Checkpoint: c}, export: export}
	if err := k.read(f); err != nil {
		return k.Report, err
	}
	if k.tree.Size() == c.Size && k.tree.Root() == c.Root {
		return k.Report, nil // every event is as it was recorded, whatever became of the tiles
	}
	k.locate()
	return k.Report, nil
}

type checker struct {
	Report
	export fs.FS
	tree   Tree
	hashes []Hash // of the lines read
}

func (k *checker) problem(line int64, format string, args ...any) {
	if len(k.Problems) < maxProblems {
		k.Problems = append(k.Problems, Problem{line, fmt.Sprintf(format, args...)})
	}
}

func (k *checker) read(f io.Reader) error {
	in := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%s: line %d is longer than any event", EventsFile, k.Events+1)
		}
		if len(line) > 0 {
			k.Events++
			h := tlog.RecordHash(bytes.TrimSuffix(line, []byte("\n")))
			if err != nil { // the last line has no end: it was cut
				h = Hash{}
			}
			k.hashes = append(k.hashes, h)
			k.tree.AppendHash(h)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", EventsFile, err)
		}
	}
}

// locate compares the lines with the tree's leaves, which the tiles give and the checkpoint vouches for.
func (k *checker) locate() {
	want, known := k.recorded()
	place := make(map[Hash]int64, len(want))
	for i, h := range want {
		if known[i] {
			place[h] = int64(i)
		}
	}
	next, at := int64(0), int64(0) // the event that should come next, the line that we look at
	for at < int64(len(k.hashes)) && len(k.Problems) < maxProblems {
		if next < int64(len(want)) && (k.hashes[at] == want[next] || !known[next]) {
			at, next = at+1, next+1
			continue
		}
		at, next = k.disagree(at, next, place, want)
	}
	if missing := int64(len(want)) - next; missing > 0 && len(k.Problems) < maxProblems {
		k.problem(0, "the last %d events, from event %d on, are missing", missing, next)
	}
	if len(k.Problems) == 0 {
		k.problem(0, "the events do not match the checkpoint, and without all tiles the place cannot be told")
	}
}

// disagree says how the line at differs from the event that should be there, and where to go on.
func (k *checker) disagree(at, next int64, place map[Hash]int64, want []Hash) (int64, int64) {
	line, size := at+1, int64(len(want))
	is, recorded := place[k.hashes[at]]
	follows := at+1 < int64(len(k.hashes))
	switch {
	case recorded && is > next && (!follows || is+1 >= size || k.hashes[at+1] == want[is+1]):
		k.problem(line, "events %d to %d, which belong before it, are missing", next, is-1)
		return at, is
	case recorded:
		k.problem(line, "holds event %d, where event %d belongs: events were reordered or repeated", is, next)
	case follows && next < size && k.hashes[at+1] == want[next]:
		k.problem(line, "was added: no such event was recorded")
		return at + 1, next
	case next >= size:
		k.problem(line, "was added after the last event that the checkpoint covers")
	default:
		k.problem(line, "event %d was changed after it was recorded", next)
	}
	return at + 1, next + 1
}

// recorded returns the leaf hashes under the checkpoint, and which of them a tile vouches for.
func (k *checker) recorded() (want []Hash, known []bool) {
	size := k.Checkpoint.Size
	if size > int64(len(k.hashes))+1<<24 {
		size = int64(len(k.hashes)) + 1<<24 // a bound on what an export can make us allocate
	}
	want, known = make([]Hash, size), make([]bool, size)
	reader := tlog.TileHashReader(tlog.Tree{N: k.Checkpoint.Size, Hash: k.Checkpoint.Root}, tileFiles{k.export})
	for from := int64(0); from < size; from += 256 {
		to := min(from+256, size)
		indexes := make([]int64, 0, 256)
		for i := from; i < to; i++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, i))
		}
		hashes, err := reader.ReadHashes(indexes)
		if err != nil {
			k.problem(0, "the tile of events %d to %d is damaged or missing, so a change among them cannot be told apart", from, to-1)
			continue
		}
		copy(want[from:], hashes)
		for i := from; i < to; i++ {
			known[i] = true
		}
	}
	return want, known
}

// tileFiles reads the tiles of an export for tlog, which verifies them.
type tileFiles struct{ export fs.FS }

func (tileFiles) Height() int                     { return tileHeight }
func (tileFiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (f tileFiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		data, err := fs.ReadFile(f.export, TilePath(int64(t.L), t.N, t.W))
		if err != nil {
			return nil, err
		}
		if len(data) != t.W*tlog.HashSize {
			return nil, fmt.Errorf("tile %d/%d has %d bytes", t.L, t.N, len(data))
		}
		out[i] = data
	}
	return out, nil
}
