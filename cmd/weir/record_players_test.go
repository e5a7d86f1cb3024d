package main

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/proxy/proxytest"
	"weir/splitter"
)

// TestRecordingThroughOutage: ffmpeg records while the source is away for three
// seconds. It is not disconnected, the recording plays, and its time never goes back.
func TestRecordingThroughOutage(t *testing.T) {
	need(t, "ffmpeg")
	t.Parallel()
	n, origin := startEdge(t)
	url := "rtsp://" + n.front.RTSPAddr().String() + demoPath
	name := filepath.Join(t.TempDir(), "recording.mkv")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-rtsp_transport", "tcp", "-i", url, "-t", "10", "-c", "copy", name)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	feed := func() splitter.FeedStatus {
		for _, p := range n.parts {
			if st, ok := p.Part.Status().(splitter.Status); ok && len(st.Feeds) == 1 {
				return st.Feeds[0]
			}
		}
		return splitter.FeedStatus{}
	}
	proxytest.Eventually(t, 20*time.Second, "ffmpeg records", func() bool { return feed().State == "up" && feed().SinceS > 3 })
	origin.Die()
	died := time.Now()
	proxytest.Eventually(t, 10*time.Second, "three seconds", func() bool { return time.Since(died) > 3*time.Second })
	if err := origin.Revive(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil || said.Len() > 0 {
		t.Errorf("ffmpeg records: %v\n%s", err, said.String())
	}
	if out, err := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-i", name, "-f", "null", "-").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("the recording does not play: %v\n%s", err, out)
	}
	for _, stream := range []string{"v", "a"} {
		times := packetTimes(t, ctx, name, stream)
		for i := range times[1:] {
			if times[i+1] < times[i] {
				t.Errorf("stream %s goes back from %v to %v", stream, times[i], times[i+1])
			}
		}
		if last := times[len(times)-1]; last < 9*time.Second {
			t.Errorf("stream %s ends after %v", stream, last)
		}
	}
}

// packetTimes are those at which a stream of a file is decoded.
func packetTimes(t *testing.T, ctx context.Context, name, stream string) (times []time.Duration) {
	t.Helper()
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-select_streams", stream, "-show_entries", "packet=dts_time", "-of", "csv=p=0", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Fields(string(out)) {
		if s, err := strconv.ParseFloat(strings.Trim(line, ","), 64); err == nil {
			times = append(times, time.Duration(s*float64(time.Second)))
		}
	}
	if len(times) < 100 {
		t.Fatalf("%d packets in stream %s", len(times), stream)
	}
	return times
}
