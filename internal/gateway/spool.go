package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/lanyard-dev/lanyard/internal/journal"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// Spool is where events wait on disk, sealed, while the control plane cannot be reached.
// An event is durable once [Spool.put] has returned, as it is once it is in the ledger:
// whatever ends this process, or this machine, the next one sends it. It may send one
// twice; the ledger knows an event by its id.
//
// It is files of records, numbered. One record is all that was made durable with one
// fsync, so that a write which did not end is the last record of its file, and none of
// what is in it was ever promised. A file is removed when all of it is in the ledger; one
// in which something cannot be read, or is refused there, is set aside, not removed.
type Spool struct {
	dir, name string
	max       int64
	seal      journal.Sealer
	lock      *os.File
	held      atomic.Int64 // bytes of all files
	files     atomic.Int64 // that are to be sent
	refuses   atomic.Bool  // the last write to it failed, or found no room

	mu      sync.Mutex
	groups  []*group // that wait for the next fsync
	writing bool
	closed  bool

	disk   sync.Mutex // held for what is below, and longer than mu
	file   *os.File   // that is written to; nil: the next write begins one
	number uint64     // of it, or of the last
	places int        // records in it
	size   int64      // of what is whole in it
}

// group is events that become durable together.
type group struct {
	events []ledger.Event
	done   chan error // has room for one
}

const (
	segment  = 1 << 20 // a file that is larger is not added to
	maxGroup = 1024    // events of one fsync
	suffix   = ".events"
	aside    = ".damaged"
)

var errSpoolFull = errors.New("the spool is full")

// OpenSpool opens the spool of the gateway of that name, or makes it. It holds so many
// bytes at most. The error says when another process has it.
func OpenSpool(dir, name string, limit int64, seal journal.Sealer) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the spool: %w", err)
	}
	s := &Spool{dir: dir, name: name, max: limit, seal: seal}
	var err error
	if s.lock, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("opening the spool: %w", err)
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the spool: %s is in use by another process: %w", dir, err), s.lock.Close())
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the spool: %w", err), s.shut())
	}
	for _, e := range entries {
		if n, ok := numbered(e.Name()); ok {
			s.number = max(s.number, n)
			if !strings.HasSuffix(e.Name(), aside) {
				s.files.Add(1)
			}
		}
		if info, err := e.Info(); err == nil {
			s.held.Add(info.Size())
		}
	}
	return s, nil
}

// numbered is the number of a file, whether it can be read or not.
func numbered(name string) (n uint64, ok bool) {
	name = strings.TrimSuffix(name, aside)
	_, err := fmt.Sscanf(name, "%d", &n)
	return n, err == nil && name == fmt.Sprintf("%016d%s", n, suffix)
}

func (s *Spool) path(n uint64) string { return filepath.Join(s.dir, fmt.Sprintf("%016d%s", n, suffix)) }
func (s *Spool) place(n uint64, i int) string {
	return fmt.Sprintf("lanyard spool of %s, file %d, record %d", s.name, n, i)
}

// put returns nil once the events are on disk. Those who wait at the same time share one fsync.
func (s *Spool) put(events []ledger.Event) error {
	g := &group{events, make(chan error, 1)}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errors.New("the spool is closed")
	}
	s.groups = append(s.groups, g)
	begin := !s.writing
	s.writing = true
	s.mu.Unlock()
	if begin {
		go s.write()
	}
	return <-g.done
}

