package cache

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/Eyevinn/hls-m3u8/m3u8"
)

// Of the tags of a playlist only these are shown to the library. It returns
// nothing at all for a playlist that ends in an advertisement's EXT-X-DATERANGE, and
// panics on an EXT-X-KEY before the first segment; players mind neither.
var (
	mediaTags = []string{"#EXTINF:", "#EXT-X-VERSION:", "#EXT-X-TARGETDURATION:", "#EXT-X-MEDIA-SEQUENCE:",
		"#EXT-X-SERVER-CONTROL:", "#EXT-X-PART-INF:", "#EXT-X-SKIP:", "#EXT-X-PLAYLIST-TYPE:", "#EXT-X-ENDLIST",
		"#EXT-X-GAP", "#EXT-X-PART:", "#EXT-X-PRELOAD-HINT:", "#EXT-X-MAP:", "#EXT-X-DEFINE:"}
	multiTags = []string{"#EXT-X-STREAM-INF:", "#EXT-X-I-FRAME-STREAM-INF:", "#EXT-X-MEDIA:", "#EXT-X-DEFINE:"}
)

// parseHLS reads a playlist; nil if it is not one of HLS: other lists of the
// name (of an endless radio, of television channels) have no target duration.
func parseHLS(path string, body []byte) *manifest {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	rest, ok := bytes.CutPrefix(body, []byte("#EXTM3U"))
	if !ok || len(rest) > 0 && !bytes.ContainsAny(rest[:1], " \t\r\n") {
		return nil
	}
	l := &hlsList{resolver: resolver{base: &url.URL{Path: path}}}
	switch {
	case hasLine(rest, "#EXT-X-STREAM-INF:"), hasLine(rest, "#EXT-X-MEDIA:"):
		return l.multivariant(onlyTags(rest, multiTags))
	case hasLine(rest, "#EXT-X-TARGETDURATION:"):
		return l.media(onlyTags(rest, mediaTags))
	}
	return nil
}

// hasLine reports whether a line behind the first begins so.
func hasLine(body []byte, tag string) bool { return bytes.Contains(body, []byte("\n"+tag)) }

// onlyTags returns the URIs and the tags named of a playlist.
func onlyTags(body []byte, tags []string) *bytes.Buffer {
	kept := bytes.NewBuffer(make([]byte, 0, len(body)))
	for line := range bytes.Lines(body) {
		line = bytes.TrimSpace(line)
		tagged := func(tag string) bool { return bytes.HasPrefix(line, []byte(tag)) }
		if len(line) > 0 && (line[0] != '#' || slices.ContainsFunc(tags, tagged)) {
			kept.Write(line)
			kept.WriteByte('\n')
		}
	}
	return kept
}

// An hlsList is a playlist that is being read. The library hands it each line
// of the tags of which it keeps less than is needed itself: it forgets hints but the
// last, the parts before the first segment, and whatever has a BYTERANGE.
type hlsList struct {
	resolver
	m manifest
}

// media reads a media playlist.
func (l *hlsList) media(lines *bytes.Buffer) *manifest {
	p, err := m3u8.NewMediaPlaylist(0, 64)
	if err != nil {
		return nil
	}
	p.WithCustomDecoders([]m3u8.CustomDecoder{
		tagReader{"#EXTINF:", func(string) { l.m.Parts = 0 }},
		tagReader{"#EXT-X-PART:", l.part},
		tagReader{"#EXT-X-PRELOAD-HINT:", l.hint},
		tagReader{"#EXT-X-MAP:", l.init},
		tagReader{"#EXT-X-DEFINE:", l.variable},
	})
	if err := p.DecodeFrom(lines, false); err != nil {
		return nil
	}
	if p.SeqNo > uint64(maxSequence) || p.SkippedSegments() > uint64(maxSequence) {
		return nil
	}
	l.head(p)
	for _, s := range p.Segments[:p.Count()] {
		var t target
		if !s.Gap {
			t = l.resolve(s.URI)
		}
		l.m.Segments = append(l.m.Segments, t)
	}
	// A delta update lists fewer than it tells of (RFC 8216bis §4.4.5.2).
	l.m.First = int64(p.SeqNo) + int64(p.SkippedSegments())
	l.m.Last = l.m.First + int64(len(l.m.Segments)) - 1
	return &l.m
}

