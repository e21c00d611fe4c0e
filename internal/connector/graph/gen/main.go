// Command gen writes the part of Microsoft Graph v1.0 that is built in: gen DIR.
//
// Graph's OpenAPI description has 35 MB. Microsoft generates its Go client from it, one
// request builder a path, with the path's template, the methods and the query parameters as
// the description has them. What is kept of those is what mail, files and calendars need.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

const module = "github.com/microsoftgraph/msgraph-sdk-go@v1.89.0"

// kept are the paths, below a mailbox and below a drive.
var (
	mailbox = regexp.MustCompile(`^(/sendMail|/mailboxSettings|/messages(/\{message-id\}(/(\$value|send|reply|replyAll|forward|createReply|createReplyAll|createForward|move|copy|permanentDelete|attachments(/\{attachment-id\}(/\$value)?)?))?)?` +
		`|/mailFolders(/\{mailFolder-id\}(/childFolders|/messages(/\{message-id\})?|/messageRules(/\{messageRule-id\})?)?)?` +
		`|(/calendar|/calendars/\{calendar-id\})?/events(/\{event-id\}(/(accept|decline|tentativelyAccept|cancel|forward|instances))?)?` +
		`|(/calendar|/calendars/\{calendar-id\})?/calendarView|/calendar(/getSchedule)?|/calendars(/\{calendar-id\})?)$`)
	drive = regexp.MustCompile(`^(/root(/content)?|/items/\{driveItem-id\}(/(children|content|copy|createLink|invite|permissions(/\{permission-id\})?|search\(q='\{q\}'\)))?)?$`)
)

type operation struct {
	Summary string   `json:"summary,omitempty"`
	Query   []string `json:"query,omitempty"`
}

type document struct {
	Source  string                          `json:"source"`
	Mailbox map[string]map[string]operation `json:"mailbox"` // below /me and /users/{user-id}
	Drive   map[string]map[string]operation `json:"drive"`   // below /drives/{drive-id}
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("use: gen DIR")
	}
	b, err := generate()
	if err == nil {
		err = os.WriteFile(filepath.Join(os.Args[1], "v1.0.json"), b, 0o644)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func generate() ([]byte, error) {
	out, err := exec.Command("go", "mod", "download", "-json", module).Output()
	if err != nil {
		return nil, fmt.Errorf("fetching the module: %w", err)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		return nil, err
	}
	d := document{"derived from Microsoft's OpenAPI description of Graph v1.0, by way of " + module + ", which is generated from it", map[string]map[string]operation{}, map[string]map[string]operation{}}
	for folder, base := range map[string]string{"users": "/users/{user-id}", "drives": "/drives/{drive-id}"} {
		files, err := filepath.Glob(filepath.Join(m.Dir, folder, "*_request_builder.go"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			path, operations := read(string(b))
			rest, ok := strings.CutPrefix(path, base)
			switch {
			case ok && folder == "users" && mailbox.MatchString(rest):
				d.Mailbox[rest] = operations
			case ok && folder == "drives" && drive.MatchString(rest):
				d.Drive[rest] = operations
			}
		}
	}
	if len(d.Mailbox) < 40 || len(d.Drive) < 10 {
		return nil, fmt.Errorf("only %d and %d paths were found", len(d.Mailbox), len(d.Drive))
	}
	b, err := json.MarshalIndent(d, "", " ")
	return append(b, '\n'), err
}

var (
	templateForm = regexp.MustCompile(`NewBaseRequestBuilder\(requestAdapter, "\{\+baseurl\}([^"]*)"`)
	methodForm   = regexp.MustCompile(`(?m)^((?://.*\n)+)func \(m \*\w+\) (Get|Post|Put|Patch|Delete)\(ctx context.Context`)
	queryForm    = regexp.MustCompile(`uriparametername:"([^"]+)"`)
)

// read is the path of a request builder, and what can be done there.
func read(source string) (string, map[string]operation) {
	t := templateForm.FindStringSubmatch(source)
	if t == nil {
		return "", nil
	}
	path := t[1]
	if i := strings.Index(path, "{?"); i >= 0 {
		path = path[:i]
	}
	if i := strings.Index(path, "?"); i >= 0 { // endDateTime={endDateTime}: parameters that must be there
		path = path[:i]
	}
	operations := map[string]operation{}
	for _, m := range methodForm.FindAllStringSubmatch(source, -1) {
		text := strings.TrimPrefix(strings.SplitN(m[1], "\n", 2)[0], "// ")
		_, text, _ = strings.Cut(text, " ") // the name of the function
		o := operation{Summary: first(text)}
		if m[2] == "Get" {
			for _, q := range queryForm.FindAllStringSubmatch(source, -1) {
				o.Query = append(o.Query, strings.ReplaceAll(q[1], "%24", "$"))
			}
		}
		operations[strings.ToLower(m[2])] = o
	}
	return strings.NewReplacer("%2D", "-", "%24", "$").Replace(path), operations
}

func first(s string) string {
	if before, _, ok := strings.Cut(s, ". "); ok {
		s = before + "."
	}
	return s
}
