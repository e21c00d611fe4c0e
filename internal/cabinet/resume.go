package cabinet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanyard-dev/lanyard/internal/bridge"
	"github.com/lanyard-dev/lanyard/internal/dav"
	"github.com/lanyard-dev/lanyard/internal/extent"
)

// Content that comes in several requests (resumable uploads). WebDAV takes a file in one, so what has come lies in a
// file here until all of it is there, and then goes to the server at once. The file has no name: it is nobody else's to
// open, and gone with the process. How far an upload is, is known in memory alone; one that is not known any more begins again.

const (
	maxComing    = 1000             // uploads that have begun
	comingLife   = 24 * time.Hour   // of one that nobody goes on with
	comingIdle   = 10 * time.Minute // one that lay idle for that long makes room for another when there is none
	maxOneUpload = maxUpload
	deliverTime  = time.Hour // for all of it to reach the server
)

// comings are the uploads that have begun, by name.
type comings struct {
	mu   sync.Mutex
	of   map[string]*coming
	room int64
	held atomic.Int64 // bytes of them that lie here
	shut bool
}

// coming is one of them. Who has taken busy may touch what stands below it.
type coming struct {
	id     string
	makes  bool // a new file; else it changes target
	target target
	upload upload // without its content

	used  time.Time // guarded by comings.mu
	timer *time.Timer

	busy  chan struct{} // has room for one
	gone  bool          // it was given up
	file  *os.File      // nil before the first byte
	held  int64         // bytes that count for it
	have  int64         // bytes that have come
	total int64         // -1: nobody has said yet
	done  chan struct{} // closed when it has been delivered, or could not be; nil before all of it is there
	made  any           // what became of it
	err   error
}

var errUnknown = &bridge.Failure{Status: http.StatusNotFound, Message: "There is no such upload any more: begin it again."}

// add keeps an upload under a name of its own. When there are too many, the one that lay idle longest makes room.
func (s *comings) add(c *coming) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(s.of) >= maxComing && !s.displace(now, func(*coming) bool { return true }) {
		return &bridge.Failure{Status: http.StatusTooManyRequests, Message: "Too many uploads have begun; try again in a while."}
	}
	if s.shut {
		return errUnknown
	}
	if s.of == nil {
		s.of = map[string]*coming{}
	}
	c.id, c.used, c.busy = rand.Text(), now, make(chan struct{}, 1)
	c.timer = time.AfterFunc(comingLife, func() { s.lapse(c) })
	s.of[c.id] = c
	return nil
}

// displace drops, of those that which names, the upload that lay idle longest, if that was long enough. One that somebody is busy with does not lie idle.
func (s *comings) displace(now time.Time, which func(*coming) bool) bool {
	var idle *coming
	for _, c := range s.of {
		if now.Sub(c.used) < comingIdle || idle != nil && !c.used.Before(idle.used) {
			continue
		}
		select {
		case c.busy <- struct{}{}:
			if which(c) {
				idle = c
			}
			<-c.busy
		default:
		}
	}
	if idle != nil {
		s.drop(idle)
	}
	return idle != nil
}

// crowded has content that nobody goes on with make room for other.
func (s *comings) crowded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.displace(time.Now(), func(c *coming) bool { return c.file != nil && c.done == nil })
}

// find is the upload of that name, which is in use from now on.
func (s *comings) find(id string) (*coming, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.of[id]
	if c == nil {
		return nil, errUnknown
	}
	c.used = time.Now()
	c.timer.Reset(comingLife)
	return c, nil
}

func (s *comings) lapse(c *coming) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(c)
}

// drop forgets c. Its content goes when whoever is busy with it has done.
func (s *comings) drop(c *coming) {
	if s.of[c.id] != c {
		return
	}
	delete(s.of, c.id)
	c.timer.Stop()
	go func() {
		c.busy <- struct{}{}
		c.gone = true
		if c.done != nil {
			<-c.done
		}
		s.let(c)
		<-c.busy
	}()
}

