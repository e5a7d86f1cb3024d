package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"weir/proxy/wire"
)

// What the source of BenchmarkRelayTCP sends to each session: 4 Mbit/s of video in
// groups of 2 s whose key frame is five times the size of another picture, and
// sound.
const (
	sourceRate    = 4_000_000 / 8 // bytes a second
	sourceGroup   = 50            // pictures, 25 a second
	sourcePicture = 2 * sourceRate / (sourceGroup - 1 + 5)
	sourcePacket  = 1400 // bytes of a packet of video, at most
	sourceSound   = 170  // bytes of a packet of sound, of 1024 samples at 48 kHz
	sourcePeriod  = 2 * time.Second
)

// Where things stand in a frame of the source's: RTP is behind the header of four
// bytes, and when the frame was sent behind the RTP header and that of FU-A.
const (
	sourceStart = 4
	sourceClock = sourceStart + 12 + 2
)

const sourceSDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=source\r\nt=0 0\r\n" +
	"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:trackID=0\r\n" +
	"m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/2\r\n" +
	"a=fmtp:97 mode=AAC-hbr;config=1190;sizelength=13;indexlength=3;indexdeltalength=3\r\na=control:trackID=1\r\n"

// A source sends the same made-up media to every session, each at its own phase,
// so that pictures do not come all at once. One goroutine sends all: the machine
// is shared with what is measured, so it has to be cheap.
type source struct {
	media []sourceUnit // of one period, by time

	mu       sync.Mutex
	sessions map[*sourceSession]struct{}
	opened   int
}

// A sourceUnit is a picture or a piece of sound, as it goes on the wire.
type sourceUnit struct {
	at     time.Duration // in the period
	track  int
	stamp  uint32   // on the track's clock, in the period
	frames [][]byte // one interleaved frame each
}

// A sourceSession is one that has been told to play.
type sourceSession struct {
	conn  net.Conn
	begin time.Time // of the period in which it is
	next  int       // unit to send
	seq   [2]uint16
	stamp [2]uint32 // at begin
}

func newSource() *source {
	s := &source{sessions: map[*sourceSession]struct{}{}}
	sounds := int(sourcePeriod * 48000 / 1024 / time.Second)
	var sound int
	for n := range sourceGroup {
		at := time.Duration(n) * sourcePeriod / sourceGroup
		for ; sound < sounds && time.Duration(sound)*sourcePeriod/time.Duration(sounds) <= at; sound++ {
			s.media = append(s.media, sourceUnit{time.Duration(sound) * sourcePeriod / time.Duration(sounds), 1, uint32(sound) * 1024,
				[][]byte{sourceFrame(1, 97, true, make([]byte, sourceSound))}})
		}
		s.media = append(s.media, sourceUnit{at, 0, uint32(n) * 3600, sourcePictures(n == 0)})
	}
	return s
}

// sourcePictures makes the frames of a picture: H.264 in FU-A (RFC 6184 §5.8).
func sourcePictures(key bool) (frames [][]byte) {
	size, kind := sourcePicture, byte(1)
	if key {
		size, kind = 5*sourcePicture, 5
	}
	const head = 12 + 2
	for first := true; size > 0; first = false {
		n := min(size, sourcePacket-head)
		size -= n
		payload := make([]byte, 2+n)
		payload[0], payload[1] = 0x60|28, kind
		if first {
			payload[1] |= 0x80
		}
		if size == 0 {
			payload[1] |= 0x40
		}
		frames = append(frames, sourceFrame(0, 96, size == 0, payload))
	}
	return frames
}

// sourceFrame makes an interleaved frame; number and time stamp are filled in
// when it is sent.
func sourceFrame(track int, payloadType byte, marker bool, payload []byte) []byte {
	b := make([]byte, sourceStart+12, sourceStart+12+len(payload))
	b[0], b[1] = '$', byte(2*track)
	binary.BigEndian.PutUint16(b[2:], uint16(12+len(payload)))
	b[4], b[5] = 0x80, payloadType
	if marker {
		b[5] |= 0x80
	}
	b[15] = byte(track) // SSRC
	return append(b, payload...)
}

