package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy/origintest"
	"weir/proxy/proxytest"
)

func TestLoadQuantiles(t *testing.T) {
	f := func(n int, want *quantiles) {
		t.Helper()
		var d []time.Duration
		for i := range n { // n, 1, n-1, 2 …
			d = append(d, time.Duration([]int{n - i/2, 1 + i/2}[i%2])*time.Millisecond)
		}
		if got := quantilesOf(d); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("of 1 to %d ms: %v, want %v", n, got, want)
		}
	}
	f(0, nil)
	f(1, &quantiles{1, 1, 1})
	f(2, &quantiles{1, 2, 2})
	f(3, &quantiles{2, 3, 3})
	f(100, &quantiles{50, 99, 100})
	f(101, &quantiles{51, 100, 101})
	f(1000, &quantiles{500, 990, 1000})
}

// TestLoadMistakes: all of a command line are told together.
func TestLoadMistakes(t *testing.T) {
	f := func(args string, want ...string) {
		t.Helper()
		var out bytes.Buffer
		err := loadCommand(t.Context(), invocation{args: strings.Fields(args), stdout: &out, stderr: &out})
		for _, w := range want {
			if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "secret") || out.Len() > 0 {
				t.Errorf("load %s: %v, want %q", args, err, w)
			}
		}
	}
	f("", "say -url")
	f("-viewers 0 -transport pigeon -for 0s -every -1s -stall -1", "-url", "-viewers 0", `-transport "pigeon"`, "-for 0s", "-every -1s", "-stall -1")
	f("-url ftp://joe:secret@h/x", "-url: must be")
	f("-url rtsp:///x", "-url: names no server")
	f("-url rtsp://joe:secret@h:x/", "-url: invalid port")
	f("-url rtsp://h/%zz?token=secret", "-url: invalid URL escape")
	f("-url http://h/x -transport udp", "only rtsp:// has it")
	f("-url rtsps://h/x -transport udp", "only rtsp:// has it")
	f("-url http://h/x -stall 1", "-stall 1: only RTSP")
	f("-url rtsp://h/x -transport udp -stall 1", "-stall 1: only RTSP")
	f("-url rtsp://h/x -viewers 2 -stall 3", "-stall 3")
	f("-url rtsp://h/x -viewers 1000000", "-viewers 1000000: must be 1 to 50000")
	f("-url rtsp://h/x -viewers 101 -every 100ms -for 10s", "-for 10s: must be twice as long as 101 viewers take to come")
	f("-url rtsp://h/x -viewers 50000 -every 2000000h -for 10s", "-for 10s: must be twice")
	f("-url rtsp://h/x rtsp://h/y", "one too many")
}

func TestLoadReasons(t *testing.T) {
	r := reasons(nil)
	for i := range 3 * maxReasons {
		r = r.with(fmt.Sprint(i), 2)
	}
	r.add("0")
	if len(r) != maxReasons+1 || r["0"] != 3 || r[otherReasons] != 4*maxReasons || r.total() != 6*maxReasons+1 {
		t.Errorf("%v", r)
	}
}

func TestLoadReasonOf(t *testing.T) {
	f := func(err error, want string) {
		t.Helper()
		u := loadOf(t, "rtsp://joe:secret@h:8554/live?token=secret").url
		if got := reasonOf(err, u); got != want {
			t.Errorf("reasonOf(%v) = %q, want %q", err, got, want)
		}
	}
	op := func(port int) error {
		at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
		return fmt.Errorf("connection ended: %w", &net.OpError{Op: "read", Net: "tcp", Source: at, Addr: at, Err: os.ErrDeadlineExceeded})
	}
	f(op(1000), "connection ended: read: i/o timeout")
	f(op(2000), "connection ended: read: i/o timeout")
	f(fmt.Errorf("x: %w", &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}), "x: read: connection reset by peer")
	f(errors.New("view rtsp://h:8554/live: DESCRIBE: 404"), "DESCRIBE: 404")
	f(fmt.Errorf("view: %w", &tls.CertificateVerificationError{Err: errors.New("old")}),
		"view: tls: failed to verify certificate: old (-insecure takes it)")
	f(errors.New(strings.Repeat("é", maxReason)), strings.Repeat("é", maxReason/2))
	f(errors.New("x"+strings.Repeat("é", maxReason)), "x"+strings.Repeat("é", maxReason/2-1))
}

