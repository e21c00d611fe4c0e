package gateway

import (
	"net/http"
	"strings"
	"unicode/utf8"
)

// Limits of one request's head.
const (
	maxTarget     = 8 << 10 // bytes of path and query
	maxParameters = 256     // query parameters
	maxHeader     = 64 << 10
)

// clean refuses, before anything is decided, every request that two parsers
// could read differently: whoever decides and whoever executes must have read
// the same. Nothing is repaired; what is kept of path and query is sent byte for
// byte. Headers that are ours, or that speak for an earlier proxy, are dropped.
func (g *Gateway) clean(r *request) error {
	if !methods(r.in.Method) {
		return malformed("The method " + quote(r.in.Method) + " is not accepted.")
	}
	path, query, _ := strings.Cut(r.in.RequestURI, "?")
	if err := cleanPath(path); err != nil {
		return err
	}
	if err := cleanQuery(query); err != nil {
		return err
	}
	if err := cleanHeader(r.in); err != nil {
		return err
	}
	return g.locate(r)
}

// methods is the exact list: CONNECT and TRACE are for proxies and debuggers,
// and "get" is not GET (RFC 9110 section 9.1).
func methods(m string) bool {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return true
	}
	return false
}

// locate finds the upstream: by host under our domain, or as the first segment of the path.
func (g *Gateway) locate(r *request) error {
	target := r.in.RequestURI
	if name, ok := g.byHost(r.in.Host); ok {
		r.name, r.target, r.byHost = name, target, true
	} else {
		end := strings.IndexAny(target[1:], "/?") + 1
		if end == 0 {
			end = len(target)
		}
		r.name, r.target = target[1:end], target[end:]
		if r.target == "" || r.target[0] == '?' {
			r.target = "/" + r.target
		}
	}
	r.path, r.query, _ = strings.Cut(r.target, "?")
	return nil
}

// byHost returns the upstream that host names: <upstream>.<Domain>, with or without a port.
func (g *Gateway) byHost(host string) (string, bool) {
	if g.domain == "" || len(host) <= len(g.domain) {
		return "", false
	}
	if i := strings.LastIndexByte(host, ':'); i > 0 {
		host = host[:i]
	}
	at := len(host) - len(g.domain)
	if at <= 0 || !strings.EqualFold(host[at:], g.domain) {
		return "", false
	}
	return strings.ToLower(host[:at]), true
}

// cleanPath accepts the origin form (RFC 9112 section 3.2.1) of one reading only
// (RFC 3986 section 3.3, less what servers are known to disagree on).
func cleanPath(p string) error {
	if len(p) > maxTarget {
		return &problem{status: http.StatusRequestURITooLong, kind: "malformed", detail: "The path is too long."}
	}
	if p == "" || p[0] != '/' {
		return malformed("The target must be a path.")
	}
	escaped := false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '/':
			if i+1 < len(p) && (p[i+1] == '/' || dots(p[i+1:])) {
				return malformed("The path has an empty or a dot segment.")
			}
		case c == '%':
			if err := cleanEscape(p[i:]); err != nil {
				return err
			}
			escaped = true
			i += 2
		case !pathByte[c]:
			return malformed("The path has a character that must not stand there unencoded.")
		}
	}
	if escaped && !utf8.ValidString(unescape(p)) {
		return malformed("The path is not UTF-8.")
	}
	return nil
}

// dots reports whether the segment that s begins with is "." or "..".
func dots(s string) bool {
	n := 0
	for n < len(s) && s[n] == '.' {
		n++
	}
	return (n == 1 || n == 2) && (n == len(s) || s[n] == '/')
}

