package front

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// A failing listener returns its errors before it accepts.
type failing struct {
	net.Listener
	mu   sync.Mutex
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, err
	}
	return f.Listener.Accept()
}

// Out of file descriptors is a state that passes: the door stays.
func TestAcceptSurvivesEMFILE(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		emfile := &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
		p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		l := &listener{gate: &proxytest.Gate{}, log: proxytest.Logger(t),
			Listener: &failing{Listener: p, errs: []error{emfile, emfile, syscall.ECONNABORTED, emfile}}}
		start := time.Now()
		go p.dial() //nolint:errcheck // the other end is looked at
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < 20*time.Millisecond || d > time.Second {
			t.Errorf("accepted after %v; want pauses, short ones", d)
		}
		c.Close()
		l.Close()
		if _, err := l.Accept(); err == nil {
			t.Error("accepted though closed")
		}
	})
}

// figures are the metrics of one protocol, "weir_front_" cut off.
func figures(t *testing.T, reg prometheus.Gatherer, protocol string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			if l := m.Label; len(l) == 1 && l[0].GetName() == "protocol" && l[0].GetValue() == protocol {
				all[strings.TrimPrefix(f.GetName(), "weir_front_")] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return all
}

// Everything that moves is counted, whatever way it takes.
func TestBytesAreCounted(t *testing.T) {
	reg, moved, release := prometheus.NewRegistry(), make(chan struct{}), make(chan struct{})
	body := strings.Repeat("x", 100<<10)
	d := open(t, ladder{
		rtsp: func(_ context.Context, c *proxy.RTSPConn) {
			io.ReadFull(c, make([]byte, len(describe))) //nolint:errcheck // replayed, not counted again
			io.WriteString(c, "12345")                  //nolint:errcheck // the client sees it
			c.Sent(1000)
			moved <- struct{}{}
			<-release
		},
		http: func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Date"] = nil
			w.Header().Set("Content-Length", "102400")
			io.Copy(w, strings.NewReader(body)) //nolint:errcheck // the client sees it
		},
	}, func(c *Config) { c.Metrics = reg })
	f := func(l *listener, protocol string, in, out uint64) {
		t.Helper()
		want := listenerStatus{Address: l.Addr().String(), Open: 1, Total: 1, InBytes: in, OutBytes: out}
		if got := l.status(); *got != want {
			t.Errorf("%s: %+v, want %+v", protocol, *got, want)
		}
		got := figures(t, reg, protocol)
		if got["received_bytes_total"] != float64(in) || got["sent_bytes_total"] != float64(out) ||
			got["connections"] != 1 || got["connections_total"] != 1 || got["refused_total"] != 0 {
			t.Errorf("%s: metrics %v, want the same as %+v", protocol, got, want)
		}
	}
	defer close(release)
	d.viaRTSP(t, describe)
	<-moved
	f(d.rtsp, "rtsp", uint64(len(describe)), 1005)
	h := d.viaHTTP(t, get)
	h.response()
	proxytest.Eventually(t, time.Second, "all counted", func() bool { return d.http.out.Load() > 100<<10 })
	f(d.http, "http", uint64(len(get)), uint64(len("HTTP/1.1 200 OK\r\nContent-Length: 102400\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")+len(body)))
}

func TestStatus(t *testing.T) {
	f := func(change func(*Config), want string) {
		t.Helper()
		d := build(t, ladder{}, change)
		b, err := json.Marshal(d.Status())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []net.Addr{d.RTSPAddr(), d.HTTPAddr(), d.RTSPSAddr(), d.HTTPSAddr()} {
			if a != nil {
				b = []byte(strings.Replace(string(b), a.String(), "ADDR", 1))
			}
		}
		if string(b) != want {
			t.Errorf("status %s, want %s", b, want)
		}
		for _, l := range []*listener{d.rtsp, d.http, d.rtsps, d.https} {
			l.Close() //nolint:errcheck // never run
		}
	}
	zero := `{"address":"ADDR","connections":0,"connections_total":0,"refused_total":0,"in_bytes":0,"out_bytes":0}`
	f(func(*Config) {}, `{"rtsp":`+zero+`,"http":`+zero+`,"draining":false}`)
	f(func(c *Config) { c.HTTP = "" }, `{"rtsp":`+zero+`,"draining":false}`)
	f(func(c *Config) { c.RTSP = "" }, `{"http":`+zero+`,"draining":false}`)
	secure, _ := underTLS(t)
	f(func(c *Config) { secure(c); c.RTSP, c.HTTP = "", "" },
		`{"rtsps":`+zero+`,"https":`+zero+`,"certificate":{"not_after":"2099-01-01T00:00:00Z"},"draining":false}`)
}
