package passthrough

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

// measure looks at the machine.
func (a *Agent) measure(now time.Time) {
	ports, countErr := a.count(now)
	read, readErr := readMachine(a.opts.Interface)
	read.at = now
	text := ""
	if err := errors.Join(countErr, readErr); err != nil {
		text = err.Error()
	}
	a.mu.Lock()
	a.machine = a.meter.add(read)
	a.machine.counted = countErr == nil
	for _, n := range ports {
		a.machine.sessions += n
	}
	for _, s := range a.services {
		s.connections = ports[portIn(s.Addr)]
	}
	news := text != a.trouble
	a.trouble = text
	a.mu.Unlock()
	if news && text != "" {
		a.log.Warn("not all can be measured", zap.String("error", text))
	}
}

// count returns how many connections there are to each port of the services, but for
// the agent's own.
func (a *Agent) count(now time.Time) (map[uint16]int, error) {
	ports := map[uint16]int{}
	for _, s := range a.services {
		ports[portIn(s.Addr)] = 0
	}
	err := established(func(port uint16, remote netip.AddrPort) {
		if n, ours := ports[port]; ours && !a.own.has(remote) {
			ports[port] = n + 1
		}
	})
	a.own.forget(now)
	return ports, err
}

// counters are what a machine counts since its start, and the pressure on its CPU.
type counters struct {
	at       time.Time
	cpu      cpuTime
	sent     uint64 // bytes
	hasSent  bool   // sent is known
	pressure float64
}

// A cpuTime is in ticks of all processors; total is 0 if it is not known.
type cpuTime struct{ busy, total uint64 }

// A meter makes rates of counters.
type meter struct {
	last      counters
	cpu, sent average
}

func (m *meter) add(c counters) measures {
	old := m.last
	m.last = c
	if old.cpu.total > 0 && c.cpu.total > old.cpu.total && c.cpu.busy >= old.cpu.busy {
		m.cpu.add(float64(c.cpu.busy-old.cpu.busy) / float64(c.cpu.total-old.cpu.total))
	}
	seconds := c.at.Sub(old.at).Seconds()
	if old.hasSent && c.hasSent && seconds > 0 && c.sent >= old.sent {
		m.sent.add(float64(c.sent-old.sent) * 8 / seconds)
	}
	return measures{rate: proxy.BitRate(m.sent.value), cpu: min(m.cpu.value, 1), pressure: c.pressure}
}

// An average follows what is measured with a third of each step, since one second of
// segments is not like the next.
type average struct {
	value float64
	known bool
}

func (a *average) add(v float64) {
	if !a.known {
		a.value, a.known = v, true
		return
	}
	a.value += (v - a.value) / 3
}

// ownConns are the local addresses of the agent's probes, which are not to be counted
// as viewers. One that was closed is remembered for the measurement under way. The
// zero value is ready.
type ownConns struct {
	mu     sync.Mutex
	closed map[netip.AddrPort]time.Time // zero while open
}

func (o *ownConns) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	at := c.LocalAddr().(*net.TCPAddr).AddrPort()
	at = netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
	o.set(at, time.Time{})
	return &ownConn{c, o, at}, nil
}

func (o *ownConns) set(at netip.AddrPort, closed time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed == nil {
		o.closed = map[netip.AddrPort]time.Time{}
	}
	o.closed[at] = closed
}

func (o *ownConns) has(at netip.AddrPort) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.closed[at]
	return ok
}

// forget drops what was closed before a time.
func (o *ownConns) forget(t time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.closed, func(_ netip.AddrPort, closed time.Time) bool { return !closed.IsZero() && closed.Before(t) })
}

// An ownConn is the connection of a probe.
type ownConn struct {
	net.Conn
	of *ownConns
	at netip.AddrPort
}

// Close implements net.Conn.
func (c *ownConn) Close() error {
	err := c.Conn.Close()
	c.of.set(c.at, time.Now())
	return err
}
