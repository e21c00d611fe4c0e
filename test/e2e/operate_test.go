package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/lanyard-dev/lanyard/test/port"
)

// takesTime is an upstream each of whose answers takes a while.
func takesTime(t *testing.T, h *house, d time.Duration) *atomic.Int64 {
	var answered atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(d)
		io.WriteString(w, "done")
		answered.Add(1)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	h.do("upstream", "put", "slow", "--url", s.URL, "--owner", "maya", "--pattern", "GET /work -> work.do read /work")
	h.do("grant", "put", "reader", "work", "--upstream", "slow", "--action", "read")
	return &answered
}

// TestDrain: on SIGTERM /readyz says no at once, what comes within the notice is served as before, what runs ends by itself, and
// nobody who stops sending when /readyz says so loses a request.
func TestDrain(t *testing.T) {
	t.Parallel()
	health := port.Free()
	h := build(t, "--health-listen", health, "--drain-notice", "1s", "--drain", "20s")
	h.settle()
	answered := takesTime(t, h, 50*time.Millisecond)
	ready := func() int {
		res, err := http.Get("http://" + health + "/readyz")
		if err != nil {
			return 0
		}
		res.Body.Close()
		return res.StatusCode
	}
	if ready() != 200 {
		t.Fatal("not ready")
	}
	w := &wire{h: h}
	agent := w.agent("reader")
	var stop, lost, served atomic.Int64
	none := "nothing"
	var first atomic.Pointer[string]
	first.Store(&none)
	var workers sync.WaitGroup
	for n := range 8 {
		client := agent.HTTPClient(h.gate + "/slow")
		workers.Go(func() {
			for stop.Load() == 0 {
				req, err := http.NewRequest("GET", h.gate+"/slow/work", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Close = n%2 == 0 // half of them on a connection of its own each time
				res, err := client.Do(req)
				text := ""
				if err == nil {
					b, e := io.ReadAll(res.Body)
					res.Body.Close()
					if text = string(b); e != nil {
						err = e
					}
				}
				if err != nil || text != "done" {
					lost.Add(1)
					what := fmt.Sprint(err, text)
					first.CompareAndSwap(&none, &what)
					continue
				}
				served.Add(1)
			}
		})
	}
	h.eventually("some were served", func() bool { return served.Load() > 20 })
	before := served.Load()
	h.serve.Process.Signal(syscall.SIGTERM)
	h.eventually("/readyz says no", func() bool { return ready() == 503 })
	h.eventually("what comes is still served", func() bool { return served.Load() > before+16 })
	if ready() != 503 {
		t.Error("/readyz changed its mind")
	}
	stop.Store(1)
	workers.Wait()
	done := make(chan error, 1)
	go func() { done <- h.serve.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%v\n%s", err, h.log)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("it did not stop")
	}
	h.serve = nil
	if lost.Load() > 0 || answered.Load() != served.Load() {
		t.Errorf("%d of %d were lost, the first with %s; the upstream answered %d", lost.Load(), served.Load()+lost.Load(), *first.Load(), answered.Load())
	}
}

// TestDrainRunning: without a notice, a request that runs at SIGTERM ends by itself, while nothing new is taken; a second signal cuts it.
func TestDrainRunning(t *testing.T) {
	t.Parallel()
	h := build(t, "--drain", "60s")
	h.settle()
	answered := takesTime(t, h, 2*time.Second)
	for round, cut := range []bool{false, true} {
		client := (&wire{h: h}).agent("reader").HTTPClient(h.gate + "/slow")
		got := make(chan string, 1)
		go func() {
			res, err := client.Get(h.gate + "/slow/work")
			if err != nil {
				got <- err.Error()
				return
			}
			defer res.Body.Close()
			b, _ := io.ReadAll(res.Body)
			got <- string(b)
		}()
		h.eventually("it runs", func() bool { return strings.Contains(h.metrics(h.control), "\nlanyard_gateway_running 1") })
		h.serve.Process.Signal(syscall.SIGTERM)
		h.eventually("nothing new is taken", func() bool {
			_, err := http.Get(h.gate + "/.well-known/oauth-protected-resource/slow")
			return err != nil
		})
		if cut {
			h.serve.Process.Signal(syscall.SIGTERM)
		}
		if text := <-got; (text == "done") == cut {
			t.Errorf("round %d: %s", round, text)
		}
		if err := h.serve.Wait(); err != nil {
			t.Errorf("round %d: %v\n%s", round, err, h.log)
		}
		h.serve = nil
		h.start()
	}
	h.eventually("the upstream ends", func() bool { return answered.Load() == 2 })
}

func (h *house) metrics(base string) string {
	h.Helper()
	_, body := h.get(base+"/metrics", "")
	return body
}

// TestMetrics: every metric that the reference, the dashboard and the alerts name is there, and every one of ours that is there is in the reference.
func TestMetrics(t *testing.T) {
	t.Parallel()
	health := port.Free()
	h := build(t, "--health-listen", health, "--otlp-endpoint", "http://"+port.Free())
	h.settle()
	h.do(h.asReader("GET", profile)...)
	h.fails(3, "", h.asReader("DELETE", "/gmail/v1/users/me/messages/1")...)
	h.do("kill", "reader", "--reason", "test")
	body := h.metrics("http://" + health)
	types, help := map[string]string{}, map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# (TYPE|HELP) (\S+) (.*)$`).FindAllStringSubmatch(body, -1) {
		if m[1] == "TYPE" {
			types[m[2]] = m[3]
		} else {
			help[m[2]] = m[3]
		}
	}
	there := func(name string) bool {
		for _, end := range []string{"", "_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(name, end); ok && types[base] != "" && (end == "" || types[base] == "histogram") {
				return true
			}
		}
		return false
	}
	reference, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(lanyard_[a-z_]+)(?:\\{[a-z, ]*\\})?` \\| (\\w+) \\| (.*) \\|$").FindAllStringSubmatch(string(reference), -1) {
		if told[m[1]] {
			t.Errorf("the reference has %s twice", m[1])
		}
		told[m[1]] = true
		if types[m[1]] != m[2] || help[m[1]] != m[3] {
			t.Errorf("the reference says of %s %s: %s; it is %s: %s", m[1], m[2], m[3], types[m[1]], help[m[1]])
		}
	}
	for name := range types {
		if strings.HasPrefix(name, "lanyard_") && !told[name] {
			t.Errorf("the reference lacks | `%s` | %s | %s |", name, types[name], help[name])
		}
	}
	names := regexp.MustCompile(`\b(?:lanyard|process|go)_[a-z_]+`)
	used := func(where, expr string) {
		for _, name := range names.FindAllString(expr, -1) {
			if !there(name) {
				t.Errorf("%s asks for %s, which there is not", where, name)
			}
		}
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	b, err := os.ReadFile("../../deploy/grafana/lanyard.json")
	if err == nil {
		err = json.Unmarshal(b, &board)
	}
	if err != nil || len(board.Panels) < 20 {
		t.Fatal(err, len(board.Panels))
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			used("panel "+p.Title, target.Expr)
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Labels      map[string]string
			}
		}
	}
	b, err = os.ReadFile("../../deploy/prometheus/lanyard.rules.yaml")
	if err == nil {
		err = yaml.Unmarshal(b, &rules)
	}
	if err != nil || len(rules.Groups) != 1 || len(rules.Groups[0].Rules) < 10 {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../../docs/operate/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules.Groups[0].Rules {
		used("alert "+r.Alert, r.Expr)
		if !strings.Contains(string(guide), "\n## "+r.Alert+"\n") {
			t.Errorf("docs/operate/alerts.md does not say what to do for %s", r.Alert)
		}
	}
	if path, err := exec.LookPath("promtool"); err == nil {
		if out, err := exec.Command(path, "check", "rules", "../../deploy/prometheus/lanyard.rules.yaml").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
}

// TestDeploy: what the unit, the compose file and the chart set are settings that there are.
func TestDeploy(t *testing.T) {
	t.Parallel()
	reference, err := os.ReadFile("../../docs/reference/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"LANYARD_HOST", "LANYARD_SEAL_TOKEN", "LANYARD_PORT"}
	count := 0
	for _, path := range []string{"Dockerfile", "compose.yaml", "systemd/lanyard.service", "helm/lanyard/templates/_helpers.tpl"} {
		b, err := os.ReadFile("../../deploy/" + path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`LANYARD_[A-Z_]+`).FindAllString(string(b), -1) {
			if count++; !slices.Contains(known, name) && !strings.Contains(string(reference), "`"+name+"`") {
				t.Errorf("%s sets %s, which there is not", path, name)
			}
		}
	}
	if count < 30 {
		t.Errorf("only %d settings found", count)
	}
}

// TestNotifySystemd: who starts it hears when it is ready, and when it stops (sd_notify).
func TestNotifySystemd(t *testing.T) {
	dir, err := os.MkdirTemp("", "lyd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	h := build(t)
	heard := func() string {
		b := make([]byte, 100)
		l.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, _ := l.Read(b)
		return string(b[:n])
	}
	if got := heard(); got != "READY=1" {
		t.Errorf("heard %q", got)
	}
	h.stop()
	if got := heard(); got != "STOPPING=1" {
		t.Errorf("heard %q", got)
	}
}
