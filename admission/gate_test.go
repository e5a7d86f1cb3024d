package admission

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/proxy"
)

// TestExactly has a thousand viewers come at once where there are a hundred
// places, again and again, and give them back in every way there is.
func TestExactly(t *testing.T) {
	g := gateOf(t, "-admission.viewers=100", "-admission.window=1s")
	for round := range 5 {
		synctest.Test(t, func(t *testing.T) {
			var in, out atomic.Int64
			var wg sync.WaitGroup
			tickets := make(chan proxy.Ticket, 1000)
			for n := range 1000 {
				protocol, path := "rtsp", fmt.Sprintf("/cam%d", n%7)
				if n%3 == 0 {
					protocol, path = "http", path+"/index.m3u8"
				}
				wg.Go(func() {
					ticket, err := g.admit(viewer(protocol, path, n))
					switch {
					case err == nil:
						in.Add(1)
						tickets <- ticket
					case reason(err) == proxy.Full:
						out.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if in.Load() != 100 || out.Load() != 900 {
				t.Fatalf("round %d: %d in and %d refused, want 100 and 900", round, in.Load(), out.Load())
			}
			close(tickets)
			for ticket := range tickets { // all at once, some by two who both notice that the viewer has gone
				wg.Go(ticket.Close)
				wg.Go(ticket.Close)
			}
			wg.Wait()
			time.Sleep(time.Second) // those over HTTP have gone when they have not been seen for the window
			g.ledger.sample(time.Now())
			if s := g.ledger.status(); s.Viewers != 0 || s.Clients != 0 || s.Streams != 0 || s.Needed != 0 {
				t.Fatalf("round %d: left behind: %+v", round, s)
			}
		})
	}
}

// TestManyRequestsAreOneViewer is a player of HLS with a thousand segments.
func TestManyRequestsAreOneViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(t, "-admission.viewers=2", "-admission.window=30s")
		f := func(path string, n int, want proxy.Reason) {
			t.Helper()
			ticket, err := g.admit(viewer("http", path, n))
			if reason(err) != want {
				t.Fatalf("%s for %d: %v, want %q", path, n, err, want)
			}
			if err == nil {
				ticket.Close()
			}
		}
		for i := range 1000 {
			f(fmt.Sprintf("/cam/%d.ts", i), 1, "")
			time.Sleep(10 * time.Second)
		}
		f("/cam/index.m3u8", 2, "")
		f("/cam/index.m3u8", 3, proxy.Full)
		f("/other/index.m3u8", 2, proxy.Full)
		f("/cam/film.mp4", 1, "") // of a stream that is being watched
		time.Sleep(30 * time.Second)
		f("/other/index.m3u8", 2, "")
		f("/cam/index.m3u8", 3, "")
		f("/cam/index.m3u8", 1, proxy.Full)
	})
}

// TestOpenRequestKeepsItsViewer is a playlist that is held back for longer than
// the window, or a player that has paused a download.
func TestOpenRequestKeepsItsViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(t, "-admission.viewers=1")
		ticket, err := g.admit(viewer("http", "/cam/index.m3u8", 1))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if _, err := g.admit(viewer("http", "/cam/index.m3u8", 2)); reason(err) != proxy.Full {
			t.Errorf("another one: %v, want full", err)
		}
		ticket.Close()
		time.Sleep(30 * time.Second)
		if _, err := g.admit(viewer("http", "/cam/index.m3u8", 2)); err != nil {
			t.Errorf("another one, later: %v", err)
		}
	})
}

func TestLimits(t *testing.T) {
	type ask struct {
		protocol, path string
		client         int
		subject, class string
		want           proxy.Reason
	}
	f := func(flags []string, asks ...ask) {
		t.Helper()
		g := gateOf(t, flags...)
		for i, a := range asks {
			v := viewer(a.protocol, a.path, a.client)
			v.Subject, v.Class = a.subject, a.class
			if _, err := g.Admit(t.Context(), v); reason(err) != a.want {
				t.Errorf("%v, %d: %+v: %v", flags, i, a, err)
			}
		}
	}
	f([]string{"-admission.per-client=2"},
		ask{"rtsp", "/a", 1, "", "", ""}, ask{"http", "/a/x.m3u8", 1, "", "", ""}, ask{"http", "/a/y.ts", 1, "", "", ""},
		ask{"rtsp", "/a", 1, "", "", proxy.TooMany}, ask{"http", "/b/x.m3u8", 1, "", "", proxy.TooMany}, ask{"rtsp", "/a", 2, "", "", ""})
	f([]string{"-admission.per-stream=2"}, // a stream is one over RTSP and HTTP
		ask{"rtsp", "/a", 1, "", "", ""}, ask{"http", "/a/x.m3u8", 2, "", "", ""}, ask{"rtsp", "/a", 3, "", "", proxy.Full},
		ask{"rtsp", "/b", 3, "", "", ""})
	f([]string{"-admission.per-subject=2"},
		ask{"rtsp", "/a", 1, "ann", "", ""}, ask{"http", "/b/x.m3u8", 2, "ann", "", ""}, ask{"http", "/b/x.m3u8", 2, "ann", "", ""},
		ask{"http", "/b/x.m3u8", 3, "ann", "", proxy.TooMany}, ask{"rtsp", "/a", 4, "ann", "", proxy.TooMany}, ask{"rtsp", "/a", 4, "bob", "", ""}, ask{"rtsp", "/a", 4, "", "", ""})
	f([]string{"-admission.viewers=10", "-admission.class=gold=100,bronze=20"},
		ask{"rtsp", "/a", 1, "", "bronze", ""}, ask{"rtsp", "/a", 2, "", "", ""}, ask{"rtsp", "/a", 3, "", "", proxy.Full},
		ask{"rtsp", "/a", 3, "", "bronze", proxy.Full}, ask{"rtsp", "/a", 3, "", "nobody's", proxy.Full}, ask{"rtsp", "/a", 3, "", "gold", ""})
}

