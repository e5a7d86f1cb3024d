package splitter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtcp"
	pion "github.com/pion/rtp"

	"weir/proxy"
	"weir/proxy/sdp"
)

// errStored is the verdict on a stream that has an end.
var errStored = errors.New("stored stream")

// A pull is one life of a source: a gortsplib client that plays a stream.
type pull struct {
	client *gortsplib.Client
	link   *proxy.Link
	desc   *description.Session
	sdp    *sdp.Session

	silence   time.Duration
	lost      chan error     // the first reason for giving up; capacity 1
	delivered []atomic.Int64 // by track: when a packet last came, Unix ns
	pulse     *pulse
	urgent    bool        // viewers watch already
	another   func() bool // is there another source?
	upstream  proxy.Upstream
	leave     atomic.Pointer[<-chan struct{}] // the link's
	playing   atomic.Bool                     // PLAY has been answered
	strange   atomic.Int64                    // when the present second of counting unusable began, Unix ns
	unusable  atomic.Int64                    // packets that were dropped in it
}

// A puller makes pulls of one path.
type puller struct {
	path      string
	upstream  proxy.Upstream
	transport string        // "tcp", "udp" or "auto"
	timeout   time.Duration // for each answer, and for the silence of a source
	direct    atomic.Bool   // other edges pull from this one: it asks origins only
	again     bool          // viewers watch already, who are not to see the past once more
	avoid     string        // the origin that fell silent or could not serve: others are asked first
	pulse     pulse         // of all pulls
	lost      string        // the origin that viewers have had
	tries     int           // how often another was asked since then; 0: it was not lost
	others    []string      // who has another stream than viewers watch: nobody asks them now
	known     time.Time     // when that was found out last
}

// edgePatience is how long another edge may take to describe what it owns.
const edgePatience = 3 * time.Second

// describe reaches the edge that owns the path, or else an origin, and asks what it
// has. On success the caller closes the pull. Errors are *proxy.Refusal, but for
// errStored.
func (p *puller) describe(ctx context.Context) (*pull, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*p.timeout)
	defer cancel()
	pl, err := p.reach(ctx, p.direct.Load())
	switch {
	case err == nil || ctx.Err() != nil:
	case pl.fromEdge(): // whatever its reason is, it need not be an origin's
		pl, err = p.reach(ctx, true)
	case pl != nil && pl.another() && (p.again || !answered(err)): // it died just now, or what viewers watch is elsewhere
		pl, err = p.reach(ctx, p.direct.Load())
	}
	if err != nil {
		return nil, err
	}
	return pl, nil
}

// reach returns a closed pull with an error, or nil where nobody could be dialed.
func (p *puller) reach(ctx context.Context, direct bool) (*pull, error) {
	w := proxy.Want{Path: p.path, Direct: direct, Avoid: slices.Clone(p.others)}
	if p.avoid != "" && p.another(append(w.Avoid, p.avoid)...) {
		w.Avoid = append(w.Avoid, p.avoid)
	}
	link, err := p.upstream.DialRTSP(ctx, w)
	if err != nil {
		return nil, proxy.Refused(err)
	}
	others, known := append(slices.Clone(p.others), link.Origin), p.known
	pl := &pull{link: link, upstream: p.upstream, silence: p.timeout, lost: make(chan error, 1), pulse: &p.pulse, urgent: p.again}
	pl.another = func() bool {
		if time.Since(known) > otherFor {
			return p.another(link.Origin)
		}
		return p.another(others...)
	}
	pl.leave.Store(&link.Leave)
	ctx, cancel := context.WithTimeout(ctx, p.patience(pl))
	defer cancel()
	if err = pl.describe(ctx, p); err == nil {
		return pl, nil
	}
	pl.close()
	p.avoid = link.Origin
	if pl.fromEdge() && !answered(err) {
		link.Fail(err)
	}
	return pl, err
}

// patience is how long a pull may take to describe the stream.
func (p *puller) patience(pl *pull) time.Duration {
	d := 2 * p.timeout
	switch {
	case pl.fromEdge():
		return min(d, edgePatience)
	case p.tries == 1 && p.another(p.lost, pl.link.Origin):
		return min(d, hastily)
	case p.hurries() && pl.another():
		return min(d, quickly)
	}
	return d
}

