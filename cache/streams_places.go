package cache

import (
	"slices"
	"strings"
	"time"
)

// bare returns a name without its query.
func bare(name string) string {
	b, _, _ := strings.Cut(name, "?")
	return b
}

// of is the bare name of what a stream lists: it is of the same host.
func (t *stream) of(listed target) string { return t.host + pathID(listed.path) }

// find returns the stream that a name is that of, or of a segment of, and then
// its number.
func (s *streams) find(name string) (*stream, int64) {
	for _, p := range []string{name, bare(name)} {
		if t, ok := s.known.Peek(p); ok {
			return t, unnumbered
		}
	}
	p, ok := s.places[bare(name)]
	if !ok {
		return nil, 0
	}
	t, _ := s.known.Peek(p.playlist)
	return t, p.number
}

// take makes a version the newest of its stream. It returns the URIs that were
// not listed before, and those of them whose names were not either.
func (s *streams) take(t *stream, m *manifest, now time.Time) (uris, names []target) {
	note := func(old, listed target) {
		if old != listed {
			uris = append(uris, listed)
		}
		if old.path != listed.path {
			names = append(names, listed)
		}
	}
	for i, to := range m.Segments {
		n := m.First + int64(i)
		l, ok := t.numbers[n]
		if !ok {
			l.since = now
		}
		if to.path != "" {
			note(l.target, to)
			s.places[t.of(to)] = place{t.name, n}
			l.target = to
		}
		t.numbers[n] = l
	}
	for _, to := range slices.Concat(m.Pieces, m.Variants) {
		note(t.pieces[to.path].target, to)
		t.pieces[to.path] = mention{to, m.Last}
	}
	s.enter(t, m.Pieces) // a variant is a stream of its own
	t.newest = m
	if len(m.Inits) > 0 { // a delta update may have none
		t.inits = m.Inits
	}
	s.prune(t)
	s.weigh(t)
	return uris, names
}

// weigh counts what a stream costs, about: tables grow by doubling, and names stand
// in them with their host, beside what the playlist itself holds.
func (s *streams) weigh(t *stream) {
	const each = 350
	weight := int64(1024)
	for _, l := range t.numbers {
		weight += each + int64(len(t.host)+2*len(l.path)+len(l.query))
	}
	for _, p := range t.pieces {
		weight += each + int64(len(t.host)+2*len(p.path)+len(p.query))
	}
	s.weight += weight - t.weight
	t.weight = weight
}

// enter gives places to what has no numbers, unless it has one with a number: a
// part may be a range of its segment.
func (s *streams) enter(t *stream, pieces []target) {
	for _, to := range pieces {
		name := t.of(to)
		if p, ok := s.places[name]; !ok || p.number == unnumbered {
			s.places[name] = place{t.name, unnumbered}
		}
	}
}

// prune drops what is long gone from a playlist: it is remembered for another two
// lengths of the playlist, because players are late and caches later.
func (s *streams) prune(t *stream) {
	t.widest = max(t.widest, len(t.newest.Segments), 8)
	if !t.newest.numbered() {
		return
	}
	oldest := t.newest.Last - 3*int64(t.widest)
	for n, l := range t.numbers {
		if n <= oldest || n > t.newest.Last {
			delete(t.numbers, n)
			s.leave(t, l.target, n)
		}
	}
	for path, p := range t.pieces {
		if p.last <= oldest {
			delete(t.pieces, path)
			s.leave(t, p.target, unnumbered)
		}
	}
}

// leave gives up a place, if it has not become that of another.
func (s *streams) leave(t *stream, listed target, number int64) {
	name := t.of(listed)
	if s.places[name] == (place{t.name, number}) {
		delete(s.places, name)
	}
}

// forget gives up all places of a stream.
func (s *streams) forget(t *stream) {
	for n, l := range t.numbers {
		s.leave(t, l.target, n)
	}
	for _, p := range t.pieces {
		s.leave(t, p.target, unnumbered)
	}
}
