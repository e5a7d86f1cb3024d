package passthrough

import (
	"strings"
	"testing"

	rtspviewer "weir/proxy/viewer"
)

// TestRelayEdgeCredentials: those in the origin's URL are the edge's own.
func TestRelayEdgeCredentials(t *testing.T) {
	o := testOrigin(t, "u", "s3cret")
	e := newEdge(t, quick, strings.Replace(o.URL(), "//", "//u:s3cret@", 1))
	p := e.dial("/live/clock").watch()
	p.frame()
	p.ask(200, "TEARDOWN", "")
	if s := p.texts.String(); strings.Contains(s, "s3cret") || strings.Contains(s, "Authenticate") || strings.Contains(s, "u:") {
		t.Errorf("the viewer reads\n%s", s)
	}
	wrong := newEdge(t, quick, strings.Replace(o.URL(), "//", "//u:wrong@", 1))
	if res := wrong.dial("/live/clock").ask(502, "DESCRIBE", ""); res.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("the viewer is asked\n%s", text(res.Header))
	}
}

// TestRelayBasic: an origin that asks for it in the middle of a session.
func TestRelayBasic(t *testing.T) {
	f := newFake(t)
	e := newEdge(t, quick, strings.Replace(f.url(), "//", "//u:s3cret@", 1))
	p := e.dial("/cam")
	p.send("SETUP", "/trackID=0", "Transport", overTCP, "Authorization", "Basic mine")
	l := f.accept()
	req := l.request("SETUP")
	if got := req.Header.Get("Authorization"); got != "" {
		t.Errorf("the origin gets the viewer's %q", got)
	}
	l.reply(req, 401, "", "WWW-Authenticate", `Digest realm="x", nonce="a", algorithm=SHA-256`, "WWW-Authenticate", `Basic realm="x"`)
	if got := l.setup("77").Header.Get("Authorization"); got != "Basic dTpzM2NyZXQ=" {
		t.Errorf("the origin gets Authorization %q", got)
	}
	p.setUp(p.want(200))
	p.send("PLAY", "")
	if got := l.play().Header.Get("Authorization"); got != "Basic dTpzM2NyZXQ=" {
		t.Errorf("the origin gets Authorization %q", got)
	}
	p.want(200)
	if n := len(e.gate.Tickets()); n != 1 {
		t.Errorf("%d places were asked for, want 1", n)
	}
}

// TestRelayViewerCredentials: without any of the edge's, the origin and the viewer
// have that out between them.
func TestRelayViewerCredentials(t *testing.T) {
	o := testOrigin(t, "u", "s3cret")
	e := newEdge(t, quick, o.URL())
	if res := e.dial("/live/clock").ask(401, "DESCRIBE", ""); res.Header.Count("WWW-Authenticate") == 0 {
		t.Errorf("401 says\n%s", text(res.Header))
	}
	open := func(user string) error {
		v, err := rtspviewer.Open(t.Context(), rtspviewer.Options{URL: "rtsp://" + user + "@" + e.addr + "/live/clock", Timeout: soon})
		if err == nil {
			v.Close()
		}
		return err
	}
	if err := open("u:s3cret"); err != nil {
		t.Error(err)
	}
	if err := open("u:wrong"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("with a wrong password: %v", err)
	}
}
