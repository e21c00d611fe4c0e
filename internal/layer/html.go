package layer

import (
	"bytes"
	"regexp"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// maxHTML is how deep a document may be nested; what is deeper is left out.
const maxHTML = 512

// htmlText is the text that people see of a document.
func htmlText(s string) string {
	if text, ok := simpleText(s); ok {
		return text
	}
	return treeText(s)
}

// treeText is that of any document, as a browser reads it.
func treeText(s string) string {
	root, err := html.Parse(strings.NewReader(s))
	if err != nil {
		return ""
	}
	hides := hiding(root)
	var b lines
	var walk func(*html.Node, int)
	walk = func(n *html.Node, depth int) {
		switch {
		case depth > maxHTML || n.Type == html.CommentNode || n.Type == html.DoctypeNode || n.Type == html.ElementNode && hidden(n, hides):
			return
		case n.Type == html.TextNode:
			b.text(n.Data)
			return
		}
		b.tag(n.Data)
		pre := b.pre
		b.pre = b.pre || n.DataAtom == atom.Pre
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c, depth+1)
		}
		b.pre = pre
		switch n.DataAtom {
		case atom.Br:
		case atom.Td, atom.Th:
			b.space = true
		default:
			b.tag(n.Data)
		}
	}
	walk(root, 0)
	return b.String()
}

// cleanHTML is the document without what people do not see, and without what tells its sender that it was read.
func cleanHTML(s string, invisible, tracking bool) string {
	root, err := html.Parse(strings.NewReader(s))
	if err != nil {
		return ""
	}
	hides := hiding(root)
	var walk func(*html.Node, int)
	walk = func(n *html.Node, depth int) {
		for c := n.FirstChild; c != nil; {
			next := c.NextSibling
			switch {
			case depth > maxHTML, c.Type == html.CommentNode, invisible && c.Type == html.ElementNode && c.DataAtom != atom.Style && hidden(c, hides), tracking && fetches(c):
				n.RemoveChild(c)
			default:
				if c.Type == html.TextNode && invisible {
					c.Data = visible(c.Data)
				}
				if tracking {
					unmark(c)
				}
				walk(c, depth+1)
			}
			c = next
		}
	}
	walk(root, 0)
	var b bytes.Buffer
	if html.Render(&b, root) != nil {
		return ""
	}
	return b.String()
}

var (
	hideStyle = regexp.MustCompile(`(?i)display\s*:\s*none|visibility\s*:\s*(hidden|collapse)|opacity\s*:\s*(0|0?\.0\d*)\s*(;|!|$)|font-size\s*:\s*(0|0?\.\d+)(px|pt|em|rem|%)?\s*(;|!|$)|font-size\s*:\s*[12](px|pt)?\s*(;|!|$)|(max-)?(height|width)\s*:\s*0(px|pt|em|%)?\s*(;|!|$)|text-indent\s*:\s*-\d{3,}|(left|top|right|margin-left|margin-top)\s*:\s*-\d{3,}|clip\s*:|clip-path\s*:|transform\s*:|color\s*:\s*transparent|mso-hide\s*:\s*all`)
	colorOf   = regexp.MustCompile(`(?i)(?:^|;)\s*color\s*:\s*([^;!]+)`)
	groundOf  = regexp.MustCompile(`(?i)(?:^|;)\s*background(?:-color)?\s*:\s*([^;!]+)`)
	ruleForm  = regexp.MustCompile(`(?s)([^{}]+)\{([^{}]*)\}`)
	nameForm  = regexp.MustCompile(`[.#]([A-Za-z_][\w-]*)`)
	whites    = map[string]bool{"#fff": true, "#ffffff": true, "white": true, "rgb(255,255,255)": true, "#fefefe": true, "#fdfdfd": true}
)

// sheet is what a document hides.
type sheet struct {
	names  map[string]bool // of classes and elements
	styles map[string]bool // that were looked at, and whether they hide: most of a document has the same few
}

// hides is [hides].
func (h sheet) hides(style string) bool {
	is, known := h.styles[style]
	if !known {
		is = hides(style)
		h.styles[style] = is
	}
	return is
}

