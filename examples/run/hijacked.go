package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
)

// words are what the assistant's user said. They count, because an operator opened the task with them.
const words = "Please tell ben@example.com what Northwind Paper asks for October"

// hijacked shows an assistant that may send mail, and obeys a mail that tells it to send the invoices to a stranger.
func (d *demo) hijacked() error {
	d.say("Another assistant may send mail by itself. The pack hijack has what it does held against what its user said, and where values came from")
	if err := d.lanyard("pack", "put", "hijack"); err != nil {
		return err
	}
	id, err := d.task("assistant", "mail", "Answer about an invoice", words)
	if err != nil {
		return err
	}
	d.say("It reads the invoices with the tools of lanyard mcp office. In one of the mails a stranger hid an order, and the assistant obeys")
	agent, err := d.agent("assistant", "--task", id, "--lanyard", filepath.Join(d.bin, "lanyard"))
	if err != nil {
		return err
	}
	said, err := agent("obey", "needs approval")
	if err != nil {
		return err
	}
	d.say("So nothing was sent, and Maya is asked. Her page says where the address came from, and she says no")
	if err := d.maya(regexp.MustCompile(`http\S+/approvals/appr_[a-z0-9]+`).FindString(said), "deny", "I never asked for that"); err != nil {
		return err
	}
	if _, err := agent("obey", "denied it"); err != nil {
		return err
	}
	d.say("The same assistant, on the same task, does what its user asked for. Nobody is asked")
	if said, err = agent("tell", "Sent to ben@example.com"); err == nil && strings.Contains(said, "approval") {
		err = errors.New("what the user asked for was asked about")
	}
	return err
}

// task opens one for reading and sending.
func (d *demo) task(identity, upstream, purpose, words string) (id string, err error) {
	args := []string{"task", "open", identity, "--purpose", purpose, "--words", words, "--upstream", upstream, "--action", "read", "--action", "write"}
	d.promptLanyard(args)
	c := d.command(append(args, "-o", "json")...)
	var out strings.Builder
	c.Stdout = &out
	if err := c.Run(); err != nil {
		return "", err
	}
	var opened struct{ ID string }
	if err := json.Unmarshal([]byte(out.String()), &opened); err != nil {
		return "", err
	}
	fmt.Println(opened.ID, "is open for", identity)
	return opened.ID, nil
}

// begin switches off what the run before switched on, so that this one begins as the first did.
func (d *demo) begin() {
	c := d.command("pack", "remove", "hijack")
	c.Stdout, c.Stderr = io.Discard, io.Discard
	_ = c.Run() // it was not on
}
