package admission

import (
	"path"
	"strings"
)

// A kind is what a path says of what is behind it.
type kind int8

const (
	unnamed  kind = iota
	playlist      // of HLS or DASH
	segment       // or another piece of a stream: keys, subtitles
	document      // a page that may play something
	asset         // what pages are made of
	download      // media or an archive in one file
)

// kindOf goes by the extension. It allocates nothing.
func kindOf(path string) kind {
	ext, ok := extension(path)
	if !ok {
		return unnamed
	}
	if ext == "" {
		return document
	}
	var low [5]byte
	for i := range len(ext) {
		low[i] = ext[i]
		if 'A' <= low[i] && low[i] <= 'Z' {
			low[i] += 'a' - 'A'
		}
	}
	switch string(low[:len(ext)]) {
	case "ts", "m4s", "cmfv", "cmfa", "cmft", "aac", "ac3", "ec3", "vtt", "key", "m4f", "mp", "dash", "init":
		return segment
	case "m3u8", "mpd":
		return playlist
	case "html", "htm":
		return document
	case "js", "mjs", "css", "map", "json", "xml", "txt", "wasm", "png", "jpg", "jpeg", "gif", "webp", "avif", "svg", "ico", "woff", "woff2", "srt":
		return asset
	case "mp4", "m4v", "mkv", "webm", "mov", "avi", "flv", "wmv", "mpg", "mpeg", "3gp", "ogv", "mxf", "m2ts",
		"mp3", "m4a", "m4b", "flac", "ogg", "oga", "opus", "wav", "wma", "aif", "aiff",
		"zip", "tar", "gz", "tgz", "xz", "zst", "bz2", "7z", "rar", "iso", "img", "dmg", "apk", "exe":
		return download
	}
	return unnamed
}

// isPiece reports whether a file is part of the stream of its folder. A file of MP4
// may be a film as well: it is a piece if it is named as segments are.
func isPiece(p string) bool {
	switch kindOf(p) {
	case playlist, segment:
		return true
	case download:
		name := path.Base(p)
		return strings.HasSuffix(name, ".mp4") && (strings.HasPrefix(name, "init") ||
			strings.Contains(name, "_init") || strings.Contains(name, "_seg") || strings.Contains(name, "_part"))
	}
	return false
}

// extension returns what stands behind the last dot of a path, "" for a folder.
// It is false for none, or for one longer than all that are known.
func extension(path string) (ext string, ok bool) {
	for i := len(path) - 1; i >= 0 && i >= len(path)-6; i-- {
		switch path[i] {
		case '.':
			return path[i+1:], i+1 < len(path)
		case '/':
			return "", i == len(path)-1
		}
	}
	return "", false
}

// folderOf returns the folder that a path is in, without a slash at its end; "/"
// is its own.
func folderOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}
