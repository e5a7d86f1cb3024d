package proxy

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"weir/proxy/wire"
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
	// Offend tells of what was said no to elsewhere: who does too much of it may
	// not be accepted any more. It never blocks.
	Offend(netip.Addr, Reason)
}

// A Ticket is a viewer's place. Requests of HTTP that belong together, such as
// those for the segments of a stream, may share one.
type Ticket interface {
	Declare(BitRate) error // what the viewer is going to need, 0 if that is not known; over RTSP right after Admit. Refused: not enough bandwidth
	Sent(n int)            // bytes that went to the viewer
	Failed()               // an HTTP request was answered by an error (400 and above): that alone makes nobody a viewer. Before Close
	Close()                // gives the place back; by each who was given it, once
}

// A Viewer is who asks, and for what. Front fills it in; Check adds what it
// learns, and takes out of Query what is the gate's; after that nobody changes
// it.
type Viewer struct {
	Addr        netip.AddrPort
	Protocol    string // "rtsp" or "http"
	Secure      bool   // came in under TLS: media may not leave in the clear
	Certificate string // common name of the certificate that it has shown and that was verified; "" for none
	Path        string // canonical

	Method        string
	Target        string // of the request, as it came: Digest covers it; never to be logged
	Query         string // never to be logged before Check, with credentials in it
	Authorization string // the header of that name, never to be logged
	Cookie        string // the same
	UserAgent     string

	Subject string // who the credentials say it is; "" for nobody in particular
	Class   string // the share of the limits it may fill; "" for the lowest
	Peer    bool   // a verified edge of this cluster
	Taken   *Taken // credentials that end here; nil for none
	Grant   any    // what else the gate has found, for its own use; nil for nothing
}

// Asking is v with another request of RTSP: the same viewer, who is to be
// checked anew. Its errors are *Refusal.
func (v Viewer) Asking(req *wire.Request) (*Viewer, error) {
	path, query, err := RequestTarget(req)
	if err != nil {
		return nil, &Refusal{Reason: BadRequest, Err: err}
	}
	v.Peer = v.Peer && path == v.Path // its mark is for one path
	v.Path, v.Query = path, query
	v.Method, v.Target = req.Method, req.URL
	v.Authorization, v.UserAgent = req.Header.Get("Authorization"), req.Header.Get("User-Agent")
	v.Subject, v.Class, v.Taken, v.Grant = "", "", nil, nil
	return &v, nil
}

// Same reports whether v is the viewer w, as far as can be told of another
// connection: the same address, name, and path.
func (v *Viewer) Same(w *Viewer) bool {
	return v.Addr.Addr() == w.Addr.Addr() && v.Subject == w.Subject && v.Path == w.Path
}

// Taken are the credentials that are the gate's own: what is sent upstream, goes
// into a cache's key, or is echoed to the viewer has none of them. A nil *Taken
// takes nothing.
type Taken struct {
	Authorization bool     // the header of that name
	Cookie        string   // a name; "" for none
	Parameters    []string // names in the query
}

// Strip returns a raw query without what is taken.
func (t *Taken) Strip(query string) string {
	if t == nil {
		return query
	}
	return strip(query, "&", t.Parameters)
}

// StripCookie returns a Cookie header without what is taken.
func (t *Taken) StripCookie(cookie string) string {
	if t == nil || t.Cookie == "" {
		return cookie
	}
	return strip(cookie, ";", []string{t.Cookie})
}

func strip(s, sep string, names []string) string {
	if !in(s, sep, names) {
		return s
	}
	var kept []string
	for p := range strings.SplitSeq(s, sep) {
		if !named(p, names) {
			kept = append(kept, p)
		}
	}
	return strings.TrimLeft(strings.Join(kept, sep), " ")
}

func in(s, sep string, names []string) bool {
	for p := range strings.SplitSeq(s, sep) {
		if named(p, names) {
			return true
		}
	}
	return false
}

func named(pair string, names []string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(pair, " "), "=")
	return slices.Contains(names, name)
}

// StripRequest takes them out of a request of RTSP. The control of a track that
// some players write behind the query of SETUP, "?token=x/trackID=0", stays.
func (t *Taken) StripRequest(req *wire.Request) {
	if t == nil {
		return
	}
	req.Header = slices.DeleteFunc(req.Header, t.takes)
	for i, f := range req.Header {
		if strings.EqualFold(f.Name, "Referer") {
			req.Header[i].Value, _, _ = strings.Cut(f.Value, "?")
		}
	}
	base, query, _ := strings.Cut(req.URL, "?")
	if !in(query, "&", t.Parameters) {
		return
	}
	control := ""
	if i := strings.LastIndexByte(query, '/'); i >= 0 && !strings.Contains(query[i:], "&") {
		if query = query[:i]; req.Method == "SETUP" {
			control = req.URL[len(base)+1+i:]
		}
	}
	if query = t.Strip(query); query != "" {
		query = "?" + query
	}
	req.URL = base + query + control
}

// takes also takes a token that comes in a later request than the one that was
// looked at.
func (t *Taken) takes(f wire.Field) bool {
	if !strings.EqualFold(f.Name, "Authorization") {
		return false
	}
	scheme, _, _ := strings.Cut(f.Value, " ")
	return t.Authorization || len(t.Parameters) > 0 && strings.EqualFold(scheme, "Bearer")
}

// Open admits everybody.
var Open Admitter = open{}

type open struct{}

func (open) Accept(netip.Addr) (func(), error)              { return func() {}, nil }
func (open) Check(context.Context, *Viewer) error           { return nil }
func (open) Admit(context.Context, *Viewer) (Ticket, error) { return openTicket{}, nil }
func (open) Offend(netip.Addr, Reason)                      {}

type openTicket struct{}

func (openTicket) Declare(BitRate) error { return nil }
func (openTicket) Sent(int)              {}
func (openTicket) Failed()               {}
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
