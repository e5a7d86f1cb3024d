package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"
)

// browse returns a client whose connections are a host's.
func (h *host) browse() *http.Client {
	transport := &http.Transport{DialContext: h.dial, MaxIdleConnsPerHost: 100, DisableCompression: true}
	h.lan.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// A download is one file on its way.
type download struct {
	client *http.Client
	url    string // ends in replica's path
	path   string
	size   int64

	mu  sync.Mutex
	any pause // of pieces
	err error
}

// run downloads.
func (d *download) run(ctx context.Context) {
	err := d.fetch(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func (d *download) fetch(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+d.path, nil)
	if err != nil {
		return err
	}
	d.note()
	res, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	sum, buf := sha256.New(), make([]byte, 64<<10)
	for n := 0; err == nil; {
		n, err = res.Body.Read(buf)
		sum.Write(buf[:n]) //nolint:errcheck // a hash
		d.note()
	}
	want := sha256.New()
	io.Copy(want, newPattern(d.path, d.size)) //nolint:errcheck // a hash
	switch {
	case err != io.EOF:
		return err
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("status %s", res.Status)
	case string(sum.Sum(nil)) != string(want.Sum(nil)):
		return errors.New("another hash")
	}
	return nil
}

func (d *download) note() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.any.note(time.Now())
}

// An hlsWatcher plays a live stream as players do: three target durations behind the
// newest segment, with what it has fetched as its buffer.
type hlsWatcher struct {
	client *http.Client
	url    string // of the playlist

	mu      sync.Mutex
	began   bool
	first   int       // MEDIA-SEQUENCE of the playlist before
	next    int       // segment to be fetched next
	end     int       // behind the last one of the playlist before
	due     time.Time // when what was fetched will have been played
	stalled time.Duration
	slowest time.Duration // request, to its end
	worst   string        // which that was
	errs    []error
}

// run plays until ctx is done.
func (p *hlsWatcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		asked := time.Now()
		changed, err := p.load(ctx)
		if err != nil && ctx.Err() == nil {
			p.mu.Lock()
			p.errs = append(p.errs, err)
			p.mu.Unlock()
		}
		again := asked.Add(replicaTarget)
		if !changed {
			again = asked.Add(replicaTarget / 2)
		}
		waitUntil(ctx, again)
	}
}

// load loads the playlist, and then the segments that are new.
func (p *hlsWatcher) load(ctx context.Context) (changed bool, err error) {
	text, err := p.get(ctx, "")
	if err != nil {
		return false, err
	}
	list, err := playlist.Unmarshal(text)
	m, ok := list.(*playlist.Media)
	if err != nil || !ok {
		return false, fmt.Errorf("no media playlist: %w in %q", err, text)
	}
	changed, err = p.follows(m.MediaSequence, m.MediaSequence+len(m.Segments))
	for ; err == nil && p.next < p.end; p.next++ {
		err = p.segment(ctx, m.Segments[p.next-m.MediaSequence].URI)
	}
	return changed, err
}

// follows takes note of a playlist of the segments from first to before end.
func (p *hlsWatcher) follows(first, end int) (changed bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.began:
		p.began, p.next = true, max(first, end-3)
	case first < p.first || end < p.end:
		err = fmt.Errorf("playlist of %d to %d after one of %d to %d", first, end, p.first, p.end)
	case p.next < first:
		err = fmt.Errorf("playlist of %d to %d when %d was not yet fetched", first, end, p.next)
		p.next = first
	}
	changed = end != p.end
	p.first, p.end = first, end
	return changed, err
}

// segment fetches one and plays it.
func (p *hlsWatcher) segment(ctx context.Context, ref string) error {
	body, err := p.get(ctx, ref)
	if err != nil {
		return err
	}
	if string(body) != string(patternOf(fmt.Sprintf("/live/%d.ts", p.next), 0, replicaSegment)) {
		return fmt.Errorf("segment %d is another", p.next)
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.due.IsZero() {
		p.due = now
	}
	if late := now.Sub(p.due); late > 0 {
		p.stalled += late
		p.due = now
	}
	p.due = p.due.Add(replicaTarget)
	return nil
}

// get returns what is there, relative to the playlist.
func (p *hlsWatcher) get(ctx context.Context, ref string) ([]byte, error) {
	u, err := url.Parse(p.url)
	if err == nil {
		u, err = u.Parse(ref)
	}
	if err != nil {
		return nil, err
	}
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	res, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", u, res.Status)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := time.Since(began); d > p.slowest && ctx.Err() == nil {
		p.slowest, p.worst = d, u.Path
	}
	return body, err
}
