package front

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"go.uber.org/zap"
)

// config is for a listener whose connections may speak the given protocols in
// ALPN's names, RTSP having none; optional says that viewers need not show a
// certificate, where their authorities are known. It is nil without a pair.
func (p *keyPair) config(optional bool, protocols ...string) *tls.Config {
	if p == nil {
		return nil
	}
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     protocols,
		GetCertificate: p.certificate,
	}
	if p.clientFile == "" {
		return c
	}
	// A ticket would let in whose authority is not one any more.
	c.SessionTicketsDisabled = true
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := c.Clone()
		now.GetConfigForClient, now.ClientCAs, now.ClientAuth = nil, p.clients.Load(), tls.RequireAndVerifyClientCert
		if optional {
			now.ClientAuth = tls.VerifyClientCertIfGiven
		}
		return now, nil
	}
	return c
}

// certified is the name in the certificate that a viewer has shown and that was
// verified: the common name, or else an alternative one; "" for none.
func certified(s *tls.ConnectionState) string {
	if len(s.VerifiedChains) == 0 {
		return ""
	}
	leaf := s.VerifiedChains[0][0]
	names := slices.Concat([]string{leaf.Subject.CommonName}, leaf.DNSNames, leaf.EmailAddresses)
	for _, uri := range leaf.URIs {
		names = append(names, uri.String())
	}
	return cmp.Or(names...)
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
			c.l.handshakeFailed(c.RemoteAddr().String(), err.Error())
		}
		return nil, err
	}
	return s, s.SetDeadline(time.Time{})
}

// handshakeFailed counts; what came in from the internet is nothing to wake
// anybody for.
func (l *listener) handshakeFailed(from, why string) {
	l.failed.Add(1)
	l.log.Debug("handshake failed", zap.String("from", from), zap.String("error", why))
}

// below is the socket that handlers may write to by themselves; nil under TLS.
func (c *conn) below() *net.TCPConn {
	if c.l.tls != nil {
		return nil
	}
	return c.tcp
}
