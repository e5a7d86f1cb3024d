package proxy_test

import (
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
	"weir/proxy/wire"
)

func TestOpenAdmitsAll(t *testing.T) {
	leave, err := proxy.Open.Accept(netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	leave()
	v := &proxy.Viewer{}
	if err := proxy.Open.Check(t.Context(), v); err != nil {
		t.Error(err)
	}
	ticket, err := proxy.Open.Admit(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	if err := ticket.Declare(1 << 60); err != nil {
		t.Error(err)
	}
	ticket.Sent(1)
	ticket.Close()
	ticket.Close()
}

func TestAloneOwnsAll(t *testing.T) {
	if peer, self := proxy.Alone.Owner("/cam"); peer != "" || !self {
		t.Errorf("Owner = %q, %v", peer, self)
	}
	proxy.Alone.Tell("topic", []byte("x"), time.Minute)
	for node := range proxy.Alone.Told("topic") {
		t.Errorf("%q told something", node)
	}
}

func TestRefuse(t *testing.T) {
	w := httptest.NewRecorder()
	proxy.Refuse.ServeHTTP(w, httptest.NewRequest("GET", "/x", nil))
	if w.Code != 404 {
		t.Errorf("HTTP = %d, want 404", w.Code)
	}
	client, c := proxytest.RTSPConn(t, "DESCRIBE rtsp://edge/cam RTSP/1.0\r\nCSeq: 3\r\n\r\n")
	proxy.Refuse.ServeRTSP(t.Context(), c)
	if got, err := io.ReadAll(client); err != nil || string(got) != "RTSP/1.0 404 Not Found\r\nCSeq: 3\r\n\r\n" {
		t.Errorf("RTSP = %q, %v", got, err)
	}
}

func TestViewerOfContext(t *testing.T) {
	v := &proxy.Viewer{Path: "/cam"}
	if got := proxy.ViewerFrom(proxy.WithViewer(t.Context(), v)); got != v {
		t.Errorf("ViewerFrom = %+v, want %+v", got, v)
	}
	if got := proxy.ViewerFrom(t.Context()); got == nil || *got != (proxy.Viewer{}) {
		t.Errorf("ViewerFrom without a viewer = %+v, want a blank one", got)
	}
}

func TestRTSPConn(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	sent := 0
	first, v := &wire.Request{}, &proxy.Viewer{}
	c := proxy.NewRTSPConn(a, first, v, nil, func(n int) { sent += n })
	c.Sent(3)
	c.Sent(4)
	if c.First != first || c.Viewer != v || c.TCP() != nil || sent != 7 {
		t.Errorf("connection = %+v, %d bytes counted, want 7", c, sent)
	}
	proxy.NewRTSPConn(a, first, v, nil, nil).Sent(1) // nobody wants to know
}

func TestDegraded(t *testing.T) {
	if got := proxy.Degraded("no origin").Error(); got != "no origin" {
		t.Errorf("Degraded = %q", got)
	}
}
