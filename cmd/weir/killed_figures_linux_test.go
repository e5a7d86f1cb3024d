package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A figure is what viewers of one kind noticed of a fault.
type figure struct {
	viewers int
	silence time.Duration // the longest without a packet; over HLS, until something asked for was there
	worst   string        // what that was
	picture time.Duration // the longest without a picture
	broken  int           // times that pictures went on with something else than a key frame
	step    time.Duration // see watcher
	stalled time.Duration // over HLS: how long nothing was left to play

	// Of stored streams, in seconds: see storedResult.
	off, offAgain, back, forward float64

	problems []string
}

func (f *figure) wrong(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// watched is what those noticed who stay, since it was asked before.
func (r *rig) watched() map[string]*figure {
	figures := map[string]*figure{}
	for kind, all := range r.live {
		f := &figure{viewers: len(all)}
		figures[kind] = f
		for _, w := range all {
			w.mu.Lock()
			f.silence, f.picture = max(f.silence, w.any.longest()), max(f.picture, w.film.longest())
			f.broken += w.broken
			f.step = max(f.step, w.step)
			w.any.gap, w.film.gap, w.broken, w.step = 0, 0, 0, 0
			if w.ended || w.back > 0 {
				f.wrong("%v; time went back %d times", w.err, w.back)
			}
			w.mu.Unlock()
		}
	}
	for kind, all := range r.playing {
		f := &figure{viewers: len(all)}
		figures[kind] = f
		for _, p := range all {
			p.mu.Lock()
			if p.slowest > f.silence {
				f.silence, f.worst = p.slowest, p.worst
			}
			f.stalled = max(f.stalled, p.stalled)
			for _, err := range p.errs {
				f.wrong("%v", err)
			}
			p.stalled, p.slowest, p.errs = 0, 0, nil
			p.mu.Unlock()
		}
	}
	return figures
}

// passed adds what those noticed who came for this.
func (r *rig) passed(figures map[string]*figure, stored map[string][]*storedViewer, downloads map[string][]*download) {
	for kind, all := range stored {
		f := &figure{viewers: len(all)}
		figures[kind] = f
		for _, s := range all {
			res := s.result()
			f.silence = max(f.silence, res.silence)
			f.off, f.offAgain, f.back, f.forward = max(f.off, res.off), max(f.offAgain, res.offAgain), max(f.back, res.repeated), max(f.forward, res.skipped)
			if res.err != nil {
				f.wrong("from %.3f: %v", s.from, res.err)
			}
		}
	}
	for kind, all := range downloads {
		f := &figure{viewers: len(all)}
		figures[kind] = f
		for _, d := range all {
			f.silence = max(f.silence, d.any.gap)
			if d.err != nil {
				f.wrong("%s: %v", d.path, d.err)
			}
		}
	}
}

// table is the figures as text.
func table(figures map[string]*figure) string {
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(figures)) {
		f := figures[kind]
		fmt.Fprintf(&b, "  %-12s %3d  silence %6d ms  picture %6d ms  off %.2f %.2f back %.2f forward %.2f s  broken %d  reports step %v  stalled %v  wrong %d  %s\n", kind, f.viewers,
			f.silence.Milliseconds(), f.picture.Milliseconds(), f.off, f.offAgain, f.back, f.forward, f.broken, f.step.Round(time.Millisecond), f.stalled.Round(time.Millisecond), len(f.problems), f.worst)
		for _, p := range f.problems[:min(3, len(f.problems))] {
			fmt.Fprintf(&b, "      %s\n", p)
		}
	}
	return b.String()
}

// gopTime is gop, and what a picture takes.
const gopTime = 1040 * time.Millisecond

// reportStep is less than a frame of sound: players that go by reports would see time go
// back otherwise.
const reportStep = 20 * time.Millisecond

func (f *figure) most(what string, got, want time.Duration) {
	if got > want {
		f.wrong("%v %s, want at most %v", got, what, want)
	}
}

func (f *figure) within(what string, got float64) {
	if got > gopTime.Seconds() {
		f.wrong("%s %.3f s, want at most a group of pictures", what, got)
	}
}