// loadOf is what a command line asks for.
func loadOf(t *testing.T, url string, args ...string) *load {
	t.Helper()
	l, err := parseLoad(invocation{args: append(args, "-url", url)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A fakeSeat gets a packet of 1000 bytes each millisecond, between two times.
type fakeSeat struct {
	loadSeen
	from, to time.Duration
	dies     time.Duration // 0 for never

	mu   sync.Mutex
	came time.Time
}

func (s *fakeSeat) watch(ctx context.Context) error {
	s.mu.Lock()
	s.came = time.Now()
	s.mu.Unlock()
	if s.dies == 0 {
		<-ctx.Done()
		return nil
	}
	if sleep(ctx, s.dies) {
		return errors.New("cut")
	}
	return nil
}

func (s *fakeSeat) progress() (opened bool, bytes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.came.IsZero() {
		return false, 0
	}
	got := min(time.Since(s.came), s.to)
	return true, 1000 * uint64(max(got-s.from, 0)/time.Millisecond)
}

func (s *fakeSeat) seen() loadSeen { return s.loadSeen }

// runFakes runs a load in a bubble of its own until it ends, or is stopped.
func runFakes(t *testing.T, stop time.Duration, length string, seats ...*fakeSeat) (rep *loadReport) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newLoadRun(loadOf(t, "rtsp://h/x", "-viewers", fmt.Sprint(len(seats)), "-for", length, "-every", "100ms"))
		for i := range seats {
			r.seats[i] = seats[i]
		}
		ctx, cancel := context.WithTimeout(t.Context(), stop)
		defer cancel()
		rep = r.run(ctx, newLoadBar(nil, r.length))
	})
	return rep
}

// TestLoadRun: rates are those of the second half and of who is alive; who was cut
// or got nothing is not.
func TestLoadRun(t *testing.T) {
	const ever = time.Hour
	after := [loadMoments]time.Duration{time.Millisecond, 2 * time.Millisecond, 0}
	rep := runFakes(t, ever, "10s",
		&fakeSeat{to: ever, loadSeen: loadSeen{after: after, packets: 10, lost: 1, reordered: 2}},
		&fakeSeat{to: ever, loadSeen: loadSeen{after: after, packets: 10}},
		&fakeSeat{to: 7 * time.Second},
		&fakeSeat{to: 4 * time.Second}, // nothing came in the second half
		&fakeSeat{to: ever, dies: 8 * time.Second},
		&fakeSeat{to: ever, dies: time.Second},
		&fakeSeat{loadSeen: loadSeen{stalled: true, lost: 1000}},
	)
	want := &loadReport{Seconds: 10, Viewers: 7, Opened: 7, Alive: 3, Failed: 3, Stalled: 1,
		Reasons: reasons{"nothing came in the second half": 1, "cut": 2}, second: true, MbitMedian: 8, Bytes: rep.Bytes, MbitPerS: rep.MbitPerS,
		MbitMin:        3.52, // 2.2 of 5 s, since it came 200 ms after the first
		rtspLoadReport: &rtspLoadReport{Packets: 20, Lost: 1, Reordered: 2, PlayMs: &quantiles{1, 1, 1}, PacketMs: &quantiles{2, 2, 2}}}
	wantSame(t, rep, want)
	if err := rep.verdict(); err == nil || err.Error() != "3 of 7 viewers did not see the end" {
		t.Errorf("verdict: %v", err)
	}
}

func wantSame(t *testing.T, got, want *loadReport) {
	t.Helper()
	var g, w bytes.Buffer
	must(t, got.print(&g, true))
	must(t, want.print(&w, true))
	if g.String() != w.String() || got.second != want.second {
		t.Errorf("got %swant %s", g.String(), w.String())
	}
}

// TestLoadEndsEarly: when nobody is left, and when it is told to; who has not come
// by then has failed.
func TestLoadEndsEarly(t *testing.T) {
	f := func(stop time.Duration, seconds float64, alive, failed int, second bool, seats ...*fakeSeat) {
		t.Helper()
		rep := runFakes(t, stop, "1h", seats...)
		if rep.Seconds != seconds || rep.Alive != alive || rep.Failed != failed || rep.second != second {
			t.Errorf("%+v, want %d alive, %d failed after %v s", rep, alive, failed, seconds)
		}
		if rep.verdict() == nil != (failed == 0) {
			t.Errorf("verdict: %v with %d failed", rep.verdict(), failed)
		}
	}
	well := &fakeSeat{to: time.Hour}
	f(2*time.Hour, 2.1, 0, 2, false, &fakeSeat{dies: 2 * time.Second}, &fakeSeat{dies: 2 * time.Second})
	f(3*time.Second, 3, 1, 0, false, well)
	f(31*time.Minute, 31*60, 1, 0, true, well)
	f(50*time.Millisecond, 0.05, 1, 1, false, well, &fakeSeat{})
}

