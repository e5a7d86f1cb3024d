package passthrough

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"weir/proxy/origintest"
	"weir/proxy/proxytest"
)

// startOrigin runs an origin until the test ends.
func startOrigin(t *testing.T, opt origintest.Options) *origintest.Origin {
	t.Helper()
	o, err := origintest.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("origin: %v", err)
		}
	})
	return o
}

// target is the server at a URL.
func target(t *testing.T, raw string) Target {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return Target{URL: u, Addr: u.Host}
}

// ask does one probe, with little patience.
func ask(t *testing.T, probe string, target Target) error {
	t.Helper()
	p, err := ParseProbe(probe)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	return p.Do(ctx, target)
}

// wantProbe fails the test unless the error of a probe has want in it; "" is none.
func wantProbe(t *testing.T, what string, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
	if err != nil && strings.Contains(err.Error(), "s3cr") {
		t.Errorf("%s: %v has a secret in it", what, err)
	}
}

func TestParseProbe(t *testing.T) {
	f := func(s string, want Probe) {
		t.Helper()
		if got, err := ParseProbe(s); err != nil || got != want {
			t.Errorf("ParseProbe(%q) = %+v, %v, want %+v", s, got, err, want)
		}
	}
	f("tcp", Probe{Kind: "tcp", Low: 200, High: 399})
	f("rtsp", Probe{Kind: "rtsp", Low: 200, High: 399})
	f("describe", Probe{Kind: "describe", Low: 200, High: 399})
	f("describe:/a b", Probe{Kind: "describe", Path: "/a b", Low: 200, High: 399})
	f("http:/x", Probe{Kind: "http", Path: "/x", Low: 200, High: 399})
	f("http:/x=204", Probe{Kind: "http", Path: "/x", Low: 204, High: 204})
	f("http:/x?a=b", Probe{Kind: "http", Path: "/x", Query: "a=b", Low: 200, High: 399})
	f("http:/x?a=b=401-404", Probe{Kind: "http", Path: "/x", Query: "a=b", Low: 401, High: 404})
	f("hls:/x.m3u8?t=1", Probe{Kind: "hls", Path: "/x.m3u8", Query: "t=1", Low: 200, High: 399})
}

func TestProbeRTSP(t *testing.T) {
	o := startOrigin(t, origintest.Options{Addr: "127.0.0.1:0", User: "u", Password: "s3cr"})
	addr := strings.TrimPrefix(o.URL(), "rtsp://")
	closed := "rtsp://" + proxytest.ClosedAddr(t)
	f := func(probe, server, want string) {
		t.Helper()
		wantProbe(t, probe+" of "+server, ask(t, probe, target(t, server)), want)
	}
	f("tcp", o.URL(), "")
	f("tcp", closed, "connection refused")
	f("rtsp", o.URL(), "")
	f("rtsp", o.URL()+"/nothing", "")
	f("rtsp", closed, "rtsp probe: dial tcp")
	f("describe:/live/clock", "rtsp://u:s3cr@"+addr, "")
	f("describe", "rtsp://u:s3cr@"+addr+"/live/clock", "")
	f("describe:/clock", "rtsp://u:s3cr@"+addr+"/live/", "")
	f("describe:/nothing", "rtsp://u:s3cr@"+addr, "describe probe: answer 404")
	f("describe:/live/clock", "rtsp://u:wrong@"+addr, "describe probe: answer 401")
	f("describe:/live/clock", o.URL(), "describe probe: answer 401")
	wantProbe(t, "the zero Probe", new(Probe).Do(t.Context(), target(t, o.URL())), "no such probe")
}

// answering is a server that sends a text to everybody who has asked something.
func answering(t *testing.T, text string) string {
	t.Helper()
	addr, conns := listen(t, "127.0.0.1")
	go func() {
		for c := range conns {
			if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
				io.WriteString(c, text) //nolint:errcheck // the probe says what came
			}
			c.Close()
		}
	}()
	return addr
}

func TestProbeStrangers(t *testing.T) {
	f := func(probe, scheme, text, want string) {
		t.Helper()
		addr := answering(t, text)
		wantProbe(t, fmt.Sprintf("%s answered %q", probe, text), ask(t, probe, target(t, scheme+"://"+addr)), want)
	}
	f("rtsp", "rtsp", "RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n", "")
	f("rtsp", "rtsp", "RTSP/1.0 503 \r\nCSeq: 1\r\n\r\n", "")
	f("rtsp", "rtsp", "$\x00\x00\x01xRTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n", "")
	f("rtsp", "rtsp", "HTTP/1.1 400 Bad Request\r\n\r\n", "malformed RTSP")
	f("rtsp", "rtsp", "", "EOF")
	f("describe:/x", "rtsp", "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n", "sdp")
	f("http:/", "http", "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n", "malformed HTTP")
	f("http:/", "http", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "")
}

