package sdp

import (
	"strconv"
	"strings"
)

// dropped are attributes that are true between the origin and the edge only:
// addresses, sources, keys, and what Edge writes anew.
var dropped = []string{"control", "range", "source-filter", "rtcp", "ssrc", "ssrc-group", "candidate",
	"ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup", "key-mgmt", "crypto", "alt", "etag", "mtag", "extmap-allow-mixed"}

// Edge returns the description that an edge gives its viewers of a live stream:
// the origin's lines, without its addresses, with controls trackID=0, trackID=1
// … in the order of the tracks (the same numbers as the origin's sections), no
// end, and no back channels.
func (s *Session) Edge() []byte {
	var b strings.Builder
	put := func(line string) { b.WriteString(line); b.WriteString("\r\n") }
	put("v=0")
	put(origin(s.lines))
	put("s=" + name(s.lines))
	keep(s.lines, "i", put)
	put("c=IN IP4 0.0.0.0")
	keep(s.lines, "b", put)
	put("t=0 0")
	attributes(s.lines, put)
	put("a=control:*")
	put("a=range:npt=now-")
	for i, m := range s.Media {
		if m.BackChannel {
			continue
		}
		put(portless(m.lines[0]))
		keep(m.lines, "i", put)
		keep(m.lines, "b", put)
		attributes(m.lines, put)
		put("a=control:trackID=" + strconv.Itoa(i))
	}
	return []byte(b.String())
}

// origin keeps the session's id and version, and says nothing of where it is.
func origin(lines []string) string {
	for _, l := range lines {
		if f := strings.Fields(l); strings.HasPrefix(l, "o=") && len(f) >= 3 && digits(f[1]) && digits(f[2]) {
			return "o=- " + f[1] + " " + f[2] + " IN IP4 127.0.0.1"
		}
	}
	return "o=- 0 0 IN IP4 127.0.0.1"
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// name is the session's name; RFC 8866 §5.3 wants a blank where there is none.
func name(lines []string) string {
	for _, l := range lines {
		if v, ok := strings.CutPrefix(l, "s="); ok && v != "" && !strings.Contains(v, "://") {
			return v
		}
	}
	return " "
}

// portless is a media line as RTSP servers write it: the port is agreed in SETUP.
func portless(line string) string {
	f := strings.Fields(line)
	f[1] = "0"
	return strings.Join(f, " ")
}

func keep(lines []string, kind string, put func(string)) {
	for _, l := range lines {
		if strings.HasPrefix(l, kind+"=") && !strings.Contains(l, "://") {
			put(l)
		}
	}
}

func attributes(lines []string, put func(string)) {
	for _, l := range lines {
		if a, ok := strings.CutPrefix(l, "a="); ok && !drops(a) {
			put(l)
		}
	}
}

// drops reports whether an attribute stays between origin and edge. A URL in a
// value would tell viewers where the origin is.
func drops(a string) bool {
	key, _, _ := strings.Cut(a, ":")
	for _, d := range dropped {
		if strings.EqualFold(strings.TrimSpace(key), d) {
			return true
		}
	}
	a = strings.ToLower(a)
	return strings.Contains(a, "rtsp://") || strings.Contains(a, "rtsps://")
}

// SplitTrack cuts the control of one of Edge's tracks off the end of a path or
// query: "/cam/trackID=1" gives "/cam", 1, true. ffmpeg puts it behind the query.
func SplitTrack(s string) (rest string, track int, ok bool) {
	i := strings.LastIndex(s, "/trackID=")
	if i < 0 {
		return s, 0, false
	}
	n, err := strconv.ParseUint(s[i+len("/trackID="):], 10, 8)
	if err != nil {
		return s, 0, false
	}
	return s[:i], int(n), true
}
