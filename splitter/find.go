package splitter

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

// How long what an origin said of a path is remembered, and of how many paths.
// Meanwhile nobody asks it again.
const (
	rememberStored  = 30 * time.Second
	rememberRefused = time.Second
	rememberPaths   = 4096
)

// A verdict is why a path has no feed.
type verdict struct {
	err   error
	until time.Time
}

// attend keeps the feed of a path alive though nobody watches: it asks for it as
// a viewer would, again before that is forgotten.
func (s *Splitter) attend(ctx context.Context, path string) {
	for ; ctx.Err() == nil; pause(ctx, grace/2) {
		if _, err := s.find(ctx, path, false); err != nil {
			s.log.Debug("source that is always to be pulled", zap.String("path", path), zap.Error(err))
		}
	}
}

// runFeed is a feed's life, and what is left of it.
func (s *Splitter) runFeed(ctx context.Context, f *feed) {
	f.run(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.err == nil {
		s.complaints.Remove(f.path)
	}
	if s.feeds[f.path] != f {
		return // another has taken its place: what this one has to say is old
	}
	delete(s.feeds, f.path)
	switch {
	case errors.Is(f.err, errStored):
		s.verdicts.Add(f.path, verdict{f.err, time.Now().Add(rememberStored)})
	case f.err != nil:
		s.complain(f.path, f.err)
		s.verdicts.Add(f.path, verdict{f.err, time.Now().Add(rememberRefused)})
	}
}

// complain says why a path has no feed. Paths that viewers invent are kept out of the
// log, and so is what has been said before: a camera that is off is asked for again and
// again. s.mu is held.
func (s *Splitter) complain(path string, err error) {
	level := zap.InfoLevel
	reason := proxy.Refused(err).Reason
	if said, _ := s.complaints.Get(path); said == reason || reason == proxy.NotFound || reason == proxy.NoOrigin {
		level = zap.DebugLevel
	}
	s.complaints.Add(path, reason)
	s.log.Log(level, "no feed", zap.String("path", path), zap.Error(err))
}

// lookup is find for a viewer, who may be another edge.
func (s *Splitter) lookup(ctx context.Context, v *proxy.Viewer) (*feed, error) {
	f, err := s.find(ctx, v.Path, v.Peer)
	if err == nil && v.Peer && !f.forEdge(ctx) {
		err = &proxy.Refusal{Reason: proxy.SecondHand}
	}
	return f, err
}

// find returns the feed of a path, begins it if there is none, and waits until
// it plays; direct has a new one ask origins only. Errors are *proxy.Refusal, but for
// errStored.
func (s *Splitter) find(ctx context.Context, path string, direct bool) (*feed, error) {
	f, fresh, err := s.take(path, direct)
	if err != nil {
		return nil, err
	}
	if fresh {
		select {
		case s.start <- f:
		case <-ctx.Done():
			s.drop(f)
			return nil, proxy.Refused(ctx.Err())
		case <-s.conns.closed:
			return nil, &proxy.Refusal{Reason: proxy.Draining}
		}
	}
	select {
	case <-f.opened:
		return f, f.err
	case <-ctx.Done():
		return nil, proxy.Refused(ctx.Err())
	case <-s.conns.closed:
		return nil, &proxy.Refusal{Reason: proxy.Draining}
	}
}

// take returns the feed of a path, or a fresh one that is yet to be started, or the
// verdict on the path.
func (s *Splitter) take(path string, direct bool) (f *feed, fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.verdicts.Get(path); ok {
		if time.Now().Before(v.until) {
			return nil, false, v.err
		}
		s.verdicts.Remove(path)
	}
	if f := s.feeds[path]; f != nil {
		switch running := f.touch(); {
		case running && direct && f.waitsForEdge(s.env.Peers):
			return nil, false, &proxy.Refusal{Reason: proxy.SecondHand}
		case running:
			return f, false, nil
		}
		if err := f.refused(); err != nil { // it is about to be noted
			return nil, false, err
		}
	}
	f = newFeed(path, s)
	f.pull.direct.Store(direct)
	f.touch()
	s.feeds[path] = f
	return f, true, nil
}

// drop forgets a feed that never began to run.
func (s *Splitter) drop(f *feed) {
	f.err = proxy.Refused(context.Canceled)
	f.setState("ended", "")
	close(f.opened)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.feeds[f.path] == f {
		delete(s.feeds, f.path)
	}
}

// has reports whether a path has a feed.
func (s *Splitter) has(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.feeds[path] != nil
}
