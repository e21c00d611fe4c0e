// Command guest is all there is on a machine that is to be suspended, but for its kernel: it is process 1, makes the network,
// starts a gateway and does what it is told over the serial line. A line that it writes for the test begins with "guest: ".
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	fmt.Println("guest: failed", run())
	time.Sleep(time.Hour) // the kernel panics when its first process ends; the test ends the machine
}

// run does what there is to do until something goes wrong.
func run() error {
	for dir, kind := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs"} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), unix.Mount(kind, dir, kind, 0, "")); err != nil {
			return fmt.Errorf("mounting %s: %w", dir, err)
		}
	}
	modules, err := filepath.Glob("/modules/*.ko") // they are numbered: each is there before what needs it
	if err != nil {
		return err
	}
	for _, name := range modules {
		b, err := os.ReadFile(name)
		if err == nil {
			err = unix.InitModule(b, "")
		}
		if err != nil {
			return fmt.Errorf("loading %s: %w", name, err)
		}
	}
	if err := errors.Join(address("lo", "127.0.0.1", "255.0.0.0"), address("eth0", "10.0.2.15", "255.255.255.0")); err != nil {
		return err
	}
	// What sleeps is the machine (S3), and not only its processes.
	if err := os.WriteFile("/sys/power/mem_sleep", []byte("deep"), 0); err != nil {
		return fmt.Errorf("this kernel cannot suspend to memory: %w", err)
	}
	var start struct{ Args, Env []string }
	b, err := os.ReadFile("/gateway.json")
	if err == nil {
		err = json.Unmarshal(b, &start)
	}
	if err != nil {
		return err
	}
	c := exec.Command("/lanyard", start.Args...)
	c.Env, c.Stdout, c.Stderr = start.Env, os.Stdout, os.Stderr
	if err := c.Start(); err != nil {
		return err
	}
	go func() {
		fmt.Println("guest: failed the gateway ended:", c.Wait())
	}()
	fmt.Println("guest: up")
	for said := bufio.NewScanner(os.Stdin); said.Scan(); {
		switch said.Text() {
		case "clocks":
			err = clocks("now")
		case "sleep":
			if err = clocks("before"); err == nil {
				err = os.WriteFile("/sys/power/state", []byte("mem"), 0) // until it is woken
			}
			if err == nil {
				err = clocks("after")
			}
		}
		if err != nil {
			return err
		}
	}
	return errors.New("the serial line has ended")
}

// clocks says what time it is by both clocks, and then how long the gateway's lease goes on.
func clocks(when string) error {
	var steady, boot unix.Timespec
	if err := errors.Join(unix.ClockGettime(unix.CLOCK_MONOTONIC, &steady), unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot)); err != nil {
		return err
	}
	res, err := http.Get("http://127.0.0.1:8440/metrics")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if left, ok := strings.CutPrefix(line, "lanyard_gateway_lease_seconds "); ok {
			seconds, err := strconv.ParseFloat(strings.TrimSpace(left), 64)
			if err == nil {
				fmt.Println("guest: clocks", when, steady.Nano(), boot.Nano(), int64(seconds*1e9))
			}
			return err
		}
	}
	return errors.New("the gateway does not say how long its lease goes on")
}

// address gives an interface its address, and has it be up.
func address(name, ip, mask string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, set := range []struct {
		what uint
		ip   string
	}{{unix.SIOCSIFADDR, ip}, {unix.SIOCSIFNETMASK, mask}, {unix.SIOCSIFFLAGS, ""}} {
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if set.ip == "" {
			r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		} else {
			var four [4]byte
			if _, err := fmt.Sscanf(set.ip, "%d.%d.%d.%d", &four[0], &four[1], &four[2], &four[3]); err != nil {
				return err
			}
			if err := r.SetInet4Addr(four[:]); err != nil {
				return err
			}
		}
		if err := unix.IoctlIfreq(fd, set.what, r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
