package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"time"
)

// What replicas have.
const (
	replicaTarget  = 2 * time.Second       // of the live stream
	replicaWindow  = 6                     // segments in its playlist
	replicaSegment = 96 << 10              // bytes
	replicaPiece   = 16 << 10              // bytes of a file that go out at once,
	replicaPause   = 25 * time.Millisecond // and what then passes
	replicaBegan   = 1_700_000_000         // Unix time of the live stream's segment 0
)

// A replica is an HTTP origin that has the same as any other: a live stream whose
// segments are numbered by the clock, at /live/index.m3u8, and files, at
// /files/BYTES/NAME, which it sends slowly.
type replica struct {
	lag time.Duration // how far it is behind with the live stream
}

// serve returns when the address cannot be had.
func (o *replica) serve(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return http.Serve(l, o)
}

// ServeHTTP implements http.Handler.
func (o *replica) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var n int64
	var name string
	switch path := r.URL.Path; {
	case path == "/live/index.m3u8":
		w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
		w.Write(o.playlist(o.newest(time.Now()))) //nolint:errcheck // whoever has gone has gone
	case scans(path, "/live/%d.ts", &n) && n <= o.newest(time.Now()):
		o.send(w, r, "video/mp2t", path, replicaSegment)
	case scans(path, "/files/%d/%s", &n, &name):
		o.send(&paced{ResponseWriter: w}, r, "application/octet-stream", path, n)
	default:
		http.NotFound(w, r)
	}
}

func scans(s, format string, to ...any) bool {
	n, err := fmt.Sscanf(s, format, to...)
	return err == nil && n == len(to)
}

func (o *replica) send(w http.ResponseWriter, r *http.Request, kind, path string, size int64) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Etag", fmt.Sprintf("%q", fmt.Sprint(path, size)))
	http.ServeContent(w, r, "", time.Time{}, newPattern(path, size))
}

// newest is the number of the last segment in the playlist.
func (o *replica) newest(now time.Time) int64 {
	return int64(now.Add(-o.lag).Sub(time.Unix(replicaBegan, 0)) / replicaTarget)
}

func (o *replica) playlist(last int64) []byte {
	var b bytes.Buffer
	first := last - replicaWindow + 1
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:%.0f\n#EXT-X-MEDIA-SEQUENCE:%d\n", replicaTarget.Seconds(), first)
	for i := first; i <= last; i++ {
		fmt.Fprintf(&b, "#EXTINF:%.3f,\n%d.ts\n", replicaTarget.Seconds(), i)
	}
	return b.Bytes()
}

// A paced answer goes out in pieces.
type paced struct{ http.ResponseWriter }

// Write implements io.Writer.
func (p *paced) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		var m int
		m, err = p.ResponseWriter.Write(b[:min(len(b), replicaPiece)])
		n, b = n+m, b[m:]
		p.ResponseWriter.(http.Flusher).Flush()
		<-time.After(replicaPause)
	}
	return n, err
}
