// Package cache is the rung that stores what viewers ask for over HTTP, and
// answers the next one from what it has.
//
//	viewer ──► visit ──► object ◄── fill ◄── origin
//	             │          │
//	           flight     chunks: ram, disk
//
// What becomes of a request, with the file of each step:
//
//  1. hit.go answers what is at hand, without net/http; all else is a visit
//     (visit.go), and get there is the decision table.
//  2. key.go says what is the same thing, and table.go finds it.
//  3. fresh.go says whether it may be used: RFC 9111 and its kin as pure functions,
//     as are fields.go, conditions.go and ranges.go. media.go has the rules for HLS
//     and DASH, manifest.go reads playlists.
//  4. answer.go answers from an object, and report.go says so in Cache-Status;
//     cors.go has what all of a class get.
//  5. What is not there an ask (ask.go) goes out for, on everybody's behalf, with a
//     flight (flight.go): one for each key, and everybody waits for it to land.
//  6. taking.go decides what is done with what has come: it becomes an object, or
//     makes one fresh, or everybody asks for himself (pass.go, as do unsafe methods).
//  7. An object is fields (meta.go) and bytes in chunks (object.go). A fill (fill.go)
//     brings them, all or a slice (slice.go); pace.go holds back what would push
//     everything else out. Readers (reader.go) take them from where they are.
//  8. Chunks are in RAM, outside of the Go heap (chunk.go, memory.go), on disk
//     (disk.go), or nowhere any more: index.go says what goes.
//  9. A playlist that has come is made use of in live.go; streams.go remembers how
//     far each has come, and what belongs to it.
//  10. admin.go lets operators look into it and purge: shelf.go does so here, purge.go
//     tells other edges.
//
// It takes every HTTP request but upgrades: what is not to be stored it forwards
// by itself, since answers to unsafe methods invalidate what is stored. It is no
// store of record: what it holds it may lose, and what fails while it stores
// costs hits, not answers: where viewers hold all RAM, what comes is passed on. Only
// an answer that has begun, and finds no room for 5 s, breaks off.
//
// Limits: RAM -cache.memory (all chunks, whoever holds them, and what objects
// cost besides), on the Go heap a sixteenth of that for what is known of playlists
// (4 MiB at least), 32 variants a key, playlists of 4 MiB, 16 ranges a request; what
// is larger than an eighth of the RAM and cannot be fetched in slices is passed
// on, not stored.
//
// Locks, the outermost first: object.mu; then Cache.mu, or that of a table's shard,
// or disk.mu; then those of the indexes' shards, diskFaults.mu and blocks.mu. Of a
// kind, objects' included, one is held at a time; streams.mu and spreader.mu are held
// alone. None is held over I/O.
package cache

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/forward"
)

// A Cache is a proxy.Mode.
type Cache struct {
	opt      Options
	env      proxy.Env
	log      *zap.Logger
	met      *metrics
	id       string // in Via and Cache-Status
	keys     keyRules
	table    *table
	ram      *ram
	disk     *disk // nil: none
	streams  *streams
	latest   *lru.Cache[string, newest]   // by key without _HLS_*: the newest version of a live playlist
	changed  *lru.Cache[string, struct{}] // keys that unsafe methods have changed, and nobody has asked for since
	forward  *forward.Handler
	door     http.Handler
	spread   *spreader
	hands    *sync.Pool   // of *hand
	handed   atomic.Int64 // bytes that hands hold
	hinted   atomic.Int64 // when operators were last told of tokens
	purgedAt atomic.Int64 // when something was purged last, Unix ns

	base context.Context // of all that outlives a viewer; ends with Run
	end  context.CancelFunc

	mu      sync.Mutex
	stopped bool
	purges  []recent       // the newest last; replaced, never changed
	work    sync.WaitGroup // flights and slices
}

var _ proxy.Mode = (*Cache)(nil)

// maxStreams is how many live playlists are known at once.
const maxStreams = 4096

