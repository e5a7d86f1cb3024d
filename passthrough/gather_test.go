package passthrough

import (
	"io"
	"net"
	"testing"
	"time"
)

// tcpPair are the two ends of a connection.
func tcpPair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	addr, conns := listen(t, "127.0.0.1")
	near, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	far = <-conns
	t.Cleanup(func() { near.Close(); far.Close() })
	near.SetDeadline(time.Now().Add(2 * soon))
	return near, far
}

func put(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

// TestGatherLumps: while media comes, what arrives between two beats is one read.
func TestGatherLumps(t *testing.T) {
	near, far := tcpPair(t)
	const beat = 200 * time.Millisecond
	g := newGatherer(near, beat, time.Now())
	g.media.Store(true)
	b := make([]byte, 100)
	put(t, far, "a")
	put(t, far, "b")
	put(t, far, "c")
	if n, err := g.Read(b); string(b[:n]) != "abc" || err != nil {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if late := time.Since(g.began) % beat; late > beat/2 {
		t.Errorf("read %v after a beat", late)
	}
}

// TestGatherWaits: where nothing comes for long, it is noticed at once when
// something does, and the end as well.
func TestGatherWaits(t *testing.T) {
	near, far := tcpPair(t)
	g := newGatherer(near, time.Millisecond, time.Now())
	g.media.Store(true)
	read := make(chan string)
	go func() {
		b := make([]byte, 100)
		for {
			n, err := g.Read(b)
			if err != nil {
				close(read)
				return
			}
			read <- string(b[:n])
		}
	}()
	idle := time.NewTimer(3 * idleBeats * time.Millisecond)
	<-idle.C
	put(t, far, "x") // one byte wakes it up: it is not left at the mark of busy times
	if got := <-read; got != "x" {
		t.Errorf("read %q", got)
	}
	far.Close()
	if got, ok := <-read; ok {
		t.Errorf("read %q after the end", got)
	}
}

// TestGatherFull: what did not fit is read without waiting for the next beat.
func TestGatherFull(t *testing.T) {
	near, far := tcpPair(t)
	g := newGatherer(near, time.Second, time.Now().Add(-time.Second))
	b := make([]byte, 4)
	put(t, far, "12345678")
	if n, err := g.Read(b); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	g.media.Store(true)
	began := time.Now()
	if n, err := g.Read(b); string(b[:n]) != "5678" || err != nil {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

// TestGatherBeats: all legs wake up at the same time, so that the processor may
// sleep between.
func TestGatherBeats(t *testing.T) {
	began := time.Now().Add(-time.Hour)
	const beat = 200 * time.Millisecond
	f := func() time.Duration {
		near, far := tcpPair(t)
		g := newGatherer(near, beat, began)
		g.media.Store(true)
		put(t, far, "x")
		if err := g.ready(); err != nil {
			t.Fatal(err)
		}
		return time.Since(began) % beat
	}
	for range 2 {
		if late := f(); late > beat/2 {
			t.Errorf("ready %v after a beat", late)
		}
	}
}

// TestGatherClosed: a leg that is closed does not wait any more.
func TestGatherClosed(t *testing.T) {
	near, _ := tcpPair(t)
	g := newGatherer(near, time.Millisecond, time.Now())
	ended := make(chan error, 1)
	go func() { ended <- g.ready() }()
	near.Close()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("ready, though closed")
		}
	case <-time.After(soon):
		t.Error("it waits")
	}
}

// TestGatherPlain: what is no socket is read as it comes.
func TestGatherPlain(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	g := newGatherer(near, time.Hour, time.Now())
	g.media.Store(true)
	go func() {
		io.WriteString(far, "x") //nolint:errcheck // the read says it
		far.Close()
	}()
	b := make([]byte, 9)
	if n, err := g.Read(b); n != 1 || err != nil {
		t.Error(n, err)
	}
	if _, err := g.Read(b); err != io.EOF {
		t.Error(err)
	}
}
