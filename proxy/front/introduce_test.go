package front

import (
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// seenBy is a ladder that tells whom it serves.
func seenBy() (ladder, chan netip.AddrPort) {
	got := make(chan netip.AddrPort, 10)
	return ladder{
		rtsp: func(_ context.Context, c *proxy.RTSPConn) { got <- address(c.RemoteAddr()) },
		http: func(_ http.ResponseWriter, r *http.Request) { got <- proxy.ViewerFrom(r.Context()).Addr },
	}, got
}

func prefixes(t *testing.T, s string) (p Prefixes) {
	t.Helper()
	if err := p.Set(s); err != nil {
		t.Fatal(err)
	}
	return p
}

func v2(t *testing.T, from string, cmd proxyproto.ProtocolVersionAndCommand) string {
	t.Helper()
	a := netip.MustParseAddrPort(from)
	h := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(a), net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:80")))
	if a.Addr().Is6() {
		h = proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(a), net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:80")))
	}
	h.Command = cmd
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPROXY: the viewer is whom a load balancer names, and only that of one that is
// known is listened to.
func TestPROXY(t *testing.T) {
	l, got := seenBy()
	gate := &accepting{Admitter: proxy.Open, from: make(chan netip.Addr, 10)}
	d := open(t, l, func(c *Config) { c.ProxyProtocol, c.Gate = prefixes(t, "127.0.0.0/8"), gate })
	rtsp := func(before, want string) {
		t.Helper()
		d.viaRTSP(t, before+describe)
		check(t, before, want, <-got, <-gate.from)
	}
	web := func(before, want string) {
		t.Helper()
		d.viaHTTP(t, before+get)
		check(t, before, want, <-got, <-gate.from)
	}
	for _, f := range []func(string, string){rtsp, web} {
		f("PROXY TCP4 192.0.2.9 10.0.0.1 4711 80\r\n", "192.0.2.9:4711")
		f("PROXY TCP6 2001:db8::9 2001:db8::1 4711 80\r\n", "[2001:db8::9]:4711")
		f("PROXY TCP6 ::ffff:192.0.2.9 ::ffff:10.0.0.1 4711 80\r\n", "192.0.2.9:4711")
		f("PROXY UNKNOWN\r\n", "127.0.0.1")
		f(v2(t, "192.0.2.9:4711", proxyproto.PROXY), "192.0.2.9:4711")
		f(v2(t, "[2001:db8::9]:4711", proxyproto.PROXY), "[2001:db8::9]:4711")
		f(v2(t, "192.0.2.9:4711", proxyproto.LOCAL), "127.0.0.1")
		f("", "127.0.0.1") // a health check
	}
}

func check(t *testing.T, before, want string, got netip.AddrPort, asked netip.Addr) {
	t.Helper()
	if got.String() != want && got.Addr().String() != want {
		t.Errorf("behind %q: viewer %s, want %s", before, got, want)
	}
	if asked != got.Addr() {
		t.Errorf("behind %q: the gate was asked about %s", before, asked)
	}
}

// TestPROXYRefused: a header from somebody else is a malformed request, and a
// broken one ends the connection.
func TestPROXYRefused(t *testing.T) {
	l, got := seenBy()
	const header = "PROXY TCP4 192.0.2.9 10.0.0.1 4711 80\r\n"
	d := open(t, l)
	if res := d.viaRTSP(t, header+describe).answer(); res.Code != 400 {
		t.Errorf("RTSP: %s", res.Raw)
	}
	if res, _ := d.viaHTTP(t, header+get).response(); res.StatusCode != 400 {
		t.Errorf("HTTP: %d", res.StatusCode)
	}
	d = open(t, l, func(c *Config) { c.ProxyProtocol = prefixes(t, "192.0.2.0/24") })
	if res := d.viaRTSP(t, header+describe).answer(); res.Code != 400 {
		t.Errorf("RTSP, others are trusted: %s", res.Raw)
	}
	d = open(t, l, func(c *Config) { c.ProxyProtocol = prefixes(t, "127.0.0.1") })
	for _, broken := range []string{"PROXY TCP4 192.0.2.9\r\n", "PROXY TCP4 a b c d\r\n", "PROXY " + strings.Repeat("x", 200) + "\r\n", "PROXY TCP4 192.0.2.9 10.0.0.1 99999 80\r\n",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x04abcd"} {
		if said := d.viaRTSP(t, broken+describe).closed(); said != "" {
			t.Errorf("RTSP behind %q: %q", broken, said)
		}
	}
	if len(got) > 0 {
		t.Errorf("%s was served", <-got)
	}
}

// TestSlowPROXY: a load balancer that says nothing holds nobody up, and is let go.
func TestSlowPROXY(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, got := seenBy()
		d := openPipes(t, l, func(c *Config) { c.ProxyProtocol = prefixes(t, "192.0.2.7") })
		silent := d.client(t, d.dialRTSP)
		if said := d.viaRTSP(t, "PROXY TCP4 192.0.2.9").closed(); said != "" { // a header comes in one piece
			t.Errorf("half a header: %q", said)
		}
		d.viaRTSP(t, "PROXY TCP4 192.0.2.9 10.0.0.1 4711 80\r\n"+describe)
		if a := <-got; a.String() != "192.0.2.9:4711" {
			t.Errorf("viewer %s", a)
		}
		began := time.Now()
		silent.closed()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("let go after %v, want 10 s", took)
		}
		d.client(t, d.dialRTSP) // one who waits does not keep the front from ending
	})
}

