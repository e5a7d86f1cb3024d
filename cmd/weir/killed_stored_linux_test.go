package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"testing"
	"time"

	"weir/proxy/origintest"
	"weir/proxy/rtp"
	"weir/proxy/viewer"
)

// A clipIndex tells a picture's position in the origins' clip by what is in its
// packets. It is learnt by watching the clip from an origin to which nothing happens.
type clipIndex struct {
	seed  maphash.Seed
	ready chan struct{} // closed when at and end are there

	at  map[uint64]float64 // s; NaN for a packet that there is twice
	end float64            // position of the last picture
}

// learnClip watches in the background; it takes as long as the clip.
func learnClip(t *testing.T) *clipIndex {
	t.Helper()
	o, err := origintest.New(origintest.Options{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	background(t, o.Run)
	x := &clipIndex{seed: maphash.MakeSeed(), ready: make(chan struct{}), at: map[uint64]float64{}}
	s := &storedViewer{index: x}
	background(t, func(ctx context.Context) error {
		defer close(x.ready)
		v, err := viewer.Open(ctx, viewer.Options{URL: o.URL() + "/vod/clip", OnPacket: s.packet})
		if err != nil {
			return err
		}
		if err := v.Run(ctx); !errors.Is(err, viewer.ErrBye) {
			return err // nil if the test has ended before
		}
		x.learn(s.came, *v.Tracks()[0].RTPTime)
		return nil
	})
	return x
}

func (x *clipIndex) learn(came []storedPacket, base uint32) {
	for _, p := range came {
		at := float64(int32(p.stamp-base)) / 90000
		if old, twice := x.at[p.hash]; twice && old != at {
			at = math.NaN()
		}
		x.at[p.hash] = at
		x.end = float64(int32(p.stamp-base)) / 90000
	}
}

// A storedViewer watches the clip from a position on to its end.
type storedViewer struct {
	index *clipIndex
	from  float64

	pauses <-chan struct{} // when it pauses and plays on; nil for never

	mu    sync.Mutex
	came  []storedPacket // of the pictures
	any   pause
	plays []storedPlay
	err   error // why it ended
}

// A storedPlay is an answer to PLAY.
type storedPlay struct {
	at   time.Time
	told float64 // the position,
	base uint32  // and the time stamp there
}

// A storedPacket is what is remembered of a packet.
type storedPacket struct {
	hash  uint64
	stamp uint32
	came  time.Time
}

func (s *storedViewer) packet(track int, pkt []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.any.note(now)
	if track == 0 {
		s.came = append(s.came, storedPacket{maphash.Bytes(s.index.seed, rtp.Payload(pkt)), rtp.Timestamp(pkt), now})
	}
}

// watch plays from the position on, until the clip is over.
func (s *storedViewer) watch(ctx context.Context, h *host, transport, url string) {
	err := s.play(ctx, h, transport, url)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *storedViewer) play(ctx context.Context, h *host, transport, url string) error {
	v, err := h.open(ctx, viewer.Options{URL: url, Transport: transport, OnPacket: s.packet})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	if err := s.seek(ctx, v, fmt.Sprintf("npt=%.3f-", s.from)); err != nil {
		v.Close()
		<-done
		return err
	}
	select {
	case err := <-done:
		return err
	case <-s.pauses:
	}
	if err := s.seek(ctx, v, ""); err != nil && ctx.Err() == nil {
		return errors.Join(err, <-done)
	}
	return <-done
}

// seek pauses before it plays, as players do: else a PLAY might have to wait for its
// turn (RFC 2326 §10.5).
func (s *storedViewer) seek(ctx context.Context, v *viewer.Viewer, to string) error {
	if err := v.Pause(ctx); err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	if err := v.Play(ctx, to); err != nil {
		return fmt.Errorf("play %s: %w", to, err)
	}
	p := storedPlay{at: time.Now()}
	n, _ := fmt.Sscanf(v.PlayResponse().Header.Get("Range"), "npt=%f-", &p.told)
	base := v.Tracks()[0].RTPTime
	if n != 1 || base == nil {
		return fmt.Errorf("play %s answered with %v", to, v.PlayResponse().Header)
	}
	p.base = *base
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plays = append(s.plays, p)
	return nil
}

// steady reports whether it has played for a while since it sought.
func (s *storedViewer) steady() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil || len(s.plays) > 0 && time.Since(s.plays[0].at) > 700*time.Millisecond && time.Since(s.any.last) < lull
}

// A storedResult is what was wrong with the time of a viewer, in seconds.
type storedResult struct {
	off      float64 // the most that a picture was away from where its time stamp says
	offAgain float64 // and after another PLAY
	repeated float64 // the longest step back
	skipped  float64 // and forward, beyond one picture
	silence  time.Duration
	err      error
}

// result is to be asked when watch has returned.
func (s *storedViewer) result() (r storedResult) {
	<-s.index.ready
	last, r := math.NaN(), storedResult{silence: s.any.gap, err: s.err}
	if errors.Is(r.err, viewer.ErrBye) {
		r.err = nil
	}
	for _, p := range s.came {
		at, known := s.index.at[p.hash]
		n := s.playOf(p)
		if n < 0 || math.IsNaN(at) {
			continue
		}
		if !known {
			r.err = errors.Join(r.err, errors.New("a packet that is not the clip's"))
			return r
		}
		off := math.Abs(at - s.plays[n].told - float64(int32(p.stamp-s.plays[n].base))/90000)
		if p.came.Before(s.plays[n].at.Add(settles)) {
			off = 0 // it may be of before the answer
		}
		if n == 0 {
			r.off = max(r.off, off)
		} else {
			r.offAgain = max(r.offAgain, off)
		}
		if !math.IsNaN(last) {
			r.repeated, r.skipped = max(r.repeated, last-at), max(r.skipped, at-last-0.04)
		}
		last = at
	}
	if s.pauses != nil && len(s.plays) < 2 {
		r.err = errors.Join(r.err, errors.New("it has not paused"))
	}
	if !(last > s.index.end-0.001) {
		r.err = errors.Join(r.err, fmt.Errorf("the last picture was that of %.3f s, want %.3f s", last, s.index.end))
	}
	return r
}

// settles is how long after an answer packets of before it may come.
const settles = 300 * time.Millisecond

// playOf is which PLAY a packet is of; -1 for what came before the first has settled.
func (s *storedViewer) playOf(p storedPacket) int {
	n := -1
	for i, play := range s.plays {
		if p.came.After(play.at) && (i > 0 || p.came.After(play.at.Add(settles))) {
			n = i
		}
	}
	return n
}
