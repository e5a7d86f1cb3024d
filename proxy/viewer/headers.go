package viewer

import (
	"iter"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"weir/proxy/wire"
)

// params yields the parameters of "a=b;c;d=e", trimmed, names in lower case.
func params(s string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for p := range strings.SplitSeq(s, ";") {
			k, v, _ := strings.Cut(p, "=")
			if !yield(strings.ToLower(strings.TrimSpace(k)), strings.Trim(v, " \t\"")) {
				return
			}
		}
	}
}

// session reads "id;timeout=60". 60 s is what counts if nothing is said (RFC
// 2326 §12.37).
func session(s string) (id string, timeout time.Duration) {
	id, rest, _ := strings.Cut(s, ";")
	timeout = time.Minute
	for k, v := range params(rest) {
		if n, err := strconv.ParseUint(v, 10, 31); k == "timeout" && err == nil && n > 0 {
			timeout = time.Duration(n) * time.Second
		}
	}
	return strings.TrimSpace(id), timeout
}

// A transport is what matters to us in a Transport header of an answer.
type transport struct {
	tcp        bool
	channelled bool       // it names channels
	rtp, rtcp  int        // channels (-1 for none) or server's ports (0 for none)
	source     netip.Addr // invalid if it names none, or one by name
	ssrc       *uint32
}

func parseTransport(s string) (t transport) {
	s, _, _ = strings.Cut(s, ",")
	for k, v := range params(s) {
		switch k {
		case "rtp/avp/tcp":
			t.tcp = true
		case "interleaved":
			t.rtp, t.rtcp = pair(v, 255, -1)
			t.channelled = t.rtp >= 0
		case "server_port":
			t.rtp, t.rtcp = pair(v, 65535, 0)
		case "source":
			if a, err := netip.ParseAddr(v); err == nil {
				t.source = a.Unmap()
			}
		case "ssrc":
			t.ssrc = number(v, 16)
		}
	}
	return t
}

// pair reads "4-5" or "4", none standing for what is not there.
func pair(s string, most uint64, none int) (a, b int) {
	first, second, _ := strings.Cut(s, "-")
	read := func(s string) int {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n > most {
			return none
		}
		return int(n)
	}
	return read(first), read(second)
}

// number reads up to 32 bits, nil for anything else.
func number(s string, base int) *uint32 {
	n, err := strconv.ParseUint(s, base, 32)
	if err != nil {
		return nil
	}
	u := uint32(n)
	return &u
}

// An rtpInfo is one stream of RTP-Info (RFC 2326 §12.33).
type rtpInfo struct {
	url     string
	seq     *uint16
	rtptime *uint32
}

// rtpInfos cuts where ",url=" stands, since URLs may hold commas.
func rtpInfos(h wire.Header) []rtpInfo {
	var infos []rtpInfo
	for part := range strings.SplitSeq(strings.ReplaceAll(h.Get("RTP-Info"), ", ", ","), ",url=") {
		var i rtpInfo
		for k, v := range params("url=" + strings.TrimPrefix(part, "url=")) {
			switch k {
			case "url":
				i.url = v
			case "seq":
				if n, err := strconv.ParseUint(v, 10, 16); err == nil {
					seq := uint16(n)
					i.seq = &seq
				}
			case "rtptime":
				i.rtptime = number(v, 10)
			}
		}
		if i.url != "" {
			infos = append(infos, i)
		}
	}
	return infos
}

// infoOf finds the n-th of all tracks: by its URL, by the end of it, or, since
// servers differ there, by its place if every track has one.
func infoOf(infos []rtpInfo, t *track, n, all int) *rtpInfo {
	control := strings.TrimLeft(t.media.Control, "/")
	for i := range infos {
		u := infos[i].url
		if u == t.url || control != "" && (u == control || strings.HasSuffix(u, "/"+control)) {
			return &infos[i]
		}
	}
	if len(infos) == all {
		return &infos[n]
	}
	return nil
}
