//go:build linux

package passthrough

import (
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/proxy/udp"
)

// BenchmarkRelayMedia: packets that are handed on in a second of CPU. The viewers
// are in this process and cost some of it: "direct" is they alone. Making the
// packets is not counted. Nothing is allocated for a packet.
func BenchmarkRelayMedia(b *testing.B) {
	b.Run("direct", func(b *testing.B) {
		benchMedia(b, func() (net.Conn, io.Reader) {
			near, far := tcpPair(b)
			return far, near
		})
	})
	for _, beat := range []time.Duration{0, 40 * time.Millisecond} {
		o := quick
		o.Beat, o.Lag = beat, time.Minute
		run := func(b *testing.B, transport func() (io.Reader, string)) {
			f := newFake(b)
			e := newEdge(b, o, f.url())
			benchMedia(b, func() (net.Conn, io.Reader) {
				media, offer := transport()
				p, l := staged(e, f, "/cam", offer)
				if media == nil {
					media = p.c
				}
				p.c.SetDeadline(time.Time{}) //nolint:errcheck // the read says it
				l.c.SetDeadline(time.Time{}) //nolint:errcheck // the write says it
				return l.c, media
			})
		}
		b.Run("tcp/beat="+beat.String(), func(b *testing.B) {
			run(b, func() (io.Reader, string) { return nil, overTCP })
		})
		b.Run("udp/beat="+beat.String(), func(b *testing.B) {
			run(b, func() (io.Reader, string) {
				pair, offer := udpPair(b, "127.0.0.1")
				return datagrams(pair), offer
			})
		})
	}
}

func datagrams(pair *udp.Pair) io.Reader {
	pair.RTP.SetDeadline(time.Time{}) //nolint:errcheck // the read says it
	return pair.RTP
}

const (
	benchSessions = 40
	benchPackets  = 8 // of a picture
)

// benchMedia sends one picture on each connection every 40 ms, packet by packet,
// as real origins do.
func benchMedia(b *testing.B, open func() (origin net.Conn, viewer io.Reader)) {
	var origins []net.Conn
	var viewers sync.WaitGroup
	b.Cleanup(viewers.Wait) // the last of all: by then they are closed
	for range benchSessions {
		origin, viewer := open()
		origins = append(origins, origin)
		viewers.Go(func() { io.CopyBuffer(io.Discard, struct{ io.Reader }{viewer}, make([]byte, 128<<10)) }) //nolint:errcheck // until it is closed
	}
	packet := frameOf(0, make([]byte, 1200))
	picture := time.NewTicker(40 * time.Millisecond)
	defer picture.Stop()
	runtime.LockOSThread() // its CPU is that of the origins
	defer runtime.UnlockOSThread()
	began, allocated := selfCPU(), mallocs()
	b.ReportAllocs()
	packets := 0
	for b.Loop() {
		<-picture.C
		for range benchPackets {
			for _, c := range origins {
				if _, err := c.Write(packet); err != nil {
					b.Fatal(err)
				}
				packets++
			}
		}
	}
	b.ReportMetric(float64(packets)/(selfCPU()-began).Seconds(), "packets/cpu-s")
	perPacket := float64(mallocs()-allocated) / float64(packets)
	b.ReportMetric(perPacket, "allocs/packet")
	if packets > 10_000 && perPacket > 0.1 {
		b.Errorf("%.2f allocations for each packet, want none", perPacket)
	}
	for _, c := range origins {
		c.Close()
	}
}

// cpu is what this process has used so far, but for the calling thread.
func selfCPU() time.Duration {
	const thread = 1 // RUSAGE_THREAD, which package syscall does not have
	var all, own syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &all) //nolint:errcheck // it cannot fail for oneself
	syscall.Getrusage(thread, &own)              //nolint:errcheck // likewise
	return time.Duration(all.Utime.Nano() + all.Stime.Nano() - own.Utime.Nano() - own.Stime.Nano())
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}
