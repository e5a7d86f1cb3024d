package viewer

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"time"

	"weir/proxy"
	"weir/proxy/rtp"
	"weir/proxy/sdp"
	"weir/proxy/wire"
)

const (
	maxRedirects = 3
	bufferSize   = 64 << 10        // no datagram is larger, and frames that are go another way
	smallBuffer  = 4 << 10         // where no media is expected
	reportEvery  = 5 * time.Second // RFC 3550 §6.2: the least there is for two participants
)

// Open dials the server and goes as far as a granted PLAY from the beginning
// (or from now, for a live stream). A server that says no makes a *StatusError;
// one that does not answer in time context.DeadlineExceeded. Media waits in
// buffers from here on, so call Run soon.
func Open(ctx context.Context, o Options) (*Viewer, error) {
	o.fill()
	u, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Transport != "tcp" && o.Transport != "udp" {
		return nil, fmt.Errorf("transport %q is neither tcp nor udp", o.Transport)
	}
	if o.Transport == "udp" && u.Scheme == "rtsps" {
		return nil, errors.New("rtsps carries media by tcp only: over udp it would not be encrypted")
	}
	start := time.Now()
	for range maxRedirects + 1 {
		v, err := open(ctx, o, u, start)
		if err == nil {
			return v, nil
		}
		next, rerr := o.redirect(u, err)
		if rerr != nil {
			return nil, fmt.Errorf("view %s: %w", proxy.Redact(u), rerr)
		}
		u = next
	}
	return nil, fmt.Errorf("view %s: over %d redirects", proxy.Redact(u), maxRedirects)
}

func (o *Options) fill() {
	if o.Transport == "" {
		o.Transport = "tcp"
	}
	if o.UserAgent == "" {
		o.UserAgent = "weir-viewer"
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
}

// parseURL's errors name no credentials.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	var bad *url.Error
	switch {
	case errors.As(err, &bad):
		return nil, fmt.Errorf("viewer's URL: %w", bad.Err)
	case err != nil:
		return nil, fmt.Errorf("viewer's URL: %w", err)
	case u.Scheme != "rtsp" && u.Scheme != "rtsps" || u.Hostname() == "":
		return nil, errors.New("viewer's URL is not rtsp://host/path or rtsps://host/path")
	case strings.ContainsFunc(u.User.Username(), func(r rune) bool { return r < ' ' || r == 0x7f }):
		return nil, errors.New("viewer's URL: control character in the user's name")
	}
	u.Fragment = ""
	return u, nil
}

// redirect returns where a server's refusal sends the viewer, or err as it is.
// Credentials go on to the same host only, and nothing goes on from TLS to
// plain text, or from UDP to TLS.
func (o *Options) redirect(from *url.URL, err error) (*url.URL, error) {
	var s *StatusError
	if !errors.As(err, &s) || s.location == "" {
		return nil, err
	}
	ref, perr := url.Parse(s.location)
	if perr != nil {
		return nil, fmt.Errorf("%w, to a location that is no URL", err)
	}
	to, perr := parseURL(from.ResolveReference(ref).String())
	if perr != nil {
		return nil, fmt.Errorf("%w, but %w", err, perr)
	}
	if to.Scheme != from.Scheme && (from.Scheme == "rtsps" || o.Transport == "udp") {
		return nil, fmt.Errorf("%w, to %s", err, to.Scheme)
	}
	if to.User == nil && to.Host == from.Host {
		to.User = from.User
	}
	return to, nil
}

// open is Open at one server.
func open(ctx context.Context, o Options, u *url.URL, start time.Time) (*Viewer, error) {
	conn, err := o.dial(ctx, u)
	if err != nil {
		return nil, err
	}
	v := newViewer(o, conn, u, start)
	if err := v.begin(ctx); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

func (o *Options) dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	d := &net.Dialer{Timeout: o.Timeout}
	if u.Scheme == "rtsp" {
		dial := d.DialContext
		if o.Dial != nil {
			dial = o.Dial
		}
		return dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "554")))
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout) // the handshake's, too
	defer cancel()
	secure := &tls.Dialer{NetDialer: d, Config: o.TLS}
	return secure.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "322")))
}

