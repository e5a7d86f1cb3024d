package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeSite answers in no time, by a clock that does not go on while it works.
type fakeSite struct {
	began time.Time
	asked []string // second, path and range of each request
	// answer returns a body, or "404 Not Found" and the like; it may take time.
	answer func(ctx context.Context, at time.Duration, path string) string
}

// RoundTrip implements http.RoundTripper.
func (s *fakeSite) RoundTrip(r *http.Request) (*http.Response, error) {
	at := time.Since(s.began)
	s.asked = append(s.asked, strings.TrimSpace(fmt.Sprintf("%v%s %s", at, r.URL.RequestURI(), strings.TrimPrefix(r.Header.Get("Range"), "bytes="))))
	if c, err := r.Cookie("viewer"); len(s.asked) > 1 && (err != nil || c.Value != "1") {
		return nil, errors.New("the cookie has not come back")
	}
	body := s.answer(r.Context(), at, r.URL.Path)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	rec.Header().Set("Set-Cookie", "viewer=1; Path=/")
	var status int
	if n, _ := fmt.Sscanf(body, "%d ", &status); n == 1 {
		rec.WriteHeader(status)
	} else if r.Header.Get("Range") != "" {
		rec.WriteHeader(http.StatusPartialContent)
	}
	io.WriteString(rec, body) //nolint:errcheck // it is kept
	res := rec.Result()
	res.Request = r
	return res, nil
}

// views lets one viewer view for a time, in a bubble, and returns what he saw.
func (s *fakeSite) views(t *testing.T, path string, length time.Duration) (saw loadSeen, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s.began, s.asked = time.Now(), nil
		seat := loadOf(t, "http://site.example"+path).seat(0).(*httpSeat)
		seat.client.Transport = s
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		err = seat.watch(ctx)
		saw = seat.seen()
	})
	return saw, err
}

func (s *fakeSite) check(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(s.asked, want) {
		t.Errorf("asked for\n%s\nwant\n%s", strings.Join(s.asked, "\n"), strings.Join(want, "\n"))
	}
}

// sliding is a live playlist of three segments of 4 s each, number 9 the last one
// at the begin, and one more after 5 s, 9 s, 13 s …
func sliding(at time.Duration) string {
	last := 9 + int((at-time.Second)/(4*time.Second))
	var b strings.Builder
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:%d\n", last-2)
	for i := last - 2; i <= last; i++ {
		fmt.Fprintf(&b, "#EXTINF:4,\n%d.ts\n", i)
	}
	return b.String()
}

// TestLoadPlaysLive begins three target durations before the end, reloads after one,
// or half of one where nothing is new, and plays on after what came too late.
func TestLoadPlaysLive(t *testing.T) {
	site := &fakeSite{answer: func(ctx context.Context, at time.Duration, path string) string {
		switch path {
		case "/live.m3u8":
			return sliding(at)
		case "/11.ts": // is to be played after 16 s
			sleep(ctx, 20*time.Second)
		}
		return "media"
	}}
	saw, err := site.views(t, "/live.m3u8?token=x", 33*time.Second)
	site.check(t, "0s/live.m3u8?token=x", "0s/7.ts", "0s/8.ts", "0s/9.ts",
		"4s/live.m3u8?token=x",
		"6s/live.m3u8?token=x", "6s/10.ts",
		"10s/live.m3u8?token=x", "10s/11.ts",
		"30s/live.m3u8?token=x", "30s/14.ts", "30s/15.ts", "30s/16.ts")
	if err != nil || saw.segments != 8 || saw.missed != 2 || saw.late != 1 || saw.waited != 14*time.Second || saw.errors.total() != 0 || saw.requests != 13 {
		t.Errorf("%+v %v, want 8 segments, 2 missed, and one 14 s late", saw, err)
	}
}

// TestLoadStarves: a playlist that does not go on is a stall while it lasts.
func TestLoadStarves(t *testing.T) {
	site := &fakeSite{answer: func(_ context.Context, _ time.Duration, path string) string {
		if path == "/live.m3u8" {
			return sliding(0)
		}
		return "media"
	}}
	saw, err := site.views(t, "/live.m3u8", 20*time.Second)
	if err != nil || saw.segments != 3 || saw.late != 1 || saw.waited != 8*time.Second {
		t.Errorf("%+v %v, want 3 segments of 4 s, and 8 s of waiting", saw, err)
	}
}

// TestLoadPlaysStored plays the variant of most bits a second from begin to end, by
// ranges, initialised once, 30 s ahead, and then once more.
func TestLoadPlaysStored(t *testing.T) {
	has := map[string]string{
		"/main.m3u8": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=9\nhigh/list.m3u8\n" +
			"#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=10,URI=\"iframes.m3u8\"\n",
		"/high/list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:20\n#EXT-X-MAP:URI=\"i.mp4\",BYTERANGE=\"7@3\"\n" +
			"#EXTINF:20,\n#EXT-X-BYTERANGE:10@100\n/all.mp4\n#EXTINF:20,\n#EXT-X-BYTERANGE:20\n/all.mp4\n" +
			"#EXT-X-GAP\n#EXTINF:20,\ngap.mp4\n#EXT-X-MAP:URI=\"j.mp4\"\n#EXTINF:20,\nlast.mp4\n#EXT-X-ENDLIST\n",
	}
	site := &fakeSite{answer: func(_ context.Context, _ time.Duration, path string) string { return has[path] }}
	saw, err := site.views(t, "/main.m3u8", time.Minute+time.Second)
	site.check(t, "0s/main.m3u8", "0s/high/list.m3u8", "0s/high/i.mp4 3-9", "0s/all.mp4 100-109", "0s/all.mp4 110-129",
		"10s/high/j.mp4", "10s/high/last.mp4",
		"1m0s/high/list.m3u8", "1m0s/high/i.mp4 3-9", "1m0s/all.mp4 100-109", "1m0s/all.mp4 110-129")
	if err != nil || saw.segments != 5 || saw.late != 0 {
		t.Errorf("%+v %v, want 5 segments in time", saw, err)
	}
}

