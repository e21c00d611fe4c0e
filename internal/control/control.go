// Package control is the doors of the control plane: REST for operators, OAuth
// for identities, the feed for gateways. Behind them one [Plane] holds the
// rooms: store, registry, broker, issuer, and a view of its own state.
package control
