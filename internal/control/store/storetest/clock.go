package storetest

import (
	"sync/atomic"
	"time"
)

// Clock is a clock that a test moves while others read it: a store's loops, a server's handlers. It begins at Epoch.
type Clock struct{ ahead atomic.Int64 }

// Now is what it says.
func (c *Clock) Now() time.Time { return Epoch.Add(time.Duration(c.ahead.Load())) }

// Pass has time go by.
func (c *Clock) Pass(d time.Duration) { c.ahead.Add(int64(d)) }

// Set moves it to a time.
func (c *Clock) Set(to time.Time) { c.ahead.Store(int64(to.Sub(Epoch))) }
