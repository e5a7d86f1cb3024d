package passthrough

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

func TestCheckLine(t *testing.T) {
	o := quickAgent()
	o.RTSP, o.HTTP = "127.0.0.1:1", "127.0.0.1:2"
	f := func(rtsp, web error, draining bool, cpu float64, want string) {
		t.Helper()
		a := newTestAgent(t, o, newEar())
		a.note(a.services[0], rtsp, 0, time.Now())
		a.note(a.services[1], web, 0, time.Now())
		a.draining, a.machine.cpu = draining, cpu
		if got := a.checkLine(); got != want {
			t.Errorf("rtsp %v, http %v, draining %v, CPU %v: %q, want %q", rtsp, web, draining, cpu, got, want)
		}
	}
	dead := errors.New("no\nanswer, #1")
	f(nil, nil, false, 0.25, "ready up 75%\n")
	f(nil, nil, false, 0, "ready up 100%\n")
	f(nil, nil, false, 1, "ready up 1%\n")
	f(nil, dead, false, 0.5, "ready up 50%\n")
	f(dead, dead, false, 0.5, "down #http is unwell: no answer   1\n")
	f(dead, dead, true, 0.5, "drain\n")
	f(nil, nil, true, 0.5, "drain\n")
	f(dead, errors.New(strings.Repeat("x", 1000)), false, 0, "down #http is unwell: "+strings.Repeat("x", 100-len("http is unwell: "))+"\n")
}

// TestAgentCheck: each who connects gets one line, also one who says something first,
// and many who say nothing keep nobody out for longer than a second.
func TestAgentCheck(t *testing.T) {
	origin, o := newMum(t), quickAgent()
	o.HTTP, o.AgentCheck = origin.Addr().String(), "127.0.0.1:0"
	a := runAgent(t, o, newEar())
	ask := func(say string) (string, error) {
		c, err := net.Dial("tcp", a.CheckAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(agentPatience)) //nolint:errcheck // the read says it
		io.WriteString(c, say)                       //nolint:errcheck // likewise
		b, err := io.ReadAll(c)
		return string(b), err
	}
	for _, say := range []string{"", "weir\n"} {
		if got, err := ask(say); err != nil || !strings.HasPrefix(got, "ready up ") || !strings.HasSuffix(got, "%\n") {
			t.Errorf("after %q: %q, %v", say, got, err)
		}
	}
	for range 3 * maxChecks { // who stay
		c, err := net.Dial("tcp", a.CheckAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	proxytest.Eventually(t, agentPatience, "an answer again", func() bool {
		got, err := ask("")
		return err == nil && strings.HasPrefix(got, "ready up ")
	})
}
