package splitter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"weir/proxy"
)

// pullBuffer is what is read from the origin at once, in bytes.
const pullBuffer = 64 << 10

// errNotRTSP is what an origin says first that speaks another protocol. gortsplib
// passes over bytes that it does not know, until its patience ends.
var errNotRTSP = errors.New("it does not speak RTSP")

func (p *puller) newClient(pl *pull, u *base.URL) *gortsplib.Client {
	c := &gortsplib.Client{
		Scheme:            u.Scheme,
		Host:              u.Host,
		ReadTimeout:       p.timeout + time.Second, // its watchdog counts in whole seconds (client_media.go:266); ours is in watch
		WriteTimeout:      p.timeout,
		UserAgent:         "Weir",
		DialContext:       p.dialer(pl),
		OnResponse:        pl.response,
		OnTransportSwitch: func(error) {},
		OnPacketsLost:     func(uint64) {}, // the gaps stay visible to viewers
		OnDecodeError:     pl.undecodable,
		OnServerRequest:   pl.told,
	}
	switch p.transport {
	case "tcp":
		v := gortsplib.TransportTCP
		c.Transport = &v
	case "udp":
		v := gortsplib.TransportUDP
		c.Transport = &v
	}
	if pl.fromEdge() {
		v := gortsplib.TransportTCP
		c.Transport = &v
		c.OnRequest = func(req *base.Request) { pl.markRequest(req, p.again) }
	}
	if pl.link.TLS != nil {
		c.TLSConfig = pl.link.TLS.Clone() // the client writes ServerName into it
	}
	return c
}

// startField is where an edge says that it wants to start at the live edge: it is
// startEdge then.
const startField = "Weir-Start"

// markRequest says that it is an edge who asks, and how it wants to start: with the
// past, for its viewers are to have one, or without, for they have seen it.
func (pl *pull) markRequest(req *base.Request, again bool) {
	req.Header["Weir-Peer"] = base.HeaderValue{pl.link.Mark}
	if again && req.Method == base.Play {
		req.Header[startField] = base.HeaderValue{startEdge}
	}
}

// dialer hands the client the link at first. When it comes again (it falls back
// from UDP to TCP, or follows a redirect) it may go to the same host only: an
// origin does not choose whom an edge talks to.
func (p *puller) dialer(pl *pull) func(context.Context, string, string) (net.Conn, error) {
	home := ""
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		if home == "" {
			home = addr
			return buffered(pl.link.Conn, pl.link.URL.Scheme == "rtsps"), nil
		}
		if addr != home {
			return nil, fmt.Errorf("redirected to %s, which is no origin of ours", addr)
		}
		link, err := p.upstream.DialRTSP(ctx, proxy.Want{Path: p.path, Origin: pl.link.Origin})
		if err != nil {
			return nil, err
		}
		pl.leave.Store(&link.Leave)
		return buffered(link.Conn, link.URL.Scheme == "rtsps"), nil
	}
}

// bufferedConn saves two system calls of three on reading.
type bufferedConn struct {
	net.Conn
	br    *bufio.Reader
	begun bool // the first byte has been seen
}

// buffered wraps a connection to an origin. Under TLS nothing is known of its bytes.
func buffered(c net.Conn, secure bool) net.Conn {
	return &bufferedConn{Conn: c, br: bufio.NewReaderSize(c, pullBuffer), begun: secure}
}

func (c *bufferedConn) Read(b []byte) (int, error) {
	if !c.begun {
		first, err := c.br.Peek(1)
		if err == nil && strings.IndexByte("R$\r\n", first[0]) < 0 {
			err = errNotRTSP
		}
		if err != nil {
			return 0, err
		}
		c.begun = true
	}
	return c.br.Read(b)
}
