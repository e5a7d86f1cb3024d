package cache

import (
	"slices"
	"time"
)

// A stream is what is known of one playlist.
type stream struct {
	name    string // see key.stream
	host    string // hostIn of it
	newest  *manifest
	lived   bool               // some version was live: one that has ended may go on
	numbers map[int64]listed   // by media sequence number: of the newest version, and of what slid out of it
	pieces  map[string]mention // parts, init segments and variants by path, likewise
	inits   []target           // of the newest version that had any
	weight  int64              // bytes, about
	widest  int                // segments in the longest version
	haunt   int64              // the last number before a restart: up to it names may be stored from then; -1: no restart

	heard, moved time.Time // when the origin last sent it, and when there was something new in it
	asked        time.Time // when a viewer last asked for any of it

	recent [32]int64 // of a stored one: the numbers asked for last, each plus 1
	turn   int
}

// listed is a segment in a playlist: none where it is of another host or a gap.
type listed struct {
	target
	since time.Time
}

// mention is something without a number, and the last number there was when it was listed.
type mention struct {
	target
	last int64
}

func newStream(name string, now time.Time) *stream {
	return &stream{name: name, host: hostIn(name), numbers: map[int64]listed{}, pieces: map[string]mention{}, haunt: -1,
		heard: now, moved: now}
}

// A standing is how a version of a playlist stands to the newest one known.
type standing uint8

const (
	newerVersion  standing = iota // or the same, or as good
	lateVersion                   // an older one of the same stream, that was overtaken on its way
	anotherStream                 // of a stream that has begun anew
)

// compare says how a version stands to the newest. A number is of one segment for
// ever, and numbers do not go back (RFC 8216 §6.2.2); where they do, it can only
// be an older version, if what came behind it was not there long ago, or a new
// stream. What cannot be seen is a stream that begins anew with the same names at the same
// numbers and comes as far as the old one before anybody asks.
func (t *stream) compare(m *manifest, now time.Time) standing {
	if !m.numbered() {
		return newerVersion
	}
	known := 0
	for i, to := range m.Segments {
		l, ok := t.numbers[m.First+int64(i)]
		if ok && to.path != "" && l.path != "" && to.path != l.path {
			return anotherStream
		}
		if ok {
			known++
		}
	}
	if known > 0 && disjoint(t.inits, m.Inits) { // the segments they share need an init segment, too
		return anotherStream
	}
	soon := 3 * t.newest.target()
	if m.Last < t.newest.Last {
		next, ok := t.numbers[m.Last+1]
		if ok && known == len(m.Segments) && now.Sub(next.since) <= soon {
			return lateVersion
		}
		return anotherStream
	}
	back := m.Parts < t.newest.Parts || m.live() && !t.newest.live()
	if m.Last == t.newest.Last && back && now.Sub(t.moved) <= soon {
		return lateVersion
	}
	return newerVersion
}

// disjoint reports whether two lists of names, neither of them empty, have none in common.
func disjoint(a, b []target) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	return !slices.ContainsFunc(a, func(x target) bool {
		return slices.ContainsFunc(b, func(y target) bool { return x.path == y.path })
	})
}

// reused returns the segments of a version whose names had other numbers until now,
// as encoders make them that write a fixed number of files in turn.
func (s *streams) reused(t *stream, m *manifest) []target {
	var stale []target
	path := func(i int64) string {
		if i < 0 || i >= int64(len(m.Segments)) {
			return ""
		}
		return m.Segments[i].path
	}
	for i, to := range m.Segments {
		i := int64(i)
		p, ok := s.places[t.of(to)]
		if !ok || p.playlist != t.name || p.number == unnumbered || p.number == m.First+i {
			continue
		}
		ranges := path(i-1) == to.path || path(i+1) == to.path || path(p.number-m.First) == to.path
		if !ranges { // of one file, which is the same under all its numbers
			stale = append(stale, to)
		}
	}
	return stale
}

// wanted reports whether a viewer has asked for anything of a live stream in the last
// two target durations.
func (t *stream) wanted(now time.Time) bool {
	return t.newest.live() && !t.asked.IsZero() && now.Sub(t.asked) <= 2*t.newest.target()
}

// next returns what a newer version has that viewers will ask for now: the newest segment, and
// the part that is hinted at.
func (t *stream) next(m *manifest) []target {
	var next []target
	if !m.live() {
		return nil
	}
	if n := len(m.Segments); n > 0 && m.Last > t.newest.Last && m.Segments[n-1].path != "" {
		next = append(next, m.Segments[n-1])
	}
	if _, known := t.pieces[m.Hint.path]; m.Hint.path != "" && !known {
		next = append(next, m.Hint)
	}
	return next
}

// movedBy reports whether a version has something that the newest has not.
func (t *stream) movedBy(m *manifest) bool {
	old := t.newest
	return m.Last > old.Last || m.Last == old.Last && m.Parts > old.Parts || m.Class != old.Class
}

// played reports whether a segment was asked for not long ago.
func (t *stream) played(number int64) bool {
	return number >= 0 && slices.Contains(t.recent[:], number+1)
}

// uris returns all that is known of a stream.
func (t *stream) uris() []target {
	var all []target
	for _, l := range t.numbers {
		if l.path != "" {
			all = append(all, l.target)
		}
	}
	for _, p := range t.pieces {
		all = append(all, p.target)
	}
	return all
}
