package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// Limits of one session.
const (
	maxPosted  = 4 << 20          // bytes of a client's message, as the gateway has it
	maxWritten = 16 << 20         // bytes of a server's message
	maxGarbage = 100              // lines of a server that are no messages
	maxHeld    = 64               // messages that wait for a client which listens
	maxNotes   = 100              // lines of a server's stderr in a minute that are logged
	noteLength = 1000             // bytes of one that are logged
	unread     = 10 * time.Second // how long a server may leave its input unread
	unwritten  = time.Minute      // how long a client may leave an event unread that fits no buffer
	endGrace   = 2 * time.Second  // what a process has to end in, when its input is closed and when it is told to
)

// stdioSession is one session and its process. tend runs as long as both do.
type stdioSession struct {
	id   string
	host *stdioHost
	in   chan []byte
	done chan struct{} // closed by stop
	once sync.Once
	why  string // it was stopped
	gone sync.WaitGroup

	mu       sync.Mutex
	pending  map[string]*outbox // requests of the client that wait for their answer
	turn     int
	standing *outbox  // the client's GET
	held     [][]byte // what nobody listens to yet
	busy     int      // requests that are served
	timer    *time.Timer
}

// outbox is where messages of the server go: the reply to one request of HTTP.
type outbox struct {
	request posted // whose answer is the last; none for a GET
	turn    int
	lines   chan []byte
	gone    chan struct{} // closed when the client has left
	over    chan struct{} // closed when nothing follows
	once    sync.Once
}

func newOutbox(p posted) *outbox {
	return &outbox{request: p, lines: make(chan []byte, maxHeld), gone: make(chan struct{}), over: make(chan struct{})}
}

func (o *outbox) finish() { o.once.Do(func() { close(o.over) }) }

