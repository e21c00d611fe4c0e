package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

// approved shows a write that needs a person's yes: refused with a link, approved there, done once.
func (d *demo) approved(agent func(task, expect string) (string, error)) error {
	d.say("Writing a reply it may, but each draft needs the yes of its owner. So it is refused, with a link")
	said, err := agent("draft", "needs approval")
	if err != nil {
		return err
	}
	link := regexp.MustCompile(`http\S+/approvals/appr_[a-z0-9]+`).FindString(said)
	d.say("Maya opens it, signs in with a code, reads exactly what would be sent, and approves it once")
	if err := d.maya(link, "once", "Fine, Friday it is"); err != nil {
		return err
	}
	d.say("The agent tries again: it goes through. The same a second time is a new question")
	if _, err := agent("draft", "The draft is there."); err != nil {
		return err
	}
	said, err = agent("draft", "needs approval")
	if err == nil && strings.Contains(said, link) {
		err = errors.New("the second draft waits for the answer that was given to the first")
	}
	return err
}

// maya is Maya with her browser, which keeps cookies and follows links. She reads the question at a link, and answers it.
func (d *demo) maya(link, decision, note string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar}
	d.prompt("lanyard owner sign-in maya")
	c := d.command("owner", "sign-in", "maya", "-o", "json")
	var out strings.Builder
	c.Stdout = &out
	var code struct{ Code string }
	if err := c.Run(); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out.String()), &code); err != nil {
		return err
	}
	fmt.Println(code.Code)
	d.prompt("browser " + link)
	page, err := read(browser.Get(link)) // leads to where she signs in
	if err != nil {
		return err
	}
	base := "http://" + d.listen
	page, err = submit(browser, base+"/signin", url.Values{"code": {code.Code}, "return": {field(page, "return")}})
	if err != nil {
		return err
	}
	for _, part := range []string{`(?s)<h1>(.*?)</h1>`, `(?s)<ul class="list" id="origins">(.*?)</ul>`, `(?s)<pre id="request">(.*?)</pre>`, `(?s)it says:</p>\s*<pre>(.*?)</pre>`} {
		m := regexp.MustCompile(part).FindStringSubmatch(page)
		if m == nil && strings.Contains(part, "origins") { // nobody looked where it comes from
			continue
		}
		if m == nil {
			return fmt.Errorf("the page has no %s:\n%s", part, page)
		}
		for line := range strings.Lines(strings.TrimSpace(html.UnescapeString(strings.NewReplacer("<li>", "", "</li>", "\n").Replace(m[1])))) {
			if line = strings.TrimRight(line, " \r\n"); line != "" {
				fmt.Println("  | " + line)
			}
		}
	}
	page, err = submit(browser, link, url.Values{"request": {field(page, "request")}, "decision": {decision}, "note": {note}})
	if err != nil {
		return err
	}
	m := regexp.MustCompile(`(?s)<ul class="list"><li>(.*?)</li>`).FindStringSubmatch(page)
	if m == nil {
		return fmt.Errorf("it was not decided:\n%s", page)
	}
	button := map[string]string{"once": "Approve once", "deny": "Deny"}[decision]
	fmt.Println("  [" + button + "]  " + html.UnescapeString(strings.NewReplacer("<b>", "", "</b>", "").Replace(m[1])))
	return nil
}

// field is what a form's hidden field holds.
func field(page, name string) string {
	m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(page)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

func submit(browser *http.Client, address string, form url.Values) (string, error) {
	r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin") // as a browser says of a page's own form
	return read(browser.Do(r))
}

func read(res *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s:\n%s", res.Request.URL, res.Status, b)
	}
	return string(b), err
}
