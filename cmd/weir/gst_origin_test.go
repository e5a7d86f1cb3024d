package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/proxy/origintest"
)

// python is Debian's: another one has no bindings of GStreamer.
const python = "/usr/bin/python3"

// A playedOrigin is an origin of some make, for players: what it has, and what it
// sees of them.
type playedOrigin struct {
	name      string
	url       string // rtsp://host:port
	live, vod string // paths
	seek      int    // s: where a key frame and a piece of sound begin at once, so that servers agree on it
	seen      func() seen
	players   int // that a test has sent
}

// seen is what an origin saw of its viewers.
type seen struct {
	Sessions    int            `json:"sessions"`    // now
	Connections int            `json:"connections"` // now
	Requests    map[string]int `json:"requests"`    // by method, ever
}

// ownOrigin runs an origin of ours until the test ends.
func ownOrigin(t *testing.T) *playedOrigin {
	t.Helper()
	o, err := origintest.New(origintest.Options{Addr: "127.0.0.1:0", UDP: true})
	if err != nil {
		t.Fatal(err)
	}
	background(t, o.Run)
	return &playedOrigin{name: "origintest", url: o.URL(), live: demoPath, vod: "/vod/clip", seek: 4, seen: func() seen {
		c := o.Counts()
		return seen{Sessions: c.Playing, Connections: c.Open, Requests: c.Requests}
	}}
}

// gstOrigin runs testdata/gstorigin.py until the test ends.
func gstOrigin(t *testing.T) *playedOrigin {
	t.Helper()
	needGst(t, "GstRtspServer")
	need(t, "ffmpeg")
	cmd := exec.Command(python, "testdata/gstorigin.py", longClip(t))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endGst(t, cmd, stdin) })
	p := &gstProcess{ask: stdin, answers: bufio.NewScanner(stdout)}
	addr, err := p.line()
	if err != nil {
		t.Fatal(err)
	}
	return &playedOrigin{name: "gst-rtsp-server", url: "rtsp://" + addr, live: "/live", vod: "/vod", seek: 16, seen: func() seen {
		s, err := p.seen()
		if err != nil {
			t.Error(err)
		}
		return s
	}}
}

// endGst ends the process as the end of its test would.
func endGst(t *testing.T, cmd *exec.Cmd, stdin io.Closer) {
	stdin.Close()
	late := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() }) //nolint:errcheck // Wait tells
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("gstorigin.py: %v", err)
	}
}

// longClip makes 24 s of origintest's clip: long enough that a seek is not near
// its end.
func longClip(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clip.mp4")
	out, err := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-stream_loop", "2", "-i", "../../proxy/origintest/clip.ts",
		"-c", "copy", "-movflags", "+faststart", file).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	return file
}

// needGst is need for what Python scripts play and serve with.
func needGst(t *testing.T, modules ...string) {
	t.Helper()
	script := "import gi\n"
	for _, m := range append(modules, "Gst") {
		script += fmt.Sprintf("gi.require_version(%q, '1.0')\n", m)
	}
	script += "from gi.repository import " + strings.Join(append(modules, "Gst"), ", ") + "\nGst.init(None)\n" +
		"assert all(map(Gst.ElementFactory.find, 'openh264enc avenc_aac qtdemux rtph264pay rtpmp4gpay playbin rtspsrc avdec_h264 avdec_aac'.split()))"
	if out, err := exec.Command(python, "-c", script).CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("GStreamer for Python is not installed with all that is used: %v\n%s", err, out)
		}
		t.Skip("GStreamer for Python is not installed (Debian: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 " +
			"gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav)")
	}
}

// A gstProcess is a running gstorigin.py.
type gstProcess struct {
	mu      sync.Mutex // over a question and its answer
	ask     io.Writer
	answers *bufio.Scanner
}

func (p *gstProcess) seen() (s seen, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintln(p.ask); err != nil {
		return s, fmt.Errorf("ask gstorigin.py: %w", err)
	}
	line, err := p.line()
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(line), &s)
}

func (p *gstProcess) line() (string, error) {
	if !p.answers.Scan() {
		return "", fmt.Errorf("gstorigin.py says no more: %w", io.ErrUnexpectedEOF)
	}
	return p.answers.Text(), nil
}
