// Package lossyfs is a file system that forgets. It lives in memory, is mounted
// through FUSE, and keeps for each file what a program reads (live) apart from
// what has reached the disk (disk): a sector moves from live to disk only when
// the file is synced. [FS.Cut] is the power cut: from that instant every
// operation fails, and what it returns is what the disk holds. It can also tear
// the writes that were under way, fail fsync as Linux does (the error is
// reported once, the pages count as clean and never reach the disk), and fill up.
//
// One flat directory, which is what a database needs. A new or renamed name is
// on disk once the file or the directory was synced (as ext4 does it).
package lossyfs

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// Loss is what happens at a power cut to sectors that were not synced.
type Loss int

const (
	DropAll  Loss = iota // none reached the disk
	Reorder              // each reached the disk or did not, by chance
	TornLast             // all did but the last write, of which only the first part did
)

// FS is one file system. It must be made by New.
type FS struct {
	mu       sync.Mutex
	files    map[string]*file // by live name
	disk     map[string]*file // by the name that is on disk
	cut      bool
	failSync bool
	capacity int64 // bytes in all files; 0 is without bound
	last     *file // of the last write, which a power cut may tear
	lastOff  int64
	lastLen  int
	syncs    int
}

type file struct {
	fs.Inode
	fsys  *FS
	live  []byte
	disk  []byte
	dirty map[int64]bool // sectors of live that are not on disk
	sized bool           // the length of live is not on disk
}

// New returns a file system that holds files, all of it on disk.
func New(files map[string][]byte) *FS {
	f := &FS{files: map[string]*file{}, disk: map[string]*file{}}
	for name, b := range files {
		n := f.newFile()
		n.live, n.disk = slices.Clone(b), slices.Clone(b)
		f.files[name], f.disk[name] = n, n
	}
	return f
}

func (f *FS) newFile() *file { return &file{fsys: f, dirty: map[int64]bool{}} }

// Mount serves f at dir until the returned function unmounts it.
func (f *FS) Mount(dir string) (unmount func() error, err error) {
	srv, err := fs.Mount(dir, &root{fsys: f}, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "lossyfs", Name: "lossyfs", MaxWrite: 128 << 10},
	})
	if err != nil {
		return nil, err
	}
	return srv.Unmount, nil
}

// FailSync makes every fsync from now on fail with EIO, or work again.
func (f *FS) FailSync(on bool) { f.mu.Lock(); f.failSync = on; f.mu.Unlock() }

// Capacity bounds the bytes in all files together; writing past it is ENOSPC. 0 is without bound.
func (f *FS) Capacity(n int64) { f.mu.Lock(); f.capacity = n; f.mu.Unlock() }

// Used is the number of bytes in all files.
func (f *FS) Used() int64 { f.mu.Lock(); defer f.mu.Unlock(); return f.used() }

// Syncs counts the syncs that succeeded.
func (f *FS) Syncs() int { f.mu.Lock(); defer f.mu.Unlock(); return f.syncs }

func (f *FS) used() (n int64) {
	for _, x := range f.files {
		n += int64(len(x.live))
	}
	return n
}

// Cut is the power cut. Every later operation fails with EIO. It returns what is on disk.
func (f *FS) Cut(loss Loss, r *rand.Rand) map[string][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = true
	names := maps.Clone(f.disk)
	if loss != DropAll {
		for name, x := range f.files {
			if loss == TornLast || r.IntN(2) == 0 {
				names[name] = x
			}
		}
	}
	image := map[string][]byte{}
	for name, x := range names {
		switch loss {
		case Reorder:
			x.sync(func(int64) bool { return r.IntN(2) == 0 })
		case TornLast:
			keep := int64(1 << 62)
			if x == f.last && f.lastLen > 0 {
				keep = (f.lastOff + r.Int64N(int64(f.lastLen))) / sector
			}
			x.sync(func(s int64) bool { return s < keep || s > (f.lastOff+int64(f.lastLen)-1)/sector })
		}
		image[name] = x.disk
	}
	return image
}

// sync brings the dirty sectors that keep names to the disk, and the length.
func (x *file) sync(keep func(int64) bool) {
	end := int64(len(x.disk))
	if x.sized {
		end = int64(len(x.live))
	}
	for _, s := range slices.Sorted(maps.Keys(x.dirty)) {
		if !keep(s) {
			continue
		}
		from, to := s*sector, min((s+1)*sector, int64(len(x.live)))
		if from >= to {
			continue
		}
		x.disk = grow(x.disk, to)
		copy(x.disk[from:to], x.live[from:to])
		end = max(end, to)
	}
	x.disk = grow(x.disk, end)[:end]
	clear(x.dirty)
	x.sized = false
}

func grow(b []byte, n int64) []byte {
	if int64(len(b)) >= n {
		return b
	}
	return append(b, make([]byte, n-int64(len(b)))...)
}

// root is the one directory.
type root struct {
	fs.Inode
	fsys *FS
}