// start starts the process and what carries its messages.
func (s *stdioSession) start() error {
	var ends [6]*os.File
	for i := 0; i < 6; i += 2 {
		var err error
		if ends[i], ends[i+1], err = os.Pipe(); err != nil {
			return err
		}
	}
	inR, inW, outR, outW, errR, errW := ends[0], ends[1], ends[2], ends[3], ends[4], ends[5]
	cmd := exec.Command(s.host.command[0], s.host.command[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = s.host.env, inR, outW, errW
	c, err := begin(cmd, true)
	for _, theirs := range []*os.File{inR, outW, errW} {
		theirs.Close()
	}
	if err != nil {
		for _, ours := range []*os.File{inW, outR, errR} {
			ours.Close()
		}
		return err
	}
	s.host.log.Info("session begins", "session", s.id[:6], "pid", cmd.Process.Pid)
	s.mu.Lock()
	s.timer = time.AfterFunc(s.host.idle, s.idle)
	s.mu.Unlock()
	s.gone.Add(1)
	go s.tend(c, inW, outR, errR)
	return nil
}

// tend looks after the process until it and its whole group have ended, and then answers what still waits.
func (s *stdioSession) tend(c *child, inW, outR, errR *os.File) {
	defer s.gone.Done()
	read := make(chan struct{})
	go func() { defer close(read); s.read(outR) }()
	go s.notes(errR)
	go s.write(inW)
	why := ""
	select {
	case <-c.done:
		why = "the MCP server ended (" + c.cmd.ProcessState.String() + ")"
	case <-s.done:
		inW.Close() // so a server on standard input is asked to end
		select {
		case <-c.done:
		case <-time.After(endGrace):
		}
	}
	c.endGroup(endGrace)
	select { // what it said before it ended still counts
	case <-read:
	case <-time.After(time.Second):
	}
	s.end(why)
	for _, f := range []*os.File{inW, outR, errR} {
		f.Close()
	}
	<-read
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
	for _, o := range s.pending {
		b, err := jsonrpc.EncodeMessage(&jsonrpc.Response{ID: o.request.request.ID, Error: &jsonrpc.Error{Code: codeServer, Message: s.why + "; begin another session"}})
		if err == nil {
			select {
			case o.lines <- b:
			default: // its client reads nothing
			}
		}
		o.finish()
	}
	if s.standing != nil {
		s.standing.finish()
	}
	s.host.ended(s)
	s.host.log.Info("session ends", "session", s.id[:6], "why", printable(s.why))
}

// end stops the session: nobody finds it any more, and its process is ended.
func (s *stdioSession) end(why string) {
	s.once.Do(func() {
		s.why = why
		s.host.forget(s)
		close(s.done)
	})
}

var errEnded = errors.New("the session has ended; begin another")

// send hands a message to the process.
func (s *stdioSession) send(line []byte) error {
	s.touch(0)
	late := time.NewTimer(unread)
	defer late.Stop()
	select {
	case <-s.done:
		return errEnded
	case s.in <- line:
		return nil
	case <-late.C:
		s.end("the MCP server does not read its input")
		return errEnded
	}
}

func (s *stdioSession) write(w *os.File) {
	for {
		select {
		case <-s.done:
			return
		case line := <-s.in:
			if _, err := w.Write(append(line, '\n')); err != nil {
				return // it has ended, or tend has closed it
			}
		}
	}
}

// ask sends a request, whose answer goes to the outbox.
func (s *stdioSession) ask(p posted) (*outbox, error) {
	o := newOutbox(p)
	s.mu.Lock()
	if _, twice := s.pending[p.id]; twice {
		s.mu.Unlock()
		return nil, errors.New("a request with this id still waits for its answer")
	}
	s.turn++
	o.turn = s.turn
	s.pending[p.id] = o
	s.mu.Unlock()
	if err := s.send(p.line); err != nil {
		s.mu.Lock()
		delete(s.pending, p.id)
		s.mu.Unlock()
		return nil, err
	}
	return o, nil
}

// listen is the outbox of a client's GET. A new one takes the place of the old.
func (s *stdioSession) listen() *outbox {
	o := newOutbox(posted{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.standing != nil {
		s.standing.finish()
	}
	s.standing = o
	for _, line := range s.held {
		o.lines <- line // there is room for all
	}
	s.held = nil
	return o
}

// serve writes what comes into the outbox as events, to its end or the client's.
func (s *stdioSession) serve(w http.ResponseWriter, r *http.Request, o *outbox) {
	s.touch(1)
	defer s.touch(-1)
	defer s.leave(o)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	flush := control.Flush
	defer func() { _ = control.SetWriteDeadline(time.Now().Add(unwritten)) }() // for the end of the stream
	write := func(line []byte) bool {
		if control.SetWriteDeadline(time.Now().Add(unwritten)) != nil {
			return false
		}
		_, err := fmt.Fprintf(w, "event: message\ndata: %s\n\n", line)
		return err == nil && flush() == nil
	}
	if flush() != nil {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case line := <-o.lines:
			if !write(line) {
				return
			}
		case <-o.over:
			for len(o.lines) > 0 {
				if !write(<-o.lines) {
					return
				}
			}
			return
		}
	}
}

// leave is called when a client reads no more. A request that has no answer yet can never be answered, so the server is told to stop.
func (s *stdioSession) leave(o *outbox) {
	close(o.gone)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.standing == o {
		s.standing = nil
	}
	if o.request.id == "" || s.pending[o.request.id] != o {
		return
	}
	delete(s.pending, o.request.id)
	if o.request.request.Method == "initialize" { // must not be cancelled (MCP 2025-11-25, cancellation)
		go s.end("its client left while it began")
		return
	}
	params, err := json.Marshal(map[string]any{"requestId": o.request.request.ID.Raw(), "reason": "the client has left"})
	if err != nil {
		return
	}
	b, err := jsonrpc.EncodeMessage(&jsonrpc.Request{Method: "notifications/cancelled", Params: params})
	if err != nil {
		return
	}
	select {
	case s.in <- b:
	default: // it does not read
	}
}

// touch notes that the session is used: by so many requests more.
func (s *stdioSession) touch(more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy += more; s.busy == 0 {
		s.timer.Reset(s.host.idle)
	}
}

func (s *stdioSession) idle() {
	s.mu.Lock()
	unused := s.busy == 0
	s.mu.Unlock()
	if unused {
		s.end("nobody used it for " + s.host.idle.String())
	}
}

// read takes the messages of the process, to its end.
func (s *stdioSession) read(r io.Reader) {
	in := bufio.NewReaderSize(r, 64<<10)
	garbage := 0
	for {
		line, err := readLine(in, maxWritten)
		if errors.Is(err, errLong) {
			s.end(fmt.Sprintf("the MCP server wrote a message of more than %d MB", maxWritten>>20))
			return
		}
		if len(bytes.TrimSpace(line)) > 0 {
			var one bytes.Buffer // on one line, as an event needs it
			e := json.Compact(&one, line)
			var m jsonrpc.Message
			if e == nil {
				m, e = jsonrpc.DecodeMessage(one.Bytes())
			}
			if e == nil {
				s.route(m, one.Bytes())
			} else {
				if garbage++; garbage <= 3 {
					s.host.log.Warn("the server wrote what is no message", "session", s.id[:6], "line", short(line))
				}
				if garbage > maxGarbage {
					s.end("the MCP server writes what are no messages")
					return
				}
			}
		}
		if err != nil {
			return
		}
	}
}

var errLong = errors.New("line too long")

// readLine reads to the next line feed, or most bytes.
func readLine(r *bufio.Reader, most int) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > most {
			return nil, errLong
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// short is what of a server's line goes to the log.
func short(line []byte) string {
	line = bytes.TrimSpace(line)
	return printable(string(line[:min(len(line), noteLength)]))
}

// route sends a message of the server where its client waits for it.
func (s *stdioSession) route(m jsonrpc.Message, line []byte) {
	s.mu.Lock()
	var to *outbox
	last := false
	switch m := m.(type) {
	case *jsonrpc.Response:
		id := idText(m.ID)
		if to, last = s.pending[id], true; to == nil {
			s.mu.Unlock()
			return // answered already, or nobody asked, or who asked has left
		}
		delete(s.pending, id)
	case *jsonrpc.Request:
		if to = s.listener(m); to == nil {
			if len(s.held) < maxHeld {
				s.held = append(s.held, line)
			}
			s.mu.Unlock()
			return
		}
	}
	s.mu.Unlock()
	select { // a client that reads slowly holds up its own session and no other
	case to.lines <- line:
	case <-to.gone:
	case <-s.done:
	}
	if last {
		to.finish()
	}
}

// listener is who hears a notification or a request of the server: the request that
// it tells the progress of, else the only one that waits, else who listens, else the latest.
func (s *stdioSession) listener(m *jsonrpc.Request) *outbox {
	var progress struct {
		Token json.RawMessage `json:"progressToken"`
	}
	_ = json.Unmarshal(m.Params, &progress) // without one it is no progress
	var latest *outbox
	for _, o := range s.pending {
		if m.Method == "notifications/progress" && len(progress.Token) > 0 && o.request.token == string(progress.Token) {
			return o
		}
		if latest == nil || o.turn > latest.turn {
			latest = o
		}
	}
	if s.standing != nil && len(s.pending) != 1 {
		return s.standing
	}
	return latest
}

// notes logs what the process writes to stderr, a bounded part of it.
func (s *stdioSession) notes(r io.Reader) {
	in := bufio.NewReaderSize(r, 4<<10)
	var minute time.Time
	for n := 0; ; {
		line, err := in.ReadSlice('\n') // what is longer comes in pieces
		if now := time.Now(); now.Sub(minute) > time.Minute {
			minute, n = now, 0
		}
		if text := short(line); text != "" {
			if n++; n <= maxNotes {
				s.host.log.Info("the server says", "session", s.id[:6], "line", text)
			} else if n == maxNotes+1 {
				s.host.log.Warn("the server says too much; the rest of this minute is left out", "session", s.id[:6])
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
