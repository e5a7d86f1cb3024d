package cache

import (
	"net/http"
	"testing"
)

func TestGuess(t *testing.T) {
	f := func(path string, want class) {
		t.Helper()
		if got := guess(path); got != want {
			t.Errorf("guess(%q) = %v, want %v", path, got, want)
		}
	}
	f("/live/index.m3u8", livePlaylist)
	f("/live/INDEX.M3U8", livePlaylist)
	f("/radio.m3u", livePlaylist)
	f("/a/manifest.mpd", liveMPD)
	f("/a/seg 1.ts", segment)
	f("/a/1.m4s", segment)
	f("/a/1.cmfv", segment)
	f("/a/subtitles.vtt", segment)
	f("/a/song.mp3", segment)
	f("/a/enc.key", secret)
	f("/a/drm.lic", secret)
	f("/a/keys.pgp", other)
	f("/a.ts/b", other)
	f("/", other)
	f("", other)
}

func TestClassify(t *testing.T) {
	f := func(path, contentType string, want class) {
		t.Helper()
		h := http.Header{}
		if contentType != "" {
			h.Set("Content-Type", contentType)
		}
		if got := classify(path, h); got != want {
			t.Errorf("classify(%q, %q) = %v, want %v", path, contentType, got, want)
		}
	}
	f("/stream", "application/vnd.apple.mpegurl", livePlaylist)
	f("/stream", "Application/VND.Apple.MPEGURL; charset=utf-8", livePlaylist)
	f("/stream", "application/x-mpegURL", livePlaylist)
	f("/stream", "audio/mpegurl", livePlaylist)
	f("/stream", "application/dash+xml;profiles=urn:mpeg:dash:profile:isoff-live:2011", liveMPD)
	f("/stream", "video/mp2t", segment)
	f("/stream", "audio/aac", segment)
	f("/stream", "text/vtt; charset=utf-8", segment)
	f("/stream", "application/mp4", segment)
	f("/stream", "application/octet-stream", other)

	// types that say nothing, or something wrong
	f("/a.m4s", "application/octet-stream", segment)
	f("/a.m4s", "binary/octet-stream", segment)
	f("/a.m3u8", "text/plain", livePlaylist)
	f("/a.mpd", "text/xml", liveMPD)
	f("/a.ts", "text/vnd.trolltech.linguist", segment)
	f("/a.ts", "", segment)
	f("/a.ts", "nonsense;;", segment)

	// types that deny the extension
	f("/a.ts", "text/html; charset=utf-8", other)
	f("/a.m3u8", "application/json", other)
	f("/a.m3u8", "image/png", other)

	f("/a.key", "application/octet-stream", secret)
	f("/a.key", "video/mp4", secret)
	f("/a", "application/vnd.ms-playready.license+xml", secret)
	f("/a", "application/pgp-keys", other)
}

func TestBlocking(t *testing.T) {
	f := func(query string, msn int64, part int, skip string, ok bool) {
		t.Helper()
		gotMSN, gotPart, gotSkip, gotOK := blocking(query)
		if gotMSN != msn || gotPart != part || gotSkip != skip || gotOK != ok {
			t.Errorf("blocking(%q) = %d, %d, %q, %v, want %d, %d, %q, %v",
				query, gotMSN, gotPart, gotSkip, gotOK, msn, part, skip, ok)
		}
	}
	f("", 0, -1, "", false)
	f("token=1", 0, -1, "", false)
	f("_HLS_msn=12", 12, -1, "", true)
	f("_HLS_msn=0&_HLS_part=0", 0, 0, "", true)
	f("_HLS_msn=12&_HLS_part=3&_HLS_skip=YES&token=1", 12, 3, "YES", true)
	f("_HLS_skip=v2", 0, -1, "v2", false)
	f("_HLS_part=3", 0, -1, "", false) // the origin's to refuse
	f("_HLS_msn=", 0, -1, "", false)
	f("_HLS_msn=-1", 0, -1, "", false)
	f("_HLS_msn=12&_HLS_part=x", 0, -1, "", false)
	f("_HLS_msn=99999999999999999999", 0, -1, "", false)
	f("_HLS_msn=1%zz", 0, -1, "", false)
}

func FuzzBlocking(f *testing.F) {
	f.Add("_HLS_msn=12&_HLS_part=3&_HLS_skip=YES")
	f.Add("_HLS_msn=%31")
	f.Fuzz(func(t *testing.T, query string) {
		msn, part, _, ok := blocking(query)
		if ok && (msn < 0 || part < -1) || !ok && (msn != 0 || part != -1) {
			t.Errorf("blocking(%q) = %d, %d, %v", query, msn, part, ok)
		}
	})
}