// New returns a cache that nobody runs yet. It locks the disk tier's folder.
func New(o Options, env proxy.Env) (*Cache, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	c := &Cache{opt: o, env: env, log: env.Log.Named("cache"), id: "weir-" + strings.ToLower(rand.Text()[:10]),
		table: newTable(), streams: newStreams(maxStreams, max(int64(o.Memory)/16, 4<<20))}
	c.hands = newHands(c)
	c.keys = keyRules{host: keepsHost(env.Upstream), ignore: o.ignored()}
	c.latest, _ = lru.New[string, newest](maxStreams) // fails for 0 only
	c.changed, _ = lru.New[string, struct{}](maxStreams)
	var err error
	if c.ram, err = newRAM(int64(o.Memory), max(o.slice(), minChunk), o.Policy); err != nil {
		return nil, fmt.Errorf("-cache.memory %v: %w", o.Memory, err)
	}
	if o.Dir != "" {
		if c.disk, err = openDisk(diskOptions{Dir: o.Dir, Limit: int64(o.Disk), Largest: max(o.slice(), minChunk), Policy: o.Policy, Log: c.log, Gone: c.diskGone}); err != nil {
			return nil, fmt.Errorf("-cache.dir: %w", err)
		}
	}
	c.base, c.end = context.WithCancel(context.Background())
	c.forward = forward.New(forward.Options{Upstream: passage{c}, ID: c.id, Lag: o.Lag, Log: c.log})
	c.spread = newSpreader(env.Peers, func(p purge) { c.purge(p) })
	c.door = newDoor(c, c.spread.tell)
	c.met = newMetrics(env.Metrics, c)
	return c, nil
}

// keepsHost reports whether the viewer's Host goes to the origins: then it is
// part of the key.
func keepsHost(u proxy.Upstream) bool {
	k, ok := proxy.Face[interface{ KeepsHost() bool }](u)
	return ok && k.KeepsHost()
}

// Run implements proxy.Part.
func (c *Cache) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	if c.disk != nil {
		wg.Go(func() {
			if err := c.disk.run(ctx, c.found); err != nil {
				c.log.Warn("disk tier ended", zap.Error(err))
			}
		})
	}
	c.tidy(ctx)
	c.stop()
	wg.Wait()
	return nil
}

// tidyEvery is how often purges of other edges are looked for, and what is over
// is forgotten.
const tidyEvery = time.Second

func (c *Cache) tidy(ctx context.Context) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			c.spread.tick(now)
			c.table.tidy(now)
		case <-ctx.Done():
			c.spread.tick(time.Now()) // what was purged in the last second is told, too
			return
		}
	}
}

// stop ends what runs and frees what is stored.
func (c *Cache) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.end()
	c.work.Wait()
	c.table.each(func(o *object) bool { o.abandon(); return true })
	if c.ram.used.Load() == 0 {
		c.ram.mem.close()
	}
}

// spawn runs something that outlives the viewer who caused it; not any more once
// the cache stops.
func (c *Cache) spawn(work func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false
	}
	c.work.Go(work)
	return true
}

// Ready implements proxy.Part: without an origin there is still what is stored.
func (c *Cache) Ready() error {
	if c.disk != nil {
		if c.disk.faults.paused() {
			return proxy.Degraded("nothing can be written to " + c.opt.Dir)
		}
	}
	if u, ok := proxy.Face[interface{ Usable() error }](c.env.Upstream); ok {
		if err := u.Usable(); err != nil {
			return proxy.Degraded(err.Error())
		}
	}
	if names := c.standing(time.Now()); len(names) > 0 {
		return proxy.Degraded(fmt.Sprintf("%d live playlist(s) in use stand still, %s among them", len(names), names[0]))
	}
	return nil
}

// Admin implements proxy.Adminer.
func (c *Cache) Admin() http.Handler { return c.door }

// minChunk is the chunk of objects that are smaller than a slice, or of unknown
// size: short, so that a far range of a fill under way is seldom in the chunk that
// is being filled.
const minChunk = 256 << 10

// chunkFor is the length of an object's chunks. Long ones cost less on disk, where
// each is a file.
func (c *Cache) chunkFor(size int64) int64 {
	if unit := c.opt.slice(); size >= unit || unit < minChunk {
		return unit
	}
	return minChunk
}

// found tells of a chunk on the disk.
func (c *Cache) found(m *meta, n int) {
	o := c.restored(m)
	if o == nil {
		c.disk.remove(m.ID, n)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.slot(n).disk = true
}

// restored returns the object of a chunk on the disk; nil if there is a newer
// one, or it has been purged since.
func (c *Cache) restored(m *meta) *object {
	for _, o := range c.table.all(m.Key) {
		old := o.meta.Load()
		switch {
		case old.ID == m.ID:
			if m.Answered.After(old.Answered) {
				o.meta.CompareAndSwap(old, m)
			}
			return o
		case old.Variant == m.Variant && !old.Answered.Before(m.Answered):
			return nil
		}
	}
	o := newObject(c, m)
	for _, old := range c.table.insert(o, nil) {
		old.kill()
	}
	c.purgedMeanwhile(o, m)
	if o.isDead() {
		return nil
	}
	return o
}

// diskGone tells that a chunk is not on the disk any more.
func (c *Cache) diskGone(m *meta, n int) {
	for _, o := range c.table.all(m.Key) {
		if o.id == m.ID {
			o.lost(n)
		}
	}
}
