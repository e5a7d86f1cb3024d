package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A slidingStream is a live HLS stream: of the segments that there are, one more
// is published each target duration, and the playlist has the newest few.
type slidingStream struct {
	segments [][]byte
	target   time.Duration
	window   int       // segments in the playlist; so many are there at the begin
	began    time.Time // when the handler was made
	control  string    // Cache-Control of the playlist, "" for none
}

// newSlidingStream makes a stream that lasts for a time after its begin.
func newSlidingStream(t *testing.T, target, length time.Duration) *slidingStream {
	t.Helper()
	s := &slidingStream{target: target, window: 5}
	n := s.window + int(length/target) + 1
	dir := t.TempDir()
	ffmpegMakes(t, dir, "-stream_loop", "-1", "-i", clipPath(t), "-t", fmt.Sprint(float64(n)*target.Seconds()), "-c", "copy",
		"-f", "hls", "-hls_time", fmt.Sprint(target.Seconds()), "-hls_list_size", "0", "-hls_segment_filename", "%d.ts", "index.m3u8")
	for i := range n {
		b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.ts", i)))
		if err != nil {
			t.Fatal(err)
		}
		s.segments = append(s.segments, b)
	}
	s.began = time.Now()
	return s
}

// published is when the playlist got a segment.
func (s *slidingStream) published(segment int) time.Time {
	return s.began.Add(time.Duration(segment-s.window+1) * s.target)
}

// newest is the last segment in the playlist.
func (s *slidingStream) newest(now time.Time) int {
	return min(s.window-1+int(now.Sub(s.began)/s.target), len(s.segments)-1)
}

// ServeHTTP answers /live/index.m3u8 and /live/N.ts as nginx does with files.
func (s *slidingStream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if *direct {
		w.Header().Set("Access-Control-Allow-Origin", "*")
	}
	last := s.newest(time.Now())
	if r.URL.Path == "/live/index.m3u8" {
		if s.control != "" {
			w.Header().Set("Cache-Control", s.control)
		}
		s.file(w, r, "application/vnd.apple.mpegurl", last, s.playlist(last))
		return
	}
	var i int
	if _, err := fmt.Sscanf(r.URL.Path, "/live/%d.ts", &i); err != nil || i < 0 || i > last {
		http.NotFound(w, r)
		return
	}
	s.file(w, r, "video/mp2t", i, s.segments[i])
}

func (s *slidingStream) file(w http.ResponseWriter, r *http.Request, kind string, made int, b []byte) {
	at := s.published(made)
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Etag", fmt.Sprintf(`"%x-%x"`, at.UnixMilli(), len(b)))
	http.ServeContent(w, r, "", at, bytes.NewReader(b))
}

func (s *slidingStream) playlist(last int) []byte {
	first := last - s.window + 1
	var b bytes.Buffer
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:%.0f\n#EXT-X-MEDIA-SEQUENCE:%d\n", s.target.Seconds(), first)
	for i := first; i <= last; i++ {
		fmt.Fprintf(&b, "#EXTINF:%.6f,\n%d.ts\n", s.target.Seconds(), i)
	}
	return b.Bytes()
}