// TestLoadFails: what fails is tried again, but not for ever.
func TestLoadFails(t *testing.T) {
	f := func(path, want string, failed int, seconds time.Duration, answer func(at time.Duration, path string) string) {
		t.Helper()
		site := &fakeSite{answer: func(_ context.Context, at time.Duration, path string) string { return answer(at, path) }}
		saw, err := site.views(t, path, time.Minute)
		if fmt.Sprint(err) != want || saw.errors.total() != failed {
			t.Errorf("%s: %v, %d failed: %v, want %s, %d failed", path, err, saw.errors.total(), saw.errors, want, failed)
		}
		if last := site.asked[len(site.asked)-1]; !strings.HasPrefix(last, fmt.Sprint(seconds*time.Second)+"/") {
			t.Errorf("%s: ended with %s, want after %d s", path, last, seconds)
		}
	}
	always := func(s string) func(time.Duration, string) string {
		return func(time.Duration, string) string { return s }
	}
	one := "#EXTM3U\n#EXT-X-TARGETDURATION:60\n#EXTINF:60,\n1.ts\n#EXT-X-ENDLIST\n"
	f("/none.m3u8", "404 Not Found", 1, 0, always("404 Not Found"))
	f("/a.m3u8", "playlist not understood: cannot detect playlist type", 1, 0, always("<html>"))
	f("/a.m3u8", "a playlist without segments", 1, 0, always("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-ENDLIST\n"))
	f("/a.m3u8", "a playlist names what cannot be asked for", 1, 0, always(strings.Replace(one, "1.ts", "ftp://x/1", 1)))
	f("/a.m3u8", "a multivariant playlist lists another", 4, 3, always("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n"))
	f("/a.m3u8", "segment: 503 Service Unavailable", 4, 3, func(_ time.Duration, path string) string {
		if path == "/a.m3u8" {
			return one
		}
		return "503 Service Unavailable"
	})
	f("/a.m3u8", "segment: 200 OK to a request for a range", 4, 3, func(_ time.Duration, path string) string {
		if path == "/a.m3u8" {
			return strings.Replace(one, "1.ts", "#EXT-X-BYTERANGE:4@4\n1.ts", 1)
		}
		return "200 all of it"
	})
	f("/a.m3u8", "<nil>", 3, 3, func(at time.Duration, path string) string {
		if path == "/a.m3u8" {
			return one
		}
		if at < 3*time.Second {
			return "502 Bad Gateway"
		}
		return "media"
	})
	f("/a.ts", "503 Service Unavailable", 4, 8, func(at time.Duration, _ string) string {
		if at < 5*time.Second {
			sleep(context.Background(), 5*time.Second)
			return "media"
		}
		return "503 Service Unavailable"
	})
}

// TestLoadFileAgain: what is no playlist is fetched again and again.
func TestLoadFileAgain(t *testing.T) {
	site := &fakeSite{answer: func(ctx context.Context, _ time.Duration, _ string) string {
		sleep(ctx, time.Second)
		return "media"
	}}
	saw, err := site.views(t, "/a.ts", 3500*time.Millisecond)
	site.check(t, "0s/a.ts", "1s/a.ts", "2s/a.ts", "3s/a.ts")
	if err != nil || saw.requests != 3 || *quantilesOf(saw.took) != (quantiles{1000, 1000, 1000}) || saw.after != [loadMoments]time.Duration{0, time.Second, time.Second} {
		t.Errorf("%+v %v, want 3 requests of 1 s", saw, err)
	}
}

// FuzzLoadHLS: whatever a playlist says, a player knows what to do and for how long not
// to ask.
func FuzzLoadHLS(f *testing.F) {
	f.Add(sliding(0))
	f.Add("#EXTM3U\n#EXT-X-MAP:URI=\"i\",BYTERANGE=\"7\"\n#EXT-X-TARGETDURATION:99999999999\n#EXT-X-MAP:URI=\"i\"\n#EXTINF:1e99,\n#EXT-X-BYTERANGE:1\na\n#EXT-X-MAP:URI=\"j\"\n#EXTINF:nan,\nb\n")
	f.Add("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n")
	f.Fuzz(func(t *testing.T, body string) {
		base := loadOf(t, "http://h/x").url
		list, variant, err := readHLS(got{url: base, playlist: []byte(body)})
		switch {
		case err != nil:
		case (list == nil) == (variant == nil):
			t.Errorf("list %v, variant %v", list, variant)
		case list != nil:
			if d := list.reload(false); d < time.Second/2 || d > hlsLongest {
				t.Errorf("reload after %v", d)
			}
			if n := list.start() - list.first; n > uint64(len(list.segments)) {
				t.Errorf("start %d of %d", n, len(list.segments))
			}
			for _, s := range list.segments {
				if s.length < 0 || s.length > hlsLongest || s.url == nil {
					t.Errorf("segment %+v", s)
				}
			}
		}
	})
}

var _ http.RoundTripper = (*fakeSite)(nil)
