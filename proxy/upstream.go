package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
)

// An Upstream reaches the next server towards the origin. It may be used by any
// number of goroutines at once.
//
// Errors of both methods are *Refusal where no server could be reached:
// NoOrigin when none is configured for the path, OriginDown when none answers,
// OriginSlow when the context's or the upstream's patience ended first.
type Upstream interface {
	// RoundTrip sends one HTTP request. URL.Host is empty for "any origin"; it is
	// set only from configuration, never from a viewer. The request's context is
	// the only deadline; nothing is buffered. What may be asked of the edge that
	// owns it has a key in its context (Shared); everything else goes to an origin.
	http.RoundTripper

	// DialRTSP connects to a server that has w.Path. The caller closes the Link.
	DialRTSP(ctx context.Context, w Want) (*Link, error)
}

// Want says what an RTSP link is for.
type Want struct {
	Path   string   // canonical
	Direct bool     // ask no peer: a peer asks, or one has failed
	Origin string   // stick to the origin of this name, or of this host:port; "" means any
	Avoid  []string // origins that have just failed, by name: not to be tried
}

// A Link is a connection to a server.
type Link struct {
	net.Conn                 // raw TCP, a *net.TCPConn or one embedded; the caller handshakes if TLS is set
	URL      *url.URL        // what to ask for at the far end, credentials included
	TLS      *tls.Config     // nil for plain RTSP; the caller clones it before changing it
	Origin   string          // the origin's name, for Want.Origin; no credentials in it
	Mark     string          // what Weir-Peer is to say to the far end, which is another edge; "" if it is an origin
	Leave    <-chan struct{} // closed when the origin wants its sessions to go elsewhere, this one's turn having come; nil: it never says
	Fail     func(error)     // tells the upstream that this link went silent or bad; never nil
}

// Face finds another face of an Upstream, or of the one that it stands in front of
// (it has a method Unwrap then): what only some can do, such as to tell whether they
// have any origin that is up.
func Face[T any](u Upstream) (face T, ok bool) {
	for u != nil {
		if face, ok = u.(T); ok {
			return face, true
		}
		w, wraps := u.(interface{ Unwrap() Upstream })
		if !wraps {
			break
		}
		u = w.Unwrap()
	}
	return face, false
}

type sharedKey struct{}

// Shared returns a context for a request of HTTP whose answer is for everybody: the
// edge that owns the key (Peers.Owner) may be asked for it.
func Shared(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, sharedKey{}, key)
}

// SharedKey returns the key of Shared, "" if there is none.
func SharedKey(ctx context.Context) string {
	key, _ := ctx.Value(sharedKey{}).(string)
	return key
}
