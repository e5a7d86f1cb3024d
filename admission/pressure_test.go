package admission

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
)

// newTestPressure measures what it is told.
func newTestPressure(o *Options, log *zap.Logger) (p *pressure, now *load) {
	now = &load{unknown, unknown, unknown}
	p = newPressure(o, log)
	p.measure = func(time.Time) load { return *now }
	return p, now
}

func TestPressureWatermarks(t *testing.T) {
	p, now := newTestPressure(&Options{ShedCPU: 95, ShedMemory: 90, ShedFiles: 80}, zap.NewNop())
	f := func(cpu, memory, files float64, want string) {
		t.Helper()
		*now = load{cpu, memory, files}
		p.look(noon)
		err := p.check()
		if want == "" {
			wantReason(t, "check", err, "")
			return
		}
		r := wantReason(t, "check", err, proxy.Overloaded)
		if !strings.Contains(r.Error(), want) {
			t.Errorf("load %v: %q, want %q in it", *now, r, want)
		}
		if r.RetryAfter < 5*time.Second || r.RetryAfter > 10*time.Second {
			t.Errorf("retry after %v", r.RetryAfter)
		}
	}
	f(unknown, unknown, unknown, "")
	f(94.9, 89.9, 79.9, "")
	f(95, 0, 0, "cpu at 95 % of at most 95")
	f(90.1, 0, 0, "cpu at 90 %")
	f(90, 0, 0, "")
	f(94, 0, 0, "") // not before the limit again
	f(0, 97, 0, "memory at 97 % of at most 90")
	f(0, 86, 81, "memory")
	f(0, 85, 81, "files at 81 %")
	f(0, 0, 75, "")
	f(250, 0, 0, "cpu")
	f(unknown, unknown, unknown, "") // what is not known any more sheds nobody
}

func TestPressureOff(t *testing.T) {
	p, now := newTestPressure(&Options{}, zap.NewNop())
	*now = load{100, 100, 100}
	p.look(noon)
	wantReason(t, "limits of 0", p.check(), "")
	// Shedding ends even where the limit is less than the step.
	p, now = newTestPressure(&Options{ShedCPU: 2}, zap.NewNop())
	f := func(cpu float64, want proxy.Reason) {
		t.Helper()
		now.cpu = cpu
		p.look(noon)
		wantReason(t, "limit of 2", p.check(), want)
	}
	f(2, proxy.Overloaded)
	f(1.1, proxy.Overloaded)
	f(1, "")
}

// Balancers are told of shedding that lasts, not of a peak.
func TestPressureReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Pointer[load]
		p := newPressure(&Options{ShedCPU: 95, ShedMemory: 90}, zap.NewNop())
		p.measure = func(time.Time) load { return *now.Load() }
		now.Store(&load{})
		if p.check() != nil || p.ready() != nil {
			t.Error("overloaded before anything was measured")
		}
		go p.run(t.Context())
		synctest.Wait()
		f := func(l load, after time.Duration, want bool) {
			t.Helper()
			time.Sleep(100 * time.Millisecond) // between two ticks
			now.Store(&l)
			time.Sleep(after)
			synctest.Wait()
			if err := p.ready(); (err == nil) != want {
				t.Errorf("load %v for %v: ready = %v", l, after, err)
			}
		}
		f(load{99, 0, 0}, 2*time.Second, true)
		f(load{99, 0, 0}, 8*time.Second, true)
		f(load{0, 0, 0}, 2*time.Second, true)
		f(load{99, 0, 0}, 9*time.Second, true)
		f(load{0, 95, 0}, 4*time.Second, false) // another reason, and no pause
		f(load{0, 0, 0}, 1500*time.Millisecond, true)
	})
}

func TestPressureLog(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	p, now := newTestPressure(&Options{ShedCPU: 95, ShedFiles: 90}, zap.New(core))
	f := func(l load, want ...string) {
		t.Helper()
		*now = l
		p.look(noon)
		p.check()
		var got []string
		for _, e := range logs.TakeAll() {
			b, _ := json.Marshal(e.ContextMap())
			got = append(got, e.Message+" "+string(b))
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("load %v logged %q, want %q", l, got, want)
		}
	}
	f(load{50, 0, 50})
	f(load{96.4, 0, 50}, `overloaded, new viewers are refused {"limit":95,"of":"cpu","percent":96}`)
	f(load{99, 0, 50})
	f(load{92, 0, 91}, `overloaded, new viewers are refused {"limit":90,"of":"files","percent":91}`)
	f(load{80, 0, 91}, `no longer overloaded {"limit":95,"of":"cpu","percent":80}`)
	f(load{80, 0, 10}, `no longer overloaded {"limit":90,"of":"files","percent":10}`)
	f(load{80, 0, 10})
}

func TestPressureStatus(t *testing.T) {
	p, now := newTestPressure(&Options{ShedCPU: 95}, zap.NewNop())
	f := func(want string) {
		t.Helper()
		b, err := json.Marshal(p.status())
		if err != nil || string(b) != want {
			t.Errorf("status %s, %v; want %s", b, err, want)
		}
		p.look(noon)
	}
	f(`{"shedding":false}`)
	*now = load{12.345, unknown, 0}
	f(`{"shedding":false}`)
	*now = load{97, 3, 1}
	f(`{"cpu_percent":12.3,"files_percent":0,"shedding":false}`)
	f(`{"cpu_percent":97,"memory_percent":3,"files_percent":1,"shedding":true,"why":"cpu at 97 % of at most 95"}`)
}

// Promise: one atomic load for each new viewer.
func BenchmarkPressure(b *testing.B) {
	p, _ := newTestPressure(&Options{ShedCPU: 95}, zap.NewNop())
	p.look(noon)
	b.ReportAllocs()
	for b.Loop() {
		if p.check() != nil {
			b.Fatal("overloaded")
		}
	}
}
