package splitter

import (
	"crypto/rand"
	"encoding/base64"
	"time"

	"weir/proxy/rtp"
)

// What viewers are told of the clocks (RFC 3550 §6): reports ride along in the ring,
// so that they reach everybody in order and by the same writes as media.

// newCNAME makes the name that all tracks of a feed have and no others: by it
// receivers know what belongs together (RFC 7022 §4.2).
func newCNAME() string {
	var b [12]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// maybeReport reports when it is time, and sees to it that somebody does when no
// burst comes: receivers of sparse media shall hear of us too.
func (in *ingest) maybeReport(now time.Time) {
	if in.over {
		return
	}
	if in.clock.settle(now) && now.Sub(in.reported) >= reportTime {
		in.report(now)
	}
	if in.reporter == nil {
		in.reporter = time.AfterFunc(settleTime+firstHold, in.reportAnyway)
	}
}

// reportAnyway is the reporter's.
func (in *ingest) reportAnyway() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.over {
		return
	}
	now := time.Now()
	if in.clock.settle(now) {
		in.report(now)
	}
	in.reporter.Reset(reportMax)
	in.flush(now)
}

// report puts sender reports of all tracks that have begun into the ring.
func (in *ingest) report(now time.Time) {
	in.reported = now
	in.clock.slew(now)
	in.clock.tie(now)
	for i, t := range in.tracks {
		if t.num.Started() {
			in.put(i, in.clock.report(t, now).Append(nil, in.cname))
		}
	}
	if in.reporter != nil {
		in.reporter.Reset(reportMax)
	}
}

// put puts a packet of RTCP into the ring.
func (in *ingest) put(i int, b []byte) { copy(in.ring.append(uint8(2*i+1), len(b)), b) }

// bye is the last that viewers get: what has gathered, and for each track that
// there was a goodbye.
func (in *ingest) bye(now time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.over = true
	for i, bye := range in.goodbyes(now) {
		if bye != nil {
			in.put(i, bye)
		}
	}
	in.flush(now)
}

// goodbyes are, by track, a last report, without which some receivers take no RTCP
// (RFC 3550 §6.1), with the goodbye (§6.6); nil where nothing was sent. mu is held.
func (in *ingest) goodbyes(now time.Time) [][]byte {
	byes := make([][]byte, len(in.tracks))
	for i, t := range in.tracks {
		if t.num.Started() {
			byes[i] = rtp.AppendBye(in.clock.report(t, now).Append(nil, in.cname), t.num.SSRC)
		}
	}
	return byes
}
