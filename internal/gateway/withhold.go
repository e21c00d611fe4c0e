package gateway

import (
	"errors"
	"net/http"

	"github.com/lanyard-dev/lanyard/internal/connector"
)

// withholds reports whether the reply to r may hold what is good for everybody who has it.
func (r *request) withholds() bool {
	w, ok := r.backend.connector.(connector.Withholder)
	return ok && w.Withholds(r.call)
}

// withhold leaves that out of a reply, with layers and without. An address elsewhere in its head is taken for such, one of the
// upstream's leads through the gateway.
func (r *request) withhold(res *http.Response) error {
	w, ok := r.backend.connector.(connector.Withholder)
	if !ok {
		return nil
	}
	delete(res.Header, "Content-Location")
	if at := res.Header["Location"]; len(at) > 0 {
		delete(res.Header, "Location")
		if here := r.through(at[0]); here != "" && len(at) == 1 {
			res.Header["Location"] = []string{here}
		} else if redirects(res.StatusCode) {
			return r.unfollowed()
		}
	}
	if res.StatusCode >= http.StatusMultipleChoices || !r.withholds() {
		return nil
	}
	b, err := r.shown, error(nil)
	if res.StatusCode == http.StatusSwitchingProtocols {
		err = errors.New("its connection is upgraded")
	} else if b == nil {
		if b, err = r.uncompressed(res, maxRevealed, r.reply); err == nil {
			err = r.holds(2 * counted(int64(len(b)))) // a copy of it, and what is sent on
		}
	}
	if err == nil && len(b) == 0 {
		res.Body = http.NoBody
		return nil
	}
	if err == nil {
		b, err = w.Withhold(b, r.keeps())
	}
	var p *problem
	if errors.As(err, &p) {
		return p
	} else if err != nil {
		return &problem{status: http.StatusBadGateway, kind: "upstream-down", cause: err, detail: "What " + r.name + " sends cannot be looked through, so it is not sent on: " + err.Error() + "."}
	}
	if r.shown != nil {
		r.shown = b
	}
	has(res, b)
	return nil
}
