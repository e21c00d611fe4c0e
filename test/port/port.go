// Package port finds where a program can listen that a test, or a measurement, starts.
package port

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// taken is a mark on each port that was given out. Nothing is sent there.
var taken struct {
	sync.Mutex
	marks []net.PacketConn
}

// Free is an address of loopback where nobody listens. It is not one that the kernel
// gives out by itself (ip_local_port_range): that would be somebody's own end of a
// connection by the time it is listened at. Nor is it given out again, here or in another
// process, while this one runs: what was started there may be stopped, and come back.
func Free() string {
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(15000))
		mark, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			mark.Close()
			continue
		}
		l.Close()
		taken.Lock()
		taken.marks = append(taken.marks, mark)
		taken.Unlock()
		return address
	}
	panic("no port of this machine is free")
}
