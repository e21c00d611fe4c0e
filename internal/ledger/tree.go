package ledger

import (
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a node of the tree.
type Hash = tlog.Hash

// tileHeight is fixed by the tlog-tiles layout: a full tile is 256 hashes.
const tileHeight = 8

// Tile is a run of hashes of one level of the tree: up to 256 of the nodes at
// height 8*Level, from node 256*Index on.
type Tile struct {
	Level, Index int64
	Hashes       []Hash
}

// Data is the tile as it is stored and served.
func (t Tile) Data() []byte {
	b := make([]byte, 0, len(t.Hashes)*tlog.HashSize)
	for _, h := range t.Hashes {
		b = append(b, h[:]...)
	}
	return b
}

// Tree is the growing edge of the log: enough of it to append and to know the
// root, a few kilobytes whatever its size. The zero Tree is empty.
//
// A Tree is a value. A copy taken before Append is the tree as it was, so a
// failed transaction is undone by keeping the copy; but of two trees that grew
// from one, only one may go on growing.
type Tree struct {
	size  int64
	edge  [64]Hash  // edge[k] is the perfect subtree of 2^k leaves at the right edge, where bit k of size is set
	tiles [8][]Hash // the unfinished tile of each level
}

// Size is the number of leaves.
func (t *Tree) Size() int64 { return t.size }

// Append adds a leaf and returns the tiles that it completed, if any.
func (t *Tree) Append(leaf []byte) []Tile { return t.AppendHash(tlog.RecordHash(leaf)) }

// AppendHash adds a leaf by its hash.
func (t *Tree) AppendHash(h Hash) (full []Tile) {
	full = t.addToTile(full, 0, h)
	k := 0
	for ; t.size>>k&1 == 1; k++ {
		h = tlog.NodeHash(t.edge[k], h)
		if (k+1)%tileHeight == 0 {
			full = t.addToTile(full, int64((k+1)/tileHeight), h)
		}
	}
	t.edge[k] = h
	t.size++
	return full
}

func (t *Tree) addToTile(full []Tile, level int64, h Hash) []Tile {
	if t.tiles[level] == nil {
		t.tiles[level] = make([]Hash, 0, 256)
	}
	t.tiles[level] = append(t.tiles[level], h)
	if len(t.tiles[level]) == 256 {
		index := (t.size >> (tileHeight * (level + 1)))
		full = append(full, Tile{level, index, t.tiles[level]})
		t.tiles[level] = nil
	}
	return full
}

// Root is the hash that stands for all leaves (RFC 6962 section 2.1).
func (t *Tree) Root() Hash {
	if t.size == 0 {
		h, _ := tlog.TreeHash(0, nil)
		return h
	}
	k := bits.TrailingZeros64(uint64(t.size))
	h := t.edge[k]
	for k++; t.size>>k > 0; k++ {
		if t.size>>k&1 == 1 {
			h = tlog.NodeHash(t.edge[k], h)
		}
	}
	return h
}

// Partial returns the unfinished tile of a level.
func (t *Tree) Partial(level int64) Tile {
	return Tile{level, t.size >> (tileHeight * (level + 1)), t.tiles[level]}
}

// ReadFunc returns a complete tile, as [Tile.Data] gave it.
type ReadFunc func(level, index int64) ([]byte, error)

// Load rebuilds the tree of that size from its complete tiles and the leaves
// after the last complete tile.
func Load(size int64, read ReadFunc, rest func(from int64) ([][]byte, error)) (Tree, error) {
	var t Tree
	done := size / 256 * 256
	for level := int64(0); done>>(tileHeight*level) > 0; level++ {
		nodes := done >> (tileHeight * level) // complete nodes at this tile level
		if level > 0 {
			if err := t.loadPartial(level, nodes, read); err != nil {
				return Tree{}, err
			}
		}
		if err := t.loadEdge(level, nodes, read); err != nil {
			return Tree{}, err
		}
	}
	t.size = done
	leaves, err := rest(done)
	if err != nil {
		return Tree{}, err
	}
	if int64(len(leaves)) != size-done {
		return Tree{}, fmt.Errorf("ledger is damaged: events from %d on are missing (%d of %d found)", done+int64(len(leaves)), len(leaves), size-done)
	}
	for _, leaf := range leaves {
		t.Append(leaf)
	}
	return t, nil
}

// loadPartial fills the unfinished tile of a level from the roots of the complete tiles below it.
func (t *Tree) loadPartial(level, nodes int64, read ReadFunc) error {
	for n := nodes / 256 * 256; n < nodes; n++ {
		hashes, err := readTile(read, level-1, n)
		if err != nil {
			return err
		}
		t.tiles[level] = append(t.tiles[level], reduce(hashes))
	}
	return nil
}

// loadEdge fills the edge between this level and the next.
func (t *Tree) loadEdge(level, nodes int64, read ReadFunc) error {
	if nodes%256 == 0 {
		return nil
	}
	hashes := t.tiles[level]
	for k := tileHeight - 1; k >= 0; k-- {
		if nodes>>k&1 == 1 {
			t.edge[int(level)*tileHeight+k] = reduce(hashes[:1<<k])
			hashes = hashes[1<<k:]
		}
	}
	return nil
}

func readTile(read ReadFunc, level, index int64) ([]Hash, error) {
	data, err := read(level, index)
	if err != nil {
		return nil, fmt.Errorf("reading ledger tile %d/%d: %w", level, index, err)
	}
	if len(data) != 256*tlog.HashSize {
		return nil, fmt.Errorf("ledger is damaged: tile %d/%d has %d bytes", level, index, len(data))
	}
	return hashesOf(data), nil
}

func hashesOf(data []byte) []Hash {
	hashes := make([]Hash, len(data)/tlog.HashSize)
	for i := range hashes {
		copy(hashes[i][:], data[i*tlog.HashSize:])
	}
	return hashes
}

// reduce is the root of a perfect subtree.
func reduce(hashes []Hash) Hash {
	for len(hashes) > 1 {
		up := make([]Hash, len(hashes)/2)
		for i := range up {
			up[i] = tlog.NodeHash(hashes[2*i], hashes[2*i+1])
		}
		hashes = up
	}
	return hashes[0]
}

// Reader reads single nodes of a tree, for proofs.
func (t *Tree) Reader(read ReadFunc) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]Hash, error) {
		out := make([]Hash, len(indexes))
		for i, index := range indexes {
			tile := tlog.TileForIndex(tileHeight, index)
			var data []byte
			if width := tile.N * 256; width+256 <= t.size>>(tileHeight*tile.L) {
				var err error
				if data, err = read(int64(tile.L), tile.N); err != nil {
					return nil, err
				}
				tile.W = 256
			} else {
				data = t.Partial(int64(tile.L)).Data()
				tile.W = len(data) / tlog.HashSize
			}
			h, err := tlog.HashFromTile(tile, data, index)
			if err != nil {
				return nil, err
			}
			out[i] = h
		}
		return out, nil
	})
}
