package passthrough

import (
	"bufio"
	"errors"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/proxy"
	"weir/proxy/wire"
)

// FuzzURLs: what an origin names comes back to it as it was named, and neither
// where it is nor its password reaches the viewer.
func FuzzURLs(f *testing.F) {
	for _, link := range []string{"/cam", "/", "", "/Streaming/Channels/101", "/cam/realmonitor?channel=1&subtype=0", "/a%20b?x y"} {
		for _, tail := range []string{"", "/", "/trackID=1", "//stream=0", "/a/%2e/b", "/x;y,z"} {
			f.Add(link, "/cam", tail, byte(0))
			f.Add(link, "/", tail, byte(1))
		}
	}
	f.Fuzz(func(t *testing.T, name, path, tail string, flags byte) {
		link, err := url.Parse("rtsp://198.51.100.7" + name)
		clean, err2 := proxy.CleanPath(path)
		if err != nil || err2 != nil || clean != path || link.Host != "198.51.100.7" || strings.HasSuffix(link.Path, "/") && link.Path != "/" {
			return
		}
		if flags&1 != 0 {
			link.User = url.UserPassword("admin", "s3cret")
		}
		request := "rtsp://edge:8554" + (&url.URL{Path: path}).EscapedPath()
		u := newURLs(request, path, link)
		rest := joined(u.originPath, tail) + u.originQuery
		if flags&2 != 0 {
			rest = u.originPath + u.originQuery + tail
		}
		if tail != "" && tail[0] != '/' || strings.ContainsAny(tail+path, "?#") {
			return
		}
		if _, err := proxy.CleanPath(u.originPath + tail); err != nil || strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return
		}
		named := u.toViewer("rtsp://admin:s3cret@10.9.8.7:554" + rest)
		if !strings.HasPrefix(named, "rtsp://edge:8554") {
			t.Fatalf("%s of %s is %q to the viewer", rest, link, named)
		}
		back, err := u.toOrigin(named)
		_, _, got, _ := splitURL(back)
		if p, e := proxy.CleanPath(pathOf(strings.TrimPrefix(named, "rtsp://edge:8554"))); e != nil || !u.within(p) {
			return // over the length of a path
		}
		if err != nil || got != rest && !(tail == "" && strings.HasPrefix(got, u.originPath)) {
			t.Errorf("%q of %q (viewer's %q) was %q to the viewer and came back as %q, %v", rest, link, path, named, back, err)
		}
	})
}

// FuzzForeignURLs: whatever either side names, no blank gets into a request
// line, no credentials go to the origin, and no server but the edge is named to
// the viewer.
func FuzzForeignURLs(f *testing.F) {
	for _, s := range []string{"rtsp://joe:secret@edge/cam/trackID=1", "/cam", "//x/cam", "*", "RTSP://h", "rtsp://10.9.8.7/other?q/", "rtsp:///cam?x", "rtsp://a@b@c/cam?d@e", "rtsp://h/\\cam"} {
		f.Add(s, "rtsp://h/cam/")
		f.Add("rtsp://h/cam/x", s)
	}
	f.Fuzz(func(t *testing.T, request, answer string) {
		for _, link := range []string{"rtsp://198.51.100.7/cam", "rtsps://u:s3cret@198.51.100.7/x?channel=1"} {
			u := mapping(t, "rtsp://edge/cam", "/cam", link)
			u.learn(answer)
			out, err := u.toOrigin(request)
			if _, authority, rest, ok := splitURL(out); err == nil && out != "*" {
				if p, err := proxy.CleanPath(pathOf(rest)); !ok || err != nil || strings.ContainsAny(authority, "@/?# \r\n") || strings.ContainsAny(out, " \r\n\x00") || !u.mapped && !u.within(p) {
					t.Errorf("%s: %q goes to the origin as %q", link, request, out)
				}
			}
			_, _, _, ok := splitURL(answer)
			if got := u.toViewer(answer); ok && !strings.HasPrefix(got, "rtsp://edge") || !ok && got != answer {
				t.Errorf("%s: %q goes to the viewer as %q", link, answer, got)
			}
		}
	})
}

