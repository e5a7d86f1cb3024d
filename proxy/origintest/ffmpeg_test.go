package origintest

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// tool runs a program of ffmpeg's and returns what it said.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, append([]string{"-v", "error"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestFFprobe(t *testing.T) {
	t.Parallel()
	o := run(t, Options{UDP: true})
	got := tool(t, "ffprobe", "-rtsp_transport", "tcp", "-analyzeduration", "500k",
		"-show_entries", "stream=codec_name,profile,width,sample_rate,channels:format=duration", "-of", "compact", o.URL()+"/vod/clip")
	for _, want := range []string{"codec_name=h264|profile=Main|width=640", "codec_name=aac|profile=LC|sample_rate=48000|channels=2", "duration=8.000000"} {
		if !strings.Contains(got, want) {
			t.Errorf("ffprobe does not say %s:\n%s", want, got)
		}
	}
}

// ffmpeg decodes without complaint, over both transports; the stored stream from
// where it was told to begin.
func TestFFmpeg(t *testing.T) {
	t.Parallel()
	o := run(t, Options{UDP: true})
	f := func(transport, path string, more ...string) {
		t.Helper()
		args := append(append([]string{"-xerror"}, more...), "-rtsp_transport", transport, "-analyzeduration", "500k", "-i", o.URL()+path, "-t", "1", "-f", "null", "-")
		begin := time.Now()
		if out := tool(t, "ffmpeg", args...); out != "" {
			t.Errorf("%s over %s: %s", path, transport, out)
		}
		t.Logf("%s over %s took %v", path, transport, time.Since(begin))
	}
	f("tcp", "/vod/clip", "-ss", "6.5")
	f("udp", "/live/radio")
}
