package main

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/Eyevinn/hls-m3u8/m3u8"

	"weir/proxy"
)

// maxPlaylist is the largest playlist that is followed, in bytes.
const maxPlaylist = 4 << 20

// isPlaylist reports whether an answer is an HLS playlist.
func isPlaylist(contentType, p string) bool {
	t, _, _ := mime.ParseMediaType(contentType)
	switch strings.ToLower(path.Ext(p)) {
	case ".m3u8", ".m3u":
		return true
	}
	return t == "application/vnd.apple.mpegurl" || t == "application/x-mpegurl" || t == "audio/mpegurl" || t == "audio/x-mpegurl"
}

// links returns what a playlist leads to, each once and in its order: of a
// multivariant one the media playlists, but those of I-frames, whose segments are the
// others'; of a media playlist the segments, and what they are initialised with. What
// lies on another host is not the edge's and left out; parts and keys are, too.
func links(body []byte, of errand) ([]errand, error) {
	p, err := decode(body)
	if err != nil {
		return nil, err
	}
	l := &linked{of: of, seen: map[string]bool{}}
	switch p := p.(type) {
	case *m3u8.MasterPlaylist:
		if of.depth > 0 {
			return nil, errors.New("a multivariant playlist lists another")
		}
		for _, v := range p.Variants {
			l.variant(v)
		}
	case *m3u8.MediaPlaylist:
		l.of.depth = 1
		l.init(p.Map)
		for _, s := range p.Segments {
			if s != nil { // its slice has room for more
				l.init(s.Map)
				l.add(s.URI)
			}
		}
	}
	return l.found, nil
}

// mapRange is the range of an EXT-X-MAP in its quotes (RFC 8216 §4.3.2.5), which the
// library takes for an error: it would leave out the whole tag.
var mapRange = regexp.MustCompile(`(?m)^(#EXT-X-MAP:.*BYTERANGE=)"(\d+)(?:@(\d+))?"`)

// decode reads a playlist. The library indexes its segments by what stands in the
// playlist, and panics on some that no packager writes.
func decode(body []byte) (p m3u8.Playlist, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("playlist not understood: %v", r)
		}
	}()
	body = mapRange.ReplaceAll(body, []byte("${1}${2}@0${3}")) // without a place it is at 0
	if p, _, err = m3u8.DecodeFrom(bytes.NewReader(body), false); err != nil {
		return nil, fmt.Errorf("playlist not understood: %w", err)
	}
	return p, nil
}

// linked collects what a playlist leads to.
type linked struct {
	of    errand
	seen  map[string]bool
	found []errand
}

func (l *linked) variant(v *m3u8.Variant) {
	if v.Iframe {
		return
	}
	l.add(v.URI)
	for _, a := range v.Alternatives {
		l.add(a.URI)
	}
}

func (l *linked) init(m *m3u8.Map) {
	if m != nil {
		l.add(m.URI)
	}
}

func (l *linked) add(uri string) {
	if uri == "" || l.seen[uri] {
		return
	}
	l.seen[uri] = true
	ref, err := url.Parse(uri)
	if err != nil {
		l.found = append(l.found, errand{name: uri, err: err})
		return
	}
	if u := l.of.url.ResolveReference(ref); strings.EqualFold(u.Host, l.of.url.Host) {
		l.found = append(l.found, errand{name: proxy.Redact(u), url: u, depth: l.of.depth + 1})
	}
}
