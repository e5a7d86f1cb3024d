package cache

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// streams remembers the playlists in use: which segments belong to which, how
// far each has come, and when it last moved. Its methods may be called by any
// goroutine. It is bounded in number and bytes: the playlist that was heard of
// longest ago goes.
//
// A playlist is known by its name, see key.stream: different queries and hosts name
// different streams. Its segments are known by their host and path alone: their
// queries may be tokens, which change from viewer to viewer.
type streams struct {
	mu     sync.Mutex
	known  *simplelru.LRU[string, *stream]
	limit  int64            // bytes, about
	weight int64            // of all that are known
	places map[string]place // by bare name, of the segments and pieces of all that are known
}

// A place is where a segment stands.
type place struct {
	playlist string
	number   int64 // unnumbered for parts and init segments
}

const unnumbered = math.MinInt64

// A change is what a new version of a playlist means for what is stored.
type change struct {
	Listed    []target // URIs that were not in it before: what was said of them (404) is no longer so
	Next      []target // what is worth fetching ahead, newest last; none if nobody has asked lately
	Restarted bool     // the stream has begun anew: Stale is no longer what is there
	Stale     []target // the segments of before; without Restarted, those whose names are used again
}

// newStreams returns a table of at most max playlists, and about limit bytes.
func newStreams(max int, limit int64) *streams {
	s := &streams{limit: limit, places: map[string]place{}}
	known, err := simplelru.NewLRU(max, func(_ string, t *stream) {
		s.forget(t)
		s.weight -= t.weight
	})
	if err != nil {
		panic("BUG: a table of streams needs room for one")
	}
	s.known = known
	return s
}

// saw tells of a playlist that the origin has just sent, by its name. m may be nil.
func (s *streams) saw(name string, m *manifest, now time.Time) change {
	if m == nil {
		return change{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.shed()
	t, ok := s.known.Get(name)
	if !ok || t.newest.numbered() != m.numbered() {
		lived := ok && t.lived
		s.known.Remove(name)
		t = newStream(name, now)
		t.lived = lived || m.live()
		s.known.Add(name, t)
		listed, _ := s.take(t, m, now)
		return change{Listed: listed}
	}
	t.heard, t.lived = now, t.lived || m.live()
	switch t.compare(m, now) {
	case lateVersion:
		return change{}
	case anotherStream:
		return s.restart(t, m, now)
	}
	c := change{Stale: s.reused(t, m)}
	if t.wanted(now) {
		c.Next = t.next(m)
	}
	if t.movedBy(m) {
		t.moved = now
	}
	var names []target
	c.Listed, names = s.take(t, m, now)
	if m.First <= t.haunt {
		c.Stale = append(c.Stale, names...)
	}
	return c
}

// shed forgets playlists until the rest is within the limit.
func (s *streams) shed() {
	for s.weight > s.limit {
		s.known.RemoveOldest()
	}
}

// restart forgets what was known of a stream: all of it is stale, and so are all
// names of the new one, which the old one may have used before anybody
// remembers. While the numbers are those of the old one, that is true of each new name.
func (s *streams) restart(t *stream, m *manifest, now time.Time) change {
	c := change{Restarted: true, Stale: t.uris()}
	s.forget(t)
	fresh := newStream(t.name, now)
	fresh.weight = t.weight
	fresh.asked, fresh.haunt = t.asked, max(t.newest.Last, t.haunt)
	*t = *fresh
	c.Listed, _ = s.take(t, m, now)
	c.Stale = append(c.Stale, c.Listed...)
	slices.SortFunc(c.Stale, func(a, b target) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.query, b.query)) })
	c.Stale = slices.Compact(c.Stale)
	return c
}

// asked tells that a viewer has asked for a playlist or one of its segments.
func (s *streams) asked(name string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, number := s.find(name)
	if t == nil {
		return
	}
	s.known.Get(t.name) // keeps it
	t.asked = now
	if number != unnumbered && t.newest.Class == storedPlaylist {
		t.recent[t.turn%len(t.recent)] = number + 1 // 0 is none
		t.turn++
	}
}

// of returns the newest version of the playlist that lists a segment, part or
// init segment of a name, or that a name itself is; nil if there is none.
func (s *streams) of(name string) *manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, _ := s.find(name)
	if t == nil {
		return nil
	}
	return t.newest
}

// after returns the segments, n at most, behind one that has just been asked for: of a live
// playlist those that it lists already, of a stored one if the one before was asked for not
// long ago, since somebody plays it then.
func (s *streams) after(name string, n int) []target {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, number := s.find(name)
	if t == nil || number == unnumbered || !t.newest.live() && !(t.newest.Class == storedPlaylist && t.played(number-1)) {
		return nil
	}
	var next []target
	for i := max(number+1, t.newest.First); i <= min(number+int64(n), t.newest.Last); i++ {
		if to := t.newest.Segments[i-t.newest.First]; to.path != "" && t.of(to) != bare(name) {
			next = append(next, to)
		}
	}
	return next
}

// lived reports whether a playlist was a live one at some time.
func (s *streams) lived(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.known.Peek(name)
	return ok && t.lived
}

// frozen reports whether a live playlist has not moved for three target
// durations, although it was asked for: the origin has sent the same again, and
// that not so long ago that nobody knows any more.
func (s *streams) frozen(name string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, _ := s.find(name)
	if t == nil || !t.newest.live() {
		return false
	}
	long := 3 * t.newest.target()
	return t.heard.Sub(t.moved) > long && now.Sub(t.heard) <= long
}
