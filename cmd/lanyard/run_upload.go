package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxSession is how large an answer may be that says where an upload goes on.
const maxSession = 64 << 10

// led has an upload that begins go on through the door: the gateway says at which of its own addresses, where the
// agent has nothing to show.
func (d *door) led(res *http.Response, name, gate string) error {
	through := func(address string) (string, bool) {
		rest, ok := strings.CutPrefix(address, gate+"/")
		return d.url() + "/" + name + "/" + rest, ok
	}
	if at, ok := through(res.Header.Get("Location")); ok {
		res.Header.Set("Location", at)
	}
	if res.StatusCode != http.StatusOK || !strings.HasSuffix(res.Request.URL.Path, "/createUploadSession") || res.Request.Method != http.MethodPost {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxSession+1))
	if err := errors.Join(err, res.Body.Close()); err != nil || len(b) > maxSession {
		return errors.New("what it says of an upload cannot be read")
	}
	var v map[string]json.RawMessage
	var at string
	if json.Unmarshal(b, &v) == nil && json.Unmarshal(v["uploadUrl"], &at) == nil {
		if at, ok := through(at); ok {
			if v["uploadUrl"], err = json.Marshal(at); err != nil {
				return err
			}
			if b, err = json.Marshal(v); err != nil {
				return err
			}
		}
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	res.Header.Set("Content-Length", strconv.Itoa(len(b)))
	return nil
}