// let gives back what of c lies here.
func (s *comings) let(c *coming) {
	if c.file != nil {
		_ = c.file.Close() // it has no name: that is its end
		c.file = nil
		s.held.Add(-c.held)
	}
}

func (s *comings) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	for _, c := range s.of {
		s.drop(c)
	}
}

// begin begins an upload. What can be told by now that would keep it from becoming a file is told now.
func (k *Cabinet) begin(w http.ResponseWriter, r *http.Request) (any, error) {
	if base, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); r.ContentLength != 0 && (err != nil || base != "application/json") {
		return nil, bridge.Invalid("what begins a resumable upload is JSON, or nothing")
	}
	b, err := readAll(r.Body, maxJSON)
	if err != nil {
		return nil, err
	}
	c := &coming{makes: r.Method == http.MethodPost, target: named(r), total: -1}
	if c.upload.metadata, err = readMetadata(b); err != nil {
		return nil, err
	}
	c.upload.kind, _, _ = mime.ParseMediaType(r.Header.Get("X-Upload-Content-Type"))
	if said := r.Header.Get("X-Upload-Content-Length"); said != "" {
		n, ok := extent.Number(said)
		if !ok {
			return nil, bridge.Invalid("X-Upload-Content-Length is not a number of bytes")
		}
		if err := k.fits(n); err != nil {
			return nil, err
		}
		c.total = n
	}
	ctx, done := context.WithTimeout(r.Context(), patience)
	defer done()
	switch kind := c.upload.Kind; {
	case kind == folder:
		return nil, errContent
	case strings.HasPrefix(kind, "application/vnd.google-apps."):
		return nil, errDocument
	case c.makes:
		_, err = k.goal(ctx, c.upload.metadata)
	default:
		var f *file
		if f, _, err = k.changing(ctx, c.target, c.upload.metadata); err == nil && f.folder {
			err = errContent
		}
	}
	if err == nil {
		err = k.comings.add(c)
	}
	if err != nil {
		return nil, err
	}
	w.Header().Set("Location", "http://"+r.Host+r.URL.EscapedPath()+"?uploadType=resumable&upload_id="+c.id)
	w.WriteHeader(http.StatusOK)
	return sent{}, nil
}

// fits refuses what is larger than ever finds room here.
func (k *Cabinet) fits(n int64) error {
	if n > min(maxOneUpload, k.Room) {
		return &bridge.Failure{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("A file may have %d bytes when it comes in several requests.", min(maxOneUpload, k.Room))}
	}
	return nil
}

// comes takes a part of an upload, says how far it is, or gives it up.
func (k *Cabinet) comes(w http.ResponseWriter, r *http.Request) (any, error) {
	c, err := k.comings.find(r.URL.Query().Get("upload_id"))
	if err != nil {
		return nil, err
	}
	if c.makes != (r.PathValue("file") == "") || c.target.id != r.PathValue("file") {
		return nil, errUnknown
	}
	if r.Method == http.MethodDelete {
		k.comings.lapse(c)
		w.WriteHeader(499) // Google's answer
		return sent{}, nil
	}
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if c.gone {
		return nil, errUnknown
	}
	if c.done == nil {
		if err := k.take(c, r); err != nil {
			return nil, err
		}
	}
	if c.total >= 0 && c.have == c.total {
		return k.whole(c, r)
	}
	if c.have > 0 {
		w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", c.have-1))
	}
	status := http.StatusPermanentRedirect
	if r.Header.Get("X-GUploader-No-308") == "yes" { // to this client it would be a redirect
		w.Header().Set("X-HTTP-Status-Code-Override", "308")
		status = http.StatusOK
	}
	w.WriteHeader(status)
	return sent{}, nil
}