// cleanEscape accepts the %XX that s begins with if no reader decodes it to
// something of another meaning: upper-case hex (RFC 3986 section 6.2.2.1), not an
// unreserved character (6.2.2.2), no separator, no control, not the start of a
// second encoding.
func cleanEscape(s string) error {
	if len(s) < 3 || !upperHex(s[1]) || !upperHex(s[2]) {
		return malformed("The path has a percent-encoding that is not canonical.")
	}
	c := unhex(s[1])<<4 | unhex(s[2])
	switch {
	case c < 0x20, c == 0x7f:
		return malformed("The path has an encoded control character.")
	case c == '/', c == '\\', c == ';':
		return malformed("The path has an encoded separator.")
	case unreserved(c):
		return malformed("The path has a percent-encoding that is not canonical.")
	case c == '%' && len(s) >= 5 && isHex(s[3]) && isHex(s[4]):
		return malformed("The path is encoded twice.")
	}
	return nil
}

// cleanQuery accepts what RFC 3986 section 3.4 allows, less ";" (which some take
// for "&"), NUL, and more parameters than any reader is sure to see.
func cleanQuery(q string) error {
	if len(q) > maxTarget {
		return &problem{status: http.StatusRequestURITooLong, kind: "malformed", detail: "The query is too long."}
	}
	parameters := 1
	for i := 0; i < len(q); i++ {
		switch c := q[i]; {
		case c == '&':
			if parameters++; parameters > maxParameters {
				return malformed("The query has too many parameters.")
			}
		case c == '%':
			if i+2 >= len(q) || !isHex(q[i+1]) || !isHex(q[i+2]) || q[i+1] == '0' && q[i+2] == '0' {
				return malformed("The query has a bad percent-encoding.")
			}
			i += 2
		case !pathByte[c] && c != '/' && c != '?':
			return malformed("The query has a character that must not stand there unencoded.")
		}
	}
	for part := range strings.SplitSeq(q, "&") {
		name, _, _ := strings.Cut(part, "=")
		name = strings.ReplaceAll(unescape(name), "+", " ")
		if overrides(name) {
			return malformed("The query overrides the method.")
		}
		if strings.EqualFold(name, "access_token") { // RFC 9700 section 4.3.2; it would be another credential than the one decided on
			return malformed("An access token must not stand in the query.")
		}
	}
	return nil
}

// cleanHeader refuses what is ambiguous and drops what is not the caller's to say.
func cleanHeader(in *http.Request) error {
	size := 0
	for name, values := range in.Header {
		for _, v := range values {
			size += len(name) + len(v)
		}
		if err := refusedHeader(in, name, values); err != nil {
			return err
		}
		if droppedHeader(name) {
			delete(in.Header, name)
		}
	}
	if size > maxHeader {
		return &problem{status: http.StatusRequestHeaderFieldsTooLarge, kind: "malformed", detail: "The headers are too large."}
	}
	for name := range in.Trailer {
		if ownHeader(name) || overrideHeader(name) || impersonates(name) || strings.IndexByte(name, '_') >= 0 {
			return malformed("A trailer must not be called " + quote(name) + ".")
		}
	}
	return nil
}

// refusedHeader says what is wrong with a header that makes a request ambiguous.
func refusedHeader(in *http.Request, name string, values []string) error {
	switch name {
	case "Authorization", "Dpop", "Content-Type", "Content-Length", "Upgrade", "Expect":
		if len(values) > 1 {
			return malformed("There is more than one " + name + " header.")
		}
	}
	switch name {
	case "Connection":
		for _, v := range values {
			for token := range strings.SplitSeq(v, ",") {
				if !connectionToken(strings.TrimSpace(token)) {
					return malformed("Connection names a header that is not for one hop.")
				}
			}
		}
	case "Upgrade":
		if !strings.EqualFold(values[0], "websocket") || in.Method != http.MethodGet || in.ProtoMajor != 1 {
			return malformed("An upgrade is accepted to websocket only.")
		}
	case "Expect":
		if !strings.EqualFold(values[0], "100-continue") {
			return &problem{status: http.StatusExpectationFailed, kind: "malformed", detail: "Expect is accepted with 100-continue only."}
		}
	case "Http2-Settings":
		return malformed("HTTP/2 without TLS is not accepted.")
	default:
		if len(name) >= 13 && overrideHeader(name) {
			return malformed("A header overrides the method.")
		}
		if impersonates(name) {
			return malformed("The header " + quote(name) + " asks the upstream to take the request for somebody else's.")
		}
	}
	return nil
}

