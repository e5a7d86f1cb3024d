package proxytest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/wire"
)

// RTSPConn returns the two ends of a connection on which the viewer has sent
// request, with c as the front hands it to a mode: First is the first message
// of request, and what stands behind it will be read after it. Both ends are
// closed when the test ends.
func RTSPConn(t testing.TB, request string) (client net.Conn, c *proxy.RTSPConn) {
	t.Helper()
	client, server := tcpPair(t)
	if _, err := io.WriteString(client, request); err != nil {
		t.Fatalf("send the first request: %v", err)
	}
	br := bufio.NewReader(server)
	server.SetReadDeadline(time.Now().Add(patience)) //nolint:errcheck // the read says it
	m, err := wire.NewReader(br).Next()
	first, ok := m.(*wire.Request)
	if err = errors.Join(err, server.SetReadDeadline(time.Time{})); err != nil || !ok {
		t.Fatalf("first request %q: %T, %v", request, m, err)
	}
	rest, _ := br.Peek(br.Buffered())
	replay := io.MultiReader(bytes.NewReader(first.Raw), bytes.NewReader(bytes.Clone(rest)), server)
	return client, proxy.NewRTSPConn(&conn{Conn: server, r: replay}, first, viewer(t, server, first), server, nil)
}

func tcpPair(t testing.TB) (client net.Conn, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return client, c.(*net.TCPConn)
}

// viewer is who the front would say has sent a request.
func viewer(t testing.TB, c net.Conn, req *wire.Request) *proxy.Viewer {
	t.Helper()
	path, query, err := proxy.RequestTarget(req)
	if err != nil {
		t.Fatalf("URL %q: %v", req.URL, err)
	}
	addr := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	return &proxy.Viewer{
		Addr:          netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()),
		Protocol:      "rtsp",
		Path:          path,
		Query:         query,
		Authorization: req.Header.Get("Authorization"),
		UserAgent:     req.Header.Get("User-Agent"),
	}
}

// A conn reads what was read of it once more, and knows whether it was closed.
type conn struct {
	net.Conn
	r      io.Reader
	closed atomic.Bool
}

func (c *conn) Read(b []byte) (int, error) { return c.r.Read(b) }

func (c *conn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}
