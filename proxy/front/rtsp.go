package front

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/sdp"
	"weir/proxy/wire"
)

// acceptRTSP serves each connection on a goroutine of its own, counted by wg.
func (f *Front) acceptRTSP(ctx context.Context, wg *sync.WaitGroup) {
	for {
		nc, err := f.rtsp.Accept()
		if err != nil {
			return
		}
		c := nc.(*conn)
		cctx, cancel := context.WithCancel(ctx)
		f.add(c, cancel)
		wg.Go(func() {
			defer f.remove(c)
			defer cancel()
			defer c.Close()
			f.serveRTSP(cctx, c)
		})
	}
}

func (f *Front) serveRTSP(ctx context.Context, c *conn) {
	rc := &rtspConn{conn: c, idle: f.cfg.Idle}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	first, err := f.firstRequest(rc)
	if !stop() {
		return
	}
	switch {
	case errors.Is(err, wire.ErrMalformed):
		f.log.Debug("bad first request", zap.Stringer("viewer", c.RemoteAddr()), zap.Error(err))
		code, phrase := wire.Code(err)
		f.answer(rc, &wire.Response{Code: code, Phrase: phrase})
		return
	case err != nil: // gone, or silent for too long
		return
	}
	v, err := rtspViewer(c, first)
	if err == nil {
		err = f.cfg.Gate.Check(ctx, v)
	}
	if err != nil {
		f.answer(rc, proxy.Refused(err).Response(first))
		return
	}
	f.cfg.Handler.ServeRTSP(ctx, proxy.NewRTSPConn(rc, first, v, c.tcp, c.sent))
}

// firstRequest answers OPTIONS until another request comes; that one and all
// behind it will be read from c again.
func (f *Front) firstRequest(c *rtspConn) (*wire.Request, error) {
	br := bufio.NewReaderSize(c, 4096)
	r := wire.NewReader(br)
	c.SetReadDeadline(time.Now().Add(f.cfg.FirstByte)) //nolint:errcheck // the read says it
	for {
		m, err := r.Next()
		if err != nil {
			return nil, err
		}
		req, ok := m.(*wire.Request)
		switch {
		case !ok:
			return nil, errors.Join(wire.ErrMalformed, errors.New("not a request"))
		case req.Header.Get("CSeq") == "":
			return nil, errors.Join(wire.ErrMalformed, errors.New("no CSeq"))
		case req.Method != "OPTIONS":
			rest, _ := br.Peek(br.Buffered())
			c.replay = append(append([]byte(nil), req.Raw...), rest...)
			return req, c.SetReadDeadline(time.Time{})
		}
		if err := f.answer(c, f.options(req)); err != nil {
			return nil, err
		}
		c.SetReadDeadline(time.Time{}) //nolint:errcheck // from now on it is Idle that counts
	}
}

// options tells load balancers whether to send viewers here.
func (f *Front) options(req *wire.Request) *wire.Response {
	if f.draining.Load() {
		return (&proxy.Refusal{Reason: proxy.Draining, RetryAfter: f.cfg.DrainNotice}).Response(req)
	}
	res := &wire.Response{Code: 200, Phrase: "OK"}
	res.Header.Add("CSeq", req.Header.Get("CSeq"))
	res.Header.Add("Public", proxy.RTSPMethods)
	return res
}

// answer writes an answer of the front's own. No deadline is left behind: the
// connection may be handed on, and its writes be cut long after.
func (f *Front) answer(c net.Conn, res *wire.Response) error {
	res.Header.Add("Server", "Weir")
	if err := c.SetWriteDeadline(time.Now().Add(f.cfg.FirstByte)); err != nil {
		return err
	}
	if _, err := c.Write(res.Append(nil)); err != nil {
		return err
	}
	return c.SetWriteDeadline(time.Time{})
}

