package feed

import (
	"runtime/debug"
	"sync"
)

var roomy struct {
	sync.Mutex
	users, percent int
}

// Roomy has the collector wait for twice as much garbage as it is set to (GOGC) until what it returns is called: while the millions of lines
// of a snapshot pass, nearly all of a view stays, and to follow its pointers each time is a good part of the work.
func Roomy() (over func()) {
	roomy.Lock()
	defer roomy.Unlock()
	if roomy.users++; roomy.users == 1 {
		if roomy.percent = debug.SetGCPercent(200); roomy.percent != 100 {
			debug.SetGCPercent(2 * roomy.percent) // also when it is off, which is less than 0
		}
	}
	return sync.OnceFunc(func() {
		roomy.Lock()
		defer roomy.Unlock()
		if roomy.users--; roomy.users == 0 {
			debug.SetGCPercent(roomy.percent)
		}
	})
}
