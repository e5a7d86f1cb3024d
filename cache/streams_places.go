package cache

import (
	"slices"
	"time"
)

// find returns the stream that a path is the playlist of, or a segment of, and then
// its number.
func (s *streams) find(path string) (*stream, int64) {
	for _, p := range []string{path, bare(path)} {
		if t, ok := s.known.Peek(p); ok {
			return t, unnumbered
		}
	}
	p, ok := s.places[bare(path)]
	if !ok {
		return nil, 0
	}
	t, _ := s.known.Peek(p.playlist)
	return t, p.number
}

// take makes a version the newest of its stream. It returns the URIs that were
// not listed before, and those of them whose names were not either.
func (s *streams) take(t *stream, m *manifest, now time.Time) (uris, names []string) {
	note := func(old, uri string) {
		if old != uri {
			uris = append(uris, uri)
		}
		if bare(old) != bare(uri) {
			names = append(names, uri)
		}
	}
	for i, uri := range m.Segments {
		n := m.First + int64(i)
		l, ok := t.numbers[n]
		if !ok {
			l.since = now
		}
		if uri != "" {
			note(l.uri, uri)
			s.places[bare(uri)] = place{t.path, n}
			l.uri = uri
		}
		t.numbers[n] = l
	}
	for _, uri := range slices.Concat(m.Pieces, m.Variants) {
		note(t.pieces[bare(uri)].uri, uri)
		t.pieces[bare(uri)] = mention{uri, m.Last}
	}
	s.enter(t, m.Pieces) // a variant is a stream of its own
	t.newest = m
	if len(m.Inits) > 0 { // a delta update may have none
		t.inits = m.Inits
	}
	s.prune(t)
	return uris, names
}

// enter gives places to what has no numbers, unless it has one with a number: a
// part may be a range of its segment.
func (s *streams) enter(t *stream, pieces []string) {
	for _, uri := range pieces {
		if p, ok := s.places[bare(uri)]; !ok || p.number == unnumbered {
			s.places[bare(uri)] = place{t.path, unnumbered}
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
			s.leave(t, l.uri, n)
		}
	}
	for name, p := range t.pieces {
		if p.last <= oldest {
			delete(t.pieces, name)
			s.leave(t, name, unnumbered)
		}
	}
}

// leave gives up a place, if it has not become that of another.
func (s *streams) leave(t *stream, uri string, number int64) {
	if s.places[bare(uri)] == (place{t.path, number}) {
		delete(s.places, bare(uri))
	}
}

// forget gives up all places of a stream.
func (s *streams) forget(t *stream) {
	for n, l := range t.numbers {
		s.leave(t, l.uri, n)
	}
	for name := range t.pieces {
		s.leave(t, name, unnumbered)
	}
}
