package passthrough

import (
	"strconv"
	"time"

	"weir/proxy/wire"
)

// answer gives a request its answer. Answers leave in the order of the requests
// (RFC 2326 §9.1), whichever origin or whoever here they come from.
func (c *conn) answer(ex *exchange, res *wire.Response) {
	c.mu.Lock()
	ex.answer = res.Append(nil)
	for c.flushing { // by another, who takes this one along: media may not overtake it
		c.flushed.Wait()
	}
	c.flushing = true
	for len(c.queue) > 0 && c.queue[0].answer != nil {
		next := c.queue[0].answer
		c.queue = c.queue[1:]
		<-c.slots
		c.mu.Unlock()
		c.write(next)
		c.mu.Lock()
	}
	c.flushing = false
	c.flushed.Broadcast()
	c.mu.Unlock()
}

// write writes to the viewer; whole calls come one after another. A viewer who
// takes nothing for the lag is let go.
func (c *conn) write(b []byte) {
	if len(b) == 0 || c.gone.Load() {
		return
	}
	began := time.Now()
	c.extend(began)
	c.writing.Add(1)
	_, err := c.rc.Write(b)
	if time.Since(began) > c.r.opt.Timeout/10 {
		c.held.Store(time.Now().UnixNano())
	}
	c.writing.Add(-1)
	if err != nil && !c.gone.Load() {
		c.hangUp("write: " + err.Error())
	}
}

// holds reports whether the viewer keeps those waiting who have something for him,
// or has lately.
func (c *conn) holds() bool {
	return c.writing.Load() > 0 || time.Since(time.Unix(0, c.held.Load())) < c.r.opt.Timeout
}

// extend gives the next write most of the lag at least: to set a deadline for each
// would cost as much as to hand a picture on.
func (c *conn) extend(now time.Time) {
	lag := c.r.opt.Lag
	if at := c.deadline.Load(); at-now.UnixNano() > int64(lag)*3/4 {
		return
	}
	until := now.Add(lag)
	c.deadline.Store(until.UnixNano())
	c.rc.SetWriteDeadline(until) //nolint:errcheck // the write says it
}

// ask passes a request of an origin on to the viewer, and reports whether it
// could: he may have gone, or owe too many answers.
func (c *conn) ask(l *leg, req *wire.Request) bool {
	c.mu.Lock()
	if len(c.asked) >= maxAsked || c.gone.Load() {
		c.mu.Unlock()
		return false
	}
	c.cseq++
	number := strconv.Itoa(c.cseq)
	c.asked[number] = asking{l, req.Header.Get("CSeq")}
	c.mu.Unlock()
	out := &wire.Request{Method: req.Method, URL: l.urls.toViewer(req.URL), Body: req.Body}
	out.Header = l.toViewer(req.Header, number)
	c.write(out.Append(nil))
	return true
}

// reply passes the viewer's answer on to the origin that asked.
func (c *conn) reply(res *wire.Response) {
	number := res.Header.Get("CSeq")
	c.mu.Lock()
	a, ok := c.asked[number]
	delete(c.asked, number)
	c.mu.Unlock()
	if ok {
		a.leg.reply(res, a.cseq)
	}
}

// frame passes interleaved data on: receiver reports, or a back channel.
func (c *conn) frame(f *wire.Frame) {
	l := c.leg.Load()
	if l == nil {
		return
	}
	rt := l.routes.Load()
	if to := rt.up[f.Channel]; to >= 0 && rt.down[to].t.s.playing.Load() {
		c.frames = append(c.frames[:0], '$', byte(to), byte(len(f.Payload)>>8), byte(len(f.Payload)))
		c.frames = append(c.frames, f.Payload...)
		rt.down[to].back(c.frames[4:])
		l.write(c.frames)
	}
}

// claim takes a pair of the viewer's channels: the ones he wants, or the next
// that are free. It reports false if there are none.
func (c *conn) claim(want [2]int) ([2]int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return claimPair(&c.channels, want)
}

func (c *conn) release(pair [2]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	releasePair(&c.channels, pair)
}

// claimPair marks two channels as used: those wanted if they are free, else the
// next even one and the one behind it.
func claimPair(used *[256]bool, want [2]int) ([2]int, bool) {
	ok := func(p [2]int) bool {
		return p[0] >= 0 && p[0] < 256 && p[1] >= 0 && p[1] < 256 && !used[p[0]] && !used[p[1]]
	}
	for n := 0; !ok(want); n += 2 {
		if n > 254 {
			return none, false
		}
		want = [2]int{n, n + 1}
	}
	used[want[0]], used[want[1]] = true, true
	return want, true
}

func releasePair(used *[256]bool, pair [2]int) {
	for _, n := range pair {
		if n >= 0 {
			used[n] = false
		}
	}
}
