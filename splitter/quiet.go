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
)

// errQuiet is wrapped where a source is left for its silence, while another is there.
var errQuiet = errors.New("it pauses, and there is another")

// errLeaves is why a source is left that is about to go.
var errLeaves = errors.New("it wants its sessions to go elsewhere")

// A pulse is how regularly packets come, on any track.
type pulse struct {
	last  atomic.Int64 // Unix ns
	usual atomic.Int64 // the longest pause lately, ns
}

// beat is told of each packet. Tracks that come over UDP may tell at once: what is
// lost then is a pause of no length.
func (p *pulse) beat(now int64) {
	last := p.last.Swap(now)
	if last == 0 {
		return
	}
	gap := now - last
	usual := p.usual.Load()
	usual -= int64(float64(usual) * min(1, float64(gap)/float64(quietForget)*0.69)) // ln 2
	p.usual.Store(max(gap, usual))
}

// silent returns for how long nothing has come, if that is as long as least, and as so
// many usual pauses.
func (p *pulse) silent(now time.Time, least, times time.Duration) (d time.Duration, ok bool) {
	last := p.last.Load()
	if last == 0 {
		return 0, false
	}
	d = now.Sub(time.Unix(0, last))
	return d, d > max(least, times*time.Duration(p.usual.Load()))
}

// quiet says why a source is to be left for another one, nil if it is not.
func (pl *pull) quiet(now time.Time) error {
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
