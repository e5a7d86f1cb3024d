package passthrough

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type relayMetrics struct {
	refused       *prometheus.CounterVec
	sent          atomic.Uint64 // bytes of media
	lost, tooLong atomic.Uint64 // datagrams
	moves, ends   atomic.Uint64 // of legs' sessions, when their origin was gone
	stays         *prometheus.CounterVec
}

func newRelayMetrics(reg prometheus.Registerer, r *Relay) *relayMetrics {
	m := &relayMetrics{refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_passthrough_refused_total",
		Help: "RTSP requests refused by the relay."}, []string{"reason"}),
		stays: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_passthrough_moves_failed_total",
			Help: "Times that sessions ended with their origin."}, []string{"reason"})}
	counter := func(name, help string, of func() uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(of()) })
	}
	gauge := func(name, help string, of func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(of()) })
	}
	reg.MustRegister(m.refused, m.stays,
		counter("weir_passthrough_moves_total", "Times that sessions went on with another origin.", m.moves.Load),
		counter("weir_passthrough_sent_bytes_total", "Bytes of RTSP media to viewers.", m.sent.Load),
		counter("weir_passthrough_udp_lost_total", "Datagrams that a socket did not take.", m.lost.Load),
		counter("weir_passthrough_udp_too_long_total", "Packets too long for one datagram on an Ethernet, sent in pieces.", m.tooLong.Load),
		gauge("weir_passthrough_rtsp_sessions", "RTSP sessions relayed.", func() int { return len(r.list()) }),
		gauge("weir_passthrough_udp_pairs", "Pairs of UDP ports in use.", r.ports.inUse))
	return m
}

// stayed counts sessions that ended with their origin.
func (m *relayMetrics) stayed(reason string) {
	m.ends.Add(1)
	m.stays.WithLabelValues(reason).Inc()
}

// RelayStatus is what the relay tells about itself.
type RelayStatus struct {
	Viewers   int             `json:"viewers"`
	SentBytes uint64          `json:"sent_bytes"`
	Moves     uint64          `json:"moves"`    // to another origin
	Stranded  uint64          `json:"stranded"` // ended with their origin
	Sessions  []SessionStatus `json:"sessions"`
}

// SessionStatus is an RTSP session in RelayStatus.
type SessionStatus struct {
	Path      string  `json:"path"`
	Origin    string  `json:"origin"`
	Address   string  `json:"address"`
	Transport string  `json:"transport"` // tcp, udp
	State     string  `json:"state"`     // playing, paused (also before PLAY)
	SinceS    float64 `json:"since_s"`
	SentBytes uint64  `json:"sent_bytes"`
	UserAgent string  `json:"user_agent,omitempty"`
}

// Status implements proxy.Part; it returns a RelayStatus.
func (r *Relay) Status() any {
	st := RelayStatus{SentBytes: r.met.sent.Load(), Moves: r.met.moves.Load(), Stranded: r.met.ends.Load(), Sessions: []SessionStatus{}}
	for _, s := range r.list() {
		st.Sessions = append(st.Sessions, s.status())
	}
	st.Viewers = len(st.Sessions)
	slices.SortFunc(st.Sessions, func(a, b SessionStatus) int { return cmp.Compare(b.SinceS, a.SinceS) })
	return st
}

func (s *session) status() SessionStatus {
	v := s.conn.rc.Viewer
	st := SessionStatus{Path: v.Path, Origin: s.leg().link.Origin, Address: v.Addr.String(), Transport: "tcp", State: "paused",
		SinceS: float64(time.Since(s.began).Milliseconds()) / 1000, SentBytes: s.bytes.Load(), UserAgent: v.UserAgent}
	if s.udp() {
		st.Transport = "udp"
	}
	if s.playing.Load() {
		st.State = "playing"
	}
	return st
}
