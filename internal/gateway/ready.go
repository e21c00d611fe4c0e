package gateway

import "errors"

// Ready returns why this gateway would refuse what comes now, or nil.
func (g *Gateway) Ready() error {
	switch {
	case g.closed.Load():
		return errors.New("the gateway is closing")
	case g.recorder.failing.Load() && (g.Spool == nil || g.Spool.refuses.Load()):
		return errors.New("the ledger cannot be written")
	case g.recorder.held.Load() >= int64(g.Limits.Events):
		return errors.New("too many events are not in the ledger yet")
	}
	return g.View.Live()
}
