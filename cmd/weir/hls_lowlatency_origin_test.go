package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/bluenviron/gohlslib/v2"
	"github.com/bluenviron/gohlslib/v2/pkg/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mpegts"
)

// lowLatencyOrigin is a live stream, video only, of the maker of MediaMTX, until
// the test ends. It has its first segment when it is returned.
func lowLatencyOrigin(t *testing.T) http.Handler {
	t.Helper()
	pictures, sps, pps := clipPictures(t)
	track := &gohlslib.Track{Codec: &codecs.H264{SPS: sps, PPS: pps}, ClockRate: 90000}
	m := &gohlslib.Muxer{Tracks: []*gohlslib.Track{track}, Variant: gohlslib.MuxerVariantLowLatency,
		SegmentMinDuration: lowSegment, PartMinDuration: lowPart, OnEncodeError: func(err error) { t.Log(err) }}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	// It is fed until nobody asks any more: closed, it would forget who waits for
	// a part.
	background(t, func(ctx context.Context) error {
		defer m.Close()
		return feedPictures(ctx, m, track, pictures)
	})
	m.Handle(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/index.m3u8", nil)) // waits
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if *direct {
			w.Header().Set("Access-Control-Allow-Origin", "*")
		}
		m.Handle(w, r)
	})
}

// feedPictures writes the clip's pictures in real time, again and again.
func feedPictures(ctx context.Context, m *gohlslib.Muxer, track *gohlslib.Track, pictures [][][]byte) error {
	const step = 40 * time.Millisecond
	began := time.Now()
	for n := 0; waitUntil(ctx, began.Add(time.Duration(n)*step)); n++ {
		at := time.Duration(n) * step
		if err := m.WriteH264(track, began.Add(at), int64(at/time.Microsecond)*90/1000, pictures[n%len(pictures)]); err != nil {
			return fmt.Errorf("picture %d: %w", n, err)
		}
	}
	return nil
}

// clipPictures are the clip's access units, and its last parameter sets.
func clipPictures(t *testing.T) (pictures [][][]byte, sps, pps []byte) {
	t.Helper()
	f, err := os.Open(clipFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := &mpegts.Reader{R: f}
	if err := r.Initialize(); err != nil {
		t.Fatal(err)
	}
	for _, track := range r.Tracks() {
		if _, ok := track.Codec.(*mpegts.CodecH264); !ok {
			continue
		}
		r.OnDataH264(track, func(_, _ int64, units [][]byte) error {
			pictures = append(pictures, units)
			for _, u := range units {
				switch h264.NALUType(u[0] & 0x1f) {
				case h264.NALUTypeSPS:
					sps = u
				case h264.NALUTypePPS:
					pps = u
				}
			}
			return nil
		})
	}
	for err == nil {
		err = r.Read()
	}
	if !errors.Is(err, io.EOF) || len(pictures) != 200 {
		t.Fatalf("%v: %d pictures, want 200", err, len(pictures))
	}
	return pictures, sps, pps
}
