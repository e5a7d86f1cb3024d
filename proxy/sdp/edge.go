package sdp

import (
	"net/netip"
	"slices"
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
	far := s.addresses()
	put := func(line string) { b.WriteString(line); b.WriteString("\r\n") }
	pass := func(line string) { // what is the origin's
		if !tells(line, far) {
			put(line)
		}
	}
	put("v=0")
	put(origin(s.lines))
	put("s=" + name(s.lines, far))
	keep(s.lines, "i", pass)
	put("c=IN IP4 0.0.0.0")
	keep(s.lines, "b", pass)
	put("t=0 0")
	attributes(s.lines, pass)
	put("a=control:*")
	put("a=range:npt=now-")
	for i, m := range s.Media {
		if m.BackChannel {
			continue
		}
		put(portless(m.lines[0]))
		keep(m.lines, "i", pass)
		keep(m.lines, "b", pass)
		attributes(m.lines, pass)
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
func name(lines, far []string) string {
	for _, l := range lines {
		if v, ok := strings.CutPrefix(l, "s="); ok && v != "" && !strings.Contains(v, "://") && !tells(v, far) {
			return v
		}
	}
	return " "
}

// addresses are those that the description gives for the origin, as text, without
// those that say nothing of where it is.
func (s *Session) addresses() (far []string) {
	all := slices.Clone(s.lines)
	for _, m := range s.Media {
		all = append(all, m.lines...)
	}
	for _, l := range all {
		f := strings.Fields(l)
		if len(f) == 0 || !strings.HasPrefix(l, "o=") && !strings.HasPrefix(l, "c=") {
			continue
		}
		a, _, _ := strings.Cut(f[len(f)-1], "/") // of a group: /ttl/number
		ip, err := netip.ParseAddr(a)
		if err == nil && !ip.IsUnspecified() && !ip.IsLoopback() || err != nil && strings.Contains(a, ".") && len(a) > 3 {
			far = append(far, strings.ToLower(a))
		}
	}
	return far
}

// tells reports whether a line names one of the addresses, or can be read as two.
func tells(line string, far []string) bool {
	low := strings.ToLower(line)
	return strings.ContainsAny(line, "\r\x00") || slices.ContainsFunc(far, func(a string) bool { return strings.Contains(low, a) })
}

// portless is a media line as RTSP servers write it: the port is agreed in SETUP. The
// profile is the one that there is, whatever it is between the origin and the edge:
// players ask for what they read here.
func portless(line string) string {
	f := strings.Fields(line)
	f[1] = "0"
	switch strings.ToUpper(f[2]) {
	case "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF":
		f[2] = "RTP/AVP"
	}
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
	switch key = strings.ToLower(strings.TrimSpace(key)); {
	case key == "ts-refclk" && a != "ts-refclk:local", key == "mediaclk" && a != "mediaclk:sender":
		return true // RFC 7273: of a clock and of time stamps that are not the edge's
	}
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
