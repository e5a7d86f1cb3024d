package proxytest

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy"
)

// tiny is a good mode: it splices an RTSP viewer to an origin, byte by byte, and
// forwards HTTP. Its faults make it a bad one.
type tiny struct {
	env    proxy.Env
	faults faults
	served prometheus.Counter
}

// faults: the zero value has none.
type faults struct {
	onNew      func(*tiny)
	onRun      func(context.Context) error
	onStatus   func() any
	onHTTP     http.HandlerFunc
	onReject   func(*proxy.RTSPConn) // instead of the answer
	metric     string                // its name, if not the right one
	keepTicket bool
	keepConn   bool
	noTicket   bool
	ignoreGate bool
}

func buildTiny(f faults) build {
	return func(env proxy.Env) (proxy.Mode, error) {
		m := &tiny{env: env, faults: f}
		m.served = prometheus.NewCounter(prometheus.CounterOpts{
			Name: cmp.Or(f.metric, "weir_tiny_viewers_total"), Help: "Viewers served."})
		env.Metrics.MustRegister(m.served)
		if f.onNew != nil {
			f.onNew(m)
		}
		return m, nil
	}
}

func (m *tiny) Run(ctx context.Context) error {
	if m.faults.onRun != nil {
		return m.faults.onRun(ctx)
	}
	<-ctx.Done()
	return nil
}

func (m *tiny) Status() any {
	if m.faults.onStatus != nil {
		return m.faults.onStatus()
	}
	return struct{}{}
}

func (m *tiny) Ready() error { return proxy.Degraded("tiny") }

func (m *tiny) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.faults.onHTTP != nil {
		m.faults.onHTTP(w, r)
		return
	}
	if r.Method != http.MethodGet {
		m.env.Next.ServeHTTP(w, r)
		return
	}
	ticket, err := m.env.Gate.Admit(r.Context(), proxy.ViewerFrom(r.Context()))
	if err != nil {
		proxy.Refused(err).WriteHTTP(w)
		return
	}
	if !m.faults.keepTicket {
		defer ticket.Close()
	}
	res, err := m.env.Upstream.RoundTrip(r)
	if err != nil {
		proxy.Refused(err).WriteHTTP(w)
		return
	}
	defer res.Body.Close()
	w.WriteHeader(res.StatusCode)
	_, _ = io.Copy(w, res.Body)
}

func (m *tiny) ServeRTSP(ctx context.Context, c *proxy.RTSPConn) {
	m.served.Inc()
	if !m.faults.keepConn {
		defer c.Close()
	}
	link, err := m.env.Upstream.DialRTSP(ctx, proxy.Want{Path: c.Viewer.Path})
	if err != nil {
		m.reject(c, err)
		return
	}
	defer link.Close()
	if !m.faults.noTicket {
		ticket, err := m.env.Gate.Admit(ctx, c.Viewer)
		if err != nil && !m.faults.ignoreGate {
			m.reject(c, err)
			return
		}
		if err == nil && !m.faults.keepTicket {
			defer ticket.Close()
		}
	}
	m.splice(ctx, c, link)
}

func (m *tiny) reject(c *proxy.RTSPConn, err error) {
	if m.faults.onReject != nil {
		m.faults.onReject(c)
		return
	}
	_, _ = c.Write(proxy.Refused(err).Response(c.First).Append(nil))
}

func (m *tiny) splice(ctx context.Context, c *proxy.RTSPConn, link *proxy.Link) {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer link.Close()
		_, _ = io.Copy(link, c)
	})
	_, _ = io.Copy(c.Conn, link)
	wg.Wait()
}
