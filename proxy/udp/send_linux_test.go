package udp

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// What was sent is not kept alive by a lane that rests, whether it went out or not.
func TestSentIsLetGo(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := newSender(c, false).(*socket)
	to := c.LocalAddr().(*net.UDPAddr)
	parts := make([]part, batchSize)
	for i := range parts {
		parts[i] = part{to: to, bufs: [][]byte{{byte(i)}}, size: 1, length: 1}
	}
	f := func(what string, want int) {
		t.Helper()
		if n, err := s.send(parts); n != want {
			t.Fatalf("%s: %d messages sent, %v, want %d", what, n, err, want)
		}
		for i := range s.ms {
			if s.ms[i].hdr.Iov != nil {
				t.Fatalf("%s: message %d keeps its buffers", what, i)
			}
		}
		for _, v := range s.iovs[:cap(s.iovs)] {
			if v != (unix.Iovec{}) {
				t.Fatalf("%s: a buffer is kept", what)
			}
		}
	}
	f("an open socket", batchSize)
	c.Close()
	f("a closed one", 0)
}
