package cache

import (
	"slices"
	"strings"
	"time"
)

// soften makes an object one that must be validated before it is used again.
func (o *object) soften() {
	o.update(func(m *meta) {
		m.Verdict.Fresh, m.Verdict.SWR, m.Verdict.Immutable = 0, -1, false
	})
}

// about returns whether an object is what a purge is about. A URL is meant with
// all its variants, and with the same query once what is ignored is taken out.
func (c *Cache) about(p purge) func(m *meta) bool {
	switch {
	case p.Tag != "":
		return func(m *meta) bool { return slices.Contains(m.Tags, p.Tag) }
	case p.Prefix != "":
		return func(m *meta) bool { return strings.HasPrefix(pathID(m.Path), p.Prefix) }
	}
	a := c.want(targetIn(p.URL), "")
	return func(m *meta) bool { return m.Path == a.path && m.Query == a.key.query }
}

const (
	// purgeMemory is how long a purge is remembered, for what was asked for before
	// it and comes after it.
	purgeMemory = time.Minute
	// purgesKept is how many are; beyond, all that comes is validated before it is
	// used a second time.
	purgesKept = 4096
)

// A recent purge is one of the last minute.
type recent struct {
	at    time.Time
	soft  bool
	about func(m *meta) bool
}

// purgedMeanwhile purges an object that was on its way when a purge came.
func (c *Cache) purgedMeanwhile(o *object, m *meta) {
	c.mu.Lock()
	purges := c.purges
	c.mu.Unlock()
	for _, p := range purges {
		if m.Asked.Before(p.at) && p.about(m) {
			o.purge(p.soft)
		}
	}
}

func (o *object) purge(soft bool) {
	if soft {
		o.soften()
	} else {
		o.kill()
	}
}

// remember keeps a purge for a while.
func (c *Cache) remember(p recent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := make([]recent, 0, len(c.purges)+1)
	for _, old := range c.purges {
		if p.at.Sub(old.at) < purgeMemory {
			kept = append(kept, old)
		}
	}
	if len(kept) >= purgesKept {
		kept = append(kept[:0], recent{p.at, false, func(*meta) bool { return true }})
	}
	c.purges = append(kept, p)
}

// purge takes out, or makes stale, what is stored or on its way here.
func (c *Cache) purge(p purge) (n int) {
	if p.At.IsZero() {
		p.At = time.Now()
	}
	c.purgedAt.Store(p.At.UnixNano())
	about := c.about(p)
	c.remember(recent{p.At, p.Soft, about})
	hit := func(o *object) bool {
		if m := o.meta.Load(); m.Asked.Before(p.At) && about(m) {
			n++
			o.purge(p.Soft)
		}
		return true
	}
	if p.URL != "" && !c.keys.host { // there is one key
		for _, o := range c.table.all(c.want(targetIn(p.URL), "").key.id) {
			hit(o)
		}
	} else {
		c.table.each(hit)
	}
	c.met.purged.add(int64(n))
	return n
}

// look lists objects by the beginning of their paths, as by pathID.
func (c *Cache) look(prefix string, limit int) (objects []objectStatus, more bool) {
	now := time.Now()
	c.table.each(func(o *object) bool {
		m := o.meta.Load()
		if !strings.HasPrefix(pathID(m.Path), prefix) {
			return true
		}
		if more = len(objects) >= limit; !more {
			objects = append(objects, o.status(m, now))
		}
		return !more
	})
	return objects, more
}

// status is what operators see of an object.
func (o *object) status(m *meta, now time.Time) objectStatus {
	age := m.age(now)
	s := objectStatus{Key: strings.Replace(m.Key, "\x00", "", 1), Variant: m.Variant, Status: m.Status, Type: m.Header.Get("Content-Type"), Class: m.Class.String(), Tags: m.Tags,
		Size: m.Size, Age: age.Seconds(), Fresh: (m.Verdict.Fresh - age).Seconds()}
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Filling = len(o.fills) > 0
	for n, slot := range o.slots {
		if slot.ram != nil {
			s.Memory += int64(slot.ram.have)
		}
		if slot.disk {
			s.Disk += int64(m.chunkLen(n))
		}
	}
	return s
}

var classNames = map[class]string{other: "other", multivariant: "multivariant playlist", livePlaylist: "live playlist", storedPlaylist: "playlist",
	liveMPD: "live MPD", storedMPD: "MPD", segment: "segment", secret: "key"}

// String names a class for operators.
func (c class) String() string { return classNames[c] }
