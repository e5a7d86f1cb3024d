package viewer

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"weir/proxy/rtp"
)

// A viewer gets every packet of both tracks, in order, and says when.
func TestViews(t *testing.T) {
	f := func(transport string) {
		t.Helper()
		l := serve(t, nil)
		eventually(t, "something to tell in RTP-Info", func() bool { return l.sent.Load() > 0 })
		last := [2]int{-1, -1}
		v := open1(t, Options{URL: l.url("/cam"), Transport: transport, OnPacket: func(track int, pkt []byte) {
			seq := int(rtp.Seq(pkt))
			if last[track] >= 0 && seq != (last[track]+1)&0xffff {
				t.Errorf("%s: track %d: packet %d after %d", transport, track, seq, last[track])
			}
			last[track] = seq
		}})
		stop := running(t, v)
		eventually(t, "200 packets", func() bool { return v.Stats().Packets >= 200 }) // the numbers wrap
		if err := stop(); err != nil {
			t.Errorf("%s: Run = %v, want nil", transport, err)
		}
		s := v.Stats()
		if s.Lost != 0 || s.Reordered != 0 || s.Bytes < s.Packets*(12+32) {
			t.Errorf("%s: stats %+v, want none lost", transport, s)
		}
		if s.PlayAfter <= 0 || s.FirstPacketAfter <= 0 || s.FirstKeyAfter < s.FirstPacketAfter {
			t.Errorf("%s: times %+v", transport, s)
		}
		checkTracks(t, l, v)
		eventually(t, "TEARDOWN", func() bool { return l.heard(base.Teardown) && l.sessions() == 0 })
	}
	f("tcp")
	f("udp")
}

func checkTracks(t *testing.T, l *live, v *Viewer) {
	t.Helper()
	tracks := v.Tracks()
	if len(tracks) != 2 || v.Session() == "" || len(v.SDP().Media) != 2 || v.PlayResponse().Code != 200 {
		t.Fatalf("%d tracks, session %q, %d media, PLAY %d", len(tracks), v.Session(), len(v.SDP().Media), v.PlayResponse().Code)
	}
	want := l.stream.Stats().Medias[l.video].Formats[l.video.Formats[0]].LocalSSRC
	video := tracks[0]
	if !v.Keyed() {
		t.Error("H.264 without known key frames")
	}
	if video.Media.Encoding != "H264" || video.Control != l.url("/cam")+"/trackID=0" {
		t.Errorf("track 0 is %+v", video)
	}
	if video.SSRC == nil || *video.SSRC != want {
		t.Errorf("SSRC = %v, want %d", video.SSRC, want)
	}
	if video.Seq == nil || video.RTPTime == nil {
		t.Errorf("RTP-Info %q read as %v, %v", v.PlayResponse().Header.Get("RTP-Info"), video.Seq, video.RTPTime)
	}
}

func TestCredentials(t *testing.T) {
	f := func(userinfo string, methods []auth.VerifyMethod, want int) {
		t.Helper()
		l := serve(t, func(l *live) { l.user, l.server.AuthMethods = "joe", methods })
		v, err := Open(t.Context(), Options{URL: "rtsp://" + userinfo + l.addr + "/cam"})
		var s *StatusError
		switch {
		case err == nil:
			v.Close()
			if want != 200 {
				t.Errorf("%q, %v: let in", userinfo, methods)
			}
		case !errors.As(err, &s) || s.Code != want || s.Method != "DESCRIBE":
			t.Errorf("%q, %v: %v, want %d", userinfo, methods, err, want)
		}
	}
	f("joe:p%40ss@", []auth.VerifyMethod{auth.VerifyMethodDigestMD5}, 200)
	f("joe:p%40ss@", []auth.VerifyMethod{auth.VerifyMethodBasic}, 200)
	f("joe:p%40ss@", nil, 200)
	f("joe:wrong@", nil, 401)
	f("", nil, 401)
	f("joe:p%40ss@", []auth.VerifyMethod{auth.VerifyMethodDigestSHA256}, 401)
}

