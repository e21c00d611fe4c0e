package web

import (
	"embed"
	"html/template"
	"strings"
)

//go:embed pages
var files embed.FS

// Pages are the pages that need no script: signing in, connecting a client, and a notice.
var Pages = template.Must(template.New("").Funcs(template.FuncMap{"days": days}).ParseFS(files, "pages/*.html"))

// Style is what they look like.
var Style = func() []byte {
	b, err := files.ReadFile("pages/style.css")
	if err != nil {
		panic(err) // it is embedded
	}
	return b
}()

// days says 7d as people do.
func days(s string) string {
	if s == "1d" {
		return "1 day"
	}
	return strings.TrimSuffix(s, "d") + " days"
}
