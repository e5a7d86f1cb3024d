package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/wire"
)

// acceptRTSP serves each connection of a listener, if it is on, on a goroutine of
// its own, counted by wg.
func (f *Front) acceptRTSP(ctx context.Context, l *listener, wg *sync.WaitGroup) {
	for l != nil {
		nc, err := l.Accept()
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

// maxAsked is how many requests of a connection may be refused before it is closed:
// players try a handful of credentials, and not for ever.
const maxAsked = 8

func (f *Front) serveRTSP(ctx context.Context, c *conn) {
	by := time.Now().Add(f.cfg.FirstByte)
	stream, err := c.handshake(ctx, by)
	if err != nil {
		return
	}
	rc := &rtspConn{Conn: stream, socket: c, idle: f.cfg.Idle}
	for range maxAsked {
		first, err := f.readFirst(ctx, rc, by)
		if err != nil {
			return
		}
		v, err := f.checkRTSP(ctx, c, stream, first)
		if err == nil {
			f.cfg.Handler.ServeRTSP(ctx, proxy.NewRTSPConn(rc, first, v, c.below(), c.sent))
			return
		}
		refusal := proxy.Refused(err)
		if f.answer(rc, refusal.Response(first)) != nil || !worthAsking(refusal.Reason) {
			return
		}
		rc.skip(len(first.Raw))
		by = time.Time{} // from now on it is Idle that counts
	}
}

// worthAsking reports whether the same viewer may be let in on the same
// connection later: with credentials, or when there is room.
func worthAsking(r proxy.Reason) bool {
	switch r {
	case proxy.Unauthorized, proxy.Full, proxy.TooMany, proxy.TooFast, proxy.NoBandwidth, proxy.Overloaded, proxy.NoVerdict:
		return true
	}
	return false
}

// readFirst is firstRequest, ended by ctx too; what is malformed it answers.
func (f *Front) readFirst(ctx context.Context, c *rtspConn, by time.Time) (*wire.Request, error) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	first, err := f.firstRequest(c, by)
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, wire.ErrMalformed) {
		f.log.Debug("bad first request", zap.Stringer("viewer", c.RemoteAddr()), zap.String("error", unquoted(err)))
		f.cfg.Gate.Offend(address(c.RemoteAddr()).Addr(), proxy.BadRequest)
		code, phrase := wire.Code(err)
		f.answer(c, &wire.Response{Code: code, Phrase: phrase}) //nolint:errcheck // it is closed anyway
	}
	return first, err
}

// unquoted is an error without what it quotes: nothing says where in a malformed
// request there are credentials.
func unquoted(err error) string {
	text, _, _ := strings.Cut(err.Error(), `"`)
	return strings.TrimSpace(text)
}

// checkRTSP says who sent a request and for what, once the gate has been asked.
// stream is what the connection carries.
func (f *Front) checkRTSP(ctx context.Context, c *conn, stream net.Conn, req *wire.Request) (*proxy.Viewer, error) {
	from := address(c.RemoteAddr())
	who := proxy.Viewer{Addr: from, Protocol: "rtsp", Secure: c.l.tls != nil}
	if s, ok := stream.(*tls.Conn); ok {
		state := s.ConnectionState()
		who.Certificate = certified(&state)
	}
	v, err := who.Asking(req)
	if err != nil {
		f.cfg.Gate.Offend(from.Addr(), proxy.BadRequest)
		return nil, err
	}
	if v.Peer, err = f.isPeer(req.Header.Get(markField), v.Path); err != nil {
		return nil, err
	}
	return v, f.cfg.Gate.Check(ctx, v)
}

// markField is where an edge says that it is one.
const markField = "Weir-Peer"

// isPeer reports whether a request with that mark comes from an edge of the cluster. One
// whose mark is not good is refused: taken for a viewer, two edges could come to be fed by
// each other.
func (f *Front) isPeer(mark, path string) (bool, error) {
	if mark == "" || f.cfg.Peer == nil {
		return false, nil
	}
	if f.cfg.Peer(mark, path) {
		return true, nil
	}
	now := time.Now().Unix()
	if last := f.marked.Load(); now-last >= 60 && f.marked.CompareAndSwap(last, now) {
		f.log.Warn("a request claims to be from an edge, and its mark is not good: other keys, or clocks that are apart?")
	}
	return false, &proxy.Refusal{Reason: proxy.SecondHand}
}

// firstRequest answers OPTIONS until another request comes; that one and all
// behind it will be read from c again. The first of all has to come in time.
func (f *Front) firstRequest(c *rtspConn, by time.Time) (*wire.Request, error) {
	br := bufio.NewReaderSize(c, 4096)
	r := wire.NewReader(br)
	c.SetReadDeadline(by) //nolint:errcheck // the read says it
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

// options tells load balancers whether to send viewers here. After the notice
// nobody is accepted any more: until then it is not worth asking again.
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

// An rtspConn is a connection that reads its first request again, and fails a Read
// when nothing has moved in either direction for the idle time: RTSP has no
// limit of its own, and a paused or dead player would stay for ever.
type rtspConn struct {
	net.Conn // the socket, or TLS over it: nothing may be written past that
	socket   *conn
	idle     time.Duration
	replay   []byte // to be read before the rest; used by the reading goroutine

	mu    sync.Mutex // also held while the socket's deadline is set: the last to come must know best
	limit time.Time  // the caller's read deadline; zero for none
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
		moved := c.socket.moved.Load()
		c.mu.Lock()
		err := c.arm()
		c.mu.Unlock()
		if err != nil {
			return 0, err
		}
		n, err := c.Conn.Read(b)
		over := errors.Is(err, os.ErrDeadlineExceeded)
		if n > 0 || !over || c.socket.moved.Load() == moved || c.pastLimit() {
			return n, err
		}
	}
}

// arm needs mu.
func (c *rtspConn) arm() error {
	d := time.Now().Add(c.idle)
	if !c.limit.IsZero() && c.limit.Before(d) {
		d = c.limit
	}
	return c.Conn.SetReadDeadline(d)
}

func (c *rtspConn) pastLimit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.limit.IsZero() && !time.Now().Before(c.limit)
}

// skip takes n bytes out of what is to be read again.
func (c *rtspConn) skip(n int) { c.replay = c.replay[n:] }

// SetReadDeadline sets a limit besides the idle one.
func (c *rtspConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = t
	return c.arm()
}

// SetDeadline implements net.Conn.
func (c *rtspConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