func TestGrantLimitsItsSubject(t *testing.T) {
	g := gateOf(t)
	one := func(n int) *proxy.Viewer {
		v := viewer("rtsp", "/a", n)
		v.Subject, v.Grant = "ann", &grant{subject: "ann", max: 1}
		return v
	}
	ticket, err := g.Admit(t.Context(), one(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Admit(t.Context(), one(2)); reason(err) != proxy.TooMany {
		t.Errorf("the second one: %v, want too many", err)
	}
	ticket.Close()
	if _, err := g.Admit(t.Context(), one(2)); err != nil {
		t.Errorf("after the first has left: %v", err)
	}
}

func TestPeersAreNotCounted(t *testing.T) {
	g := gateOf(t, "-admission.viewers=1")
	for range 3 {
		v := viewer("rtsp", "/a", 1)
		v.Peer = true
		ticket, err := g.admit(v)
		if err != nil || ticket.Declare(1<<40) != nil {
			t.Fatal(err)
		}
	}
	if s := g.ledger.status(); s.Viewers != 0 {
		t.Errorf("%d viewers", s.Viewers)
	}
}

// TestTableOfViewersIsBounded fills it with viewers who come once.
func TestTableOfViewersIsBounded(t *testing.T) {
	g := gateOf(t)
	for n := range maxWeb + 1000 {
		ticket, err := g.Admit(t.Context(), viewer("http", "/x/index.m3u8", n))
		if err != nil {
			t.Fatal(n, err)
		}
		ticket.Close()
	}
	if s := g.ledger.status(); s.Viewers != maxWeb || s.Clients != maxWeb {
		t.Errorf("%d viewers, %d clients, want %d", s.Viewers, s.Clients, maxWeb)
	}
}

func TestRefusalsAreCounted(t *testing.T) {
	g := gateOf(t, "-admission.viewers=1")
	for n := range 3 {
		g.Admit(t.Context(), viewer("rtsp", "/a", n)) //nolint:errcheck // counted
	}
	if n := g.Status().(status).Refused[proxy.Full]; n != 2 {
		t.Errorf("%d refused, want 2", n)
	}
}

// TestFirstRequestsAreCountedApart: who shows nothing is asked for credentials, as
// players expect, and has done nothing wrong; nor has who uses a nonce too long.
func TestFirstRequestsAreCountedApart(t *testing.T) {
	f := func(v *proxy.Viewer, challenged, unauthorized int, offends bool) {
		t.Helper()
		g := gateOf(t, "-admission.keys="+fileOfKeys(t, keysText), "-admission.ban=2")
		g.credentials.users = &fakeUsers{}
		for range 3 {
			asks := *v // anew: a check takes out what is the gate's
			if err := g.Check(t.Context(), &asks); reason(err) != proxy.Unauthorized && reason(err) != proxy.Banned {
				t.Errorf("%+v: %v", v, err)
			}
		}
		got := g.Status().(status).Refused
		if got["challenged"] != uint64(challenged) || got[proxy.Unauthorized] != uint64(unauthorized) {
			t.Errorf("%+v: %v, want %d challenged, %d unauthorized", v, got, challenged, unauthorized)
		}
		if n := counterValue(t, g.refusals.metric, "challenged"); n != float64(challenged) {
			t.Errorf("%+v: the metric has %v challenged, want %d", v, n, challenged)
		}
		if err := g.bans.check(v.Addr.Addr(), time.Now()); (err != nil) != offends {
			t.Errorf("%+v: %v, want banned: %v", v, err, offends)
		}
	}
	shows := func(protocol, query, authorization string) *proxy.Viewer {
		v := viewer(protocol, "/a/x.m3u8", 1)
		v.Query, v.Authorization = query, authorization
		return v
	}
	f(shows("rtsp", "", ""), 3, 0, false)
	f(shows("http", "z=1&token=", ""), 3, 0, false)
	f(shows("http", "", "Digest stale"), 3, 0, false)
	f(shows("http", "token=bad", ""), 0, 2, true)
	f(shows("rtsp", "", shownBasic("bob", "wrong")), 0, 2, true)
}

// counterValue is what c has counted with a label.
func counterValue(t *testing.T, c *prometheus.CounterVec, label string) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if m.Label[0].GetValue() == label {
				return m.Counter.GetValue()
			}
		}
	}
	return 0
}

