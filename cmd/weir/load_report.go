package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"weir/proxy"
)

// A loadReport is what came of a load. Times are milliseconds since a viewer came.
type loadReport struct {
	Seconds float64 `json:"seconds"`
	Viewers int     `json:"viewers"` // asked for
	Opened  int     `json:"opened"`  // media could come
	Alive   int     `json:"alive"`   // at the end
	Failed  int     `json:"failed"`  // the others, but for those that stalled
	Stalled int     `json:"stalled,omitempty"`
	Reasons reasons `json:"reasons,omitempty"` // of those that failed

	Bytes      uint64  `json:"bytes"`
	MbitPerS   float64 `json:"mbit_per_s"`     // all viewers; over RTSP in the second half
	MbitMin    float64 `json:"mbit_per_s_min"` // of one that is alive
	MbitMedian float64 `json:"mbit_per_s_median"`
	second     bool    // rates are of the second half

	*rtspLoadReport
	*httpLoadReport
}

type rtspLoadReport struct {
	Packets    uint64     `json:"packets"`
	Lost       uint64     `json:"lost"`
	Reordered  uint64     `json:"reordered"`
	PlayMs     *quantiles `json:"play_ms"` // null for what no viewer has seen
	PacketMs   *quantiles `json:"first_packet_ms"`
	KeyFrameMs *quantiles `json:"first_key_frame_ms"`
}

type httpLoadReport struct {
	Requests     uint64     `json:"requests"`
	Errors       int        `json:"errors"`
	ErrorReasons reasons    `json:"error_reasons,omitempty"`
	Segments     uint64     `json:"segments"`
	Missed       uint64     `json:"missed"` // segments that left the playlist before they could be fetched
	Stalls       int        `json:"stalls"` // segments that were there later than their time to be played
	StalledS     float64    `json:"stalled_seconds"`
	RequestMs    *quantiles `json:"request_ms"` // from the request to the last byte
	PlaylistMs   *quantiles `json:"first_playlist_ms"`
	ByteMs       *quantiles `json:"first_byte_ms"`
	SegmentMs    *quantiles `json:"first_segment_ms"`
}

// quantiles are in milliseconds, and exact.
type quantiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// quantilesOf sorts what it is given; nil for nothing.
func quantilesOf(d []time.Duration) *quantiles {
	if len(d) == 0 {
		return nil
	}
	slices.Sort(d)
	return &quantiles{milliseconds(atRank(d, 0.5)), milliseconds(atRank(d, 0.99)), milliseconds(d[len(d)-1])}
}

// atRank returns the least value that a share p of all do not exceed, by nearest
// rank; values are sorted.
func atRank[T cmp.Ordered](values []T, p float64) T {
	return values[max(int(math.Ceil(p*float64(len(values))))-1, 0)]
}

// report is made of what was seen until now.
func (r *loadRun) report() *loadReport {
	now := time.Now()
	rep := &loadReport{Seconds: rounded(now.Sub(r.began).Seconds()), Viewers: r.viewers, Reasons: reasons{}, second: !r.marked.IsZero()}
	var s loadSums
	var alive []float64 // Mbit/s
	for i, seat := range r.seats {
		seen := seat.seen()
		opened, bytes := seat.progress()
		if opened {
			rep.Opened++
		}
		rep.Bytes += bytes
		rate := r.rate(i, bytes, now)
		rep.MbitPerS += rate
		s.add(&seen)
		switch why := r.fate(i, opened, bytes, now); {
		case seen.stalled:
			rep.Stalled++
		case why != "":
			rep.Failed++
			rep.Reasons.add(why)
		default:
			rep.Alive++
			alive = append(alive, rate)
		}
	}
	if slices.Sort(alive); len(alive) > 0 {
		rep.MbitMin, rep.MbitMedian = rounded(alive[0]), rounded(atRank(alive, 0.5))
	}
	rep.MbitPerS = rounded(rep.MbitPerS)
	rep.rtspLoadReport, rep.httpLoadReport = s.reports(r.rtsp())
	return rep
}

