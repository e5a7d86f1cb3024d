package main

import (
	"errors"
	"net/url"
	"time"

	"github.com/Eyevinn/hls-m3u8/m3u8"
)

const (
	// hlsBehind is where a player begins before the end of a live playlist, in
	// target durations (RFC 8216 §6.3.3).
	hlsBehind = 3
	// hlsLongest bounds durations that playlists tell.
	hlsLongest = time.Hour
)

// An hlsList is a media playlist.
type hlsList struct {
	first    uint64 // number of the first segment
	target   time.Duration
	ended    bool // nothing will be added
	segments []hlsSegment
}

// An hlsSegment is a segment, and what it is initialised with, if anything.
type hlsSegment struct {
	wanted
	init   wanted
	length time.Duration
	gap    bool // it is not there
}

// start is the number of the segment to begin with (RFC 8216 §6.3.3).
func (l *hlsList) start() uint64 {
	if l.ended {
		return l.first
	}
	var behind time.Duration
	for i := len(l.segments) - 1; i >= 0; i-- {
		if behind += l.segments[i].length; behind >= hlsBehind*l.target {
			return l.first + uint64(i)
		}
	}
	return l.first
}

// reload is the time from one request for a list to the next (RFC 8216 §6.3.4).
func (l *hlsList) reload(changed bool) time.Duration {
	if changed {
		return l.target
	}
	return l.target / 2
}

// readHLS reads a playlist: a list of segments, or the URL of one.
func readHLS(g got) (list *hlsList, variant *url.URL, err error) {
	if g.playlist == nil {
		return nil, nil, errors.New("no playlist, where there was one before")
	}
	p, err := decode(g.playlist)
	if err != nil {
		return nil, nil, err
	}
	switch p := p.(type) {
	case *m3u8.MasterPlaylist:
		variant, err = bestVariant(g.url, p)
	case *m3u8.MediaPlaylist:
		list, err = segmentsOf(g.url, p)
	}
	return list, variant, err
}

func bestVariant(base *url.URL, p *m3u8.MasterPlaylist) (*url.URL, error) {
	var best *m3u8.Variant
	for _, v := range p.Variants {
		if !v.Iframe && (best == nil || v.Bandwidth > best.Bandwidth) {
			best = v
		}
	}
	if best == nil {
		return nil, errors.New("a multivariant playlist without variants")
	}
	return base.Parse(best.URI)
}

func segmentsOf(base *url.URL, p *m3u8.MediaPlaylist) (*hlsList, error) {
	l := &hlsList{first: p.SeqNo, target: max(seconds(float64(p.TargetDuration)), time.Second), ended: p.Closed}
	r := hlsReader{base: base}
	r.initialised(p.Map)
	for _, s := range p.Segments {
		if s != nil { // its slice has room for more
			r.initialised(s.Map)
			l.segments = append(l.segments, r.segment(s))
		}
	}
	if r.err == nil && l.ended && len(l.segments) == 0 {
		r.err = errors.New("a playlist without segments")
	}
	return l, r.err
}

// An hlsReader reads segments in their order.
type hlsReader struct {
	base *url.URL
	init wanted
	last *m3u8.MediaSegment
	err  error // the first one
}

func (r *hlsReader) initialised(m *m3u8.Map) {
	if m != nil {
		r.init = wanted{url: r.resolve(m.URI), offset: m.Offset, limit: m.Limit, what: "initialisation"}
	}
}

func (r *hlsReader) segment(s *m3u8.MediaSegment) hlsSegment {
	// A range without a place is behind the one before (RFC 8216 §4.3.2.2).
	if s.Limit > 0 && s.Offset == 0 && r.last != nil && r.last.URI == s.URI {
		s.Offset = r.last.Offset + r.last.Limit
	}
	r.last = s
	what := wanted{url: r.resolve(s.URI), offset: s.Offset, limit: s.Limit, what: "segment"}
	return hlsSegment{wanted: what, init: r.init, length: seconds(s.Duration), gap: s.Gap}
}

func (r *hlsReader) resolve(uri string) *url.URL {
	u, err := r.base.Parse(uri)
	if err == nil && (u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		err = errors.New("not of http or https")
	}
	if err != nil && r.err == nil {
		r.err = errors.New("a playlist names what cannot be asked for")
	}
	return u
}

// seconds reads a duration that somebody else tells.
func seconds(s float64) time.Duration {
	if !(s > 0) {
		return 0
	}
	return time.Duration(min(s, hlsLongest.Seconds()) * float64(time.Second))
}

// same reports whether two are the same bytes.
func (w *wanted) same(o *wanted) bool {
	return w.offset == o.offset && w.limit == o.limit && o.url != nil && w.url.String() == o.url.String()
}
