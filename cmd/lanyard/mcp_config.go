package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// mcpClient is what an MCP client's configuration looks like, by its own documentation.
type mcpClient struct {
	name  string
	file  string // below the home folder; with ./ below the project's
	key   string // under which the servers stand
	typed bool   // an entry says its type
	url   string // what an entry calls the URL of a server over Streamable HTTP; "" when it cannot have one
}

var mcpClients = []mcpClient{
	{"claude", "./.mcp.json", "mcpServers", true, "url"},
	{"claude-desktop", ".config/Claude/claude_desktop_config.json", "mcpServers", false, ""},
	{"codex", ".codex/config.toml", "mcp_servers", false, "url"},
	{"cursor", ".cursor/mcp.json", "mcpServers", false, "url"},
	{"gemini", ".gemini/settings.json", "mcpServers", false, "httpUrl"},
	{"vscode", "./.vscode/mcp.json", "servers", true, "url"},
	{"windsurf", ".codeium/windsurf/mcp_config.json", "mcpServers", false, "serverUrl"},
}

// mcpEntry is one server, as a client's configuration has it.
type mcpEntry struct {
	Type      string   `json:"type,omitempty"`
	Command   string   `json:"command,omitempty"`
	Args      []string `json:"args,omitempty"`
	URL       string   `json:"url,omitempty"`
	HTTPURL   string   `json:"httpUrl,omitempty"`
	ServerURL string   `json:"serverUrl,omitempty"`
}

func (a *app) mcpConfig() *cobra.Command {
	var b badge
	var o officeAccounts
	var kind, path, file string
	var direct, write, replace bool
	names := make([]string, len(mcpClients))
	for i, c := range mcpClients {
		names[i] = c.name
	}
	known := strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
	c := &cobra.Command{Use: "config NAME --client NAME (--as IDENTITY --key FILE | --http)", Short: "Print or write the entry for an MCP client's configuration", Args: cobra.ExactArgs(1),
		Long: `Print what makes an MCP client use an upstream: an entry that starts lanyard mcp
connect as an identity, or with --http the gateway's URL, for a client that signs in by
itself. With --gmail, --drive, --calendar or --graph it starts lanyard mcp office over those,
and NAME is only what the entry is called. With --write the entry goes into the client's own file, where all else stays
as it is; the file as it was is kept beside it, as FILE.lanyard.bak. For Claude Code and
VS Code that is the file of the project you are in, for the others yours.`,
		Example: `  lanyard mcp config notes --client claude --as scribe --key scribe.key.jwk
  lanyard mcp config notes --client cursor --as scribe --key scribe.key.jwk --write
  lanyard mcp config notes --client vscode --http
  lanyard mcp config office --gmail mail --drive drive --calendar calendar --as helper --key helper.key.jwk --write`,
		RunE: func(cmd *cobra.Command, args []string) error {
			i := slices.Index(names, kind)
			if i < 0 {
				return usage("--client %q: use %s", kind, known)
			}
			if !identity.ValidName(args[0]) {
				return usage("%q is no name of an upstream", args[0])
			}
			client := mcpClients[i]
			if o.some() && direct {
				return usage("--http is for an upstream that is an MCP server; over these accounts lanyard mcp office is one, with --as and --key")
			}
			if err := o.check(); err != nil {
				return err
			}
			entry, err := b.mcpEntry(client, args[0], path, &o, direct)
			if err != nil {
				return err
			}
			if !write {
				return a.printEntry(client, args[0], entry)
			}
			if client.name == "codex" {
				return usage("codex writes its own file: %s", codexCommand(args[0], entry))
			}
			if file == "" {
				if file, err = client.place(); err != nil {
					return err
				}
			}
			did, err := writeEntry(file, client.key, args[0], entry, replace)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, did)
			return err
		}}
	b.flags(c)
	o.flags(c)
	f := c.Flags()
	f.Lookup("as").Annotations = nil // not with --http
	f.StringVar(&kind, "client", "claude", known)
	f.StringVar(&path, "path", "/mcp", "path of the server's endpoint")
	f.BoolVar(&direct, "http", false, "the gateway's URL, for a client that signs in by itself")
	f.BoolVar(&write, "write", false, "write the entry into the client's file")
	f.StringVar(&file, "file", "", "with --write: another file than the client's usual one")
	f.BoolVar(&replace, "replace", false, "with --write: take the place of another entry of this name")
	return c
}

