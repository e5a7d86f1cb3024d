package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

const (
	cacheRounds = 3
	cacheLoad   = "3s" // of each server in a round
	cacheConns  = "32"
)

// A cacheServer is measured: by the CPU time of all its processes.
type cacheServer struct {
	name, url string
	pids      []int
	costs     []float64 // by round
}

// BenchmarkCacheHit measures what a hit in RAM costs: CPU time of the server's processes
// for each request of 32 viewers that ask for one object as fast as they are
// answered. Side by side, round by round: nginx, with tcp_nopush and without, Varnish, and a bare net/http server
// that writes the same answer from memory, below which nothing made with net/http
// can come. The medians count.
func BenchmarkCacheHit(b *testing.B) {
	cacheProgram(b, "wrk", "wrk")
	binary := buildWeir(b)
	f := func(name string, size int) {
		b.Run("size="+name, func(b *testing.B) {
			origin := newCacheOrigin(b, cachedObject(make([]byte, size)))
			servers := []*cacheServer{
				serveCache(b, "weir", weirCache(binary, origin.URL, "-cache.memory", "512MiB")),
				serveCache(b, "bare", bareServer(b, size)),
				serveNginx(b, "nginx", origin.URL, "on"),
				serveNginx(b, "nginx-push", origin.URL, "off"),
				serveCache(b, "varnish", func(addr string) *exec.Cmd { return varnishCache(b, addr, origin.URL) }),
			}
			for _, s := range servers {
				warmObject(b, s.url+"/object.ts")
			}
			asked := len(origin.asked("/object.ts"))
			for b.Loop() {
				for range cacheRounds {
					for _, s := range servers {
						n, _, spent := s.load(b, s.url+"/object.ts")
						s.costs = append(s.costs, float64(spent.Microseconds())/n)
					}
				}
			}
			if n := len(origin.asked("/object.ts")); n != asked {
				b.Errorf("%d requests at the origin, want none: these are no hits", n-asked)
			}
			report(b, "µs/req", servers)
		})
	}
	f("2KB", 2_000)
	f("200KB", 200_000)
	f("2MB", 2_000_000)
}

// BenchmarkCacheDiskHit measures hits on objects of 1 MiB that Weir has on its disk and
// not in RAM, and nginx always has there; the kernel has all of them in its page cache. The
// figure is MB per CPU second; more is better.
func BenchmarkCacheDiskHit(b *testing.B) {
	const objects = 200
	cacheProgram(b, "wrk", "wrk")
	origin := newCacheOrigin(b, cachedObject(make([]byte, 1<<20)))
	servers := []*cacheServer{
		serveCache(b, "weir", weirCache(buildWeir(b), origin.URL, "-cache.memory", "16MiB", "-cache.dir", b.TempDir(), "-cache.disk", "1GiB")),
		serveNginx(b, "nginx", origin.URL, "on"),
		serveNginx(b, "nginx-push", origin.URL, "off"),
	}
	script := filepath.Join(b.TempDir(), "objects.lua")
	text := fmt.Sprintf("local n = 0\nfunction request()\n  n = n %% %d + 1\n  return wrk.format('GET', '/' .. n .. '.ts')\nend\n", objects)
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, s := range servers {
		for range 2 {
			for n := range objects {
				warmObject(b, fmt.Sprintf("%s/%d.ts", s.url, n+1))
			}
		}
	}
	asked := len(origin.asked("/1.ts"))
	for b.Loop() {
		for range cacheRounds {
			for _, s := range servers {
				_, mb, spent := s.load(b, s.url, "-s", script)
				s.costs = append(s.costs, mb/spent.Seconds())
			}
		}
	}
	if n := len(origin.asked("/1.ts")); n != asked {
		b.Errorf("%d requests at the origin for one object, want none: these are no hits", n-asked)
	}
	report(b, "MB/CPU-s", servers)
}

// report tells the medians, and what the first server's is of each other's.
func report(b *testing.B, unit string, servers []*cacheServer) {
	b.ReportMetric(0, "ns/op") // it is the length of the rounds, and nobody's speed
	for i, s := range servers {
		b.ReportMetric(median(s.costs), s.name+"-"+unit)
		if i > 0 {
			b.ReportMetric(median(servers[0].costs)/median(s.costs), servers[0].name+"/"+s.name)
		}
	}
}

// cachedObject is an origin's answer that is good for an hour.
func cachedObject(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "video/mp2t")
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body) //nolint:errcheck // the viewer says it
	}
}

// warmObject asks for something twice, so that it is there.
func warmObject(b *testing.B, url string) {
	for range 2 {
		res, err := http.Get(url)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
			b.Fatalf("%s: %d, %v", url, res.StatusCode, err)
		}
		res.Body.Close()
	}
}
