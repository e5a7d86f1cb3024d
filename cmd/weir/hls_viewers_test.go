package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"
)

// sites are whose pages viewers watch on.
var sites = []string{"https://one.example", "https://two.example", "https://three.example:8443"}

// TestHLSViewersCostOnePlaylist: whoever watches a live stream, however many, the
// origin is asked for its playlist twice in a target duration, and for each
// segment once; every viewer gets every segment, whole and in time.
func TestHLSViewersCostOnePlaylist(t *testing.T) {
	f := func(name, control string, viewers int) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			watchSliding(t, control, viewers)
		})
	}
	f("200 viewers", "", 200)
	f("no-cache", "no-cache", 50) // on the playlist, as many packagers send it
}

func watchSliding(t *testing.T, control string, viewers int) {
	const target, length = 2 * time.Second, 12 * time.Second
	s := newSlidingStream(t, target, length+5*time.Second)
	s.control = control
	origin := tallied(t, s)
	edge := edgeOf(t, origin.url)
	client := manyClient(t, viewers)
	began := time.Now()
	end := began.Add(length)
	ctx, cancel := context.WithTimeout(t.Context(), length+30*time.Second)
	defer cancel()
	all := make([]*hlsViewer, viewers)
	var wg sync.WaitGroup
	for i := range all {
		all[i] = &hlsViewer{surfer: newSurfer(client, edge, i), stream: s, last: -1}
		join := began.Add(time.Duration(i) * target / time.Duration(viewers))
		wg.Go(func() { all[i].watch(ctx, join, end) })
	}
	wg.Wait()
	took := time.Since(began)
	stalest := s.check(t, all, end)
	origin.noneOdd(t)
	segments := origin.onlyOnce(t, "segment", func(asked string) bool { return strings.Contains(asked, ".ts") })
	playlists := origin.total("/live/index.m3u8")
	if atMost := int(took/(target/2)) + 2; playlists > atMost && !*direct {
		t.Errorf("%d requests for the playlist at the origin in %v, want at most %d: one for each half target duration", playlists, took, atMost)
	}
	t.Logf("%d viewers in %v: %d playlists and %d segments asked of the origin; stalest playlist %v", viewers, took, playlists, segments, stalest)
}

// check asserts that every viewer got all, and in time, and returns how stale the
// stalest playlist was.
func (s *slidingStream) check(t *testing.T, viewers []*hlsViewer, end time.Time) (stalest time.Duration) {
	t.Helper()
	want := s.newest(end.Add(-s.target - s.target/4)) // seen at the last reload, at the latest
	var complaints []string
	for i, v := range viewers {
		if v.err != nil || v.next <= want {
			complaints = append(complaints, fmt.Sprintf("viewer %d: %v; got segments %d to %d, want %d at the least", i, v.err, v.from, v.next-1, want))
		}
		stalest = max(stalest, v.stale)
	}
	few(t, complaints)
	if stalest > s.target {
		t.Errorf("a playlist was stale by %v, want at most a target duration, %v", stalest, s.target)
	}
	return stalest
}

// few fails the test if there are complaints, and tells the first ones.
func few(t *testing.T, complaints []string) {
	t.Helper()
	if n := len(complaints); n > 0 {
		t.Errorf("%d complaints:\n%s", n, strings.Join(complaints[:min(n, 3)], "\n"))
	}
}

// manyClient is a client whose connections last as those of many viewers do.
func manyClient(t *testing.T, viewers int) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 2 * viewers, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// A surfer asks an edge for things as the page of a site does.
type surfer struct {
	client *http.Client
	base   string // the edge
	token  string
	site   string
}

func newSurfer(client *http.Client, base string, i int) surfer {
	return surfer{client: client, base: base, token: fmt.Sprintf("viewer-%d", i), site: sites[i%len(sites)]}
}

