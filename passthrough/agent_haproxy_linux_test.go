package passthrough

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"weir/proxy/proxytest"
)

const haproxyConfig = `
global
    stats socket %[1]s mode 600 level admin
    maxconn 20
defaults
    mode tcp
    timeout connect 1s
    timeout client 1s
    timeout server 1s
    timeout check 10s
listen pool
    bind unix@%[2]s
    server one %[3]s weight 200 check addr 127.0.0.1 port %[6]d agent-check agent-addr %[4]s agent-port %[5]s agent-inter 100ms
`

// TestAgentCheckOfHAProxy: HAProxy itself does what the lines mean. Its own check, which
// it needs to have a state at all, asks another server, which is well.
func TestAgentCheckOfHAProxy(t *testing.T) {
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is not installed")
	}
	origin, o := runOrigin(t), quickAgent()
	o.RTSP, o.AgentCheck, o.Capacity = hostOf(origin.URL()), "127.0.0.1:0", 4
	a := runAgent(t, o, newEar())

	dir := t.TempDir()
	stats, file := filepath.Join(dir, "s"), filepath.Join(dir, "haproxy.cfg")
	host, port, _ := net.SplitHostPort(a.CheckAddr().String())
	text := fmt.Sprintf(haproxyConfig, stats, filepath.Join(dir, "l"), o.RTSP, host, port, newMum(t).Addr().(*net.TCPAddr).Port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), haproxy, "-db", "-f", file) // ends before the test has, see Context
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Wait() //nolint:errcheck // it was killed
		if t.Failed() {
			t.Logf("haproxy said: %s", &said)
		}
	})

	await := func(status string) {
		t.Helper()
		proxytest.Eventually(t, agentPatience, "the server is "+status, func() bool {
			got, _ := haproxyServer(stats)
			return strings.HasPrefix(got, status)
		})
	}
	for range 2 { // of 4 that it may have: half of its load, if nothing else is more
		c, err := net.Dial("tcp", o.RTSP)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	proxytest.Eventually(t, agentPatience, "half of its weight at most, and not none", func() bool {
		status, weight := haproxyServer(stats)
		n, err := strconv.Atoi(weight)
		return err == nil && n > 0 && n <= 100 && strings.HasPrefix(status, "UP")
	})
	a.Drain()
	await("DRAIN")
	a.Resume()
	await("UP")
	origin.Die()
	await("DOWN (agent)")
	if err := origin.Revive(); err != nil {
		t.Fatal(err)
	}
	await("UP")
}

// haproxyServer is what HAProxy says of its server; nothing before it has started.
func haproxyServer(stats string) (status, weight string) {
	c, err := net.Dial("unix", stats)
	if err != nil {
		return "", ""
	}
	defer c.Close()
	io.WriteString(c, "show stat\n") //nolint:errcheck // there is no answer then
	b, _ := io.ReadAll(c)
	for line := range strings.Lines(string(b)) {
		if f := strings.Split(line, ","); len(f) > 18 && f[0] == "pool" && f[1] == "one" {
			return f[17], f[18]
		}
	}
	return "", ""
}
