package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"weir/proxy/proxytest"
	"weir/proxy/rtp"
	"weir/proxy/viewer"
)

// A seeker is a viewer of a stored stream that knows where it is.
type seeker struct {
	*viewer.Viewer
	late     bool          // packets may come later than answers that follow them: it is UDP
	pictures atomic.Int64  // RTP packets of the first track
	stamp    atomic.Uint32 // of the latest of them
}

func (s *seeker) note(track int, pkt []byte) {
	if track == 0 {
		s.stamp.Store(rtp.Timestamp(pkt))
		s.pictures.Add(1)
	}
}

// told returns the position that the answer to PLAY tells, in seconds.
func (s *seeker) told(t *testing.T) (at float64) {
	t.Helper()
	r := s.PlayResponse().Header.Get("Range")
	if n, _ := fmt.Sscanf(r, "npt=%f-", &at); n != 1 {
		t.Fatalf("Range: %q", r)
	}
	return at
}

// at returns the position of the latest picture, by Range and RTP-Info.
func (s *seeker) at(t *testing.T) float64 {
	t.Helper()
	base := s.Tracks()[0].RTPTime
	if base == nil {
		t.Fatalf("no rtptime for %s in %q", s.Tracks()[0].Control, s.PlayResponse().Header.Get("RTP-Info"))
	}
	return s.told(t) + float64(int32(s.stamp.Load()-*base))/90000
}

// plays waits until that many seconds have been played since the position.
func (s *seeker) plays(t *testing.T, from, seconds float64) {
	t.Helper()
	first := s.pictures.Load()
	proxytest.Eventually(t, 10*time.Second, "a picture", func() bool { return s.pictures.Load() > first })
	near := func() bool { return math.Abs(s.at(t)-from) <= gop }
	if s.late {
		proxytest.Eventually(t, 2*time.Second, fmt.Sprintf("a picture near %.3f s", from), near)
	} else if !near() {
		t.Errorf("it plays from %.3f s on, want within a group of pictures of %.3f s", s.at(t), from)
	}
	proxytest.Eventually(t, 10*time.Second, fmt.Sprintf("%v s played", seconds), func() bool { return s.at(t) >= from+seconds })
}

// rests asserts that nothing comes any more.
func (s *seeker) rests(t *testing.T) {
	t.Helper()
	last, since := s.pictures.Load(), time.Now()
	proxytest.Eventually(t, 5*time.Second, "half a second of silence", func() bool {
		if n := s.pictures.Load(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
}

// viewerSeeks plays, pauses, plays on, and seeks with and without a pause before,
// and knows at any time where it is by what it was told. Nothing is lost, but for
// what a server leaves out when it is not paused before it is sought.
func viewerSeeks(t *testing.T, url, transport string, to int) {
	s := &seeker{late: transport == "udp"}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	v, err := viewer.Open(ctx, viewer.Options{URL: url, Transport: transport, OnPacket: s.note})
	if err != nil {
		t.Fatal(err)
	}
	s.Viewer = v
	run, leave := context.WithCancel(ctx)
	defer leave()
	done := make(chan error, 1)
	go func() { done <- v.Run(run) }()

	s.plays(t, 0, 1)
	must(t, s.Pause(ctx))
	s.rests(t)
	paused := s.at(t)
	must(t, s.Play(ctx, ""))
	s.plays(t, paused, 0.5)
	lost := s.Stats().Lost
	must(t, s.Play(ctx, "npt="+strconv.Itoa(to)+"-"))
	s.plays(t, float64(to), 1)
	leftOut := s.Stats().Lost - lost
	must(t, s.Pause(ctx))
	s.rests(t)
	must(t, s.Play(ctx, "npt=0-"))
	s.plays(t, 0, 0.5)

	leave()
	must(t, <-done)
	if st := s.Stats(); st.Lost > leftOut || leftOut > 10 || st.Reordered > 0 && transport == "tcp" {
		t.Errorf("%+v, of which %d were lost when it sought, want that nothing is", st, leftOut)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