var parameter = regexp.MustCompile(`(?i)(^|[,;])[ \t]*(url=|seq=\d*|rtptime=\d*|ssrc=)`)

// FuzzRTPInfo: as many entries as before, with the same numbers.
func FuzzRTPInfo(f *testing.F) {
	for _, s := range []string{"url=rtsp://h/cam/1;seq=1;rtptime=2,url=rtsp://h/cam/2;seq=3;rtptime=4", "url=rtsp://h/x?channel=1/trackID=0;seq=1", "url=,url=\"rtsp://h/x\" ;ssrc=1:seq=2", ";;,url=url=rtsp://h/x;", "url=rtsp://h/x,y;z=1;seq=5", "0,seq=url=rtsp://h/x"} {
		f.Add(s)
	}
	numbers := func(s string) (all []string) {
		for _, m := range parameter.FindAllStringSubmatch(s, -1) {
			all = append(all, m[2])
		}
		return all
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, link := range []string{"rtsp://198.51.100.7/cam", "rtsp://198.51.100.7/x?channel=1"} {
			got := mapRTPInfo(value, mapping(t, "rtsp://edge/cam", "/cam", link))
			if !slices.Equal(numbers(got), numbers(value)) {
				t.Errorf("%q became %q", value, got)
			}
		}
	})
}

var lineEnd = regexp.MustCompile(`\r\n|\n|\r`)

// FuzzSDP: as many lines as before, only those of addresses and controls
// touched, and no address left in them.
func FuzzSDP(f *testing.F) {
	f.Add(hikvision)
	f.Add("o=- 1 1 IN IP6 2001:db8::7\nc=IN IP4 239.1.2.3/127\n\nm=video 5004 RTP/AVP 96\ra=control:RTSP://h\n\r")
	f.Add("v=0\r\na=source-filter: incl IN IP4 * 198.51.100.7\r\nm=audio 0 RTP/AVP 0\r\na=rtcp:5001 IN IP4 198.51.100.7\r\na=rtcp-mux\r\n")
	f.Add("a=control:rtsp://198.51.100.7/control:rtsp://h/\r\nc=\r\no=\r\nm=\r\na=")
	f.Fuzz(func(t *testing.T, body string) {
		u := mapping(t, "rtsp://edge/cam", "/cam", "rtsp://u:s3cret@198.51.100.7/x?channel=1")
		got := string(viewerSDP([]byte(body), u))
		body = withoutPlaces(body)
		before, after := lineEnd.Split(body, -1), lineEnd.Split(got, -1)
		if len(before) != len(after) || !slices.Equal(lineEnd.FindAllString(body, -1), lineEnd.FindAllString(got, -1)) {
			t.Fatalf("%q became %q", body, got)
		}
		for i, l := range after {
			name, value, _ := strings.Cut(l, ":")
			_, authority, _, absolute := splitURL(strings.TrimSpace(value))
			ok := l == before[i]
			switch {
			case strings.HasPrefix(l, "o="):
				ok = strings.HasSuffix(l, " IN IP4 127.0.0.1") && !strings.ContainsAny(strings.TrimSuffix(l, " IN IP4 127.0.0.1"), ".:@")
			case strings.HasPrefix(l, "c="):
				ok = l == "c=IN IP4 0.0.0.0" || l == "c=IN IP6 ::"
			case strings.HasPrefix(l, "m="):
				ok = ok || strings.Contains(l, " 0 ")
			case strings.HasPrefix(l, "a=") && strings.EqualFold(strings.TrimSpace(name[2:]), "control") && absolute:
				ok = authority == "edge"
			}
			if !ok {
				t.Errorf("line %q became %q", before[i], l)
			}
		}
	})
}

// withoutPlaces leaves out the lines that say where packets come from.
func withoutPlaces(body string) string {
	return strings.Join(slices.DeleteFunc(sdpLines(body), func(l string) bool {
		l = strings.TrimRight(l, "\r\n")
		return strings.HasPrefix(l, "a=") && place(l)
	}), "")
}

