package passthrough

import (
	"path"
	"slices"
	"strings"
)

var (
	// ofStreams are endings of what belongs to a stream of many files.
	ofStreams = []string{".m3u8", ".m3u", ".mpd", ".ts", ".m2ts", ".m4s", ".m4f", ".cmfv", ".cmfa", ".cmft", ".vtt", ".webvtt", ".ttml", ".key", ".init"}
	// ofBoth are endings that segments share with files and endless streams.
	ofBoth = []string{".mp4", ".m4v", ".m4a", ".aac", ".mp3", ".ac3", ".ec3", ".webm"}
	// ofEndless are endings of what may go on for ever.
	ofEndless = []string{".aac", ".mp3", ".ac3", ".ec3", ".webm", ".ogg", ".oga", ".opus", ".flac", ".wav"}
)

// streamKey names what must come from one origin while it lives: origins cut
// live streams on their own, and a viewer who alternates between them sees
// MEDIA-SEQUENCE go back. Playlists and segments have the key of their folder,
// endless HTTP that of its path, all else none, so that load decides.
//
// An .mp4 or .aac is taken for a segment if its name ends in a number or tells of
// an init section: seg7.mp4, but not movie.mp4 or radio.mp3. Where that is
// wrong, a folder of films has one origin, bounded by that origin's load.
func streamKey(p string) string {
	ext := strings.ToLower(path.Ext(p))
	name := strings.ToLower(strings.TrimSuffix(path.Base(p), path.Ext(p)))
	switch {
	case slices.Contains(ofStreams, ext), slices.Contains(ofBoth, ext) && segment(name):
		return path.Dir(p)
	case slices.Contains(ofEndless, ext):
		return p
	}
	return ""
}

func segment(name string) bool {
	return name != "" && (name[len(name)-1] >= '0' && name[len(name)-1] <= '9') || strings.Contains(name, "init")
}
