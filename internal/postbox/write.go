package postbox

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/go-json-experiment/json"

	"github.com/lanyard-dev/lanyard/internal/bridge"
	"github.com/lanyard-dev/lanyard/internal/layer"
)

// letter is a mail that a request brings: {"raw": …}, or {"message": {"raw": …}}.
func letter(r *http.Request) (raw []byte, draft string, err error) {
	var in struct {
		ID      string `json:"id"`
		Raw     string `json:"raw"`
		Message *struct {
			Raw string `json:"raw"`
		} `json:"message"`
	}
	if err := json.UnmarshalRead(r.Body, &in); err != nil {
		return nil, "", bridge.Invalid("the request is no JSON")
	}
	if in.Message != nil {
		in.Raw = in.Message.Raw
	}
	s := strings.NewReplacer("-", "+", "_", "/", "\r", "", "\n", "").Replace(strings.TrimRight(in.Raw, "=\r\n"))
	if raw, err = base64.RawStdEncoding.DecodeString(s); err != nil {
		return nil, "", bridge.Invalid("Invalid value for raw: Base64 decoding failed.")
	}
	return raw, in.ID, nil
}

// people are those in the headers of that name: bare addresses, in the form that layers and policies compare.
func people(h mail.Header, name string) (list []string, err error) {
	for _, v := range h[name] {
		all, err := mail.ParseAddressList(v)
		if err != nil && strings.TrimSpace(v) != "" {
			return nil, bridge.Invalid("%s cannot be read", name)
		}
		for _, a := range all {
			bare := layer.Bare(a.Address)
			if bare == "" {
				return nil, bridge.Invalid("%s: %.80q is no address that a mail can go to", name, a.Address)
			}
			if !slices.Contains(list, bare) {
				list = append(list, bare)
			}
		}
	}
	return list, nil
}

