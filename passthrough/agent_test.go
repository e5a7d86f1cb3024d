package passthrough

import (
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// TestAgentTellsWellAndUnwell: an origin that dies and returns is told, each of its
// services by its own bit.
func TestAgentTellsWellAndUnwell(t *testing.T) {
	origin, ear := runOrigin(t), newEar()
	o := quickAgent()
	o.RTSP, o.HTTP = hostOf(origin.URL()), hostOf(origin.HTTPURL())
	o.Probes = words{"rtsp=describe:/live/clock", "http=http:/hello.txt=200"}
	a := runAgent(t, o, ear)
	ear.await(t, "both services well", func(r Report) bool { return r.Well == 0b11 })
	if err := a.Ready(); err != nil {
		t.Errorf("ready: %v", err)
	}
	origin.Die()
	ear.await(t, "both services unwell", func(r Report) bool { return r.Well == 0 })
	err, degraded := a.Ready().(proxy.Degraded)
	if !degraded || !strings.Contains(string(err), "rtsp is unwell: describe probe: ") || !strings.Contains(string(err), "; http is unwell: ") {
		t.Errorf("ready: %v", a.Ready())
	}
	if err := origin.Revive(); err != nil {
		t.Fatal(err)
	}
	ear.await(t, "both services well again", func(r Report) bool { return r.Well == 0b11 })
}

// TestAgentProbesTLS: with certificates that nobody vouches for.
func TestAgentProbesTLS(t *testing.T) {
	web := httptest.NewTLSServer(http.NotFoundHandler())
	defer web.Close()
	plain := newMum(t)
	f := func(addr, probe string, ok bool) {
		t.Helper()
		o := quickAgent()
		o.HTTPS, o.Probes, o.Timeout = addr, words{probe}, 10*time.Second
		a := newTestAgent(t, o, newEar())
		ctx, cancel := context.WithTimeout(t.Context(), map[bool]time.Duration{true: 10 * time.Second, false: 100 * time.Millisecond}[ok])
		defer cancel()
		if err := a.services[0].probe.Do(ctx, a.services[0].target); (err == nil) != ok {
			t.Errorf("%s of %s: %v", probe, addr, err)
		}
	}
	f(hostOf(web.URL), "https=tcp", true)
	f(hostOf(web.URL), "https=http:/=404", true)
	f(plain.Addr().String(), "https=tcp", false)
}

// TestAgentIsUnwellUntilAProbeWorks: an origin that was never there is not told to be
// well, not even until the third failure.
func TestAgentIsUnwellUntilAProbeWorks(t *testing.T) {
	ear, o := newEar(), quickAgent()
	o.RTSP = proxytest.ClosedAddr(t)
	o.Check = time.Hour // one probe, and no second one while the test runs
	a := newTestAgent(t, o, ear)
	a.probe(t.Context(), a.services[0])
	f := func(probes string, want uint32) {
		t.Helper()
		for _, p := range probes {
			a.note(a.services[0], map[rune]error{'-': io.EOF}[p], 0, time.Now())
		}
		if r := a.report(); r.Well != want {
			t.Errorf("after %s: %+v", probes, r)
		}
	}
	f("", 0)
	f("+", 0)
	f("+", 1)
	f("--", 1)
	f("-", 0)
	f("+-+", 0)
	f("+", 1)
	a = newTestAgent(t, o, ear)
	f("+", 1) // the first of all
}

// TestAgentDrains: by the door, and back again.
func TestAgentDrains(t *testing.T) {
	origin, ear := runOrigin(t), newEar()
	o := quickAgent()
	o.RTSP = hostOf(origin.URL())
	a := runAgent(t, o, ear)
	ear.await(t, "well", func(r Report) bool { return r.Well == 1 && !r.Draining })
	post := func(path, want string) {
		t.Helper()
		w := httptest.NewRecorder()
		a.Admin().ServeHTTP(w, httptest.NewRequest("POST", path, nil))
		if w.Code != 200 || w.Body.String() != want {
			t.Errorf("POST %s: %d %q", path, w.Code, w.Body)
		}
	}
	post("/drain", "{\"draining\":true}\n")
	ear.await(t, "draining told", func(r Report) bool { return r.Draining && r.Well == 1 })
	if _, ttl, _ := ear.told(); ttl != drainTTL {
		t.Errorf("it counts for %v", ttl)
	}
	if err := a.Ready(); err == nil || err.Error() != "draining" {
		t.Errorf("ready while draining: %v", err)
	}
	post("/ready", "{\"draining\":false}\n")
	ear.await(t, "back told", func(r Report) bool { return !r.Draining && r.Well == 1 })
	if _, ttl, _ := ear.told(); ttl != ReportTTL || a.Ready() != nil {
		t.Errorf("it counts for %v, ready %v", ttl, a.Ready())
	}
	w := httptest.NewRecorder()
	if a.Admin().ServeHTTP(w, httptest.NewRequest("GET", "/drain", nil)); w.Code != 405 {
		t.Errorf("GET /drain: %d", w.Code)
	}
}

// TestAgentTellsInTime: much at once, little within two seconds.
func TestAgentTellsInTime(t *testing.T) {
	o := quickAgent()
	o.HTTP, o.Capacity = "127.0.0.1:1", 100
	now := time.Now()
	f := func(since time.Duration, sessions, later int, cpu float64, want bool) {
		t.Helper()
		a := newTestAgent(t, o, newEar())
		a.machine.sessions = sessions
		a.tell(now)
		a.machine.sessions, a.machine.cpu = later, cpu
		if got := a.due(now.Add(since)); got != want {
			t.Errorf("%v after: %d and then %d sessions, CPU %v: due %v", since, sessions, later, cpu, got)
		}
	}
	f(time.Second, 50, 50, 0, false)
	f(2*time.Second, 50, 50, 0, true)
	f(time.Second, 50, 54, 0, false)
	f(time.Second, 50, 55, 0, true)
	f(time.Second, 50, 45, 0, true)
	f(time.Second, 0, 1, 0, true)
	f(time.Second, 50, 50, 0.59, false)
	f(time.Second, 50, 50, 0.61, true)
}

func TestAgentLoad(t *testing.T) {
	f := func(m measures, capacity int, bandwidth proxy.BitRate, want float64) {
		t.Helper()
		a := &Agent{opts: AgentOptions{Capacity: capacity, Bandwidth: bandwidth}, machine: m}
		if got := a.load(); got != want {
			t.Errorf("load of %+v with %d and %v = %v, want %v", m, capacity, bandwidth, got, want)
		}
	}
	f(measures{}, 0, 0, 0)
	f(measures{cpu: 0.5, pressure: 0.25}, 0, 0, 0.5)
	f(measures{cpu: 0.25, pressure: 0.75}, 0, 0, 0.375)
	f(measures{sessions: 90, rate: 1e9}, 0, 0, 0)
	f(measures{sessions: 90, rate: 1e9, cpu: 0.1}, 100, 0, 0.9)
	f(measures{sessions: 90, rate: 95e7}, 100, 1e9, 0.95)
	f(measures{sessions: 200}, 100, 0, 1)
}

func TestMeter(t *testing.T) {
	var m meter
	at := time.Now()
	f := func(busy, total, sent uint64, hasSent bool, cpu float64, rate proxy.BitRate) {
		t.Helper()
		at = at.Add(time.Second)
		got := m.add(counters{at: at, cpu: cpuTime{busy, total}, sent: sent, hasSent: hasSent})
		if math.Abs(got.cpu-cpu) > 1e-9 || got.rate != rate {
			t.Errorf("busy %d of %d, sent %d: %+v, want %v and %v", busy, total, sent, got, cpu, rate)
		}
	}
	f(100, 1000, 5000, true, 0, 0) // since the start of the machine, which says nothing
	f(150, 1100, 6000, true, 0.5, 8000)
	f(150, 1200, 6000, true, 0.5-0.5/3, 5333)
	f(150, 0, 0, false, 0.5-0.5/3, 5333) // not known
	f(400, 1400, 1e12, true, 0.5-0.5/3, 5333)
	f(100, 1500, 10, true, 0.5-0.5/3, 5333) // counted anew
}

// TestAgentStatus is for the page: what is not known is not zero.
func TestAgentStatus(t *testing.T) {
	o := quickAgent()
	o.HTTP = "127.0.0.1:1"
	a := newTestAgent(t, o, newEar())
	s := a.Status().(AgentStatus)
	if s.Sessions != nil || s.Told != nil || s.Services[0].State != "idle" {
		t.Errorf("before: %+v", s)
	}
	if err, ok := a.Ready().(proxy.Degraded); !ok || err != "http has not been probed yet" {
		t.Errorf("ready before: %v", a.Ready())
	}
	a.machine = measures{sessions: 3, counted: true}
	a.note(a.services[0], nil, 0, time.Now())
	a.tell(time.Now())
	s = a.Status().(AgentStatus)
	if s.Sessions == nil || *s.Sessions != 3 || s.Told == nil || s.Told.Sessions != 3 || s.Services[0].State != "up" {
		t.Errorf("after: %+v", s)
	}
}
