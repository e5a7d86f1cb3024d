package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/proxy/origintest"
	"weir/proxy/proxytest"
	"weir/splitter"
)

// playersHave is how long real players may take for ten seconds of pictures and
// sound: GStreamer holds back 2 s, and the machine may have much to do.
const playersHave = time.Minute

// TestPlayers plays live through a whole edge with the players that people use.
func TestPlayers(t *testing.T) {
	n, _ := startEdge(t)
	url := "rtsp://" + n.front.RTSPAddr().String() + demoPath
	for _, transport := range []string{"tcp", "udp"} {
		t.Run("ffmpeg/"+transport, func(t *testing.T) {
			t.Parallel()
			ffmpegPlays(t, url, transport)
		})
		t.Run("gstreamer/"+transport, func(t *testing.T) {
			t.Parallel()
			gstreamer(t, url, transport, 250, 468, nil)
		})
	}
}

// TestPlayerSurvivesOutage: the source is away for a second and a half, and
// GStreamer over UDP goes on as if nothing had been.
func TestPlayerSurvivesOutage(t *testing.T) {
	t.Parallel()
	n, origin := startEdge(t)
	url := "rtsp://" + n.front.RTSPAddr().String() + demoPath
	gstreamer(t, url, "udp", 200, 370, func() {
		feed := func() splitter.FeedStatus {
			for _, p := range n.parts {
				if st, ok := p.Part.Status().(splitter.Status); ok && len(st.Feeds) == 1 {
					return st.Feeds[0]
				}
			}
			return splitter.FeedStatus{}
		}
		proxytest.Eventually(t, 5*time.Second, "feed up", func() bool { return feed().State == "up" && feed().SinceS > 3 })
		origin.Die()
		died := time.Now()
		proxytest.Eventually(t, 3*time.Second, "outage", func() bool { return time.Since(died) > 1500*time.Millisecond })
		if err := origin.Revive(); err != nil {
			t.Error(err)
		}
		proxytest.Eventually(t, 3*time.Second, "feed up again", func() bool { return feed().State == "up" && feed().Pulls == 2 })
	})
}

// startEdge runs an edge, with more flags, and its origin in this process until
// the test ends.
func startEdge(t *testing.T, more ...string) (*node, *origintest.Origin) {
	t.Helper()
	origin, err := origintest.New(origintest.Options{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	c := newConfig("weir", os.Stderr)
	err = c.parse(append([]string{"-rtsp", "127.0.0.1:0", "-http", "", "-admin", "127.0.0.1:0", "-splitter.udp", "127.0.0.1:0", "-origin", origin.URL()}, more...))
	if err != nil {
		t.Fatal(err)
	}
	n, err := newNode(c, proxytest.Logger(t), zap.NewAtomicLevel())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- origin.Run(ctx) }()
	go func() { done <- n.run(ctx, nil) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	return n, origin
}

// need skips a test where a program is missing. make test installs it where it
// may; in CI its absence is a failure.
func need(t *testing.T, program string) {
	t.Helper()
	_, err := exec.LookPath(program)
	if err == nil && program == "gst-launch-1.0" {
		for _, element := range []string{"playbin", "rtspsrc", "rtph264depay", "rtpmp4gdepay", "h264parse", "avdec_h264", "avdec_aac"} {
			err = errors.Join(err, exec.Command("gst-inspect-1.0", "--exists", element).Run())
		}
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed with all that is played with", program)
		}
		t.Skipf("%s is not installed (Debian: apt-get install ffmpeg gstreamer1.0-tools gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav)", program)
	}
}

// ffmpegPlays decodes all, and counts it.
func ffmpegPlays(t *testing.T, url, transport string) {
	need(t, "ffmpeg")
	ctx, cancel := context.WithTimeout(context.Background(), playersHave)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "warning", "-rtsp_transport", transport, "-i", url,
		"-t", "10", "-f", "framecrc", "-")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Errorf("ffmpeg: %v\n%s", err, stderr.String())
	}
	frames := map[string]int{}
	for line := range strings.Lines(string(out)) {
		track, _, _ := strings.Cut(line, ",")
		frames[track]++
	}
	if frames["0"] < 240 || frames["1"] < 450 {
		t.Errorf("ffmpeg decoded %d pictures and %d pieces of sound of 10 s, want about 250 and 470", frames["0"], frames["1"])
	}
}

// gstreamer decodes and presents in time until it has shown that many pictures and
// pieces of sound; meanwhile runs beside it.
func gstreamer(t *testing.T, url, transport string, pictures, sounds int, meanwhile func()) {
	t.Helper()
	need(t, "gst-launch-1.0")
	ctx, cancel := context.WithTimeout(context.Background(), playersHave)
	defer cancel()
	// playbin links what rtspsrc brings as it comes; gst-launch's own linking of two
	// branches loses a race now and then. rtspt and rtspu name the transport.
	cmd := exec.CommandContext(ctx, "gst-launch-1.0", "-v", "playbin",
		"uri="+strings.Replace(url, "rtsp:", "rtsp"+transport[:1]+":", 1),
		"video-sink=fakesink name=video sync=true silent=false", "audio-sink=fakesink name=audio sync=true silent=false")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out := &shown{pictures: pictures, sounds: sounds, enough: cancel}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if meanwhile != nil {
		meanwhile()
	}
	if err := cmd.Wait(); err != nil && ctx.Err() == nil {
		t.Errorf("gst-launch-1.0: %v", err)
	}
	text := out.text.String()
	if m := regexp.MustCompile(`(?m)^(ERROR|WARNING).*`).FindString(text); m != "" {
		t.Errorf("gst-launch-1.0: %s\n%s", m, tail(text))
	}
	if v, a := strings.Count(text, shownPicture), strings.Count(text, shownSound); v < pictures || a < sounds {
		t.Errorf("%d pictures and %d pieces of sound in %v, want %d and %d:\n%s", v, a, playersHave, pictures, sounds, tail(text))
	}
}

// What GStreamer says of each.
const (
	shownPicture = "GstFakeSink:video: last-message = chain"
	shownSound   = "GstFakeSink:audio: last-message = chain"
)

// shown is what a player says, until it has shown enough.
type shown struct {
	text             bytes.Buffer
	pictures, sounds int
	enough           func()
}

func (s *shown) Write(b []byte) (int, error) {
	s.text.Write(b)
	said := s.text.Bytes()
	if bytes.Count(said, []byte(shownPicture)) >= s.pictures && bytes.Count(said, []byte(shownSound)) >= s.sounds {
		s.enough()
	}
	return len(b), nil
}

func tail(s string) string { return s[max(0, len(s)-2000):] }
