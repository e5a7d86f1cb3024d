// Package passthrough is the rung for what the origin itself must serve, and the
// way to the origins for every rung.
//
//	viewer ──► Relay ──► Balancer ──► one of several origins
//
// The Balancer (balancer.go) turns "this path, please" into a connection to a
// server that has it. Origins form pools by kind (RTSP or HTTP) and path prefix; a
// pool shares its load by -origin.balance (pick.go) and never lends from another.
// An origin is usable while it is not down (a dial or -origin.fall probes failed)
// and not ejected (three viewers in a row were let down by it: health.go); what
// looks dead is still tried when there is nothing better. One dial is bounded by
// -origin.timeout, an answer only by the caller's context.
//
// The Relay (relay.go) is the mode. HTTP goes through proxy/forward; RTSP is
// relayed message by message: a conn is a viewer's connection, a leg the one to an
// origin on its behalf, one for one, because credentials, order and interleaved
// data belong to a connection. An exchange is a request on its way there and back
// (exchange.go), rewritten by pure functions (urls.go, transport.go, rewrite.go).
// A session has the edge's own id, a ticket and tracks; one whose media goes over
// UDP may outlive its connection. Media is handed on in place (media.go), at a
// common beat (gather.go).
//
// When a leg ends under sessions the conn moves to another origin's (move*.go); a
// track that has moved has a seam (seam*.go).
//
// An Agent (agent*.go) stands beside an origin and tells edges of it; what it tells is
// a word (word.go) about an origin, discovered or configured (discover.go).
//
// It does not store, split or publish: ANNOUNCE and RECORD are refused. Limits: 16
// unanswered requests a connection, 3 redirects, 16 tracks a session; messages as
// package wire has them. A viewer costs about 70 KiB while media moves.
//
// Locks: the Balancer's guards pools and the state of all origins; it is held for
// a choice, never over I/O, logging or metrics; Discover holds another over all it
// does. streamMemory's is held alone. In the Relay an old leg's mu comes before the
// next leg's, and leg.mu before Relay.mu and session.mu (leg.join); all others are held alone, and over nothing
// but their fields.
package passthrough
