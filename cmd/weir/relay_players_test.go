package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/proxy/proxytest"
)

// direct shows what players do without an edge: where a test fails then too, the
// edge has no part in it.
var direct = flag.Bool("direct", false, "TestRelayPlayers: ask the origins themselves, with no edge between")

// gop is the longest time between two key frames that the origins have.
const gop = 1.0 // s

// TestRelayPlayers plays live and on demand through a whole edge that relays,
// from our origin and from one of another make, with the players that people use.
// Those who can pause and seek do. Nothing may be left at the origin afterwards.
func TestRelayPlayers(t *testing.T) {
	f := func(make func(*testing.T) *playedOrigin) {
		o := make(t)
		url := o.url
		if !*direct {
			url = relayTo(t, o.url)
		}
		t.Run(o.name, func(t *testing.T) { playAll(t, o, url) })
		noneLeft(t, o)
	}
	f(ownOrigin)
	f(gstOrigin) // last, since it is skipped where it is not installed
}

// playAll runs every player over every transport.
func playAll(t *testing.T, o *playedOrigin, url string) {
	f := func(name string, play func(t *testing.T, transport string)) {
		for _, transport := range []string{"tcp", "udp"} {
			t.Run(name+"/"+transport, func(t *testing.T) {
				o.players++
				t.Parallel()
				play(t, transport)
			})
		}
	}
	f("ffmpeg/live", func(t *testing.T, transport string) { ffmpegLive(t, url+o.live, transport) })
	f("ffmpeg/seek", func(t *testing.T, transport string) { ffmpegSeeks(t, url+o.vod, transport, o.seek) })
	f("gstreamer/live", func(t *testing.T, transport string) { gstLive(t, url+o.live, transport) })
	f("gstreamer/seek", func(t *testing.T, transport string) { gstSeeks(t, url+o.vod, transport, o.seek) })
	f("viewer/seek", func(t *testing.T, transport string) { viewerSeeks(t, url+o.vod, transport, o.seek) })
}

// noneLeft asserts that every player was seen to leave, whether or not it said
// so to the edge.
func noneLeft(t *testing.T, o *playedOrigin) {
	t.Helper()
	if t.Failed() {
		return // who failed may have left any way
	}
	proxytest.Eventually(t, 10*time.Second, o.name+" has no session and no connection left", func() bool {
		s := o.seen()
		return s.Sessions == 0 && s.Connections == 0
	})
	if s := o.seen(); s.Requests["PLAY"] < o.players || s.Requests["TEARDOWN"] < o.players {
		t.Errorf("%s saw %v of %d players", o.name, s.Requests, o.players)
	}
}

// relayTo runs an edge that relays to the origin until the test ends.
func relayTo(t *testing.T, origin string) (url string) {
	t.Helper()
	c := newConfig("weir", os.Stderr)
	if err := c.parse([]string{"-mode", "passthrough", "-rtsp", "127.0.0.1:0", "-http", "", "-admin", "127.0.0.1:0", "-origin", origin}); err != nil {
		t.Fatal(err)
	}
	n, err := newNode(c, proxytest.Logger(t), zap.NewAtomicLevel())
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error { return n.run(ctx, nil) })
	return "rtsp://" + n.front.RTSPAddr().String()
}

