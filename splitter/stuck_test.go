package splitter

import (
	"runtime"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// A viewer who has stopped reading holds no more of the stream than a new one would
// be given, whatever comes and however long he is left; and he is told from others.
func TestStuckViewerHoldsLittle(t *testing.T) {
	f := func(what string, pictures int) {
		t.Helper()
		r := newRig(t, line{lag: time.Minute})
		now := time.Now()
		r.cam.picture(true, 8, now)
		r.play()
		r.fill()
		r.want, r.open = cursor{}, nil // the test's own holds
		var slabs slabCount
		const packets, rounds = 64, 1000 // 64 MB
		for n := range rounds {
			if n%50 == 0 {
				now = now.Add(2 * time.Second)
			}
			r.cam.picture(n%pictures == pictures-1, packets, now)
			r.cam.mu.Lock()
			slabs.look(r.cam.ring)
			r.cam.mu.Unlock()
			if n%20 == 0 { // what is published is seen by the workers before long
				proxytest.Eventually(t, 5*time.Second, "workers are done", func() bool {
					return len(r.s.workers[0].wake) == 0
				})
			}
		}
		most := int64(maxGroup/maxSlab + 8)
		proxytest.Eventually(t, 5*time.Second, what+": what nobody needs is collected", func() bool {
			r.cam.publish() // looks at the viewers again
			runtime.GC()
			return slabs.live.Load() <= most
		})
		r.conn.mu.Lock()
		dead := r.dead
		r.conn.mu.Unlock()
		if dead != nil {
			t.Errorf("%s: closed before the lag: %v", what, dead)
		}
		// One until he reads; what the sockets still took counts as that.
		n := r.view.status().Jumps
		if n < 1 || n > 3 || metric(t, r.s, "jumps_total") != float64(n) {
			t.Errorf("%s: %d jumps, %v counted", what, n, metric(t, r.s, "jumps_total"))
		}
		runtime.KeepAlive(r)
	}
	f("short groups", 10)
	f("groups of 6 MB", 100)
	f("groups too long to start at", 400)
	f("no key frame any more", 1<<20)
}

// One who has stopped reading a slow stream is closed after the lag, though his socket
// would take all of it for a minute.
func TestStuckViewerOfASlowStream(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel does not tell here")
	}
	const lag = time.Second
	r := newRig(t, line{lag: lag})
	if err := r.conn.TCP().SetWriteBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
	r.cam.picture(true, 8, time.Now())
	r.play()
	start, last := time.Now(), time.Time{}
	proxytest.Eventually(t, 30*time.Second, "closed", func() bool {
		if time.Since(last) > 200*time.Millisecond { // too little to fill the socket
			last = time.Now()
			r.cam.picture(false, 1, last)
		}
		return r.view.why() == "too slow"
	})
	if took := time.Since(start); took < lag {
		t.Errorf("closed after %v", took)
	}
}
