package passthrough

import (
	"hash/maphash"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxMarks bounds each table of a streamMemory: about 200 bytes an entry,
	// whatever viewers ask for, since names are kept as hashes. Who is forgotten
	// is as one never seen: his playlist may go back once.
	maxMarks = 4096

	// leastGrace is how long a playlist that stands still, or is not to be had,
	// counts at least: encoders hiccup.
	leastGrace = 6 * time.Second
	// holdFor is how long requests of a stream go to the origin that was ahead of
	// the others before they are tried again. Too little asks two origins all the
	// time, too much keeps streams together that load should spread.
	holdFor = 30 * time.Second
	// folderAge is how long a folder is known to have had something in it.
	folderAge = 10 * time.Minute
	// barrenFor is how long nobody looks again for a newer playlist that no
	// origin had.
	barrenFor = time.Second
)

// A mark is how far a playlist had come when it was last passed on. The zero mark
// is that of a playlist never seen.
type mark struct {
	position
	target   time.Duration
	origin   string    // the name of who gave it
	advanced time.Time // when it was first seen this far
	barren   time.Time // when nobody had one as new
}

// holds reports whether a playlist must not be older: not if it has stood still
// for three of its target durations. The stream is over then, or has begun anew.
func (m *mark) holds(now time.Time) bool {
	return !m.advanced.IsZero() && now.Sub(m.advanced) <= max(3*m.target, leastGrace)
}

// A streamMemory is what a Balancer remembers of the streams it passed on by
// HTTP: how far their playlists had come, who was ahead, which folders there are.
// Everything in it is bounded, and forgotten first what was used longest ago.
type streamMemory struct {
	seed maphash.Seed

	withheld, back, sought, found, hedged atomic.Uint64 // see newStreamMemory

	mu      sync.Mutex
	marks   *simplelru.LRU[uint64, mark]
	lasts   *simplelru.LRU[uint64, last] // fewer
	holders *simplelru.LRU[uint64, holder]
	folders *simplelru.LRU[uint64, time.Time] // when something in it was last had
	told    time.Time                         // when the log was last told of a playlist that went back
}

// A holder is the name of the origin that a stream's requests go to for a while.
type holder struct {
	origin string
	until  time.Time
}

func newStreamMemory(reg prometheus.Registerer) *streamMemory {
	m := &streamMemory{seed: maphash.MakeSeed()}
	counter := func(n *atomic.Uint64, name, help string) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "weir_passthrough_" + name + "_total", Help: help},
			func() float64 { return float64(n.Load()) }))
	}
	counter(&m.withheld, "playlists_withheld", "Live playlists that were not passed on because another origin had a newer one.")
	counter(&m.back, "playlists_back", "Live playlists passed on although viewers had seen a newer one: no origin had it.")
	counter(&m.sought, "missing_sought", "Files of streams that one origin did not have and another was asked for.")
	counter(&m.found, "missing_found", "Files of streams that one origin did not have and another had.")
	counter(&m.hedged, "hedged", "HTTP requests that one origin was late with and another has answered.")
	m.marks, _ = simplelru.NewLRU[uint64, mark](maxMarks, nil) // fails only for a size of 0
	m.lasts, _ = simplelru.NewLRU[uint64, last](maxLast, nil)
	m.holders, _ = simplelru.NewLRU[uint64, holder](maxMarks, nil)
	m.folders, _ = simplelru.NewLRU[uint64, time.Time](maxMarks, nil)
	return m
}

// A nameIn is a name that means something in one pool only.
type nameIn struct {
	pool              *pool
	host, path, query string
}

// id is what tables know a name by. Viewers cannot make two names meet: they do
// not know the seed.
func (m *streamMemory) id(n nameIn) uint64 { return maphash.Comparable(m.seed, n) }

// mark returns how far a playlist has come.
func (m *streamMemory) mark(id uint64) mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, _ := m.marks.Get(id)
	return at
}

// passed takes note of a playlist that is passed on. Answers may overtake each
// other, and one that went back does not count until the newer one does no more.
func (m *streamMemory) passed(id uint64, s scan, origin string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, _ := m.marks.Peek(id)
	switch {
	case s.ended:
		m.marks.Remove(id)
	case old.holds(now) && s.before(old.position):
	case old.position == s.position && !old.advanced.IsZero():
		old.origin = origin
		m.marks.Add(id, old)
	default:
		m.marks.Add(id, mark{position: s.position, target: s.target, origin: origin, advanced: now})
	}
}

// barren takes note that no origin has a playlist as new as one before, and
// reports whether the log is to be told: once a minute for all.
func (m *streamMemory) barren(id uint64, now time.Time) (tell bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.marks.Peek(id); ok {
		old.barren = now
		m.marks.Add(id, old)
	}
	if tell = now.Sub(m.told) >= time.Minute; tell {
		m.told = now
	}
	return tell
}

// hold lets the requests of a stream go to one origin for a while.
func (m *streamMemory) hold(stick uint64, origin string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holders.Add(stick, holder{origin, now.Add(holdFor)})
}

// holder returns the origin that the requests of a stream are to go to, or "".
func (m *streamMemory) holder(stick uint64, now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h, ok := m.holders.Get(stick); ok && now.Before(h.until) {
		return h.origin
	}
	return ""
}

// had takes note that there is something in the folder of p, and above it.
func (m *streamMemory) had(in *pool, p string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, folder := range foldersOf(p) {
		m.folders.Add(m.id(nameIn{pool: in, path: folder}), now)
	}
}

// knows reports whether there was something in the folder of p lately, or beside
// it: streams begin new folders every hour.
func (m *streamMemory) knows(in *pool, p string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, folder := range foldersOf(p) {
		if at, ok := m.folders.Get(m.id(nameIn{pool: in, path: folder})); ok && now.Sub(at) < folderAge {
			return true
		}
	}
	return false
}

// foldersOf are the folder of p and the one above; the root is above nothing.
func foldersOf(p string) []string {
	folder := path.Dir(p)
	if above := path.Dir(folder); above != "/" {
		return []string{folder, above}
	}
	return []string{folder}
}
