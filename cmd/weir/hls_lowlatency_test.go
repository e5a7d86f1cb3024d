package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"
)

const (
	lowSegment = 2 * time.Second        // of the low-latency origin
	lowPart    = 500 * time.Millisecond // of a segment
)

// TestLowLatencyHLSViewersCostOneRequest: viewers who wait at the origin for
// each next part of a live stream cost it one request for each part and one for
// each playlist that has it, however many they are.
func TestLowLatencyHLSViewersCostOneRequest(t *testing.T) {
	const viewers, length = 200, 12 * time.Second
	origin := tallied(t, lowLatencyOrigin(t))
	edge := edgeOf(t, origin.url)
	client := manyClient(t, 2*viewers)
	began := time.Now()
	end := began.Add(length)
	ctx, cancel := context.WithTimeout(t.Context(), length+30*time.Second)
	defer cancel()
	all := make([]*lowViewer, viewers)
	var wg sync.WaitGroup
	for i := range all {
		all[i] = &lowViewer{surfer: newSurfer(client, edge, i), bodies: map[string]hash{}}
		join := began.Add(time.Duration(i) * 2 * time.Second / time.Duration(viewers))
		wg.Go(func() { all[i].watch(ctx, join, end) })
	}
	wg.Wait()
	took := time.Since(began)
	checkLow(t, origin, all, length-2*time.Second) // the last one came that late

	origin.noneOdd(t)
	media := origin.onlyOnce(t, "media", func(asked string) bool { return strings.Contains(asked, ".mp4") })
	waited := origin.onlyOnce(t, "playlist", func(asked string) bool { return strings.Contains(asked, "_HLS_msn=") })
	plain := origin.asks(func(asked string) bool { return asked == all[0].list })[all[0].list]
	if atMost := int(took/(lowSegment/2)) + 2; plain > atMost && !*direct {
		t.Errorf("%d requests for the playlist as it is at the origin in %v, want at most %d: one for each half target duration", plain, took, atMost)
	}
	t.Logf("%d viewers in %v: %d parts and segments, %d playlists that had to be waited for, and %d others asked of the origin", viewers, took, media, waited, plain)
}

// checkLow asserts that every viewer got what the origin sent, and for how long.
func checkLow(t *testing.T, origin *talliedOrigin, viewers []*lowViewer, length time.Duration) {
	t.Helper()
	want := int(length / lowPart * 9 / 10)
	var complaints []string
	for i, v := range viewers {
		if v.err != nil || len(v.bodies) < want {
			complaints = append(complaints, fmt.Sprintf("viewer %d: %v; got %d parts and segments, want %d or more", i, v.err, len(v.bodies), want))
		}
		for path, body := range v.bodies {
			if !origin.sent(path, body) {
				complaints = append(complaints, fmt.Sprintf("viewer %d: %s is not what the origin has", i, path))
			}
		}
	}
	few(t, complaints)
}

// A lowViewer follows parts and preload hints (draft-pantos-hls-rfc8216bis §6.3
// and §6.2.6), and keeps what it got.
type lowViewer struct {
	surfer
	list string // path of the media playlist

	mu     sync.Mutex
	bodies map[string]hash // by path, without the query
	part   int             // number of the newest part, 0 before the first
	err    error
}

// watch begins at join and begins nothing after end.
func (v *lowViewer) watch(ctx context.Context, join, end time.Time) {
	if !waitUntil(ctx, join) {
		v.err = ctx.Err()
		return
	}
	m, err := v.begin(ctx)
	for err == nil && time.Now().Before(end) {
		m, err = v.next(ctx, m)
	}
	v.err = err
}

// begin finds the media playlist, and fetches what it has near the end.
func (v *lowViewer) begin(ctx context.Context) (*playlist.Media, error) {
	body, _, _, err := v.get(ctx, "/cam/index.m3u8", "")
	if err != nil {
		return nil, err
	}
	p, err := playlist.Unmarshal(body)
	if err != nil {
		return nil, fmt.Errorf("%w in\n%s", err, body)
	}
	variants, ok := p.(*playlist.Multivariant)
	if !ok || len(variants.Variants) != 1 {
		return nil, fmt.Errorf("want one variant:\n%s", body)
	}
	path, _, _ := strings.Cut(variants.Variants[0].URI, "?")
	v.list = "/cam/" + path
	m, err := v.media(ctx, v.list, "")
	if err != nil {
		return nil, err
	}
	if err := v.fetch(ctx, m.Map.URI); err != nil {
		return nil, err
	}
	for _, s := range m.Segments {
		if len(s.Parts) == 0 && !s.Gap { // of those nearest to the end it takes the parts
			err = errors.Join(err, v.fetch(ctx, s.URI))
		}
	}
	return m, errors.Join(err, v.takeParts(ctx, m))
}

// next waits for the part that comes next and for the playlist that has it, both
// at once.
func (v *lowViewer) next(ctx context.Context, m *playlist.Media) (*playlist.Media, error) {
	hinted := make(chan error, 1)
	go func() { hinted <- v.fetch(ctx, m.PreloadHint.URI) }()
	msn, part := lacks(m)
	q := url.Values{"_HLS_msn": {fmt.Sprint(msn)}, "_HLS_part": {fmt.Sprint(part)}}
	newer, err := v.media(ctx, v.list, "?"+q.Encode())
	if err := errors.Join(err, <-hinted); err != nil {
		return nil, err
	}
	if m, p := lacks(newer); m < msn || m == msn && p <= part {
		return nil, fmt.Errorf("asked for part %d of segment %d, and got a playlist up to part %d of segment %d", part, msn, p-1, m)
	}
	return newer, v.takeParts(ctx, newer)
}

// lacks is what a playlist does not yet have: the segment and the part of it.
func lacks(m *playlist.Media) (msn, part int) {
	return m.MediaSequence + len(m.Segments), len(m.Parts)
}

// takeParts fetches the parts that are new. None may be left out.
func (v *lowViewer) takeParts(ctx context.Context, m *playlist.Media) error {
	var parts []*playlist.MediaPart
	for _, s := range m.Segments {
		parts = append(parts, s.Parts...)
	}
	for _, p := range append(parts, m.Parts...) {
		var n int
		_, number, _ := strings.Cut(p.URI, "_part")
		if _, err := fmt.Sscanf(number, "%d.mp4", &n); err != nil {
			return fmt.Errorf("%s: %w", p.URI, err)
		}
		if n <= v.part {
			continue
		}
		if v.part > 0 && n != v.part+1 {
			return fmt.Errorf("part %d follows part %d", n, v.part)
		}
		v.part = n
		if err := v.fetch(ctx, p.URI); err != nil {
			return err
		}
	}
	return nil
}

// fetch gets a part, a segment or the init segment, once.
func (v *lowViewer) fetch(ctx context.Context, ref string) error {
	path, _, _ := strings.Cut("/cam/"+ref, "?")
	v.mu.Lock()
	_, have := v.bodies[path]
	v.mu.Unlock()
	if have {
		return nil
	}
	body, sum, u, err := v.get(ctx, v.list, ref)
	if err == nil && len(body) == 0 {
		err = fmt.Errorf("%s: empty", u)
	}
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.bodies[path] = sum
	return nil
}