// take adds what r brings to what has come. What was there already is passed over; a part that is cut off stays as far as it came.
func (k *Cabinet) take(c *coming, r *http.Request) error {
	if r.ContentLength < 0 {
		return &bridge.Failure{Status: http.StatusLengthRequired, Message: "A part of an upload says its length."}
	}
	p := extent.Part{First: 0, Last: r.ContentLength - 1, Total: r.ContentLength}
	if said := r.Header.Values("Content-Range"); len(said) > 0 {
		var err error
		if p, err = extent.Parse(said[0]); err != nil || len(said) > 1 {
			return bridge.Invalid("Invalid Content-Range.")
		}
	}
	switch {
	case p.Size() != r.ContentLength:
		return bridge.Invalid("The request has another length than its Content-Range.")
	case p.Total >= 0 && (c.total >= 0 && p.Total != c.total || p.Total < c.have), c.total >= 0 && p.Last >= c.total:
		return bridge.Invalid("The Content-Range is of another length than the upload.")
	case p.First > c.have:
		return bridge.Invalid("The Content-Range begins at %d, and %d bytes have come.", p.First, c.have)
	}
	if err := k.fits(max(p.Total, p.Last+1)); err != nil {
		return err
	}
	if p.Total >= 0 {
		c.total = p.Total
	}
	if p.Asks() || p.Last < c.have {
		return nil
	}
	if _, err := io.CopyN(io.Discard, r.Body, c.have-p.First); err != nil {
		return bridge.Invalid("The part is cut off.")
	}
	if c.file == nil {
		var err error
		if c.file, err = nameless(k.Spool); err != nil {
			return k.unkept(err)
		}
	}
	n, err := io.Copy(io.NewOffsetWriter(c.file, c.have), &roomy{r.Body, c, &k.comings})
	c.have += n
	var full *bridge.Failure
	var disk *fs.PathError
	switch {
	case errors.As(err, &full):
		return full
	case errors.As(err, &disk):
		return k.unkept(err)
	case err != nil || c.have != p.Last+1:
		return bridge.Invalid("The part is cut off.")
	}
	return nil
}

// unkept is what is told when the disk does not take what comes; it may later.
func (k *Cabinet) unkept(err error) error {
	k.Log.Warn("keeping a part of an upload", "error", err)
	return &bridge.Failure{Status: http.StatusServiceUnavailable, Message: "What comes cannot be kept at the moment; go on with the upload later."}
}

// nameless makes a file that only this process has, and that is gone when it is closed.
func nameless(folder string) (*os.File, error) {
	f, err := os.CreateTemp(folder, "lanyard-upload-*") // 0600
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// roomy reads what there is room for.
type roomy struct {
	io.Reader
	c *coming
	s *comings
}

func (r *roomy) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.s.held.Add(int64(n)) > r.s.room {
		r.s.held.Add(-int64(n))
		r.s.crowded()
		return 0, &bridge.Failure{Status: http.StatusServiceUnavailable, Message: "There is no room for more at the moment; go on with the upload later."}
	}
	r.c.held += int64(n)
	return n, err
}

// whole has the server get what has come, once, and waits for it as long as r does: who asks again hears what became of it.
func (k *Cabinet) whole(c *coming, r *http.Request) (any, error) {
	if c.done == nil {
		c.done = make(chan struct{})
		u := c.upload
		u.size = c.total
		if u.content = strings.NewReader(""); c.file != nil {
			u.content = io.NewSectionReader(c.file, 0, c.total)
		}
		go func() {
			ctx, end := context.WithTimeout(context.Background(), deliverTime)
			defer end()
			if c.makes {
				c.made, c.err = k.make(ctx, u)
			} else {
				c.made, c.err = k.change(ctx, c.target, u)
			}
			close(c.done)
		}()
	}
	select {
	case <-c.done:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if c.err != nil && again(c.err) { // what has come is still there, and who asks tries anew
		err := c.err
		c.done, c.err = nil, nil
		return nil, err
	}
	k.comings.let(c)
	return c.made, c.err
}

// again reports whether what failed may be done when it is tried once more.
func again(err error) bool {
	var no *bridge.Failure
	code := dav.Code(err)
	return !errors.As(err, &no) && (code == 0 || code >= 500 || code == http.StatusTooManyRequests || code == http.StatusLocked)
}
