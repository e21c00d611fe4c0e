package ledger

import (
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

// NewID makes the id of an event: "evt_" and a UUIDv7 (RFC 9562 section 5.7), so that ids sort by time.
func NewID(rand io.Reader, now time.Time) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(rand, b[6:]); err != nil {
		return "", fmt.Errorf("making an event id: %w", err)
	}
	ms := now.UnixMilli()
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	b[6], b[8] = b[6]&0x0f|0x70, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return "evt_" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], nil
}
