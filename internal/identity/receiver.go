package identity

// Receiver is a resource server elsewhere, or what speaks for several, that is told what ends: it gets
// signed events (CAEP) at its URL.
type Receiver struct {
	Name     string `json:"name"`
	URL      string `json:"url"`                     // where events are pushed (RFC 8935)
	Audience string `json:"audience"`                // aud of what it gets; default its URL
	Stream   string `json:"stream"`                  // id of its event stream (SSF), made once
	Secret   bool   `json:"authorization,omitempty"` // it wants one, which is kept sealed
	Set      string `json:"set,omitempty"`
	Version  int64  `json:"version"` // grows with each change
}