// hiding is what the document's own style sheets hide.
func hiding(root *html.Node) sheet {
	names := map[string]bool{}
	var walk func(*html.Node, int)
	walk = func(n *html.Node, depth int) {
		if n.DataAtom == atom.Style && n.FirstChild != nil {
			for _, rule := range ruleForm.FindAllStringSubmatch(n.FirstChild.Data, -1) {
				if hides(rule[2]) {
					for _, name := range nameForm.FindAllStringSubmatch(rule[1], -1) {
						names[name[1]] = true
					}
				}
			}
		}
		for c := n.FirstChild; c != nil && depth < maxHTML; c = c.NextSibling {
			walk(c, depth+1)
		}
	}
	walk(root, 0)
	return sheet{names, map[string]bool{}}
}

// hides reports whether what has that style is not seen: not shown, too small, outside, or white where nothing else is behind it.
func hides(style string) bool {
	if strings.Contains(style, "/*") || strings.Contains(style, `\`) {
		return true // it may say anything
	}
	if hideStyle.MatchString(style) {
		return true
	}
	color := colorOf.FindStringSubmatch(style)
	if color == nil {
		return false
	}
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(strings.TrimSpace(s), " ", "")) }
	ground := groundOf.FindStringSubmatch(style)
	if ground == nil {
		return whites[plain(color[1])]
	}
	return plain(color[1]) == plain(ground[1])
}

func hidden(n *html.Node, by sheet) bool {
	switch n.DataAtom {
	case atom.Script, atom.Style, atom.Template, atom.Head, atom.Title, atom.Noscript, atom.Iframe, atom.Object, atom.Embed, atom.Meta, atom.Link, atom.Svg, atom.Math:
		return true
	}
	for _, a := range n.Attr {
		switch a.Key {
		case "hidden":
			return true
		case "style":
			if by.hides(a.Val) {
				return true
			}
		case "color":
			if whites[strings.ToLower(strings.TrimSpace(a.Val))] {
				return true
			}
		case "class", "id":
			for name := range strings.FieldsSeq(a.Val) {
				if by.names[name] {
					return true
				}
			}
		}
	}
	return false
}

// fetches reports whether the element has something fetched from elsewhere when the mail is shown.
func fetches(n *html.Node) bool {
	switch n.DataAtom {
	case atom.Img, atom.Image, atom.Link, atom.Iframe, atom.Object, atom.Embed, atom.Video, atom.Audio, atom.Source, atom.Script, atom.Base:
		for _, a := range n.Attr {
			if (a.Key == "src" || a.Key == "srcset" || a.Key == "href" || a.Key == "data" || a.Key == "poster") && !strings.HasPrefix(a.Val, "cid:") {
				return true
			}
		}
	case atom.Style:
		return n.FirstChild != nil && (strings.Contains(strings.ToLower(n.FirstChild.Data), "url(") || strings.Contains(n.FirstChild.Data, "@import"))
	}
	return false
}

var (
	markForm = regexp.MustCompile(`(?i)([?&])(?:utm_[a-z]+|mc_[ce]id|fbclid|gclid|dclid|msclkid|yclid|_hsenc|_hsmi|mkt_tok|vero_id|oly_[a-z]+_id|trk|elqtrackid|igshid)=[^&#\s"'<>]*`)
	tailForm = regexp.MustCompile(`\?(&|#|\s|$)`)
)

// unmarked is text whose links do not say from which mail they were followed.
func unmarked(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	return linkForm.ReplaceAllStringFunc(s, func(link string) string {
		if !markForm.MatchString(link) {
			return link
		}
		link = markForm.ReplaceAllString(link, "$1")
		for strings.Contains(link, "&&") || strings.Contains(link, "?&") {
			link = strings.NewReplacer("&&", "&", "?&", "?").Replace(link)
		}
		return strings.TrimRight(tailForm.ReplaceAllString(link, "$1"), "&")
	})
}

func unmark(n *html.Node) {
	kept := n.Attr[:0]
	for _, a := range n.Attr {
		switch a.Key {
		case "href":
			a.Val = unmarked(a.Val)
		case "background", "ping":
			continue
		case "style":
			if strings.Contains(strings.ToLower(a.Val), "url(") {
				continue
			}
		}
		kept = append(kept, a)
	}
	n.Attr = kept
}
