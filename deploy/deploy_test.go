// Package deploy has no code: its tests run what is shipped here.
package deploy

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

// A stage is two edges behind a balancer.
type stage struct {
	edges    [2]*edge
	balancer *process
	rtsp     string // the balancer's addresses
	http     string
	config   string // its file
}

// setUp starts two edges with that notice, and writes the balancer's file as it
// is shipped, but for addresses and what else is given.
func setUp(t *testing.T, file, notice string, more ...string) *stage {
	t.Helper()
	weir, origin := build(t), startOrigin(t).URL()
	s := &stage{rtsp: proxytest.ClosedAddr(t), http: proxytest.ClosedAddr(t), config: filepath.Join(t.TempDir(), filepath.Base(file))}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, shipped := range []string{"10.0.0.11", "10.0.0.12"} {
		e := startEdge(t, weir, origin, notice)
		s.edges[i] = e
		_, port, _ := strings.Cut(e.admin, ":")
		more = append(more, shipped+":8080 check port 9090", e.http+" check port "+port,
			shipped+":8554", e.rtsp, shipped+":8080", e.http)
	}
	text := strings.NewReplacer(more...).Replace(string(b))
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// opens waits for the balancer.
func (s *stage) opens(t *testing.T) {
	t.Helper()
	for _, addr := range []string{s.rtsp, s.http} {
		proxytest.Eventually(t, 5*time.Second, "balancer listens", func() bool { return !refuses(addr) })
	}
}

// fill lets four viewers in, and sees them divided.
func (s *stage) fill(t *testing.T) *audience {
	t.Helper()
	a := &audience{url: "rtsp://" + s.rtsp + "/live/clock"}
	for range 4 {
		a.join(t)
	}
	for i, e := range s.edges {
		if n := e.viewers(t); n != 2 {
			t.Errorf("edge %d has %d viewers, want 2", i+1, n)
		}
	}
	return a
}

// drains lets three more in while the first edge drains: they go to the other
// one, and those who were there go on.
func (s *stage) drains(t *testing.T, a *audience) {
	t.Helper()
	for range 3 {
		a.join(t)
	}
	if had, has := s.edges[0].viewers(t), s.edges[1].viewers(t); had != 2 || has != 5 {
		t.Errorf("%d and %d viewers, want 2 and 5", had, has)
	}
	a.goOn(t)
}

// answers: HTTP comes from an edge, of which nothing is asked that there is.
func (s *stage) answers(t *testing.T) {
	t.Helper()
	res, err := http.Get("http://" + s.http + "/nothing")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("GET = %s, want 404", res.Status)
	}
}

// An edge that drains gets nobody new while it still accepts: HAProxy asks.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	need(t, "haproxy", "haproxy")
	s := setUp(t, "haproxy/haproxy.cfg", "20s")
	replace(t, s.config, "bind :8554", "bind "+s.rtsp, "bind :8080", "bind "+s.http)
	s.balancer = start(t, "haproxy", "-db", "-f", s.config)
	s.opens(t)
	s.answers(t)
	a := s.fill(t)
	s.edges[0].cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // seen below
	// Two failures, a second apart, and what a check takes.
	for _, listener := range []string{"rtsp", "http"} {
		proxytest.Eventually(t, 4*time.Second, listener+"/edge1 down", func() bool {
			return s.balancer.said("Server " + listener + "/edge1 is DOWN")
		})
	}
	if refuses(s.edges[0].rtsp) {
		t.Error("the edge has stopped accepting before its notice was over")
	}
	s.drains(t, a)
	s.answers(t)
}

// An edge that drains refuses connections, and nginx goes to the other one: no
// viewer sees it.
func TestNginx(t *testing.T) {
	t.Parallel()
	need(t, "nginx", "nginx libnginx-mod-stream")
	dir := t.TempDir()
	s := setUp(t, "nginx/nginx.conf", "0s", "access_log off;", "access_log off; "+tempPaths(dir))
	replace(t, s.config, "listen 8554", "listen "+s.rtsp, "listen 8080", "listen "+s.http)
	args := []string{"-c", s.config, "-e", "stderr", "-g", "daemon off; pid " + dir + "/pid;"}
	if out, err := exec.Command("nginx", append(args, "-t")...).CombinedOutput(); err != nil {
		if strings.Contains(string(out), `unknown directive "stream"`) {
			missing(t, "nginx's stream module", "libnginx-mod-stream")
		}
		t.Fatalf("nginx -t: %v\n%s", err, out)
	}
	s.balancer = start(t, "nginx", args...)
	s.opens(t)
	s.answers(t)
	a := s.fill(t)
	s.edges[0].cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // seen below
	proxytest.Eventually(t, 5*time.Second, "edge stops accepting", func() bool { return refuses(s.edges[0].rtsp) })
	s.drains(t, a)
	for range 5 {
		s.answers(t)
	}
}

// tempPaths keeps nginx from folders that are root's.
func tempPaths(dir string) string {
	var b strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		b.WriteString(kind + "_temp_path " + filepath.Join(dir, kind) + "; ")
	}
	return b.String()
}

// replace changes a file; what is to be replaced has to be there.
func replace(t *testing.T, file string, oldnew ...string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(string(b), oldnew[i]) {
			t.Fatalf("%s has no %q", file, oldnew[i])
		}
	}
	if err := os.WriteFile(file, []byte(strings.NewReplacer(oldnew...).Replace(string(b))), 0o600); err != nil {
		t.Fatal(err)
	}
}
