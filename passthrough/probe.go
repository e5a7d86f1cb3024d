package passthrough

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Probe asks a server whether it is well. A Probe is for one server and one
// goroutine: that of a live playlist remembers what it saw. The zero Probe is of no
// kind and fails.
type Probe struct {
	// Kind is what is asked:
	//   tcp       the server accepts a connection (and ends a TLS handshake)
	//   rtsp      it answers OPTIONS, whatever the answer
	//   describe  it describes Path: 200 and an SDP
	//   http      it answers a GET of Path with a status from Low to High
	//   hls       Path is a playlist that has ended, or advances: within three
	//             target durations, but at least 30 s, between calls of Do
	Kind      string
	Path      string // decoded, below the target's; "" for what the target's URL names
	Query     string // raw
	Low, High int

	seen playlistMark
}

// A Target is the server that a Probe asks.
type Target struct {
	URL    *url.URL    // with credentials; Probe.Path is below its path
	Addr   string      // to dial, host:port
	TLS    *tls.Config // nil in the clear; the caller's own
	Header http.Header // added to HTTP requests; a Host among them replaces the URL's
	// Dial makes the connection; nil for the system's way.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// ParseProbe reads what stands behind probe= in the options of an origin, such as
// tcp, describe:/live/clock or http:/health=200-299.
func ParseProbe(s string) (Probe, error) {
	kind, rest, hasPath := strings.Cut(s, ":")
	p := Probe{Kind: kind, Low: 200, High: 399}
	switch kind {
	case "tcp", "rtsp":
		if hasPath {
			return Probe{}, fmt.Errorf("%s takes no path", kind)
		}
		return p, nil
	case "describe":
		if !hasPath {
			return p, nil
		}
	case "http":
		var err error
		if rest, err = p.cutStatus(rest); err != nil {
			return Probe{}, err
		}
	case "hls":
	default:
		return Probe{}, errors.New("must be one of tcp, rtsp, describe:/path, http:/path, http:/path=200-399, hls:/path")
	}
	path, query, _ := strings.Cut(rest, "?")
	if !strings.HasPrefix(path, "/") || strings.ContainsFunc(rest, control) {
		return Probe{}, fmt.Errorf("%s needs a path, as in %s:/live", kind, kind)
	}
	p.Path, p.Query = path, strings.ReplaceAll(query, " ", "%20")
	return p, nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// cutStatus reads =200 or =200-399 off the end.
func (p *Probe) cutStatus(s string) (rest string, err error) {
	i := strings.LastIndexByte(s, '=')
	if i < 0 || strings.Trim(s[i+1:], "0123456789-") != "" {
		return s, nil // none, or it is part of the path
	}
	low, high, isRange := strings.Cut(s[i+1:], "-")
	if !isRange {
		high = low
	}
	var err1, err2 error
	p.Low, err1 = strconv.Atoi(low)
	p.High, err2 = strconv.Atoi(high)
	if err1 != nil || err2 != nil || p.Low < 100 || p.High > 599 || p.Low > p.High {
		return "", errors.New("a status is a number from 100 to 599, or two of them as in =200-399")
	}
	return s[:i], nil
}

func (p *Probe) web() bool { return p.Kind == "http" || p.Kind == "hls" }

// Do asks once. Its errors hold neither credentials nor queries; the time-out is
// that of ctx.
func (p *Probe) Do(ctx context.Context, t Target) error {
	c, err := t.open(ctx)
	if err != nil {
		return fmt.Errorf("%s probe: %w", p.Kind, err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() }) //nolint:errcheck // to end what waits for it
	defer stop()
	err = p.ask(c, t)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s probe: %w", p.Kind, err)
	}
	return nil
}

// ask talks on a connection that ends with the time.
func (p *Probe) ask(c net.Conn, t Target) error {
	switch p.Kind {
	case "tcp":
		return nil
	case "rtsp":
		return p.options(c, t)
	case "describe":
		return p.describe(c, t)
	case "http":
		return p.get(c, t)
	case "hls":
		return p.playlist(c, t, time.Now())
	}
	return errors.New("there is no such probe")
}

// open connects, and shakes hands where there is TLS.
func (t *Target) open(ctx context.Context) (net.Conn, error) {
	dial := t.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	c, err := dial(ctx, "tcp", t.Addr)
	if err != nil || t.TLS == nil {
		return c, err
	}
	secure := tls.Client(c, t.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return secure, nil
}

// url is what to ask for, without credentials.
func (p *Probe) url(t Target) *url.URL {
	u := *t.URL
	u.User = nil
	if p.Path != "" {
		u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/")+p.Path, ""
		u.RawQuery = p.Query
	}
	return &u
}
