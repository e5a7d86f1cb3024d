package passthrough

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
)

func TestFailIsRemembered(t *testing.T) {
	addr, _ := listen(t, "127.0.0.1")
	core, logs := observer.New(zap.DebugLevel)
	b := logging(t, zap.New(core), "-splitter.source", "/cam=rtsp://admin:s3%2Fcr@"+addr+"/user=a_password=s3cr?key=s3cr")
	l := dial(t, b, proxy.Want{Path: "/cam"})
	for range 2 * strikesOut {
		l.Fail(fmt.Errorf("describe %s as admin:s3/cr: 401", l.URL))
	}
	l.Fail(context.Canceled) // a viewer who left
	s := status(b)[0]
	if s.LastError == "" || strings.Contains(s.LastError, "s3") || s.LastErrorAt.IsZero() || s.Failures != 0 || s.State != "up" {
		t.Errorf("status = %+v, want a last error without secrets, and that the only origin is not ejected", s)
	}
	for _, e := range logs.All() {
		if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, "s3") {
			t.Errorf("logged: %s", text)
		}
	}
	if got := logs.FilterMessage("origin failed").FilterLevelExact(zap.DebugLevel).Len(); got != 2*strikesOut {
		t.Errorf("%d lines about the link, want %d at debug", got, 2*strikesOut)
	}
}

func TestLogTellsOnlyChanges(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	b := logging(t, zap.New(core), "-origin", "rtsp://u:s3cr@a", "-origin", "rtsp://b")
	b.setProbing(true)
	a := b.all()[0]
	for range 3 {
		b.dialed(a, errors.New("no route as s3cr"), true)
	}
	for range 3 {
		b.probed(a, nil, true, time.Millisecond)
	}
	for range 5 {
		b.failed(a, errors.New("reset"))
	}
	var got []string
	for _, e := range logs.All() {
		reason, _ := e.ContextMap()["reason"].(string)
		got = append(got, strings.TrimSpace(e.Message+" "+reason))
	}
	if want := "origin down no route as ***; origin up; origin ejected reset"; strings.Join(got, "; ") != want {
		t.Errorf("logged %q, want %q", strings.Join(got, "; "), want)
	}
}

// At most half of a pool is ejected, in each of the pools that an origin is in.
func TestHalfOfAPoolStays(t *testing.T) {
	f := func(want int, origins ...string) {
		t.Helper()
		var args []string
		for _, o := range origins {
			args = append(args, "-origin", o)
		}
		b := balancer(t, args...)
		got := 0
		for _, o := range b.all() {
			for range strikesOut {
				b.failed(o, errors.New("reset"))
			}
			if o.health.state() == stateEjected {
				got++
			}
		}
		if got != want {
			t.Errorf("%d of %q ejected, want %d", got, origins, want)
		}
	}
	f(0, "http://a")
	f(1, "http://a", "http://b")
	f(1, "http://a", "http://b", "http://c")
	f(2, "http://a", "http://b", "http://c", "http://d")
	f(2, "http://a", "http://b", "rtsp://a", "rtsp://b")
	f(0, "http://a#path=/x,path=/y", "http://b#path=/x,path=/z")
}

// Failures count when they come in a row; what a viewer does is none, and a dial
// that failed has been counted before.
func TestWorkedEndsARow(t *testing.T) {
	b := balancer(t, "-origin", "http://a", "-origin", "http://b")
	a := b.all()[0]
	for range 2 * strikesOut {
		b.failed(a, errors.New("answer 502"))
		b.failed(a, fmt.Errorf("get: %w", context.Canceled))
		b.failed(a, fmt.Errorf("get: %w", &dialError{"a:80", errors.New("no route")}))
		b.worked(a)
	}
	if s := status(b)[0]; s.State != "up" || s.Ejections != 0 || s.LastError != "answer 502" {
		t.Errorf("status = %+v, want up", s)
	}
}

