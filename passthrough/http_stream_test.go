package passthrough

import "testing"

func TestStreamKey(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		if got := streamKey(path); got != want {
			t.Errorf("streamKey(%q) = %q, want %q", path, got, want)
		}
	}
	f("/cam/index.m3u8", "/cam")
	f("/cam/seg7.ts", "/cam")
	f("/cam/SEG7.TS", "/cam")
	f("/cam/a_part12.mp4", "/cam")
	f("/cam/a_init.mp4", "/cam")
	f("/cam/init.mp4", "/cam")
	f("/cam/chunk-3.m4s", "/cam")
	f("/cam/audio7.aac", "/cam")
	f("/cam/sub.vtt", "/cam")
	f("/cam/x.key", "/cam")
	f("/cam/manifest.mpd", "/cam")
	f("/index.m3u8", "/")
	f("/films/movie.mp4", "")
	f("/radio.mp3", "/radio.mp3")
	f("/radio.aac", "/radio.aac")
	f("/a/radio.ogg", "/a/radio.ogg")
	f("/", "")
	f("/folder/", "")
	f("/stream", "")
	f("/a/x.html", "")
	f("/.mp4", "")
	f("", "")
}
