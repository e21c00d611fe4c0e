package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/lanyard-dev/lanyard/internal/control/notify"
)

// doors is how people are told that they are asked.
type doors struct {
	webhook, webhookSecret   string
	smtp, smtpPassword, from string
	command                  string
}

func (d *doors) flags(f *pflag.FlagSet) {
	f.StringVar(&d.webhook, "notify-webhook", "", "URL that is told of each question to people, signed (Standard Webhooks)")
	f.StringVar(&d.webhookSecret, "notify-webhook-secret-file", "", "file of the secret that it is signed with: whsec_ and base64, or any text of 24 bytes or more")
	f.StringVar(&d.smtp, "notify-smtp", "", "mail server by which people are told of what waits for them: smtp://user@host:587, or smtps://")
	f.StringVar(&d.smtpPassword, "notify-smtp-password-file", "", "file of the user's password there")
	f.StringVar(&d.from, "notify-from", "", "address that those mails are from")
	f.StringVar(&d.command, "notify-command", "", "program that is run for each question to people, with JSON on its standard input")
}

// open makes the doors that the flags ask for.
func (d *doors) open() (list []notify.Door, err error) {
	add := func(door notify.Door, err error) error {
		if err != nil {
			return exit{exitUsage, fmt.Errorf("--notify-%w", err)}
		}
		list = append(list, door)
		return nil
	}
	if (d.webhook == "") != (d.webhookSecret == "") {
		return nil, usage("--notify-webhook and --notify-webhook-secret-file belong together")
	}
	if (d.smtp == "") != (d.from == "") {
		return nil, usage("--notify-smtp and --notify-from belong together")
	}
	if d.webhook != "" {
		secret, err := content(d.webhookSecret)
		if err != nil {
			return nil, err
		}
		if err := add(notify.Webhook(d.webhook, secret, time.Now)); err != nil {
			return nil, err
		}
	}
	if d.smtp != "" {
		password, err := content(d.smtpPassword)
		if err != nil {
			return nil, err
		}
		if err := add(notify.Mail(d.smtp, password, d.from, time.Now)); err != nil {
			return nil, err
		}
	}
	if d.command != "" {
		if err := add(notify.Command(d.command, time.Now)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// content is what a file holds, without the line's end; nothing without a file.
func content(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}
