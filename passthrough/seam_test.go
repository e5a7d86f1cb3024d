package passthrough

import (
	"testing"
	"time"

	"weir/proxy/rtp"
	"weir/proxy/sdp"
)

// aTrack is a track that has brought its last packet at a time.
func aTrack(kind, encoding string, rate int, last sample) *track {
	t := &track{}
	t.medium = sdp.Media{Type: kind, Format: sdp.Format{Encoding: encoding, ClockRate: rate, PayloadType: 96}}
	t.last = last
	return t
}

// two is a session with pictures at 90 kHz and sound at 48 kHz, that ended together.
func twoTracks(now time.Time) (s *session, video, audio *track) {
	video = aTrack("video", "H264", 90000, sample{at: now, ssrc: 1, seq: 10, ts: 1000})
	audio = aTrack("audio", "OPUS", 48000, sample{at: now, ssrc: 2, seq: 65535, ts: 0xfffffff0})
	return &session{tracks: []*track{video, audio}}, video, audio
}

// TestSeamGap: all tracks go on after the same time; pictures wait for one that can
// be decoded, and sound does not.
func TestSeamGap(t *testing.T) {
	now := time.Now()
	s, video, audio := twoTracks(now)
	s.depart(now)
	f := func(tr *track, after time.Duration, seq uint16, ts uint32, unit byte, wantSeq uint16, wantTS uint32) {
		t.Helper()
		pkt := rtpOf(99, seq, ts, unit)
		_, ok := tr.seam.pass(pkt, now.Add(after))
		if !ok {
			pkt = rtpOf(0, 0, 0, 0)
		}
		if rtp.Seq(pkt) != wantSeq || rtp.Timestamp(pkt) != wantTS || ok && rtp.SSRC(pkt) != tr.last.ssrc {
			t.Errorf("packet %d, %d after %v: %d, %d of %d; want %d, %d", seq, ts, after, rtp.Seq(pkt), rtp.Timestamp(pkt), rtp.SSRC(pkt), wantSeq, wantTS)
		}
	}
	f(video, 1*time.Second, 500, 777, slice, 0, 0)
	f(audio, 1*time.Second, 7, 70, 0, 0, 48000-16)
	f(video, 2*time.Second, 501, 3777, key, 11, 181000)
	f(audio, 2*time.Second, 9, 48070, 0, 2, 96000-16) // 8 was lost, and is seen to be
	f(video, 2*time.Second, 503, 6777, slice, 13, 184000)
	f(video, 2*time.Second, 502, 3777, slice, 12, 181000) // comes late
	s.depart(now.Add(3 * time.Second))                    // and again
	f(audio, 4*time.Second, 1000, 5, 0, 3, 4*48000-16)
	f(video, 4*time.Second, 0, 5, key, 14, 4*90000+1000+3000)
}

// TestSeamBack: time stamps go on though the next origin is at once there, and
// though the track had come further than time has.
func TestSeamBack(t *testing.T) {
	now := time.Now()
	s, video, _ := twoTracks(now)
	s.depart(now)
	pkt := rtpOf(99, 1, 1, key)
	if _, ok := video.seam.pass(pkt, now); !ok || rtp.Timestamp(pkt) != 1001 {
		t.Errorf("time stamp %d, passes %v", rtp.Timestamp(pkt), ok)
	}
}

// TestSeamOver: what the viewer has is over before what follows begins, also where
// pictures came in the order of decoding or a packet has several frames of sound, and no
// track goes on apart from the others for that.
func TestSeamOver(t *testing.T) {
	now := time.Now()
	s, video, audio := twoTracks(now)
	for _, ts := range []uint32{1000, 1000 + 3*3600, 1000 + 3600, 1000 + 2*3600} {
		video.note(rtpOf(1, 0, ts, slice))
	}
	for i := range uint32(5) {
		audio.note(rtpOf(2, 0, (i-4)*4096-16, 0)) // 85 ms each
	}
	s.depart(now)
	sound, picture := rtpOf(99, 1, 5, 0), rtpOf(98, 1, 70, key)
	at := now.Add(10 * time.Millisecond)
	audio.seam.pass(sound, at)
	video.seam.pass(picture, at)
	if got, want := rtp.Timestamp(sound), uint32(4096-16); got != want {
		t.Errorf("sound at %d, want %d, where the last packet ends", got, want)
	}
	// 10 ms on, and the 75.3 ms by which sound was moved on.
	if got, want := rtp.Timestamp(picture), uint32(1000+3*3600+900+6779); got != want {
		t.Errorf("picture at %d, want %d, moved on as the sound was", got, want)
	}
}

