package origintest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	wrtp "weir/proxy/rtp"
)

// quiet fails if packets come in the time of several, once those on their way
// have arrived.
func quiet(t *testing.T, v *viewer) {
	t.Helper()
	const pause = 200 * time.Millisecond
	defer v.c.SetReadDeadline(time.Now().Add(4 * patience))
	for end := time.Now().Add(patience); time.Now().Before(end); {
		v.c.SetReadDeadline(time.Now().Add(pause))
		if _, err := v.r.Next(); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("packets go on")
}

func TestStall(t *testing.T) {
	t.Parallel()
	o := run(t, Options{})
	v := dial(t, o, "/live/radio")
	v.setup(1)
	v.ok("PLAY", v.url)
	v.rtp(0)
	o.Stall(true)
	quiet(t, v)
	v.ok("GET_PARAMETER", v.url)
	o.Stall(false)
	v.rtp(0)
}

func TestMute(t *testing.T) {
	t.Parallel()
	o := run(t, Options{HTTP: "127.0.0.1:0"})
	v := dial(t, o, "/live/clock")
	v.ok("OPTIONS", v.url)
	o.Mute(true)
	v.send("OPTIONS", v.url)
	client := &http.Client{Timeout: 200 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	if res, err := client.Get(o.HTTPURL() + "/hello.txt"); err == nil {
		res.Body.Close()
		t.Errorf("HTTP answers %s", res.Status)
	}
	quiet(t, v)
	o.Mute(false)
	if res := v.ok("OPTIONS", v.url); res.Header.Get("CSeq") != "3" {
		t.Errorf("answer to CSeq %s, want only the one after", res.Header.Get("CSeq"))
	}
}

func TestDieAndRevive(t *testing.T) {
	t.Parallel()
	o := run(t, Options{HTTP: "127.0.0.1:0", UDP: true})
	v := dial(t, o, "/live/clock")
	before := v.setup(2)
	v.ok("PLAY", v.url)
	v.rtp(0)
	file, err := net.Dial("tcp", strings.TrimPrefix(o.HTTPURL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fmt.Fprintf(file, "GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := file.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	o.Die()
	o.Die()
	for err = nil; err == nil; { // what was on its way may come
		_, err = v.r.Next()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("RTSP ended with %v, want a reset", err)
	}
	if _, err = io.Copy(io.Discard, file); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("HTTP ended with %v, want a reset", err)
	}
	for _, addr := range []string{o.URL(), o.HTTPURL()} {
		if c, err := net.Dial("tcp", addr[strings.LastIndex(addr, "/")+1:]); err == nil {
			c.Close()
			t.Errorf("%s still listens", addr)
		}
	}
	if c := o.Counts(); c.Open != 0 || c.Playing != 0 || c.Connections != 1 {
		t.Errorf("Counts of the dead = %+v", c)
	}

	if err := o.Revive(); err != nil {
		t.Fatal(err)
	}
	if o.Revive() == nil {
		t.Error("revived while alive")
	}
	v = dial(t, o, "/live/clock")
	if after := v.setup(2); after[0] == before[0] || after[1] == before[1] {
		t.Errorf("SSRCs are %v, before they were %v", after, before)
	}
	v.ok("PLAY", v.url)
	v.rtp(0)
}

// Dying before Run is dying, and Run lives on after that.
func TestDieEarly(t *testing.T) {
	t.Parallel()
	o := run(t, Options{})
	o.Die()
	if err := o.Revive(); err != nil {
		t.Fatal(err)
	}
	o.Die()
	if err := o.Revive(); err != nil {
		t.Fatal(err)
	}
	v := dial(t, o, "/live/clock")
	v.ok("DESCRIBE", v.url)
}

// Everything may be called by any goroutine at any time.
func TestFaultsAtOnce(t *testing.T) {
	t.Parallel()
	o := run(t, Options{UDP: true, HTTP: "127.0.0.1:0"})
	var work sync.WaitGroup
	for i := range 30 {
		v := dial(t, o, "/live/clock")
		v.send("DESCRIBE", v.url)
		work.Go(o.ChangeSSRC)
		work.Go(func() { o.Stall(i%2 == 0) })
		work.Go(func() { o.Counts() })
		o.Die()
		if err := o.Revive(); err != nil {
			t.Fatal(err)
		}
	}
	work.Wait()
	o.Stall(false)
	v := dial(t, o, "/live/clock")
	v.setup(1)
	v.ok("PLAY", v.url)
	v.rtp(0)
}

func TestChangeSSRC(t *testing.T) {
	t.Parallel()
	o := run(t, Options{})
	stored := dial(t, o, "/vod/clip")
	storedSSRC := stored.setup(1)[0]
	stored.ok("PLAY", stored.url)
	v := dial(t, o, "/live/clock")
	before := v.setup(2)
	v.ok("PLAY", v.url)
	if got := fmt.Sprintf("%08X", wrtp.SSRC(v.rtp(0))); got != before[0] {
		t.Errorf("SSRC = %s, SETUP said %s", got, before[0])
	}
	o.ChangeSSRC()
	after := dial(t, o, "/live/clock").setup(2)
	if after[0] == before[0] || after[1] == before[1] {
		t.Fatalf("SETUP says %v, before it said %v", after, before)
	}
	seen := [4]bool{} // RTP and RTCP of both tracks under the new one
	for seen != [4]bool{true, true, true, true} {
		c, pkt := v.packet()
		got := fmt.Sprintf("%08X", ssrcOf(c, pkt))
		seen[c] = seen[c] || got == after[c/2]
		if seen[c] && got != after[c/2] {
			t.Fatalf("channel %d goes back to %s", c, got)
		}
	}
	if got := fmt.Sprintf("%08X", wrtp.SSRC(stored.rtp(0))); got != storedSSRC {
		t.Errorf("SSRC of a stored stream = %s, SETUP said %s", got, storedSSRC)
	}
	if c := o.Counts(); c.Playing != 2 || c.Pulls != 2 {
		t.Errorf("Counts = %+v", c)
	}
}

func TestLose(t *testing.T) {
	t.Parallel()
	o := run(t, Options{})
	v := dial(t, o, "/live/radio")
	v.setup(1)
	v.ok("PLAY", v.url)
	o.Lose(5)
	f := func(lossy bool) {
		t.Helper()
		last, gaps := wrtp.Seq(v.rtp(0)), 0
		for range 20 {
			seq := wrtp.Seq(v.rtp(0))
			gaps += int(seq - last - 1)
			last = seq
		}
		if gaps > 0 != lossy || gaps > 15 {
			t.Errorf("%d packets of 20 were lost, lossy is %v", gaps, lossy)
		}
	}
	f(true)
	o.Lose(0)
	v.rtp(0)
	v.rtp(0)
	f(false)
}

func TestFiles(t *testing.T) {
	t.Parallel()
	f := func(opt Options, path, want string) {
		t.Helper()
		opt.HTTP = "127.0.0.1:0"
		o := run(t, opt)
		res, err := http.Get(o.HTTPURL() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 || !strings.HasPrefix(string(body), want) {
			t.Errorf("GET %s: %s %.20q %v", path, res.Status, body, err)
		}
		if c := o.Counts(); c.HTTPRequests != 1 || c.Connections != 0 {
			t.Errorf("Counts = %+v", c)
		}
		http.DefaultClient.CloseIdleConnections()
	}
	f(Options{}, "/hello.txt", "Hello")
	f(Options{}, "/clip.ts", "G")
	f(Options{Files: fstest.MapFS{"a/b": {Data: []byte("own")}}}, "/a/b", "own")
	if o := run(t, Options{}); o.HTTPURL() != "" {
		t.Errorf("HTTPURL = %s without files", o.HTTPURL())
	}
}

func TestBadOptions(t *testing.T) {
	f := func(opt Options) {
		t.Helper()
		if o, err := New(opt); err == nil {
			o.Die()
			t.Errorf("New(%+v) took it", opt)
		}
	}
	f(Options{Addr: "127.0.0.1:0", Live: []string{"cam"}})
	f(Options{Addr: "127.0.0.1:99999"})
	f(Options{Addr: "127.0.0.1:0", HTTP: "nonsense"})
}
