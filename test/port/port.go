// Package port finds where a program can listen that a test, or a measurement, starts.
package port

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Free is an address of loopback where nobody listens. It is not one that the kernel
// gives out by itself (ip_local_port_range): that would be somebody's own end of a
// connection by the time it is listened at.
func Free() string {
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(15000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	panic("no port of this machine is free")
}