// TestSeamPromise: who has been told what packets will come gets these, from whomever.
func TestSeamPromise(t *testing.T) {
	now := time.Now()
	video, audio := aTrack("video", "H264", 90000, sample{}), aTrack("audio", "OPUS", 48000, sample{})
	s := &session{tracks: []*track{video, audio}}
	video.promise, video.ssrc = promise{now, 500, 9000}, 7
	audio.promise = promise{now, 65535, 0xfffffff0}
	s.depart(now)
	f := func(tr *track, seq uint16, ts uint32, unit byte, ssrc uint32, wantSeq uint16, wantTS uint32) {
		t.Helper()
		pkt := rtpOf(99, seq, ts, unit)
		if _, ok := tr.seam.pass(pkt, now.Add(time.Second)); !ok || rtp.SSRC(pkt) != ssrc || rtp.Seq(pkt) != wantSeq || rtp.Timestamp(pkt) != wantTS {
			t.Errorf("passes %v: %d, %d of %d; want %d, %d of %d", ok, rtp.Seq(pkt), rtp.Timestamp(pkt), rtp.SSRC(pkt), wantSeq, wantTS, ssrc)
		}
	}
	f(video, 1, 4711, key, 7, 500, 99000)
	f(audio, 2, 4711, 0, 99, 65535, 48000-16)
	f(audio, 3, 4712, 0, 99, 0, 48001-16)
}

// TestSeamSaid: an origin that begins with pictures of the past and sound of the
// present says so by its reports, or by its answer to PLAY.
func TestSeamSaid(t *testing.T) {
	f := func(tell func(video, audio *seam)) {
		t.Helper()
		now := time.Now()
		s, video, audio := twoTracks(now)
		s.depart(now)
		tell(video.seam, audio.seam)
		at := now.Add(2 * time.Second)
		sound, picture := rtpOf(99, 1, 48000, 0), rtpOf(98, 1, 0, key) // at 1 s, and at 0 s
		audio.seam.pass(sound, at)
		video.seam.pass(picture, at)
		if got := rtp.Timestamp(sound); got != 2*48000-16 {
			t.Errorf("sound at %d", got)
		}
		if got := rtp.Timestamp(picture); got != 90000+1000 {
			t.Errorf("picture at %d, want %d", got, 90000+1000)
		}
	}
	f(func(video, audio *seam) {
		ntp := time.Unix(1e9, 0)
		video.reports(reportOf(98, ntp, 0))
		audio.reports(reportOf(99, ntp.Add(time.Second), 48000))
	})
	f(func(video, audio *seam) { video.info, audio.info = ref{known: true}, ref{known: true} })
}

// TestSeamWall: origins that do not agree on the time of day do not bring players
// who go by it back or forth; what is told of the tracks' relation holds. Where they
// agree, reports come back to the time of day bit by bit.
func TestSeamWall(t *testing.T) {
	f := func(off, want time.Duration) {
		t.Helper()
		now, ntp := time.Now(), time.Unix(1e9, 0)
		s, video, audio := twoTracks(now)
		video.reported = ref{true, ntp, 1000}
		s.depart(now)
		// report is how far a track's report is off the line of those before the move.
		report := func(tr *track, after time.Duration) time.Duration {
			r := reportOf(50, ntp.Add(off+2*time.Second+after), uint32(after*time.Duration(tr.medium.ClockRate)/time.Second))
			tr.seam.reports(r)
			_, got, _, _ := rtp.Report(r)
			return rtp.FromNTP(got).Sub(ntp.Add(2*time.Second + after))
		}
		for _, tr := range []*track{video, audio} {
			tr.seam.pass(rtpOf(50, 1, 0, key), now.Add(2*time.Second))
			if d := report(tr, 0); d.Abs() > time.Microsecond {
				t.Errorf("%v apart: the first report is %v off", off, d)
			}
		}
		last := time.Duration(0)
		for i := range 200 {
			after := time.Duration(i+1) * 5 * time.Second
			d := report(video, after)
			if (d-last).Abs() > slewStep+time.Microsecond || (report(audio, after)-d).Abs() > time.Microsecond {
				t.Errorf("%v apart: reports step from %v to %v", off, last, d)
			}
			last = d
		}
		if (last - want).Abs() > time.Microsecond {
			t.Errorf("%v apart: in the end reports are %v off, want %v", off, last, want)
		}
	}
	f(0, 0)
	f(100*time.Millisecond, 100*time.Millisecond)
	f(-15*time.Millisecond, -15*time.Millisecond)
	f(-time.Hour, 0)
	f(time.Minute, 0)
}

