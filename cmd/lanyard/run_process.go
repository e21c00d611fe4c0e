package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// passed are the variables that a command started by us inherits. The rest stays
// here, because inherited variables are how keys leak into agents.
var passed = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TERM", "COLORTERM", "NO_COLOR", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// secretName is how variables are called that hold what nobody else should have.
var secretName = regexp.MustCompile(`(?i)(KEY|TOKEN|SECRET|PASSW(OR)?D|CREDENTIALS?)(_|S?$)`)

// cleanEnv is what of all a command inherits: what is named above, LC_..., and more.
// left are the names of the rest that look like secrets.
func cleanEnv(all, more []string) (env, left []string) {
	for _, v := range all {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case slices.Contains(passed, name), strings.HasPrefix(name, "LC_"), slices.Contains(more, name):
			env = append(env, v)
		case secretName.MatchString(name):
			left = append(left, name)
		}
	}
	slices.Sort(left)
	return env, left
}

// leftOut says what was not passed on, in one line; "" when there was nothing to say.
func leftOut(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("lanyard: not passed on: %s; what the command needs of them, give it with --env NAME", printable(strings.Join(names, ", ")))
}

// child is a started command.
type child struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// starter is the one thread that starts commands: with Pdeathsig the kernel ends a
// command when the thread that started it ends, and Go ends threads as it likes.
var starter = sync.OnceValue(func() chan func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// begin starts cmd, which the kernel ends if we are ended before we could. With group it leads a process group of its own.
func begin(cmd *exec.Cmd, group bool) (*child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: group, Pdeathsig: syscall.SIGKILL}
	result := make(chan error)
	starter() <- func() { result <- cmd.Start() }
	if err := <-result; err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_ = cmd.Wait() // how it ended is in ProcessState
	}()
	return c, nil
}

// code is how a command that has ended did, as a shell counts.
func (c *child) code() int {
	if s, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return c.cmd.ProcessState.ExitCode()
}

// endGroup ends a command that leads its own process group, and the whole group.
func (c *child) endGroup(grace time.Duration) {
	pid := c.cmd.Process.Pid
	_ = syscall.Kill(-pid, syscall.SIGTERM) // it may have ended
	select {
	case <-c.done:
	case <-time.After(grace):
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	<-c.done
	for {
		if n, err := syscall.Wait4(-pid, nil, syscall.WNOHANG, nil); n <= 0 && !errors.Is(err, syscall.EINTR) {
			return // others of the group are the kernel's to reap, or ours when we are init
		}
	}
}

// adopt makes every orphan of the commands we start our own child, so that endAll
// finds it, and closes our memory, where keys and tokens are, to processes of the same user.
func adopt() error {
	return errors.Join(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}

// below lists every process that descends from pid.
func below(pid int) (all []int) {
	lists, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	if err != nil {
		return nil
	}
	for _, l := range lists {
		b, err := os.ReadFile(l)
		if err != nil {
			continue // that thread has ended
		}
		for f := range strings.FieldsSeq(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				all = append(append(all, n), below(n)...)
			}
		}
	}
	return all
}

// endAll ends every process that descends from us, whatever group or session it
// went to. Once done is closed nobody else waits for one of them.
func endAll(done <-chan struct{}, grace time.Duration) {
	for sig, deadline := syscall.SIGTERM, time.Now().Add(grace); ; time.Sleep(10 * time.Millisecond) {
		select {
		case <-done:
			for {
				if n, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); n <= 0 && !errors.Is(err, syscall.EINTR) {
					break
				}
			}
		default: // while it runs, its own Wait must get its status
		}
		rest := below(os.Getpid())
		if len(rest) == 0 {
			return
		}
		if time.Now().After(deadline) {
			sig = syscall.SIGKILL
		}
		if sig != 0 {
			for _, pid := range rest {
				_ = syscall.Kill(pid, sig) // it may have ended
			}
		}
		if sig == syscall.SIGTERM {
			sig = 0 // asked once
		}
	}
}
