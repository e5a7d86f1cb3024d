package passthrough

import (
	"bytes"
	"cmp"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// mostTarget bounds what a playlist may say of its target duration: nobody is to
// hold on to an old one for hours.
const mostTarget = time.Minute

// A position is how far a live playlist has come (RFC 8216 §4.3.3.2, §4.3.3.3).
type position struct {
	first         uint64 // media sequence number of the first segment
	next          uint64 // of the one to come
	discontinuity uint64
}

// before reports whether a player that knows q would be taken back by p.
func (p position) before(q position) bool {
	return cmp.Or(cmp.Compare(p.first, q.first), cmp.Compare(p.next, q.next), cmp.Compare(p.discontinuity, q.discontinuity)) < 0
}

// A scan is what is to be known of a media playlist.
type scan struct {
	position
	target time.Duration // mostTarget at most
	ended  bool
}

var playlistMagic, byteOrderMark = []byte("#EXTM3U"), []byte("\xef\xbb\xbf")

// playlistHead is how many bytes tell whether a text is a playlist.
const playlistHead = 10

func isPlaylistHead(head []byte) bool {
	return bytes.HasPrefix(bytes.TrimPrefix(head, byteOrderMark), playlistMagic)
}

// scanPlaylist looks for the few tags that say how far a playlist has come. ok is
// false for what is no media playlist, and for one with numbers that are none.
func scanPlaylist(text []byte) (s scan, ok bool) {
	if !isPlaylistHead(text) {
		return scan{}, false
	}
	var skipped, segments uint64
	read := tagReader{ok: true}
	for line := range bytes.Lines(bytes.TrimPrefix(text, byteOrderMark)) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' {
			segments++
			continue
		}
		tag, value, _ := bytes.Cut(line, []byte(":"))
		switch string(tag) {
		case "#EXT-X-STREAM-INF":
			return scan{}, false // a list of variants does not advance
		case "#EXT-X-TARGETDURATION":
			s.target = min(time.Duration(read.number(value, 31))*time.Second, mostTarget)
			read.media = true
		case "#EXT-X-MEDIA-SEQUENCE":
			s.first = read.number(value, 62) // so that no sum overflows
		case "#EXT-X-DISCONTINUITY-SEQUENCE":
			s.discontinuity = read.number(value, 62)
		case "#EXT-X-SKIP":
			skipped = read.number(attributeOf(value, "SKIPPED-SEGMENTS"), 62)
		case "#EXT-X-ENDLIST":
			s.ended = true
		}
	}
	s.next = s.first + skipped + segments
	return s, read.ok && read.media
}

// A tagReader reads values of tags, and remembers whether they were good.
type tagReader struct{ ok, media bool }

func (r *tagReader) number(value []byte, bits int) uint64 {
	n, err := strconv.ParseUint(string(value), 10, bits)
	r.ok = r.ok && err == nil
	return n
}

// attributeOf returns an attribute that is not quoted.
func attributeOf(list []byte, name string) []byte {
	for pair := range bytes.SplitSeq(list, []byte(",")) {
		if key, value, _ := bytes.Cut(bytes.TrimSpace(pair), []byte("=")); string(key) == name {
			return value
		}
	}
	return nil
}

// isPlaylist goes by the name of a path.
func isPlaylist(p string) bool {
	ext := strings.ToLower(path.Ext(p))
	return ext == ".m3u8" || ext == ".m3u"
}

// blockingPrefix begins the names of the parameters that ask for a version of a
// playlist that is still to come, or for a part of one (RFC 8216bis §6.2.5).
const blockingPrefix = "_HLS_"

// ofViewers are parameters that say who asks, and not for what: the same playlist
// has other ones for each viewer. What is not among them keeps playlists apart,
// which only forgets more than it must.
var ofViewers = map[string]bool{"token": true, "jwt": true, "sig": true, "signature": true, "hmac": true, "exp": true, "expires": true,
	"hdnts": true, "hdnea": true, "hdntl": true, "policy": true, "key-pair-id": true}

// playlistQuery is a query without what differs from viewer to viewer and from
// one request to the next.
func playlistQuery(raw string) string {
	return withoutParams(raw, func(name string) bool {
		return strings.HasPrefix(name, blockingPrefix) || ofViewers[strings.ToLower(name)]
	})
}

// withoutParams leaves everything else as it was written.
func withoutParams(raw string, drop func(name string) bool) string {
	if raw == "" {
		return ""
	}
	var kept []string
	for piece := range strings.SplitSeq(raw, "&") {
		name, _, _ := strings.Cut(piece, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if !drop(name) {
			kept = append(kept, piece)
		}
	}
	return strings.Join(kept, "&")
}