func TestReady(t *testing.T) {
	var degraded proxy.Degraded
	if err := balancer(t).Ready(); !errors.As(err, &degraded) {
		t.Errorf("without an origin: %v, want degraded", err)
	}
	if err := balancer(t).Usable(); err == nil || errors.As(err, &degraded) {
		t.Errorf("usable without an origin: %v, want a plain error", err)
	}
	if err := balancer(t, "-splitter.source", "/cam=rtsp://c").Usable(); err != nil {
		t.Errorf("usable with a source only: %v", err)
	}
	b := balancer(t, "-origin", "rtsp://u:s3cr@a", "-origin", "rtsp://b", "-origin", "http://w#path=/vod", "-splitter.source", "/cam=rtsp://c")
	b.dial = func(_ context.Context, _, addr string) (net.Conn, error) {
		return nil, errors.New("no route as s3cr to " + addr)
	}
	f := func(what, ready, usable string) {
		t.Helper()
		err := b.Ready()
		if fmt.Sprint(err) != ready || err != nil && !errors.As(err, &degraded) {
			t.Errorf("%s: ready = %v, want %s", what, err, ready)
		}
		if err := b.Usable(); fmt.Sprint(err) != usable || errors.As(err, &degraded) {
			t.Errorf("%s: usable = %v, want %s", what, err, usable)
		}
	}
	f("before the first dial", "<nil>", "<nil>")
	all := b.all()
	_, err := b.DialRTSP(t.Context(), proxy.Want{Path: "/cam"})
	wantRefusal(t, err, proxy.OriginDown, 5*time.Second)
	cam := "no origin for source /cam: c:554 ejected (origin c:554: no route as s3cr to c:554)"
	f("a dead camera", cam, "<nil>")
	for range b.opts.Fall {
		b.probed(all[2], errors.New("http probe: answer 503"), true, time.Second)
		b.probed(all[1], errors.New("rtsp probe: EOF"), true, time.Second)
	}
	web := "no origin for http /vod: w:80 down (http probe: answer 503)"
	f("a pool that is gone", web+"; "+cam, "<nil>")
	_, err = b.DialRTSP(t.Context(), proxy.Want{Path: "/x"})
	wantRefusal(t, err, proxy.OriginDown, 5*time.Second)
	rtsp := "no origin for rtsp /: a:554 ejected (origin a:554: no route as *** to a:554), b:554 down (rtsp probe: EOF)"
	f("all gone", rtsp+"; "+web+"; "+cam, rtsp+"; "+web)
}

func TestStatusMarshals(t *testing.T) {
	b := balancer(t, "-origin", "rtsp://u:s3cr@a/x#weight=2", "-origin", "https://u:s3cr@b#path=/vod,header=X-Key: s3cr,probe=hls:/x?s3cr", "-splitter.source", "/cam=rtsp://u:s3cr@c/s3cr?s3cr")
	text, err := json.Marshal(b.Status())
	if err != nil {
		t.Fatal(err)
	}
	counts := `"state":"idle","dials":0,"failures":0,"ejections":0,`
	probes := `"probes":0,"probe_failures":0,"last_probe_s":0}`
	want := `{"origins":[{"name":"a:554/x","scheme":"rtsp","pools":["/"],"weight":2,"sessions":0,` + counts + `"probe":"rtsp",` + probes +
		`,{"name":"b:443","scheme":"https","pools":["/vod"],"weight":1,"sessions":0,` + counts + `"probe":"hls",` + probes +
		`,{"name":"c:554","scheme":"rtsp","path":"/cam","weight":1,"sessions":0,` + counts + `"probe":"rtsp",` + probes + `]}`
	if string(text) != want {
		t.Errorf("status = %s\nwant     %s", text, want)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	b := NewBalancer(parse(t, "-origin", "rtsp://a", "-origin", "rtsp://b", "-origin", "rtsp://c"), reg, zap.NewNop())
	all := b.all()
	b.setProbing(true)
	b.dialed(all[0], errors.New("no route"), true)
	b.dialed(all[1], nil, true)
	all[1].enter()
	b.probed(all[0], errors.New("no route"), true, 0)
	for range strikesOut {
		b.failed(all[1], errors.New("reset"))
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := strings.TrimPrefix(f.GetName(), "weir_passthrough_")
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	want := map[string]float64{"origin_dials_total": 2, "origin_dial_failures_total": 1, "origin_probes_total": 1, "origin_probe_failures_total": 1,
		"origin_ejections_total": 1, "resumed_total": 0, "hedged_total": 0, "missing_sought_total": 0, "missing_found_total": 0, "playlists_back_total": 0, "playlists_withheld_total": 0, "origin_sessions": 1, "origins up": 0, "origins down": 1, "origins ejected": 1, "origins idle": 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("metrics = %v\nwant      %v", got, want)
	}
}