// background runs a part until the test ends, and fails it if the part fails.
func background(t *testing.T, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// ffmpegLive decodes 4 s. Pictures begin with a key frame.
func ffmpegLive(t *testing.T, url, transport string) {
	f := framecrc(t, "-rtsp_transport", transport, "-i", url, "-t", "4")
	if f.complaints != "" {
		t.Errorf("ffmpeg: %s", f.complaints)
	}
	if v, a := len(f.at[0]), len(f.at[1]); v < 100-25*gop-4 || a < 180 {
		t.Errorf("ffmpeg decoded %d pictures and %d pieces of sound of 4 s, want 100 less up to a group, and 187", v, a)
	}
}

// ffmpegSeeks decodes 2.5 s from the position on: it plays from the begin, reads
// what there is, and seeks by PAUSE and PLAY with Range.
func ffmpegSeeks(t *testing.T, url, transport string, to int) {
	from, end := float64(to), float64(to)+2.5
	// Without -noaccurate_seek it would throw away what comes too early, and a
	// server that does not seek would go unnoticed.
	f := framecrc(t, "-noaccurate_seek", "-ss", strconv.Itoa(to), "-rtsp_transport", transport, "-i", url, "-copyts", "-to", fmt.Sprint(end))
	// Over UDP, ffmpeg sorts packets from before and after into one queue, and
	// complains of what is not there. So it does with no edge between.
	if f.complaints != "" && transport == "tcp" {
		t.Errorf("ffmpeg: %s", f.complaints)
	}
	inside := slices.DeleteFunc(slices.Clone(f.at[0]), func(at float64) bool { return at < from-0.001 || at > end })
	// The first picture after the seek has no time of its own.
	if len(inside) < 58 || len(f.at[0])-len(inside) > 2 || len(f.at[1]) < 110 {
		t.Errorf("ffmpeg decoded %d pictures of %v s to %v s, %d others, and %d pieces of sound; want 62, at most 2, and 117",
			len(inside), from, end, len(f.at[0])-len(inside), len(f.at[1]))
	}
}

// frames is what ffmpeg decoded.
type frames struct {
	at         map[int][]float64 // s, by stream
	complaints string
}

// framecrc decodes.
func framecrc(t *testing.T, args ...string) frames {
	t.Helper()
	need(t, "ffmpeg")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ffmpeg", slices.Concat([]string{"-nostdin", "-v", "warning"}, args, []string{"-f", "framecrc", "-"})...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, tail(stderr.String()))
	}
	f := frames{at: map[int][]float64{}, complaints: tail(stderr.String())}
	tick := map[int]float64{} // s, by stream
	for line := range strings.Lines(string(out)) {
		var stream, stamp, num, den int
		if n, _ := fmt.Sscanf(line, "#tb %d: %d/%d", &stream, &num, &den); n == 3 {
			tick[stream] = float64(num) / float64(den)
		}
		if n, _ := fmt.Sscanf(line, "%d, %d,", &stream, &stamp); n == 2 {
			f.at[stream] = append(f.at[stream], float64(stamp)*tick[stream])
		}
	}
	return f
}

// A gstPlay is what testdata/gstplayer.py tells of one step of playing.
type gstPlay struct {
	Video, Audio int
	First, Last  float64 // position of a picture, s
	Gap          float64 // the longest between two pictures, s
	Lost         int     // RTP packets, by then
}

// gstSteps has playbin do some steps.
func gstSteps(t *testing.T, url, transport string, steps ...string) []gstPlay {
	t.Helper()
	needGst(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	uri := strings.Replace(url, "rtsp:", "rtsp"+transport[:1]+":", 1)
	cmd := exec.CommandContext(ctx, python, append([]string{"testdata/gstplayer.py", uri}, steps...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("gstplayer.py: %v\n%s%s", err, out, tail(stderr.String()))
	}
	var plays []gstPlay
	if err := json.Unmarshal(out, &plays); err != nil {
		t.Fatalf("gstplayer.py: %v in %s", err, out)
	}
	return plays
}

// gstLive plays, pauses, and plays on.
func gstLive(t *testing.T, url, transport string) {
	p := gstSteps(t, url, transport, "play=3", "pause=1", "play=2")
	if p[0].Video < 75-25*gop-3 || p[0].Audio < 130 || p[0].Lost > 0 || p[0].Gap > 0.2 {
		t.Errorf("3 s: %+v, want 75 pictures less up to a group, 140 pieces of sound, and no gap", p[0])
	}
	if p[1].Video < 50-25*gop-3 || p[1].Audio < 85 {
		t.Errorf("2 s after a pause: %+v, want 50 pictures less up to a group and 93 pieces of sound", p[1])
	}
}

// gstSeeks plays from the begin, pauses, plays on, and seeks while it plays. Over
// UDP its jitter buffer counts the numbers that a seek leaves out as lost, as many
// with no edge between (1.22).
func gstSeeks(t *testing.T, url, transport string, to int) {
	p := gstSteps(t, url, transport, "play=1", "pause=1", "play=1", "seek="+strconv.Itoa(to), "play=1")
	f := func(what string, p gstPlay, from, within float64) {
		t.Helper()
		if d := p.First - from; d < -within || d > within || p.Video < 23 || p.Audio < 42 || p.Gap > 0.1 || p.Lost > 0 && (transport == "tcp" || what != "after a seek") {
			t.Errorf("1 s %s: %+v, want that it begins within %v s of %.3f s, with 25 pictures, 46 pieces of sound, and no gap", what, p, within, from)
		}
	}
	f("from the begin", p[0], 0, 0.1)
	f("after a pause", p[1], p[0].Last, 0.1)
	f("after a seek", p[2], float64(to), gop)
}
