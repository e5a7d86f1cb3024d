package splitter

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	pulls, jumps, slow prometheus.Counter
	refused            *prometheus.CounterVec
	sent               atomic.Uint64 // bytes of media
	heardMetrics
}

func newMetrics(reg prometheus.Registerer, s *Splitter) *metrics {
	m := &metrics{
		pulls:   prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_splitter_pulls_total", Help: "Pulls that began to play, redials included."}),
		jumps:   prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_splitter_jumps_total", Help: "Times a slow viewer was moved to the newest key frame."}),
		slow:    prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_splitter_slow_total", Help: "Viewers closed because they took nothing for the lag."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_splitter_refused_total", Help: "Requests refused."}, []string{"reason"}),
	}
	m.heardMetrics = newHeardMetrics(reg)
	counter := func(name, help string, of func(*udpSockets) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 {
			if s.udp == nil {
				return 0
			}
			return float64(of(s.udp))
		})
	}
	reg.MustRegister(m.pulls, m.jumps, m.slow, m.refused,
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "weir_splitter_sent_bytes_total", Help: "Bytes of media to viewers."},
			func() float64 { return float64(m.sent.Load()) }),
		counter("weir_splitter_udp_lost_total", "Datagrams that a socket did not take.", func(u *udpSockets) uint64 { return u.lost.Load() }),
		counter("weir_splitter_udp_too_long_total", "Packets too long for a datagram, not sent to viewers over UDP.", func(u *udpSockets) uint64 { return u.tooLong.Load() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_splitter_past_bytes", Help: "Bytes that feeds keep for new viewers to start with."},
			func() float64 { return float64(s.past.used.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "weir_splitter_past_dropped_total", Help: "Times a feed gave up what it kept for new viewers because all together had too much."},
			func() float64 { return float64(s.past.dropped.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_splitter_feeds", Help: "Feeds that live."},
			func() float64 { return float64(len(s.list())) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_splitter_viewers", Help: "Sessions of viewers."},
			func() float64 { return float64(s.viewers()) }))
	return m
}

func (s *Splitter) viewers() (n int) {
	for _, f := range s.list() {
		f.mu.Lock()
		n += len(f.sessions)
		f.mu.Unlock()
	}
	return n
}

// Status is what the splitter tells about itself.
type Status struct {
	Viewers   int          `json:"viewers"`
	SentBytes uint64       `json:"sent_bytes"`
	Feeds     []FeedStatus `json:"feeds"`
}

// FeedStatus is a feed in Status.
type FeedStatus struct {
	Path     string         `json:"path"`
	State    string         `json:"state"` // opening, up, away, ended
	SinceS   float64        `json:"since_s"`
	Origin   string         `json:"origin,omitempty"`
	Pulls    int            `json:"pulls"` // that began to play, redials included
	Tracks   string         `json:"tracks"`
	InBytes  uint64         `json:"in_bytes"`
	Watching int            `json:"watching"`
	Viewers  []ViewerStatus `json:"viewers"` // at most 100: who loses most, has jumped most, is newest
}

// ViewerStatus is a session in FeedStatus.
type ViewerStatus struct {
	Address   string  `json:"address"`
	Transport string  `json:"transport"` // tcp, udp
	State     string  `json:"state"`     // ready, playing, paused
	SinceS    float64 `json:"since_s"`
	SentBytes uint64  `json:"sent_bytes"`
	Jumps     uint64  `json:"jumps"`
	UserAgent string  `json:"user_agent,omitempty"`

	Reception *ReceptionStatus `json:"reception,omitempty"` // nil before it has said anything
}

// Status implements proxy.Part; it returns a Status.
func (s *Splitter) Status() any {
	st := Status{SentBytes: s.met.sent.Load(), Feeds: []FeedStatus{}}
	for _, f := range s.list() {
		fs := f.status()
		st.Viewers += fs.Watching
		st.Feeds = append(st.Feeds, fs)
	}
	slices.SortFunc(st.Feeds, func(a, b FeedStatus) int { return cmp.Compare(a.Path, b.Path) })
	return st
}

func (f *feed) status() FeedStatus {
	f.mu.Lock()
	st := FeedStatus{Path: f.path, State: f.state, SinceS: since(f.since), Origin: f.origin, Pulls: f.pulls,
		Watching: len(f.sessions), Viewers: make([]ViewerStatus, 0, len(f.sessions))}
	for s := range f.sessions {
		st.Viewers = append(st.Viewers, s.status())
	}
	f.mu.Unlock()
	st.Viewers = foremost(st.Viewers)
	select {
	case <-f.opened:
	default:
		return st // what is below is still being written
	}
	if f.err == nil {
		for i, m := range f.sdp.Media {
			if i > 0 {
				st.Tracks += ", "
			}
			st.Tracks += m.Encoding
		}
		f.in.mu.Lock()
		st.InBytes = f.in.bytes
		f.in.mu.Unlock()
	}
	return st
}

func (s *session) status() ViewerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := ViewerStatus{Address: s.conn.RemoteAddr().String(), Transport: "tcp", State: s.state, SinceS: since(s.since),
		SentBytes: s.bytes.Load(), Jumps: s.jumps.Load(), UserAgent: s.conn.Viewer.UserAgent}
	if s.udp != nil {
		st.Transport = "udp"
	}
	st.Reception = s.reception(time.Now())
	return st
}

func since(t time.Time) float64 { return float64(time.Since(t).Milliseconds()) / 1000 }
