package control

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// Operators come in by two doors: over the network with the admin token, which
// is shown once at the first start, and over the Unix socket as who the kernel
// says they are. There is no password and no default.

const (
	adminPrefix    = "lyd_admin_"
	adminMeta      = "admin.token" // SHA-256 of the token
	operatorHeader = "Lanyard-Operator"
	identityHeader = "Lanyard-Identity"
	chainHeader    = "Lanyard-Chain"
	scopeHeader    = "Lanyard-Scope"
)

// HasAdminToken reports whether an admin token was ever made.
func (p *Plane) HasAdminToken(ctx context.Context) (bool, error) {
	err := p.Store.Read(ctx, func(tx *store.Tx) error { _, err := tx.Meta(adminMeta); return err })
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// NewAdminToken makes the admin token; the one before is dead. It is returned this once and kept as a hash.
func (p *Plane) NewAdminToken(ctx context.Context, by registry.Actor) (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(p.Rand, b[:]); err != nil {
		return "", fmt.Errorf("making the admin token: %w", err)
	}
	secret := adminPrefix + hex.EncodeToString(b[:])
	hash := sha256.Sum256([]byte(secret))
	_, err := p.Store.Write(ctx, func(tx *store.Tx) error {
		id, err := ledger.NewID(p.Rand, tx.Now())
		tx.Record(ledger.Event{ID: id, Time: tx.Now(), Type: "admin.token", Outcome: ledger.Allowed, Actor: by.Name, Source: by.Source,
			Reason: "A new admin token was made; the one before is dead."})
		return errors.Join(err, tx.PutMeta(adminMeta, hash[:]))
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// SignInLink makes a link with which the local administrator signs in at the console, once; the first is good for a day.
func (p *Plane) SignInLink(ctx context.Context, by registry.Actor, first bool) (link AdminLink, err error) {
	_, err = p.do(ctx, by, func(c *registry.Change) error {
		code, expires, err := c.NewAdministrator(first)
		link = AdminLink{p.URL + "/signin?" + url.Values{"code": {code}, "return": {"/console/"}}.Encode(), expires}
		return err
	})
	return link, err
}

// networkOperator says which operator a request over the network is from.
func (p *Plane) networkOperator(r *http.Request) (name string, ok bool) {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || !strings.HasPrefix(given, adminPrefix) || len(r.Header.Values("Authorization")) != 1 {
		return "", false
	}
	hash := sha256.Sum256([]byte(given))
	var want []byte
	err := p.Store.Read(r.Context(), func(tx *store.Tx) (err error) { want, err = tx.Meta(adminMeta); return err })
	return "admin", err == nil && subtle.ConstantTimeCompare(hash[:], want) == 1
}

// localOperator says who is at the other end of the Unix socket, as [LocalListener] found out.
func localOperator(r *http.Request) (string, bool) {
	return r.RemoteAddr, strings.HasPrefix(r.RemoteAddr, localPrefix)
}

const localPrefix = "local:"

// LocalListener opens the Unix socket for operators on this machine: who runs
// this process, and root. An old socket that nobody listens at is replaced.
func LocalListener(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("another process listens at %s", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return localListener{l}, nil
}

type localListener struct{ net.Listener }

func (l localListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if name, err := peer(c); err == nil {
			return localConn{c, name}, nil
		}
		c.Close()
	}
}

// peer asks the kernel who connected (SO_PEERCRED).
func peer(c net.Conn) (string, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return "", errors.New("not a Unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return "", err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || credErr != nil {
		return "", errors.Join(err, credErr)
	}
	if int(cred.Uid) != os.Getuid() && cred.Uid != 0 {
		return "", errors.New("another user")
	}
	uid := strconv.Itoa(int(cred.Uid))
	if who, err := user.LookupId(uid); err == nil {
		return who.Username, nil
	}
	return uid, nil
}

type localConn struct {
	net.Conn
	who string
}

func (c localConn) RemoteAddr() net.Addr { return localAddr(localPrefix + c.who) }

type localAddr string

func (localAddr) Network() string  { return "unix" }
func (a localAddr) String() string { return string(a) }