// hurries reports whether viewers wait, and not for so long that whoever is slow to answer
// has to be waited for.
func (p *puller) hurries() bool { return p.tries > 0 && p.tries <= hurryTries }

// answered reports whether an error is what the far end said.
func answered(err error) bool {
	code := liberrors.ErrClientBadStatusCode{}
	return errors.As(err, &code)
}

// fromEdge reports whether a pull is from another edge.
func (pl *pull) fromEdge() bool { return pl != nil && pl.link.Mark != "" }

func (pl *pull) describe(ctx context.Context, p *puller) error {
	u, err := base.ParseURL(pl.link.URL.String())
	if err != nil {
		pl.link.Close()
		return refusal(fmt.Errorf("origin %s: its URL is not for RTSP", pl.link.Origin)) // err quotes it
	}
	pl.client = p.newClient(pl, u)
	if err := pl.client.Start2(); err != nil {
		pl.client = nil
		pl.link.Close()
		return refusal(err)
	}
	defer context.AfterFunc(ctx, pl.client.Close)()
	desc, res, err := pl.client.Describe(u)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return refusal(fmt.Errorf("describe at %s: %w", pl.link.Origin, err))
	}
	if pl.sdp, err = sdp.Parse(res.Body); err != nil {
		return &proxy.Refusal{Reason: proxy.OriginBad, Err: err}
	}
	if len(pl.sdp.Media) != len(desc.Medias) || ambiguous(desc) {
		return &proxy.Refusal{Reason: proxy.OriginBad, Err: errors.New("sdp: read in two ways")}
	}
	pl.desc = desc
	pl.pulse.begin()
	pl.delivered = make([]atomic.Int64, len(desc.Medias))
	return nil
}

// ambiguous reports whether a track has two formats of one payload type, of which
// gortsplib keeps one and forgets to end the other.
func ambiguous(desc *description.Session) bool {
	for _, m := range desc.Medias {
		seen := map[uint8]bool{}
		for _, f := range m.Formats {
			if seen[f.PayloadType()] {
				return true
			}
			seen[f.PayloadType()] = true
		}
	}
	return false
}

// play sets up all tracks towards viewers and starts the stream into in.
func (pl *pull) play(ctx context.Context, in *ingest) error {
	defer context.AfterFunc(ctx, pl.client.Close)()
	for _, m := range pl.desc.Medias {
		if m.IsBackChannel {
			continue
		}
		if _, err := pl.client.Setup(pl.desc.BaseURL, m, 0, 0); err != nil {
			return refusal(fmt.Errorf("set up at %s: %w", pl.link.Origin, cmp.Or(ctx.Err(), err)))
		}
	}
	index := make(map[*description.Media]int, len(pl.desc.Medias))
	for i, m := range pl.desc.Medias {
		index[m] = i
	}
	pl.client.OnPacketRTPAny(func(m *description.Media, _ format.Format, pkt *pion.Packet) {
		now := time.Now()
		i := index[m]
		pl.delivered[i].Store(now.UnixNano())
		pl.pulse.beat(now.UnixNano())
		in.packet(i, pkt, now)
	})
	pl.client.OnPacketRTCPAny(func(m *description.Media, pkt rtcp.Packet) {
		switch p := pkt.(type) {
		case *rtcp.SenderReport:
			in.senderReport(index[m], p.NTPTime, p.RTPTime)
		case *rtcp.Goodbye:
			if pl.delivered[index[m]].Load() != 0 {
				pl.giveUp(errGoodbye)
			}
		}
	})
	if _, err := pl.client.Play(nil); err != nil {
		return refusal(fmt.Errorf("play at %s: %w", pl.link.Origin, cmp.Or(ctx.Err(), err)))
	}
	pl.playing.Store(true)
	return nil
}

// close ends the session at the origin and waits for the client.
func (pl *pull) close() {
	if pl.client != nil {
		pl.client.Close()
	}
	pl.link.Close()
}
