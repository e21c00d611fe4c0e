package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/lanyard-dev/lanyard/internal/feed"
)

// The roles of lanyard serve.
const (
	roleAll     = "all"
	roleControl = "control"
	roleGateway = "gateway"
)

// localGateway is the gateway that runs in the control plane's own process, and localControl what stands for it where there is none.
const (
	localGateway = "gateway-1"
	localControl = "control"
)

// fleet is the part of the configuration that several processes need.
type fleet struct {
	role      string
	listen    string
	ttl       time.Duration
	controls  []string
	joinToken string
	name      string
	attest    string
	authority string
	feedL     net.Listener
}

func (f *fleet) flags(p *pflag.FlagSet) {
	p.StringVar(&f.role, "role", roleAll, "all, control (without a gateway) or gateway (which follows a control plane elsewhere)")
	p.StringVar(&f.listen, "feed-listen", "", "address where gateways elsewhere join and follow, with TLS of its own (with --role control by default 127.0.0.1:8443, else none)")
	p.DurationVar(&f.ttl, "gateway-certificate-ttl", 24*time.Hour, "for how long a gateway's certificate is good; it is renewed when half of that is over")
	p.StringSliceVar(&f.controls, "control", nil, "with --role gateway: https://host:port where control planes have --feed-listen, tried in turn; can be given again")
	p.StringVar(&f.joinToken, "join-token", "", "with --role gateway: what lanyard gateway token printed, for the first start (better in LANYARD_JOIN_TOKEN)")
	p.StringVar(&f.attest, "attested-by", "", "with --role gateway, instead of a join token: file with a token of the provider that lanyard gateway admit names")
	p.StringVar(&f.name, "name", "", "with --attested-by: the gateway's name, as it is admitted")
	p.StringVar(&f.authority, "authority", "", "with --attested-by: fingerprint of the authority by which the control plane is known, as lanyard gateway admit prints it")
}

func (f *fleet) check(sealed bool) error {
	if !slices.Contains([]string{roleAll, roleControl, roleGateway}, f.role) {
		return usage("--role %q: use all, control or gateway", f.role)
	}
	if f.role == roleControl && f.listen == "" {
		f.listen = "127.0.0.1:8443"
	}
	switch {
	case f.role == roleGateway && len(f.controls) == 0:
		return usage("--role gateway needs --control https://host:port: where the control plane has --feed-listen")
	case f.role == roleGateway && f.listen != "":
		return usage("--feed-listen is the control plane's; a gateway has --control")
	case f.role == roleGateway && sealed:
		return usage("--seal is the control plane's; a gateway seals with seal.key in its folder")
	case f.role != roleGateway && (len(f.controls) > 0 || f.joinToken+f.name+f.attest+f.authority != ""):
		return usage("--control, --join-token, --attested-by, --name and --authority are for --role gateway")
	case f.attest != "" && f.joinToken != "":
		return usage("a gateway joins with --join-token or with --attested-by, and not with both")
	case (f.attest != "") != (f.name != "") || (f.attest != "") != (f.authority != ""):
		return usage("--attested-by, --name and --authority go together")
	case f.ttl < 10*time.Second || f.ttl > 24*time.Hour:
		return usage("--gateway-certificate-ttl %s: from 10s to 24h", f.ttl)
	}
	for _, c := range f.controls {
		if _, err := feed.ParseControl(c); err != nil {
			return usage("--control %w", err)
		}
	}
	if _, _, err := net.SplitHostPort(f.listen); f.listen != "" && err != nil {
		return usage("--feed-listen %q: want host:port", f.listen)
	}
	return nil
}

// local is what follows the feed in this process.
func (f *fleet) local() string {
	if f.role == roleControl {
		return localControl
	}
	return localGateway
}

func (f *fleet) open() (err error) {
	if f.listen != "" {
		if f.feedL, err = net.Listen("tcp", f.listen); err != nil {
			return fmt.Errorf("%w; is something else there? --feed-listen takes another address", err)
		}
	}
	return nil
}

// pair is how the listeners of people and agents speak TLS; nil: they do not. A client's certificate is
// looked up by its thumbprint (RFC 8705 section 2.2), not by who signed it.
func (s *server) pair() (*tls.Config, error) {
	if s.cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(s.cert, s.key)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2", "http/1.1"}}, nil
}
