package splitter

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"weir/proxy"
)

// A source that only pauses is waited for. One that pauses for much longer than it
// uses to is left if there is another one: its machine may have stopped, or its line
// may be cut, and neither says a word. If there is none, nothing is gained by asking the
// same one again, and it has until -splitter.timeout.
const (
	// quietLeast is the least pause that counts. Behind another edge it is longer: that
	// one may be about to find another origin by itself.
	quietLeast = time.Second
	quietEdge  = 3 * time.Second
	// quietTimes is how much longer than the longest usual pause it must be, and
	// quietForget the time in which that is half forgotten.
	quietTimes  = 5
	quietForget = 30 * time.Second
	// knownAfter is how long a feed's packets must have come for its pauses to be known:
	// many send several at once, and then nothing for seconds. Before that a pause counts
	// from quietUnknown on, and from twice as long each time that a source was left for one.
	knownAfter   = 3 * time.Second
	quietUnknown = 5 * time.Second
	// goneLeast and goneTimes are that for an origin that is believed to be dead: probes
	// and agents may be wrong, as silence may be, but hardly both.
	goneLeast = 200 * time.Millisecond
	goneTimes = 2
	// quietEvery is how often it is looked for.
	quietEvery = 200 * time.Millisecond
	// quickly is how long an origin may take to describe a stream whose viewers wait, if
	// there is another one to be asked, and hastily if that is not the one that was lost
	// just now.
	quickly = 3 * time.Second
	hastily = time.Second
	// hurryTries is how many tries are in such a hurry.
	hurryTries = 4
)

// errQuiet is wrapped where a source is left for its silence, while another is there.
var errQuiet = errors.New("it pauses, and there is another")

// errLeaves is why a source is left that is about to go.
var errLeaves = errors.New("it wants its sessions to go elsewhere")

// errSilent is wrapped where a source has sent nothing for as long as it may.
var errSilent = errors.New("it sends nothing")

// A pulse is how regularly the packets of a feed come, on any track, whoever sends them.
type pulse struct {
	first, last atomic.Int64 // of the present source, Unix ns; 0: nothing came yet
	usual       atomic.Int64 // the longest pause lately, ns
	known       atomic.Bool  // it was watched for long enough to know what is usual
}

// begin tells that another source begins.
func (p *pulse) begin() {
	p.first.Store(0)
	p.last.Store(0)
}

// beat is told of each packet. Tracks that come over UDP may tell at once: what is
// lost then is a pause of no length.
func (p *pulse) beat(now int64) {
	last := p.last.Swap(now)
	if last == 0 {
		p.first.Store(now)
		return
	}
	if !p.known.Load() && now-p.first.Load() >= int64(knownAfter) {
		p.known.Store(true)
	}
	gap := now - last
	usual := p.usual.Load()
	usual -= int64(float64(usual) * min(1, float64(gap)/float64(quietForget)*0.69)) // ln 2
	p.usual.Store(max(gap, usual))
}

// silent returns for how long nothing has come, if that is as long as least, and as so
// many usual pauses.
func (p *pulse) silent(now time.Time, least, times time.Duration) (d time.Duration, ok bool) {
	last, usual := p.last.Load(), time.Duration(p.usual.Load())
	if last == 0 {
		return 0, false
	}
	if !p.known.Load() {
		least, times = quietUnknown, 2
	}
	d = now.Sub(time.Unix(0, last))
	return d, d > max(least, times*usual)
}

// quiet says why a source that has played since start is to be left for another one, nil
// if it is not.
func (pl *pull) quiet(start, now time.Time) error {
	if d := now.Sub(start); pl.pulse.last.Load() == 0 && pl.urgent && d > quickly && pl.another() {
		return fmt.Errorf("silent for %v since PLAY: %w", d.Round(time.Millisecond), errQuiet)
	}
	least, times := quietLeast, time.Duration(quietTimes)
	switch up, knows := proxy.Face[interface{ Gone(origin string) bool }](pl.upstream); {
	case pl.fromEdge():
		least = quietEdge
	case knows && up.Gone(pl.link.Origin):
		least, times = goneLeast, goneTimes
	}
	d, ok := pl.pulse.silent(now, least, times)
	if !ok || !pl.another() {
		return nil
	}
	if !pl.pulse.known.Load() {
		pl.pulse.usual.Store(int64(d))
	}
	return fmt.Errorf("silent for %v: %w", d.Round(time.Millisecond), errQuiet)
}

// others is the face of an upstream that knows whether a path has an origin that is
// up besides one.
type others interface {
	Others(path string, than ...string) bool
}

// another reports whether there is another source than some origins, or edges.
func (p *puller) another(than ...string) bool {
	u, ok := proxy.Face[others](p.upstream)
	return ok && u.Others(p.path, than...)
}
