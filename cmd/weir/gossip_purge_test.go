package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/cache"
	"weir/proxy"
	"weir/proxy/proxytest"
)

// A clusterCache is the cache of one edge of several.
type clusterCache struct {
	proxy.Mode
	t     *testing.T
	trips atomic.Int64 // to the origin
}

// clusterCaches run until the test ends. All that the origin has may be kept for an
// hour, and has its path as a tag.
func clusterCaches(t *testing.T, peers []*gossiper) (all []*clusterCache) {
	t.Helper()
	for _, p := range peers {
		c := &clusterCache{t: t}
		env := proxytest.Env(t)
		env.Peers = p
		env.Upstream = &proxytest.Upstream{RoundTripFunc: c.origin}
		fs := flag.NewFlagSet("cache", flag.ContinueOnError)
		build := cache.Flags(fs)
		must(t, fs.Parse([]string{"-cache.memory=16MiB"}))
		var err error
		c.Mode, err = build(env)
		must(t, err)
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		t.Cleanup(func() {
			stop()
			must(t, <-done)
		})
		all = append(all, c)
	}
	return all
}

func (c *clusterCache) origin(req *http.Request) (*http.Response, error) {
	c.trips.Add(1)
	body := "this is " + req.URL.Path
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(body)), Request: req,
		Header: http.Header{
			"Cache-Control": {"max-age=3600"}, "Content-Type": {"text/plain"}, "Surrogate-Key": {"tag" + strings.ReplaceAll(req.URL.Path, "/", "-")},
			"Date": {time.Now().UTC().Format(http.TimeFormat)},
		},
		Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// gets reports whether the origin was asked for a path.
func (c *clusterCache) gets(path string) bool {
	c.t.Helper()
	before := c.trips.Load()
	r, w := httptest.NewRequest("GET", path, nil), httptest.NewRecorder()
	v := &proxy.Viewer{Protocol: "http", Path: path}
	c.ServeHTTP(w, r.WithContext(proxy.WithViewer(r.Context(), v)))
	if w.Code != http.StatusOK || w.Body.String() != "this is "+path {
		c.t.Errorf("GET %s: %d %q", path, w.Code, w.Body)
	}
	return c.trips.Load() != before
}

// stores fetches a path until it is stored.
func (c *clusterCache) stores(path string) {
	c.t.Helper()
	proxytest.Eventually(c.t, gossipPatience, path+" is stored", func() bool { return !c.gets(path) })
}

// purge is an operator's call.
func (c *clusterCache) purge(what, value string) {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.Mode.(proxy.Adminer).Admin().ServeHTTP(w, httptest.NewRequest("POST", "/purge?"+url.Values{what: {value}}.Encode(), nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"purged":1`) {
		c.t.Errorf("purge %s %s: %d %s", what, value, w.Code, w.Body)
	}
}

// purges are one of each kind, of what is in a folder: at the first of some edges, so
// that all of them, and no others, ask the origin for it again.
func purges(t *testing.T, folder string, all, among []*clusterCache) {
	t.Helper()
	for _, c := range all {
		for _, path := range purged(folder) {
			c.stores(path)
			c.stores("/kept" + path)
		}
	}
	began := time.Now()
	among[0].purge("url", folder+"/url")
	among[0].purge("prefix", folder+"/pre/")
	among[0].purge("tag", "tag"+strings.ReplaceAll(folder, "/", "-")+"-tag")
	areGone(t, folder, among)
	t.Logf("purges are with all after %v", time.Since(began).Round(time.Millisecond))
}

// purged are the paths that are purged of a folder. Below /kept they are not.
func purged(folder string) []string {
	return []string{folder + "/url", folder + "/pre/fix", folder + "/tag"}
}

// areGone waits until what is purged of a folder is nowhere stored any more.
func areGone(t *testing.T, folder string, caches []*clusterCache) {
	t.Helper()
	for i, c := range caches {
		for _, path := range purged(folder) {
			proxytest.Eventually(t, gossipPatience, fmt.Sprintf("%s is purged at number %d", path, i), func() bool { return c.gets(path) })
			if kept := "/kept" + path; c.gets(kept) {
				t.Errorf("%s is purged, too, at number %d", kept, i)
			}
		}
	}
}

// TestPurgesOverGossip: what is purged at one edge, by URL, prefix or tag, is purged at
// all, also at one that was away, and nothing else is.
func TestPurgesOverGossip(t *testing.T) {
	t.Parallel()
	peers := gossipers(t, 3)
	caches := clusterCaches(t, peers)
	purges(t, "/all", caches, caches)

	peers[2].leave()
	purges(t, "/some", caches, caches[:2])
	for _, path := range purged("/some") {
		if caches[2].gets(path) {
			t.Errorf("%s is purged at an edge that hears nothing", path)
		}
	}
	began := time.Now()
	peers[2].join(peers[1])
	areGone(t, "/some", caches[2:])
	t.Logf("who was away has heard after %v", time.Since(began).Round(time.Millisecond))
}
