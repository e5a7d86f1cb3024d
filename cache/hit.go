package cache

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"weir/proxy"
)

var _ proxy.Hitter = (*Cache)(nil)

// maxHitChunks bounds what an answer at hand is made of; longer ones take the
// usual way, where only what is being written is held.
const maxHitChunks = 32

// A head is the part of an answer's header that is the same for each hit: all but
// Age and Cache-Status. It belongs to one meta.
type head struct {
	of   *meta
	text []byte // nil: this object takes the usual way
}

// A hand is a Hit and all it needs, to be used again and again.
type hand struct {
	proxy.Hit
	cache  *Cache
	ticket proxy.Ticket
	buf    []byte
	bufs   [maxHitChunks][]byte
	held   []*chunk
	size   int64 // what it counts for in Cache.handed
	failed bool  // the answer is an error
}

func newHands(c *Cache) *sync.Pool {
	return &sync.Pool{New: func() any {
		h := &hand{cache: c}
		h.Done = h.done
		return h
	}}
}

// Hit implements proxy.Hitter: it answers with what is fresh, complete and in RAM,
// and the same for everybody. It says what get would say.
func (c *Cache) Hit(p *proxy.Plain) *proxy.Hit {
	now := time.Now()
	o, m := c.atHand(p, now)
	if o == nil {
		return nil
	}
	text := o.head(m)
	if text == nil {
		return nil
	}
	h := c.hands.Get().(*hand)
	if !p.Head && !(h.reserve(m.Size) && o.lay(m, h)) || !h.admitted(p.Viewer) {
		h.release()
		return nil
	}
	h.failed = m.Status >= http.StatusBadRequest
	c.use(o, m, now)
	c.met.hits.inc()
	age := m.age(now)
	b := append(h.buf[:0], text...)
	b = strconv.AppendInt(append(b, "Age: "...), int64(age/time.Second), 10)
	b = append(b, "\r\nCache-Status: "...)
	for _, before := range m.Header["Cache-Status"] {
		b = append(append(b, before...), ", "...)
	}
	r := report{hit: true}
	h.buf = append(r.text(b, c.id, m.Verdict.Fresh-age), "\r\n\r\n"...)
	h.Header = h.buf
	return &h.Hit
}

// atHand returns the one object that may answer a request as it is, nil if there
// is none, or more than one.
func (c *Cache) atHand(p *proxy.Plain, now time.Time) (*object, *meta) {
	host := ""
	if c.keys.host {
		host = keyHost(p.Host, false)
	}
	k := c.keys.from(host, p.Path, p.Query)
	o, m := c.newest(k, p.Path, nil, now)
	if o == nil {
		all := c.table.all(k.id)
		if len(all) != 1 {
			return nil, nil
		}
		o, m = all[0], all[0].meta.Load()
	}
	if len(m.Vary) > 0 || m.Size < 0 || m.Verdict.usability(m.age(now), noDirectives) != usable || c.frozen(m, now) {
		return nil, nil
	}
	return o, m
}

// head returns the common part of the header for a meta.
func (o *object) head(m *meta) []byte {
	if h := o.common.Load(); h != nil && h.of == m {
		return h.text
	}
	h := &head{m, o.cache.compose(m)}
	o.common.Store(h)
	return h.text
}

// compose writes the common part of a header: RFC 9112 §4, §5.
func (c *Cache) compose(m *meta) []byte {
	status := http.StatusText(m.Status)
	if status == "" || m.Status < 200 || m.Status == http.StatusNoContent {
		return nil
	}
	fields := http.Header{}
	c.fields(fields, m)
	delete(fields, "Cache-Status")
	delete(fields, "Age")
	fields["Content-Length"] = []string{strconv.FormatInt(m.Size, 10)}
	var b strings.Builder
	b.WriteString("HTTP/1.1 " + strconv.Itoa(m.Status) + " " + status + "\r\n")
	for name, values := range fields {
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") || strings.ContainsAny(name, "\r\n\x00: ") {
				return nil
			}
			b.WriteString(name + ": " + v + "\r\n")
		}
	}
	return []byte(b.String())
}

// lay holds all chunks of an object, if they are all there and whole.
func (o *object) lay(m *meta, h *hand) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := m.chunks()
	if o.dead || n > maxHitChunks || n > len(o.slots) || o.meta.Load() != m {
		return false
	}
	for i := range n {
		if s := &o.slots[i]; s.ram == nil || !s.whole {
			return false
		}
	}
	second := o.used.Load()
	for i := range n {
		s := &o.slots[i]
		s.ram.hold()
		h.held = append(h.held, s.ram)
		h.bufs[i] = s.ram.mem[:s.ram.have]
		if s.touched != second {
			s.touched = second
			o.cache.ram.index.touch(o.item(i))
		}
	}
	h.Body = net.Buffers(h.bufs[:n])
	return true
}

// reserve counts what a hand is going to hold until its viewer has all of it. All
// hands have an eighth of the RAM at most, or slow viewers would leave no room for
// what is new: the usual way holds only what is being written.
func (h *hand) reserve(n int64) bool {
	c := h.cache
	if c.handed.Add(n) > c.ram.limit/8 {
		c.handed.Add(-n)
		return false
	}
	h.size = n
	return true
}

// admitted takes the viewer's ticket. What is refused takes the usual way, where
// he is told.
func (h *hand) admitted(v *proxy.Viewer) bool {
	var err error
	h.ticket, err = h.cache.env.Gate.Admit(context.Background(), v)
	return err == nil
}

// done is the Hit's Done.
func (h *hand) done(n int64) {
	h.ticket.Sent(int(n))
	if h.failed {
		h.ticket.Failed()
	}
	h.ticket.Close()
	h.cache.met.fromRAM.add(n)
	h.release()
}

func (h *hand) release() {
	h.cache.handed.Add(-h.size)
	h.size = 0
	for _, c := range h.held {
		c.drop()
	}
	clear(h.held)
	clear(h.bufs[:])
	h.held, h.Body, h.Header, h.ticket = h.held[:0], nil, nil, nil
	h.cache.hands.Put(h)
}
