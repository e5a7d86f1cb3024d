package cache

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// tableShards is how many locks lookups share.
const tableShards = 64

// A table finds objects by key, and the flights that are to bring them. Its locks
// are held for the look only; objects' locks come before them.
type table struct{ shards [tableShards]tableShard }

type tableShard struct {
	mu      sync.RWMutex
	entries map[string]*entry
}

// An entry is all there is of one key.
type entry struct {
	objects []*object // variants, the newest first; replaced, never changed
	flights []*flight // at most one for each set of credentials
	pass    time.Time // until then, everybody asks for himself: what came was not to be shared
	whole   time.Time // until then, nobody asks for slices: they cannot be put together
}

func (e *entry) empty(now time.Time) bool {
	return len(e.objects) == 0 && len(e.flights) == 0 && !e.pass.After(now) && !e.whole.After(now)
}

func newTable() *table {
	t := &table{}
	for i := range t.shards {
		t.shards[i].entries = map[string]*entry{}
	}
	return t
}

func (t *table) shard(id string) *tableShard {
	return &t.shards[xxhash.Sum64String(id)%tableShards]
}

// find returns the newest object for a request, and until when requests of this
// key pass.
func (t *table) find(id string, req http.Header) (o *object, pass time.Time) {
	s := t.shard(id)
	s.mu.RLock()
	e := s.entries[id]
	if e == nil {
		s.mu.RUnlock()
		return nil, time.Time{}
	}
	objects, pass := e.objects, e.pass
	s.mu.RUnlock()
	return choose(objects, req), pass
}

// choose returns the newest variant for a request.
func choose(objects []*object, req http.Header) *object {
	for _, o := range objects {
		if o.matches(req) {
			return o
		}
	}
	return nil
}

// all returns every variant of a key.
func (t *table) all(id string) []*object {
	s := t.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.entries[id]; e != nil {
		return e.objects
	}
	return nil
}

// change calls f with the entry of a key, which it makes if need be and removes
// if nothing is left in it.
func (t *table) change(id string, f func(e *entry)) {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil {
		e = &entry{}
		s.entries[id] = e
	}
	f(e)
	if e.empty(time.Now()) {
		delete(s.entries, id)
	}
}

// outdate kills all of a key, and what is on its way once it has come.
func (t *table) outdate(id string) {
	t.change(id, func(e *entry) {
		for _, f := range e.flights {
			f.outdated = true
		}
	})
	for _, o := range t.all(id) {
		o.kill()
	}
}

// insert puts an object in front of its key's and returns those that it replaces.
// f lands, in the same moment; it may be nil.
func (t *table) insert(o *object, f *flight) (replaced []*object) {
	m := o.meta.Load()
	t.change(m.Key, func(e *entry) {
		objects := []*object{o}
		for _, old := range e.objects {
			if old != o && old.meta.Load().Variant == m.Variant && slices.Equal(old.meta.Load().Vary, m.Vary) {
				replaced = append(replaced, old)
			} else if old != o {
				objects = append(objects, old)
			}
		}
		if len(objects) > maxVariants {
			replaced = append(replaced, objects[maxVariants:]...)
			objects = objects[:maxVariants]
		}
		e.objects, e.pass = objects, time.Time{}
		e.land(f)
	})
	return replaced
}

// maxVariants bounds what one key may hold: a Vary on something that is never
// the same twice would fill the table.
const maxVariants = 32

func (e *entry) land(f *flight) {
	e.flights = slices.DeleteFunc(e.flights, func(g *flight) bool { return g == f })
}

// remove takes an object out.
func (t *table) remove(o *object) {
	id := o.meta.Load().Key
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil {
		return
	}
	if slices.Contains(e.objects, o) {
		e.objects = slices.DeleteFunc(slices.Clone(e.objects), func(p *object) bool { return p == o })
	}
	if e.empty(time.Now()) {
		delete(s.entries, id)
	}
}

// each calls f with every object, until it returns false.
func (t *table) each(f func(o *object) bool) {
	for i := range t.shards {
		for _, o := range t.shards[i].list() {
			if !f(o) {
				return
			}
		}
	}
}

func (s *tableShard) list() (all []*object) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.entries {
		all = append(all, e.objects...)
	}
	return all
}

// tidy forgets what was passed long ago.
func (t *table) tidy(now time.Time) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for id, e := range s.entries {
			if e.empty(now) {
				delete(s.entries, id)
			}
		}
		s.mu.Unlock()
	}
}
