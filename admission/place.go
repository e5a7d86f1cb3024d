package admission

import (
	"net/netip"
	"sync/atomic"
	"time"

	"weir/proxy"
)

// A place is one viewer who is in: a session over RTSP, or over HTTP a client on
// a stream, whose requests share it. It is their proxy.Ticket.
type place struct {
	ledger *ledger
	identity
	sent atomic.Int64 // bytes since the last sample

	// The ledger's mutex guards the rest.
	gone       bool
	need       proxy.BitRate // what is set aside for it
	vague      bool          // which is not known, but what others need, or assumed
	meter      meter
	open       int       // requests over HTTP being answered
	failed     int       // of them, with an error
	kept       bool      // one was answered well
	seen       time.Time // when the last of them ended
	prev, next *place    // of the ledger's list of idle ones, the one seen last first; nil while requests are open
	index      int       // in the ledger's places
}

// An identity is what a viewer is counted by.
type identity struct {
	// download says that over HTTP no playlist and no segment was asked for yet, only
	// files; in a place, the ledger's mutex guards it and rate.
	download bool
	key      webKey     // over HTTP; zero over RTSP
	client   netip.Addr // as client makes it
	stream   string
	subject,
	class string
	max  int           // places that the subject may have by its credentials; 0 for no limit
	rate proxy.BitRate // what the stream is known to need; 0 if it is not
}

// A webKey tells viewers over HTTP apart: by their address, and their subject if
// they have one, as many may share either.
type webKey struct {
	addr            netip.Addr
	subject, stream string
}

var _ proxy.Ticket = (*place)(nil)

// Declare implements proxy.Ticket. What is not known, 0, is taken to be what
// others on the stream need.
func (p *place) Declare(rate proxy.BitRate) error { return p.ledger.declare(p, rate) }

// Sent implements proxy.Ticket.
func (p *place) Sent(n int) { p.sent.Add(int64(n)) }

// Failed implements proxy.Ticket.
func (p *place) Failed() {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	p.failed++
}

// Close implements proxy.Ticket. A session has gone then; a viewer over HTTP is
// one for a while longer, if he ever got an answer that was no error.
func (p *place) Close() {
	if p.key != (webKey{}) {
		p.ledger.rest(p)
		return
	}
	p.ledger.leave(p)
}

// free is the ticket of those who are not counted.
type free struct{}

func (free) Declare(proxy.BitRate) error { return nil }
func (free) Sent(int)                    {}
func (free) Failed()                     {}
func (free) Close()                      {}
