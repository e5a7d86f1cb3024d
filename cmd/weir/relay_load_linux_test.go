package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"weir/proxy/wire"
)

// loadEvery is how often the viewers of BenchmarkRelayTCP read. They do not wait
// for data: on one machine the relay that sends would be charged for waking them,
// as it is not where there is a network between.
const loadEvery = 10 * time.Millisecond

// loadBuffer holds what comes in that time, with a key frame in it.
const loadBuffer = 256 << 10

// A relayLoad is what all viewers together got so far.
type relayLoad struct {
	Packets, Bytes, Lost int
	Delay                time.Duration // of all packets, added up: from the source's write until they were read
}

// A loadViewer reads one session and looks at nothing but the frames' headers and
// the packets' numbers.
type loadViewer struct {
	conn *net.TCPConn
	buf  []byte
	have int // bytes in buf
	seq  [2]int32
	got  *relayLoad
}

// openLoad goes as far as PLAY.
func openLoad(url string, got *relayLoad) (*loadViewer, error) {
	host, _, _ := strings.Cut(strings.TrimPrefix(url, "rtsp://"), "/")
	c, err := net.DialTimeout("tcp", host, 5*time.Second)
	if err != nil {
		return nil, err
	}
	v := &loadViewer{conn: c.(*net.TCPConn), buf: make([]byte, loadBuffer), seq: [2]int32{-1, -1}, got: got}
	return v, v.open(url)
}

func (v *loadViewer) open(url string) error {
	br := bufio.NewReader(v.conn)
	r := wire.NewReader(br)
	session := ""
	f := func(method, url, transport string) error {
		req := wire.Request{Method: method, URL: url, Header: wire.Header{{Name: "CSeq", Value: "1"}}}
		if session != "" {
			req.Header.Add("Session", session)
		}
		if transport != "" {
			req.Header.Add("Transport", transport)
		}
		if _, err := v.conn.Write(req.Append(nil)); err != nil {
			return err
		}
		msg, err := r.Next()
		if err != nil {
			return err
		}
		res, ok := msg.(*wire.Response)
		if !ok || res.Code != 200 {
			return fmt.Errorf("%s: %+v", method, msg)
		}
		session, _, _ = strings.Cut(res.Header.Get("Session"), ";")
		return nil
	}
	if err := errors.Join(
		v.conn.SetReadBuffer(loadBuffer), // or the window would close while nobody reads
		f("DESCRIBE", url, ""),
		f("SETUP", url+"/trackID=0", "RTP/AVP/TCP;unicast;interleaved=0-1"),
		f("SETUP", url+"/trackID=1", "RTP/AVP/TCP;unicast;interleaved=2-3"),
		f("PLAY", url, ""),
	); err != nil {
		return err
	}
	early, _ := br.Peek(br.Buffered())
	v.have = copy(v.buf, early)
	return nil
}

// read reads what there is, and no more.
func (v *loadViewer) read() error {
	raw, err := v.conn.SyscallConn()
	if err != nil {
		return err
	}
	var n int
	readErr := raw.Read(func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), v.buf[v.have:])
		return true
	})
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return nil
	case err != nil || readErr != nil:
		return errors.Join(err, readErr)
	case n == 0:
		return io.EOF
	}
	v.have += n
	return v.scan()
}

// scan counts the whole frames in the buffer.
func (v *loadViewer) scan() error {
	b := v.buf[:v.have]
	now := time.Now().UnixNano()
	for len(b) >= 4 {
		if b[0] != '$' {
			return fmt.Errorf("no frame: %.40q", b)
		}
		size := 4 + int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < size {
			break
		}
		if channel := b[1]; channel == 0 || channel == 2 {
			v.count(channel/2, b[:size], now)
		}
		b = b[size:]
	}
	v.have = copy(v.buf, b)
	return nil
}

func (v *loadViewer) count(track byte, frame []byte, now int64) {
	seq := binary.BigEndian.Uint16(frame[6:])
	if last := v.seq[track]; last >= 0 {
		v.got.Lost += int(seq - uint16(last) - 1)
	}
	v.seq[track] = int32(seq)
	v.got.Packets++
	v.got.Bytes += len(frame)
	v.got.Delay += time.Duration(now - int64(binary.BigEndian.Uint64(frame[sourceClock:])))
}

// loadMain is many viewers of one URL as a process. It prints "playing" when all
// have begun, then answers each line of its standard input with a relayLoad, and ends
// with it.
func loadMain(url string, viewers int, stdin io.Reader, stdout io.Writer) error {
	var mu sync.Mutex // over got, and who reads
	var got relayLoad
	var all []*loadViewer
	for range viewers {
		v, err := openLoad(url, &got)
		if err != nil {
			return err
		}
		defer v.conn.Close()
		all = append(all, v)
	}
	go func() {
		for range time.Tick(loadEvery) {
			mu.Lock()
			for _, v := range all {
				if err := v.read(); err != nil {
					fmt.Fprintln(os.Stderr, "viewer:", err)
					os.Exit(1)
				}
			}
			mu.Unlock()
		}
	}()
	fmt.Fprintln(stdout, "playing")
	for lines := bufio.NewScanner(stdin); lines.Scan(); {
		mu.Lock()
		err := json.NewEncoder(stdout).Encode(got)
		mu.Unlock()
		if err != nil {
			return err
		}
	}
	mu.Lock() // for good: nobody reads what is about to be closed
	return nil
}
