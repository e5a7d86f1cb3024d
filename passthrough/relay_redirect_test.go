package passthrough

import (
	"strings"
	"testing"
)

// TestRelayRedirect: redirects are followed here, to origins that are known.
func TestRelayRedirect(t *testing.T) {
	entry, behind := newFake(t), newFake(t)
	e := newEdge(t, quick, entry.url(), behind.url())
	p := e.dial("/cam")
	p.send("SETUP", "/trackID=0", "Transport", overTCP)
	l := entry.accept()
	l.reply(l.request("SETUP"), 302, "", "Location", behind.url()+"/inner/7")
	to := behind.accept()
	if got := to.setup("77").URL; got != behind.url()+"/inner/7/trackID=0" {
		t.Errorf("the origin is asked for %s", got)
	}
	p.want(200)
	if n := e.places(); n != 1 {
		t.Errorf("%d places, want 1", n)
	}
	if strings.Contains(p.texts.String(), behind.addr) || strings.Contains(p.texts.String(), "inner") {
		t.Errorf("the viewer reads\n%s", p.texts.String())
	}
}

// TestRelayBadRedirect: to nobody who is not known, to nowhere, and round and
// round.
func TestRelayBadRedirect(t *testing.T) {
	fake := newFake(t)
	stranger := newFake(t)
	f := func(what, location string, times int) {
		t.Helper()
		e := newEdge(t, quick, fake.url())
		p := e.dial("/cam")
		p.send("SETUP", "/trackID=0", "Transport", overTCP)
		for range times {
			l := fake.accept()
			l.reply(l.request("SETUP"), 301, "", "Location", location)
		}
		p.want(502)
		if n := e.places(); n != 0 {
			t.Errorf("%s: %d places are taken", what, n)
		}
		if strings.Contains(p.texts.String(), "Location") {
			t.Errorf("%s: the viewer reads\n%s", what, p.texts.String())
		}
	}
	f("stranger", stranger.url()+"/cam", 1)
	f("nowhere", "/cam", 1)
	f("no URL", "rtsp://%zz", 1)
	f("round", fake.url()+"/cam", 1+maxRedirects)
	select {
	case <-stranger.links:
		t.Error("the stranger was dialled")
	default:
	}
}
