package passthrough

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
	"weir/proxy/proxytest"
)

func TestFailIsRemembered(t *testing.T) {
	addr, _ := listen(t, "127.0.0.1")
	core, logs := observer.New(zap.DebugLevel)
	opts := parse(t, "-splitter.source", "/cam=rtsp://admin:s3%2Fcr@"+addr+"/user=a_password=s3cr?key=s3cr")
	b := NewBalancer(opts, zap.New(core))
	l := dial(t, b, proxy.Want{Path: "/cam"})
	l.Fail(fmt.Errorf("describe %s as admin:s3/cr: 401", l.URL))
	s := status(b)[0]
	if s.LastError == "" || strings.Contains(s.LastError, "s3") || s.LastErrorAt.IsZero() || s.Failures != 0 || s.State != "up" {
		t.Errorf("status = %+v, want a last error without secrets", s)
	}
	for _, e := range logs.All() {
		if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, "s3") {
			t.Errorf("logged: %s", text)
		}
	}
	if got := logs.FilterMessage("link failed").FilterLevelExact(zap.DebugLevel).Len(); got != 1 {
		t.Errorf("%d lines about the link, want 1 at debug", got)
	}
}

func TestLogTellsOnlyChanges(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	b := NewBalancer(parse(t, "-origin", "rtsp://a"), zap.New(core))
	b.dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") }
	for range 3 {
		if _, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/"}); err == nil {
			t.Fatal("dialed")
		}
	}
	if got := logs.FilterMessage("origin down").Len(); got != 1 || logs.Len() != 1 {
		t.Errorf("%d lines, %d of them origin down, want 1", logs.Len(), got)
	}
}

func TestReady(t *testing.T) {
	var degraded proxy.Degraded
	if err := balancer(t).Ready(); !errors.As(err, &degraded) {
		t.Errorf("without an origin: %v, want degraded", err)
	}
	up, _ := listen(t, "127.0.0.1")
	b := balancer(t, "-origin", "rtsp://"+proxytest.ClosedAddr(t), "-splitter.source", "/cam=rtsp://"+up)
	if err := b.Ready(); err != nil {
		t.Errorf("before the first dial: %v", err)
	}
	if _, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/x"}); err == nil {
		t.Fatal("a dead origin was dialed")
	}
	if err := b.Ready(); !errors.As(err, &degraded) {
		t.Errorf("after failures only: %v, want degraded", err)
	}
	dial(t, b, proxy.Want{Path: "/cam"})
	if err := b.Ready(); err != nil {
		t.Errorf("with one that answers: %v", err)
	}
}

func TestStatusMarshals(t *testing.T) {
	b := balancer(t, "-origin", "rtsp://u:s3cr@a/x", "-origin", "https://u:s3cr@b", "-splitter.source", "/cam=rtsp://u:s3cr@c/s3cr?s3cr")
	text, err := json.Marshal(b.Status())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"origins":[{"name":"a:554/x","scheme":"rtsp","dials":0,"failures":0,"state":"idle"},` +
		`{"name":"b:443","scheme":"https","dials":0,"failures":0,"state":"idle"},` +
		`{"name":"c:554","scheme":"rtsp","path":"/cam","dials":0,"failures":0,"state":"idle"}]}`
	if string(text) != want {
		t.Errorf("status = %s\nwant     %s", text, want)
	}
}
