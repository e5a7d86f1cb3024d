package front

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"go.uber.org/zap"
)

// config is for a listener whose connections may speak the given protocols in
// ALPN's names, RTSP having none. It is nil without a pair.
func (p *keyPair) config(protocols ...string) *tls.Config {
	if p == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     protocols,
		GetCertificate: p.certificate,
	}
}

// handshake returns what carries requests: the connection itself, or TLS over
// it once that has been agreed on.
func (c *conn) handshake(ctx context.Context, by time.Time) (net.Conn, error) {
	if c.l.tls == nil {
		return c, nil
	}
	s := tls.Server(c, c.l.tls)
	s.SetDeadline(by) //nolint:errcheck // the handshake says it
	if err := s.HandshakeContext(ctx); err != nil {
		if !errors.Is(err, io.EOF) { // who comes and goes without a word, as load balancers do
			c.l.handshakeFailed(c.RemoteAddr().String() + ": " + err.Error())
		}
		return nil, err
	}
	return s, s.SetDeadline(time.Time{})
}

// handshakeFailed counts; what came in from the internet is nothing to wake
// anybody for.
func (l *listener) handshakeFailed(how string) {
	l.failed.Add(1)
	l.log.Debug("handshake failed", zap.String("from", how)) // address: reason, as net/http says it
}

// below is the socket that handlers may write to by themselves; nil under TLS.
func (c *conn) below() *net.TCPConn {
	if c.l.tls != nil {
		return nil
	}
	return c.tcp
}