// get returns the body of what is there. ref is relative to path; the token is
// the viewer's own, whatever ref has.
func (s *surfer) get(ctx context.Context, path, ref string) (body []byte, sum hash, at *url.URL, err error) {
	u, err := url.Parse(s.base + path)
	if err == nil {
		u, err = u.Parse(ref)
	}
	if err != nil {
		return nil, hash{}, nil, err
	}
	q := u.Query()
	q.Set("token", s.token)
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, hash{}, nil, err
	}
	req.Header.Set("Origin", s.site)
	res, err := s.client.Do(req)
	if err != nil {
		return nil, hash{}, nil, err
	}
	defer res.Body.Close()
	body, sum, err = readAll(res.Body)
	switch allowed := res.Header.Get("Access-Control-Allow-Origin"); {
	case err != nil:
		return nil, hash{}, nil, fmt.Errorf("%s: %w", u, err)
	case res.StatusCode != http.StatusOK:
		return nil, hash{}, nil, fmt.Errorf("%s: %s", u, res.Status)
	case allowed != "*" && allowed != s.site:
		return nil, hash{}, nil, fmt.Errorf("%s: only %q may read it, not %s", u, allowed, s.site)
	}
	return body, sum, u, nil
}

// media returns a media playlist. No other viewer's token may be in it.
func (s *surfer) media(ctx context.Context, path, ref string) (*playlist.Media, error) {
	body, _, u, err := s.get(ctx, path, ref)
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(body, []byte("token=")) - bytes.Count(body, []byte("token="+s.token)); n > 0 {
		return nil, fmt.Errorf("%s: has another viewer's token:\n%s", u, body)
	}
	p, err := playlist.Unmarshal(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w in\n%s", u, err, body)
	}
	m, ok := p.(*playlist.Media)
	if !ok {
		return nil, fmt.Errorf("%s: not a media playlist:\n%s", u, body)
	}
	return m, nil
}

// An hlsViewer loads a sliding stream as RFC 8216 §6.3 asks of players, and
// checks what comes.
type hlsViewer struct {
	surfer
	stream *slidingStream

	last       int // newest segment of the playlist before, -1 at first
	from, next int // segments: the first fetched, and the one to fetch next
	stale      time.Duration
	err        error
}

// watch begins at join and begins nothing after end.
func (v *hlsViewer) watch(ctx context.Context, join, end time.Time) {
	for at := join; at.Before(end) && v.err == nil; {
		if !waitUntil(ctx, at) {
			v.err = ctx.Err()
			return
		}
		began := time.Now()
		changed, err := v.reload(ctx)
		v.err = err
		// §6.3.4: the target duration after a change, half of it after none.
		at = began.Add(v.stream.target)
		if !changed {
			at = began.Add(v.stream.target / 2)
		}
	}
}

// reload loads the playlist and the segments that are new.
func (v *hlsViewer) reload(ctx context.Context) (changed bool, err error) {
	m, err := v.media(ctx, "/live/index.m3u8", "")
	if err != nil {
		return false, err
	}
	// Behind the newest is one that has been there for so long.
	last := m.MediaSequence + len(m.Segments) - 1
	v.stale = max(v.stale, time.Since(v.stream.published(last+1)))
	switch {
	case v.last < 0:
		v.from = max(last-2, m.MediaSequence) // §6.3.3: not nearer to the end
		v.next = v.from
	case last < v.last:
		return false, fmt.Errorf("playlist went back from segment %d to %d", v.last, last)
	case m.MediaSequence > v.next:
		return false, fmt.Errorf("playlist begins with segment %d, when %d was not yet fetched", m.MediaSequence, v.next)
	}
	changed = last != v.last
	v.last = last
	for ; v.next <= last; v.next++ {
		if err := v.fetch(ctx, m.Segments[v.next-m.MediaSequence].URI); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// fetch gets the next segment.
func (v *hlsViewer) fetch(ctx context.Context, ref string) error {
	_, got, u, err := v.get(ctx, "/live/index.m3u8", ref)
	if err == nil && got != sha256.Sum256(v.stream.segments[v.next]) {
		err = fmt.Errorf("%s: not what the origin has", u)
	}
	return err
}

// waitUntil returns false if ctx ended first.
func waitUntil(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
