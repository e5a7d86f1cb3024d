package admission

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/proxy"
)

func TestCredentialsSources(t *testing.T) {
	signed := signedToken(t, Claim{Path: "/a", Subject: "signed"})
	expired := signedToken(t, Claim{Path: "/a", Until: signedAt.Add(-time.Second)})
	jwt := &fakeTokens{token: "x.y.z", grant: &grant{subject: "jwt", scope: under{"/a"}}}
	slow := refuse(proxy.NoVerdict, "no answer")
	f := func(h *fakeHook, change func(*proxy.Viewer), subject string, want proxy.Reason) {
		t.Helper()
		c := withKeys(t)
		c.jwt, c.users = jwt, &fakeUsers{}
		if h != nil {
			c.hook = h
		}
		v := askingFor("/a", "")
		change(&v)
		if err := c.check(t.Context(), &v, signedAt); refusedFor(err) != want || v.Subject != subject || v.Authorization != "" {
			t.Errorf("%+v: %v, want %q %q", v, err, subject, want)
		}
	}
	query := func(q string) func(*proxy.Viewer) { return func(v *proxy.Viewer) { v.Query = q } }
	header := func(h string) func(*proxy.Viewer) { return func(v *proxy.Viewer) { v.Authorization = h } }
	no := func() *fakeHook { return &fakeHook{no: refuse(proxy.Unauthorized, "no")} }

	f(nil, query("token="+signed), "signed", "")
	f(nil, query("jwt=x.y.z"), "jwt", "")
	f(nil, query("jwt=x.y.q"), "", proxy.Unauthorized)
	f(nil, query("jwt=x"), "", proxy.Unauthorized)
	f(nil, query(""), "", proxy.Unauthorized)
	f(nil, header(shownBasic("bob", "secret")), "bob", "")
	f(nil, header(shownBasic("bob", "wrong")), "", proxy.Unauthorized)
	f(nil, header("Digest x"), "bob", "")
	f(nil, func(v *proxy.Viewer) { v.Certificate = "cam 7" }, "cam 7", "")
	f(nil, func(v *proxy.Viewer) { v.Certificate, v.Query = "cam 7", "token=bad" }, "cam 7", "")
	f(nil, func(v *proxy.Viewer) { v.Certificate, v.Query = "cam 7", "token="+signed }, "signed", "")
	f(nil, func(v *proxy.Viewer) { v.Query, v.Authorization = "token="+expired, shownBasic("bob", "secret") }, "bob", "")
	f(nil, func(v *proxy.Viewer) { v.Query, v.Authorization = "token="+expired, shownBasic("bob", "wrong") }, "", proxy.Forbidden)
	f(nil, func(v *proxy.Viewer) { v.Path, v.Query = "/ab", "jwt=x.y.z" }, "", proxy.Forbidden)

	f(&fakeHook{}, query(""), "hooked", "")
	f(&fakeHook{}, query("token=opaque"), "hooked", "")
	f(&fakeHook{}, query("token="+expired), "hooked", "")
	f(&fakeHook{}, query("token=x&jwt=y"), "", proxy.BadRequest)
	f(no(), query("token="+signed), "signed", "")
	f(no(), query("token=opaque"), "", proxy.Unauthorized)
	f(no(), query("token="+expired), "", proxy.Forbidden)
	f(&fakeHook{no: slow}, query("token=opaque"), "", proxy.NoVerdict)
	f(&fakeHook{no: slow}, query("token="+expired), "", proxy.Forbidden)
	f(&fakeHook{no: slow}, query("token="+signed), "signed", "")
}