// head takes over what is said of a media playlist as a whole.
func (l *hlsList) head(p *m3u8.MediaPlaylist) {
	l.m.Class = livePlaylist
	if p.Closed || p.MediaType == m3u8.VOD {
		l.m.Class = storedPlaylist
	}
	l.m.Target = time.Duration(min(p.TargetDuration, uint(maxTarget/time.Second))) * time.Second
	if p.PartTargetDuration > 0 { // not of NaN
		l.m.PartTarget = time.Duration(min(p.PartTargetDuration, maxTarget.Seconds()) * float64(time.Second))
	}
	l.m.Blocks = p.ServerControl != nil && p.ServerControl.CanBlockReload
}

// multivariant reads a multivariant playlist.
func (l *hlsList) multivariant(lines *bytes.Buffer) *manifest {
	p := m3u8.NewMasterPlaylist()
	p.WithCustomDecoders([]m3u8.CustomDecoder{
		tagReader{"#EXT-X-MEDIA:", func(list string) { l.m.Variants = l.with(l.m.Variants, attribute(list, "URI")) }},
		tagReader{"#EXT-X-DEFINE:", l.variable},
	})
	if err := p.DecodeFrom(lines, false); err != nil {
		return nil
	}
	for _, v := range p.Variants {
		l.m.Variants = l.with(l.m.Variants, v.URI)
	}
	l.m.Class, l.m.Last = multivariant, -1
	return &l.m
}

func (l *hlsList) part(list string) {
	l.m.Parts++
	if attribute(list, "GAP") != "YES" {
		l.m.Pieces = l.with(l.m.Pieces, attribute(list, "URI"))
	}
}

func (l *hlsList) hint(list string) {
	uri := attribute(list, "URI")
	if attribute(list, "TYPE") == "PART" {
		l.m.Hint = l.resolve(uri)
	}
	l.m.Pieces = l.with(l.m.Pieces, uri)
}

func (l *hlsList) init(list string) {
	uri := attribute(list, "URI")
	l.m.Inits = l.with(l.m.Inits, uri)
	l.m.Pieces = l.with(l.m.Pieces, uri)
}

// variable takes a variable over. Of IMPORT and QUERYPARAM the value is not known
// here; URIs with those are left out.
func (l *hlsList) variable(list string) { l.define(attribute(list, "NAME"), attribute(list, "VALUE")) }

// with appends a URI, resolved, unless it was the last one: parts may be ranges of
// one file.
func (l *hlsList) with(list []target, uri string) []target {
	t := l.resolve(uri)
	if t == (target{}) || len(list) > 0 && list[len(list)-1] == t {
		return list
	}
	return append(list, t)
}

// A tagReader has the library call a function with what follows a tag. It is
// both of its interfaces, as what is read is no concern of it.
type tagReader struct {
	tag  string
	read func(list string)
}

func (t tagReader) TagName() string       { return t.tag }
func (t tagReader) SegmentTag() bool      { return false }
func (t tagReader) String() string        { return t.tag }
func (t tagReader) Encode() *bytes.Buffer { return nil }
func (t tagReader) Decode(line string) (m3u8.CustomTag, error) {
	t.read(line[len(t.tag):])
	return t, nil
}

// attribute returns one value of an attribute list (RFC 8216 §4.2), unquoted.
func attribute(list, name string) string {
	for list != "" {
		key, rest, ok := strings.Cut(list, "=")
		if !ok {
			return ""
		}
		var value string
		if quoted, found := strings.CutPrefix(rest, `"`); found {
			value, rest, _ = strings.Cut(quoted, `"`)
			_, list, _ = strings.Cut(rest, ",")
		} else {
			value, list, _ = strings.Cut(rest, ",")
		}
		if strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
