package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/proxy/proxytest"
)

// runAgentCommand runs it, and returns what it prints.
func runAgentCommand(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := agentCommand(t.Context(), invocation{args: args, stdout: &out, stderr: io.Discard})
	return out.String(), err
}

// TestAgentFlagTexts: every flag says something, in the style of the others.
func TestAgentFlagTexts(t *testing.T) {
	newAgentConfig(io.Discard).fs.VisitAll(func(f *flag.Flag) {
		if len(f.Usage) < 20 && f.Name != "log.level" || strings.HasSuffix(f.Usage, ".") {
			t.Errorf("-%s: %q", f.Name, f.Usage)
		}
	})
}

// TestAgentCommandMistakes: all are told together, each with its flag.
func TestAgentCommandMistakes(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		_, err := runAgentCommand(t, strings.Fields(line)...)
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("weir agent %s: %v, want %q in it", line, err, w)
			}
		}
	}
	f("", "-rtsp, -rtsps, -http and -https: at least one", "-cluster.join, -cluster.listen or -agent-check: one is needed")
	f("-rtsp h:1 -cluster.join edge1", "-cluster.key-file: needed off loopback")
	f("-rtsp h:1 -cluster.listen nowhere -weight 0 -drain.notice -1s", "-cluster.listen nowhere", "-weight 0", "-drain.notice -1s")
	f("-rtsp h:1 -agent-check :0 -log.level loud -log.format xml", "-log.level", `-log.format "xml"`)
	f("-rtsp h:1 -agent-check :0 -cluster.key-file k", "-cluster.key-file: does nothing without -cluster.listen")
	f("-drain -ready", "-drain and -ready: one or the other")
	f("-drain extra", `"extra" is not a flag`)
	f("-no-such", "no-such")
	f("-rtsp h:1 -cluster.listen 127.0.0.1:0 -path /"+strings.Repeat("x", 210), "identity")
}

func TestAgentIdentity(t *testing.T) {
	c := newAgentConfig(io.Discard)
	err := c.parse(strings.Fields("-rtsp 127.0.0.1:554 -http 127.0.0.1:8888 -advertise http=10.0.0.7:80 -weight 2 -capacity 500 -path /vod/ -path /live -cluster.listen 127.0.0.1:0"))
	if err == nil {
		err = c.complete()
	}
	id := c.identity()
	got := fmt.Sprint(id.Role, id.Services, id.Weight, id.Capacity, id.Paths)
	if want := "origin[{rtsp  554} {http 10.0.0.7 80}] 2 500 [/vod/ /live]"; err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	if host, _ := os.Hostname(); c.cluster.Name != host+"-origin" || c.admin.Addr != "127.0.0.1:9091" {
		t.Errorf("name %q, door %s", c.cluster.Name, c.admin.Addr)
	}
}

// TestAgentOrders: the agent that runs is asked through its door, with its token.
func TestAgentOrders(t *testing.T) {
	f := func(status int, answer, args, path, out, failure string) {
		t.Helper()
		asked, token := "", ""
		d := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked, token = r.Method+" "+r.URL.Path, r.Header.Get("Authorization")
			w.WriteHeader(status)
			io.WriteString(w, answer) //nolint:errcheck // the command says it
		}))
		defer d.Close()
		got, err := runAgentCommand(t, append(strings.Fields(args), "-admin", d.Listener.Addr().String())...)
		if asked != path || got != out || (err == nil) != (failure == "") || err != nil && !strings.Contains(err.Error(), failure) {
			t.Errorf("%s: asked %s, %q, %v", args, asked, got, err)
		}
		if want := map[bool]string{true: "Bearer secret"}[strings.Contains(args, "secret")]; token != want {
			t.Errorf("%s: token %q", args, token)
		}
	}
	f(200, `{"draining":true}`, "-drain", "POST /agent/drain", "the origin is out of rotation; who is connected stays\n", "")
	f(200, `{"draining":false}`, "-ready -admin.token secret", "POST /agent/ready", "the origin is in rotation\n", "")
	f(200, `{"draining":false}`, "-drain", "POST /agent/drain", "", "is this the door of an agent?")
	f(200, `hello`, "-ready", "POST /agent/ready", "", `it answers "hello"`)
	f(401, ``, "-drain", "POST /agent/drain", "", "asks for its token")
	f(401, ``, "-drain -admin.token secret", "POST /agent/drain", "", "another token")
	f(404, ``, "-drain", "POST /agent/drain", "", "is no agent")
	f(403, `Not here.`, "-drain", "POST /agent/drain", "", "status 403: Not here.")
	_, err := runAgentCommand(t, "-drain", "-admin", proxytest.ClosedAddr(t))
	if err == nil || !strings.Contains(err.Error(), "is the agent running") {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := runAgentCommand(t, "-drain", "-admin", "a b"); err == nil || !strings.Contains(err.Error(), `-admin "a b"`) {
		t.Errorf("no address: %v", err)
	}
}

// TestAgentLeavesWithASignal: it says so until the notice is over.
func TestAgentLeavesWithASignal(t *testing.T) {
	c := newAgentConfig(io.Discard)
	err := c.parse(strings.Fields("-http 127.0.0.1:1 -agent-check 127.0.0.1:0 -admin 127.0.0.1:0 -drain.notice 300ms"))
	if err == nil {
		err = c.complete()
	}
	if err != nil {
		t.Fatal(err)
	}
	n, err := newAgentNode(c, proxytest.Logger(t), zap.NewAtomicLevel())
	if err != nil {
		t.Fatal(err)
	}
	signals, done := make(chan os.Signal, 1), make(chan error, 1)
	began := time.Now()
	go func() { done <- n.run(t.Context(), signals) }()
	signals <- syscall.SIGTERM
	if err := <-done; err != nil || time.Since(began) < 300*time.Millisecond {
		t.Errorf("ended after %v: %v", time.Since(began), err)
	}
	if b, _ := json.Marshal(n.parts[0].Part.Status()); !strings.Contains(string(b), `"draining":true`) {
		t.Errorf("%s", b)
	}
}