// TestForwarded: who came to a proxy that is known is the viewer, whatever he says
// of himself.
func TestForwarded(t *testing.T) {
	l, got := seenBy()
	f := func(trusted, fields, want string) {
		t.Helper()
		d := open(t, l, func(c *Config) { c.Forwarded = prefixes(t, trusted) })
		d.viaHTTP(t, "GET /cam HTTP/1.1\r\nHost: edge\r\n"+fields+"\r\n")
		if a := (<-got).Addr().String(); a != want {
			t.Errorf("trusted %q, %q: viewer %s, want %s", trusted, fields, a, want)
		}
	}
	const mine = "127.0.0.1"
	f("", "X-Forwarded-For: 192.0.2.9\r\n", mine)
	f("192.0.2.0/24", "X-Forwarded-For: 192.0.2.9\r\n", mine)
	f(mine, "", mine)
	f(mine, "X-Forwarded-For: 192.0.2.9\r\n", "192.0.2.9")
	f(mine, "X-Forwarded-For: 192.0.2.9:4711\r\n", "192.0.2.9")
	f(mine, "X-Forwarded-For: [2001:db8::9]:4711\r\n", "2001:db8::9")
	f(mine, "X-Forwarded-For: ::ffff:192.0.2.9\r\n", "192.0.2.9")
	f(mine, "X-Forwarded-For: 192.0.2.9, 198.51.100.1\r\n", "198.51.100.1")
	f(mine, "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-For: 198.51.100.1\r\n", "198.51.100.1")
	f(mine+",198.51.100.0/24", "X-Forwarded-For: 192.0.2.9, 198.51.100.1\r\n", "192.0.2.9")
	f(mine+",198.51.100.0/24", "X-Forwarded-For: nonsense, 198.51.100.1\r\n", "198.51.100.1")
	f(mine, "X-Forwarded-For: nonsense\r\n", mine)
	f(mine, "X-Forwarded-For: 192.0.2.9,\r\n", mine)
	f(mine, "Forwarded: for=192.0.2.9;proto=http\r\n", "192.0.2.9")
	f(mine, "Forwarded: by=10.0.0.1;For=\"[2001:db8::9]:4711\"\r\n", "2001:db8::9")
	f(mine, "Forwarded: for=192.0.2.9, for=198.51.100.1\r\n", "198.51.100.1")
	f(mine, "Forwarded: for=unknown\r\n", mine)
	f(mine, "Forwarded: for=192.0.2.9\r\nX-Forwarded-For: 198.51.100.1\r\n", "198.51.100.1")
}

