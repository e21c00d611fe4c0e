// Package skew builds a Go program whose wall clock a test can step while it runs. The program
// is what it is, but that time.Now adds what is in a file; the monotonic clock is left alone, as it is when an
// administrator sets a machine's clock. Nothing else on the machine sees it.
package skew

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Variable names the file in the environment of the program.
const Variable = "LANYARD_TEST_SKEW"

// What is put into package time.
const (
	before = "sec, nsec, mono := runtimeNow()"
	after  = "sec, nsec, mono := skewedNow()"
	more   = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var skewed = func() *atomic.Int64 {
	name, ok := syscall.Getenv("` + Variable + `")
	if !ok {
		return nil
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("` + Variable + `: " + err.Error())
	}
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("` + Variable + `: " + err.Error())
	}
	return (*atomic.Int64)(unsafe.Pointer(&b[0]))
}()

func skewedNow() (sec int64, nsec int32, mono int64) {
	sec, nsec, mono = runtimeNow()
	if skewed == nil {
		return
	}
	n := int64(nsec) + skewed.Load()%1e9
	sec += skewed.Load() / 1e9
	switch {
	case n < 0:
		n, sec = n+1e9, sec-1
	case n >= 1e9:
		n, sec = n-1e9, sec+1
	}
	return sec, int32(n), mono
}
`
)

// Build builds the package in dir to the program bin. It keeps what it needs in a folder for that.
func Build(bin, dir, scratch string) error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	of := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(of, "time.go"))
	if err != nil {
		return err
	}
	if bytes.Count(source, []byte(before)) != 1 {
		return errors.New("this Go reads its clock in another way: package skew has to be made anew for it")
	}
	patched, added, overlay := filepath.Join(scratch, "time.go"), filepath.Join(scratch, "skewed.go"), filepath.Join(scratch, "overlay.json")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(of, "time.go"): patched, filepath.Join(of, "zz_skewed.go"): added}})
	if err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile(patched, bytes.Replace(source, []byte(before), []byte(after), 1), 0o600),
		os.WriteFile(added, []byte(more), 0o600), os.WriteFile(overlay, list, 0o600)); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-trimpath", "-overlay", overlay, "-o", bin, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build -overlay: %w: %s", err, out)
	}
	return nil
}

// Clock is the file that says how far a program's clock is off.
type Clock string

// Make makes the file: the clock is right.
func (c Clock) Make() error { return os.WriteFile(string(c), make([]byte, 8), 0o644) }

// Step sets how far the clock is off, at once for all who run with it.
func (c Clock) Step(by time.Duration) error {
	f, err := os.OpenFile(string(c), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(by)), 0) // one page, one write: nobody sees half of it
	return errors.Join(err, f.Close())
}
