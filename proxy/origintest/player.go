package origintest

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
)

// stallPoll is how often a stalled player looks whether it may go on.
const stallPoll = 10 * time.Millisecond

// A player sends the clip to one session, from where the viewer wants it. Its
// time stamps are those of the position, its sequence numbers go on over PAUSE
// and seeking. Its methods are for the session's goroutine.
type player struct {
	session *gortsplib.ServerSession
	stream  *stream
	clip    *clip
	faults  *faults
	medias  [tracks]*description.Media // nil for a track that was not set up

	// While it sends these belong to send's goroutine, else to the session's.
	nums [tracks]numbering
	next int           // number of the sample to send
	end  time.Duration // where to stop

	cancel context.CancelFunc // nil before the first start
	done   chan struct{}      // closed when send has returned
}

func newPlayer(s *gortsplib.ServerSession, st *stream, g *signalling) *player {
	return &player{session: s, stream: st, clip: g.clip, faults: g.faults,
		nums: number(g.clip), end: clipLength}
}

// play answers PLAY. Without Range it goes on from where it is; with one it
// begins at the key frame before the asked position (RFC 2326 §10.5).
func (p *player) play(req *base.Request) *base.Response {
	want, given := req.Header["Range"]
	if !given && p.sending() {
		return ok()
	}
	var start, end time.Duration
	if given {
		var err error
		if start, end, err = parseRange(want); err != nil {
			return &base.Response{StatusCode: base.StatusInvalidRange}
		}
	}
	p.stop()
	if given {
		p.next, p.end = p.clip.keyAt(start), end
	}
	res := ok()
	p.locate(req.URL, res)
	p.start()
	return res
}

// parseRange reads "npt=2.5-" or "npt=2.5-7".
func parseRange(v base.HeaderValue) (start, end time.Duration, err error) {
	var r headers.Range
	if err := r.Unmarshal(v); err != nil {
		return 0, 0, err
	}
	npt, is := r.Value.(*headers.RangeNPT)
	if !is {
		return 0, 0, fmt.Errorf("range %v is not in normal play time", v)
	}
	start, end = npt.Start, clipLength
	if npt.End != nil {
		end = min(*npt.End, clipLength)
	}
	if start < 0 || start >= end {
		return 0, 0, fmt.Errorf("range %v is outside of the clip", v)
	}
	return start, end, nil
}

// locate says in the answer where the next packets belong. The position is cut
// to what the header can say, and time stamps are given for just that.
func (p *player) locate(u *base.URL, res *base.Response) {
	at := p.clip.samples[p.next].at.Truncate(time.Millisecond)
	res.Header["Range"] = base.HeaderValue{fmt.Sprintf("npt=%.3f-%.3f", at.Seconds(), p.end.Seconds())}
	var info headers.RTPInfo
	for _, m := range p.session.SetuppedMedias() {
		for i := range tracks {
			if p.stream.medias[i] == m {
				p.medias[i] = m
				info = append(info, p.nums[i].info(u, p.session.SetuppedPath(), i, at))
			}
		}
	}
	res.Header[rtpInfo] = info.Marshal()
}

func (n *numbering) info(u *base.URL, path string, track int, at time.Duration) *headers.RTPInfoEntry {
	seq, stamp := n.seq, n.offset+ticks(at, n.clock)
	control := base.URL{Scheme: u.Scheme, Host: u.Host, Path: path + "/trackID=" + strconv.Itoa(track)}
	return &headers.RTPInfoEntry{URL: control.String(), SequenceNumber: &seq, Timestamp: &stamp}
}

// start begins to send. What ends it is stop, which the end of the session calls.
func (p *player) start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	go p.send(ctx)
}

// stop returns when nothing is sent any more.
func (p *player) stop() {
	if p.cancel != nil {
		p.cancel()
		<-p.done
	}
}

func (p *player) sending() bool {
	if p.cancel == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// send paces the clip to its end; the next PLAY begins anew then.
func (p *player) send(ctx context.Context) {
	defer close(p.done)
	begin := time.Now().Add(-p.clip.samples[p.next].at) // when position 0 would have been
	report := time.Time{}
	for ; p.next < len(p.clip.samples) && p.clip.samples[p.next].at < p.end; p.next++ {
		s := &p.clip.samples[p.next]
		if !sleepUntil(ctx, begin.Add(s.at)) {
			return
		}
		for p.faults.stalled.Load() {
			if !sleepUntil(ctx, time.Now().Add(stallPoll)) {
				return
			}
			begin = time.Now().Add(-s.at)
		}
		p.write(s)
		if now := time.Now(); now.After(report) {
			p.report(now, now.Sub(begin))
			report = now.Add(reportEvery)
		}
	}
	p.bye(time.Now(), p.end)
	p.next, p.end = 0, clipLength
}

// Errors of these three are of a session that is about to end, or of a viewer so
// slow that its queue is full.

func (p *player) write(s *sample) {
	if m := p.medias[s.track]; m != nil {
		for _, pkt := range p.nums[s.track].wrap(s, s.ticks) {
			p.session.WritePacketRTP(m, pkt) //nolint:errcheck // see above
		}
	}
}

func (p *player) report(now time.Time, position time.Duration) {
	for i, m := range p.medias {
		if m != nil {
			p.session.WritePacketRTCP(m, p.nums[i].report(p.stream.ssrcs[i], now, position)) //nolint:errcheck // see above
		}
	}
}

func (p *player) bye(now time.Time, position time.Duration) {
	for i, m := range p.medias {
		if m != nil {
			p.session.WritePacketRTCP(m, p.nums[i].bye(p.stream.ssrcs[i], now, position)) //nolint:errcheck // see above
		}
	}
}
