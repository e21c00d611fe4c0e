// Package dav speaks to a WebDAV server (RFC 4918) as one account of it: properties, content, copies.
//
// It goes nowhere but to the server it was given: redirects are not followed, and what the server says
// of other servers is an error. The account's password is sent to that server alone.
package dav

import (
	"context"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config says where the account is. URL, User and Password are required.
type Config struct {
	URL            string // https, or http on loopback
	User, Password string
	TLS            *tls.Config // nil: the system's authorities
}

// Client is one account at one server.
type Client struct {
	origin   url.URL // scheme and host
	root     Path
	user     string
	password string
	http     *http.Client
}

// New makes a Client. It connects when it is first asked.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%.80q is no URL of a server: https://host/path", c.URL)
	}
	switch ip := net.ParseIP(u.Hostname()); {
	case u.Scheme == "https", u.Scheme == "http" && (ip.IsLoopback() || u.Hostname() == "localhost"):
	default:
		return nil, fmt.Errorf("%.80q: use https; a password is not sent in the clear but on loopback", c.URL)
	}
	if c.User == "" || c.Password == "" || strings.Contains(c.User, ":") {
		return nil, errors.New("a user, without a colon, and a password are required")
	}
	var root Path
	if u.Path != "" {
		if root, err = ParsePath(u.EscapedPath()); err != nil {
			return nil, err
		}
	}
	return &Client{
		origin: url.URL{Scheme: u.Scheme, Host: u.Host}, root: root, user: c.User, password: c.Password,
		http: &http.Client{
			// No proxy: what is sent is for that server alone. No compression: lengths and ranges are those of the content.
			Transport: &http.Transport{TLSClientConfig: c.TLS, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second,
				ResponseHeaderTimeout: time.Minute, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 8, DisableCompression: true, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Root is the path of the URL that the Client was made with.
func (c *Client) Root() Path { return c.root }

// Close ends idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Request is what is asked for. Size is the length of Body in bytes, -1 if it is not known.
type Request struct {
	Method string
	Path   Path
	Folder bool // Path is that of a folder
	Header map[string]string
	Body   io.Reader
	Size   int64
}

// Status is an answer that is no success.
type Status struct {
	Code     int
	Location string // of a redirect
}

func (s *Status) Error() string {
	switch {
	case s.Code == http.StatusUnauthorized:
		return "the server does not take the user and password"
	case s.Location != "":
		return fmt.Sprintf("the server answers %d: it would be at %.200s", s.Code, s.Location)
	}
	return fmt.Sprintf("the server answers %d", s.Code)
}

// Code is the status of an error that is an answer of the server's; else 0.
func Code(err error) int {
	var s *Status
	if errors.As(err, &s) {
		return s.Code
	}
	return 0
}

// Do sends r. An answer that is no success (a 304 is none) is a *Status. The caller closes the body.
func (c *Client) Do(ctx context.Context, r Request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, c.url(r.Path, r.Folder), r.Body)
	if err != nil {
		return nil, err
	}
	if req.ContentLength = r.Size; r.Body == nil {
		req.ContentLength = 0
	} else if r.Size == 0 {
		req.Body = http.NoBody
	}
	for name, value := range r.Header {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	req.Header.Set("User-Agent", "lanyard")
	req.SetBasicAuth(c.user, c.password)
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reaching the server: %w", err)
	}
	if res.StatusCode/100 != 2 {
		_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
		_ = res.Body.Close()
		return nil, &Status{Code: res.StatusCode, Location: res.Header.Get("Location")}
	}
	return res, nil
}

func (c *Client) url(p Path, folder bool) string {
	return c.origin.Scheme + "://" + c.origin.Host + p.Escaped(folder)
}

// Send is Do for what has no answer but that it was done, which is returned with its header alone.
func (c *Client) Send(ctx context.Context, r Request) (http.Header, error) {
	res, err := c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusMultiStatus { // of a folder: something in it was not done
		return nil, &Status{Code: http.StatusConflict}
	}
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	return res.Header, nil
}

// Transfer copies or moves (COPY, MOVE) to a place where nothing is yet; 412 if there is.
func (c *Client) Transfer(ctx context.Context, method string, from Path, folder bool, to Path) error {
	_, err := c.Send(ctx, Request{Method: method, Path: from, Folder: folder, Header: map[string]string{
		"Destination": c.url(to, folder), "Overwrite": "F", "Depth": "infinity"}})
	return err
}

// Namespaces of properties.
const (
	DAV    = "DAV:"
	CalDAV = "urn:ietf:params:xml:ns:caldav"
)

// Node is an element of XML.
type Node struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Text    string     `xml:",chardata"`
	Nodes   []Node     `xml:",any"`
}

// Find is the first child of that name, nil if there is none. It may be called of nil.
func (n *Node) Find(space, name string) *Node {
	if n == nil {
		return nil
	}
	for i := range n.Nodes {
		if n.Nodes[i].XMLName == (xml.Name{Space: space, Local: name}) {
			return &n.Nodes[i]
		}
	}
	return nil
}

// Value is the text of an element, without space around it; "" of nil.
func (n *Node) Value() string {
	if n == nil {
		return ""
	}
	return strings.TrimSpace(n.Text)
}

// Resource is one thing on the server, with the properties that were found.
type Resource struct {
	Path  Path
	props []Node
}

// Prop is a property, nil if it was not found.
func (r *Resource) Prop(space, name string) *Node {
	for i := range r.props {
		if n := r.props[i].Find(space, name); n != nil {
			return n
		}
	}
	return nil
}

// How large an answer in XML may be: bytes, and elements and attributes, which take more memory than they have bytes.
const (
	maxReply = 32 << 20
	maxParts = 1 << 19
)

// counted are the tokens of an answer with few enough parts.
type counted struct {
	*xml.Decoder
	parts int
}

func (c *counted) Token() (xml.Token, error) {
	t, err := c.RawToken() // who reads from here looks at names and ends
	if begin, ok := t.(xml.StartElement); ok {
		if c.parts += 1 + len(begin.Attr); c.parts > maxParts {
			return nil, fmt.Errorf("it has more than %d elements and attributes", maxParts)
		}
	}
	return t, err
}

// Ask sends a PROPFIND or REPORT with a body of XML, and returns what the server found. What is on another
// server, or has no path that can be used, is left out.
func (c *Client) Ask(ctx context.Context, method string, at Path, folder bool, depth, body string) ([]Resource, error) {
	res, err := c.Do(ctx, Request{Method: method, Path: at, Folder: folder, Body: strings.NewReader(body), Size: int64(len(body)),
		Header: map[string]string{"Depth": depth, "Content-Type": "application/xml; charset=utf-8"}})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusMultiStatus {
		return nil, &Status{Code: res.StatusCode}
	}
	return c.read(io.LimitReader(res.Body, maxReply+1))
}

// read reads a multistatus (RFC 4918 section 14.16).
func (c *Client) read(r io.Reader) ([]Resource, error) {
	var all Node
	limited, _ := r.(*io.LimitedReader)
	err := xml.NewTokenDecoder(&counted{Decoder: xml.NewDecoder(r)}).Decode(&all)
	if limited != nil && limited.N <= 0 {
		return nil, fmt.Errorf("the server's answer is larger than %d MB", maxReply>>20)
	}
	if err != nil || all.XMLName != (xml.Name{Space: DAV, Local: "multistatus"}) {
		return nil, fmt.Errorf("the server's answer cannot be read: %w", errors.Join(errors.New("it is no multistatus"), err))
	}
	var list []Resource
	for i := range all.Nodes {
		one := &all.Nodes[i]
		p, err := c.Place(one.Find(DAV, "href").Value())
		if one.XMLName.Local != "response" || one.Find(DAV, "href") == nil || err != nil {
			continue
		}
		found := Resource{Path: p}
		for j := range one.Nodes {
			set := &one.Nodes[j]
			if set.XMLName.Local != "propstat" || !success(set.Find(DAV, "status").Value()) {
				continue
			}
			if prop := set.Find(DAV, "prop"); prop != nil {
				found.props = append(found.props, *prop)
			}
		}
		if found.props != nil {
			list = append(list, found)
		}
	}
	return list, nil
}

// success reports whether a line such as "HTTP/1.1 200 OK" is one.
func success(line string) bool {
	f := strings.Fields(line)
	return len(f) > 1 && len(f[1]) == 3 && f[1][0] == '2'
}

// Time reads a date of getlastmodified (RFC 9110) or creationdate (RFC 3339); zero if it is none.
func Time(s string) time.Time {
	if t, err := http.ParseTime(s); err == nil {
		return t
	}
	t, _ := time.Parse(time.RFC3339, s)
	return t
}

// Strong reports whether an entity tag can be used in If-Match (RFC 9110 section 13.1.1).
func Strong(tag string) bool {
	return len(tag) > 2 && strings.HasPrefix(tag, `"`) && strings.HasSuffix(tag, `"`)
}
