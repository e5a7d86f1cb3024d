package cache

import (
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// A class is what an object is to a player.
type class uint8

const (
	other class = iota
	multivariant
	livePlaylist
	storedPlaylist
	liveMPD
	storedMPD
	segment // parts, init segments and whole media files, too
	secret  // keys and licences
)

// guess is the class of a path, by its extension, before there is an answer. Any
// playlist is a livePlaylist, any MPD a liveMPD.
func guess(name string) class {
	switch strings.ToLower(strings.TrimPrefix(path.Ext(name), ".")) {
	case "m3u8", "m3u":
		return livePlaylist
	case "mpd":
		return liveMPD
	case "ts", "m2ts", "m2t", "mts",
		"mp4", "m4s", "m4v", "m4a", "m4i", "m4f", "cmfv", "cmfa", "cmft", "cmfm", "init", "dash", "chk",
		"mov", "mkv", "webm", "flv", "ogg", "oga", "ogv", "opus",
		"aac", "mp3", "ac3", "ec3", "eac3", "ac4", "flac", "wav",
		"vtt", "webvtt", "ttml", "dfxp", "srt", "stpp":
		return segment
	case "key", "lic":
		return secret
	}
	return other
}

// classify is the class of an answer: by Content-Type, else by extension. What
// it says of playlists is right only after parse.
func classify(name string, h http.Header) class {
	byName := guess(name)
	if byName == secret {
		return secret // no Content-Type of a key is believed: what is stored by mistake is given to everybody
	}
	full, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil && full == "" {
		return byName
	}
	if c, ok := classOfType(full); ok {
		return c
	}
	// Types that say nothing (application/octet-stream, binary/octet-stream,
	// text/plain) or something wrong: system tables call .ts a translation of Qt.
	return byName
}

// classOfType is what a media type says; ok is false if that is nothing.
func classOfType(full string) (c class, ok bool) {
	switch full {
	case "application/vnd.apple.mpegurl", "application/x-mpegurl", "application/mpegurl",
		"audio/mpegurl", "audio/x-mpegurl", "video/mpegurl", "video/x-mpegurl":
		return livePlaylist, true
	case "application/dash+xml", "video/vnd.mpeg.dash.mpd":
		return liveMPD, true
	case "application/mp4", "text/vtt", "application/ttml+xml", "application/x-subrip":
		return segment, true
	case "text/html", "application/json": // an apology or an answer of an API, whatever the path is called
		return other, true
	}
	kind, sub, _ := strings.Cut(full, "/")
	switch {
	case kind == "video", kind == "audio" && sub != "x-scpls":
		return segment, true
	case kind == "application" && (strings.HasPrefix(sub, "vnd.ms-playready") || strings.HasPrefix(sub, "x-widevine")):
		return secret, true
	case kind == "image":
		return other, true
	}
	return other, false
}

// blocking reads _HLS_msn and _HLS_part; ok is false if a query is not that of a
// blocking request. skip is the value of _HLS_skip. part is -1 if it is not said.
func blocking(query string) (msn int64, part int, skip string, ok bool) {
	if !strings.Contains(query, "_HLS_") { // nearly all of them
		return 0, -1, "", false
	}
	q, err := url.ParseQuery(query)
	skip = q.Get("_HLS_skip")
	if err != nil || !q.Has("_HLS_msn") {
		return 0, -1, skip, false
	}
	n, err := strconv.ParseUint(q.Get("_HLS_msn"), 10, 53)
	if err != nil {
		return 0, -1, skip, false
	}
	if !q.Has("_HLS_part") {
		return int64(n), -1, skip, true
	}
	p, err := strconv.ParseUint(q.Get("_HLS_part"), 10, 31)
	if err != nil {
		return 0, -1, skip, false
	}
	return int64(n), int(p), skip, true
}