var (
	_ fs.NodeOnAdder   = (*root)(nil)
	_ fs.NodeCreater   = (*root)(nil)
	_ fs.NodeUnlinker  = (*root)(nil)
	_ fs.NodeRenamer   = (*root)(nil)
	_ fs.NodeFsyncer   = (*root)(nil)
	_ fs.NodeOpener    = (*file)(nil)
	_ fs.NodeReader    = (*file)(nil)
	_ fs.NodeWriter    = (*file)(nil)
	_ fs.NodeFsyncer   = (*file)(nil)
	_ fs.NodeGetattrer = (*file)(nil)
	_ fs.NodeSetattrer = (*file)(nil)
)

func (d *root) OnAdd(ctx context.Context) {
	for name, x := range d.fsys.files {
		d.AddChild(name, d.NewPersistentInode(ctx, x, fs.StableAttr{Mode: syscall.S_IFREG}), true)
	}
}

func (d *root) Create(ctx context.Context, name string, _ uint32, _ uint32, _ *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	d.fsys.mu.Lock()
	defer d.fsys.mu.Unlock()
	if d.fsys.cut {
		return nil, nil, 0, syscall.EIO
	}
	x := d.fsys.newFile()
	d.fsys.files[name] = x
	return d.NewPersistentInode(ctx, x, fs.StableAttr{Mode: syscall.S_IFREG}), nil, 0, 0
}

func (d *root) Unlink(_ context.Context, name string) syscall.Errno {
	d.fsys.mu.Lock()
	defer d.fsys.mu.Unlock()
	if d.fsys.cut {
		return syscall.EIO
	}
	delete(d.fsys.files, name)
	return 0
}

func (d *root) Rename(_ context.Context, name string, _ fs.InodeEmbedder, to string, _ uint32) syscall.Errno {
	d.fsys.mu.Lock()
	defer d.fsys.mu.Unlock()
	if d.fsys.cut {
		return syscall.EIO
	}
	d.fsys.files[to] = d.fsys.files[name]
	delete(d.fsys.files, name)
	return 0
}

// Fsync of the directory brings all names to the disk, removals too.
func (d *root) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	d.fsys.mu.Lock()
	defer d.fsys.mu.Unlock()
	if d.fsys.cut || d.fsys.failSync {
		return syscall.EIO
	}
	d.fsys.disk = maps.Clone(d.fsys.files)
	return 0
}

func (x *file) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	x.fsys.mu.Lock()
	defer x.fsys.mu.Unlock()
	if x.fsys.cut {
		return nil, 0, syscall.EIO
	}
	return nil, 0, 0
}

func (x *file) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	x.fsys.mu.Lock()
	defer x.fsys.mu.Unlock()
	if x.fsys.cut {
		return nil, syscall.EIO
	}
	if off >= int64(len(x.live)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, x.live[off:])]), 0
}

func (x *file) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	f := x.fsys
	f.mu.Lock()
	defer f.mu.Unlock()
	end := off + int64(len(data))
	if f.cut {
		return 0, syscall.EIO
	}
	if more := end - int64(len(x.live)); f.capacity > 0 && more > 0 && f.used()+more > f.capacity {
		return 0, syscall.ENOSPC
	}
	x.sized = x.sized || end > int64(len(x.live))
	x.live = grow(x.live, end)
	copy(x.live[off:], data)
	for s := off / sector; s*sector < end; s++ {
		x.dirty[s] = true
	}
	f.last, f.lastOff, f.lastLen = x, off, len(data)
	return uint32(len(data)), 0
}

func (x *file) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	f := x.fsys
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut {
		return syscall.EIO
	}
	if f.failSync {
		clear(x.dirty) // as Linux does: the pages count as clean, the disk never sees them
		return syscall.EIO
	}
	x.sync(func(int64) bool { return true })
	for name, y := range f.files {
		if y == x {
			f.disk[name] = x
		}
	}
	if f.last == x {
		f.lastLen = 0
	}
	f.syncs++
	return 0
}

func (x *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	x.fsys.mu.Lock()
	defer x.fsys.mu.Unlock()
	out.Mode, out.Size, out.Blksize = syscall.S_IFREG|0o600, uint64(len(x.live)), 4096
	return 0
}

func (x *file) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if errno := x.truncate(int64(size)); errno != 0 {
			return errno
		}
	}
	return x.Getattr(ctx, h, out)
}

func (x *file) truncate(size int64) syscall.Errno {
	f := x.fsys
	f.mu.Lock()
	defer f.mu.Unlock()
	more := size - int64(len(x.live))
	switch {
	case f.cut:
		return syscall.EIO
	case f.capacity > 0 && more > 0 && f.used()+more > f.capacity:
		return syscall.ENOSPC
	}
	x.live = slices.Clip(grow(x.live, size)[:size]) // clipped: growing again must read zeros
	x.sized = true
	return 0
}