// mcpEntry is the entry for an upstream, or for the tools over accounts.
func (b *badge) mcpEntry(client mcpClient, upstream, path string, o *officeAccounts, direct bool) (e mcpEntry, err error) {
	if direct == (b.who != "") {
		return e, usage("give either --as and --key, or --http")
	}
	if direct {
		at := b.upstream(upstream) + path
		switch client.url {
		case "":
			return e, usage("%s takes no URL in its file; add %s as a connector in its settings", client.name, at)
		case "httpUrl":
			e.HTTPURL = at
		case "serverUrl":
			e.ServerURL = at
		default:
			e.URL = at
		}
		if client.typed {
			e.Type = "http"
		}
		return e, nil
	}
	self, err := os.Executable()
	if err != nil {
		return e, err
	}
	key, err := filepath.Abs(b.key)
	if err != nil {
		return e, err
	}
	if i, err := os.Stat(key); err != nil || !i.Mode().IsRegular() {
		return e, fmt.Errorf("--key: %s is no file that can be read", key)
	}
	if client.typed {
		e.Type = "stdio"
	}
	e.Command = self
	who := []string{"--as", b.who, "--key", key, "--issuer", b.issuer, "--gateway", b.gateway, "--trust-domain", b.domain}
	if o.some() {
		e.Args = slices.Concat([]string{"mcp", "office"}, who, o.named())
	} else {
		e.Args = slices.Concat([]string{"mcp", "connect", upstream}, who, []string{"--path", path})
	}
	return e, nil
}

// printEntry prints an entry as it stands in the client's file.
func (a *app) printEntry(client mcpClient, name string, entry mcpEntry) error {
	if client.name == "codex" {
		_, err := fmt.Fprint(a.out, codexTOML(name, entry))
		return err
	}
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(map[string]any{client.key: map[string]any{name: entry}})
}

// codexTOML is the entry in TOML.
func codexTOML(name string, e mcpEntry) string {
	quote := func(s string) string {
		b, err := json.Marshal(s) // the escapes of JSON are among those of TOML
		if err != nil {
			return `""` // there is no string that has none
		}
		return string(b)
	}
	out := "[mcp_servers." + quote(name) + "]\n"
	if e.URL != "" {
		return out + "url = " + quote(e.URL) + "\n"
	}
	args := make([]string, len(e.Args))
	for i, s := range e.Args {
		args[i] = quote(s)
	}
	return out + "command = " + quote(e.Command) + "\nargs = [" + strings.Join(args, ", ") + "]\n"
}

// codexCommand is how codex is told to add the entry itself.
func codexCommand(name string, e mcpEntry) string {
	if e.URL != "" {
		return "codex mcp add " + shellQuote(name) + " --url " + shellQuote(e.URL)
	}
	words := []string{"codex mcp add", shellQuote(name), "--", shellQuote(e.Command)}
	for _, s := range e.Args {
		words = append(words, shellQuote(s))
	}
	return strings.Join(words, " ")
}

func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// place is where the client's file is.
func (c mcpClient) place() (string, error) {
	if strings.HasPrefix(c.file, "./") {
		return filepath.Abs(c.file)
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, c.file), err
}

