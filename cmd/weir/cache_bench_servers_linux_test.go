package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// serveCache runs a server until the benchmark ends.
func serveCache(b *testing.B, name string, command func(addr string) *exec.Cmd) *cacheServer {
	addr := proxytest.ClosedAddr(b)
	cmd := command(addr)
	cmd.Stdout = nil
	r := startRelay(b, name, addr, cmd)
	return &cacheServer{name: name, url: "http://" + r.addr, pids: append(children(r.pid), r.pid)}
}

func serveNginx(b *testing.B, name, origin, noPush string) *cacheServer {
	return serveCache(b, name, func(addr string) *exec.Cmd {
		return nginxCache(b, addr, nginxOptions{origin: origin, dir: b.TempDir(), noPush: noPush})
	})
}

// children are the processes that a process has started.
func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // only a bad pattern is an error
	for _, list := range lists {
		text, _ := os.ReadFile(list) //nolint:errcheck // a thread that has ended has none
		for _, f := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(f); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// load has wrk ask for a while, and returns the number of answers, their MB, and the
// CPU time that they cost.
func (s *cacheServer) load(b *testing.B, url string, args ...string) (n, mb float64, spent time.Duration) {
	before := s.spent(b)
	args = append([]string{"-t1", "-c" + cacheConns, "-d" + cacheLoad, "--latency", "--timeout", "10s"}, append(args, url)...)
	out, err := exec.Command("wrk", args...).CombinedOutput()
	spent = s.spent(b) - before
	if err != nil || bytes.Contains(out, []byte("Socket errors")) || bytes.Contains(out, []byte("Non-2xx")) {
		b.Fatalf("wrk on %s: %v\n%s", s.name, err, out)
	}
	n, mb, p99 := readWrk(b, string(out))
	b.Logf("%s: %.1f µs/req, %.0f MB per CPU second, %.0f req, %.0f MB, p99 %s, %d MB of RSS",
		s.name, float64(spent.Microseconds())/n, mb/spent.Seconds(), n, mb, p99, s.rss(b)>>20)
	return n, mb, spent
}

// readWrk reads "1234 requests in 3.00s, 5.67GB read" and "99% 1.23ms"; a GB of wrk's is
// a GiB.
func readWrk(b *testing.B, out string) (n, mb float64, p99 string) {
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) == 2 && f[0] == "99%" {
			p99 = f[1]
		}
		if len(f) != 6 || f[1] != "requests" {
			continue
		}
		var unit string
		if _, err := fmt.Sscanf(f[0]+" "+f[4], "%f %f%s", &n, &mb, &unit); err != nil {
			b.Fatalf("wrk says %q: %v", line, err)
		}
		mb *= map[string]float64{"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}[unit] / 1e6
	}
	if n == 0 || mb == 0 {
		b.Fatalf("wrk says:\n%s", out)
	}
	return n, mb, p99
}

func (s *cacheServer) spent(b *testing.B) (sum time.Duration) {
	for _, pid := range s.pids {
		sum += cpuTime(b, pid)
	}
	return sum
}

func (s *cacheServer) rss(b testing.TB) (sum int64) {
	for _, pid := range s.pids {
		sum += rssOf(b, pid)
	}
	return sum
}

// rssOf is the memory of a process that is in RAM, in bytes.
func rssOf(t testing.TB, pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

// buildWeir makes the edge as it is shipped.
func buildWeir(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "weir")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

func weirCache(binary, origin string, flags ...string) func(addr string) *exec.Cmd {
	return func(addr string) *exec.Cmd {
		return exec.Command(binary, append([]string{"-mode", "cache", "-origin", origin, "-http", addr, "-rtsp", "",
			"-admin", "127.0.0.1:0", "-log.level", "warn", "-drain.notice", "0s"}, flags...)...)
	}
}

// bareServer is this test as a process that serves one object from memory.
func bareServer(b *testing.B, size int) func(addr string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	return func(addr string) *exec.Cmd {
		cmd := exec.Command(self, "-test.run=^TestCacheBareServer$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("CACHE_BARE=%s %d", addr, size))
		return cmd
	}
}

// TestCacheBareServer is no test but the bare server of BenchmarkCacheHit.
func TestCacheBareServer(t *testing.T) {
	addr, size, ok := strings.Cut(os.Getenv("CACHE_BARE"), " ")
	if !ok {
		t.Skip("only BenchmarkCacheHit has a use for it")
	}
	n, err := strconv.Atoi(size)
	must(t, err)
	l, err := net.Listen("tcp", addr)
	must(t, err)
	t.Error(http.Serve(l, cachedObject(make([]byte, n))))
}
