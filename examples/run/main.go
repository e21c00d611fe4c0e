// Command run shows Lanyard at its main job, with the example office behind it:
// it starts both, applies the manifests, and lets a real agent try what it may
// and what it may not. Every line of output is what the command above it printed.
//
//	make run                  then it stays up
//	make run RUN="--once"     then it stops
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type demo struct {
	ctx                context.Context
	bin, data          string
	manifests          string
	listen, gate, desk string // addresses of control plane, gateway and office
	secret             string
	color              bool
	stop               []func()
	ended              chan error // a server ended that should not
}

func main() {
	d := &demo{secret: rand.Text(), ended: make(chan error, 2)}
	flag.StringVar(&d.bin, "bin", "bin", "folder of the binaries")
	flag.StringVar(&d.data, "data", "data", "data folder")
	flag.StringVar(&d.manifests, "manifests", "examples/office", "what to apply")
	flag.StringVar(&d.listen, "listen", "127.0.0.1:8440", "address of the control plane")
	flag.StringVar(&d.gate, "gateway-listen", "127.0.0.1:8441", "address of the gateway")
	flag.StringVar(&d.desk, "office-listen", "127.0.0.1:8442", "address of the office")
	once := flag.Bool("once", false, "stop at the end instead of staying up")
	flag.Parse()
	info, err := os.Stdout.Stat()
	d.color = err == nil && info.Mode()&os.ModeCharDevice != 0
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	d.ctx = ctx
	err = d.run(*once)
	for i := len(d.stop) - 1; i >= 0; i-- {
		d.stop[i]()
	}
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nrun:", err)
		os.Exit(1)
	}
}

func (d *demo) run(once bool) error {
	if err := os.MkdirAll(filepath.Join(d.data, "office"), 0o700); err != nil {
		return err
	}
	d.say("Starting the office (a mailbox, files, a calendar) and Lanyard in front of it")
	if err := d.serve("office", "office.log", "--listen", d.desk); err != nil {
		return err
	}
	if err := d.serve("lanyard", "lanyard.log", "serve", "--data", d.data, "--listen", d.listen, "--gateway-listen", d.gate); err != nil {
		return err
	}
	if err := d.ready(); err != nil {
		return err
	}
	d.begin()
	if err := d.keys(); err != nil {
		return err
	}
	d.say("The manifests say who there is, whose it is, and what it may do")
	if err := errors.Join(d.lanyard("apply", "-f", d.manifests, "--yes"), d.lanyard("identity", "show", "invoice-bot")); err != nil {
		return err
	}
	agent, err := d.agent("invoice-bot")
	if err != nil {
		return err
	}
	type step struct {
		say, task string
		expect    string
	}
	steps := func(list ...step) error {
		for _, s := range list {
			d.say(s.say)
			if _, err := agent(s.task, s.expect); err != nil {
				return err
			}
		}
		return nil
	}
	if err := steps([]step{
		{"The agent, Google's own client library, reads mail through the gateway: that is its job", "read", "messages about invoices"},
		{"A message told it to send the invoices elsewhere. It obeys; the gateway does not", "send", "may not do gmail.users.messages.send"},
		{"The same over MCP: it is told only of the tool it may call, and what it tries besides is refused", "tools", "may not do tools.send_mail"},
		{"Nor may it forward the mailbox, whatever anyone grants: a guardrail", "forward", "It did not work"},
	}...); err != nil {
		return err
	}
	d.say("Why was sending refused, and what would change that?")
	if err := d.lanyard("explain", "invoice-bot", "mail", "--action", "gmail.users.messages.send"); err != nil {
		return err
	}
	if err := steps(step{"The agent starts another for a piece of its work, with an identity of its own, no more rights than it needs, and the agent behind it", "child", "may not do gmail.users.messages.get"}); err != nil {
		return err
	}
	if err := d.approved(agent); err != nil {
		return err
	}
	if err := d.hijacked(); err != nil {
		return err
	}
	d.say("All of it is on record, with whose agent it is")
	time.Sleep(200 * time.Millisecond) // what was only read is on record within 100 ms, not before the reply
	if err := d.lanyard("audit", "search", "--identity", "invoice-bot", "--type", "request", "--limit", "8"); err != nil {
		return err
	}
	d.say("Someone pulls the cord")
	if err := d.lanyard("kill", "invoice-bot", "--reason", "It follows instructions from strangers"); err != nil {
		return err
	}
	d.say("The agent still runs and still holds its token. Its very next call")
	if _, err := agent("read", "It did not work"); err != nil {
		return err
	}
	d.say("And nobody can quietly change what the record says")
	if err := d.lanyard("audit", "verify"); err != nil {
		return err
	}
	if once {
		return nil
	}
	return d.stay()
}

// say prints what comes next.
func (d *demo) say(text string) {
	if d.color {
		fmt.Printf("\n\033[1m%s\033[0m\n", text)
		return
	}
	fmt.Printf("\n== %s\n", text)
}

func (d *demo) prompt(line string) { fmt.Println("$ " + line) }

