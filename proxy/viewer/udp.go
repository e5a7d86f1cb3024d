package viewer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"weir/proxy/rtp"
)

const (
	udpReadBuffer = 4 << 20 // asked for; the kernel gives what its limit allows
	pairTries     = 100
)

// listen binds the track's pair of ports on the address that conn uses.
func (t *track) listen(conn net.Conn) (err error) {
	local := conn.LocalAddr().(*net.TCPAddr)
	t.rtpSock, t.rtcpSock, err = listenPair(local.IP, local.Zone)
	if err != nil {
		return err
	}
	// Without the buffer the viewer works, and loses more under load.
	_ = t.rtpSock.SetReadBuffer(udpReadBuffer)
	return nil
}

// listenPair binds an even port and the next one (RFC 3550 §11).
func listenPair(ip net.IP, zone string) (even, odd *net.UDPConn, err error) {
	listen := func(port int) (*net.UDPConn, error) {
		return net.ListenUDP("udp", &net.UDPAddr{IP: ip, Port: port, Zone: zone})
	}
	for range pairTries {
		a, err := listen(0)
		if err != nil {
			return nil, nil, fmt.Errorf("bind UDP: %w", err)
		}
		port := portOf(a)
		b, err := listen(port ^ 1)
		switch {
		case err != nil:
			a.Close() // the neighbour is taken: once more
		case port%2 == 0:
			return a, b, nil
		default:
			return b, a, nil
		}
	}
	return nil, nil, errors.New("bind UDP: no free pair of ports")
}

func portOf(c *net.UDPConn) int { return c.LocalAddr().(*net.UDPAddr).Port }

// address notes where packets come from and where reports go to.
func (t *track) address(conn net.Conn, tr transport) {
	t.peer = conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	t.source = t.peer
	if tr.source.IsValid() {
		t.source = tr.source
	}
	if tr.rtp > 0 {
		t.rtpTo = netip.AddrPortFrom(t.source, uint16(tr.rtp))
	}
	if tr.rtcp > 0 {
		t.rtcpTo = netip.AddrPortFrom(t.source, uint16(tr.rtcp))
	}
}

// punch sends packets that say nothing, so that firewalls and translators on
// the way let the server's through.
func (t *track) punch(ours uint32) {
	empty := make([]byte, rtp.HeaderLen)
	empty[0] = 0x80
	t.send(t.rtpSock, empty, t.rtpTo)
	t.send(t.rtcpSock, appendReport(nil, ours, nil), t.rtcpTo)
}

// send sends one datagram, if there is somewhere to send it to. Nothing hangs
// on its arrival, so errors are dropped.
func (t *track) send(sock *net.UDPConn, b []byte, to netip.AddrPort) {
	if sock != nil && to.IsValid() {
		_, _ = sock.WriteToUDPAddrPort(b, to)
	}
}

func (t *track) close() {
	if t.rtpSock != nil {
		t.rtpSock.Close()
		t.rtcpSock.Close()
	}
}
