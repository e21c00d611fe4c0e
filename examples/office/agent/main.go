// Command agent is an agent of the example office: Google's own Go client,
// unchanged, but for the HTTP client that it is given and the address it calls.
//
//	agent --identity spiffe://lanyard.local/agent/invoice-bot --key invoice-bot.key.jwk read send
//
// Tasks come as arguments or, with none, one a line on standard input.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"google.golang.org/api/drive/v3"
	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/lanyard-dev/lanyard/client"
)

func main() {
	issuer := flag.String("issuer", "http://127.0.0.1:8440", "URL of the control plane")
	gateway := flag.String("gateway", "http://127.0.0.1:8441", "URL of the gateway")
	identity := flag.String("identity", "spiffe://lanyard.local/agent/invoice-bot", "SPIFFE ID of this agent")
	key := flag.String("key", "invoice-bot.key.jwk", "file of its private key")
	task := flag.String("task", "", "id of the task that it works on")
	lanyard := flag.String("lanyard", "lanyard", "the program, for the tools that it serves")
	flag.Parse()
	a, err := start(*issuer, *gateway, *identity, *key)
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
	a.task, a.lanyard = *task, *lanyard
	if flag.NArg() > 0 {
		for _, task := range flag.Args() {
			a.do(task)
		}
		return
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		a.do(strings.TrimSpace(lines.Text()))
		fmt.Println("--") // done with that one
	}
}

type agent struct {
	issuer, identity, key, task, lanyard string

	badge *client.Source
	base  string // of the gateway
	mail  *gmail.Service
	drive *drive.Service
	tools *mcp.StreamableClientTransport
}

func start(issuer, gateway, identity, key string) (*agent, error) {
	badge, err := client.New(client.Config{Issuer: issuer, Identity: identity, KeyFile: key})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	mail, err := gmail.NewService(ctx, option.WithHTTPClient(badge.HTTPClient(gateway+"/mail")), option.WithEndpoint(gateway+"/mail/"))
	if err != nil {
		return nil, err
	}
	files, err := drive.NewService(ctx, option.WithHTTPClient(badge.HTTPClient(gateway+"/drive")), option.WithEndpoint(gateway+"/drive/drive/v3/"))
	tools := &mcp.StreamableClientTransport{Endpoint: gateway + "/tools/mcp", HTTPClient: badge.HTTPClient(gateway + "/tools"), DisableStandaloneSSE: true}
	return &agent{issuer: issuer, identity: identity, key: key, badge: badge, base: gateway, mail: mail, drive: files, tools: tools}, err
}

// do does one task and prints how it went.
func (a *agent) do(task string) {
	tasks := map[string]func() error{"read": a.read, "send": a.send, "file": a.file, "forward": a.forward, "tools": a.useTools, "child": a.child, "draft": a.draft, "obey": a.obey, "tell": a.tell}
	f := tasks[task]
	if f == nil {
		fmt.Printf("I know read, send, draft, file, forward, tools, child, obey and tell, not %q.\n", task)
		return
	}
	if err := f(); err != nil {
		fmt.Println("It did not work:", plain(err))
	}
}

// plain is what an error says to people.
func plain(err error) string {
	var refused *googleapi.Error
	if errors.As(err, &refused) {
		return fmt.Sprintf("%d %s", refused.Code, refused.Message)
	}
	var token *client.Error
	if errors.As(err, &token) {
		return token.Error()
	}
	return err.Error()
}

func (a *agent) read() error {
	list, err := a.mail.Users.Messages.List("me").Q("invoice").Do()
	if err != nil {
		return err
	}
	fmt.Printf("%d messages about invoices:\n", len(list.Messages))
	for _, m := range list.Messages {
		full, err := a.mail.Users.Messages.Get("me", m.Id).Format("metadata").MetadataHeaders("Subject", "From").Do()
		if err != nil {
			return err
		}
		for _, h := range full.Payload.Headers {
			if h.Name == "Subject" {
				fmt.Println("  -", h.Value)
			}
		}
	}
	return nil
}

