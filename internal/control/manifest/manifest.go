// Package manifest turns YAML files into desired state, compares it with what
// is, and applies the difference in one transaction.
//
// [Parse] reads files and reports every mistake at once, each with its place.
// [Manifest.Apply] brings the state to what they say, through the registry, whose
// rules hold here as everywhere, and returns the [Plan]: what was created, changed
// and removed. To see a plan, apply it in a transaction of which nothing is kept.
// A plan of what was just applied is empty.
//
// The files a manifest names and the secrets it takes are read by whoever holds
// them, the CLI; [References] says which. A secret's value is never in a plan.
package manifest

import (
	"fmt"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
)

// File is one manifest as it was read. Paths that it names are relative to its folder.
type File struct {
	Name    string `json:"name" doc:"Path of the file, for messages and for resolving ./paths" example:"examples/office/office.yaml"`
	Content string `json:"content" doc:"The YAML"`
}

// SecretRef is a secret that a manifest takes from outside.
type SecretRef struct {
	Name string `json:"name"`           // its key among the secrets handed to Parse: "env:OFFICE_SECRET" or "file:<path>"
	Env  string `json:"env,omitempty"`  // environment variable of the CLI's
	File string `json:"file,omitempty"` // or file, relative to where the CLI runs
	At   string `json:"at"`             // file:line:column, for messages
}

// Inputs is all that a plan is made from.
type Inputs struct {
	Files       []File
	Attachments map[string][]byte // by the paths that References gave
	Secrets     map[string]string // by SecretRef.Name
}

// Mistake is one thing wrong in a file.
type Mistake struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Text   string `json:"text"` // what is wrong and what to do
}

func (m Mistake) String() string {
	if m.Line == 0 {
		return m.File + ": " + m.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Column, m.Text)
}

// Mistakes is every mistake of all files, in the order of their places. As an error it lists them all.
type Mistakes []Mistake

func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].String()
	}
	return strings.Join(lines, "\n")
}

// Op is what a plan does to an object.
type Op string

const (
	Create Op = "create"
	Change Op = "change"
	Remove Op = "remove"
)

// Step is one line of a plan.
type Step struct {
	Op     Op     `json:"op" enum:"create,change,remove"`
	Noun   string `json:"noun" enum:"owner,upstream,provider,receiver,identity,credential,grant,guardrail,secret"`
	Name   string `json:"name"`
	Fields []Diff `json:"fields,omitempty"`
	Note   string `json:"note,omitempty" doc:"What else it means, as in: its tokens die"`
}

// Diff is one field that differs. Secrets show as "set" and "changed" only.
type Diff = registry.Diff
