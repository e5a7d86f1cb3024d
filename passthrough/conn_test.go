package passthrough

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
	"weir/proxy/wire"
)

// TestConnAnswers: answers leave in the order of the requests, and who has given
// one may go on only when it has left: media behind it is the next he writes.
func TestConnAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		v := &proxy.Viewer{Addr: netip.MustParseAddrPort("192.0.2.1:5000")}
		r := &Relay{opt: Options{Lag: time.Minute}, log: zap.NewNop()}
		c := newConn(r, proxy.NewRTSPConn(near, &wire.Request{}, v, nil, nil), func() {})
		var all []*exchange
		for range 3 {
			ex := &exchange{conn: c}
			all, c.queue = append(all, ex), append(c.queue, ex)
			c.slots <- struct{}{}
		}
		gone := make(chan int, 3)
		give := func(n int) {
			c.answer(all[n], &wire.Response{Code: 200 + n})
			gone <- n
		}
		give(2) // too early: it waits, nobody else does
		<-gone
		go give(0) // stuck: nobody reads
		synctest.Wait()
		go give(1)
		synctest.Wait()
		if len(gone) > 0 {
			t.Errorf("answer %d has left, and nobody has read it", <-gone)
		}
		in := wire.NewReader(bufio.NewReader(far))
		for n := range 3 {
			m, err := in.Next()
			if res, ok := m.(*wire.Response); !ok || res.Code != 200+n {
				t.Errorf("%d: %s, %v", n, fmt.Sprint(m), err)
			}
		}
		<-gone
		<-gone
	})
}
