package front

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/wire"
)

// maxRefusing is how many connections that have no place may be told so at a
// time, and refusingFor how long that takes at most.
const (
	maxRefusing = 64
	refusingFor = time.Second
)

// An anteroom has the connections that are not let in yet: load balancers' that
// may begin with a PROXY header, and those that are to be told that there is no
// place. Both wait for what comes first, each on a goroutine of its own, and the
// listener accepts on.
type anteroom struct {
	l     *listener
	ready chan *conn
	over  chan struct{} // the socket accepts no more

	refusing chan struct{} // has one for each that is being refused

	wg      sync.WaitGroup
	mu      sync.Mutex
	waiting map[net.Conn]struct{}
	closed  bool
}

func newAnteroom(l *listener) *anteroom {
	return &anteroom{l: l, ready: make(chan *conn), over: make(chan struct{}),
		refusing: make(chan struct{}, maxRefusing), waiting: map[net.Conn]struct{}{}}
}

// enter runs f on c, unless the listener is closed: then c is.
func (a *anteroom) enter(c net.Conn, f func(net.Conn)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		c.Close()
		return
	}
	a.waiting[c] = struct{}{}
	a.wg.Go(func() {
		defer a.leave(c)
		f(c)
	})
}

func (a *anteroom) leave(c net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, c)
}

// close ends all who wait.
func (a *anteroom) close() {
	a.mu.Lock()
	first := !a.closed
	a.closed = true
	for c := range a.waiting {
		c.Close()
	}
	a.mu.Unlock()
	if first {
		close(a.over)
	}
	a.wg.Wait()
}

// introduce reads the PROXY header that c may begin with, and passes it on as the
// connection of whom that names. A header that cannot be read ends it.
func (a *anteroom) introduce(c net.Conn) {
	l := a.l
	c.SetReadDeadline(time.Now().Add(l.firstByte)) //nolint:errcheck // the read says it
	br := bufio.NewReader(c)
	h, err := proxyproto.Read(br)
	if err != nil && !errors.Is(err, proxyproto.ErrNoProxyProtocol) {
		l.unread(c, br.Buffered() == 0 && errors.Is(err, os.ErrDeadlineExceeded), err)
		return
	}
	c.SetReadDeadline(time.Time{}) //nolint:errcheck // the next read says it
	from := c.RemoteAddr()
	if h != nil && !h.Command.IsLocal() {
		if t, ok := h.SourceAddr.(*net.TCPAddr); ok {
			from = t
		}
	}
	rest, _ := br.Peek(br.Buffered())
	vc, refusal := l.letIn(c, from)
	if refusal != nil {
		a.refuse(c, rest, refusal)
		return
	}
	vc.before = append([]byte(nil), rest...)
	select {
	case a.ready <- vc:
	case <-a.over:
		vc.Close()
	}
}

// unread closes a connection of which no PROXY header could be read: a broken one,
// unless it was silent for too long.
func (l *listener) unread(c net.Conn, silent bool, err error) {
	c.Close()
	if !silent {
		l.broken.Add(1)
		l.log.Debug("no PROXY header to be read", zap.Stringer("from", c.RemoteAddr()), zap.Error(err))
	}
}

// refuse closes c. Who may come back later is told so, if that can be done, once
// he has asked for something: an answer before that would be lost to the reset.
// before is what has been read already.
func (a *anteroom) refuse(c net.Conn, before []byte, r *proxy.Refusal) {
	defer c.Close()
	if !a.l.tells(r) {
		return
	}
	select {
	case a.refusing <- struct{}{}:
		defer func() { <-a.refusing }()
	default:
		return
	}
	c.SetDeadline(time.Now().Add(refusingFor)) //nolint:errcheck // the read says it
	no := a.l.no(io.MultiReader(bytes.NewReader(before), c), r)
	if no == nil {
		return
	}
	c.Write(no) //nolint:errcheck // the viewer has gone
	if t, ok := c.(*net.TCPConn); ok && t.CloseWrite() == nil {
		io.Copy(io.Discard, io.LimitReader(c, 64<<10)) //nolint:errcheck // until the viewer has read it
	}
}

// tells reports whether a refusal is worth an answer.
func (l *listener) tells(r *proxy.Refusal) bool {
	return l.tls == nil && (r.Reason == proxy.Full || r.Reason == proxy.TooMany)
}

// no is a refusal in the listener's protocol, for the request that c begins with;
// nil if there is none.
func (l *listener) no(c io.Reader, r *proxy.Refusal) []byte {
	br := bufio.NewReaderSize(io.LimitReader(c, 32<<10), 4<<10)
	if l.protocol == "rtsp" {
		m, err := wire.NewReader(br).Next()
		if req, ok := m.(*wire.Request); err == nil && ok {
			return r.Response(req).Append(nil)
		}
		return nil
	}
	req, err := http.ReadRequest(br)
	if err != nil {
		return nil
	}
	rec := &inMemory{header: http.Header{}}
	r.WriteHTTP(rec)
	res := http.Response{StatusCode: rec.code, ProtoMajor: 1, ProtoMinor: 1, Header: rec.header, Request: req, Close: true,
		ContentLength: int64(rec.body.Len()), Body: io.NopCloser(&rec.body)}
	var b bytes.Buffer
	res.Write(&b) //nolint:errcheck // into memory
	return b.Bytes()
}

// An inMemory is an http.ResponseWriter in memory.
type inMemory struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (h *inMemory) Header() http.Header         { return h.header }
func (h *inMemory) WriteHeader(code int)        { h.code = code }
func (h *inMemory) Write(b []byte) (int, error) { return h.body.Write(b) }
