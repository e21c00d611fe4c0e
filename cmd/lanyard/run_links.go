package main

import (
	"mime"
	"net/http"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/graph"
)

// led has what the gateway says leads to itself lead through the door, since at the gateway the agent has nothing to show: where there is
// more of a list, where an upload goes on, where a thing is that was made. Addresses of others are left alone.
func (d *door) led(res *http.Response, name, gate string) {
	through := func(address string) string {
		if rest, ok := strings.CutPrefix(address, gate+"/"); ok {
			return d.url() + "/" + name + "/" + rest
		}
		return address
	}
	if at := res.Header.Get("Location"); at != "" {
		res.Header.Set("Location", through(at))
	}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind != "application/json" || res.Header.Get("Content-Encoding") != "" {
		return
	}
	res.Body, res.ContentLength = connector.Turn(res.Body, graph.Turned, through), -1
	res.Header.Del("Content-Length")
}