// TestSeamSource: an encoder that is replaced behind the origin is joined, too;
// what only repairs packets is not taken for one.
func TestSeamSource(t *testing.T) {
	now := time.Now()
	s, video, _ := twoTracks(now)
	s.depart(now)
	f := func(ssrc uint32, seq uint16, kind byte, unit byte, want uint16) {
		t.Helper()
		pkt := rtpOf(ssrc, seq, 5, unit)
		pkt[1] = kind
		if _, ok := video.seam.pass(pkt, now.Add(time.Second)); ok != (want != 0) || ok && (rtp.Seq(pkt) != want || rtp.SSRC(pkt) != 1) {
			t.Errorf("packet %d of %d: passes %v as %d of %d, want %d", seq, ssrc, ok, rtp.Seq(pkt), rtp.SSRC(pkt), want)
		}
	}
	f(50, 100, 96, key, 11)
	f(51, 7, 97, slice, 0)
	f(50, 101, 96, slice, 12)
	f(52, 9, 96, slice, 0)
	f(52, 10, 96, key, 13)
}

// TestSeamGate: pictures of an origin that says nothing of where decoding may begin
// pass in the end.
func TestSeamGate(t *testing.T) {
	now := time.Now()
	s, video, _ := twoTracks(now)
	s.depart(now)
	if _, ok := video.seam.pass(rtpOf(9, 1, 1, slice), now.Add(gateLimit-1)); ok {
		t.Error("passes early")
	}
	if _, ok := video.seam.pass(rtpOf(9, 2, 1, slice), now.Add(gateLimit)); !ok {
		t.Error("does not pass")
	}
}

func FuzzSeam(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add(rtpOf(9, 1, 1, key), reportOf(9, time.Unix(1e9, 0), 1))
	f.Fuzz(func(t *testing.T, pkt, report []byte) {
		now := time.Unix(1e9, 0)
		s, video, audio := twoTracks(now)
		s.depart(now)
		for i, tr := range []*track{video, audio, video} {
			seq, ts := tr.seam.num.Last()
			b := append([]byte(nil), pkt...)
			first := !tr.seam.begun
			if _, ok := tr.seam.pass(b, now.Add(time.Duration(i)*time.Second)); ok {
				if rtp.SSRC(b) != tr.last.ssrc {
					t.Fatalf("SSRC %d", rtp.SSRC(b))
				}
				if first && (rtp.Seq(b) != seq+1 || int32(rtp.Timestamp(b)-ts) <= 0) {
					t.Fatalf("%d, %d after %d, %d", rtp.Seq(b), rtp.Timestamp(b), seq, ts)
				}
			}
			r := append([]byte(nil), report...)
			tr.seam.reports(r)
			tr.seam.back(1, r)
		}
	})
}

// BenchmarkSeam: what a packet of a session that has moved costs more than another.
func BenchmarkSeam(b *testing.B) {
	now := time.Now()
	s, video, _ := twoTracks(now)
	s.depart(now)
	pkt := append(rtpOf(9, 1, 1, key), make([]byte, 1200)...)
	in := append([]byte(nil), pkt[:rtp.HeaderLen]...)
	b.ReportAllocs()
	for b.Loop() {
		copy(pkt, in)
		video.seam.pass(pkt, time.Now())
	}
}
