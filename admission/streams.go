package admission

import (
	"strings"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"weir/proxy"
)

const (
	// maxFolders and maxVariants bound what is remembered of playlists: some 300 bytes
	// each, 3 KiB where paths are as long as they may be. What was of no use for
	// longest goes first.
	maxFolders  = 1 << 14
	maxVariants = 1 << 14
	// maxPlaylist is the longest playlist that is learned from, in bytes.
	maxPlaylist = 64 << 10
	// maxParts is how many folders, and how many variants, one playlist may bring:
	// it must not push all others out.
	maxParts = 128
	// ofVariants is the rate of a rendition: a variant's BANDWIDTH covers those that
	// are played with it (RFC 8216 §4.3.4.2).
	ofVariants proxy.BitRate = -1
)

// Streams know what belongs together over HTTP. A stream is the folder of its
// playlist, and takes in the folders below it that the playlist names: those of
// variants and renditions, and of segments. It may be used by any number of
// goroutines at once.
type streams struct {
	mu       sync.Mutex
	folders  *simplelru.LRU[string, part]
	variants *simplelru.LRU[string, proxy.BitRate] // by the path of their playlist
}

// A part is where a folder belongs.
type part struct {
	stream string        // a folder above it, or the same
	rate   proxy.BitRate // declared for what is in it; 0 for that of stream, or ofVariants
	from   string        // the playlist that says so
}

// newStreams returns empty tables.
func newStreams() *streams {
	folders, _ := simplelru.NewLRU[string, part](maxFolders, nil)            // fails for no size only
	variants, _ := simplelru.NewLRU[string, proxy.BitRate](maxVariants, nil) // the same
	return &streams{folders: folders, variants: variants}
}

// of returns the stream that a path is part of: a folder, or the path itself if
// it is single, which is to say a download by itself.
func (s *streams) of(path string) (stream string, single bool) {
	if kindOf(path) == download {
		return path, true
	}
	return s.around(path), false
}

// around returns the stream of the folder in which path is, for what is single
// too: a player takes a whole stream out of one file, by ranges.
func (s *streams) around(path string) string {
	folder := folderOf(path)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		p, ok := s.folders.Get(folder)
		if !ok || p.stream == folder {
			return folder
		}
		folder = p.stream
	}
}

// rate returns what a playlist declares for a path of a stream: the rate of the
// variant that it is part of, else the highest of the stream. It is 0 if nothing
// is known, and for renditions, which variants include.
func (s *streams) rate(stream, path string) proxy.BitRate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.variants.Get(path); ok {
		return max(r, 0)
	}
	r := s.rateOf(folderOf(path))
	if r == 0 {
		r = s.rateOf(stream)
	}
	return max(r, 0)
}

// rateOf is what is declared for a folder, or above it. mu is held.
func (s *streams) rateOf(folder string) proxy.BitRate {
	for {
		p, ok := s.folders.Get(folder)
		if !ok || p.rate != 0 || p.stream == folder {
			return p.rate
		}
		folder = p.stream
	}
}

// learn takes in what a playlist names; see lesson.
func (s *streams) learn(path string, playlist []byte) {
	if len(playlist) > maxPlaylist {
		return
	}
	path = strings.Clone(path) // part of a request otherwise
	l := lesson{folder: folderOf(path), folders: map[string]proxy.BitRate{}, variants: map[string]proxy.BitRate{}}
	if ext, _ := extension(path); strings.EqualFold(ext, "mpd") {
		l.mpd(string(playlist))
	} else {
		l.m3u8(string(playlist))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	own, _ := s.variants.Get(path) // path may be the playlist of a variant itself
	for folder, rate := range l.folders {
		if rate == 0 {
			rate = own
		}
		s.put(folder, part{l.folder, rate, path})
	}
	for variant, rate := range l.variants {
		s.variants.Add(variant, rate)
	}
	if l.highest > 0 {
		s.put(l.folder, part{l.folder, l.highest, path})
	}
}

// put keeps the outermost stream that claims a folder, and of several playlists
// in that stream the one that declares most: they would else take turns. mu is
// held.
func (s *streams) put(folder string, p part) {
	old, ok := s.folders.Get(folder)
	switch {
	case !ok || len(p.stream) < len(old.stream):
	case len(p.stream) > len(old.stream):
		return
	case p.rate == 0 || p.rate < old.rate && p.from != old.from:
		return
	}
	s.folders.Add(folder, p)
}

// size is how many folders and variants are known, of maxFolders and maxVariants.
func (s *streams) size() (folders, variants int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.folders.Len(), s.variants.Len()
}
