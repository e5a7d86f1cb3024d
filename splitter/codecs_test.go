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
