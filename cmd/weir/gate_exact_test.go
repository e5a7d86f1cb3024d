package main

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// TestGateExactly has a thousand viewers come to a whole edge at once that has a
// hundred places, twice. Those who got in leave by TEARDOWN, by closing, and by
// saying nothing more.
func TestGateExactly(t *testing.T) {
	const viewers, places = 1000, 100
	g := guard(t, "", "-admission.viewers", fmt.Sprint(places), "-front.idle", "3s", "-log.level", "info")
	url := "rtsp://" + g.rtsp + "/a/cam"
	taken := func() int {
		for _, p := range g.n.parts {
			if p.Name == "admission" {
				b, err := json.Marshal(p.Part.Status())
				must(t, err)
				var s struct{ Viewers int }
				must(t, json.Unmarshal(b, &s))
				return s.Viewers
			}
		}
		return -1
	}
	if res := g.talk(t).ask(t, "DESCRIBE", url); res == nil || res.Code != 200 { // the feed is up
		t.Fatalf("DESCRIBE: %+v", res)
	}
	for round := range 2 {
		var in, out atomic.Int64
		var wg, leave sync.WaitGroup
		leave.Add(1)
		for n := range viewers {
			c := g.talk(t)
			wg.Add(1)
			watch := func() {
				res := c.ask(t, "SETUP", url+"/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
				switch {
				case res != nil && res.Code == 200:
					in.Add(1)
				case res != nil && res.Code == 453:
					out.Add(1)
				default:
					t.Errorf("SETUP: %+v", res)
				}
				wg.Done()
				leave.Wait()
				switch {
				case res == nil || res.Code != 200 || n%3 == 0:
					c.Close()
				case n%3 == 1:
					c.ask(t, "TEARDOWN", url, "Session: "+res.Header.Get("Session"))
				} // or nothing
			}
			go watch()
		}
		wg.Wait()
		if in.Load() != places || out.Load() != viewers-places {
			t.Errorf("round %d: %d in, %d refused, want %d and %d", round, in.Load(), out.Load(), places, viewers-places)
		}
		if n := taken(); n != places {
			t.Errorf("round %d: %d places taken, want %d", round, n, places)
		}
		leave.Done()
		proxytest.Eventually(t, 20*time.Second, "all places are free", func() bool { return taken() == 0 })
	}
}