// TestCertificatesAreCredentials: where certificates are asked for, who comes in
// without TLS needs something else.
func TestCertificatesAreCredentials(t *testing.T) {
	g, err := New(Config{Options: Options{Window: time.Second, Cluster: "off", Carry: "cookie", Cookie: "c", Realm: "Weir"}, Certificates: true,
		Peers: proxy.Alone, Metrics: prometheus.NewRegistry(), Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	v := viewer("rtsp", "/a", 1)
	if err := g.Check(t.Context(), v); reason(err) != proxy.Unauthorized {
		t.Errorf("without a certificate: %v", err)
	}
	v.Certificate = "ann"
	if err := g.Check(t.Context(), v); err != nil || v.Subject != "ann" {
		t.Errorf("with one: %v, subject %q", err, v.Subject)
	}
}

// TestNamelessLimit: credentials without a name may have a limit all the same.
func TestNamelessLimit(t *testing.T) {
	f := func(g *grant, sameAddress bool, want proxy.Reason) {
		t.Helper()
		gate := gateOf(t)
		var err error
		for n := range 2 {
			if sameAddress {
				n = 0
			}
			v := viewer("rtsp", "/a", n)
			v.Grant, v.Subject = g, nameless(g, v)
			_, err = gate.Admit(t.Context(), v)
		}
		if reason(err) != want {
			t.Errorf("%+v: the second one: %v, want %q", g, err, want)
		}
	}
	f(&grant{max: 1, token: "x"}, false, proxy.TooMany)
	f(&grant{max: 1}, true, proxy.TooMany)
	f(&grant{max: 1}, false, "")
}

// TestExpiredMeanwhile: a connection of RTSP that was let in begins nothing when
// its credentials are over.
func TestExpiredMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(t)
		v := viewer("rtsp", "/a", 1)
		v.Grant = &grant{until: time.Now().Add(time.Minute)}
		if _, err := g.Admit(t.Context(), v); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if _, err := g.Admit(t.Context(), v); reason(err) != proxy.Forbidden {
			t.Errorf("a minute later: %v", err)
		}
	})
}

// TestOptionsTakeNoPlace: they bring nothing that would need one.
func TestOptionsTakeNoPlace(t *testing.T) {
	g := gateOf(t, "-admission.viewers=1")
	for n := range 3 {
		v := viewer("http", "/a/x.m3u8", n)
		v.Method = "OPTIONS"
		if _, err := g.Admit(t.Context(), v); err != nil {
			t.Error(err)
		}
	}
}

// TestErrorsTakeNoPlace: who asks for what is not there is a viewer while he asks,
// and no longer.
func TestErrorsTakeNoPlace(t *testing.T) {
	g := gateOf(t, "-admission.viewers=1")
	admit := func(path string, n int) proxy.Ticket {
		t.Helper()
		ticket, err := g.admit(viewer("http", path, n))
		if err != nil {
			t.Fatalf("%s for %d: %v", path, n, err)
		}
		return ticket
	}
	full := func(what string) {
		t.Helper()
		if _, err := g.admit(viewer("http", "/other/index.m3u8", 99)); reason(err) != proxy.Full {
			t.Errorf("%s: %v, want full", what, err)
		}
	}
	for n := range 5 {
		ticket := admit(fmt.Sprintf("/none%d/x.ts", n), 1)
		full("while it is asked for")
		ticket.Failed()
		ticket.Close()
	}
	failed, other := admit("/none/x.ts", 1), admit("/none/y.ts", 1)
	failed.Failed()
	failed.Close()
	full("another request is open")
	other.Failed()
	other.Close()

	// One good answer makes a viewer, whatever comes before and after it, and whichever ends first.
	good, bad := admit("/cam/a.ts", 1), admit("/cam/b.ts", 1)
	bad.Failed()
	good.Close()
	bad.Close()
	full("one of two was answered")
	bad = admit("/cam/c.ts", 1)
	bad.Failed()
	bad.Close()
	full("a viewer has got an error")
}

// among keeps the largest, whatever comes in which order.
func TestAmong(t *testing.T) {
	top := make([]tellable, 0, 5)
	for i := range 100 {
		top = among(top, tellable{viewers: i * 37 % 100}, larger)
	}
	for i, c := range top {
		if c.viewers != 99-i {
			t.Errorf("number %d has %d viewers, want %d", i, c.viewers, 99-i)
		}
	}
	if len(top) != 5 {
		t.Errorf("%d are kept, want 5", len(top))
	}
}