func (a *agent) send() error {
	raw := "To: archive@helpful.example\r\nSubject: All invoices\r\n\r\nAs you asked.\r\n"
	_, err := a.mail.Users.Messages.Send("me", &gmail.Message{Raw: base64.URLEncoding.EncodeToString([]byte(raw))}).Do()
	if err == nil {
		fmt.Println("Sent to archive@helpful.example.")
	}
	return err
}

// draft is a reply that somebody may send later.
func (a *agent) draft() error {
	raw := "To: billing@northwind.example\r\nSubject: Re: Invoice 2041\r\n\r\nThank you, it will be paid on Friday.\r\n"
	_, err := a.mail.Users.Drafts.Create("me", &gmail.Draft{Message: &gmail.Message{Raw: base64.URLEncoding.EncodeToString([]byte(raw))}}).Do()
	if err == nil {
		fmt.Println("The draft is there.")
	}
	return err
}

// child gives a piece of the work to an agent that it starts, which may read mail and nothing else.
func (a *agent) child() error {
	ctx := context.Background()
	child, made, err := a.badge.Spawn(ctx, client.Child{Name: "counter", Purpose: "Counts the invoices", Expires: "10m",
		Grants: []client.Lend{{Upstream: "mail", Actions: []string{"gmail.users.messages.list"}}}})
	if err != nil {
		return err
	}
	fmt.Println("I started", made.ID)
	mail, err := gmail.NewService(ctx, option.WithHTTPClient(child.HTTPClient(a.base+"/mail")), option.WithEndpoint(a.base+"/mail/"))
	if err != nil {
		return err
	}
	list, err := mail.Users.Messages.List("me").Q("invoice").Do()
	if err != nil {
		return err
	}
	fmt.Printf("It counts %d messages about invoices\n", len(list.Messages))
	_, err = mail.Users.Messages.Get("me", list.Messages[0].Id).Do()
	if err == nil {
		fmt.Println("and has read one.")
		return nil
	}
	fmt.Println("and may not open one:", plain(err))
	return a.badge.End(ctx, made.ID)
}

func (a *agent) forward() error {
	_, err := a.mail.Users.Settings.UpdateAutoForwarding("me", &gmail.AutoForwarding{Enabled: true, EmailAddress: "archive@helpful.example", Disposition: "leaveInInbox"}).Do()
	if err == nil {
		fmt.Println("All mail is forwarded from now on.")
	}
	return err
}

// useTools does the same over MCP, with the official SDK.
func (a *agent) useTools() error {
	ctx := context.Background()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "office-agent", Version: "1"}, nil).Connect(ctx, a.tools, nil)
	if err != nil {
		return err
	}
	defer session.Close()
	list, err := session.ListTools(ctx, nil)
	if err != nil {
		return err
	}
	fmt.Print("The tools I am told of:")
	for _, t := range list.Tools {
		fmt.Print(" ", t.Name)
	}
	fmt.Println()
	found, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "find_mail", Arguments: map[string]any{"query": "invoice"}})
	if err != nil {
		return err
	}
	fmt.Printf("find_mail: %d messages\n", strings.Count(found.Content[0].(*mcp.TextContent).Text, "\n"))
	_, err = session.CallTool(ctx, &mcp.CallToolParams{Name: "send_mail", Arguments: map[string]any{"to": "archive@helpful.example", "subject": "All invoices", "text": "As you asked."}})
	if err != nil {
		return fmt.Errorf("send_mail, which I was not told of: %w", err)
	}
	fmt.Println("send_mail: sent to archive@helpful.example.")
	return nil
}

func (a *agent) file() error {
	f, err := a.drive.Files.Create(&drive.File{Name: "invoice-2041.txt", MimeType: "text/plain"}).Media(strings.NewReader("Invoice 2041\n"), googleapi.ChunkSize(0)).Do()
	if err == nil {
		fmt.Println("Filed as", f.Name+".")
	}
	return err
}
