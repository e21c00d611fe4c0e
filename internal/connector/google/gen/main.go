// Command gen writes the discovery documents that are built in, from those in the
// Go module google.golang.org/api, less all that does not say what requests look
// like: gen DIR.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// sources are the documents by their name here.
var sources = map[string]string{
	"gmail-v1":    "gmail/v1/gmail-api.json",
	"drive-v3":    "drive/v3/drive-api.json",
	"calendar-v3": "calendar/v3/calendar-api.json",
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("use: gen DIR")
	}
	for name := range sources {
		b, err := generate(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(os.Args[1], name+".json"), b, 0o644)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

func generate(name string) ([]byte, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "google.golang.org/api").Output()
	if err != nil {
		return nil, fmt.Errorf("finding the module: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), sources[name]))
	if err != nil {
		return nil, err
	}
	return trim(b)
}

// kept are the members that say what requests look like, by the object they stand in.
var kept = map[string]string{
	"document":  "name version revision rootUrl servicePath parameters resources methods",
	"method":    "id httpMethod path description parameters mediaUpload",
	"parameter": "location type format pattern repeated enum",
}

func trim(document []byte) ([]byte, error) {
	var d map[string]any
	if err := json.Unmarshal(document, &d); err != nil {
		return nil, err
	}
	keep(d, "document")
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(d)
	return buf.Bytes(), err
}

func keep(o map[string]any, kind string) {
	for name := range o {
		if want, known := kept[kind]; known && !strings.Contains(" "+want+" ", " "+name+" ") {
			delete(o, name)
		}
	}
	each(o["parameters"], func(p map[string]any) { keep(p, "parameter") })
	each(o["methods"], func(m map[string]any) { keep(m, "method") })
	each(o["resources"], func(r map[string]any) { keep(r, "resource") })
	if s, ok := o["description"].(string); ok {
		first, _, more := strings.Cut(s, ". ")
		if more {
			first += "."
		}
		o["description"] = first
	}
}

func each(o any, f func(map[string]any)) {
	all, _ := o.(map[string]any)
	for _, v := range all {
		if m, ok := v.(map[string]any); ok {
			f(m)
		}
	}
}
