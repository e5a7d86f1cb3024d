package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"weir/cache"
	"weir/splitter"
)

// A demoReport is what happened. Milliseconds are from a viewer's dial.
type demoReport struct {
	Seconds         float64 `json:"seconds"`
	Viewers         int     `json:"viewers"` // of the demo's own that played
	LivePulls       int     `json:"live_pulls"`
	OriginConns     int     `json:"origin_connections"`
	BytesFromOrigin uint64  `json:"bytes_from_origin"`
	BytesToViewers  uint64  `json:"bytes_to_viewers"` // strangers' included
	PacketsLost     uint64  `json:"packets_lost"`
	HTTPAnswers     uint64  `json:"http_answers"` // by the cache
	HTTPFills       uint64  `json:"http_origin_requests"`
	Killed          int64   `json:"origins_killed"`
	Watching        int     `json:"viewers_at_the_end"`
	LongestPause    float64 `json:"longest_pause_ms"` // between two packets of a viewer, after a kill
	FirstKeyP50     float64 `json:"first_key_frame_ms_p50"`
	FirstKeyMax     float64 `json:"first_key_frame_ms_max"`
}

func (d *demonstration) report() *demoReport {
	r := &demoReport{Seconds: time.Since(d.began).Seconds(), Killed: d.killed.Load()}
	_, r.Watching = d.pauses.take()
	for _, o := range d.origins {
		c := o.Counts()
		r.OriginConns += c.Connections
	}
	for _, p := range d.node.parts {
		switch st := p.Part.Status().(type) {
		case splitter.Status:
			r.BytesToViewers += st.SentBytes
			for _, f := range st.Feeds {
				r.BytesFromOrigin += f.InBytes
				r.LivePulls += f.Pulls
			}
		case cache.Status:
			r.HTTPAnswers += st.Hits + st.Stale + st.Misses + st.Passed
			r.HTTPFills += st.OriginAsked
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r.LongestPause = milliseconds(d.worst)
	var keys []time.Duration
	for _, v := range d.seen {
		st := v.Stats()
		r.PacketsLost += st.Lost
		if st.Packets > 0 {
			r.Viewers++
		}
		if st.FirstKeyAfter > 0 {
			keys = append(keys, st.FirstKeyAfter)
		}
	}
	if slices.Sort(keys); len(keys) > 0 {
		r.FirstKeyP50 = milliseconds(keys[len(keys)/2])
		r.FirstKeyMax = milliseconds(keys[len(keys)-1])
	}
	return r
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// survived says what the viewers saw of the kills.
func (r *demoReport) survived() string {
	if r.Killed == 0 {
		return ""
	}
	return fmt.Sprintf("An origin was killed %d time(s): %d viewers watched until the end, and none was without a packet for more than %.0f ms.\n",
		r.Killed, r.Watching, r.LongestPause)
}

// tell prints the report.
func (d *demonstration) tell(r *demoReport) error {
	if d.json {
		return json.NewEncoder(d.stdout).Encode(r)
	}
	d.say("\nIn %.1f s, %d viewers got %.1f MB, for which the origins sent %.1f MB in %d pull(s).\n"+
		"First key frame %.1f ms after the dial (median; the slowest, who waited for the source, %.1f ms). Packets lost: %d.\n"+
		"Over HTTP, %d answers cost the origin %d request(s).\n%s",
		r.Seconds, r.Viewers, float64(r.BytesToViewers)/1e6, float64(r.BytesFromOrigin)/1e6, r.LivePulls, r.FirstKeyP50, r.FirstKeyMax, r.PacketsLost, r.HTTPAnswers, r.HTTPFills, r.survived())
	return nil
}
