package passthrough

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"testing"
)

// agentOptions reads a command line.
func agentOptions(t *testing.T, line string) *AgentOptions {
	t.Helper()
	fs := flag.NewFlagSet("agent", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o := AgentFlags(fs)
	if err := fs.Parse(strings.Fields(line)); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return o
}

func TestAgentServices(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		o := agentOptions(t, line)
		if err := o.Validate(); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		var got []string
		for _, s := range o.Services() {
			got = append(got, fmt.Sprintf("%s %s %s:%d", s.Proto, s.Addr, s.Host, s.Port))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	f("-rtsp 127.0.0.1:554", "rtsp 127.0.0.1:554 :554")
	f("-rtsp localhost:554 -http [::1]:80", "rtsp localhost:554 :554, http [::1]:80 :80")
	f("-http 0.0.0.0:80", "http 0.0.0.0:80 :80")
	f("-https origin.example:8443 -rtsps 10.0.0.7:322", "rtsps 10.0.0.7:322 10.0.0.7:322, https origin.example:8443 origin.example:8443")
	f("-rtsp 127.0.0.1:554 -http 10.0.0.7:80 -advertise o1.example", "rtsp 127.0.0.1:554 o1.example:554, http 10.0.0.7:80 o1.example:80")
	f("-rtsp 127.0.0.1:554 -http 127.0.0.1:80 -advertise http=10.0.0.9:8080", "rtsp 127.0.0.1:554 :554, http 127.0.0.1:80 10.0.0.9:8080")
	f("-rtsp 127.0.0.1:554 -http 127.0.0.1:80 -advertise [fd00::1] -advertise rtsp=o2:1554", "rtsp 127.0.0.1:554 o2:1554, http 127.0.0.1:80 fd00::1:80")
}

func TestAgentProbes(t *testing.T) {
	f := func(line, proto, kind, path string) {
		t.Helper()
		all, err := agentOptions(t, line).probes()
		if p := all[proto]; err != nil || p.Kind != kind || p.Path != path {
			t.Errorf("%s: %s is %+v, %v", line, proto, p, err)
		}
	}
	f("-rtsp a:1", "rtsp", "rtsp", "")
	f("-rtsps a:1", "rtsps", "rtsp", "")
	f("-https a:1", "https", "tcp", "")
	f("-rtsp a:1 -http b:2 -probe rtsp=describe:/live/clock", "rtsp", "describe", "/live/clock")
	f("-rtsp a:1 -http b:2 -probe rtsp=tcp -probe http=hls:/live/a=b.m3u8", "http", "hls", "/live/a=b.m3u8")
	f("-http b:2 -probe http=http:/health=200-299", "http", "http", "/health")
}

// TestAgentMistakes: each is told with its flag.
func TestAgentMistakes(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		err := agentOptions(t, line).Validate()
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q in it", line, err, w)
			}
		}
	}
	f("", "-rtsp, -rtsps, -http and -https: at least one is needed")
	f("-rtsp 554", "-rtsp 554: must be host:port of the origin")
	f("-rtsp :554 -http h:0", "-rtsp :554: must be host:port", "-http h:0: must be")
	f("-rtsp h:554 -check 0s -rise 0 -fall 0 -timeout 0s", "-check 0s", "-rise 0", "-fall 0", "-timeout 0s")
	f("-rtsp h:554 -weight 0 -capacity -1", "-weight 0", "-capacity -1")
	f("-rtsp h:554 -path vod", "-path vod: must be a prefix")
	f("-rtsp h:554 -interface nosuch0", "-interface nosuch0: must be one of this machine's interfaces")
	f("-rtsp h:554 -agent-check 8700", "-agent-check 8700: must be host:port")
	f("-rtsp h:554 -probe http=tcp", "-probe http=tcp: there is no -http")
	f("-rtsp h:554 -probe ftp=tcp", "-probe ftp=tcp: must begin with rtsp=")
	f("-rtsp h:554 -probe describe:/x", "-probe describe:/x: must begin with rtsp=")
	f("-rtsp h:554 -probe rtsp=hls:/x", "-probe rtsp=hls:/x: hls is no probe for rtsp")
	f("-rtsp h:554 -probe rtsp=tcp -probe rtsp=rtsp", "-probe rtsp=rtsp: rtsp has a probe already")
	f("-rtsp h:554 -probe rtsp=ping", "-probe rtsp=ping: must be one of tcp")
	f("-rtsp h:554 -advertise http=h:1", "-advertise http=h:1: must be")
	f("-rtsp h:554 -advertise h:1", "-advertise h:1: must be")
	f("-rtsp h:554 -advertise rtsp=h", "-advertise rtsp=h: must be")
	f("-rtsp h:554 -advertise rtsp://h", "-advertise rtsp://h: must be")
}