// impersonates reports whether some upstream does what is asked with its own credential as whom that header names: Kubernetes
// (Impersonate-User and its like), GitLab (Sudo), Zendesk (X-On-Behalf-Of). Who acts is decided here; without the header it would be
// another request.
func impersonates(name string) bool {
	return name == "Sudo" || name == "X-On-Behalf-Of" || strings.HasPrefix(name, "Impersonate-")
}

// connectionToken lists what a client says in Connection. Anything else would
// make us drop a header that was decided on (RFC 9110 section 7.6.1).
func connectionToken(t string) bool {
	switch strings.ToLower(t) {
	case "", "close", "keep-alive", "upgrade", "te":
		return true
	}
	return false
}

func overrideHeader(name string) bool {
	switch strings.ToLower(strings.ReplaceAll(name, "_", "-")) {
	case "x-http-method-override", "x-http-method", "x-method-override":
		return true
	}
	return false
}

// droppedHeader reports whether a header of the caller goes no further. One with
// an underscore goes no further because some servers read X_Y as X-Y, unless it
// is MCP's mirror of an argument, whose name is the tool's.
func droppedHeader(name string) bool {
	switch name {
	case "Authorization", "Dpop", "Upgrade", "Connection", "Traceparent", "Te", "Trailer":
		return false // read by a later step, which drops them, or by ReverseProxy
	}
	return strings.IndexByte(name, '_') >= 0 && !strings.HasPrefix(name, "Mcp-Param-") || ownHeader(name)
}

// ownHeader reports whether a header, by its canonical name, belongs to us or to a proxy before an upstream.
func ownHeader(name string) bool {
	switch name {
	case "Authorization", "Dpop", "Dpop-Nonce", "Cookie", "Cookie2", "Set-Cookie", "Set-Cookie2", "Forwarded", "Via", "Traceparent",
		"True-Client-Ip", "Cf-Connecting-Ip", "Fastly-Client-Ip", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Azure-Clientip", "X-Originating-Ip",
		"Remote-User", "X-Rewrite-Url", "X-Override-Url", "X-Host", "X-Http-Host-Override", "Client-Cert", "Client-Cert-Chain", "Ssl-Client-Cert", "X-Ssl-Client-Cert", "X-Client-Cert",
		"Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Te", "Trailer", "Upgrade":
		return true
	}
	if strings.HasPrefix(name, "X-") {
		for _, family := range ownFamilies {
			if strings.HasPrefix(name, family) {
				return true
			}
		}
	}
	return strings.HasPrefix(name, "Proxy-") || strings.HasPrefix(name, "Lanyard-")
}

// ownFamilies begin the headers in which proxies tell an upstream who is asking for what.
var ownFamilies = [...]string{"X-Lanyard-", "X-Forwarded", "X-Original-", "X-Remote-", "X-Envoy-", "X-Auth-Request-", "X-Goog-Authenticated-", "X-Goog-Iap-", "X-Amzn-Oidc-", "X-Ms-Client-Principal"}

// pathByte is pchar of RFC 3986 section 3.3 without "%" and ";".
var pathByte = func() (t [256]bool) {
	for c := range 128 {
		t[c] = unreserved(byte(c)) || strings.IndexByte("!$&'()*+,=:@", byte(c)) >= 0
	}
	return t
}()

// unreserved is RFC 3986 section 2.3.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func upperHex(c byte) bool { return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' }
func isHex(c byte) bool    { return upperHex(c) || 'a' <= c && c <= 'f' }

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// unescape decodes s, whose escapes are known to be whole.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		} else {
			b = append(b, s[i])
		}
	}
	return string(b)
}
