package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// TestPlayersSurviveKilledOrigins: what ffmpeg records plays, and its time never goes
// back; GStreamer goes on over UDP.
func TestPlayersSurviveKilledOrigins(t *testing.T) {
	need(t, "ffmpeg")
	need(t, "gst-launch-1.0")
	t.Parallel() // it mostly waits
	r := newRig(t, crowding{})
	recordings := []*recording{r.record(r.split, "tcp", "mkv"), r.record(r.split, "udp", "mp4"), r.record(r.relay, "tcp", "mp4"), r.record(r.relay, "udp", "mkv")}
	shows := []*showing{r.show(r.split), r.show(r.relay)}
	for _, rec := range recordings {
		proxytest.Eventually(t, 20*time.Second, "ffmpeg records", func() bool { return rec.size() > 100<<10 || rec.over() })
	}
	for _, s := range shows {
		s.more(50)
	}
	for i := range 2 {
		r.suffer(killed, i)
	}
	r.suffer(parted, 0)
	r.suffer(stopped, 1)
	for _, s := range shows {
		s.more(50)
		s.check()
	}
	for _, rec := range recordings {
		rec.check()
	}
}

// A recording is what ffmpeg makes of a live stream as it comes.
type recording struct {
	*process
	t    *testing.T
	name string
	from time.Time
}

func (r *rig) record(h *host, transport, container string) *recording {
	rec := &recording{t: r.t, name: filepath.Join(r.t.TempDir(), "recording."+container), from: time.Now()}
	rec.process = r.viewers.start("ffmpeg", "-nostdin", "-v", "warning", "-rtsp_transport", transport, "-i", "rtsp://"+h.addr+":8554/live/clock",
		"-c", "copy", "-flush_packets", "1", rec.name)
	return rec
}

func (rec *recording) size() int64 {
	info, err := os.Stat(rec.name)
	if err != nil {
		return 0
	}
	return info.Size()
}

// over reports whether ffmpeg has ended.
func (p *process) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (rec *recording) check() {
	t := rec.t
	t.Helper()
	took := time.Since(rec.from)
	if rec.over() {
		t.Errorf("ffmpeg has ended:\n%s", rec.log.String())
		return
	}
	rec.signal(os.Interrupt)
	<-rec.done
	// Of a burst at the start it says that time stamps are unset, with no edge failing.
	if said := rec.log.String(); strings.Contains(strings.ToLower(said), "monoton") {
		t.Errorf("ffmpeg records %s:\n%s", rec.name, tail(said))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-i", rec.name, "-vsync", "passthrough", "-enc_time_base", "-1", "-f", "null", "-").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s does not play: %v\n%s", rec.name, err, tail(string(out)))
	}
	for _, stream := range []string{"v", "a"} {
		times := packetTimes(t, ctx, rec.name, stream)
		for i := range times[1:] {
			if times[i+1] < times[i] {
				t.Errorf("%s: stream %s goes back from %v to %v", rec.name, stream, times[i], times[i+1])
			}
		}
		length := times[len(times)-1] - times[0]
		t.Logf("%s: stream %s has %d packets in %v of %v", filepath.Base(rec.name), stream, len(times), length, took)
		if length < took-5*time.Second {
			t.Errorf("%s: stream %s is %v long, of %v", rec.name, stream, length, took)
		}
	}
}

// A showing is GStreamer at a live stream, over UDP.
type showing struct {
	*process
	t *testing.T
}

func (r *rig) show(h *host) *showing {
	return &showing{r.viewers.start("gst-launch-1.0", "-v", "playbin", "uri=rtspu://"+h.addr+":8554/live/clock",
		"video-sink=fakesink name=video sync=true silent=false", "audio-sink=fakesink name=audio sync=true silent=false"), r.t}
}

func (s *showing) count() (pictures, sounds int) {
	text := s.log.String()
	return strings.Count(text, shownPicture), strings.Count(text, shownSound)
}

// more waits until it has shown so much more.
func (s *showing) more(n int) {
	s.t.Helper()
	v, a := s.count()
	proxytest.Eventually(s.t, playersHave, "GStreamer shows pictures and plays sound", func() bool {
		pictures, sounds := s.count()
		return pictures >= v+n && sounds >= a+n || s.over()
	})
}

func (s *showing) check() {
	s.t.Helper()
	text := s.log.String()
	if m := regexp.MustCompile(`(?m)^(ERROR|WARNING).*`).FindString(text); m != "" || s.over() {
		s.t.Errorf("gst-launch-1.0 ended: %v, %s\n%s", s.over(), m, tail(text))
	}
	v, a := s.count()
	s.t.Logf("GStreamer showed %d pictures and %d pieces of sound", v, a)
}
