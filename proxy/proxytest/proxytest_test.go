package proxytest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

func TestEventually(t *testing.T) {
	n := 0
	Eventually(t, time.Second, "third time", func() bool { n++; return n == 3 })
	v := &verdict{TB: t, t: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Eventually(v, 20*time.Millisecond, "never", func() bool { return false })
	}()
	<-done
	v.wantFailure("never: not within 20ms")
}

func TestLoggerIsSilentAfterTheTest(t *testing.T) {
	var late *zap.Logger
	t.Run("inner", func(t *testing.T) {
		late = Logger(t)
		late.Info("during the test")
	})
	late.Info("after the test") // testing would panic
	if err := late.Sync(); err != nil {
		t.Errorf("Sync = %v", err)
	}
}

func TestUpstream(t *testing.T) {
	u := &Upstream{}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/x", io.NopCloser(strings.NewReader("x")))
	if err != nil {
		t.Fatal(err)
	}
	wantDown := func(err error) {
		t.Helper()
		var r *proxy.Refusal
		if !errors.As(err, &r) || r.Reason != proxy.OriginDown {
			t.Errorf("error = %v, want %s", err, proxy.OriginDown)
		}
	}
	_, err = u.RoundTrip(req)
	wantDown(err)
	_, err = u.DialRTSP(t.Context(), proxy.Want{})
	wantDown(err)
	u.RoundTripFunc = hello
	if res, err := u.RoundTrip(req); err != nil || res.StatusCode != 200 {
		t.Errorf("RoundTrip = %v, %v", res, err)
	}
	u.DialFunc = func(_ context.Context, w proxy.Want) (*proxy.Link, error) { return &proxy.Link{Origin: w.Path}, nil }
	if l, err := u.DialRTSP(t.Context(), proxy.Want{Path: "/cam"}); err != nil || l.Origin != "/cam" {
		t.Errorf("DialRTSP = %v, %v", l, err)
	}
	if u.Trips() != 2 || u.Dials() != 2 {
		t.Errorf("%d trips and %d dials, want 2 and 2", u.Trips(), u.Dials())
	}
}

func TestGateCounts(t *testing.T) {
	g := &Gate{}
	leave, err := g.Accept(netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	leave()
	leave()
	v := &proxy.Viewer{Path: "/cam"}
	if err := g.Check(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	ticket, err := g.Admit(t.Context(), v)
	if err != nil || ticket.Declare(4e6) != nil {
		t.Fatal(err)
	}
	ticket.Sent(3)
	ticket.Sent(4)
	ticket.Close()
	ticket.Close()
	if got, want := g.Count(), (GateCount{Accepts: 1, Leaves: 2, Checks: 1, Admits: 1, Closes: 2}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	all := g.Tickets()
	if len(all) != 1 || all[0].Viewer != v || all[0].Bytes() != 7 || all[0].Closes() != 2 || len(all[0].Declared()) != 1 {
		t.Errorf("tickets = %+v", all)
	}
}

func TestGateRefuses(t *testing.T) {
	no := &proxy.Refusal{Reason: proxy.Full}
	g := &Gate{RefuseAccept: no, RefuseCheck: no, RefuseDeclare: no}
	_, err1 := g.Accept(netip.Addr{})
	err2 := g.Check(t.Context(), nil)
	ticket, err := g.Admit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	err3 := ticket.Declare(1)
	g.RefuseAdmit = no
	_, err4 := g.Admit(t.Context(), nil)
	for i, err := range []error{err1, err2, err3, err4} {
		if err != no {
			t.Errorf("refusal %d = %v, want %v", i, err, no)
		}
	}
	if got, want := g.Count(), (GateCount{Accepts: 1, Checks: 1, Admits: 2}); got != want || len(g.Tickets()) != 1 {
		t.Errorf("counted %+v, want %+v, with one ticket", got, want)
	}
}

func TestRTSPConn(t *testing.T) {
	request := "SETUP rtsp://edge/cam/%C3%BC/trackID=1?token=x RTSP/1.0\r\nCSeq: 3\r\nUser-Agent: vlc\r\nAuthorization: Basic eA==\r\n\r\n"
	client, c := RTSPConn(t, request+"$\x00\x00\x01x")
	if c.First.Method != "SETUP" || c.First.Header.Get("CSeq") != "3" || c.TCP() == nil {
		t.Errorf("first request = %+v, socket %v", c.First, c.TCP())
	}
	v := c.Viewer
	if v.Addr.String() != client.LocalAddr().String() || v.Protocol != "rtsp" || v.Path != "/cam/ü" || v.Query != "token=x" ||
		v.UserAgent != "vlc" || v.Authorization != "Basic eA==" {
		t.Errorf("viewer = %+v", v)
	}
	if _, err := io.WriteString(client, "more"); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != request+"$\x00\x00\x01xmore" {
		t.Errorf("reads again %q, %v", got, err)
	}
}

func TestRTSPConnFindsTheTrackBehindTheQuery(t *testing.T) {
	_, c := RTSPConn(t, "SETUP rtsp://edge/cam?token=x/trackID=1 RTSP/1.0\r\nCSeq: 3\r\n\r\n")
	if c.Viewer.Path != "/cam" || c.Viewer.Query != "token=x" {
		t.Errorf("viewer = %+v", c.Viewer)
	}
}

func TestNext(t *testing.T) {
	client, c := RTSPConn(t, "DESCRIBE rtsp://edge/cam RTSP/1.0\r\nCSeq: 3\r\n\r\n")
	n := &Next{}
	n.ServeRTSP(t.Context(), c)
	if got, err := io.ReadAll(client); err != nil || string(got) != "RTSP/1.0 299 Left\r\nCSeq: 3\r\n\r\n" {
		t.Errorf("answers %q, %v", got, err)
	}
	if got := n.RTSP(); len(got) != 1 || got[0] != "DESCRIBE rtsp://edge/cam" {
		t.Errorf("remembers %q", got)
	}
}