// rtspViewer says who sent a request and for what. SETUP names a track, the gate
// is asked about the stream.
func rtspViewer(c *conn, req *wire.Request) (*proxy.Viewer, error) {
	bad := &proxy.Refusal{Reason: proxy.BadRequest}
	u, err := req.Target()
	if err != nil {
		return nil, bad
	}
	escaped, query := u.EscapedPath(), u.RawQuery
	if req.Method == "SETUP" {
		escaped, _, _ = sdp.SplitTrack(escaped)
		query, _, _ = sdp.SplitTrack(query)
	}
	path, err := proxy.CleanPath(escaped)
	if err != nil {
		return nil, bad
	}
	return &proxy.Viewer{
		Addr:          address(c.RemoteAddr()),
		Protocol:      "rtsp",
		Path:          path,
		Query:         strings.TrimSuffix(query, "/"), // ffmpeg appends one to the base
		Authorization: req.Header.Get("Authorization"),
		UserAgent:     req.Header.Get("User-Agent"),
	}, nil
}

func (f *Front) add(c *conn, cancel context.CancelFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns[c] = cancel
}

func (f *Front) remove(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
	if f.empty != nil && len(f.conns) == 0 {
		close(f.empty)
		f.empty = nil
	}
}

// leaveRTSP waits for the RTSP viewers to go by themselves until ctx is nearly
// over, and spends the time that is left, the given span, telling the rest to
// go one by one: all at once they would come back as one herd.
func (f *Front) leaveRTSP(ctx context.Context, span time.Duration) {
	f.mu.Lock()
	if len(f.conns) == 0 {
		f.mu.Unlock()
		return
	}
	empty := make(chan struct{})
	f.empty = empty
	f.mu.Unlock()

	end, _ := ctx.Deadline()
	if !wait(time.Until(end)-span, empty) {
		return
	}
	f.mu.Lock()
	left := make([]context.CancelFunc, 0, len(f.conns))
	for _, cancel := range f.conns {
		left = append(left, cancel)
	}
	f.mu.Unlock()
	f.log.Info("closing the last viewers", zap.Int("connections", len(left)), zap.Duration("within", span))
	for _, cancel := range left {
		cancel()
		if !wait(span/time.Duration(len(left)), empty) {
			return
		}
	}
}

// wait reports whether d passed before done was closed.
func wait(d time.Duration, done <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
		return false
	}
}

// An rtspConn is a conn that reads its first request again, and fails a Read
// when nothing has moved in either direction for the idle time: RTSP has no
// limit of its own, and a paused or dead player would stay for ever.
type rtspConn struct {
	*conn
	idle   time.Duration
	replay []byte       // to be read before the rest; used by the reading goroutine
	limit  atomic.Int64 // the user's read deadline in Unix ns; 0 for none
}

// Read is for one goroutine at a time.
func (c *rtspConn) Read(b []byte) (int, error) {
	if len(c.replay) > 0 {
		n := copy(b, c.replay)
		if c.replay = c.replay[n:]; len(c.replay) == 0 {
			c.replay = nil
		}
		return n, nil
	}
	for {
		moved := c.moved.Load()
		if err := c.arm(); err != nil {
			return 0, err
		}
		n, err := c.conn.Read(b)
		over := errors.Is(err, os.ErrDeadlineExceeded)
		if n > 0 || !over || c.moved.Load() == moved || c.pastLimit() {
			return n, err
		}
	}
}

func (c *rtspConn) arm() error {
	d := time.Now().Add(c.idle)
	if l := c.limit.Load(); l != 0 && l < d.UnixNano() {
		d = time.Unix(0, l)
	}
	return c.Conn.SetReadDeadline(d)
}

func (c *rtspConn) pastLimit() bool {
	l := c.limit.Load()
	return l != 0 && time.Now().UnixNano() >= l
}

// SetReadDeadline sets a limit besides the idle one.
func (c *rtspConn) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		c.limit.Store(0)
	} else {
		c.limit.Store(t.UnixNano())
	}
	return c.arm()
}

// SetDeadline implements net.Conn.
func (c *rtspConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
