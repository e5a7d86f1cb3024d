package passthrough

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	// maxChecks is how many agent checks may be under way. Balancers have one each, for
	// a moment.
	maxChecks = 16
	// checkPatience bounds one.
	checkPatience = time.Second
	// maxCheckAsk bounds what is read of a question, in bytes, and maxCheckWhy what is
	// told of a reason.
	maxCheckAsk, maxCheckWhy = 1 << 10, 100
)

// answerChecks is the far end of HAProxy's agent-check: whoever connects gets a line
// and is closed. It begins when all services have been probed, since one that is told
// to be down is taken out.
func (a *Agent) answerChecks(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { a.check.Close() }) //nolint:errcheck // ends Accept
	defer stop()
	select {
	case <-a.known:
	case <-ctx.Done():
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, maxChecks)
	for ctx.Err() == nil {
		c, err := a.check.Accept()
		if err != nil {
			sleep(ctx, checkPatience/10) // no descriptors, or the end
			continue
		}
		select {
		case places <- struct{}{}:
			wg.Go(func() { a.answerCheck(c); <-places })
		default:
			c.Close()
		}
	}
}

// answerCheck tells one balancer. What it may have sent (agent-send) is read, or the
// system would reset the connection, the answer with it.
func (a *Agent) answerCheck(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(checkPatience)) //nolint:errcheck // the write says it
	if _, err := io.WriteString(c, a.checkLine()); err != nil {
		return
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.CloseWrite() //nolint:errcheck // it is closed at any rate
	}
	io.CopyN(io.Discard, c, maxCheckAsk) //nolint:errcheck // who asked may have gone
}

// checkLine is what a balancer is told. It keeps apart what the operator wants (ready,
// drain) and how the server is (up, down), and each must be taken back by its opposite.
func (a *Agent) checkLine() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining {
		return "drain\n"
	}
	why := ""
	for _, s := range a.services {
		if s.well() {
			return fmt.Sprintf("ready up %d%%\n", checkWeight(a.load()))
		}
		why = s.Proto + " " + s.trouble()
	}
	return "down #" + checkWhy(why) + "\n"
}

// checkWeight is in percent of the weight that the balancer gave the server. With 0 it
// would get nobody, which is not for the agent to say.
func checkWeight(load float64) int {
	return int(max(1, math.Round(100*(1-load))))
}

// checkWhy makes a reason one line of visible ASCII. What a line is split at, and what
// begins a reason, are left out.
func checkWhy(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == ',' || r == '#' {
			return ' '
		}
		return r
	}, s)
	return s[:min(len(s), maxCheckWhy)]
}
