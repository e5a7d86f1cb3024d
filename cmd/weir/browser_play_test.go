package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// players is where make deps puts the players that pages use.
const players = "../../build/players"

// browserPatience is how long a browser may take to start, and to play.
const browserPatience = 75 * time.Second

// TestBrowsers plays live and stored streams through a whole edge with hls.js and
// dash.js in Chromium, all at once. The page is of another origin than the edge,
// in the sense that browsers give the word.
func TestBrowsers(t *testing.T) {
	need(t, "ffmpeg")
	needBrowser(t)
	dir := t.TempDir()
	storedStreams(t, dir)
	liveStreams(t, dir)
	origin := tallied(t, &fileOrigin{dir})
	low := tallied(t, lowLatencyOrigin(t))
	edge := edgeOf(t, origin.url)
	wall := &wall{reports: make(chan namedReport, 1000), newest: map[string]*browserReport{}}
	f := func(name, kind, url string, seek float64) { wall.add(name, kind, url+"?token=page", seek) }
	f("hls.js stored", "hls", edge+"/stored/index.m3u8", 0.7)
	f("hls.js ranges", "hls", edge+"/ranges/index.m3u8", 0.7)
	f("hls.js live", "hls", edge+"/live/index.m3u8", 0)
	f("hls.js low latency", "hls", edgeOf(t, low.url)+"/cam/index.m3u8", 0)
	f("dash.js stored", "dash", edge+"/stored/stream.mpd", 0.7)
	f("dash.js ranges", "dash", edge+"/ranges/stream.mpd", 0.7)
	f("dash.js live", "dash", edge+"/live/stream.mpd", 0)
	browse(t, wall.serve(t))
	wall.await(t)
	for _, p := range wall.plays {
		t.Run(p.name, func(t *testing.T) { p.check(t, wall.newest[p.name]) })
	}
	for _, o := range []*talliedOrigin{origin, low} {
		o.noneOdd(t)
		o.onlyOnce(t, "segment or range", func(asked string) bool { return strings.Contains(asked, ".m4s") || strings.Contains(asked, ".mp4") })
	}
}

// A browserReport is what testdata/browser/player.js tells.
type browserReport struct {
	Done             bool
	Errors, Warnings []string // of the player; those it did not get over, and others
	Stalls           int      // that were none of seeking
	At, Duration     float64  // s
	First            float64  // where it began, s
	Played, Took     float64  // from there, s: of the stream, and by the clock
	Target           float64  // where it was told to seek to, s
	Had              bool     // it had that loaded before
	Landed           float64  // where it played on, s
	Frames, Dropped  int
}

// A wall is a page with several players on it.
type wall struct {
	plays []play // all, before it is served

	reports chan namedReport
	newest  map[string]*browserReport // by name
}

// A play is one player's task.
type play struct {
	name, query string
	seek        bool
}

type namedReport struct {
	name string
	browserReport
}

