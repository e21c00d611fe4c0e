// Command client is what the official conformance suite drives as "an MCP client":
// the official Go SDK's client for MCP, and internal/oauth for signing in. The suite
// says in the environment which scenario runs, and gives the server's URL as argument.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/internal/oauth"
)

// given is what the suite hands to a scenario in MCP_CONFORMANCE_CONTEXT.
type given struct {
	ID        string `json:"client_id"`
	Secret    string `json:"client_secret"`
	Key       string `json:"private_key_pem"`
	Issuer    string `json:"issuer"`
	IDP       string `json:"idp_issuer"`
	IDPClient string `json:"idp_client_id"`
	IDPToken  string `json:"idp_id_token"`
	Workload  string `json:"valid_jwt"`
	ToolCalls []call `json:"toolCalls"`
}

type call struct {
	Name      string         `json:"name"`
	Arguments map[string]any `json:"arguments"`
}

func main() {
	if err := run(context.Background(), os.Args[1:], os.Getenv("MCP_CONFORMANCE_SCENARIO")); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, scenario string) error {
	if len(args) != 1 || scenario == "" {
		return errors.New("the conformance suite starts this: it sets MCP_CONFORMANCE_SCENARIO and gives a URL")
	}
	var g given
	if s := os.Getenv("MCP_CONFORMANCE_CONTEXT"); s != "" {
		if err := json.Unmarshal([]byte(s), &g); err != nil {
			return err
		}
	}
	if bin := os.Getenv("LANYARD"); bin != "" {
		return catalogue(ctx, bin, args[0])
	}
	carrier := http.DefaultClient
	if strings.HasPrefix(scenario, "auth/") {
		t, err := transport(ctx, args[0], scenario, g)
		if err != nil {
			return err
		}
		carrier = &http.Client{Transport: t}
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "lanyard", Version: "0"}, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			content := map[string]any{} // the defaults, where the schema has them
			if scenario == "sep-2322-client-request-state" {
				content["confirmed"] = true
			}
			return &mcp.ElicitResult{Action: "accept", Content: content}, nil
		},
	}).Connect(ctx, &mcp.StreamableClientTransport{Endpoint: args[0], HTTPClient: carrier}, nil)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer session.Close()
	return play(ctx, session, scenario, g)
}

// transport is how the scenario's client signs in.
func transport(ctx context.Context, upstream, scenario string, g given) (*oauth.Transport, error) {
	store := &oauth.Memory{}
	c := &oauth.Client{HTTP: &http.Client{Timeout: 20 * time.Second}, Now: time.Now, Rand: rand.Reader, Store: store, Loopback: true,
		Name: "Lanyard", Redirect: "http://localhost:3000/callback", Document: "https://conformance-test.local/client-metadata.json"}
	t := &oauth.Transport{Client: c, Upstream: upstream, Flow: oauth.Person(person)}
	r := oauth.Registration{ID: g.ID, Secret: g.Secret}
	if g.Key != "" {
		block, _ := pem.Decode([]byte(g.Key))
		if block == nil {
			return nil, errors.New("the suite's key is no PEM")
		}
		r.Key = block.Bytes
	}
	switch scenario {
	case "auth/client-credentials-jwt", "auth/client-credentials-basic":
		t.Flow = oauth.Credentials{}
	case "auth/enterprise-managed-authorization":
		t.Flow = oauth.Enterprise{Issuer: g.IDP, Subject: func(context.Context) (string, error) { return g.IDPToken, nil }}
		if err := store.PutRegistration(ctx, g.IDP, oauth.Registration{ID: g.IDPClient}); err != nil {
			return nil, err
		}
	case "auth/wif-jwt-bearer":
		t.Flow = &oauth.Workload{Assertion: func(context.Context, string) (string, error) { return g.Workload, nil }}
	}
	if g.ID == "" {
		return t, nil
	}
	if g.Issuer == "" { // an operator would know for which server the credentials are
		up, err := c.Discover(ctx, upstream, oauth.Challenge{})
		if err != nil {
			return nil, err
		}
		g.Issuer = up.Server.Issuer
	}
	return t, store.PutRegistration(ctx, g.Issuer, r)
}

