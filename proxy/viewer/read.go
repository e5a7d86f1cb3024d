package viewer

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"weir/proxy/rtp"
	"weir/proxy/wire"
)

// read reads the connection until it ends.
func (v *Viewer) read() {
	select {
	case v.reading <- struct{}{}: // never given back: Run is the last to read
	case <-v.dead:
		return
	}
	for {
		if err := v.next(); err != nil {
			v.fail(err)
			return
		}
	}
}

// next reads one frame or message and deals with it.
func (v *Viewer) next() error {
	b, err := v.br.Peek(1)
	if err != nil {
		return fmt.Errorf("connection ended: %w", err)
	}
	if b[0] == '$' {
		done, err := v.frame()
		if err != nil {
			return fmt.Errorf("connection ended in a frame: %w", noEOF(err))
		}
		if done {
			return nil
		}
	}
	msg, err := v.msgs.Next()
	if err != nil {
		return fmt.Errorf("connection ended: %w", err)
	}
	switch m := msg.(type) {
	case *wire.Frame:
		v.interleaved(m.Channel, m.Payload)
	case *wire.Response:
		v.deliver(m)
	case *wire.Request:
		return v.serve(m)
	}
	return nil
}

// frame deals with a frame where it stands in the buffer, which spares
// wire.Reader's copy and allocation. It is not done if the frame is larger than
// the buffer.
func (v *Viewer) frame() (done bool, err error) {
	head, err := v.br.Peek(4)
	if err != nil {
		return false, err
	}
	n := 4 + int(head[2])<<8 + int(head[3])
	if n > v.br.Size() {
		return false, nil
	}
	b, err := v.br.Peek(n)
	if err != nil {
		return false, err
	}
	v.interleaved(b[1], b[4:])
	_, err = v.br.Discard(n)
	return true, err
}

// interleaved drops what comes on channels that were not agreed.
func (v *Viewer) interleaved(channel byte, pkt []byte) {
	r := v.route[channel]
	if r == 0 {
		return
	}
	t := v.tracks[(r-1)/2]
	if r%2 == 1 {
		v.packet(t, pkt)
		return
	}
	v.control(t, pkt)
}

// packet takes an RTP packet; for the goroutine that reads the track.
func (v *Viewer) packet(t *track, pkt []byte) {
	if !rtp.Valid(pkt) {
		return
	}
	t.count(pkt, v.plays.Load())
	if v.firstKey.Load() == 0 {
		now := int64(time.Since(v.start))
		v.firstPacket.CompareAndSwap(0, now)
		if !v.keyed || t.codec.IsKey(rtp.Payload(pkt)) {
			v.firstKey.CompareAndSwap(0, now)
		}
	}
	if v.o.OnPacket != nil {
		v.o.OnPacket(t.index, pkt)
	}
}

// control takes a compound RTCP packet.
func (v *Viewer) control(t *track, pkt []byte) {
	if t.note(pkt, time.Since(v.start)) {
		v.checkBye()
	}
	if v.o.OnRTCP != nil {
		v.o.OnRTCP(t.index, pkt)
	}
}

func (v *Viewer) checkBye() {
	for _, t := range v.tracks {
		if !t.bye.Load() {
			return
		}
	}
	v.byeOnce.Do(func() { close(v.allBye) })
}

// readUDP reads one socket until it is closed.
func (v *Viewer) readUDP(t *track, sock *net.UDPConn, size int, take func(*track, []byte)) {
	buf := make([]byte, size)
	for {
		if err := t.datagram(sock, buf, take); err != nil {
			v.fail(fmt.Errorf("read UDP: %w", err))
			return
		}
	}
}

// datagram reads one. Those of other hosts are not ours; other ports of the same
// one may be: translators change them.
func (t *track) datagram(sock *net.UDPConn, buf []byte, take func(*track, []byte)) error {
	n, from, err := sock.ReadFromUDPAddrPort(buf)
	if err != nil {
		return err
	}
	if a := from.Addr().Unmap(); a == t.peer || a == t.source {
		take(t, buf[:n])
	}
	return nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
