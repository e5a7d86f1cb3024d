package passthrough

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// listen returns the address of an origin that accepts connections, and a
// channel of them.
func listen(t testing.TB, host string) (addr string, accepted <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("no %s here: %v", host, err)
	}
	conns := make(chan net.Conn, 512)
	done := make(chan struct{})
	go acceptAll(l, conns, done)
	t.Cleanup(func() {
		l.Close()
		<-done
		for c := range conns {
			c.Close()
		}
	})
	return l.Addr().String(), conns
}

func acceptAll(l net.Listener, conns chan<- net.Conn, done chan<- struct{}) {
	defer close(done)
	defer close(conns)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		conns <- c
	}
}

func balancer(t testing.TB, args ...string) *Balancer {
	t.Helper()
	return logging(t, zap.NewNop(), args...)
}

func logging(t testing.TB, log *zap.Logger, args ...string) *Balancer {
	t.Helper()
	o := parse(t, args...)
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	return NewBalancer(o, prometheus.NewPedanticRegistry(), log)
}

// inTurn makes the first pick the first origin, and the next the next.
const inTurn = "-origin.balance=roundrobin"

func dial(t testing.TB, b *Balancer, w proxy.Want) *proxy.Link {
	t.Helper()
	l, err := b.DialRTSP(t.Context(), w)
	if err != nil {
		t.Fatalf("dial %+v: %v", w, err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func wantRefusal(t *testing.T, err error, want proxy.Reason, retry time.Duration) *proxy.Refusal {
	t.Helper()
	var r *proxy.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("error = %v, want a refusal", err)
	}
	if r.Reason != want || r.RetryAfter != retry {
		t.Fatalf("refusal = %s, retry after %v, want %s, %v", r.Reason, r.RetryAfter, want, retry)
	}
	return r
}

func status(b *Balancer) []OriginStatus { return b.Status().(Status).Origins }

func TestLink(t *testing.T) {
	addr, conns := listen(t, "127.0.0.1")
	b := balancer(t, "-origin", "rtsp://u:p@"+addr+"/base")
	l := dial(t, b, proxy.Want{Path: "/cam"})
	if l.Origin != addr+"/base" || l.URL.String() != "rtsp://u:p@"+addr+"/base/cam" || l.TLS != nil || l.Mark != "" {
		t.Errorf("link = %s %s, TLS %v, mark %q", l.Origin, l.URL, l.TLS, l.Mark)
	}
	if got, want := (<-conns).RemoteAddr().String(), l.LocalAddr().String(); got != want {
		t.Errorf("the origin sees %s, the link is %s", got, want)
	}
	if got := status(b)[0].Sessions; got != 1 {
		t.Errorf("%d sessions during a link, want 1", got)
	}
	l.Close()
	l.Close()
	if got := status(b)[0].Sessions; got != 0 {
		t.Errorf("%d sessions after it was closed twice, want 0", got)
	}
}

func TestRefusedDialMovesOn(t *testing.T) {
	down := proxytest.ClosedAddr(t)
	up, _ := listen(t, "127.0.0.1")
	b := balancer(t, inTurn, "-origin", "http://"+up, "-origin", "rtsp://"+down, "-origin", "rtsp://"+up)
	if got := dial(t, b, proxy.Want{Path: "/cam"}).Origin; got != up {
		t.Errorf("origin = %s, want %s", got, up)
	}
	s := status(b)
	if s[1].Name != down || s[1].State != "ejected" || s[1].Dials != 1 || s[1].Failures != 1 || !strings.Contains(s[1].LastError, "refused") || s[1].LastErrorAt.IsZero() || s[1].Sessions != 0 {
		t.Errorf("status of the dead origin = %+v", s[1])
	}
	if s[2].Name != up || s[2].State != "up" || s[2].Dials != 1 || s[2].Failures != 0 || s[2].LastError != "" {
		t.Errorf("status of the live origin = %+v", s[2])
	}
}

// What looked dead and is back is found when what looked alive is dead: nobody waits for
// a probe to tell.
func TestBackBeforeItIsProbed(t *testing.T) {
	first, second := proxytest.ClosedAddr(t), proxytest.ClosedAddr(t)
	b := balancer(t, inTurn, "-origin", "rtsp://"+first, "-origin", "rtsp://"+second)
	b.setProbing(true)
	at := map[string]string{} // where they are now
	b.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, cmp.Or(at[addr], addr))
	}
	at[second], _ = listen(t, "127.0.0.1")
	if got := dial(t, b, proxy.Want{Path: "/cam"}).Origin; got != second {
		t.Fatalf("origin = %s, want %s", got, second)
	}
	at[first], at[second] = at[second], ""
	if got := dial(t, b, proxy.Want{Path: "/cam"}).Origin; got != first {
		t.Errorf("origin = %s, want %s, which is back", got, first)
	}
	at[first] = ""
	_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/cam", Avoid: []string{second}})
	wantRefusal(t, err, proxy.OriginDown, 5*time.Second)
	if n := status(b)[1].Dials; n != 2 {
		t.Errorf("%d dials of the one that is to be avoided, want 2 as before", n)
	}
}

