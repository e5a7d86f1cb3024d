package cache

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy"
)

// metrics are of the cache as a whole.
type metrics struct {
	hits, stale, misses, passed, trips, failures, broken counter
	stored, validated, prefetched, purged, restarts      counter
	fromRAM, fromDisk, filled                            counter
}

// A counter is read by metrics and status page alike.
type counter struct{ atomic.Uint64 }

func (n *counter) inc()        { n.Add(1) }
func (n *counter) add(k int64) { n.Add(uint64(max(0, k))) }

func newMetrics(reg prometheus.Registerer, c *Cache) *metrics {
	m := &metrics{}
	expose := func(n *counter, name, help string) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "weir_cache_" + name + "_total", Help: help},
			func() float64 { return float64(n.Load()) }))
	}
	gauge := func(name, help string, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_cache_" + name, Help: help}, value))
	}
	expose(&m.hits, "hits", "Requests answered from what was stored, fresh.")
	expose(&m.stale, "stale", "Requests answered from what was stored and not fresh any more.")
	expose(&m.misses, "misses", "Requests answered by what was fetched or validated for them, alone or together with others.")
	expose(&m.passed, "passed", "Requests that went on for one viewer only.")
	expose(&m.trips, "origin_requests", "Requests to the origins.")
	expose(&m.failures, "origin_failures", "Requests to the origins that brought no answer, a bad one, or half of one.")
	expose(&m.broken, "broken", "Answers that broke off: the viewer went, or the origin failed halfway.")
	expose(&m.stored, "stored", "Objects stored, or the first slices of such, that came whole.")
	expose(&m.validated, "validated", "Objects that the origin said are still good.")
	expose(&m.prefetched, "prefetched", "Objects fetched ahead of viewers.")
	expose(&m.purged, "purged", "Objects purged.")
	expose(&m.restarts, "stream_restarts", "Live streams that began anew under the same names.")
	expose(&m.fromRAM, "ram_bytes", "Bytes sent to viewers from RAM, those that were just being fetched included.")
	expose(&m.fromDisk, "disk_bytes", "Bytes sent to viewers from disk.")
	expose(&m.filled, "filled_bytes", "Bytes of bodies that came from the origins to be stored.")
	gauge("ram_used_bytes", "What of -cache.memory is in use.", func() float64 { return float64(c.ram.used.Load()) })
	gauge("frozen_streams", "Live playlists in use that have not moved for three target durations.", func() float64 { return float64(len(c.standing(time.Now()))) })
	if c.disk != nil {
		gauge("disk_used_bytes", "What of -cache.disk is in use.", func() float64 { return float64(c.disk.used()) })
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "weir_cache_disk_failures_total", Help: "What went wrong on the disk: hits lost, no answers."},
			func() float64 { return float64(c.disk.failures()) }))
	}
	return m
}

// A Status is what the status page shows.
type Status struct {
	Hits          uint64      `json:"hits"`
	Stale         uint64      `json:"stale"`
	Misses        uint64      `json:"misses"`
	Passed        uint64      `json:"passed"`
	OriginAsked   uint64      `json:"origin_requests"`
	BytesFromRAM  uint64      `json:"bytes_from_ram"`
	BytesFromDisk uint64      `json:"bytes_from_disk"`
	BytesFilled   uint64      `json:"bytes_filled"`
	Objects       int         `json:"objects"`
	RAMUsed       proxy.Bytes `json:"ram_used"`
	RAMLimit      proxy.Bytes `json:"ram_limit"`
	DiskUsed      proxy.Bytes `json:"disk_used"`
	DiskLimit     proxy.Bytes `json:"disk_limit"`
	Frozen        int         `json:"frozen_streams"`
}

// Status implements proxy.Part.
func (c *Cache) Status() any {
	s := Status{
		Hits: c.met.hits.Load(), Stale: c.met.stale.Load(), Misses: c.met.misses.Load(), Passed: c.met.passed.Load(),
		OriginAsked: c.met.trips.Load(), BytesFromRAM: c.met.fromRAM.Load(), BytesFromDisk: c.met.fromDisk.Load(), BytesFilled: c.met.filled.Load(),
		RAMUsed: proxy.Bytes(c.ram.used.Load()), RAMLimit: c.opt.Memory, DiskLimit: c.opt.Disk, Frozen: len(c.standing(time.Now())),
	}
	if c.disk != nil {
		s.DiskUsed = proxy.Bytes(c.disk.used())
	}
	c.table.each(func(*object) bool { s.Objects++; return true })
	return s
}
