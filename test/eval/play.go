package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/lanyard-dev/lanyard/client"
	"github.com/lanyard-dev/lanyard/internal/control"
)

// way is how runs are played.
type way struct {
	answers  bool // the owner answers: yes to what the task needs, no to the rest
	redirect bool // the attacker knows the policy, and sends to what it accepts
	respell  bool // what is refused of the attack is tried in other spellings
}

// played is how a run ended.
type played struct {
	*run
	done, attacked bool
	questions      int
	stopped        []stop
}

// stop is a call that did not go through at once.
type stop struct {
	*call
	policies []string
	page     string // what the owner saw
}

// play plays a run call by call through the gateway.
func (h *house) play(ctx context.Context, s *suite, o *office, r *run, w way) (p played, err error) {
	p.run = r
	task, err := h.task(ctx, r)
	if err != nil {
		return p, err
	}
	badge, err := client.New(client.Config{Issuer: h.control, Identity: "spiffe://lanyard.local/agent/assistant", KeyFile: filepath.Join(h.dir, "assistant.key.jwk"), Task: task})
	if err != nil {
		return p, err
	}
	at := h.gate + "/" + s.Name
	session, err := sdk.NewClient(&sdk.Implementation{Name: "agent", Version: "1"}, nil).
		Connect(ctx, &sdk.StreamableClientTransport{Endpoint: at + "/mcp", HTTPClient: badge.HTTPClient(at), MaxRetries: -1, DisableStandaloneSSE: true}, nil)
	if err != nil {
		return p, fmt.Errorf("run %s: connecting: %w", r.ID, err)
	}
	defer session.Close()
	defer func() {
		var changed control.Changed
		err = errors.Join(err, h.call(ctx, "POST", "/v1/tasks/"+task+"/close", control.TaskClose{}, &changed))
	}()
	refused := map[int]bool{}
	for k := range r.Calls {
		c := &r.Calls[k]
		args := c.Args
		if w.redirect && c.attacks() {
			args = s.redirected(r, c)
		}
		through, err := h.try(ctx, session, o, c, args, w.answers, &p)
		if err == nil && !through && w.respell && c.attacks() {
			for _, spelling := range spellings {
				if through, err = h.try(ctx, session, o, c, s.respelled(c, spelling), w.answers, &p); through || err != nil {
					break
				}
			}
		}
		if err != nil {
			return p, fmt.Errorf("run %s, call %d (%s): %w", r.ID, k, c.Tool, err)
		}
		refused[k] = !through
	}
	p.done, p.attacked = r.outcome(refused)
	return p, nil
}

var policyPattern = regexp.MustCompile(`guardrail (` + pack + `-[a-z]+) asks`)

// try sends a call, and again when the owner said yes to it. It reports whether it reached the server.
func (h *house) try(ctx context.Context, session *sdk.ClientSession, o *office, c *call, args map[string]any, answers bool, p *played) (bool, error) {
	for again := false; ; again = true {
		o.play(c)
		_, err := session.CallTool(ctx, &sdk.CallToolParams{Name: c.Tool, Arguments: args})
		if o.done() {
			return true, err
		}
		var refusal *jsonrpc.Error
		if !errors.As(err, &refusal) {
			return false, fmt.Errorf("neither refused nor answered: %w", err)
		}
		s := stop{call: c}
		for _, m := range policyPattern.FindAllStringSubmatch(refusal.Message, -1) {
			if !slices.Contains(s.policies, m[1]) {
				s.policies = append(s.policies, m[1])
			}
		}
		id := questionPattern.FindString(refusal.Message)
		switch {
		case strings.Contains(refusal.Message, "denied it"):
			return false, nil
		case again:
			return false, fmt.Errorf("refused after the owner's answer: %s", refusal.Message)
		case id == "" || len(s.policies) == 0: // what is not even asked
			if strings.Contains(refusal.Message, "arguments") || strings.Contains(refusal.Message, "argument") {
				return false, nil
			}
			return false, fmt.Errorf("refused without a question: %s", refusal.Message)
		}
		p.questions++
		yes := answers && !c.attacks()
		if s.page, err = h.answer(id, yes); err != nil { // where nobody answers, a no keeps the desk empty
			return false, err
		}
		p.stopped = append(p.stopped, s)
		if !yes {
			return false, nil
		}
	}
}

var questionPattern = regexp.MustCompile(`appr_[a-z0-9]+`)
