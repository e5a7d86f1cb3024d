package main

import (
	"bufio"
	"context"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/proxy/proxytest"
	"weir/proxy/rtp"
	"weir/proxy/viewer"
)

// TestStartIsLive: a player that shows every picture at its time gets the last key
// frame at once, and is at the live edge when it has shown what followed.
func TestStartIsLive(t *testing.T) {
	need(t, "gst-launch-1.0")
	n, _ := startEdge(t)
	url := "rtsp://" + n.front.RTSPAddr().String() + demoPath
	half := halfway(t, url)
	for range 8 { // the player takes a while to start: it may hit upon the next key frame
		<-half
		shown, firstAfter := shownAt(t, url)
		burst := 0
		for burst < len(shown) && shown[burst] < 30*time.Millisecond {
			burst++
		}
		if burst < 5 || len(shown) < 70 {
			continue
		}
		last := len(shown) - 1
		late := shown[last] - time.Duration(last-burst+1)*40*time.Millisecond
		t.Logf("first picture %v after PLAY, %d at once, then %v behind", firstAfter, burst, late)
		if late > 100*time.Millisecond {
			t.Errorf("late by %v; %d pictures came at once", late, burst)
		}
		return
	}
	t.Error("the player never began in the middle of a group")
}

// halfway tells, again and again, that a group of pictures is half over. It is a
// viewer of its own.
func halfway(t *testing.T, url string) <-chan struct{} {
	t.Helper()
	half := make(chan struct{})
	pictures := 0
	ctx, cancel := context.WithCancel(context.Background())
	v, err := viewer.Open(ctx, viewer.Options{URL: url, Timeout: 10 * time.Second, OnPacket: func(track int, pkt []byte) {
		if track != 0 || !rtp.Marker(pkt) {
			return
		}
		if pictures++; rtp.H264.IsKey(rtp.Payload(pkt)) {
			pictures = 0
		}
		if pictures == 8 {
			select {
			case half <- struct{}{}:
			default:
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); v.Run(ctx) }() //nolint:errcheck // it is cancelled
	t.Cleanup(func() { cancel(); <-done })
	proxytest.Eventually(t, 10*time.Second, "pictures", func() bool { return v.Stats().Packets > 0 })
	return half
}

// shownAt plays a while, and returns when each picture was to be shown, from the
// first packet on.
func shownAt(t *testing.T, url string) (at []time.Duration, firstAfterPlay time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "gst-launch-1.0", "-v", "rtspsrc", "location="+url, "latency=0", "protocols=tcp", "name=s",
		"s.", "!", "application/x-rtp,media=video", "!", "rtph264depay", "!", "h264parse", "!", "avdec_h264", "max-threads=1", "!",
		"fakesink", "sync=true", "silent=false", "num-buffers=75")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pts := regexp.MustCompile(`chain.*pts: 0:00:(\d+\.\d+)`)
	var play time.Time
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "PLAY request") {
			play = time.Now()
		}
		m := pts.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		if len(at) == 0 {
			firstAfterPlay = time.Since(play)
		}
		s, _ := strconv.ParseFloat(m[1], 64)
		at = append(at, time.Duration(s*float64(time.Second)))
	}
	cmd.Wait() //nolint:errcheck // what was shown is looked at
	return at, firstAfterPlay
}
