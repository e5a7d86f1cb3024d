package passthrough

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"weir/proxy"
)

func mapping(t testing.TB, request, path, link string) *urls {
	t.Helper()
	l, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return newURLs(request, path, l)
}

// TestSameName: where viewer and origin call the stream the same, requests go
// byte by byte as the viewer's Digest has signed them.
func TestSameName(t *testing.T) {
	u := mapping(t, "rtsp://edge:8554/a%20b", "/a b", "rtsp://198.51.100.7:554/a%20b")
	f := func(in, want string) {
		t.Helper()
		if got, err := u.toOrigin(in); got != want || err != nil {
			t.Errorf("toOrigin(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	f("rtsp://edge:8554/a%20b", "rtsp://edge:8554/a%20b")
	f("rtsp://EDGE:8554/a%20b/?x=[1]|{/trackID=0", "rtsp://EDGE:8554/a%20b/?x=[1]|{/trackID=0")
	f("RTSP://edge/%61%20b//track1", "RTSP://edge/%61%20b//track1")
	f("rtsps://edge/a%20b/stream=0", "rtsp://edge/a%20b/stream=0")
	f("rtspu://edge/a%20b", "rtsp://edge/a%20b")
	f("rtsp://joe:p@ss@edge/a%20b", "rtsp://edge/a%20b")
	f("/a%20b/track1?x", "rtsp://198.51.100.7:554/a%20b/track1?x")
	f("rtsp:///a%20b", "rtsp://198.51.100.7:554/a%20b")
	f("*", "*")

	g := func(in, want string) {
		t.Helper()
		if got := u.toViewer(in); got != want {
			t.Errorf("toViewer(%q) = %q, want %q", in, got, want)
		}
	}
	g("rtsp://10.0.0.9:554/a%20b/", "rtsp://edge:8554/a%20b/")
	g("rtsp://admin:s3cret@10.0.0.9/a%20b/trackID=1?x", "rtsp://edge:8554/a%20b/trackID=1?x")
	g("RTSPU://[fe80::1]:554", "rtsp://edge:8554")
	g("rtsps://10.0.0.9?q", "rtsp://edge:8554?q")
	g("track1", "track1")
	g("/a/b", "/a/b")
	g("*", "*")
	g("", "")
	g("http://10.0.0.9/", "http://10.0.0.9/")

	u = mapping(t, "/a", "/a", "rtsp://198.51.100.7/a") // a viewer of paths reads paths
	g("rtsp://10.0.0.9/a/", "/a/")
	g("rtsp://10.0.0.9?x", "/?x")
}

// TestMapped: round trips of what real servers name, below a source with a path
// and credentials of its own.
func TestMapped(t *testing.T) {
	f := func(request, path, link, origin, viewer string) {
		t.Helper()
		u := mapping(t, request, path, link)
		got := u.toViewer(origin)
		if got != viewer {
			t.Errorf("%s of %s is %q to the viewer, want %q", origin, link, got, viewer)
		}
		back, err := u.toOrigin(got)
		l, _ := url.Parse(link)
		_, _, rest, _ := splitURL(origin)
		if want := l.Scheme + "://" + l.Host + rest; back != want || err != nil {
			t.Errorf("%s comes back as %q, %v, want %q", got, back, err, want)
		}
	}
	const hik = "rtsp://admin:s3cret@198.51.100.7/Streaming/Channels/101"
	f("rtsp://edge/door", "/door", hik, "rtsp://198.51.100.7:554/Streaming/Channels/101/", "rtsp://edge/door/")
	f("rtsp://edge/door", "/door", hik, "rtsp://admin:s3cret@10.0.0.9:554/Streaming/Channels/101/trackID=1", "rtsp://edge/door/trackID=1")
	f("rtsps://edge/door?token=x", "/door", hik, "rtsp://10.0.0.9/Streaming/Channels/101?token=x/trackID=1", "rtsps://edge/door?token=x/trackID=1")
	f("/door", "/door", hik, "rtsp://10.0.0.9/Streaming/Channels/101/trackID=1", "/door/trackID=1")

	const dahua = "rtsp://admin:s3cret@198.51.100.7:554/cam/realmonitor?channel=1&subtype=0"
	f("rtsp://edge/door", "/door", dahua, "rtsp://10.0.0.9/cam/realmonitor?channel=1&subtype=0/", "rtsp://edge/door/")
	f("rtsp://edge/door", "/door", dahua, "rtsp://10.0.0.9/cam/realmonitor?channel=1&subtype=0", "rtsp://edge/door")
	f("rtsp://edge/door?token=x", "/door", dahua, "rtsp://10.0.0.9/cam/realmonitor?channel=1&subtype=0/trackID=0", "rtsp://edge/door/trackID=0")
	f("rtsp://edge/door", "/door", dahua, "rtsp://10.0.0.9/cam/realmonitor/trackID=0?channel=1&subtype=0", "rtsp://edge/door/trackID=0")
	f("rtsp://edge/door", "/door", dahua, "rtsp://10.0.0.9/cam/realmonitor/trackID=0", "rtsp://edge/door/trackID=0")

	f("rtsp://edge/cam", "/cam", "rtsp://u:p@198.51.100.7:8554/cam", "rtsp://10.0.0.9:8554/cam/trackID=0", "rtsp://edge/cam/trackID=0")
	f("rtsp://edge/axis", "/axis", "rtsp://root:p@198.51.100.7/axis-media/media.amp", "rtsp://10.0.0.9/axis-media/media.amp/stream=0?videocodec=h264", "rtsp://edge/axis/stream=0?videocodec=h264")
	f("rtsp://edge/live/x", "/live/x", "rtsp://198.51.100.7:1935/vods3/_definst_/live/x", "rtsp://10.0.0.9:1935/vods3/_definst_/live/x/trackID=1", "rtsp://edge/live/x/trackID=1")
	f("rtsp://edge/x", "/x", "rtsp://198.51.100.7", "rtsp://10.0.0.9/track1", "rtsp://edge/x/track1")
	f("rtsp://edge", "/", "rtsp://198.51.100.7/base/", "rtsp://10.0.0.9/base/track1", "rtsp://edge/track1")
}

// TestMappedRequests: what players make of a mapped stream's URL.
func TestMappedRequests(t *testing.T) {
	const dahua = "rtsp://admin:s3cret@198.51.100.7/cam/realmonitor?channel=1&subtype=0"
	u := mapping(t, "rtsp://edge/a/%64oor?token=a/b", "/a/door", dahua)
	f := func(in, want string) {
		t.Helper()
		if got, err := u.toOrigin(in); got != want || err != nil {
			t.Errorf("toOrigin(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	const origin = "rtsp://198.51.100.7/cam/realmonitor?channel=1&subtype=0"
	f("rtsp://edge/a/%64oor?token=a/b", origin)
	f("rtsp://edge/a//door/trackID=0", origin+"/trackID=0")
	f("rtsp://edge/a/door?token=a/b/stream=0", origin+"/stream=0") // ffmpeg
	f("rtsp://edge/a/door?token=other/trackID=1", origin+"/trackID=1")
	f("rtsp://edge/a/door?token=other/", origin+"/")
	f("rtsp://edge/a/door/track1?token=a/b", origin+"/track1")
	f("/a/door/track2", origin+"/track2")
	if got := u.toViewer("rtsp://10.0.0.9/elsewhere/track1?channel=1&subtype=0"); got != "rtsp://edge/elsewhere/track1" {
		t.Errorf("a control elsewhere is %q: the link's query has nothing to do there", got)
	}
	u = mapping(t, "rtsp://edge/x?token=1", "/x", "rtsp://u:p@[2001:db8::7]:554/y")
	f("rtsp://edge/x?token=1/trackID=0", "rtsp://[2001:db8::7]:554/y?token=1/trackID=0")
	u = mapping(t, "rtsp://edge/x", "/x", "rtsp://198.51.100.7/y?a b")
	f("rtsp://edge/x/1", "rtsp://198.51.100.7/y?a%20b/1")
	u = mapping(t, "rtsp://edge/x", "/x", "rtsp://198.51.100.7/p%2Fw/..")
	f("rtsp://edge/x/1", "rtsp://198.51.100.7/p%2Fw/../1")
}

// BenchmarkLongPath: a viewer cannot make the edge work hard with one line.
func BenchmarkLongPath(b *testing.B) {
	u := mapping(b, "rtsp://edge/x", "/x", "rtsp://u:p@198.51.100.7/y")
	in := "rtsp://edge" + strings.Repeat("/.", 4000) + "/x/track1"
	b.ReportAllocs()
	for b.Loop() {
		if out, err := u.toOrigin(in); err == nil {
			b.Fatalf("%q is longer than a path", out)
		}
		u.toViewer(in)
	}
}

// TestOutside: what does not belong to the stream, or is no URL of RTSP, never
// reaches the origin.
func TestOutside(t *testing.T) {
	for _, link := range []string{"rtsp://198.51.100.7/cam", "rtsp://u:p@198.51.100.7/cam", "rtsp://198.51.100.7/x?q"} {
		u := mapping(t, "rtsp://edge/cam", "/cam", link)
		for _, in := range []string{"", "cam", "rtsp:cam", "http://edge/cam", "rtsp://edge/camera", "rtsp://edge/", "rtsp://edge",
			"/other", "//edge/cam", "rtsp://edge/cam/../x", "rtsp://edge/cam/%2e%2e/x", "rtsp://edge/cam%2fx", "rtsp://edge/cam/ x", "rtsp://edge/cam?a\r\nb", "rtsp://e\x7f/cam"} {
			got, err := u.toOrigin(in)
			var r *proxy.Refusal
			if got != "" || !errors.As(err, &r) || r.Reason != proxy.BadRequest {
				t.Errorf("%s: toOrigin(%q) = %q, %v", link, in, got, err)
			}
		}
	}
}

func TestLearn(t *testing.T) {
	for _, link := range []string{"rtsp://198.51.100.7/a/cam", "rtsp://u:p@198.51.100.7/a/cam", "rtsp://198.51.100.7/a/cam?q"} {
		u := mapping(t, "rtsp://edge/a/cam", "/a/cam", link)
		f := func(path string, want bool) {
			t.Helper()
			if got := u.within(path); got != want {
				t.Errorf("%s: within(%q) = %v", link, path, got)
			}
		}
		f("/a/cam", true)
		f("/a/cam/track1", true)
		f("/a/camera", false)
		f("/a", false)

		u.learn("rtsp://10.0.0.9:554/media/7/")
		f("/media/7", true)
		f("/media/7/track1", true)
		f("/media", false)
		u.learn("rtsp://10.0.0.9/other/trackID=2")
		f("/other/trackID=2", true)
		f("/other", true) // proxy.RequestTarget of the SETUP
		f("/other/trackID=3", false)
		u.learn("relative")
		f("/relative", false)
		u.learn("rtsp://10.0.0.9/%2f")

		// A base above the stream makes nothing its own but the controls.
		u.learn("rtsp://10.0.0.9/")
		f("/", true)
		f("/track1", false)
		f("/b/cam", false)
		u.learnControl("track1")
		u.learnControl("*")
		u.learnControl("")
		f("/track1", true)
		f("/b/cam", false)
		for _, in := range []string{"/media/7/track1", "/track1", "/", "/other/trackID=2"} {
			if got, err := u.toOrigin(u.toViewer("rtsp://10.0.0.9" + in)); err != nil || !strings.HasSuffix(got, in) {
				t.Errorf("%s: %s comes back as %q, %v", link, in, got, err)
			}
		}
	}
}

// TestLearnBounded: an origin that names ever new things does not fill memory.
func TestLearnBounded(t *testing.T) {
	u := mapping(t, "rtsp://edge/cam", "/cam", "rtsp://198.51.100.7/cam")
	for i := range 10 * maxLearnt {
		n := strconv.Itoa(i)
		u.learn("rtsp://h/x" + n + "/trackID=1")
		u.learnControl("c" + n)
	}
	if len(u.places) > maxLearnt || len(u.bases) > maxLearnt || len(u.controls) > maxLearnt {
		t.Errorf("%d places, %d bases, %d controls", len(u.places), len(u.bases), len(u.controls))
	}
}

// TestBothDirections: requests and answers cross each other.
func TestBothDirections(t *testing.T) {
	u := mapping(t, "rtsp://edge/cam", "/cam", "rtsp://198.51.100.7/x?q")
	var wg sync.WaitGroup
	wg.Go(func() { u.learn(u.toViewer("rtsp://h/x/trackID=1?q")); u.learnControl("a") })
	wg.Go(func() { u.within("/cam"); _, _ = u.toOrigin("rtsp://edge/cam/a") })
	wg.Wait()
}

// A request that names no session is about the stream that the gate was asked
// of, not about what merely stands below it.
func TestOwns(t *testing.T) {
	f := func(learn []string, path string, want bool) {
		t.Helper()
		u := mapping(t, "rtsp://edge/live", "/live", "rtsp://origin/live")
		for _, c := range learn {
			u.learnControl(c)
		}
		if got := u.owns(path); got != want {
			t.Errorf("knowing %q: owns(%q) = %v, want %v", learn, path, got, want)
		}
	}
	f(nil, "/live", true)
	f(nil, "/live/private", false)
	f(nil, "/live/stream=0", false) // its tracks are not known: the gate is to be asked
	f(nil, "/live/private/cam", false)
	f(nil, "/", false)
	tracks := []string{"stream=0", "rtsp://origin/media/audio"}
	f(tracks, "/live/stream=0", true)
	f(tracks, "/media/audio", true)
	f(tracks, "/live/private", false)
	f(tracks, "/media", false)
}
