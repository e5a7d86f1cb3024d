package viewer

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	maxKeepAlive = 25 * time.Second       // many servers mean 30 s or 60 s and do not say so
	teardownTime = 2 * time.Second        // a viewer that leaves waits no longer for the answer
	byeGrace     = 200 * time.Millisecond // UDP: RTCP may overtake the last packets
)

// ErrBye is how Run ends when every track's source has said that it is over
// (RTCP BYE).
var ErrBye = errors.New("stream ended: the source said goodbye")

// Run counts packets and keeps the session alive, until ctx is done or the
// stream ends. Asked to stop, it sends TEARDOWN, waits for the answer at most
// 2 s and returns nil; else the error says how the stream ended. It closes the
// viewer and is called once.
func (v *Viewer) Run(ctx context.Context) error {
	var owned sync.WaitGroup
	owned.Go(v.read)
	if v.o.Transport == "udp" {
		for _, t := range v.tracks {
			owned.Go(func() { v.readUDP(t, t.rtpSock, bufferSize, v.packet) })
			owned.Go(func() { v.readUDP(t, t.rtcpSock, smallBuffer, v.control) })
		}
		owned.Go(v.report)
	}
	err := v.watch(ctx)
	v.Close()
	owned.Wait()
	return err
}

func (v *Viewer) watch(ctx context.Context) error {
	alive := time.NewTicker(min(v.idle/2, maxKeepAlive))
	defer alive.Stop()
	for {
		select {
		case <-ctx.Done():
			v.teardown(ctx)
			return nil
		case <-v.dead:
			return v.cause
		case <-v.allBye:
			v.late(ctx)
			return ErrBye
		case <-alive.C:
			if err := v.keepAlive(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// keepAlive tells the server that we are still there. A server that does not
// answer is taken for dead only if no media comes either.
func (v *Viewer) keepAlive(ctx context.Context) error {
	before := v.Stats().Packets
	_, err := v.must(ctx, "OPTIONS", v.url, nil)
	var s *StatusError
	switch {
	case errors.As(err, &s):
		if s.Code == 454 { // session not found: nothing will come any more
			return err
		}
		return nil // it does not like OPTIONS, but it lives
	case errors.Is(err, context.DeadlineExceeded) && v.Stats().Packets != before:
		return nil
	}
	return err
}

func (v *Viewer) teardown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), teardownTime)
	defer cancel()
	// The viewer leaves whatever the server says.
	_, _ = v.Request(ctx, "TEARDOWN", v.url, nil, nil)
}

// late waits for packets that BYE has overtaken.
func (v *Viewer) late(ctx context.Context) {
	t := time.NewTimer(byeGrace)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-v.dead:
	}
}

// report sends receiver reports: servers take them for a sign of life.
func (v *Viewer) report() {
	tick := time.NewTicker(v.reportEvery)
	defer tick.Stop()
	var b []byte
	for {
		select {
		case <-v.dead:
			return
		case <-tick.C:
			for _, t := range v.tracks {
				b = t.report(b[:0], v.ssrc, time.Since(v.start))
				t.send(t.rtcpSock, b, t.rtcpTo)
			}
		}
	}
}
