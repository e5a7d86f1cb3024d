package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// The bar is -bigfile 10GiB -bigmemory 1GiB.
var (
	bigFile   = flag.String("bigfile", "400MiB", "TestCacheBigFile: the `size` of the file")
	bigMemory = flag.String("bigmemory", "64MiB", "TestCacheBigFile: -cache.memory, a `size`")
)

// bigBase is what an edge takes without a cache, and its garbage between two
// collections; 1 GiB and a quarter of it and this are 1.3 GiB.
const bigBase = 48 << 20

// TestCacheBigFile: a file that is far larger than the cache goes through whole, to two
// viewers of whom one is slow, and memory stays in its bounds. The edge is the one that
// is shipped, whatever the test was built with.
func TestCacheBigFile(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	var file, memory proxy.Bytes
	must(t, file.Set(*bigFile))
	must(t, memory.Set(*bigMemory))
	size := int64(file)
	origin := newCacheOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"big"`)
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Content-Type", "video/mp4")
		http.ServeContent(w, r, "", time.Time{}, newPattern("big", size))
	})
	addr := proxytest.ClosedAddr(t)
	e := &cacheEdge{url: "http://" + addr, output: &cacheOutput{}}
	if *cacheSubject == "weir" {
		e.cmd = weirCache(buildWeir(t), origin.URL, "-cache.memory", *bigMemory)(addr)
	} else {
		e.cmd = cacheRival(t, *cacheSubject, addr, origin.URL, nil)
	}
	e.run(t, e.url+"/ready")
	idle := rssOf(t, e.cmd.Process.Pid)

	ctx, stop := context.WithCancel(t.Context())
	peak := make(chan int64)
	go func() { peak <- highest(ctx, t, e.cmd) }()
	began := time.Now()
	slow := make(chan error, 1)
	go func() { slow <- e.checkBig(ctx, size, 50*time.Millisecond) }()
	err := e.checkBig(ctx, size, 0)
	took := time.Since(began)
	stop()
	most := <-peak
	if slowErr := <-slow; slowErr != nil {
		t.Errorf("the slow viewer: %v", slowErr)
	}
	must(t, err)
	limit := bigBase + int64(memory) + int64(memory)/4
	t.Logf("%s through %s: %d MB/s, RSS %d MiB at first, %d at most (bar: %d), %d requests at the origin",
		*bigFile, *bigMemory, int64(float64(size)/took.Seconds())/1e6, idle>>20, most>>20, limit>>20, len(origin.asked("/big.mp4")))
	if most > limit {
		t.Errorf("RSS of %d MiB, want %d at most", most>>20, limit>>20)
	}
	a := e.get(t.Context(), "/big.mp4", "Range", fmt.Sprintf("bytes=%d-%d", size/2, size/2+99_999))
	a.is(t, "a range in the middle, later", http.StatusPartialContent, patternOf("big", size/2, size/2+100_000))
}

// highest is the most memory that a process has until ctx ends.
func highest(ctx context.Context, t *testing.T, cmd *exec.Cmd) (most int64) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		most = max(most, rssOf(t, cmd.Process.Pid))
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
		}
	}
}

// checkBig reads the file and compares it, with a pause after each MiB until ctx ends.
func (e *cacheEdge) checkBig(ctx context.Context, size int64, pause time.Duration) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+"/big.mp4", nil)
	if err != nil {
		return err
	}
	res, err := e.viewer.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.ContentLength != size {
		return fmt.Errorf("status %d with %d bytes", res.StatusCode, res.ContentLength)
	}
	got, want, right := make([]byte, 1<<20), make([]byte, 1<<20), newPattern("big", size)
	for at := int64(0); at < size; {
		n, err := io.ReadFull(res.Body, got[:min(int64(len(got)), size-at)])
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("at byte %d of %d: %w", at, size, err)
		}
		if _, err := io.ReadFull(right, want[:n]); err != nil {
			return err
		}
		if !bytes.Equal(got[:n], want[:n]) {
			return fmt.Errorf("wrong from byte %d on", at+int64(common(got[:n], want[:n])))
		}
		at += int64(n)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