// send paces all sessions until stop is closed.
func (s *source) send(stop <-chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			s.mu.Lock()
			for session := range s.sessions {
				s.sendDue(session, now)
			}
			s.mu.Unlock()
		}
	}
}

// sendDue sends what is due to one session.
func (s *source) sendDue(session *sourceSession, now time.Time) {
	for {
		u := &s.media[session.next]
		if session.begin.Add(u.at).After(now) {
			return
		}
		if err := session.write(u); err != nil {
			delete(s.sessions, session)
			return
		}
		if session.next++; session.next == len(s.media) {
			session.next = 0
			session.begin = session.begin.Add(sourcePeriod)
			session.stamp[0] += sourceGroup * 3600
			session.stamp[1] += uint32(sourcePeriod / time.Second * 48000)
		}
	}
}

// write writes one packet by one call, as most servers do (gortsplib, live555,
// GStreamer's): what comes in one piece makes a relay's work easier than it is.
func (session *sourceSession) write(u *sourceUnit) error {
	now := uint64(time.Now().UnixNano())
	for _, frame := range u.frames {
		binary.BigEndian.PutUint16(frame[6:], session.seq[u.track])
		binary.BigEndian.PutUint32(frame[8:], session.stamp[u.track]+u.stamp)
		binary.BigEndian.PutUint64(frame[sourceClock:], now)
		session.seq[u.track]++
		if _, err := session.conn.Write(frame); err != nil {
			return err
		}
	}
	return nil
}

// play begins to send.
func (s *source) play(c net.Conn) *sourceSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	// 37 ms and the 2 s have no common measure: phases are spread over the period.
	phase := time.Duration(s.opened) * 37 * time.Millisecond % sourcePeriod
	s.opened++
	session := &sourceSession{conn: c, begin: time.Now().Add(phase - sourcePeriod)}
	for session.begin.Add(s.media[session.next].at).Before(time.Now()) && session.next < len(s.media)-1 {
		session.next++
	}
	s.sessions[session] = struct{}{}
	return session
}

func (s *source) stop(session *sourceSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, session)
}

// serve accepts connections until the listener is closed.
func (s *source) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go s.answer(c)
	}
}

// answer answers the requests of a connection, which has one session at most.
func (s *source) answer(c net.Conn) {
	defer c.Close()
	r := wire.NewReader(bufio.NewReader(c))
	var session *sourceSession
	for {
		msg, err := r.Next()
		if err != nil {
			if session != nil {
				s.stop(session)
			}
			return
		}
		req, ok := msg.(*wire.Request)
		if !ok {
			continue // reports
		}
		if req.Method == "TEARDOWN" && session != nil {
			s.stop(session)
		}
		if _, err := c.Write(sourceAnswer(req, c.RemoteAddr()).Append(nil)); err != nil {
			continue // Next says so too
		}
		if req.Method == "PLAY" && session == nil {
			session = s.play(c)
		}
	}
}

// sourceAnswer answers yes. The session is the connection's.
func sourceAnswer(req *wire.Request, viewer net.Addr) *wire.Response {
	res := &wire.Response{Code: 200, Phrase: "OK"}
	res.Header.Add("CSeq", req.Header.Get("CSeq"))
	switch req.Method {
	case "OPTIONS":
		res.Header.Add("Public", "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
	case "DESCRIBE":
		res.Header.Add("Content-Type", "application/sdp")
		res.Header.Add("Content-Base", req.URL+"/")
		res.Body = []byte(sourceSDP)
	case "SETUP":
		channels := "0-1"
		if strings.HasSuffix(req.URL, "trackID=1") {
			channels = "2-3"
		}
		res.Header.Add("Transport", "RTP/AVP/TCP;unicast;interleaved="+channels)
		fallthrough
	default:
		res.Header.Add("Session", strconv.Itoa(viewer.(*net.TCPAddr).Port)+";timeout=60")
	}
	return res
}

// sourceMain is a source as a process: it prints its address, and ends with its
// standard input.
func sourceMain(stdin io.Reader, stdout io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := newSource()
	go s.serve(l)
	stop := make(chan struct{})
	go s.send(stop)
	defer close(stop)
	defer l.Close()
	fmt.Fprintln(stdout, l.Addr())
	_, err = io.Copy(io.Discard, stdin)
	return err
}
