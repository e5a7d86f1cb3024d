//go:build linux

package splitter

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pion "github.com/pion/rtp"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"weir/proxy"
	"weir/proxy/wire"
)

// A sink reads all sockets that it is given, by one goroutine, and throws away
// what comes.
type sink struct {
	epoll int
	conns []net.Conn // kept open
	bytes atomic.Int64
	stop  atomic.Bool
	wg    sync.WaitGroup
}

func newSink(b *testing.B) *sink {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	d := &sink{epoll: fd}
	d.wg.Go(d.run)
	b.Cleanup(func() {
		d.stop.Store(true)
		d.wg.Wait()
		unix.Close(fd)
		for _, c := range d.conns {
			c.Close()
		}
	})
	return d
}

func (d *sink) add(b *testing.B, c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	d.conns = append(d.conns, c)
	raw.Control(func(fd uintptr) { //nolint:errcheck // epoll's error is looked at
		err = unix.EpollCtl(d.epoll, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	})
	if err != nil {
		b.Fatal(err)
	}
}

func (d *sink) run() {
	events, buf := make([]unix.EpollEvent, 256), make([]byte, 256<<10)
	for !d.stop.Load() {
		n, _ := unix.EpollWait(d.epoll, events, 20)
		for i := range max(n, 0) {
			if got, _ := unix.Read(int(events[i].Fd), buf); got > 0 {
				d.bytes.Add(int64(got))
			}
		}
	}
}

// wait returns when so much has come in all.
func (d *sink) wait(b *testing.B, bytes int64) {
	for deadline := time.Now().Add(10 * time.Second); d.bytes.Load() < bytes; runtime.Gosched() {
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d bytes came", d.bytes.Load(), bytes)
		}
	}
}

// cpu is what this thread has used.
func cpu(b *testing.B) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// crowd makes viewers over TCP that play, with these channels, and a worker that
// has all of them and is not run.
func crowd(b *testing.B, viewers int, channels []int) (*camera, *share, *sink) {
	s := newTestSplitter(b, Options{})
	s.log, s.workers = zap.NewNop(), newWorkers(1)
	cam := newCamera(b, avSDP)
	f := feedOf(s, cam, avSDP, b)
	d := newSink(b)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	cam.source(time.Now())
	cam.picture(true, 1, time.Now()) // opens the gate
	for range viewers {
		far, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		d.add(b, far.(*net.TCPConn))
		near, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		v := &proxy.Viewer{Path: "/cam"}
		c := newConn(b.Context(), s, proxy.NewRTSPConn(near, &wire.Request{}, v, near.(*net.TCPConn), nil))
		b.Cleanup(func() { c.Close(); c.work.Wait() })
		ticket, _ := proxy.Open.Admit(b.Context(), v)
		view := newSession(f, c, nil, ticket)
		for i, ch := range channels {
			view.setUp(i, ch, "rtsp://edge/cam")
		}
		o := cam.opens(startBurst, time.Now())
		o.of = view
		c.arm(o)
		if _, err := c.Write([]byte("RTSP/1.0 200 OK\r\n\r\n")); err != nil {
			b.Fatal(err)
		}
	}
	d.wait(b, int64(viewers)*(19+headerLen+1012))
	return cam, f.out.shares[0], d
}

// BenchmarkFanout is what a packet costs for each viewer: a picture of 16 packets
// and two of sound, 25 times a second at 4 Mbit/s, to all of them. The CPU is
// that of the thread that writes, the loopback's way into the viewers' sockets
// included.
func BenchmarkFanout(b *testing.B) {
	f := func(transport string, viewers int, channels []int) {
		b.Run(fmt.Sprintf("transport=%s/viewers=%d", transport, viewers), func(b *testing.B) {
			cam, share, d := crowd(b, viewers, channels)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			const packets = 18
			var wall, used time.Duration
			rounds := 0
			b.ReportAllocs()
			for b.Loop() {
				want := d.bytes.Load() + int64(viewers)*(16*(1012+headerLen)+2*(16+headerLen))
				cam.hear(time.Now())
				cam.hear(time.Now())
				cam.bursts = cam.bursts[:0]
				cam.picture(rounds%50 == 0, 16, time.Now())
				start, before := time.Now(), cpu(b)
				for _, r := range share.all() {
					r.flush(nil)
				}
				wall += time.Since(start)
				used += cpu(b) - before
				rounds++
				d.wait(b, want)
			}
			each := float64(rounds) * packets * float64(viewers)
			b.ReportMetric(float64(used)/each, "cpu-ns/packet/viewer")
			b.ReportMetric(float64(wall)/each, "ns/packet/viewer")
		})
	}
	for _, viewers := range []int{10, 100, 1000} {
		f("tcp", viewers, []int{0, 2})
	}
	f("tcp-mapped", 100, []int{2, 0})
}

// BenchmarkIngest is what a packet costs once, however many watch.
func BenchmarkIngest(b *testing.B) {
	in := newIngest(parseSDP(b, avSDP), "weir", func() {})
	b.Cleanup(in.stop)
	now := time.Now()
	in.source(now)
	pkt := &pion.Packet{Header: pion.Header{Version: 2, PayloadType: 96}, Payload: make([]byte, 1300)}
	sound := &pion.Packet{Header: pion.Header{Version: 2, PayloadType: 97}, Payload: make([]byte, 200)}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		switch n++; {
		case n%9 == 0:
			sound.SequenceNumber++
			sound.Timestamp += 960
			in.packet(1, sound, now)
			continue
		case n%18 == 1:
			now = now.Add(40 * time.Millisecond)
			pkt.Timestamp += 3600
			pkt.Payload[0] = 0x41
			if n%900 == 1 {
				pkt.Payload[0] = 0x65
			}
		}
		pkt.SequenceNumber++
		pkt.Marker = n%18 == 17
		in.packet(0, pkt, now)
	}
	b.ReportMetric(float64(b.Elapsed())/float64(n), "ns/packet")
}

// BenchmarkRingRead is what a viewer costs before the system call: finding the
// next burst, and going on behind it.
func BenchmarkRingRead(b *testing.B) {
	r := newRing()
	first := from(r)
	for range 2000 {
		for range 18 {
			r.append(0, 1012)
		}
		r.publish(time.Time{})
	}
	b.Run("by=run", func(b *testing.B) {
		b.ReportAllocs()
		at := first
		for b.Loop() {
			bytes, after := at.run(18 * (1012 + headerLen))
			if at = after; len(bytes) == 0 {
				at = first
			}
		}
	})
	b.Run("by=packet", func(b *testing.B) {
		b.ReportAllocs()
		at := first
		for b.Loop() {
			pkt, _, after := at.packet()
			if at = after; pkt == nil {
				at = first
			}
		}
	})
}