// serve serves the page until the test ends.
func (w *wall) serve(t *testing.T) (url string) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.page)
	mux.HandleFunc("POST /report", w.receive)
	mux.Handle("GET /", http.FileServer(http.Dir("testdata/browser")))
	for _, name := range []string{"hls.min.js", "dash.all.min.js"} {
		mux.HandleFunc("GET /"+name, func(rw http.ResponseWriter, r *http.Request) {
			http.ServeFile(rw, r, filepath.Join(players, name))
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// add hangs up one more player. seek is the part of the whole to seek to, 0 for
// none.
func (w *wall) add(name, kind, src string, seek float64) {
	q := url.Values{"name": {name}, "kind": {kind}, "src": {src}}
	if seek > 0 {
		q.Set("seek", fmt.Sprint(seek))
	}
	w.plays = append(w.plays, play{name, q.Encode(), seek > 0})
}

func (w *wall) page(rw http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(rw, `<!DOCTYPE html><meta charset="utf-8"><title>wall</title>`)
	for _, p := range w.plays {
		fmt.Fprintf(rw, "<iframe width=480 height=300 allow=autoplay src=\"player.html?%s\"></iframe>\n", strings.ReplaceAll(p.query, "&", "&amp;"))
	}
}

func (w *wall) receive(rw http.ResponseWriter, r *http.Request) {
	report := namedReport{name: r.URL.Query().Get("name")}
	if err := json.NewDecoder(r.Body).Decode(&report.browserReport); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case w.reports <- report:
	default: // the test is over
	}
}

// await returns when every player is done, or has met what it could not get over,
// or it has taken too long.
func (w *wall) await(t *testing.T) {
	t.Helper()
	ended := map[string]bool{}
	timeout := time.NewTimer(browserPatience)
	defer timeout.Stop()
	for len(ended) < len(w.plays) {
		select {
		case r := <-w.reports:
			w.newest[r.name] = &r.browserReport
			if r.Done || len(r.Errors) > 0 {
				ended[r.name] = true
			}
		case <-timeout.C:
			return // check tells who is not done
		}
	}
}

// check asserts that a player played on, and after a seek from there.
func (p *play) check(t *testing.T, r *browserReport) {
	t.Helper()
	if r == nil {
		t.Fatal("the page said nothing")
	}
	t.Logf("%+v", *r)
	if !r.Done || len(r.Errors) > 0 {
		t.Fatalf("not played to the end: %v", r.Errors)
	}
	if r.Played < 5 || r.Took > 3*r.Played {
		t.Errorf("played %.1f s in %.1f s, want 5 s or more in about the same time", r.Played, r.Took)
	}
	// A machine with much else to do shows few of the pictures.
	if r.Frames < 100 {
		t.Errorf("%d pictures in all, want 25 in each second", r.Frames)
	}
	if !p.seek {
		return
	}
	if r.Had {
		t.Errorf("had %.1f s loaded before it went there: nothing was sought", r.Target)
	}
	if off := r.Landed - r.Target; off < -0.5 || off > 0.5 || r.At < r.Landed+3 {
		t.Errorf("sought to %.1f s, played on from %.1f s to %.1f s, want 3 s from there", r.Target, r.Landed, r.At)
	}
}

// storedStreams makes a minute of HLS and DASH, with a file for each segment, and
// with segments that are ranges of one file.
func storedStreams(t *testing.T, dir string) {
	t.Helper()
	ffmpegMakes(t, dir, "-i", clipPath(t), "-c", "copy", "-bsf:a", "aac_adtstoasc", "clip.mp4") // a form that both can be made of
	f := func(name string, hls, dash []string) {
		mkdir(t, dir, name)
		ffmpegMakes(t, filepath.Join(dir, name), slices.Concat([]string{"-stream_loop", "-1", "-i", "../clip.mp4",
			"-t", "60", "-c", "copy", "-f", "hls", "-hls_time", "2", "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4"}, hls, []string{"index.m3u8",
			"-t", "60", "-c", "copy", "-f", "dash", "-seg_duration", "2"}, dash, []string{"stream.mpd"})...)
	}
	f("stored", []string{"-hls_segment_filename", "hls%d.m4s"},
		[]string{"-init_seg_name", "dashinit$RepresentationID$.m4s", "-media_seg_name", "dash$RepresentationID$-$Number$.m4s"})
	f("ranges", []string{"-hls_flags", "single_file", "-hls_segment_filename", "hls.m4s"},
		[]string{"-single_file", "1", "-single_file_name", "dash$RepresentationID$.mp4"})
}

// liveStreams makes HLS and DASH in real time until the test ends, and returns
// when there is something to play.
func liveStreams(t *testing.T, dir string) {
	t.Helper()
	mkdir(t, dir, "live")
	length := fmt.Sprint((browserPatience + 30*time.Second).Seconds())
	live := filepath.Join(dir, "live")
	spawnProgram(t, live, "ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", "../clip.mp4",
		"-t", length, "-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_list_size", "6", "-hls_flags", "delete_segments+temp_file",
		"-hls_segment_type", "fmp4", "-hls_segment_filename", "hls%d.m4s", "index.m3u8",
		"-t", length, "-c", "copy", "-f", "dash", "-seg_duration", "1", "-window_size", "8", "-extra_window_size", "8",
		"-init_seg_name", "dashinit$RepresentationID$.m4s", "-media_seg_name", "dash$RepresentationID$-$Number$.m4s", "stream.mpd")
	proxytest.Eventually(t, 30*time.Second, "four segments of a live stream", func() bool {
		_, hls := os.Stat(filepath.Join(live, "hls4.m4s"))
		_, dash := os.Stat(filepath.Join(live, "dash1-4.m4s"))
		return hls == nil && dash == nil
	})
}

func mkdir(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
		t.Fatal(err)
	}
}

// A fileOrigin serves a folder as nginx does.
type fileOrigin struct{ dir string }

func (o *fileOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kinds := map[string]string{".m3u8": "application/vnd.apple.mpegurl", ".mpd": "application/dash+xml", ".m4s": "video/iso.segment", ".mp4": "video/mp4"}
	name := filepath.Join(o.dir, filepath.FromSlash(filepath.Clean("/"+r.URL.Path)))
	info, err := os.Stat(name)
	kind := kinds[filepath.Ext(name)]
	if err != nil || kind == "" {
		http.NotFound(w, r)
		return
	}
	if *direct {
		w.Header().Set("Access-Control-Allow-Origin", "*")
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Etag", fmt.Sprintf(`"%x-%x"`, info.ModTime().Unix(), info.Size()))
	http.ServeFile(w, r, name)
}
