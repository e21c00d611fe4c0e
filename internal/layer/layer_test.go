package layer

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) // a Thursday

func rules(t testing.TB, l Layers) *Rules {
	t.Helper()
	r, err := New(l)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	for want, l := range map[string]Layers{
		"show: \"some\" is not one of full, redacted, headers, nothing": {Show: "some"},
		"contacts.see: \"ben\" is no domain":                            {Contacts: Contacts{See: []string{"ben"}}},
		"contacts.never: \"@example.com\" is no address":                {Contacts: Contacts{Never: []string{"@example.com"}}},
		"contacts.write: \"Ben <ben@example.com>\" is no address":       {Contacts: Contacts{Write: []string{"Ben <ben@example.com>"}}},
		"time.days: -1":                        {Time: Time{Days: -1}},
		"time.hours: \"9-17\": write it as in": {Time: Time{Hours: "9-17"}},
		"\"Mars/Base\" is no time zone":        {Time: Time{Hours: "Mon 08:00-18:00 Mars/Base"}},
		"\"mxn\" is no day":                    {Time: Time{Hours: "mxn 08:00-18:00 UTC"}},
		"the earlier first":                    {Time: Time{Hours: "Mon 18:00-08:00 UTC"}},
		"within.labels: an empty name":         {Within: Within{Labels: []string{""}}},
		"reduce.mask: \"card\" is not one of cards, accounts, identities, secrets": {Reduce: Reduce{Mask: []string{"card"}}},
		"reduce.patterns: \"(\" is no regular expression":                          {Reduce: Reduce{Patterns: []string{"("}}},
		"reduce.patterns: \"x*\" fits the empty text":                              {Reduce: Reduce{Patterns: []string{"x*"}}},
		"reduce.strip: \"css\" is not one of html, invisible, tracking":            {Reduce: Reduce{Strip: []string{"css"}}},
		"reduce.attachments: \"exe\" is neither":                                   {Reduce: Reduce{Attachments: []string{"exe"}}},
	} {
		if _, err := New(l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", l, err, want)
		}
	}
}

func TestContacts(t *testing.T) {
	allow := rules(t, Layers{Contacts: Contacts{Write: []string{"ben@example.com", "bücher.example", "*.partner.example"}}})
	for to, ok := range map[string]bool{
		"ben@example.com": true, "Ben@EXAMPLE.com": true, "ben@example.com.": true,
		"ben+x@example.com": false, "b.en@example.com": false, "ben@example.com.evil.example": false, "ben@examp1e.com": false,
		"ben@exаmple.com":       false, // Cyrillic а
		"ben@example.com\u200b": false, "ben@ex\u200bample.com": false,
		"ben@evil.example@example.com": false, "\"ben@example.com\"@evil.example": false, "ben@example.com,x@evil.example": false,
		"any@bücher.example": true, "any@xn--bcher-kva.example": true, "any@BÜCHER.example": true, "any@ｅxample.com": false,
		"a@x.partner.example": true, "a@partner.example": false, "a@evilpartner.example": false, "": false, "ben": false,
	} {
		if err := allow.Writes([]string{to}); (err == nil) != ok {
			t.Errorf("%q: %v", to, err)
		}
	}
	never := rules(t, Layers{Contacts: Contacts{Never: []string{"eve@example.com", "evil.example"}}})
	for to, ok := range map[string]bool{
		"ben@example.com": true, "eve@example.com": false, "EVE+x@example.com": false, "e.v.e@example.com": false,
		"x@evil.example": false, "x@deep.evil.example": false, "x@notevil.example": true, "x": false,
	} {
		if err := never.Writes([]string{to}); (err == nil) != ok {
			t.Errorf("never: %q: %v", to, err)
		}
	}
	see := rules(t, Layers{Contacts: Contacts{See: []string{"example.com"}}})
	if see.Writes([]string{"x@other.example"}) == nil {
		t.Error("who may not be seen may be written to")
	}
}