func TestWantOriginNarrows(t *testing.T) {
	first, _ := listen(t, "127.0.0.1")
	second, _ := listen(t, "127.0.0.1")
	b := balancer(t, "-origin", "rtsp://"+first, "-origin", "rtsp://"+second)
	for range 10 {
		if got := dial(t, b, proxy.Want{Path: "/cam", Origin: second}).Origin; got != second {
			t.Errorf("origin = %s, want %s", got, second)
		}
		if got := dial(t, b, proxy.Want{Path: "/cam", Avoid: []string{first}}).Origin; got != second {
			t.Errorf("while the first is avoided: origin = %s, want %s", got, second)
		}
		if got := dial(t, b, proxy.Want{Path: "/cam", Origin: second, Avoid: []string{second}}).Origin; got != second {
			t.Errorf("named and avoided: origin = %s, want %s", got, second)
		}
	}
	_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/cam", Origin: "elsewhere:554"})
	wantRefusal(t, err, proxy.NoOrigin, 0)
	_, err = b.DialRTSP(t.Context(), proxy.Want{Path: "/cam", Avoid: []string{first, second}})
	wantRefusal(t, err, proxy.OriginDown, 5*time.Second)
}

func TestSourceBeatsOrigins(t *testing.T) {
	other, _ := listen(t, "127.0.0.1")
	cam, _ := listen(t, "127.0.0.1")
	down := proxytest.ClosedAddr(t)
	target := "rtsp://u:p%2Fq@" + cam + "/Streaming%2FChannels/101?transportmode=unicast"
	b := balancer(t, "-origin", "rtsp://"+other, "-splitter.source", "/cam/door/="+target, "-splitter.source", "/gone=rtsp://"+down)
	bare := balancer(t, "-splitter.source", "/cam=rtsp://"+cam)
	if got := dial(t, bare, proxy.Want{Path: "/cam"}).URL.String(); got != "rtsp://"+cam {
		t.Errorf("a source without a path is asked for %s", got)
	}
	l := dial(t, b, proxy.Want{Path: "/cam/door", Origin: other})
	if l.Origin != cam || l.URL.String() != target {
		t.Errorf("link = %s %s, want %s %s", l.Origin, l.URL, cam, target)
	}
	if got := dial(t, b, proxy.Want{Path: "/cam/door/2"}).Origin; got != other {
		t.Errorf("a path below the source's goes to %s, want %s", got, other)
	}
	_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/gone"}) // the origins are not asked
	wantRefusal(t, err, proxy.OriginDown, 5*time.Second)
}

func TestTargetURL(t *testing.T) {
	f := func(base, path, want string) {
		t.Helper()
		b := balancer(t, "-origin", base)
		l := b.link(nil, nil, b.all()[0], path)
		if got := l.URL.String(); got != want {
			t.Errorf("%s asked for %s: %s, want %s", base, path, got, want)
		}
	}
	f("rtsp://a", "/", "rtsp://a/")
	f("rtsp://a", "/cam", "rtsp://a/cam")
	f("rtsp://a/", "/cam", "rtsp://a/cam")
	f("rtsp://a:8554/live", "/cam/1", "rtsp://a:8554/live/cam/1")
	f("rtsp://a/live/", "/cam", "rtsp://a/live/cam")
	f("rtsp://a/li%2Fve", "/cam", "rtsp://a/li%2Fve/cam")
	f("rtsp://a", "/two words", "rtsp://a/two%20words")
	f("rtsp://a", "/50%", "rtsp://a/50%25")
	f("rtsp://a", "/a?b#c", "rtsp://a/a%3Fb%23c")
	f("rtsp://a", "/türe", "rtsp://a/t%C3%BCre")
	f("rtsp://a", "/cam:1", "rtsp://a/cam:1")
	f("rtsp://u:p@[::1]:554/x", "/cam", "rtsp://u:p@[::1]:554/x/cam")
}

func TestTLS(t *testing.T) {
	f := func(base, want string) {
		t.Helper()
		b := balancer(t, "-origin", base)
		cfg := b.link(nil, nil, b.all()[0], "/").TLS
		if cfg == nil || cfg.ServerName != want || cfg.MinVersion != tls.VersionTLS12 || cfg.InsecureSkipVerify {
			t.Errorf("%s: TLS = %+v, want server %q, at least 1.2", base, cfg, want)
		}
	}
	f("rtsps://cam.example:8322/x", "cam.example")
	f("rtsps://[::1]:8322", "::1")
	f("rtsps://[fe80::1%25eth0]", "fe80::1")
}

