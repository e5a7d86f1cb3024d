package origintest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// A listener knows its connections, so that they can be counted and reset.
type listener struct {
	*net.TCPListener
	tls   *tls.Config // nil for none
	muted *atomic.Bool

	accepted func()       // told of each connection; nil tells nobody
	patch    func([]byte) // changes in place what is written; nil changes nothing

	mu    sync.Mutex
	conns map[*conn]struct{}
	dead  bool
}

// A conn is an accepted connection: TLS ended, inside.
type conn struct {
	net.Conn
	tcp *net.TCPConn
	l   *listener
}

func listen(addr string) (*listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &listener{TCPListener: l.(*net.TCPListener), conns: map[*conn]struct{}{}}, nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	tcp, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: tcp, tcp: tcp, l: l}
	if l.tls != nil {
		c.Conn = tls.Server(tcp, l.tls)
	}
	if !l.add(c) {
		reset(tcp)
		return nil, net.ErrClosed
	}
	if l.accepted != nil {
		l.accepted()
	}
	return c, nil
}

func (l *listener) add(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.dead {
		l.conns[c] = struct{}{}
	}
	return !l.dead
}

// open is how many connections there are.
func (l *listener) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// kill resets all connections. New ones are reset too, until the listener is
// closed: closed first, its server would say good-bye to them.
func (l *listener) kill() {
	l.mu.Lock()
	l.dead = true
	conns := l.conns
	l.conns = nil
	l.mu.Unlock()
	for c := range conns {
		reset(c.tcp)
	}
}

// reset closes without a good-bye, neither TLS's nor TCP's.
func reset(c *net.TCPConn) {
	c.SetLinger(0) //nolint:errcheck // it has gone already, then
	c.Close()
}

// Read throws away what comes while the origin is mute.
func (c *conn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.l.muted.Load() {
			return n, err
		}
	}
}

func (c *conn) Write(b []byte) (int, error) {
	if c.l.patch != nil {
		c.l.patch(b)
	}
	return c.Conn.Write(b)
}

func (c *conn) Close() error {
	c.l.mu.Lock()
	delete(c.l.conns, c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// A pair is two UDP sockets with neighbouring ports, the even one first, as RTP
// wants them (RFC 3550 §11).
type pair [2]*net.UDPConn

// listenPair finds a free pair by trying.
func listenPair(ip net.IP) (*pair, error) {
	var last error
	for range 100 {
		p, err := tryPair(ip)
		if err == nil {
			return p, nil
		}
		last = err
	}
	return nil, fmt.Errorf("find a pair of UDP ports: %w", last)
}

func tryPair(ip net.IP) (*pair, error) {
	rtp, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
	if err != nil {
		return nil, err
	}
	port := rtp.LocalAddr().(*net.UDPAddr).Port
	if port%2 != 0 {
		rtp.Close()
		return nil, errors.New("odd port")
	}
	rtcp, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip, Port: port + 1})
	if err != nil {
		rtp.Close()
		return nil, err
	}
	return &pair{rtp, rtcp}, nil
}

// listen is gortsplib's hook: it is asked for both sockets by their address.
func (p *pair) listen(_, addr string) (net.PacketConn, error) {
	for _, c := range p {
		if c.LocalAddr().String() == addr {
			return c, nil
		}
	}
	return nil, fmt.Errorf("listen on %s: not bound", addr)
}

func (p *pair) close() {
	for _, c := range p {
		c.Close()
	}
}
