package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sys/unix"
)

// channel is where everyone who follows the database is told that something was committed, and words what nodes tell each other.
const (
	channel = "lanyard"
	words   = "lanyard_words"
)

// leadLock is held by the one node that does what is to be done once; usingLock, shared, by every node that runs on a store; schemaLock by who makes or changes its tables.
// The numbers mean nothing: they must be nobody else's.
const (
	schemaLock = "781402390, hashtext(COALESCE(current_schema(), ''))"
	leadLock   = "781402392, hashtext(COALESCE(current_schema(), ''))"
	usingLock  = "781402391, hashtext(COALESCE(current_schema(), ''))"
)

// postgres is PostgreSQL, which any number of control nodes may share. Whoever
// writes holds the head first, so that there is one writer at a time, as in
// SQLite, and every statement after that sees all that was committed before.
var postgres = engine{
	name: "postgres",
	// Names are compared byte by byte, as SQLite does.
	words:   strings.NewReplacer("{{key}}", `TEXT COLLATE "C"`, "{{int}}", "BIGINT", "{{bool}}", "BIGINT", "{{bytes}}", "BYTEA", "{{strict}}", ""),
	open:    openPostgres,
	write:   sql.TxOptions{Isolation: sql.LevelReadCommitted},
	read:    sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
	unique:  sqlState("23505"),
	foreign: sqlState("23503"),
	missing: sqlState("42P01"),
	full:    sqlState("53100"),
	broken:  func(error) bool { return false }, // the server ends itself when a write fails, and recovers
	shared:  true,
	lost:    lostPostgres,
	hold:    " FOR UPDATE",
	told:    " RETURNING pg_notify('" + channel + "', '%s')",
	bulk:    "INSERT INTO events (seq, id, leaf) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])",
	alone:   "SELECT pg_advisory_xact_lock(" + schemaLock + ")",
	follow:  (*DB).listen,
	search:  trigrams,
}

func sqlState(codes ...string) func(error) bool {
	return func(err error) bool {
		var e *pgconn.PgError
		return errors.As(err, &e) && slices.Contains(codes, e.Code)
	}
}

// lostPostgres: the connection is gone, cannot be made, or was ended by the server.
func lostPostgres(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch e.Code {
		case "57P01", "57P02", "57P03", "57P05", "25P03", "53300", "55P03", "57014", "25006": // ended, starting, idle too long, too many, busy, a standby
			return true
		}
		return strings.HasPrefix(e.Code, "08")
	}
	var n net.Error
	var c *pgconn.ConnectError
	return errors.As(err, &n) || errors.As(err, &c) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, pgconn.ErrConnClosed) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded)
}

// postgresConfig reads postgres://… and adds what is not to depend on how the server is set up.
func postgresConfig(database string) (*pgx.ConnConfig, error) {
	u, err := url.Parse(database)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("the database is no URL like postgres://lanyard@db.example.com/lanyard") // the cause could quote a password
	}
	if !u.Query().Has("sslmode") && !u.Query().Has("ssl") && os.Getenv("PGSSLMODE") == "" {
		// The usual "prefer" goes on without TLS when somebody in between wants that.
		q, mode := u.Query(), "verify-full"
		if local(u) {
			mode = "prefer"
		}
		q.Set("sslmode", mode)
		u.RawQuery = q.Encode()
	}
	c, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Control: unheard}
	c.DialFunc = dialer.DialContext
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	// What a standby shows may be old: a lease that stands on it goes on beyond its bound, and no write gets through.
	asked := c.ValidateConnect
	c.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if err := pgconn.ValidateConnectTargetSessionAttrsPrimary(ctx, conn); err != nil || asked == nil {
			return err
		}
		return asked(ctx, conn)
	}
	for name, value := range map[string]string{"application_name": "lanyard",
		// A node that went away in the midst of a write must not keep the others from theirs, or gateways that turn to them from a lease of the usual length.
		"idle_in_transaction_session_timeout": "5s", "lock_timeout": "20s", "tcp_user_timeout": "10s"} {
		if c.RuntimeParams[name] == "" {
			c.RuntimeParams[name] = value
		}
	}
	return c, nil
}

// unheard has the kernel give a connection up on which nothing that was sent is acknowledged any more.
func unheard(network, _ string, c syscall.RawConn) (err error) {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 10_000) }); e != nil {
		return e
	}
	return err
}

// local reports whether a database is reached without leaving this machine. Where a service file says which, it is not believed to be.
func local(u *url.URL) bool {
	if u.Query().Has("service") || os.Getenv("PGSERVICE") != "" {
		return false
	}
	host := u.Hostname()
	if h := u.Query().Get("host"); h != "" {
		host = h
	}
	if host == "" {
		host = os.Getenv("PGHOST")
	}
	ip := net.ParseIP(host)
	return host == "" || host == "localhost" || strings.HasPrefix(host, "/") || ip != nil && ip.IsLoopback()
}