// rate is what a viewer got, in Mbit/s: in the second half, or since it came.
func (r *loadRun) rate(i int, bytes uint64, now time.Time) float64 {
	if !r.marked.IsZero() {
		return megabits(bytes-r.half[i], now.Sub(r.marked))
	}
	return megabits(bytes, now.Sub(r.began.Add(time.Duration(i)*r.every)))
}

func rounded(x float64) float64 { return math.Round(x*1000) / 1000 }

// fate is why a viewer counts as failed, "" if it is alive.
func (r *loadRun) fate(i int, opened bool, bytes uint64, now time.Time) string {
	r.mu.Lock()
	err, ended := r.ended[i]
	r.mu.Unlock()
	switch {
	case ended:
		return reasonOf(err, r.url)
	case !opened:
		return "the time was over before it was open"
	case !r.marked.IsZero() && bytes == r.half[i] && now.Sub(r.marked) >= loadSilence:
		return "nothing came in the second half"
	}
	return ""
}

// loadSums is what all viewers have seen together.
type loadSums struct {
	loadSeen
	afters [loadMoments][]time.Duration
}

func (s *loadSums) add(v *loadSeen) {
	for i, d := range v.after {
		if d > 0 {
			s.afters[i] = append(s.afters[i], d)
		}
	}
	s.took = append(s.took, v.took...)
	s.requests += v.requests
	s.segments += v.segments
	s.missed += v.missed
	s.late += v.late
	s.waited += v.waited
	for why, n := range v.errors {
		s.errors = s.errors.with(why, n)
	}
	if v.stalled { // it lost what it did not take
		return
	}
	s.packets += v.packets
	s.lost += v.lost
	s.reordered += v.reordered
}

// reports returns one and nil for the other.
func (s *loadSums) reports(rtsp bool) (*rtspLoadReport, *httpLoadReport) {
	answered, first, whole := quantilesOf(s.afters[loadAnswered]), quantilesOf(s.afters[loadFirst]), quantilesOf(s.afters[loadWhole])
	if rtsp {
		return &rtspLoadReport{s.packets, s.lost, s.reordered, answered, first, whole}, nil
	}
	return nil, &httpLoadReport{Requests: s.requests, Errors: s.errors.total(), ErrorReasons: s.errors, Segments: s.segments,
		Missed: s.missed, Stalls: s.late, StalledS: rounded(s.waited.Seconds()),
		RequestMs: quantilesOf(s.took), PlaylistMs: answered, ByteMs: first, SegmentMs: whole}
}

// verdict is an error if not all viewers saw the end.
func (r *loadReport) verdict() error {
	if r.Failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %s did not see the end", r.Failed, counted(r.Viewers, "viewer"))
}

const (
	// maxReasons is how many different reasons are told apart.
	maxReasons = 20
	// maxReason is the most told of one, in bytes.
	maxReason    = 200
	otherReasons = "other reasons"
)

// reasons counts why something failed.
type reasons map[string]int

func (r reasons) add(why string) { r.with(why, 1) }

// with adds a count; r may be nil.
func (r reasons) with(why string, n int) reasons {
	if r == nil {
		r = reasons{}
	}
	if _, ok := r[why]; !ok && len(r) >= maxReasons {
		why = otherReasons
	}
	r[why] += n
	return r
}

func (r reasons) total() (n int) {
	for _, count := range r {
		n += count
	}
	return n
}

// reasonOf tells an error in words that are the same for all viewers: without their
// ports and what was viewed.
func reasonOf(err error, of *url.URL) string {
	s := err.Error()
	if op, ok := errors.AsType[*net.OpError](err); ok {
		what := op.Op + ": "
		s = strings.Replace(s, op.Error(), what+strings.TrimPrefix(op.Err.Error(), what), 1)
	}
	s = strings.TrimPrefix(s, "view "+proxy.Redact(of)+": ")
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		s += " (-insecure takes it)"
	}
	return strings.ToValidUTF8(s[:min(len(s), maxReason)], "")
}
