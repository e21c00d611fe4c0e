package main

import (
	"bytes"
	"os"
	"testing"
)

// TestCurrent: what is built in is what the pinned module says.
func TestCurrent(t *testing.T) {
	for name := range sources {
		want, err := generate(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile("../" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s.json is not what the module google.golang.org/api has: run go generate ./internal/connector/google", name)
		}
	}
}
