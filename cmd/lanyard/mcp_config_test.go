package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// config runs lanyard mcp config notes.
func config(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = run(context.Background(), append([]string{"mcp", "config", "notes"}, args...), strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

// TestConfig: each client is told of a server in its own words.
func TestConfig(t *testing.T) {
	key := filepath.Join(t.TempDir(), "a key.jwk")
	if err := os.WriteFile(key, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for client, want := range map[string][2]string{ // with a command, with a URL
		"claude":         {`{"mcpServers":{"notes":{"type":"stdio","command":`, `{"mcpServers":{"notes":{"type":"http","url":"http://127.0.0.1:8441/notes/mcp"}}}`},
		"claude-desktop": {`{"mcpServers":{"notes":{"command":`, ""},
		"cursor":         {`{"mcpServers":{"notes":{"command":`, `{"mcpServers":{"notes":{"url":"http://127.0.0.1:8441/notes/mcp"}}}`},
		"gemini":         {`{"mcpServers":{"notes":{"command":`, `{"mcpServers":{"notes":{"httpUrl":"http://127.0.0.1:8441/notes/mcp"}}}`},
		"vscode":         {`{"servers":{"notes":{"type":"stdio","command":`, `{"servers":{"notes":{"type":"http","url":"http://127.0.0.1:8441/notes/mcp"}}}`},
		"windsurf":       {`{"mcpServers":{"notes":{"command":`, `{"mcpServers":{"notes":{"serverUrl":"http://127.0.0.1:8441/notes/mcp"}}}`},
	} {
		for i, args := range [][]string{{"--as", "scribe", "--key", key}, {"--http"}} {
			code, out, errs := config(append(args, "--client", client)...)
			var one bytes.Buffer
			_ = json.Compact(&one, []byte(out)) // what is no JSON is not as wanted
			if want[i] == "" && (code != exitUsage || !strings.Contains(errs, "connector")) || want[i] != "" && (code != 0 || !strings.HasPrefix(one.String(), want[i])) {
				t.Errorf("%s %v: exit %d\n%s%s", client, args, code, out, errs)
			}
		}
	}
	if code, out, errs := config("--client", "codex", "--as", "scribe", "--key", key); code != 0 || !strings.HasPrefix(out, "[mcp_servers.\"notes\"]\ncommand = \"") || !strings.Contains(out, `"--key", "`+key+`"`) {
		t.Errorf("codex: exit %d\n%s%s", code, out, errs)
	}
	if code, _, errs := config("--client", "codex", "--as", "scribe", "--key", key, "--write"); code != exitUsage || !strings.Contains(errs, "codex mcp add notes -- ") || !strings.Contains(errs, "'"+key+"'") {
		t.Errorf("codex --write: exit %d %s", code, errs)
	}
	if code, out, errs := config("--gmail", "mail", "--graph", "graph", "--as", "scribe", "--key", key); code != 0 || !strings.Contains(strings.Join(strings.Fields(out), ""), `"args":["mcp","office","--as","scribe","--key",`) || !strings.Contains(strings.Join(strings.Fields(out), ""), `"--gmail","mail","--graph","graph"]`) {
		t.Errorf("office: exit %d\n%s%s", code, out, errs)
	}
	for says, args := range map[string][]string{"--http is for": {"--gmail", "mail", "--http"}, "no name of an upstream": {"--gmail", "Mail", "--as", "scribe", "--key", key}, "give either": {}, "give either --as": {"--as", "scribe", "--key", key, "--http"}, "use claude, claude-desktop, codex": {"--client", "emacs", "--http"}, "no file": {"--as", "scribe", "--key", key + "x"}} {
		if code, _, errs := config(args...); code == 0 || !strings.Contains(errs, says) {
			t.Errorf("%v: exit %d %s", args, code, errs)
		}
	}
}

// TestConfigWrite: an entry goes into a client's file, and nothing else there changes.
func TestConfigWrite(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real.json")
	file := filepath.Join(dir, "link.json")
	if err := os.Symlink("real.json", file); err != nil {
		t.Fatal(err)
	}
	const before = "{\"z\": 1.0, \"mcpServers\": {\"other\": {\"command\": \"<x>\"}},\n\t\"a\": [\"\\u00e9\"]}"
	if err := os.WriteFile(real, []byte(before), 0o640); err != nil {
		t.Fatal(err)
	}
	write := func(args ...string) (int, string) {
		code, out, errs := config(append([]string{"--client", "cursor", "--http", "--write", "--file", file}, args...)...)
		return code, out + errs
	}
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if code, said := write(); code != 0 || !strings.Contains(said, real+": added notes under mcpServers; as it was: "+real+".lanyard.bak") {
		t.Fatalf("exit %d %s", code, said)
	}
	const after = `{
  "z": 1.0,
  "mcpServers": {
    "other": {
      "command": "<x>"
    },
    "notes": {
      "url": "http://127.0.0.1:8441/notes/mcp"
    }
  },
  "a": [
    "\u00e9"
  ]
}
`
	if got := read(real); got != after {
		t.Errorf("it became\n%s", got)
	}
	if got := read(real + ".lanyard.bak"); got != before {
		t.Errorf("it was, they say,\n%s", got)
	}
	if i, err := os.Lstat(file); err != nil || i.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link: %v %v", i.Mode(), err)
	}
	if i, err := os.Stat(real); err != nil || i.Mode().Perm() != 0o640 {
		t.Errorf("its mode: %v %v", i.Mode(), err)
	}
	if code, said := write(); code != 0 || !strings.Contains(said, "already") || read(real+".lanyard.bak") != before {
		t.Errorf("again: exit %d %s", code, said)
	}
	if code, said := write("--gateway", "http://127.0.0.1:9"); code != exitRefused || !strings.Contains(said, "--replace") || read(real) != after {
		t.Errorf("another of this name: exit %d %s", code, said)
	}
	if code, said := write("--gateway", "http://127.0.0.1:9", "--replace"); code != 0 || !strings.Contains(said, "replaced") || !strings.Contains(read(real), ":9/notes") {
		t.Errorf("replaced: exit %d %s", code, said)
	}
	for _, bad := range []string{"{\"mcpServers\": {} // mine\n}", `{"a":1,"a":2}`, `{} {}`, `[]`, `{"mcpServers":[]}`, `{"mcpServers":null}`, `{`, "{\"a\xff\":1}"} {
		if err := os.WriteFile(real, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, said := write(); code != exitRefused || !strings.Contains(said, "nothing was changed") || read(real) != bad {
			t.Errorf("%s: exit %d %s", bad, code, said)
		}
	}
	fresh := filepath.Join(dir, "new", "mcp.json")
	if code, out, errs := config("--client", "vscode", "--http", "--write", "--file", fresh); code != 0 || strings.Contains(out, "bak") || !strings.Contains(read(fresh), `"servers"`) {
		t.Errorf("a new file: exit %d %s%s", code, out, errs)
	}
	t.Setenv("HOME", dir)
	t.Chdir(dir)
	for client, at := range map[string]string{"claude": ".mcp.json", "cursor": ".cursor/mcp.json", "gemini": ".gemini/settings.json"} {
		if code, out, errs := config("--client", client, "--http", "--write"); code != 0 || !strings.Contains(read(at), "127.0.0.1:8441/notes/mcp") {
			t.Errorf("%s: exit %d %s%s", client, code, out, errs)
		}
	}
}

func FuzzMergeEntry(f *testing.F) {
	f.Add([]byte(`{"a":1,"mcpServers":{"x":{}}}`), "notes")
	f.Add([]byte(`{"mcpServers":{"notes":{"url":"y"}}}`), "notes")
	f.Fuzz(func(t *testing.T, old []byte, name string) {
		if !identity.ValidName(name) {
			return
		}
		value := []byte(`{"url":"x"}`)
		text, did, err := mergeEntry(old, "mcpServers", name, value, true)
		if err != nil || did == "" {
			return
		}
		if again, did, err := mergeEntry(text, "mcpServers", name, value, true); err != nil || did != "" || !bytes.Equal(again, text) {
			t.Errorf("%q became %q, and that %q (%s, %v)", old, text, again, did, err)
		}
	})
}
