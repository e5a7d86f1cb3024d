package main

import (
	"context"
	"sync/atomic"

	"weir/proxy/viewer"
)

// An rtspSeat is a viewer over RTSP.
type rtspSeat struct {
	o       viewer.Options
	stall   bool
	playing atomic.Pointer[viewer.Viewer]
}

// watch implements loadSeat.
func (s *rtspSeat) watch(ctx context.Context) error {
	if s.stall {
		s.o.OnPacket = func(int, []byte) {
			if s.playing.Load() != nil { // before that it would hold up the answer to PLAY
				<-ctx.Done()
			}
		}
	}
	v, err := viewer.Open(ctx, s.o)
	if err != nil {
		return err
	}
	s.playing.Store(v)
	return v.Run(ctx)
}

// progress implements loadSeat.
func (s *rtspSeat) progress() (opened bool, bytes uint64) {
	v := s.playing.Load()
	if v == nil {
		return false, 0
	}
	return true, v.Stats().Bytes
}

// seen implements loadSeat.
func (s *rtspSeat) seen() loadSeen {
	v := s.playing.Load()
	if v == nil {
		return loadSeen{}
	}
	st := v.Stats()
	seen := loadSeen{stalled: s.stall, packets: st.Packets, lost: st.Lost, reordered: st.Reordered}
	seen.after[loadAnswered], seen.after[loadFirst] = st.PlayAfter, st.FirstPacketAfter
	if v.Keyed() {
		seen.after[loadWhole] = st.FirstKeyAfter
	}
	return seen
}

var _ loadSeat = (*rtspSeat)(nil)