func TestRefused(t *testing.T) {
	l := serve(t, nil)
	_, err := Open(t.Context(), Options{URL: l.url("/none?token=secret")})
	var s *StatusError
	if !errors.As(err, &s) || s.Method != "DESCRIBE" || s.Code != 404 || s.RetryAfter != 0 {
		t.Errorf("Open = %v, want 404", err)
	}
	if contains(err, "secret") {
		t.Errorf("Open = %v, which tells the token", err)
	}
}

func TestServerDies(t *testing.T) {
	f := func(transport string) {
		t.Helper()
		l := serve(t, nil)
		v := open1(t, Options{URL: l.url("/cam"), Transport: transport})
		done := make(chan error, 1)
		go func() { done <- v.Run(context.Background()) }()
		eventually(t, "packets", func() bool { return v.Stats().Packets > 10 })
		l.server.Close()
		if err := <-done; !contains(err, "connection ended") {
			t.Errorf("%s: Run = %v, want that the connection ended", transport, err)
		}
		if err := v.Pause(t.Context()); !contains(err, "connection ended") {
			t.Errorf("%s: Pause after the end = %v", transport, err)
		}
	}
	f("tcp")
	f("udp")
}

// Resuming a live stream skips what was sent meanwhile; that is no loss.
func TestPauseAndPlay(t *testing.T) {
	f := func(transport string) {
		t.Helper()
		l := serve(t, nil)
		v := open1(t, Options{URL: l.url("/cam"), Transport: transport})
		stop := running(t, v)
		more := func(n uint64) func() bool {
			from := v.Stats().Packets
			return func() bool { return v.Stats().Packets >= from+n }
		}
		eventually(t, "packets", more(20))
		if err := v.Pause(t.Context()); err != nil {
			t.Fatalf("%s: Pause = %v", transport, err)
		}
		paused := l.sent.Load()
		eventually(t, "the stream going on", func() bool { return l.sent.Load() > paused+10 })
		if err := v.Play(t.Context(), ""); err != nil {
			t.Fatalf("%s: Play = %v", transport, err)
		}
		eventually(t, "packets again", more(20))
		if err := stop(); err != nil || v.Stats().Lost != 0 {
			t.Errorf("%s: Run = %v, %d lost", transport, err, v.Stats().Lost)
		}
	}
	f("tcp")
	f("udp")
}

// Close works from anywhere, even from the callback.
func TestClose(t *testing.T) {
	l := serve(t, nil)
	var v *Viewer
	v = open1(t, Options{URL: l.url("/cam"), OnPacket: func(int, []byte) { v.Close() }})
	if err := v.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run = %v, want that it was closed", err)
	}
}

// Receiver reports reach the server, with what was received.
func TestReports(t *testing.T) {
	l := serve(t, nil)
	v := open1(t, Options{URL: l.url("/cam"), Transport: "udp"})
	v.reportEvery = 10 * time.Millisecond
	running(t, v)
	eventually(t, "a report", func() bool { return l.reported() != nil })
	r := l.reported()
	if b := r.Reports[0]; b.TotalLost != 0 || b.FractionLost != 0 || b.LastSequenceNumber == 0 || r.SSRC != v.ssrc {
		t.Errorf("report %+v", r)
	}
}

func TestBadOptions(t *testing.T) {
	f := func(o Options, want string) {
		t.Helper()
		v, err := Open(t.Context(), o)
		if err == nil {
			v.Close()
		}
		if !contains(err, want) || contains(err, "secret") {
			t.Errorf("Open(%+v) = %v, want %q", o, err, want)
		}
	}
	f(Options{URL: "rtsps://joe:secret@127.0.0.1/cam", Transport: "udp"}, "by tcp only")
	f(Options{URL: "http://joe:secret@127.0.0.1/cam"}, "not rtsp://")
	f(Options{URL: "rtsp:///cam"}, "not rtsp://")
	f(Options{URL: "rtsp://joe:secret@127.0.0.1:x/cam"}, "invalid port")
	f(Options{URL: "rtsp://jo%0Ae:secret@127.0.0.1/cam"}, "control character")
	f(Options{URL: "rtsp://127.0.0.1/cam", Transport: "smoke"}, "smoke")
	f(Options{URL: "rtsp://joe:secret@127.0.0.1:1/cam?secret"}, "refused")
}
