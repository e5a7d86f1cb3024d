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

// matches reports whether a purge is about an object. A URL is meant with all its
// variants, and with the same query once what is ignored is taken out.
func (p *purge) matches(c *Cache, m *meta) bool {
	switch {
	case p.Tag != "":
		return slices.Contains(m.Tags, p.Tag)
	case p.Prefix != "":
		return strings.HasPrefix(m.Path, p.Prefix)
	}
	k := c.want(p.URL).key
	return m.Path == c.want(p.URL).path && m.Query == k.query
}

// purgeMemory is how long a purge is remembered, for what was asked for before it
// and comes after it.
const purgeMemory = time.Minute

// purgedMeanwhile purges an object that was on its way when a purge came.
func (c *Cache) purgedMeanwhile(o *object, m *meta) {
	c.mu.Lock()
	recent := c.purges
	c.mu.Unlock()
	for _, p := range recent {
		if m.Asked.Before(p.At) && p.matches(c, m) {
			o.purge(p.Soft)
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
func (c *Cache) remember(p purge) {
	c.mu.Lock()
	defer c.mu.Unlock()
	recent := []purge{p}
	for _, old := range c.purges {
		if p.At.Sub(old.At) < purgeMemory && len(recent) < 1000 {
			recent = append(recent, old)
		}
	}
	c.purges = recent
}

// purge takes out, or makes stale, what is stored or on its way here.
func (c *Cache) purge(p purge) (n int) {
	if p.At.IsZero() {
		p.At = time.Now()
	}
	c.remember(p)
	c.table.each(func(o *object) bool {
		if m := o.meta.Load(); m.Asked.Before(p.At) && p.matches(c, m) {
			n++
			o.purge(p.Soft)
		}
		return true
	})
	c.met.purged.add(int64(n))
	return n
}

// look lists objects by the beginning of their paths.
func (c *Cache) look(prefix string, limit int) (objects []objectStatus, more bool) {
	now := time.Now()
	c.table.each(func(o *object) bool {
		m := o.meta.Load()
		if !strings.HasPrefix(m.Path, prefix) {
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
	s := objectStatus{Key: m.Key, Variant: m.Variant, Status: m.Status, Type: m.Header.Get("Content-Type"), Class: m.Class.String(), Tags: m.Tags,
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