// touched are the fields that are not the same on both sides.
var touched = []string{"cseq", "session", "transport", "content-length", "via", "proxy-require", "weir-peer", "keymgmt", "authorization",
	"proxy-authorization", "www-authenticate", "proxy-authenticate", "authentication-info", "content-base", "content-location", "location", "rtp-info", "public", "allow"}

func untouched(h wire.Header) wire.Header {
	return slices.DeleteFunc(slices.Clone(h), func(f wire.Field) bool { return slices.Contains(touched, strings.ToLower(f.Name)) })
}

// FuzzHeaders: one message that comes in is one message that goes out, with the
// same body, and with the fields that it was given.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{
		"SETUP rtsp://edge/cam RTSP/1.0\r\nCSeq: 4\r\nTransport: RTP/AVP/TCP\r\nVia: a\r\nKeyMgmt: prot=mikey; uri=\"rtsp://edge/cam\"\r\nSession: a\r\nSession: b\r\n\r\n",
		"SET_PARAMETER /cam RTSP/1.0\r\nContent-Length: 40\r\n\r\nOPTIONS * RTSP/1.0\r\nContent-Length: 1\r\n\r\nx",
		"RTSP/1.0 200 OK\r\nContent-Base: rtsp://h/cam/\r\nRTP-Info: url=rtsp://h/cam/1;seq=1,\r\n url=rtsp://h/x;seq=2\r\nContent-Length: 3\r\nPublic: RECORD\r\nLocation: x:\r\n\r\nv=0",
	} {
		f.Add([]byte(s), "rtsp://edge/cam", "EDGE;timeout=60")
		f.Add([]byte(s), "/cam", "a\r\nContent-Length: 5\r\n\r\nb")
	}
	f.Fuzz(func(t *testing.T, data []byte, request, given string) {
		m, err := wire.NewReader(bufio.NewReader(strings.NewReader(string(data)))).Next()
		if err != nil {
			return
		}
		u := mapping(t, request, "/cam", "rtsp://u:s3cret@198.51.100.7/x?channel=1")
		switch m := m.(type) {
		case *wire.Request:
			h := requestHeader(m.Header, requestChange{cseq: given, session: given, transport: given, via: given, authorization: given, urls: u})
			out, err := u.toOrigin(m.URL)
			if err != nil {
				out = "*"
			}
			again := onlyMessage(t, (&wire.Request{Method: m.Method, URL: out, Header: h, Body: m.Body}).Append(nil))
			if again, ok := again.(*wire.Request); ok {
				same(t, m.Header, h, again.Header, m.Body, again.Body)
			}
		case *wire.Response:
			if strings.ContainsAny(request, "\r\n\x00") {
				return // no reader hands out such a URL
			}
			h := responseHeader(m.Header, responseChange{cseq: given, session: given, transport: given, urls: u})
			again := onlyMessage(t, (&wire.Response{Code: m.Code, Phrase: m.Phrase, Header: h, Body: m.Body}).Append(nil))
			if again, ok := again.(*wire.Response); ok {
				same(t, m.Header, h, again.Header, m.Body, again.Body)
			}
		}
	})
}

// onlyMessage reads what was written; nil if it has outgrown a line.
func onlyMessage(t *testing.T, b []byte) any {
	t.Helper()
	r := wire.NewReader(bufio.NewReader(strings.NewReader(string(b))))
	m, err := r.Next()
	if err != nil {
		if len(b) > wire.MaxLine {
			return nil
		}
		t.Fatalf("%q: %v", b, err)
	}
	if next, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("%q is followed by %v, %v", b, next, err)
	}
	return m
}

func same(t *testing.T, in, out, again wire.Header, body, bodyAgain []byte) {
	t.Helper()
	if string(body) != string(bodyAgain) {
		t.Errorf("body %q became %q", body, bodyAgain)
	}
	if !slices.Equal(untouched(in), untouched(again)) {
		t.Errorf("%q became %q", in, again)
	}
	again = slices.DeleteFunc(again, func(f wire.Field) bool { return f.Name == "Content-Length" })
	for i := range out {
		out[i].Value = strings.Trim(out[i].Value, " \t")
	}
	if !slices.Equal(out, again) {
		t.Errorf("%q was written and read as %q", out, again)
	}
}
