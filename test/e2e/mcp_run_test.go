package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMCPRunEnds: however lanyard mcp run ends, its servers do; when it is told to end, so does all that they started.
func TestMCPRunEnds(t *testing.T) {
	t.Parallel()
	const server = `setsid sleep 600 & read line; echo "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"pids\":[$$,$!]}}"; exec sleep 600`
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			c := exec.Command(filepath.Join(bin, "lanyard"), "mcp", "run", "--listen", "127.0.0.1:0", "--", "sh", "-c", server)
			var errs bytes.Buffer
			c.Stderr = &errs
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			defer c.Process.Kill()
			lines := bufio.NewReader(out)
			url, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err, errs.String())
			}
			said, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			_, credential, _ := strings.Cut(strings.TrimSpace(said), ": ")
			req, err := http.NewRequest("POST", strings.TrimSpace(url), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+credential)
			req.Header.Set("Content-Type", "application/json")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			_, data, _ := strings.Cut(string(b), "data: ")
			var answer struct{ Result struct{ Pids []int } }
			if err := json.Unmarshal([]byte(data), &answer); err != nil || len(answer.Result.Pids) != 2 {
				t.Fatalf("%v in %s", err, b)
			}
			server, escaped := answer.Result.Pids[0], answer.Result.Pids[1]
			defer syscall.Kill(escaped, syscall.SIGKILL)
			c.Process.Signal(sig)
			err = c.Wait()
			if sig == syscall.SIGTERM {
				if err != nil {
					t.Errorf("it ended with %v\n%s", err, errs.String())
				}
				if err := syscall.Kill(escaped, 0); !errors.Is(err, syscall.ESRCH) {
					t.Errorf("what the server started goes on: %v", err)
				}
			}
			for begun := time.Now(); !errors.Is(syscall.Kill(server, 0), syscall.ESRCH); time.Sleep(5 * time.Millisecond) {
				if time.Since(begun) > 10*time.Second {
					t.Fatalf("the server goes on\n%s", errs.String())
				}
			}
		})
	}
}
