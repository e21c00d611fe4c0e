package e2e

import (
	"strings"
	"testing"
)

// TestToolboxOverDAV: the tools for files and a calendar work over a WebDAV server and a CalDAV server as they do over Google and Microsoft.
func TestToolboxOverDAV(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.Setenv("DAV_PASSWORD", davPassword)
	h.Setenv("DAV_SECRET", davSecret)
	h.accounts()
	calendars := h.radicale()
	if status, body := h.dav("MKCALENDAR", calendars+"/maya/home/", ""); status != 201 {
		t.Fatalf("making a calendar: %d %s", status, body)
	}
	h.bridge("calendar", "calendar/v3", "--caldav", calendars, "--primary", "home")
	h.bridge("drive", "drive/v3", "--webdav", h.apache())
	h.helper("desk", "google", "--write-to", "example.com", "--mask", "accounts")
	s := h.tools("desk", "google", nil)

	var files struct {
		Files []struct {
			ID, Name string
			Folder   bool
		}
	}
	folder := ""
	h.result(&files, s, "list_files", nil)
	for _, f := range files.Files {
		if f.Name == "Bills" && f.Folder {
			folder = f.ID
		}
	}
	if len(files.Files) != 2 || folder == "" {
		t.Fatalf("files: %+v", files)
	}
	if text, failed := h.used(s, "search_files", map[string]any{"query": "notes"}); failed || !strings.Contains(text, `"name":"notes.txt"`) || strings.Contains(text, "Bills") {
		t.Errorf("search_files: %s", text)
	}
	if h.result(&files, s, "list_files", map[string]any{"folder": folder}); len(files.Files) != 1 || files.Files[0].Name != "2041.txt" {
		t.Fatalf("in the folder: %+v", files)
	}
	if text, failed := h.used(s, "read_file", map[string]any{"id": files.Files[0].ID}); failed || !strings.Contains(text, "Pay [account] by Friday.") {
		t.Errorf("read_file: %s", text)
	}
	var made struct{ ID string }
	h.result(&made, s, "create_file", map[string]any{"name": "new.txt", "text": "Zoë", "folder": folder})
	if text, failed := h.used(s, "read_file", map[string]any{"id": made.ID}); failed || !strings.Contains(text, `"text":"Zoë"`) {
		t.Errorf("what was made: %s", text)
	}
	if text, failed := h.used(s, "share_file", map[string]any{"id": made.ID, "with": "ben@example.com"}); !failed {
		t.Errorf("WebDAV shares: %s", text)
	}

	h.result(&made, s, "create_event", map[string]any{"title": "Talk", "start": "2027-01-04T10:00:00+01:00", "end": "2027-01-04T11:00:00+01:00", "attendees": []string{"ben@example.com"}})
	day := map[string]any{"from": "2027-01-04", "to": "2027-01-05"}
	h.used(s, "update_event", map[string]any{"id": made.ID, "title": "Long talk"})
	if text, failed := h.used(s, "list_events", day); failed || !strings.Contains(text, "Long talk") || !strings.Contains(text, `"attendees":["ben@example.com"]`) {
		t.Errorf("list_events: %s", text)
	}
	if text, failed := h.used(s, "create_event", map[string]any{"title": "x", "start": "2027-01-04", "end": "2027-01-05", "attendees": []string{"eve@evil.example"}}); !failed || !strings.Contains(text, "eve@evil.example") {
		t.Errorf("invited outside: %s", text)
	}
	if text, failed := h.used(s, "delete_event", map[string]any{"id": made.ID}); failed {
		t.Errorf("delete_event: %s", text)
	}
	if text, _ := h.used(s, "list_events", day); strings.Contains(text, "Long talk") {
		t.Errorf("after it was deleted: %s", text)
	}
}
