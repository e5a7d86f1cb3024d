package proxy

import (
	"context"
	"net/netip"
)

// An Admitter decides who may watch what, and for how much. Open admits all.
// It may be used by any number of goroutines at once. Errors are *Refusal.
type Admitter interface {
	// Accept is asked of each connection: caps and bans. It never blocks; leave
	// is called once when the connection has gone.
	Accept(netip.Addr) (leave func(), err error)
	// Check is asked of each request that names what it wants: lists, rate,
	// credentials, hook. It may block, holds nothing, and what it finds is
	// remembered in v.
	Check(ctx context.Context, v *Viewer) error
	// Admit reserves a place for a viewer that has passed Check; never blocks.
	Admit(ctx context.Context, v *Viewer) (Ticket, error)
}

// A Ticket is a viewer's place.
type Ticket interface {
	Declare(BitRate) error // what the viewer is going to need; refused: not enough bandwidth
	Sent(n int)            // bytes that went to the viewer
	Close()                // gives the place back; once, more do nothing
}

// A Viewer is who asks, and for what. Front fills it in; Check adds what it
// learns; after that nobody changes it.
type Viewer struct {
	Addr          netip.AddrPort
	Protocol      string // "rtsp" or "http"
	Secure        bool   // came in under TLS: media may not leave in the clear
	Path          string // canonical
	Query         string // as it came, tokens included: never to be logged; a gate with tokens takes them out of what goes upstream
	Authorization string // the header of that name, never to be logged
	UserAgent     string

	Subject string // who the credentials say it is; "" for nobody in particular
	Class   string // the share of the limits it may fill; "" for the lowest
	Peer    bool   // a verified edge of this cluster
}

// Open admits everybody.
var Open Admitter = open{}

type open struct{}

func (open) Accept(netip.Addr) (func(), error)              { return func() {}, nil }
func (open) Check(context.Context, *Viewer) error           { return nil }
func (open) Admit(context.Context, *Viewer) (Ticket, error) { return openTicket{}, nil }

type openTicket struct{}

func (openTicket) Declare(BitRate) error { return nil }
func (openTicket) Sent(int)              {}
func (openTicket) Close()                {}

type viewerKey struct{}

// WithViewer returns a context that carries v, for HTTP requests.
func WithViewer(ctx context.Context, v *Viewer) context.Context {
	return context.WithValue(ctx, viewerKey{}, v)
}

// ViewerFrom returns the viewer that ctx carries; a blank one if there is none,
// as for a request made in process by Fetch.
func ViewerFrom(ctx context.Context) *Viewer {
	if v, ok := ctx.Value(viewerKey{}).(*Viewer); ok {
		return v
	}
	return &Viewer{}
}
