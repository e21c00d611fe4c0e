package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/cabinet"
	"github.com/lanyard-dev/lanyard/internal/datebook"
)

func (a *app) calendar() *cobra.Command {
	var in datebook.Config
	var c account
	run := &cobra.Command{Use: "run --caldav URL --user USER --password-env VARIABLE", Short: "Put a CalDAV account behind Google Calendar's interface, for the gateway", Args: cobra.NoArgs,
		Long: `Serve a calendar account that speaks CalDAV as Google Calendar's interface has it, so
that the gateway can have it as an upstream like any other: --google calendar/v3, with
the same words, layers and packs. The account's calendars are found at the server
itself (RFC 6764); a calendar's id is the last part of its path. Whether those who are
invited are written to is the server's doing (RFC 6638). It decides nothing by itself.` + accountHelp,
		Example: `  lanyard calendar run --caldav https://dav.example.com --user maya@example.com --password-env CALENDAR_PASSWORD --credential-env CALENDAR_SECRET
  lanyard upstream put calendar --url http://127.0.0.1:3003 --google calendar/v3 --owner maya --credential-env CALENDAR_SECRET`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.bridge(cmd, c, func(o unlocked) (served, error) {
				in.User, in.Address, in.Password, in.Credential, in.TLS, in.Log = c.user, c.address, o.password, o.credential, o.tls, o.log
				return datebook.New(in)
			})
		}}
	f := run.Flags()
	f.StringVar(&in.URL, "caldav", "", "the server, or where the account's calendars are on it: https, or http on loopback")
	f.StringVar(&in.Primary, "primary", "", "the calendar that is called primary, by its id (default the first)")
	c.flags(run, "127.0.0.1:3003", "address")
	_ = run.MarkFlagRequired("caldav") // it is there
	return noun("calendar", "Calendar accounts that speak CalDAV", run)
}

func (a *app) drive() *cobra.Command {
	var in cabinet.Config
	var c account
	var room int64
	run := &cobra.Command{Use: "run --webdav URL --user USER --password-env VARIABLE", Short: "Put files on a WebDAV server behind Google Drive's interface, for the gateway", Args: cobra.NoArgs,
		Long: `Serve a folder of a WebDAV server as Google Drive's interface has it, so that the gateway
can have it as an upstream like any other: --google drive/v3, with the same words,
layers and packs. A file's id says where it lies, so one that is moved has another.
There is no trash, and no sharing: WebDAV does not say who else sees a file, so say it
with --seen-by. What comes in several requests lies in files without a name, which only
this process can read, until all of it is there. It decides nothing by itself.` + accountHelp,
		Example: `  lanyard drive run --webdav https://dav.example.com/files/maya/ --user maya@example.com --password-env DRIVE_PASSWORD --credential-env DRIVE_SECRET
  lanyard upstream put drive --url http://127.0.0.1:3004 --google drive/v3 --owner maya --credential-env DRIVE_SECRET`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.bridge(cmd, c, func(o unlocked) (served, error) {
				in.User, in.Address, in.Password, in.Credential, in.TLS, in.Log = c.user, c.address, o.password, o.credential, o.tls, o.log
				if in.Room = room << 20; room < 1 || room > 1<<30 {
					return nil, errors.New("--spool-size: give a number of MiB")
				}
				return cabinet.New(in)
			})
		}}
	f := run.Flags()
	f.StringVar(&in.URL, "webdav", "", "the folder that is the drive: https, or http on loopback")
	f.StringArrayVar(&in.SeenBy, "seen-by", nil, "who else sees what is there: an address of mail, a domain, or anyone; can be given again")
	f.StringVar(&in.Spool, "spool", "", "folder for what comes in several requests (default that of temporary files)")
	f.Int64Var(&room, "spool-size", 8192, "how much of it may lie there, in MiB")
	c.flags(run, "127.0.0.1:3004", "address")
	_ = run.MarkFlagRequired("webdav") // it is there
	return noun("drive", "Files on WebDAV servers", run)
}