func TestAddresses(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "Ben <Ben@Example.com>, maya@example.com": "ben@example.com maya@example.com",
		"Team: a@x.example, b@x.example;":                "a@x.example b@x.example",
		"\"ben@example.com\" <eve@evil.example>":         "eve@evil.example",
		"=?utf-8?q?ben=40example.com?= <e@evil.example>": "e@evil.example",
		"ben@example.com (hi) , ":                        "ben@example.com",
		"ben@example.com> <eve@evil.example":             "ben@example.com> <eve@evil.example",
	} {
		if got := strings.Join(Addresses(header), " "); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

func TestShows(t *testing.T) {
	mail := Item{Kind: Mail, People: []string{"ben@example.com", "maya@example.com"}, Peopled: true, At: now.AddDate(0, 0, -3), Labels: []string{"INBOX"}, Placed: true}
	for name, c := range map[string]struct {
		l      Layers
		change func(*Item)
		shown  bool
	}{
		"nothing held back":   {Layers{}, func(*Item) {}, true},
		"people":              {Layers{Contacts: Contacts{See: []string{"example.com"}}}, func(*Item) {}, true},
		"one more person":     {Layers{Contacts: Contacts{See: []string{"example.com"}}}, func(i *Item) { i.People = append(i.People, "x@other.example") }, false},
		"people not known":    {Layers{Contacts: Contacts{See: []string{"example.com"}}}, func(i *Item) { i.Peopled = false }, false},
		"never":               {Layers{Contacts: Contacts{Never: []string{"ben@example.com"}}}, func(*Item) {}, false},
		"never, unreadable":   {Layers{Contacts: Contacts{Never: []string{"ben@example.com"}}}, func(i *Item) { i.People = []string{"?"} }, false},
		"young enough":        {Layers{Time: Time{Days: 4}}, func(*Item) {}, true},
		"too old":             {Layers{Time: Time{Days: 2}}, func(*Item) {}, false},
		"age not known":       {Layers{Time: Time{Days: 4}}, func(i *Item) { i.At = time.Time{} }, false},
		"label":               {Layers{Within: Within{Labels: []string{"inbox"}}}, func(*Item) {}, true},
		"another label":       {Layers{Within: Within{Labels: []string{"work"}}}, func(*Item) {}, false},
		"labels not known":    {Layers{Within: Within{Labels: []string{"inbox"}}}, func(i *Item) { i.Placed = false }, false},
		"folders are no mail": {Layers{Within: Within{Folders: []string{"f1"}}}, func(*Item) {}, true},
		"a file elsewhere":    {Layers{Within: Within{Folders: []string{"f1"}}}, func(i *Item) { *i = Item{Kind: File, Folders: []string{"f2"}, Placed: true} }, false},
		"a drive":             {Layers{Within: Within{Drives: []string{"own"}}}, func(i *Item) { *i = Item{Kind: File, Drive: "own"} }, true},
		"no drive known":      {Layers{Within: Within{Drives: []string{"own"}}}, func(i *Item) { *i = Item{Kind: File} }, false},
		"a calendar":          {Layers{Within: Within{Calendars: []string{"primary"}}}, func(i *Item) { *i = Item{Kind: Event, Calendar: "primary"} }, true},
		"another calendar":    {Layers{Within: Within{Calendars: []string{"primary"}}}, func(i *Item) { *i = Item{Kind: Event, Calendar: "x"} }, false},
		"no kind":             {Layers{}, func(i *Item) { *i = Item{} }, false},
	} {
		it := mail
		it.People = append([]string{}, mail.People...)
		c.change(&it)
		if got := rules(t, c.l).Shows(it, now); got != c.shown {
			t.Errorf("%s: shown %v", name, got)
		}
	}
}

func TestHours(t *testing.T) {
	r := rules(t, Layers{Time: Time{Hours: "Mon-Fri 08:00-18:00 Europe/Berlin"}})
	for at, open := range map[string]bool{"2026-11-26T07:00:00Z": true, "2026-11-26T06:59:59Z": false, "2026-11-26T17:00:00Z": false, "2026-11-28T12:00:00Z": false, "2026-07-02T06:00:00Z": true} {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if (r.Open(when) == nil) != open {
			t.Errorf("%s: %v", at, r.Open(when))
		}
	}
	if rules(t, Layers{Time: Time{Hours: "Sat-Sun,Wed 00:00-24:00 UTC"}}).Open(now) == nil {
		t.Error("a Thursday is none of these")
	}
}

func TestMasks(t *testing.T) {
	r := rules(t, Layers{Reduce: Reduce{Mask: []string{"cards", "accounts", "identities", "secrets"}, Patterns: []string{`ACME-\d+`}}})
	for in, want := range map[string]string{
		"pay 4111 1111 1111 1111 now":           "pay [card] now",
		"order 12 4111-1111-1111-1111":          "order 12 [card]",
		"4111111111111111 and 5500005555555559": "[card] and [card]",
		"4111 1111 1111 1112":                   "4111 1111 1111 1112", // no check digit
		"4111\u200b1111\u00a01111 1111":         "[card]",
		"４１１１１１１１１１１１１１１１":                      "[card]",
		"٤١١١١١١١١١١١١١١١":                      "[card]",
		"IBAN DE02120300000000202051.":          "IBAN [account].",
		"de02 1203 0000 0000 2020 51 please":    "[account] please",
		"DE03120300000000202051":                "DE03120300000000202051",
		"GB82 WEST 1234 5698 7654 32":           "[account]",
		"ssn 123-45-6789":                       "ssn [identity]",
		"ssn 000-45-6789":                       "ssn 000-45-6789",
		"DNI 12345678Z, not 12345678A":          "DNI [identity], not 12345678A",
		"Steuer-ID 86 095 742 719":              "Steuer-ID [identity]",
		"1 85 05 78 006 084 91":                 "[identity]",
		"key AKIAIOSFODNN7EXAMPLE":              "key [secret]",
		"password: hunter2 ok":                  "[secret] ok",
		"Your verification code is 123456":      "Your [secret]",
		"123456 is your Example code":           "[secret]",
		"-----BEGIN PRIVATE KEY-----\nabc":      "[secret]",
		"ghp_abcdefghijklmnopqrstuvwxyz012345":  "[secret]",
		"ticket ACME-77":                        "ticket [masked]",
		"phone 030 1234567, EUR 1204.00":        "phone 030 1234567, EUR 1204.00",
	} {
		if got := r.Line(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := rules(t, Layers{Show: Redacted}).Line("ask ben@example.com at https://x.example/a?b=c or +49 30 1234567"); got != "ask [address] at [link] or [phone]" {
		t.Error(got)
	}
}

func TestHTML(t *testing.T) {
	const page = `<html><head><style>.x1{display:none} .big{color:red}</style></head><body>
<!-- c0 --><p class="big">Hello</p><div style="display: none">h1</div><span class=x1>h2</span><p hidden>h3</p>
<font color="#FFFFFF">h4</font><p style="font-size:0px">h5</p><p style="color:#123;background:#123">h6</p><p style="dis/**/play:none">h7</p>
<img src="https://t.example/p.gif?id=1" width=1><a href="https://a.example/?utm_source=x&q=1">go</a><script>h8</script>so\u200bft</body></html>`
	got, kind := rules(t, Layers{Reduce: Reduce{Strip: []string{"html", "invisible"}}}).Content("text/html; charset=utf-8", strings.ReplaceAll(page, `\u200b`, "\u200b"))
	if kind != "text/plain" || got != "Hello\n\ngosoft" && got != "Hello\n\ngo soft" && strings.ContainsAny(got, "<0123456789") {
		t.Errorf("%s: %q", kind, got)
	}
	got, kind = rules(t, Layers{Reduce: Reduce{Strip: []string{"invisible", "tracking"}}}).Content("text/html", page)
	for _, gone := range []string{"h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "c0", "t.example", "utm_"} {
		if strings.Contains(got, gone) {
			t.Errorf("%s is left in %s", gone, got)
		}
	}
	if kind != "text/html" || !strings.Contains(got, `href="https://a.example/?q=1"`) || !strings.Contains(got, "Hello") {
		t.Errorf("%s: %s", kind, got)
	}
	if got, _ := rules(t, Layers{Reduce: Reduce{Mask: []string{"cards"}}}).Content("text/html", "4111<b></b>1111<i>1111</i>1111"); got != "[card]" {
		t.Errorf("a card in pieces: %s", got)
	}
	if got, _ := rules(t, Layers{}).Content("text/html", page); got != page {
		t.Error("nothing was to be changed")
	}
}

func TestOpens(t *testing.T) {
	for name, c := range map[string]struct {
		l       Layers
		kind    string
		content string
		ok      bool
	}{
		"anything":             {Layers{}, "application/x-thing", "MZ", true},
		"none":                 {Layers{Reduce: Reduce{Attachments: []string{"none"}}}, "text/plain", "hi", false},
		"pdf":                  {Layers{Reduce: Reduce{Attachments: []string{"pdf"}}}, "application/pdf", "%PDF-1.7 ", true},
		"a page called pdf":    {Layers{Reduce: Reduce{Attachments: []string{"pdf"}}}, "application/pdf", "<html><body>", false},
		"a pdf called text":    {Layers{Reduce: Reduce{Attachments: []string{"text"}}}, "text/plain", "%PDF-1.7 ", false},
		"csv":                  {Layers{Reduce: Reduce{Attachments: []string{"text"}}}, "text/csv", "a,b", true},
		"masked text":          {Layers{Reduce: Reduce{Mask: []string{"cards"}}}, "text/plain", "hi", true},
		"masks need text":      {Layers{Reduce: Reduce{Mask: []string{"cards"}}}, "application/pdf", "%PDF-1.7 ", false},
		"no text inside":       {Layers{Reduce: Reduce{Mask: []string{"cards"}}}, "text/plain", "%PDF-1.7 ", false},
		"redacted":             {Layers{Show: Redacted}, "text/plain", "hi", false},
		"headers":              {Layers{Show: Headers}, "text/plain", "hi", false},
		"a type that is none":  {Layers{Reduce: Reduce{Attachments: []string{"text"}}}, ";;", "hi", false},
		"office, which is zip": {Layers{Reduce: Reduce{Attachments: []string{"office"}}}, "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "PK\x03\x04", true},
	} {
		if got := rules(t, c.l).Opens(c.kind, []byte(c.content)); got != c.ok {
			t.Errorf("%s: %v", name, got)
		}
	}
}

var aCard = regexp.MustCompile(`(^|\D)4111111111111111(\D|$)`)

func FuzzContent(f *testing.F) {
	f.Add("text/html", `<p style="display:none">x</p>4111<b>1111 1111</b>1111`)
	f.Add("text/plain", "DE02 1203 0000 0000 2020 51 4111\u200b111111111111 password=x https://a.example/?utm_a=b&&c")
	all := Layers{Reduce: Reduce{Mask: []string{"cards", "accounts", "identities", "secrets"}, Strip: []string{"invisible", "tracking"}}}
	each := []*Rules{rules(f, all), rules(f, Layers{Show: Redacted}), rules(f, Layers{Reduce: Reduce{Strip: []string{"invisible", "tracking"}}})}
	f.Fuzz(func(t *testing.T, kind, s string) {
		for _, r := range each {
			once, k := r.Content(kind, s)
			if utf8.ValidString(s) && !utf8.ValidString(once) {
				t.Fatalf("%q is no UTF-8", once)
			}
			if r.Masks() && aCard.MatchString(once) {
				t.Fatalf("%q shows the card", once)
			}
			_, _ = r.Content(k, once)
		}
	})
}

func FuzzAddresses(f *testing.F) {
	f.Add("Ben <ben@example.com>, eve@evil.example")
	f.Add("a: b@c.example;, \"ben@example.com\" <x@y.example>")
	r := rules(f, Layers{Contacts: Contacts{See: []string{"example.com"}}})
	f.Fuzz(func(t *testing.T, header string) {
		for _, a := range Addresses(header) {
			if r.Writes([]string{a}) == nil && !strings.HasSuffix(Domain(a), "example.com") {
				t.Fatalf("%q is taken for one of example.com", a)
			}
		}
	})
}