// TestLoadTable is what people see.
func TestLoadTable(t *testing.T) {
	f := func(r *loadReport, want string) {
		t.Helper()
		var b bytes.Buffer
		must(t, r.print(&b, false))
		if b.String() != want {
			t.Errorf("got\n%swant\n%s", b.String(), want)
		}
	}
	f(&loadReport{Seconds: 30, Viewers: 200, Opened: 199, Alive: 190, Failed: 9, Stalled: 1, second: true, Bytes: 15e9, MbitPerS: 4000, MbitMin: 3.5, MbitMedian: 4,
		Reasons:        reasons{"PLAY: 453 No\x1b[2J": 1, "SETUP: 503 Busy": 8},
		rtspLoadReport: &rtspLoadReport{Packets: 1e6, Lost: 3, Reordered: 2, PlayMs: &quantiles{1.25, 20, 30}, PacketMs: &quantiles{2, 21, 1031.5}}},
		`viewers           200 asked for, 199 opened, 190 alive after 30.0 s, 9 failed, 1 stalled on purpose
                  8 × SETUP: 503 Busy
                  1 × "PLAY: 453 No\x1b[2J"
received          15000.0 MB; 4000.0 Mbit/s, a viewer 4.00 (median), 3.50 (least), in the second half
packets           1000000, 3 lost, 2 reordered
                  p50      p99       max
answer to PLAY    1.2 ms   20.0 ms   30.0 ms
first packet      2.0 ms   21.0 ms   1031.5 ms
first key frame   -        -         -
`)
	f(&loadReport{Seconds: 1.04, Viewers: 1, Opened: 1, Alive: 1,
		httpLoadReport: &httpLoadReport{Requests: 7, Errors: 2, ErrorReasons: reasons{"segment: 404 Not Found": 2}, Segments: 4, Missed: 1, Stalls: 2, StalledS: 3.25,
			RequestMs: &quantiles{1, 2, 3}, PlaylistMs: &quantiles{4, 5, 6}, ByteMs: &quantiles{7, 8, 9}}},
		`viewers          1 asked for, 1 opened, 1 alive after 1.0 s, 0 failed
received         0.0 MB; 0.0 Mbit/s, a viewer 0.00 (median), 0.00 (least)
requests         7, 2 failed
                 2 × segment: 404 Not Found
segments         4, 1 missed, 2 too late to be played in time (3.2 s in all)
                 p50      p99      max
a request        1.0 ms   2.0 ms   3.0 ms
first playlist   4.0 ms   5.0 ms   6.0 ms
first byte       7.0 ms   8.0 ms   9.0 ms
first segment    -        -        -
`)
}

// TestLoadIsCut: viewers whose origin dies are told as such, and end the load.
func TestLoadIsCut(t *testing.T) {
	origin, err := origintest.New(origintest.Options{Addr: "127.0.0.1:0"})
	must(t, err)
	background(t, origin.Run)
	r := newLoadRun(loadOf(t, origin.URL()+demoPath, "-viewers", "3", "-for", "10m"))
	done := make(chan *loadReport, 1)
	go func() { done <- r.run(t.Context(), newLoadBar(nil, r.length)) }()
	awaitMedia(t, r)
	origin.Die()
	rep := <-done
	if rep.Opened != 3 || rep.Alive != 0 || rep.Failed != 3 || len(rep.Reasons) == 0 || rep.Packets == 0 || rep.KeyFrameMs == nil {
		t.Errorf("%+v", rep)
	}
	for why := range rep.Reasons {
		if !strings.HasPrefix(why, "connection ended") || strings.Contains(why, "127.0.0.1") {
			t.Errorf("reason %q, want that the connection ended, and nobody's port", why)
		}
	}
}

// awaitMedia waits until each viewer has a key frame.
func awaitMedia(t *testing.T, r *loadRun) {
	t.Helper()
	proxytest.Eventually(t, 20*time.Second, "a key frame for all", func() bool {
		return !slices.ContainsFunc(r.seats, func(s loadSeat) bool { return s.seen().after[loadWhole] == 0 })
	})
}

// TestLoadStops at a signal, with all that was seen until then; that is no failure.
func TestLoadStops(t *testing.T) {
	origin, err := origintest.New(origintest.Options{Addr: "127.0.0.1:0"})
	must(t, err)
	background(t, origin.Run)
	signals := make(chan os.Signal, 1)
	ctx, stop := untilSignal(t.Context(), signals)
	defer stop()
	r := newLoadRun(loadOf(t, origin.URL()+demoPath, "-viewers", "2", "-for", "10m"))
	done := make(chan *loadReport, 1)
	go func() { done <- r.run(ctx, newLoadBar(nil, r.length)) }()
	awaitMedia(t, r)
	signals <- os.Interrupt
	if rep := <-done; rep.Alive != 2 || rep.verdict() != nil || rep.Lost != 0 || rep.Bytes == 0 {
		t.Errorf("%+v, want 2 alive", rep)
	}
}
