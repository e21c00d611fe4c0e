package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestCatalogueRefused: a server that wants to know who asks is told of with what to show it.
func TestCatalogueRefused(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "who are you?", http.StatusUnauthorized)
	}))
	defer s.Close()
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"mcp", "catalogue", s.URL + "/mcp"}, strings.NewReader(""), &out, &errs); code != exitError || !strings.Contains(errs.String(), "it wants to know who asks: --credential-env NAME shows it a credential, --sign-in signs in by browser") {
		t.Errorf("%d %s", code, errs.String())
	}
}
