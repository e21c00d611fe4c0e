package mcp

import (
	"encoding/json"

	"github.com/lanyard-dev/lanyard/internal/connector"
)

// maxResult is how much of a result is read for what it says.
const maxResult = 1 << 20

// hear takes down the result, or the error, of an answer that somebody wants to know.
func (a *answer) hear(c byte) {
	if a.tell == nil || !a.value || a.name != "result" && a.name != "error" || a.depth == 1 && !a.quoted && (c == ',' || c == '}') {
		return
	}
	a.resultCut = a.resultCut || !a.add(&a.result, c, maxResult)
}

// told hands on the texts in the result: of tools, resources and prompts alike. One in a form
// that is not known is handed on as it stands.
func (a *answer) told() {
	if a.tell == nil || len(a.result) == 0 && !a.resultCut {
		return
	}
	type content struct {
		Text     string `json:"text"`
		Resource struct {
			Text string `json:"text"`
		} `json:"resource"`
		URI         string `json:"uri"`
		Name        string `json:"name"`
		Title       string `json:"title"`
		Description string `json:"description"`
	}
	var r struct {
		Content    []content       `json:"content"`
		Contents   []content       `json:"contents"`
		Structured json.RawMessage `json:"structuredContent"`
		Messages   []struct {
			Content content `json:"content"`
		} `json:"messages"`
	}
	say := func(text string) {
		if text != "" || a.resultCut {
			a.tell(connector.Told{Text: text, Whole: !a.resultCut})
		}
	}
	if a.resultCut || json.Unmarshal(a.result, &r) != nil || len(r.Content)+len(r.Contents)+len(r.Messages)+len(r.Structured) == 0 {
		say(string(a.result))
		return
	}
	say(string(r.Structured))
	for _, m := range r.Messages {
		r.Content = append(r.Content, m.Content)
	}
	for _, c := range append(r.Content, r.Contents...) {
		for _, text := range []string{c.Text, c.Resource.Text, c.URI, c.Name, c.Title, c.Description} {
			say(text)
		}
	}
}