// outgoing is a mail as it goes out: from the account's own address, and without those who get a copy unseen.
func (p *Postbox) outgoing(raw []byte) (out []byte, to []string, err error) {
	if bytes.IndexByte(bytes.ReplaceAll(raw, []byte("\r\n"), nil), '\r') >= 0 { // some servers take CR . CR for the end of a mail, and what follows for commands
		return nil, nil, bridge.Invalid("The message has a CR that ends no line (RFC 5322 section 2.3).")
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, nil, bridge.Invalid("The message is not RFC 5322.")
	}
	for _, name := range []string{"To", "Cc", "Bcc"} {
		list, err := people(m.Header, name)
		if err != nil {
			return nil, nil, err
		}
		for _, a := range list {
			if !slices.Contains(to, a) {
				to = append(to, a)
			}
		}
	}
	for _, name := range []string{"From", "Sender"} {
		if list, err := people(m.Header, name); err != nil || len(list) > 1 || len(list) == 1 && list[0] != p.From {
			return nil, nil, bridge.Invalid("%s: mail of this account is from %s", name, p.From)
		}
	}
	if len(to) == 0 {
		return nil, nil, bridge.Invalid("Recipient address required")
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		return nil, nil, bridge.Invalid("the message cannot be read")
	}
	head, _, _ := bytes.Cut(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	var b bytes.Buffer
	keep, from := true, false
	for line := range strings.SplitSeq(string(head), "\n") {
		if line != "" && line[0] != ' ' && line[0] != '\t' {
			name, _, _ := strings.Cut(strings.ToLower(line), ":")
			keep, from = name != "bcc" && name != "resent-bcc", from || name == "from"
		}
		if keep && line != "" {
			b.WriteString(line + "\r\n")
		}
	}
	if !from {
		b.WriteString("From: <" + p.From + ">\r\n")
	}
	if m.Header.Get("Date") == "" {
		b.WriteString("Date: " + p.Now().Format("Mon, 02 Jan 2006 15:04:05 -0700") + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes(), to, nil
}

// deliver hands a mail to the server that sends it, and keeps a copy with what is sent.
func (p *Postbox) deliver(raw []byte) (any, error) {
	out, to, err := p.outgoing(raw)
	if err != nil {
		return nil, err
	}
	var c *smtp.Client
	switch p.Security {
	case TLS:
		c, err = smtp.DialTLS(p.SMTP, p.TLS)
	case StartTLS:
		c, err = smtp.DialStartTLS(p.SMTP, p.TLS)
	default:
		c, err = smtp.Dial(p.SMTP)
	}
	if err != nil {
		return nil, &bridge.Failure{Status: http.StatusBadGateway, Message: "the server that sends mail could not be reached"}
	}
	defer c.Close()
	if ok, _ := c.Extension("AUTH"); ok {
		if err := c.Auth(sasl.NewPlainClient("", p.User, p.Password)); err != nil {
			return nil, &bridge.Failure{Status: http.StatusBadGateway, Message: "the server that sends mail did not take the account's password"}
		}
	} else if p.Security != None {
		return nil, &bridge.Failure{Status: http.StatusBadGateway, Message: "the server that sends mail takes no password"}
	}
	if err := c.SendMail(p.From, to, bytes.NewReader(out)); err != nil {
		var refused *smtp.SMTPError
		if errors.As(err, &refused) {
			return nil, bridge.Invalid("the server that sends mail refused it: %d %.200s", refused.Code, refused.Message)
		}
		return nil, &bridge.Failure{Status: http.StatusBadGateway, Message: "the server that sends mail hung up: whether it went out is not known"}
	}
	_ = c.Quit() // it has gone out
	l, err := p.keep("SENT", out, imap.FlagSeen)
	if err != nil {
		p.Log.Warn("keeping a copy of what was sent", "error", err)
		return object{"id": "", "labelIds": []string{"SENT"}}, nil
	}
	return object{"id": l.id(), "threadId": l.id(), "labelIds": []string{"SENT"}}, nil
}

// keep puts a mail into a folder.
func (p *Postbox) keep(label string, raw []byte, flags ...imap.Flag) (place, error) {
	f, err := p.folder(label)
	if err != nil {
		return place{}, err
	}
	validity, err := p.open(f, true)
	if err != nil {
		return place{}, err
	}
	cmd := p.client.Append(f.name, int64(len(raw)), &imap.AppendOptions{Flags: flags, Time: p.Now()})
	if _, err := cmd.Write(raw); err != nil {
		return place{}, fmt.Errorf("keeping a mail: %w", err)
	}
	if err := cmd.Close(); err != nil {
		return place{}, fmt.Errorf("keeping a mail: %w", err)
	}
	d, err := cmd.Wait()
	if err != nil {
		return place{}, fmt.Errorf("keeping a mail: %w", err)
	}
	if d.UIDValidity != 0 {
		validity = d.UIDValidity
	}
	return place{f, validity, d.UID}, nil
}

func (p *Postbox) send(r *http.Request) (any, error) {
	raw, _, err := letter(r)
	if err != nil {
		return nil, err
	}
	return p.deliver(raw)
}

func (p *Postbox) create(r *http.Request) (any, error) {
	raw, _, err := letter(r)
	if err != nil {
		return nil, err
	}
	l, err := p.keep("DRAFT", raw, imap.FlagDraft, imap.FlagSeen)
	if err != nil {
		return nil, err
	}
	return object{"id": l.id(), "message": object{"id": l.id(), "threadId": l.id(), "labelIds": []string{"DRAFT"}}}, nil
}

func (p *Postbox) drafts(r *http.Request) (any, error) {
	if _, err := p.folder("DRAFT"); err != nil {
		return nil, err
	}
	found, next, err := p.search(r, []string{"DRAFT"})
	if err != nil {
		return nil, err
	}
	all := []any{}
	for _, l := range found {
		all = append(all, object{"id": l.id(), "message": object{"id": l.id(), "threadId": l.id()}})
	}
	v := object{"drafts": all, "resultSizeEstimate": len(all)}
	if next != "" {
		v["nextPageToken"] = next
	}
	return v, nil
}

// findDraft is where a draft is; of another folder there are none.
func (p *Postbox) findDraft(id string, writes bool) (place, error) {
	l, err := p.find(id, writes)
	if err == nil && l.folder.label != "DRAFT" {
		err = bridge.ErrNone
	}
	return l, err
}

func (p *Postbox) draft(r *http.Request) (any, error) {
	l, err := p.findDraft(r.PathValue("id"), false)
	if err != nil {
		return nil, err
	}
	m, err := p.show(l, r.URL.Query().Get("format"))
	return object{"id": l.id(), "message": m}, err
}

// sendDraft sends a draft: as it is kept, or as the request says that it is to be.
func (p *Postbox) sendDraft(r *http.Request) (any, error) {
	raw, id, err := letter(r)
	if err != nil {
		return nil, err
	}
	l, err := p.findDraft(id, true)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		if _, raw, err = p.fetch(l, false); err != nil {
			return nil, err
		}
	}
	sent, err := p.deliver(raw)
	if err != nil {
		return nil, err
	}
	if l, err = p.findDraft(id, true); err == nil {
		err = p.erase(l)
	}
	if err != nil {
		p.Log.Warn("removing a draft that was sent", "error", err)
	}
	return sent, nil
}

func (p *Postbox) modify(r *http.Request) (any, error) {
	var in struct {
		Add    []string `json:"addLabelIds"`
		Remove []string `json:"removeLabelIds"`
	}
	if err := json.UnmarshalRead(r.Body, &in); err != nil {
		return nil, bridge.Invalid("the request is no JSON")
	}
	l, err := p.find(r.PathValue("id"), true)
	if err != nil {
		return nil, err
	}
	to := ""
	for _, change := range []struct {
		labels []string
		add    bool
	}{{in.Add, true}, {in.Remove, false}} {
		for _, label := range change.labels {
			flag, on := imap.FlagFlagged, change.add
			switch strings.ToUpper(label) {
			case "UNREAD":
				flag, on = imap.FlagSeen, !change.add
			case "STARRED":
			default:
				if change.add && to != "" {
					return nil, bridge.Invalid("a mail lies in one folder: add one label")
				}
				if change.add {
					to = label
				}
				continue
			}
			op := imap.StoreFlagsDel
			if on {
				op = imap.StoreFlagsAdd
			}
			if err := p.client.Store(imap.UIDSetNum(l.uid), &imap.StoreFlags{Op: op, Silent: true, Flags: []imap.Flag{flag}}, nil).Close(); err != nil {
				return nil, fmt.Errorf("marking a message: %w", err)
			}
		}
	}
	if to == "" {
		return p.show(l, "minimal")
	}
	return p.move(l, to)
}

func (p *Postbox) relabel(label string) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		l, err := p.find(r.PathValue("id"), true)
		if err != nil {
			return nil, err
		}
		return p.move(l, label)
	}
}

