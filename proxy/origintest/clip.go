package origintest

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
	"github.com/pion/rtp"
)

// content is the clip (see makeclip.sh), and what HTTP serves by default: the clip
// once more as a playlist of byte ranges, one for each key frame.
//
//go:embed clip.ts clip.m3u8 hello.txt
var content embed.FS

// What makeclip.sh makes. A whole number of samples of both tracks fits into the
// length, so that the clip can be repeated without a seam.
const (
	clipLength = 8 * time.Second
	videoClock = 90000 // ticks per second
	videoStep  = 3600  // ticks per picture
	audioClock = 48000
	audioStep  = 1024
)

// The tracks of the clip, in the order in which descriptions have them.
const (
	video = iota
	audio
	tracks // how many
)

// A clip is the media that an origin has, ready to be sent. Nobody changes it
// after loadClip.
type clip struct {
	formats [tracks]format.Format
	samples []sample // of both tracks, by time
}

// A sample is a picture, or a frame of audio.
type sample struct {
	track    int
	at       time.Duration // since the begin of the clip
	ticks    uint32        // the same on the track's clock, exactly
	key      bool          // a picture that a decoder can begin with
	payloads [][]byte      // of RTP, in order; the last one ends the sample
}

// loadClip reads the embedded clip.
func loadClip() (*clip, error) {
	ts, err := content.ReadFile("clip.ts")
	if err != nil {
		return nil, err
	}
	r := &mpegts.Reader{R: bytes.NewReader(ts)}
	if err := r.Initialize(); err != nil {
		return nil, err
	}
	c := &clip{}
	if err := c.readTracks(r); err != nil {
		return nil, err
	}
	for err == nil {
		err = r.Read()
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	slices.SortStableFunc(c.samples, func(a, b sample) int { return cmp.Compare(a.at, b.at) })
	return c, nil
}

func (c *clip) readTracks(r *mpegts.Reader) error {
	for _, t := range r.Tracks() {
		var err error
		switch codec := t.Codec.(type) {
		case *mpegts.CodecH264:
			err = c.readVideo(r, t)
		case *mpegts.CodecMPEG4Audio:
			err = c.readAudio(r, t, codec)
		}
		if err != nil {
			return err
		}
	}
	if c.formats[video] == nil || c.formats[audio] == nil {
		return errors.New("clip lacks a track")
	}
	return nil
}

func (c *clip) readVideo(r *mpegts.Reader, t *mpegts.Track) error {
	f := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
	enc, err := f.CreateEncoder()
	if err != nil {
		return err
	}
	c.formats[video] = f
	s := source{track: video, clock: videoClock, step: videoStep, encoder: enc}
	r.OnDataH264(t, func(_, _ int64, units [][]byte) error {
		for _, u := range units {
			switch h264.NALUType(u[0] & 0x1f) {
			case h264.NALUTypeSPS:
				f.SPS = u
			case h264.NALUTypePPS:
				f.PPS = u
			}
		}
		return c.add(&s, units, h264.IsRandomAccess(units))
	})
	return nil
}

func (c *clip) readAudio(r *mpegts.Reader, t *mpegts.Track, codec *mpegts.CodecMPEG4Audio) error {
	f := &format.MPEG4Audio{PayloadTyp: 97, Config: &codec.Config,
		SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3} // RFC 3640 §3.3.6, AAC-hbr
	enc, err := f.CreateEncoder()
	if err != nil {
		return err
	}
	c.formats[audio] = f
	s := source{track: audio, clock: audioClock, step: audioStep, encoder: enc}
	r.OnDataMPEG4Audio(t, func(_ int64, frames [][]byte) error {
		for _, frame := range frames {
			if err := c.add(&s, [][]byte{frame}, false); err != nil {
				return err
			}
		}
		return nil
	})
	return nil
}

// A source is a track while it is read. Times follow from the number of the
// sample; the container's are of another clock.
type source struct {
	track       int
	clock, step uint32
	encoder     interface {
		Encode([][]byte) ([]*rtp.Packet, error)
	}
	next uint32 // time stamp of the next sample
}

func (c *clip) add(s *source, units [][]byte, key bool) error {
	packets, err := s.encoder.Encode(units)
	if err != nil {
		return err
	}
	at := time.Duration(s.next) * time.Second / time.Duration(s.clock)
	next := sample{track: s.track, at: at, ticks: s.next, key: key}
	for _, p := range packets {
		next.payloads = append(next.payloads, p.Payload)
	}
	c.samples = append(c.samples, next)
	s.next += s.step
	return nil
}

// endless returns the n-th sample of the clip repeated for ever, when it is due
// after the begin, and its time stamp counted from there.
func (c *clip) endless(n int) (s *sample, due time.Duration, stamp uint32) {
	s = &c.samples[n%len(c.samples)]
	begin := time.Duration(n/len(c.samples)) * clipLength
	return s, begin + s.at, ticks(begin, c.formats[s.track].ClockRate()) + s.ticks
}

// keyAt returns the number of the last key frame that is not after t.
func (c *clip) keyAt(t time.Duration) int {
	key := 0
	for i, s := range c.samples {
		if s.at > t {
			break
		}
		if s.key {
			key = i
		}
	}
	return key
}

// ticks is d on a clock of rate ticks per second, which wraps. Seconds apart, for
// otherwise it would overflow after a day.
func ticks(d time.Duration, rate int) uint32 {
	r := time.Duration(rate)
	return uint32(d/time.Second*r + d%time.Second*r/time.Second)
}
