package splitter

import (
	"context"
	"time"

	"weir/proxy"
)

// waitsForEdge reports whether the feed has not opened, and may be asking another edge,
// who may be the one that asks.
func (f *feed) waitsForEdge(peers proxy.Peers) bool {
	select {
	case <-f.opened:
		return false
	default:
	}
	_, self := peers.Owner("splitter:" + f.path)
	return !self && !f.pull.direct.Load()
}

// edgeWait is how long another edge waits for a source that is away, and edgeNews for it
// to turn out to be: those who lose an edge at the same time need not hear of it in the
// same millisecond.
const (
	edgeWait = time.Second
	edgeNews = 200 * time.Millisecond
)

// forEdge reports whether another edge may pull from this feed, which has opened: not
// if the feed itself is pulled from an edge, or two could come to wait for each other.
// A feed whose source is away asks origins only from here on.
func (f *feed) forEdge(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, edgeWait)
	defer cancel()
	for {
		f.mu.Lock()
		state, edge, news := f.state, f.edge, f.news
		f.mu.Unlock()
		if state == "up" && edge {
			select {
			case <-news:
				continue
			case <-time.After(edgeNews):
			case <-ctx.Done():
			}
			return false
		}
		f.pull.direct.Store(true)
		if state != "away" {
			return state == "up"
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false
		}
	}
}