// writeEntry puts an entry into a client's file and says what it did. All else in
// the file stays, in its order; what is no strict JSON is left alone.
func writeEntry(file, key, name string, entry mcpEntry, replace bool) (string, error) {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real // a link stays a link
	}
	old, err := os.ReadFile(file)
	mode := fs.FileMode(0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return "", err
		}
	case err != nil:
		return "", err
	default:
		i, err := os.Stat(file)
		if err != nil {
			return "", err
		}
		mode = i.Mode().Perm()
	}
	var value bytes.Buffer
	e := json.NewEncoder(&value)
	e.SetEscapeHTML(false)
	if err := e.Encode(entry); err != nil {
		return "", err
	}
	text, did, err := mergeEntry(old, key, name, value.Bytes(), replace)
	if err != nil {
		return "", exit{exitRefused, fmt.Errorf("%s: %w; nothing was changed", file, err)}
	}
	if did == "" {
		return fmt.Sprintf("%s has %s already, as it is to be", file, name), nil
	}
	kept := ""
	if old != nil {
		if err := writeWhole(file+".lanyard.bak", old, mode); err != nil {
			return "", err
		}
		kept = "; as it was: " + file + ".lanyard.bak"
	}
	if err := writeWhole(file, text, mode); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: %s %s under %s%s", file, did, name, key, kept), nil
}

// writeWhole writes a file so that there is the old one or the new one, whatever happens.
func writeWhole(file string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".lanyard-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(text)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// mergeEntry puts a value at key, name into a JSON object. did is "" when it stands there already.
func mergeEntry(old []byte, key, name string, value []byte, replace bool) (text []byte, did string, err error) {
	if len(bytes.TrimSpace(old)) == 0 {
		old = []byte("{}")
	}
	whole, err := members(old)
	if err != nil {
		return nil, "", fmt.Errorf("it is no JSON object that can be read safely (%w): put the entry in by hand", err)
	}
	servers := orderedObject{}
	if v, ok := whole.values[key]; ok {
		if servers, err = members(v); err != nil {
			return nil, "", fmt.Errorf("%s in it is no JSON object (%w): put the entry in by hand", key, err)
		}
	}
	did = "added"
	if was, ok := servers.values[name]; ok {
		a, b := jsontext.Value(bytes.Clone(was)), jsontext.Value(bytes.Clone(value))
		if a.Canonicalize() == nil && b.Canonicalize() == nil && bytes.Equal(a, b) {
			return old, "", nil
		}
		if !replace {
			return nil, "", fmt.Errorf("it has another entry %s under %s; --replace takes its place", name, key)
		}
		did = "replaced"
	}
	servers.set(name, value)
	whole.set(key, servers.encode())
	out := jsontext.Value(whole.encode())
	if err := out.Indent(jsontext.WithIndent("  ")); err != nil {
		return nil, "", err
	}
	return append(out, '\n'), did, nil
}

// orderedObject is a JSON object whose members keep their order and their text.
type orderedObject struct {
	names  []string
	values map[string]jsontext.Value
}

// members reads an object. A member that is there twice, a comment or what follows the object is an error.
func members(data []byte) (o orderedObject, err error) {
	v := jsontext.Value(data)
	if !v.IsValid() {
		d := jsontext.NewDecoder(bytes.NewReader(data))
		if _, err := d.ReadValue(); err != nil {
			return o, err
		}
		return o, errors.New("something follows it")
	}
	d := jsontext.NewDecoder(bytes.NewReader(data))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return o, errors.New("it begins with another thing than {")
	}
	o.values = map[string]jsontext.Value{}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return o, err
		}
		name := t.String()
		v, err := d.ReadValue()
		if err != nil {
			return o, err
		}
		o.names = append(o.names, name)
		o.values[name] = v.Clone()
	}
	return o, nil
}

func (o *orderedObject) set(name string, value []byte) {
	if _, ok := o.values[name]; !ok {
		o.names = append(o.names, name)
	}
	o.values = maps.Clone(o.values)
	if o.values == nil {
		o.values = map[string]jsontext.Value{}
	}
	o.values[name] = value
}

func (o orderedObject) encode() []byte {
	b := []byte{'{'}
	for i, name := range o.names {
		if i > 0 {
			b = append(b, ',')
		}
		b, _ = jsontext.AppendQuote(b, name) // it was read as UTF-8, or is our own
		b = append(append(b, ':'), o.values[name]...)
	}
	return append(b, '}')
}
