// Package ledger says what happened, so that nobody can quietly say otherwise.
//
// An [Event] is one fact. Its leaf is one line of JSON in OCSF terms ([Event.Leaf]);
// the leaves are those of an append-only Merkle tree ([Tree], RFC 6962 hashes as in
// golang.org/x/mod/sumdb/tlog). The root of the tree, signed, is a checkpoint: a
// promise about every leaf below it. An export is the leaves themselves with the
// checkpoint and the tree's tiles; [Check] verifies one without a database and
// without trust in who made it, and says which event was changed, dropped, added
// or moved.
//
// The package imports no other room, so that an auditor's copy of it is the whole of it.
package ledger
