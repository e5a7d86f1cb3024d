package splitter

import (
	"context"
	"net/url"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// A camera that knows Basic only is pulled with the URL's credentials.
func TestBasicCredentials(t *testing.T) {
	f := func(user *url.Userinfo, want bool) {
		t.Helper()
		o := newFakeOrigin()
		defer o.close()
		o.basic = "Basic Y2FtOnMzY3JldA==" // cam:s3cret
		up := &proxytest.Upstream{DialFunc: func(ctx context.Context, w proxy.Want) (*proxy.Link, error) {
			link, err := o.dial(ctx, w)
			if err == nil {
				link.URL.User = user
			}
			return link, err
		}}
		p := &puller{path: "/cam", upstream: up, transport: "tcp", timeout: time.Second}
		pl, err := p.describe(t.Context())
		if (err == nil) != want {
			t.Errorf("describe with %v: %v", user, err)
		}
		if err == nil {
			pl.close()
		} else if r := proxy.Refused(err); r.Reason != proxy.OriginRefused {
			t.Errorf("describe with %v: %v, want %s", user, err, proxy.OriginRefused)
		}
	}
	f(url.UserPassword("cam", "s3cret"), true)
	f(url.UserPassword("cam", "wrong"), false)
	f(nil, false)
}

// H.265: a new viewer starts at the parameter sets before the key frame.
func TestH265Start(t *testing.T) {
	const h265SDP = head + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\n"
	c := newCamera(t, h265SDP)
	now := time.Now()
	c.source(now)
	nal := func(kind byte, marker bool) { c.send(0, now, marker, kind<<1, 1, 0xaa, 0xbb) }
	picture := func(kinds ...byte) {
		now = now.Add(40 * time.Millisecond)
		c.ts[0] += 3600
		for i, k := range kinds {
			nal(k, i == len(kinds)-1)
		}
	}
	picture(1)              // a trailing picture: nobody can begin there
	picture(32, 33, 34, 19) // VPS, SPS, PPS, IDR
	picture(1)
	picture(35, 21) // an access unit delimiter, and a clean random access picture
	picture(1)
	at := from(c.ring)
	pkt, _, _ := at.packet()
	if pkt == nil || pkt[12]>>1 != 35 {
		t.Fatalf("a new viewer starts at %x, want the access unit of the last key frame", pkt)
	}
	if n := len(seen(&at, 0)); n != 3 {
		t.Errorf("%d packets behind the start, want 3", n)
	}
}

// A transport stream: a new viewer starts at the tables before the key frame,
// though every packet has a time stamp of its own.
func TestTransportStreamStart(t *testing.T) {
	const tsSDP = head + "m=video 0 RTP/AVP 33\r\n"
	ts := func(head ...byte) []byte { return append(head, make([]byte, 188-len(head))...) }
	tables := ts(0x47, 0x40, 0, 0x10, 0, 0, 0xb0)
	key := ts(0x47, 0x41, 0, 0x30, 7, 0x50, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xe0)
	other := ts(0x47, 0x41, 0, 0x30, 7, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xe0)
	f := func(what string, from, want int, packets ...[]byte) {
		t.Helper()
		c := newCamera(t, tsSDP)
		now := time.Now()
		c.source(now)
		for _, p := range packets {
			now = now.Add(10 * time.Millisecond)
			c.ts[0] += 900
			c.send(0, now, false, p...)
		}
		c.flushNow(now)
		at, waits := c.ring.start()
		if waits {
			t.Errorf("%s: nothing to start with", what)
			return
		}
		got := seen(&at, 0)
		if len(got) != want {
			t.Errorf("%s: %d packets behind the start, want %d", what, len(got), want)
		}
		for i, p := range got {
			if string(p.bytes[12:]) != string(packets[from+i]) {
				t.Errorf("%s: packet %d is another one", what, i)
			}
		}
	}
	f("tables and key frame in one packet", 1, 3, other, append(tables, key...), other, other)
	f("tables before", 0, 2, key, other)
	f("tables some packets before", 2, 5, key, other, tables, other, key, other, other)
	f("tables between key frames", 2, 3, key, other, tables, key, other)
	f("no tables", 3, 2, key, other, other, key, other)
}

// A transport stream passes from its first tables on, in each life, though it never
// says where decoding may begin; new viewers start at the newest tables until it does.
func TestTransportStreamWithoutKeyFrames(t *testing.T) {
	ts := func(head ...byte) []byte { return append(head, make([]byte, 188-len(head))...) }
	tables := ts(0x47, 0x40, 0, 0x10, 0, 0, 0xb0)
	f := func(what string, media []byte) {
		t.Helper()
		c := newCamera(t, head+"m=video 0 RTP/AVP 33\r\n")
		now := time.Now()
		c.source(now)
		at := c.ring.here()
		send := func(packets ...[]byte) {
			for _, p := range packets {
				now = now.Add(10 * time.Millisecond)
				c.ts[0] += 900
				c.send(0, now, false, p...)
			}
			c.flushNow(now)
		}
		for life := range 2 {
			send(media, tables, media, media, tables, media)
			if n := len(seen(&at, 0)); n != 5 {
				t.Errorf("%s, life %d: %d packets pass, want the 5 from the first tables on", what, life, n)
			}
			start, waits := c.ring.start()
			if waits {
				t.Errorf("%s, life %d: nothing to start with", what, life)
			} else if n := len(seen(&start, 0)); n != 2 {
				t.Errorf("%s, life %d: a viewer starts %d packets back, want 2", what, life, n)
			}
			c.again(now)
		}
		key := ts(0x47, 0x41, 0, 0x30, 7, 0x50, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xe0)
		send(tables, media, tables, key, media, tables, media)
		start, waits := c.ring.start()
		if waits {
			t.Errorf("%s: nothing to start with behind a key frame", what)
		} else if n := len(seen(&start, 0)); n != 5 {
			t.Errorf("%s: a viewer starts %d packets back, want the 5 from the tables before the key frame on", what, n)
		}
	}
	f("radio", ts(0x47, 0x41, 0, 0x30, 7, 0x50, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xc0))
	f("pictures without random_access_indicator", ts(0x47, 0x41, 0, 0x10, 0, 0, 1, 0xe0))
}

// flushNow publishes what has gathered.
func (c *camera) flushNow(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush(now)
}

// What key frames are known of starts at the newest: a picture for MJPEG, and one
// that refers to none for the others, behind the gate of the first.
func TestKeyFrameStarts(t *testing.T) {
	f := func(rtpmap string, key, other []byte) {
		t.Helper()
		c := newCamera(t, head+"m=video 0 RTP/AVP 96\r\na=rtpmap:96 "+rtpmap+"/90000\r\n")
		at := c.ring.here()
		now := time.Now()
		c.source(now)
		frame := func(p []byte) {
			now = now.Add(40 * time.Millisecond)
			c.ts[0] += 3600
			c.send(0, now, false, p...)
			c.send(0, now, true, 0, 1, 1, 1, 1, 1, 1, 1, 1)
		}
		for _, p := range [][]byte{other, key, other, key, other, other} {
			frame(p)
		}
		if n := len(seen(&at, 0)); n != 10 {
			t.Errorf("%s: %d packets passed the gate, want 10", rtpmap, n)
		}
		at, waits := c.ring.start()
		if n := len(seen(&at, 0)); waits || n != 6 {
			t.Errorf("%s: %d packets behind the start (waits %v), want 6", rtpmap, n, waits)
		}
	}
	f("AV1", []byte{0x18, 0x0a, 1}, []byte{0x10, 0x32, 0})
	f("VP8", []byte{0x10, 0x10, 2}, []byte{0x10, 0x11, 2})
	f("VP9", []byte{0x08, 0x82}, []byte{0x48, 0x86})
	f("MP4V-ES", []byte{0, 0, 1, 0xb0, 1}, []byte{0, 0, 1, 0xb6, 0x50})
	f("MPV", []byte{0, 0, 0x39, 0}, []byte{0, 0, 0x1a, 0})
}
