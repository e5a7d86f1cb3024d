package proxy

import "net"

// A Hitter is a Handler that has some answers at hand. The front asks it before it
// makes a plain GET or HEAD an http.Request: for small objects net/http costs more
// than all the rest.
type Hitter interface {
	// Hit answers at once, or not at all: nil sends the request the usual way,
	// which must come to the same answer. It never blocks. Any goroutine may call
	// it; it does not keep the Plain.
	Hit(*Plain) *Hit
}

// A Plain is a GET or HEAD of HTTP/1.1 without a body that wants to be answered
// from a cache as everybody is: it has no condition, no range, no directives, no
// Via, Expect, or Upgrade, and its connection is to stay.
type Plain struct {
	Head   bool
	Host   string
	Path   string  // as URL.Path would be: canonical, but for a slash at the end
	Query  string  // as it came
	Viewer *Viewer // has passed Check
}

// A Hit is an answer. Whoever was given it writes Header and Body, and then calls
// Done once, after a write that failed as well: until then it holds memory of the
// cache. Header and Body's list of slices are his until Done; the bytes of the body
// are not to be changed.
type Hit struct {
	Header []byte        // status line and fields, to the empty line
	Body   net.Buffers   // of the length that the header says; none for HEAD
	Done   func(n int64) // n bytes of the body were sent; header and body may be used anew
}