// write makes durable what waits, until nothing does.
func (s *Spool) write() {
	for {
		s.mu.Lock()
		n, count, size := 0, 0, 0
		for n < len(s.groups) {
			more := 0
			for i := range s.groups[n].events {
				more += weight(&s.groups[n].events[i])
			}
			if n > 0 && (count+len(s.groups[n].events) > maxGroup || size+more > load) {
				break
			}
			count, size = count+len(s.groups[n].events), size+more
			n++
		}
		all := s.groups[:n:n]
		s.groups = s.groups[n:]
		if n == 0 {
			s.writing = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		events := make([]ledger.Event, 0, count)
		for _, g := range all {
			events = append(events, g.events...)
		}
		var err error
		if count > 0 { // close waits with none
			err = s.record(events)
			s.refuses.Store(err != nil)
		}
		for _, g := range all {
			g.done <- err
		}
	}
}

// record writes one record and has it on disk. After an error nothing is added to the
// file: what a failed fsync has left of it nobody knows, and another would say that all is well.
func (s *Spool) record(events []ledger.Event) (err error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.file != nil && s.size >= segment {
		s.leave()
	}
	if s.file == nil {
		if s.held.Load() >= s.max {
			return errSpoolFull
		}
		if err := s.begin(); err != nil {
			return fmt.Errorf("spooling events: %w", err)
		}
	}
	plain, err := json.Marshal(events)
	if err != nil {
		return err
	}
	b, err := s.seal.Append(nil, plain, s.place(s.number, s.places))
	if err != nil {
		return err
	}
	if s.held.Load()+int64(len(b)) > s.max {
		return errSpoolFull
	}
	_, err = s.file.Write(b)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		_ = s.file.Truncate(s.size) // else it is torn, and known as that
		if info, e := s.file.Stat(); e == nil {
			s.held.Add(info.Size() - s.size)
		}
		s.leave()
		return fmt.Errorf("spooling events: %w", err)
	}
	s.size += int64(len(b))
	s.held.Add(int64(len(b)))
	s.places++
	return nil
}

func (s *Spool) begin() error {
	f, err := os.OpenFile(s.path(s.number+1), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	s.number++ // also if what follows fails: the name is taken
	s.files.Add(1)
	if err := journal.SyncDir(s.dir); err != nil {
		return errors.Join(err, f.Close())
	}
	s.file, s.places, s.size = f, 0, 0
	return nil
}

// leave ends the file that is written to; what is in it is on disk.
func (s *Spool) leave() {
	_ = s.file.Close() // it was synced, or its end is worth nothing
	s.file = nil
}

// empty reports whether nothing waits.
func (s *Spool) empty() bool { return s.files.Load() == 0 }

// oldest is the number of the first file, 0 for none.
func (s *Spool) oldest() (uint64, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, err
	}
	var all []uint64
	for _, e := range entries {
		if n, ok := numbered(e.Name()); ok && !strings.HasSuffix(e.Name(), aside) {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return 0, nil
	}
	return slices.Min(all), nil
}

// next returns the events of the oldest file, and its number, 0 when there is none. From
// then on nothing is added to it. The error says what of it cannot be read; the rest is there.
func (s *Spool) next() (n uint64, events []ledger.Event, err error) {
	n, err = s.oldest()
	if n == 0 || err != nil {
		return 0, nil, err
	}
	s.disk.Lock()
	if s.file != nil && n == s.number {
		s.leave()
	}
	s.disk.Unlock()
	b, err := os.ReadFile(s.path(n))
	if err != nil {
		return 0, nil, err
	}
	events, err = s.read(n, b)
	return n, events, err
}

func (s *Spool) read(n uint64, b []byte) (events []ledger.Event, damage error) {
	for i := 0; ; i++ {
		plain, rest, err := s.seal.Next(b, s.place(n, i))
		if b = rest; errors.Is(err, io.EOF) || errors.Is(err, journal.ErrTorn) {
			return events, damage
		}
		var some []ledger.Event
		if err == nil {
			err = json.Unmarshal(plain, &some)
		}
		if err != nil {
			damage = fmt.Errorf("record %d of %s: %w", i, s.path(n), err)
			continue
		}
		events = append(events, some...)
	}
}

// done says that all of a file is in the ledger, but what cannot be read, or is not taken, if it is damaged.
func (s *Spool) done(n uint64, damaged bool) error {
	info, err := os.Stat(s.path(n))
	if err != nil {
		return err
	}
	if damaged {
		err = os.Rename(s.path(n), s.path(n)+aside)
	} else {
		err = os.Remove(s.path(n))
	}
	if err != nil {
		return err
	}
	if s.files.Add(-1); !damaged {
		s.held.Add(-info.Size())
	}
	return journal.SyncDir(s.dir)
}

// close refuses what comes, and gives the folder free when what waits is on disk.
func (s *Spool) close() error {
	s.mu.Lock()
	s.closed = true
	last := &group{nil, make(chan error, 1)}
	wait := s.writing
	if wait {
		s.groups = append(s.groups, last)
	}
	s.mu.Unlock()
	if wait {
		<-last.done
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.file != nil {
		s.leave()
	}
	return s.shut()
}

func (s *Spool) shut() error {
	return errors.Join(unix.Flock(int(s.lock.Fd()), unix.LOCK_UN), s.lock.Close())
}