// person consents at once: the suite's server asks nothing and redirects to where nobody listens.
func person(ctx context.Context, open string) (url.Values, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, open, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	at, err := res.Location()
	if err != nil {
		return nil, fmt.Errorf("the sign-in page answers %s: %w", res.Status, err)
	}
	return at.Query(), nil
}

// catalogue is the person at the terminal of lanyard mcp catalogue: it opens the page that is printed.
func catalogue(ctx context.Context, bin, upstream string) error {
	c := exec.CommandContext(ctx, bin, "mcp", "catalogue", "--sign-in", upstream)
	said, err := c.StderrPipe()
	if err != nil {
		return err
	}
	var out strings.Builder
	c.Stdout = &out
	if err := c.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(said); lines.Scan(); {
		fmt.Fprintln(os.Stderr, lines.Text())
		if page := strings.TrimSpace(lines.Text()); strings.HasPrefix(page, "http") {
			res, err := http.Get(page)
			if err != nil {
				return errors.Join(err, c.Process.Kill(), c.Wait())
			}
			res.Body.Close()
		}
	}
	if err := c.Wait(); err != nil {
		return err
	}
	if !strings.Contains(out.String(), `"test-tool"`) {
		return fmt.Errorf("the catalogue has no test-tool: %s", out.String())
	}
	return nil
}

// play does what the scenario wants to see of a client.
func play(ctx context.Context, s *mcp.ClientSession, scenario string, g given) error {
	if scenario == "request-metadata" {
		return nil
	}
	if scenario == "sep-2322-client-request-state" {
		for _, name := range []string{"test_mrtr_echo_state", "test_mrtr_no_state", "test_mrtr_unrelated", "test_mrtr_no_result_type"} {
			_, _ = s.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: map[string]any{}}) // some must fail
		}
		return nil
	}
	tools, err := s.ListTools(ctx, nil)
	if err != nil {
		return fmt.Errorf("listing tools: %w", err)
	}
	use := func(name string, arguments any) error {
		if _, err := s.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: arguments}); err != nil {
			return fmt.Errorf("calling %s: %w", name, err)
		}
		return nil
	}
	none := map[string]any{}
	switch scenario {
	case "initialize", "json-schema-ref-no-deref":
		return nil
	case "tools_call":
		return use("add_numbers", map[string]any{"a": 5, "b": 3})
	case "elicitation-sep1034-client-defaults":
		return use("test_client_elicitation_defaults", none)
	case "sse-retry":
		return use("test_reconnection", none)
	case "json-schema-2020-12-preservation":
		for _, t := range tools.Tools {
			if t.Name == "json_schema_2020_12_tool" {
				return use("json_schema_echo", map[string]any{"schema": t.InputSchema})
			}
		}
		return errors.New("json_schema_2020_12_tool is not listed")
	case "http-custom-headers":
		for _, c := range g.ToolCalls {
			_ = use(c.Name, c.Arguments) // some values cannot be sent; the suite counts what was
		}
		return nil
	case "http-invalid-tool-headers":
		for _, t := range tools.Tools {
			_ = use(t.Name, map[string]any{"region": "us-west1"})
		}
		return nil
	case "http-standard-headers":
		return everything(ctx, s, tools.Tools[0].Name)
	}
	if strings.HasPrefix(scenario, "auth/") {
		return use("test-tool", none)
	}
	return fmt.Errorf("the scenario %q is not known here", scenario)
}

// everything uses a tool, a resource and a prompt.
func everything(ctx context.Context, s *mcp.ClientSession, tool string) error {
	_, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: map[string]any{}})
	resources, e1 := s.ListResources(ctx, nil)
	if e1 == nil && len(resources.Resources) > 0 {
		_, e1 = s.ReadResource(ctx, &mcp.ReadResourceParams{URI: resources.Resources[0].URI})
	}
	prompts, e2 := s.ListPrompts(ctx, nil)
	if e2 == nil && len(prompts.Prompts) > 0 {
		_, e2 = s.GetPrompt(ctx, &mcp.GetPromptParams{Name: prompts.Prompts[0].Name, Arguments: map[string]string{}})
	}
	return errors.Join(err, e1, e2)
}