func openPostgres(c Config) (w, r *sql.DB, err error) {
	config, err := postgresConfig(c.Database)
	if err != nil {
		return nil, nil, err
	}
	writing := config.Copy()
	reading := config.Copy()
	reading.RuntimeParams["idle_in_transaction_session_timeout"] = "0" // a follower may take its time with a snapshot
	w, r = stdlib.OpenDB(*writing, stdlib.OptionAfterConnect(durable)), stdlib.OpenDB(*reading)
	w.SetMaxOpenConns(2) // the second where the first does not answer any more
	w.SetMaxIdleConns(2)
	r.SetMaxOpenConns(16)
	r.SetMaxIdleConns(8)
	return w, r, nil
}

// durable refuses a server that cannot keep what we acknowledge or what we write.
func durable(ctx context.Context, c *pgx.Conn) error {
	var encoding, synchronous string
	if err := c.QueryRow(ctx, "SELECT current_setting('server_encoding'), current_setting('synchronous_commit')").Scan(&encoding, &synchronous); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database is in %s; make one with CREATE DATABASE lanyard TEMPLATE template0 ENCODING 'UTF8'", encoding)
	}
	if synchronous == "off" { // it loses the last commits when the server crashes
		_, err := c.Exec(ctx, "SET synchronous_commit = on")
		return err
	}
	return nil
}

// listen rings the bell when anybody commits. It polls, too: a notification can
// be lost with its connection, and some proxies pass none on.
func (db *DB) listen(begun func()) {
	defer begun()
	defer db.ended.Done()
	const least, most = 50 * time.Millisecond, time.Second
	for wait := least; db.ctx.Err() == nil; wait = min(2*wait, most) {
		err := db.hear(func() { begun(); wait = least })
		begun() // or not to be waited for
		if db.ctx.Err() != nil {
			return
		}
		db.down.Store(&err)
		db.bell.Ring() // whoever follows finds out, and tries again
		select {
		case <-db.ctx.Done():
		case <-time.After(wait):
		}
	}
}

// hear listens on one connection until it breaks. It also shows the others that this node is there.
func (db *DB) hear(heard func()) error {
	config, err := postgresConfig(db.Database)
	if err != nil {
		return err
	}
	ctx, cancel := db.patient(db.ctx)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	for _, statement := range []string{"SET lock_timeout = 0", "SELECT pg_advisory_lock_shared(" + usingLock + ")", "LISTEN " + channel, "LISTEN " + words} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	heard()
	defer db.leads.Store(false)
	for {
		db.bell.Ring()
		if !db.leads.Load() {
			first, err := db.lead(conn)
			if err != nil {
				return err
			}
			db.leads.Store(first)
		}
		if _, err := db.current(db.ctx); err != nil {
			return err
		}
		db.down.Store(nil)
		if err := db.wake(conn); err != nil {
			return err
		}
	}
}

// lead asks to be the one that leads.
func (db *DB) lead(conn *pgx.Conn) (is bool, err error) {
	ctx, cancel := db.patient(db.ctx)
	defer cancel()
	return is, conn.QueryRow(ctx, "SELECT pg_try_advisory_lock("+leadLock+")").Scan(&is)
}

// wake returns when another node has committed, or after a while on a connection that still answers, however much is committed here.
func (db *DB) wake(conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(db.ctx, poll)
	defer cancel()
	for {
		n, err := conn.WaitForNotification(ctx)
		switch {
		case err == nil && n.Channel == words:
			if from, word, _ := strings.Cut(n.Payload, " "); from != db.node {
				if take := db.take.Load(); take != nil {
					(*take)(word)
				}
			}
		case err == nil && n.Payload == db.node: // who committed has rung
		case err == nil:
			return nil
		case ctx.Err() == nil || conn.IsClosed():
			return err
		default:
			ctx, cancel := context.WithTimeout(db.ctx, poll)
			defer cancel()
			return conn.Ping(ctx)
		}
	}
}

// LongestWord is how many bytes a word for other nodes may have.
const LongestWord = 7000

// Tell tells the other nodes on this database a word. It may be lost. Without other nodes it does nothing.
func (db *DB) Tell(ctx context.Context, word string) error {
	if !db.engine.shared {
		return nil
	}
	_, err := db.r.ExecContext(ctx, "SELECT pg_notify($1, $2)", words, db.node+" "+word)
	return db.mapped(err)
}

// OnTold has take called with what other nodes tell. It must not wait for anything.
func (db *DB) OnTold(take func(word string)) { db.take.Store(&take) }

// poll is how long a node believes that nothing was committed when it hears nothing.
const poll = time.Second