// A server that accepts and says nothing fails a probe in time, and so does one
// that nobody waits for any more.
func TestProbeMute(t *testing.T) {
	addr, _ := listen(t, "127.0.0.1")
	for _, probe := range []string{"rtsp", "describe:/x", "http:/x", "hls:/x"} {
		p, err := ParseProbe(probe)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := p.Do(ctx, target(t, "http://"+addr)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s of a mute server: %v, want that the time was over", probe, err)
		}
		cancel()
	}
}

func TestProbeHTTP(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case r.URL.Path != "/base/up" || r.URL.RawQuery != "key=s3cr":
			w.WriteHeader(http.StatusNotFound)
		case user != "u" || password != "s3cr" || r.Header.Get("X-Key") != "k" || r.Host != "cdn.example":
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer s.Close()
	server := target(t, strings.Replace(s.URL, "://", "://u:s3cr@", 1)+"/base")
	server.Header = http.Header{"X-Key": {"k"}, "Host": {"cdn.example"}}
	f := func(probe, want string) {
		t.Helper()
		wantProbe(t, probe, ask(t, probe, server), want)
	}
	f("http:/up?key=s3cr", "")
	f("http:/up?key=s3cr=200", "")
	f("http:/up?key=s3cr=204-299", "http probe: answer 200 OK")
	f("http:/up", "http probe: answer 404 Not Found")
	f("http:/up=404", "")
	f("hls:/up?key=s3cr", "hls probe: not a playlist")
	f("hls:/up", "hls probe: answer 404")
	delete(server.Header, "X-Key")
	f("http:/up?key=s3cr", "answer 403")
}

func TestPlaylistMustAdvance(t *testing.T) {
	live := func(sequence int, target, last string) string {
		return fmt.Sprintf("#EXTM3U\n#EXT-X-TARGETDURATION:%s\n#EXT-X-MEDIA-SEQUENCE:%d\n#EXTINF:4,\n%s\n", target, sequence, last)
	}
	var m playlistMark
	f := func(after time.Duration, text, want string) {
		t.Helper()
		pl, err := parsePlaylist(text)
		if err == nil {
			err = m.advance(pl, at(after))
		}
		wantProbe(t, fmt.Sprintf("after %v, %q", after, text), err, want)
	}
	f(0, live(7, "4", "a.ts"), "")
	f(30*time.Second, live(7, "4", "a.ts"), "")
	f(31*time.Second, live(7, "4", "a.ts"), "has not advanced for 31s")
	f(32*time.Second, live(8, "4", "a.ts"), "")
	f(62*time.Second, live(8, "4", "b.ts"), "") // a growing event playlist
	f(93*time.Second, live(8, "20", "b.ts"), "")
	f(123*time.Second, live(8, "20", "b.ts"), "has not advanced for 1m1s")
	f(200*time.Second, live(1, "4", "a.ts"), "") // the packager was restarted
	f(time.Hour, live(1, "4", "a.ts")+"#EXT-X-ENDLIST\n", "")
	f(0, "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n", "probe one of them")
	f(0, "<html>", "not a playlist")
	f(0, "", "not a playlist")
}

func TestProbeHLS(t *testing.T) {
	file := t.TempDir() + "/live.m3u8"
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) }))
	defer s.Close()
	p, err := ParseProbe("hls:/live.m3u8")
	if err != nil {
		t.Fatal(err)
	}
	f := func(want string) {
		t.Helper()
		wantProbe(t, "playlist", p.Do(t.Context(), target(t, s.URL)), want)
	}
	write("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:1\na.ts\n")
	f("")
	f("")
	p.seen.since = p.seen.since.Add(-time.Minute)
	f("hls probe: the playlist has not advanced for 1m0s")
	write("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:2\nb.ts\n")
	f("")
	p.seen.since = p.seen.since.Add(-time.Minute)
	write("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:2\nb.ts\n#EXT-X-ENDLIST\n")
	f("")
}

func FuzzParseProbe(f *testing.F) {
	f.Add("http:/x?y=200-399", "#EXTM3U\n#EXT-X-TARGETDURATION:9\nx")
	f.Add("describe:", "#EXTM3U\n:")
	f.Fuzz(func(t *testing.T, text, list string) {
		if p, err := ParseProbe(text); err == nil {
			u := p.url(Target{URL: &url.URL{Scheme: "rtsp", Host: "cam", Path: "/base"}})
			if s := u.String(); strings.ContainsAny(s, " \r\n\x00") || u.Host != "cam" {
				t.Errorf("ParseProbe(%q) asks for %q", text, s)
			}
		}
		if pl, err := parsePlaylist(list); err == nil && pl.target < 0 {
			t.Errorf("target duration %v", pl.target)
		}
	})
}
