package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"strings"
	"unicode"
)

//go:embed pages
var files embed.FS

// Pages are the pages that need no script: signing in, connecting a client, approving, and a notice. Their links lead below path,
// which is "" or begins with a slash and ends with none.
func Pages(path string) *template.Template {
	at := func(link any) any {
		switch link := link.(type) {
		case string:
			if strings.HasPrefix(link, "/") {
				return path + link
			}
		case template.URL:
			if strings.HasPrefix(string(link), "/") {
				return template.URL(path) + link
			}
		}
		return link
	}
	return template.Must(template.New("").Funcs(template.FuncMap{"days": days, "visible": visible, "at": at}).ParseFS(files, "pages/*.html"))
}

// Style is what they look like.
var Style = func() []byte {
	b, err := files.ReadFile("pages/style.css")
	if err != nil {
		panic(err) // it is embedded
	}
	return b
}()

// StyleIn is what they look like in the colours that a person chose in the console, light or dark; in those of their system otherwise.
func StyleIn(colours string) []byte {
	dark, ok := map[string]string{"light": "not all", "dark": "all"}[colours]
	if !ok {
		return Style
	}
	return bytes.Replace(Style, []byte("@media (prefers-color-scheme: dark)"), []byte("@media "+dark), 1)
}

// days says 7d as people do.
func days(s string) string {
	if s == "1d" {
		return "1 day"
	}
	return strings.TrimSuffix(s, "d") + " days"
}

// visible has what others wrote show every character that it has: what is unseen, or turns
// the direction of writing, could make a person read something else than is sent.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case r == unicode.ReplacementChar, unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r), unicode.Is(unicode.Zs, r) && r != ' ',
			unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r), unicode.Is(unicode.Variation_Selector, r):
			fmt.Fprintf(&b, "[U+%04X]", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
