package cache

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"weir/proxy"
)

// In a cluster one edge owns each object, and the others fill from it. So an origin is
// asked once by all of them, and what is asked for often is stored by each.
//
// What a playlist says is of use to the edge that has its segments, so all that is in
// one folder has one owner; large files that come many to a folder are owned one by
// one. Requests for one viewer only go to the origin from here.
//
// An edge that is asked by another asks the origin. It does so only if it takes itself
// for the owner: else two that see another cluster could come to wait for each other.

// purgeRest is for how long after a purge nothing is shared: gossip may not have
// reached the owner yet, and its copy must not come back. It is what gossip takes, and
// a second until it is told, and then some.
const purgeRest = 5 * time.Second

// together are the extensions of what comes in folders of its own.
var together = []string{".m3u8", ".m3u", ".mpd", ".ts", ".m4s", ".cmfv", ".cmfa", ".cmft", ".aac", ".vtt"}

// ownedBy is the key that Peers.Owner is asked about.
func ownedBy(name string) string {
	if slices.Contains(together, strings.ToLower(path.Ext(name))) {
		name = path.Dir(name)
	}
	return "cache:" + name
}

// shared returns a context that lets the owner of an ask be asked.
func (c *Cache) shared(ctx context.Context, a *ask) context.Context {
	if a.near || !a.anonymous() || a.class == secret || time.Since(time.Unix(0, c.purgedAt.Load())) < purgeRest {
		return ctx
	}
	return proxy.Shared(ctx, ownedBy(a.path))
}

// secondHand refuses a peer who asks for what is not this edge's.
func (v *visit) secondHand() bool {
	if !v.near() {
		return false
	}
	if _, self := v.c.env.Peers.Owner(ownedBy(v.req.URL.Path)); self {
		return false
	}
	v.fail(&proxy.Refusal{Reason: proxy.SecondHand})
	return true
}
