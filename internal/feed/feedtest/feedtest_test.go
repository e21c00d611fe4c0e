package feedtest

import "testing"

func TestMemory(t *testing.T) {
	Test(t, func(*testing.T) Kit {
		m := NewMemory("e1")
		return Kit{Source: m, Put: m.Put, Compact: m.Compact}
	})
}