// TestQuickForwarded is the same where answers are at hand.
func TestQuickForwarded(t *testing.T) {
	got := make(chan string, 10)
	hit := func(p *proxy.Plain) *proxy.Hit { got <- p.Viewer.Addr.Addr().String(); return nil }
	l := ladder{t: t, http: func(http.ResponseWriter, *http.Request) {}}
	f := func(trusted, fields, want string) {
		t.Helper()
		d := open(t, l, func(c *Config) { c.Forwarded, c.Handler = prefixes(t, trusted), hitting{l, hit} })
		c := d.viaHTTP(t, get)
		c.response()
		is := ""
		for range 20 { // who asks again at once may meet net/http
			c.send("GET /cam HTTP/1.1\r\nHost: edge\r\n" + fields + "\r\n")
			c.response()
			if len(got) > 0 {
				is = <-got
				break
			}
		}
		if is != want {
			t.Errorf("trusted %q, %q: asked for %q, want %q", trusted, fields, is, want)
		}
	}
	f("", "X-Forwarded-For: 192.0.2.9\r\n", "127.0.0.1")
	f("127.0.0.1", "X-Forwarded-For: 192.0.2.9\r\n", "192.0.2.9")
	f("127.0.0.1", "Forwarded: for=192.0.2.9\r\n", "192.0.2.9")
	f("127.0.0.1", "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-For: 198.51.100.1\r\n", "") // net/http's
}

// accepting tells whom the gate was asked about.
type accepting struct {
	proxy.Admitter
	from chan netip.Addr
}

func (a *accepting) Accept(from netip.Addr) (func(), error) {
	a.from <- from
	return func() {}, nil
}

// TestNoPlaceIsSaid: who is refused for want of a place hears of it.
func TestNoPlaceIsSaid(t *testing.T) {
	full := &proxy.Refusal{Reason: proxy.TooMany, RetryAfter: 3 * time.Second}
	d := open(t, ladder{}, func(c *Config) { c.Gate = &proxytest.Gate{RefuseAccept: full} })
	c := d.viaRTSP(t, describe)
	if res := c.answer(); res.Code != 453 || res.Header.Get("CSeq") != "2" || res.Header.Get("Retry-After") != "3" {
		t.Errorf("RTSP: %s", res.Raw)
	}
	c.closed()
	h := d.viaHTTP(t, get)
	if res, body := h.response(); res.StatusCode != 429 || !res.Close || res.Header.Get("Retry-After") != "3" || body != "Too Many Sessions\n" {
		t.Errorf("HTTP: %+v %q", res, body)
	}
	h.closed()
	d = open(t, ladder{}, func(c *Config) {
		c.Gate = &proxytest.Gate{RefuseAccept: &proxy.Refusal{Reason: proxy.Banned, Err: errors.New("by name")}}
	})
	if said := d.viaRTSP(t, describe).closed(); said != "" {
		t.Errorf("banned: %q", said)
	}
}

// The same behind a load balancer: it is not told before it has asked, and what came
// with the header counts.
func TestNoPlaceBehindPROXY(t *testing.T) {
	const header = "PROXY TCP4 192.0.2.9 10.0.0.1 4711 80\r\n"
	synctest.Test(t, func(t *testing.T) {
		gate := &proxytest.Gate{RefuseAccept: &proxy.Refusal{Reason: proxy.Full}}
		d := openPipes(t, ladder{}, func(c *Config) { c.ProxyProtocol, c.Gate = prefixes(t, "192.0.2.7"), gate })
		if res := d.viaRTSP(t, header+describe).answer(); res.Code != 453 {
			t.Errorf("in one piece: %s", res.Raw)
		}
		c := d.viaRTSP(t, header)
		synctest.Wait()
		c.send(describe)
		if res := c.answer(); res.Code != 453 {
			t.Errorf("in two pieces: %s", res.Raw)
		}
		if n := d.rtsp.refused.Load(); n != 2 {
			t.Errorf("%d refused, want 2", n)
		}
	})
}

// TestManyWithoutAPlace: those who are told so are few at a time, and not for long;
// all others are closed at once.
func TestManyWithoutAPlace(t *testing.T) {
	f := func(before string, trusted Prefixes) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			gate := &proxytest.Gate{RefuseAccept: &proxy.Refusal{Reason: proxy.Full}}
			d := openPipes(t, ladder{}, func(c *Config) { c.ProxyProtocol, c.Gate = trusted, gate })
			silent := make([]*client, maxRefusing)
			for i := range silent {
				if silent[i] = d.client(t, d.dialRTSP); before != "" {
					silent[i].send(before)
				}
			}
			synctest.Wait()
			one := d.client(t, d.dialRTSP)
			if before != "" {
				one.send(before)
			}
			if took := closedAfter(one); took != 0 {
				t.Errorf("behind %q: one too many was closed after %v", before, took)
			}
			if took := closedAfter(silent[0]); took != refusingFor {
				t.Errorf("behind %q: a silent one was closed after %v, want %v", before, took, refusingFor)
			}
			synctest.Wait()
			if res := d.viaRTSP(t, before+describe).answer(); res.Code != 453 {
				t.Errorf("behind %q, later: %s", before, res.Raw)
			}
		})
	}
	f("", nil)
	f("PROXY TCP4 192.0.2.9 10.0.0.1 4711 80\r\n", prefixes(t, "192.0.2.7"))
}

