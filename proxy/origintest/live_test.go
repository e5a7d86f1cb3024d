package origintest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	wrtp "weir/proxy/rtp"
)

func senderReport(t *testing.T, raw []byte) *rtcp.SenderReport {
	t.Helper()
	pkts, err := rtcp.Unmarshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	return pkts[0].(*rtcp.SenderReport)
}

// received is what a library's client was given.
type received struct {
	video bool
	rtp   *rtp.Packet
	sr    *rtcp.SenderReport
}

// watch plays a URL with gortsplib's client.
func watch(t *testing.T, target string, transport gortsplib.Transport) <-chan received {
	t.Helper()
	u, err := base.ParseURL(target)
	if err != nil {
		t.Fatal(err)
	}
	c := &gortsplib.Client{Scheme: u.Scheme, Host: u.Host, Transport: &transport,
		TLSConfig: &tls.Config{InsecureSkipVerify: true}}
	if err := c.Start2(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	desc, _, err := c.Describe(u)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetupAll(desc.BaseURL, desc.Medias); err != nil {
		t.Fatal(err)
	}
	got := make(chan received, 10000)
	c.OnPacketRTPAny(func(m *description.Media, _ format.Format, p *rtp.Packet) {
		got <- received{video: m.Type == description.MediaTypeVideo, rtp: p}
	})
	c.OnPacketRTCPAny(func(m *description.Media, p rtcp.Packet) {
		if sr, is := p.(*rtcp.SenderReport); is {
			got <- received{video: m.Type == description.MediaTypeVideo, sr: sr}
		}
	})
	if _, err := c.Play(nil); err != nil {
		t.Fatal(err)
	}
	return got
}

func next(t *testing.T, from <-chan received) received {
	t.Helper()
	select {
	case r := <-from:
		return r
	case <-time.After(patience):
		t.Fatal("no packet")
		return received{}
	}
}

// expectLive checks that packets of both tracks come in order.
func expectLive(t *testing.T, from <-chan received) {
	t.Helper()
	var packets, last [2]int
	for packets[0] < 20 || packets[1] < 20 {
		r, i := next(t, from), 0
		if r.video {
			i = 1
		}
		if r.sr != nil {
			continue
		}
		packets[i]++
		if d := int16(r.rtp.SequenceNumber - uint16(last[i])); packets[i] > 1 && d != 1 {
			t.Errorf("sequence jumps by %d", d)
		}
		last[i] = int(r.rtp.SequenceNumber)
	}
}

func TestLiveTCP(t *testing.T) {
	t.Parallel()
	o := run(t, Options{Live: []string{"/live/cam1"}})
	a, b := watch(t, o.URL()+"/live/clock", gortsplib.TransportTCP), watch(t, o.URL()+"/live/cam1", gortsplib.TransportTCP)
	expectLive(t, a)
	expectLive(t, b)
	c := o.Counts()
	if c.Connections != 2 || c.Open != 2 || c.Pulls != 2 || c.PullsOf["/live/cam1"] != 1 || c.Playing != 2 ||
		c.Requests["SETUP"] != 4 {
		t.Errorf("Counts = %+v", c)
	}
}

// Reports of both tracks are of one clock: that of the wall.
func TestLiveReports(t *testing.T) {
	t.Parallel()
	o := run(t, Options{})
	got := watch(t, o.URL()+"/live/clock", gortsplib.TransportTCP)
	var seen [2]*rtcp.SenderReport
	for seen[0] == nil || seen[1] == nil {
		r, i := next(t, got), 0
		if r.video {
			i = 1
		}
		if r.sr == nil {
			continue
		}
		seen[i] = r.sr
		if d := time.Since(wrtp.FromNTP(r.sr.NTPTime)); d < 0 || d > time.Second {
			t.Errorf("report is %v old", d)
		}
	}
	if seen[0].NTPTime != seen[1].NTPTime {
		t.Errorf("reports are of %x and %x", seen[0].NTPTime, seen[1].NTPTime)
	}
}

func TestLiveUDP(t *testing.T) {
	t.Parallel()
	o := run(t, Options{UDP: true})
	expectLive(t, watch(t, o.URL()+"/live/clock", gortsplib.TransportUDP))
}

func TestLiveTLS(t *testing.T) {
	t.Parallel()
	o := run(t, Options{TLS: &tls.Config{Certificates: []tls.Certificate{certificate(t)}}})
	if !strings.HasPrefix(o.URL(), "rtsps://127.0.0.1:") {
		t.Errorf("URL = %s", o.URL())
	}
	expectLive(t, watch(t, o.URL()+"/live/clock", gortsplib.TransportTCP))
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Audio only and video only; a key frame comes each second.
func TestLiveOneTrack(t *testing.T) {
	t.Parallel()
	o := run(t, Options{})
	radio := watch(t, o.URL()+"/live/radio", gortsplib.TransportTCP)
	pictures := watch(t, o.URL()+"/live/video", gortsplib.TransportTCP)
	if r := next(t, radio); r.video {
		t.Error("a picture on the radio")
	}
	for { // until parameters, in one packet, that a key frame follows
		r := next(t, pictures)
		if !r.video {
			t.Fatal("sound on the video")
		}
		if r.rtp == nil || r.rtp.Payload[0]&0x1f != 24 {
			continue
		}
		if r = next(t, pictures); r.rtp == nil || !wrtp.H264.IsKey(r.rtp.Payload) {
			t.Error("no key frame follows its parameters")
		}
		return
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	o := run(t, Options{Live: []string{"/live/a"}})
	f := func(path string, want int) {
		t.Helper()
		v := dial(t, o, path)
		if res := v.do("DESCRIBE", v.url); res.Code != want {
			t.Errorf("DESCRIBE %s: %d, want %d", path, res.Code, want)
		}
		if res := v.do("SETUP", v.url+"/trackID=0", "Transport", "RTP/AVP/TCP;unicast;interleaved=0-1"); res.Code != want {
			t.Errorf("SETUP %s: %d, want %d", path, res.Code, want)
		}
		if res := v.do("SETUP", v.url+"/trackID=0", "Transport", "RTP/AVP;unicast;client_port=5000-5001"); res.Code != 461 {
			t.Errorf("SETUP %s over UDP: %d, want 461", path, res.Code)
		}
	}
	f("/live/clock", 200)
	f("/live/a", 200)
	f("/live/b", 404)
	f("/vod/clip", 200)
	f("/", 404)
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestAuth(t *testing.T) {
	t.Parallel()
	o := run(t, Options{User: "ann", Password: "secret"})
	v := dial(t, o, "/live/clock")
	res := v.do("DESCRIBE", v.url)
	if res.Code != 401 || !strings.Contains(string(res.Raw), "Basic realm") || !strings.Contains(string(res.Raw), "Digest realm") {
		t.Errorf("DESCRIBE without credentials: %s", res.Raw)
	}
	if res := v.do("SETUP", v.url+"/trackID=0", "Transport", "RTP/AVP/TCP;unicast;interleaved=0-1"); res.Code != 401 {
		t.Errorf("SETUP without credentials: %d", res.Code)
	}
	v.ok("DESCRIBE", v.url, "Authorization", basic("ann", "secret"))
	if res := v.do("DESCRIBE", v.url, "Authorization", basic("ann", "other")); res.Code != 401 {
		t.Errorf("DESCRIBE with another password: %d", res.Code)
	}
	u, err := url.Parse(o.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.UserPassword("ann", "secret"), "/live/clock"
	expectLive(t, watch(t, u.String(), gortsplib.TransportTCP)) // by Digest
}