// TestCredentialsHook: it is not asked when somebody nearer has said yes, and is
// told what MediaMTX would tell it.
func TestCredentialsHook(t *testing.T) {
	f := func(protocol, path, query, authorization string, want question) {
		t.Helper()
		c, h := withKeys(t), &fakeHook{}
		c.hook = h
		v := askingFor(path, query)
		v.Protocol, v.Authorization, v.UserAgent = protocol, authorization, "player"
		if err := c.check(t.Context(), &v, signedAt); err != nil {
			t.Fatal(err)
		}
		want.IP, want.Action, want.Query, want.UserAgent = "10.1.2.3", "read", query, "player"
		want.from = v.Addr.Addr()
		if !slices.Equal(h.saw, []question{want}) {
			t.Errorf("asked %+v, want %+v", h.saw, want)
		}
	}
	f("rtsp", "/cam1", "", "", question{Path: "cam1", Protocol: "rtsp"})
	f("rtsp", "/a/cam1.ts", "a=1&token=x", "", question{Path: "a/cam1.ts", Protocol: "rtsp", Token: "x"})
	f("http", "/cam1/index.m3u8", "", shownBasic("u", "p:q"), question{Path: "cam1", Protocol: "hls", User: "u", Password: "p:q"})
	f("http", "/cam1/x.ts", "", "Bearer x.y", question{Path: "cam1", Protocol: "hls", Token: "x.y"})
	f("http", "/a/cam1/x_seg7.mp4", "", "", question{Path: "a/cam1", Protocol: "hls"})
	f("http", "/cam1/x_part7.mp4", "", "", question{Path: "cam1", Protocol: "hls"})
	f("http", "/cam1/init.mp4", "", "", question{Path: "cam1", Protocol: "hls"})
	f("http", "/vod/film.mp4", "", "", question{Path: "vod/film.mp4", Protocol: "hls"})
	f("http", "/radio", "", "", question{Path: "radio", Protocol: "hls"})
	f("http", "/index.m3u8", "", "", question{Path: "index.m3u8", Protocol: "hls"})

	c, h := withKeys(t), &fakeHook{}
	c.hook = h
	v := askingFor("/a", "token="+signedToken(t, Claim{Path: "/a"}))
	if err := c.check(t.Context(), &v, signedAt); err != nil || len(h.saw) > 0 {
		t.Errorf("%v, and the hook was asked %v", err, h.saw)
	}
}

func TestCredentialsChallenges(t *testing.T) {
	f := func(u passwordSource, h hookSource, protocol, authorization string, want ...string) {
		t.Helper()
		c := withKeys(t)
		c.users, c.hook = u, h
		v := askingFor("/a", "")
		v.Protocol, v.Authorization = protocol, authorization
		var r *proxy.Refusal
		if err := c.check(t.Context(), &v, signedAt); !errors.As(err, &r) || r.Reason != proxy.Unauthorized || !slices.Equal(r.Challenges, want) {
			t.Errorf("%v: challenges %q, want %q", err, r.Challenges, want)
		}
	}
	no := &fakeHook{no: refuse(proxy.Unauthorized, "no")}
	f(nil, nil, "http", "", `Bearer realm="Weir"`)
	f(nil, nil, "rtsp", "", `Basic realm="Weir"`)
	f(nil, nil, "http", "Bearer "+strings.Repeat("x", 5000), `Bearer realm="Weir"`)
	f(nil, no, "http", "", `Basic realm="Weir"`)
	f(nil, no, "rtsp", "", `Basic realm="Weir"`)
	f(&fakeUsers{}, no, "rtsp", "", "Digest x")
	f(&fakeUsers{}, nil, "http", shownBasic("bob", "wrong"), "Digest x")
	f(&fakeUsers{}, no, "http", "Digest stale", "Digest stale=true")
	if no.no.(*proxy.Refusal).Challenges != nil {
		t.Error("a source's own refusal was changed")
	}
}

// TestCredentialsDigest: the header is still there when Digest is asked.
func TestCredentialsDigest(t *testing.T) {
	c, u := withKeys(t), &fakeUsers{}
	c.users = u
	v := askingFor("/a", "")
	v.Authorization = "Digest x"
	if err := c.check(t.Context(), &v, signedAt); err != nil || u.saw != "Digest x" || v.Authorization != "" {
		t.Errorf("%v: Digest saw %q, and %q is left", err, u.saw, v.Authorization)
	}
}