func newViewer(o Options, conn net.Conn, u *url.URL, start time.Time) *Viewer {
	size := bufferSize
	if o.Transport == "udp" {
		size = smallBuffer
	}
	v := &Viewer{
		o: o, conn: conn, start: start, br: bufio.NewReaderSize(conn, size),
		ssrc: rand.Uint32(), reportEvery: reportEvery,
		pending: map[int]request{}, reading: make(chan struct{}, 1),
		dead: make(chan struct{}), allBye: make(chan struct{}),
	}
	v.msgs = wire.NewReader(v.br)
	v.creds.User = u.User.Username()
	v.creds.Password, _ = u.User.Password()
	bare := *u
	bare.User = nil
	v.url = bare.String()
	return v
}

func (v *Viewer) begin(ctx context.Context) error {
	if err := v.describe(ctx); err != nil {
		return err
	}
	for _, t := range v.tracks {
		if err := v.setup(ctx, t); err != nil {
			return err
		}
	}
	for _, t := range v.tracks {
		t.punch(v.ssrc)
	}
	return v.Play(ctx, "npt=0.000-")
}

// describe fills in the URL of the session and its tracks.
func (v *Viewer) describe(ctx context.Context) error {
	res, err := v.must(ctx, "DESCRIBE", v.url, wire.Header{{Name: "Accept", Value: "application/sdp"}})
	if err != nil {
		return err
	}
	if v.sdp, err = sdp.Parse(res.Body); err != nil {
		return fmt.Errorf("DESCRIBE: %w", err)
	}
	session, base := bases(v.url, res)
	for _, m := range v.sdp.Media {
		if m.BackChannel {
			continue
		}
		t := &track{url: resolve(base, m.Control), media: m, codec: rtp.CodecOf(m.Encoding), index: len(v.tracks)}
		if !sendable(t.url) {
			return fmt.Errorf("DESCRIBE: control %.80q cannot be asked for", t.url)
		}
		v.tracks = append(v.tracks, t)
		v.keyed = v.keyed || t.codec != rtp.Other
	}
	if len(v.tracks) == 0 {
		return errors.New("DESCRIBE: no track towards viewers")
	}
	if !sendable(session) {
		return fmt.Errorf("DESCRIBE: control %.80q cannot be asked for", session)
	}
	v.url = session
	return nil
}

func (v *Viewer) setup(ctx context.Context, t *track) error {
	offer := fmt.Sprintf("RTP/AVP/TCP;unicast;interleaved=%d-%d", 2*t.index, 2*t.index+1)
	if v.o.Transport == "udp" {
		if err := t.listen(v.conn); err != nil {
			return err
		}
		port := portOf(t.rtpSock)
		offer = fmt.Sprintf("RTP/AVP;unicast;client_port=%d-%d", port, port+1)
	}
	res, err := v.must(ctx, "SETUP", t.url, wire.Header{{Name: "Transport", Value: offer}})
	if err != nil {
		return err
	}
	if s := res.Header.Get("Session"); s != "" || v.session == "" {
		v.session, v.idle = session(s)
	}
	tr := parseTransport(res.Header.Get("Transport"))
	if tr.tcp != (v.o.Transport == "tcp") {
		return fmt.Errorf("SETUP: asked for %s, was given another transport", v.o.Transport)
	}
	t.announced = tr.ssrc
	if tr.tcp {
		v.routes(t, tr)
		return nil
	}
	t.address(v.conn, tr)
	return nil
}

// routes notes the channels that the server chose; without a word, it took ours.
func (v *Viewer) routes(t *track, tr transport) {
	if !tr.channelled {
		tr.rtp, tr.rtcp = 2*t.index, 2*t.index+1
	}
	if tr.rtp >= 0 {
		v.route[tr.rtp] = uint8(1 + 2*t.index)
	}
	if tr.rtcp >= 0 {
		v.route[tr.rtcp] = uint8(2 + 2*t.index)
	}
}
