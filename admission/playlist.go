package admission

import (
	"iter"
	"strconv"
	"strings"

	"weir/proxy"
)

// maxDeclared is the highest rate that is believed of a playlist: sums must not
// overflow.
const maxDeclared proxy.BitRate = 1e12

// A lesson is what one playlist says about the stream that it is part of. Only
// what is below the playlist's folder counts: nobody is to draw the viewers of
// other streams to his own, and other hosts are none of ours.
type lesson struct {
	folder   string                   // the playlist's
	folders  map[string]proxy.BitRate // below it; at most maxParts, as are variants
	variants map[string]proxy.BitRate // by the path of their playlist
	highest  proxy.BitRate            // of all variants
}

// m3u8 reads a playlist of HLS (RFC 8216 §4.3.4): variants, renditions, or the
// segments of one that is a media playlist.
func (l *lesson) m3u8(text string) {
	text = strings.TrimPrefix(text, "\ufeff")
	if !strings.HasPrefix(text, "#EXTM3U") {
		return
	}
	var next proxy.BitRate // of the variant whose URI is the next line
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		tag, list, _ := strings.Cut(line, ":")
		switch {
		case tag == "#EXT-X-STREAM-INF":
			next = bitRate(m3u8Attribute(list, "BANDWIDTH"))
		case tag == "#EXT-X-I-FRAME-STREAM-INF":
			l.add(m3u8Attribute(list, "URI"), bitRate(m3u8Attribute(list, "BANDWIDTH")))
		case tag == "#EXT-X-MEDIA":
			l.add(m3u8Attribute(list, "URI"), ofVariants)
		case line != "" && line[0] != '#':
			l.add(line, next)
			next = 0
		}
	}
}

// add takes in one URI, and the rate that is declared for it.
func (l *lesson) add(uri string, rate proxy.BitRate) {
	l.highest = max(l.highest, rate)
	if rate == 0 && !strings.Contains(uri, "/") {
		return // a segment beside its playlist, as nearly all are
	}
	path, ok := l.resolve(uri)
	if !ok {
		return
	}
	if rate != 0 {
		raise(l.variants, path, rate)
	}
	if folder := folderOf(path); folder != l.folder {
		raise(l.folders, folder, rate)
	}
}

// raise leaves m alone if it has enough already.
func raise(m map[string]proxy.BitRate, key string, rate proxy.BitRate) {
	old, ok := m[key]
	if !ok && len(m) < maxParts || ok && rate > old {
		m[key] = rate
	}
}

// resolve returns the canonical path that a URI means; false for other hosts and
// for what is not below the playlist's folder. ".." is not followed: CleanPath
// takes none.
func (l *lesson) resolve(uri string) (path string, ok bool) {
	if i := strings.IndexAny(uri, "?#"); i >= 0 {
		uri = uri[:i]
	}
	first, _, _ := strings.Cut(uri, "/")
	if uri == "" || strings.Contains(first, ":") || strings.HasPrefix(uri, "//") {
		return "", false
	}
	below := strings.TrimSuffix(l.folder, "/") + "/"
	path, err := proxy.CleanPath(uri)
	if err != nil {
		return "", false
	}
	if uri[0] != '/' {
		path = below + path[1:]
	}
	return path, len(path) > len(below) && strings.HasPrefix(path, below)
}

// m3u8Attribute returns the value of one attribute in a list, without quotes; "" for
// none.
func m3u8Attribute(list, name string) string {
	for n, v := range m3u8Attributes(list) {
		if n == name {
			return v
		}
	}
	return ""
}

// m3u8Attributes are those of an attribute list (RFC 8216 §4.2). A quote that never
// ends makes the rest its value.
func m3u8Attributes(list string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for list != "" {
			name, value, _ := strings.Cut(list, "=")
			if quoted, ok := strings.CutPrefix(value, `"`); ok {
				value, list, _ = strings.Cut(quoted, `"`)
				_, list, _ = strings.Cut(list, ",")
			} else {
				value, list, _ = strings.Cut(value, ",")
			}
			if !yield(strings.TrimSpace(name), strings.TrimSpace(value)) {
				return
			}
		}
	}
}

// bitRate is 0 for what is not a rate.
func bitRate(s string) proxy.BitRate {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > int64(maxDeclared) {
		return 0
	}
	return proxy.BitRate(n)
}
