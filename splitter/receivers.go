package splitter

import (
	"cmp"
	"slices"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/pion/rtcp"
	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy/rtp"
)

// What viewers say of how they receive. It is told in Status and counted, and
// changes nothing: what a viewer says may be wrong.

const (
	maxReport   = 1500        // bytes of RTCP from a viewer that are looked at
	hearEvery   = time.Second // of one viewer and track; what comes more often is not counted
	maxJitter   = time.Minute // more cannot be true
	maxReported = 100         // viewers of a feed that Status names
)

// A hearing is what a viewer has said last of a track.
type hearing struct {
	at     time.Time // zero: nothing yet
	loss   float64   // share of packets since its report before
	lost   int32     // packets since it began
	jitter time.Duration
	rtt    time.Duration // 0: not known
}

// listens begins a time of playing. Reports over UDP come through gortsplib, which is
// told once whom to call, and again where SETUP has added a track; those over TCP the
// connection takes.
func (s *session) listens(ss *gortsplib.ServerSession, now time.Time) {
	s.mu.Lock()
	s.listening = now
	s.mu.Unlock()
	if s.udp == nil || s.tracks() == s.heeded {
		return
	}
	s.heeded = s.tracks()
	ss.OnPacketRTCPAny(func(_ *description.Media, pkt rtcp.Packet) {
		s.conn.lives()
		switch p := pkt.(type) {
		case *rtcp.ReceiverReport:
			s.hearAll(p.Reports)
		case *rtcp.SenderReport:
			s.hearAll(p.Reports)
		}
	})
}

func (s *session) hearAll(rs []rtcp.ReceptionReport) {
	now := time.Now()
	for _, r := range rs {
		s.hear(rtp.Reception{SSRC: r.SSRC, Loss: float64(r.FractionLost) / 256, Lost: int32(r.TotalLost<<8) >> 8,
			Jitter: r.Jitter, Last: r.LastSenderReport, Delay: rtp.FromShort(r.Delay)}, now)
	}
}

var _ gortsplib.ServerHandlerOnDecodeError = (*signalling)(nil)

// OnDecodeError implements gortsplib.ServerHandlerOnDecodeError: what viewers send
// over UDP that makes no sense is dropped. Without this gortsplib writes a line to
// the process's log for each.
func (h *signalling) OnDecodeError(*gortsplib.ServerHandlerOnDecodeErrorCtx) {
	h.s.met.garbled.Inc()
}

// heard takes what a viewer sends over TCP besides requests. Media from viewers is
// dropped.
func (c *conn) heard(pkt []byte) {
	if len(pkt) > maxReport {
		return
	}
	c.mu.Lock()
	s := c.play
	c.mu.Unlock()
	if s == nil {
		return
	}
	now := time.Now()
	for r := range rtp.Receptions(pkt) {
		s.hear(r, now)
	}
}

// hear takes a report block.
func (s *session) hear(r rtp.Reception, now time.Time) {
	in := s.feed.in
	i := slices.IndexFunc(in.tracks, func(t *track) bool { return t.num.SSRC == r.SSRC })
	if i < 0 {
		return
	}
	h := hearing{at: now, loss: r.Loss, lost: r.Lost}
	h.jitter = time.Duration(float64(r.Jitter) / float64(in.tracks[i].rate) * float64(time.Second))
	if h.jitter > maxJitter || !s.notes(i, &h, r) {
		return
	}
	s.feed.met.heard(h)
}

// notes keeps a hearing and completes it; false if it comes too soon after another.
func (s *session) notes(i int, h *hearing, r rtp.Reception) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heard == nil {
		s.heard = make([]hearing, len(s.feed.in.tracks))
	}
	old := &s.heard[i]
	if h.at.Sub(old.at) < hearEvery {
		return false
	}
	h.rtt = s.feed.in.roundTrip(r, s.listening, h.at)
	*old = *h
	return true
}

// roundTrip is how long a report of ours and the answer to it travelled (RFC 3550
// §6.4.1); 0 if that cannot be said. Reports made before the viewer began to play
// reach it with the start burst and say nothing of its line.
func (in *ingest) roundTrip(r rtp.Reception, since, now time.Time) time.Duration {
	if r.Last == 0 {
		return 0
	}
	in.mu.Lock()
	sent, ok := in.clock.sent(r.Last, now)
	in.mu.Unlock()
	d := now.Sub(sent) - r.Delay
	if !ok || sent.Before(since.Add(-time.Millisecond)) || d < -time.Millisecond {
		return 0
	}
	return max(d, time.Microsecond) // the clocks of reports tick 65536 times a second
}

// A reception sums up a viewer's hearings: the worst of its tracks, and packets
// lost on all.
func (s *session) reception(now time.Time) *ReceptionStatus {
	var st *ReceptionStatus
	for _, h := range s.heard {
		if h.at.IsZero() {
			continue
		}
		if st == nil {
			st = &ReceptionStatus{AgeS: now.Sub(h.at).Seconds()}
		}
		st.AgeS = min(st.AgeS, now.Sub(h.at).Seconds())
		st.LossRatio = max(st.LossRatio, h.loss)
		st.Lost += int64(h.lost)
		st.JitterS = max(st.JitterS, h.jitter.Seconds())
		st.RoundTripS = max(st.RoundTripS, h.rtt.Seconds())
	}
	return st
}

// ReceptionStatus is what a viewer says of how it receives (RFC 3550 §6.4.1).
type ReceptionStatus struct {
	AgeS       float64 `json:"age_s"`          // of the newest report
	LossRatio  float64 `json:"loss_ratio"`     // of the worst track, since its report before
	Lost       int64   `json:"lost"`           // packets, of all tracks
	JitterS    float64 `json:"jitter_s"`       // of the worst track
	RoundTripS float64 `json:"rtt_s,omitzero"` // 0: not known
}

// foremost keeps the viewers that matter most: who loses, who has jumped, who is
// new.
func foremost(vs []ViewerStatus) []ViewerStatus {
	loss := func(v ViewerStatus) float64 {
		if v.Reception == nil {
			return 0
		}
		return v.Reception.LossRatio
	}
	slices.SortFunc(vs, func(a, b ViewerStatus) int {
		return cmp.Or(cmp.Compare(loss(b), loss(a)), cmp.Compare(b.Jumps, a.Jumps), cmp.Compare(a.SinceS, b.SinceS))
	})
	return vs[:min(len(vs), maxReported)]
}

// A heardMetrics is what all viewers of all feeds say.
type heardMetrics struct {
	loss, jitter, rtt prometheus.Histogram
	garbled           prometheus.Counter
}

func newHeardMetrics(reg prometheus.Registerer) heardMetrics {
	h := func(name, help string, buckets ...float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "weir_splitter_viewer_" + name, Help: help, Buckets: buckets})
		reg.MustRegister(h)
		return h
	}
	garbled := prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_splitter_garbled_total", Help: "Datagrams from viewers that made no sense."})
	reg.MustRegister(garbled)
	return heardMetrics{
		garbled: garbled,
		loss:    h("loss_ratio", "Share of packets lost, by each report of a viewer on a track.", 0, .004, .01, .02, .05, .1, .25, .5),
		jitter:  h("jitter_seconds", "Jitter between arrivals, by each report of a viewer on a track.", .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1),
		rtt:     h("rtt_seconds", "Time to a viewer and back, by each report that tells it.", .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5),
	}
}

func (m *heardMetrics) heard(h hearing) {
	m.loss.Observe(h.loss)
	m.jitter.Observe(h.jitter.Seconds())
	if h.rtt > 0 {
		m.rtt.Observe(h.rtt.Seconds())
	}
}
