// Package built has the programs of this repository for tests that start them.
package built

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// packages are where programs are built from, which are called as the Makefile calls them.
var packages = map[string]string{
	"lanyard":      "./cmd/lanyard",
	"office":       "./examples/office/server",
	"office-agent": "./examples/office/agent",
	"office-run":   "./examples/run",
}

// Programs builds programs into bin, as make does, and returns that folder. What is there and new enough is not
// built again, so that all who test the same program share it.
func Programs(names ...string) (bin string, err error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			return "", errors.New("there is no go.mod above this folder")
		}
		root = filepath.Dir(root)
	}
	bin = filepath.Join(root, "bin")
	for _, name := range names {
		c := exec.Command("go", "build", "-o", filepath.Join(bin, name), packages[name])
		c.Dir, c.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building %s: %w: %s", name, err, out)
		}
	}
	return bin, nil
}