// Broken headers are counted; silence and health checks are not.
func TestBrokenPROXYIsCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	d := open(t, ladder{}, func(c *Config) {
		c.ProxyProtocol, c.FirstByte, c.Metrics = prefixes(t, "127.0.0.1"), 50*time.Millisecond, reg
	})
	d.client(t, d.dialRTSP).closed()
	d.viaRTSP(t, options).answer()
	d.viaRTSP(t, "PROXY TCP5 a b\r\n").closed()
	if n, s := figures(t, reg, "rtsp")["broken_proxy_headers_total"], d.rtsp.status(); n != 1 || s.Broken != 1 {
		t.Errorf("%v counted, status %+v, want 1", n, s)
	}
}

func TestPrefixes(t *testing.T) {
	f := func(flags, want string) {
		t.Helper()
		fs := flag.NewFlagSet("weir", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		o, got := Flags(fs), ""
		if err := fs.Parse(strings.Fields(flags)); err != nil {
			got = err.Error()
		} else {
			p := Prefixes(o.Trusted())
			got = p.String()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", flags, got, want)
		}
	}
	f("", "")
	f("-front.proxy-protocol 10.0.0.5 -front.proxy-protocol 10.1.2.3/16,::1 -front.forwarded 2001:db8::1/32", "10.0.0.5/32,10.1.0.0/16,::1/128,2001:db8::/32")
	f("-front.forwarded ::ffff:10.0.0.5", "10.0.0.5/32") // as addresses of viewers are written
	f("-front.forwarded ::ffff:10.0.0.0/104", "10.0.0.0/8")
	f("-front.forwarded here", `invalid value "here" for flag -front.forwarded: "here" is neither an address nor a prefix like 10.0.0.0/8`)
	f("-front.proxy-protocol 10.0.0.0/33", `invalid value "10.0.0.0/33" for flag -front.proxy-protocol: "10.0.0.0/33" is neither an address nor a prefix like 10.0.0.0/8`)
}

// Whatever a chain says, the viewer is one of it or the one who brought it, and
// never one behind the first who is not to be believed.
func FuzzForwarded(f *testing.F) {
	f.Add("192.0.2.9", "", "", "")
	f.Add("192.0.2.9, 10.0.0.1", "[2001:db8::9]:80", "", "")
	f.Add("", "", "for=192.0.2.9;by=10.0.0.1, For=\"[2001:db8::9]:4711\"", "")
	f.Add("", "", "for=\"192.0.2.9", "for=198.51.100.1")
	f.Add(",", "10.0.0.1", "for=unknown", "for=_x")
	f.Add("fe80::1%eth0", "::ffff:10.0.0.1", ";;=", "for")
	d := &Front{cfg: Config{Options: Options{Forwarded: Prefixes{netip.MustParsePrefix("10.0.0.0/8")}}}}
	proxy := netip.MustParseAddrPort("10.0.0.1:5000")
	f.Fuzz(func(t *testing.T, x1, x2, f1, f2 string) {
		fields := map[string]string{"X-Forwarded-For": x1 + "," + x2, "Forwarded": f1 + "," + f2}
		got := d.viewerOf(proxy, func(name string) string { return fields[name] })
		if !got.IsValid() || got.Addr().Zone() != "" || got.Addr().Is4In6() {
			t.Errorf("%q: %v", fields, got)
		}
		other := netip.MustParseAddrPort("192.0.2.7:5000")
		if v := d.viewerOf(other, func(name string) string { return fields[name] }); v != other {
			t.Errorf("%q: %v believed", fields, v)
		}
		// The last hop is the proxy's own word: who says more of himself changes nothing.
		last := func(name string) string {
			return fields[name] + map[string]string{"X-Forwarded-For": ", 198.51.100.1", "Forwarded": ", for=198.51.100.1"}[name]
		}
		if v := d.viewerOf(proxy, last).Addr().String(); v != "198.51.100.1" {
			t.Errorf("%q: %s, want the last hop", fields, v)
		}
	})
}
