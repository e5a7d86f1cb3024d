package proxy_test

import (
	"testing"

	"weir/proxy"
	"weir/proxy/wire"
)

// A mark is good for the path that it was made for.
func TestPeerAsksForOnePath(t *testing.T) {
	v := proxy.Viewer{Path: "/cam", Peer: true}
	f := func(method, url string, want bool) {
		t.Helper()
		got, err := v.Asking(&wire.Request{Method: method, URL: url})
		if err != nil || got.Peer != want {
			t.Errorf("%s %s: a peer's %v, want %v (%v)", method, url, got != nil && got.Peer, want, err)
		}
	}
	f("SETUP", "rtsp://edge/cam/trackID=0", true)
	f("PLAY", "rtsp://edge/cam/", true)
	f("DESCRIBE", "rtsp://edge/other", false)
}