// serve starts a server that runs until the demo ends.
func (d *demo) serve(program, log string, args ...string) error {
	f, err := os.Create(filepath.Join(d.data, log))
	if err != nil {
		return err
	}
	path := filepath.Join(d.bin, program)
	c := exec.Command(path, args...)
	c.Env = append(os.Environ(), "OFFICE_SECRET="+d.secret)
	c.Stdout, c.Stderr = f, f
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to pass on, in order
	d.prompt(path + " " + strings.Join(args, " "))
	if err := c.Start(); err != nil {
		return err
	}
	done, stopping := make(chan struct{}), make(chan struct{})
	go func() {
		err := c.Wait()
		f.Close()
		close(done)
		select {
		case <-stopping:
		default:
			text, _ := os.ReadFile(f.Name())
			d.ended <- fmt.Errorf("%s ended (%v):\n%s", program, err, text)
		}
	}()
	d.stop = append(d.stop, func() {
		close(stopping)
		c.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(15 * time.Second):
			c.Process.Kill()
			<-done
		}
	})
	return nil
}

func (d *demo) ready() error {
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-d.ended:
			return err
		case <-d.ctx.Done():
			return d.ctx.Err()
		default:
		}
		res, err := http.Get("http://" + d.listen + "/readyz")
		if err != nil {
			continue
		}
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return nil
		}
	}
	return errors.New("lanyard serve did not become ready in 30 s; see " + filepath.Join(d.data, "lanyard.log"))
}

func (d *demo) command(args ...string) *exec.Cmd {
	c := exec.CommandContext(d.ctx, filepath.Join(d.bin, "lanyard"), append([]string{"--data", d.data}, args...)...)
	c.Env = append(os.Environ(), "OFFICE_SECRET="+d.secret)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c
}

func (d *demo) lanyard(args ...string) error {
	d.promptLanyard(args)
	return d.command(args...).Run()
}

func (d *demo) promptLanyard(args []string) {
	line := "lanyard"
	for _, a := range args {
		if strings.ContainsAny(a, " *") {
			a = fmt.Sprintf("%q", a)
		}
		line += " " + a
	}
	d.prompt(line)
}

// keys makes the agents' keys on the first run. After a run that ended with the
// cord pulled, invoice-bot is brought back, with a new key: the old one stays dead.
func (d *demo) keys() error {
	dir := filepath.Join(d.data, "office")
	show := d.command("identity", "show", "invoice-bot", "-o", "json")
	var out strings.Builder
	show.Stdout, show.Stderr = &out, io.Discard
	var bot struct{ State string }
	if show.Run() == nil && json.Unmarshal([]byte(out.String()), &bot) == nil && bot.State == "killed" {
		d.say("The cord was pulled on invoice-bot. It comes back, with a new key: the old one is dead for good")
		if err := d.lanyard("restore", "invoice-bot", "--reason", "the example starts again"); err != nil {
			return err
		}
		for _, name := range []string{"invoice-bot.jwk", "invoice-bot.key.jwk"} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	for _, name := range []string{"invoice-bot", "assistant", "scheduler"} {
		if _, err := os.Stat(filepath.Join(dir, name+".key.jwk")); err == nil {
			continue
		}
		if err := d.lanyard("keygen", name, "--dir", dir); err != nil {
			return err
		}
	}
	return nil
}

// agent starts an agent, which stays the same process, with the same token, all along.
func (d *demo) agent(name string, flags ...string) (func(task, expect string) (said string, err error), error) {
	c := exec.CommandContext(d.ctx, filepath.Join(d.bin, "office-agent"), append([]string{"--issuer", "http://" + d.listen, "--gateway", "http://" + d.gate,
		"--identity", "spiffe://lanyard.local/agent/" + name, "--key", filepath.Join(d.data, "office", name+".key.jwk")}, flags...)...)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	d.stop = append(d.stop, func() { in.Close(); c.Wait() })
	lines := bufio.NewScanner(out)
	return func(task, expect string) (said string, err error) {
		d.prompt("office-agent " + task)
		if _, err := fmt.Fprintln(in, task); err != nil {
			return "", fmt.Errorf("the agent ended: %w", err)
		}
		for lines.Scan() && lines.Text() != "--" {
			fmt.Println(lines.Text())
			said += lines.Text() + "\n"
		}
		if !strings.Contains(said, expect) {
			return said, fmt.Errorf("the agent's %s should have said %q", task, expect)
		}
		return said, nil
	}, nil
}

// stay keeps everything up until Ctrl-C.
func (d *demo) stay() error {
	d.say("It stays up. In another terminal:")
	fmt.Printf(`
  %[1]s status                  how everything stands
  %[1]s audit tail              watch the record
  %[1]s explain scheduler calendar DELETE /calendar/v3/calendars/primary/events/x
  %[1]s restore invoice-bot --reason "..."
  %[1]s doctor                  check this setup

  %[1]s console                 a link to the console, as the administrator
  %[1]s owner sign-in maya      a code for http://%[2]s/console/, as the owner of invoice-bot

  http://%[2]s/openapi.json    the REST API
  docs/guides/agents.md                 bring your own agent

Ctrl-C stops it; make run starts it again, with what is in %[3]s.
`, filepath.Join(d.bin, "lanyard")+d.flag(), d.listen, d.data)
	select {
	case err := <-d.ended:
		return err
	case <-d.ctx.Done():
		fmt.Println()
		return nil
	}
}

func (d *demo) flag() string {
	if d.data == "data" {
		return ""
	}
	return " --data " + d.data
}
