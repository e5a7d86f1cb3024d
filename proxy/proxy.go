// Package proxy is the contract between the parts of Weir.
//
// A mode answers viewers (Handler), works in the background (Part), leaves what
// it does not want to the next rung (Env.Next) and fetches what it does not
// have from an Upstream. Everything else in this tree knows the others only by
// the types below; cmd/weir alone knows all names.
//
// The package holds types, null objects (Open, Alone, Refuse) and the few pure
// functions that must be the same everywhere (CleanPath, Redact). It opens no
// socket, starts no goroutine but those of Fetch, and reads no flags.
package proxy

import (
	"context"
	"flag"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// A Handler answers viewers. Both methods may be called by any number of
// goroutines at once.
type Handler interface {
	// ServeHTTP answers one HTTP request: HLS, DASH, a file, endless audio.
	// URL.Scheme and URL.Host are empty, URL.Path is canonical (CleanPath), and
	// the viewer is in the request's context (ViewerFrom).
	http.Handler

	// ServeRTSP serves one RTSP connection and owns it: it returns, with the
	// connection closed, when the connection and the sessions made on it have
	// ended, at the latest soon after ctx is done.
	ServeRTSP(ctx context.Context, c *RTSPConn)
}

// A Part works in the background and can be asked how it is, by any goroutine
// at any time.
type Part interface {
	// Run works until ctx is done and then frees all the part holds. To be
	// asked to stop is not an error. It is called once.
	Run(ctx context.Context) error
	// Status is for the status page; it marshals to JSON and is a snapshot.
	Status() any
	// Ready is nil, or why not. A Degraded error counts as ready.
	Ready() error
}

// A Mode is one rung of the ladder.
type Mode interface {
	Handler
	Part
}

// An Adminer is a Part with pages of its own. They are mounted under /<name>/
// of the admin door, with that prefix removed.
type Adminer interface{ Admin() http.Handler }

// A Drainer is told when draining starts, before viewers are let go.
type Drainer interface{ Drain() }

// Env is what every mode is given.
type Env struct {
	Next     Handler  // the rung to the right; Refuse below the last one
	Upstream Upstream // the way towards the origin
	Gate     Admitter
	Peers    Peers
	Log      *zap.Logger
	Metrics  prometheus.Registerer
}

// Build makes a mode from its flags. It validates, binds the sockets the mode
// needs, and starts nothing; without a call of Run, those sockets are freed only
// by the end of the process.
type Build func(Env) (Mode, error)

// Register declares a mode's flags on fs; the Build it returns is called after
// fs has been parsed.
type Register func(fs *flag.FlagSet) Build

// Degraded is an error of Part.Ready that does not make the node unready: the
// part works, but not as its operator would like.
type Degraded string

// Error implements error.
func (d Degraded) Error() string { return string(d) }
