package passthrough

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/forward"
)

const (
	benchBody = 10_000_000
	benchRole = "WEIR_BENCH_ROLE" // "origin", or "edge" and the origin's URL
	ticks     = 100               // per CPU second, in /proc
	rounds    = 5
	downloads = 120 // of each server in a round
)

// TestBenchProcess is no test: the benchmark runs it in processes of their own,
// so that CPU can be told apart. It serves until it is killed.
func TestBenchProcess(t *testing.T) {
	role, origin, _ := strings.Cut(os.Getenv(benchRole), " ")
	var h http.Handler
	switch role {
	case "":
		t.Skip("only for the benchmark")
	case "origin":
		body := make([]byte, benchBody)
		h = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Etag", `"v1"`)
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body)
		})
	case "edge":
		b := webBalancer(t, "-origin", origin)
		h = http.HandlerFunc((&Relay{
			env:     proxy.Env{Gate: proxy.Open},
			forward: forward.New(forward.Options{Upstream: b, ID: "weir-bench", Lag: time.Minute, Log: zap.NewNop()}),
		}).ServeHTTP)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("serving %s\n", l.Addr())
	t.Error(http.Serve(l, h))
}

// process starts this test binary in a role and returns its address.
func process(b *testing.B, role string) (c *exec.Cmd, addr string) {
	b.Helper()
	c = exec.Command(os.Args[0], "-test.run=^TestBenchProcess$")
	c.Env = append(os.Environ(), benchRole+"="+role)
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	start(b, c)
	if _, err := fmt.Fscanf(out, "serving %s\n", &addr); err != nil {
		b.Fatal(err)
	}
	return c, addr
}

func start(b *testing.B, c *exec.Cmd) {
	b.Helper()
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
}

// haproxy starts HAProxy in front of an origin; splice adds option splice-auto.
func haproxy(b *testing.B, origin, extra string) (c *exec.Cmd, addr string) {
	b.Helper()
	path, err := exec.LookPath("haproxy")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/haproxy"); err != nil {
			b.Skip("no haproxy here")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File() // handed down, so that no port is guessed
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	config := fmt.Sprintf("global\n maxconn 1000\ndefaults\n mode http\n %s\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"+
		"frontend viewers\n bind fd@3\n default_backend origins\nbackend origins\n server o %s\n", extra, origin)
	file := filepath.Join(b.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	c = exec.Command(path, "-db", "-f", file)
	c.ExtraFiles = []*os.File{f}
	start(b, c)
	return c, l.Addr().String()
}

// cpu is the time a process has used.
func cpu(b *testing.B, c *exec.Cmd) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid))
	if err != nil {
		b.Skip(err)
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var sum int
	for _, field := range f[11:13] { // utime, stime
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		sum += n
	}
	return float64(sum) / ticks
}

// download gets the body n times over on two connections and returns bytes per
// CPU second of the server.
func download(b *testing.B, server *exec.Cmd, addr string, n int) float64 {
	b.Helper()
	before := cpu(b, server)
	var viewers sync.WaitGroup
	for range 2 {
		viewers.Go(func() { view(b, addr, n/2) })
	}
	viewers.Wait()
	return float64(n) * benchBody / 1e6 / (cpu(b, server) - before)
}

func view(b *testing.B, addr string, n int) {
	tr := &http.Transport{ReadBufferSize: 256 << 10}
	defer tr.CloseIdleConnections()
	buf := make([]byte, 256<<10)
	for range n {
		req, err := http.NewRequestWithContext(context.Background(), "GET", "http://"+addr+"/film.mp4", nil)
		if err != nil {
			b.Error(err)
			return
		}
		res, err := tr.RoundTrip(req)
		if err != nil {
			b.Error(err)
			return
		}
		got, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{res.Body}, buf)
		res.Body.Close()
		if got != benchBody || err != nil {
			b.Errorf("%d bytes, %v", got, err)
			return
		}
	}
}

// BenchmarkForward: bodies of 10 MB for no more CPU than HAProxy takes. Each is a
// process of its own; rounds alternate, the medians count.
func BenchmarkForward(b *testing.B) {
	_, origin := process(b, "origin")
	edge, edgeAddr := process(b, "edge http://"+origin)
	plain, plainAddr := haproxy(b, origin, "")
	splice, spliceAddr := haproxy(b, origin, "option splice-auto")
	waitFor(b, edgeAddr, plainAddr, spliceAddr)
	var weir, hap, spliced []float64
	for b.Loop() {
		for range rounds {
			weir = append(weir, download(b, edge, edgeAddr, downloads))
			hap = append(hap, download(b, plain, plainAddr, downloads))
			spliced = append(spliced, download(b, splice, spliceAddr, downloads))
		}
	}
	b.ReportMetric(median(weir), "weir-MB/CPU-s")
	b.ReportMetric(median(hap), "haproxy-MB/CPU-s")
	b.ReportMetric(median(spliced), "haproxy-splice-MB/CPU-s")
	b.ReportMetric(median(weir)/median(hap), "weir/haproxy")
}

func waitFor(b *testing.B, addrs ...string) {
	b.Helper()
	for _, addr := range addrs {
		for deadline := time.Now().Add(5 * time.Second); ; {
			if res, err := http.Head("http://" + addr + "/film.mp4"); err == nil {
				res.Body.Close()
				break
			} else if time.Now().After(deadline) {
				b.Fatal(err)
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