// move puts a message into another folder, where it has another id.
func (p *Postbox) move(l place, label string) (any, error) {
	f, err := p.folder(label)
	if err != nil {
		return nil, err
	}
	if f == l.folder {
		return p.show(l, "minimal")
	}
	d, err := p.client.Move(imap.UIDSetNum(l.uid), f.name).Wait()
	if err != nil {
		return nil, fmt.Errorf("moving a message: %w", err)
	}
	v := object{"labelIds": []string{f.label}}
	if set, ok := d.DestUIDs.(imap.UIDSet); ok && d.UIDValidity != 0 {
		if uids, ok := set.Nums(); ok && len(uids) == 1 {
			id := place{f, d.UIDValidity, uids[0]}.id()
			v["id"], v["threadId"] = id, id
		}
	}
	return v, nil
}

func (p *Postbox) remove(r *http.Request) (any, error) {
	find := p.find
	if strings.Contains(r.URL.Path, "/drafts/") {
		find = p.findDraft
	}
	l, err := find(r.PathValue("id"), true)
	if err != nil {
		return nil, err
	}
	return nil, p.erase(l)
}

func (p *Postbox) erase(l place) error {
	set := imap.UIDSetNum(l.uid)
	if err := p.client.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		return fmt.Errorf("deleting a message: %w", err)
	}
	if err := p.client.UIDExpunge(set).Close(); err != nil {
		return fmt.Errorf("deleting a message: %w", err)
	}
	return nil
}
