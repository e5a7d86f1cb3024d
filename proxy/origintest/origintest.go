// Package origintest is a real little origin, in process: live and stored H.264
// and AAC over RTSP (TCP, UDP, RTSPS) and files over HTTP, with faults that can
// be switched on. It is for the demo, for tests and for benchmarks.
//
// It is not a media server: it holds one clip of 8 s, reads nothing that viewers
// send but RTSP, and does nothing to be fast. Its RTSP is gortsplib's, so that
// what is tested against it meets another implementation.
//
// Paths: /live/clock (video and audio), /live/video, /live/radio, those of
// Options.Live, and /vod/clip, which has an end and can be paused and sought.
package origintest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"sync"

	"go.uber.org/zap"
)

// Options says what an Origin serves and where.
type Options struct {
	Addr string // RTSP, host:port; port 0 picks a free one, which Revive keeps
	HTTP string // files, host:port likewise; "" serves none

	User, Password string      // RTSP wants these, by Basic or Digest, no colons in them; no User, no question
	TLS            *tls.Config // RTSPS instead of RTSP, over TCP only; nil for RTSP
	UDP            bool        // also send RTP over UDP, from a free pair of ports on Addr's host

	Live  []string    // further live paths, beginning with a slash; they carry the clock
	Files fs.FS       // what HTTP serves; nil for clip.ts, clip.m3u8 and hello.txt
	Log   *zap.Logger // nil logs nothing
}

// An Origin is one origin. Its methods may be called by any goroutine at any
// time; Run is called once.
type Origin struct {
	opt    Options
	clip   *clip
	seen   tally
	faults faults
	born   chan struct{} // tells Run that there is a new life

	mu    sync.Mutex
	life  *life // nil while dead
	taken *life // the last one that Run took
	ended bool  // Run has returned
}

// New checks the options and binds the sockets; Run serves them. Without a Run
// they are freed by Die.
func New(opt Options) (*Origin, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	if opt.Log == nil {
		opt.Log = zap.NewNop()
	}
	c, err := loadClip()
	if err != nil {
		return nil, fmt.Errorf("load clip: %w", err)
	}
	o := &Origin{opt: opt, clip: c, born: make(chan struct{}, 1)}
	if err := o.bear(); err != nil {
		return nil, err
	}
	o.opt.Addr = o.life.rtsp.Addr().String()
	if o.life.http != nil {
		o.opt.HTTP = o.life.http.Addr().String()
	}
	return o, nil
}

func (o *Options) check() error {
	if o.TLS != nil && o.UDP {
		return errors.New("RTP over UDP would not be encrypted: TLS and UDP exclude each other")
	}
	for _, p := range o.Live {
		if !strings.HasPrefix(p, "/") {
			return fmt.Errorf("live path %q does not begin with a slash", p)
		}
	}
	return nil
}

// Run serves until ctx is done, then closes all and waits for all goroutines.
// While the origin is dead it waits for Revive.
func (o *Origin) Run(ctx context.Context) error {
	defer o.end()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-o.born:
		}
		if l := o.take(); l != nil {
			if err := l.run(ctx); err != nil {
				return err
			}
		}
	}
}

// URL is rtsp://host:port or rtsps://host:port, without credentials.
func (o *Origin) URL() string {
	u := url.URL{Scheme: "rtsp", Host: o.opt.Addr}
	if o.opt.TLS != nil {
		u.Scheme = "rtsps"
	}
	return u.String()
}

// HTTPURL is http://host:port, "" if there are no files.
func (o *Origin) HTTPURL() string {
	if o.opt.HTTP == "" {
		return ""
	}
	return "http://" + o.opt.HTTP
}

// bear begins a life; mu is held, or nobody else knows o yet.
func (o *Origin) bear() error {
	l, err := newLife(o)
	if err != nil {
		return err
	}
	o.life = l
	select {
	case o.born <- struct{}{}:
	default: // Run has not yet seen the one before
	}
	return nil
}

// take returns the life to be run: nil if the one that was announced has died, or
// was taken already because Run was told late of the one before.
func (o *Origin) take() *life {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.life == o.taken {
		return nil
	}
	o.taken = o.life
	return o.taken
}

func (o *Origin) alive() *life {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.life
}

func (o *Origin) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	if o.life != nil {
		o.life.shut()
		o.life = nil
	}
}