func TestIPv6(t *testing.T) {
	addr, _ := listen(t, "::1")
	b := balancer(t, "-origin", "rtsp://"+addr)
	run(t, b)
	if got := dial(t, b, proxy.Want{Path: "/"}).Origin; got != addr {
		t.Errorf("origin = %s, want %s", got, addr)
	}
	if got := dial(t, b, proxy.Want{Path: "/", Origin: addr}).Origin; got != addr {
		t.Errorf("origin by host and port = %s, want %s", got, addr)
	}
}

func TestNoOrigin(t *testing.T) {
	b := balancer(t, "-origin", "http://127.0.0.1", "-splitter.source", "/cam=rtsp://127.0.0.1")
	_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/other"})
	wantRefusal(t, err, proxy.NoOrigin, 0)
}

func TestAllOriginsDown(t *testing.T) {
	a, c := proxytest.ClosedAddr(t), proxytest.ClosedAddr(t)
	b := balancer(t, "-origin", "rtsp://u:s3cr@"+a, "-origin", "rtsps://u:s3cr@"+c)
	for range 2 { // the second time they are the last resort
		_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
		r := wantRefusal(t, err, proxy.OriginDown, 5*time.Second)
		if s := r.Error(); !strings.Contains(s, a) || !strings.Contains(s, c) || strings.Contains(s, "s3cr") {
			t.Errorf("error = %q, want both origins and no secret", s)
		}
	}
}

// silent is a dial that nobody answers.
func silent(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
}

func TestSilentOrigins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := balancer(t, "-origin", "rtsp://a", "-origin", "rtsp://b")
		b.dial = silent
		start := time.Now()
		_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
		wantRefusal(t, err, proxy.OriginSlow, 5*time.Second)
		if got := time.Since(start); got != 3*time.Second+beside {
			t.Errorf("two silent origins took %v, want the timeout of one beside the other's", got)
		}
	})
}

// An origin that does not answer is not waited for if another does. It is found out all the
// same, and has nobody in the end.
func TestDialBeside(t *testing.T) {
	addr, _ := listen(t, "127.0.0.1")
	f := func(what string, answers time.Duration, state string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := balancer(t, inTurn, "-origin", "rtsp://a", "-origin", "rtsp://b")
			b.dial = func(ctx context.Context, _, host string) (net.Conn, error) {
				if host == "a:554" {
					select {
					case <-ctx.Done():
						return nil, os.ErrDeadlineExceeded
					case <-time.After(answers):
					}
				}
				return net.Dial("tcp", addr)
			}
			start := time.Now()
			link, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
			if err != nil || link.Origin != "b:554" || time.Since(start) != beside {
				t.Fatalf("%s: %v, %v after %v", what, link, err, time.Since(start))
			}
			time.Sleep(2 * time.Second)
			if s := status(b); s[0].State != state || s[0].Sessions != 0 || s[1].Sessions != 1 {
				t.Errorf("%s: %+v", what, s)
			}
			link.Close()
		})
	}
	f("never", time.Hour, stateEjected)
	f("late", 2*time.Second, stateUp)
}

// A viewer with little patience ends the search, but says little of the origin.
func TestDeadlineEndsTheSearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := balancer(t, inTurn, "-origin", "rtsp://a", "-origin", "rtsp://b")
		b.dial = silent
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.DialRTSP(ctx, proxy.Want{Path: "/cam"})
		wantRefusal(t, err, proxy.OriginSlow, 5*time.Second)
		if s := status(b); s[0].Failures != 1 || s[0].State != "idle" || s[1].Dials != 0 {
			t.Errorf("after the deadline: %+v", s)
		}
	})
}

func TestSlowAndDeadIsDown(t *testing.T) {
	b := balancer(t, "-origin", "rtsp://a", "-origin", "rtsp://b")
	b.dial = func(_ context.Context, _, addr string) (net.Conn, error) {
		if addr == "a:554" {
			return nil, os.ErrDeadlineExceeded
		}
		return nil, errors.New("no route")
	}
	_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
	wantRefusal(t, err, proxy.OriginDown, 5*time.Second)
}

// A viewer who leaves during the dial says nothing about the origin.
func TestViewerLeaves(t *testing.T) {
	b := balancer(t, "-origin", "rtsp://a", "-origin", "rtsp://b")
	ctx, cancel := context.WithCancel(t.Context())
	b.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if _, err := b.DialRTSP(ctx, proxy.Want{Path: "/cam"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
	for _, s := range status(b) {
		if s.Dials != 0 || s.Sessions != 0 || s.State != "idle" {
			t.Errorf("counted: %+v", s)
		}
	}
}

// When this machine has no files left, its origins are not to blame.
func TestOutOfFiles(t *testing.T) {
	b := balancer(t, "-origin", "rtsp://a")
	b.dial = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	}
	_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
	wantRefusal(t, err, proxy.OriginDown, 5*time.Second)
	if s := status(b)[0]; s.State != "idle" || s.Failures != 1 {
		t.Errorf("status = %+v, want a failure that changes nothing", s)
	}
}
