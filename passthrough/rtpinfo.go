package passthrough

import (
	"strconv"
	"strings"
)

// mapRTPInfo maps the URLs of RTP-Info (RFC 2326 §12.33) and leaves the rest as
// it is. URLs may hold commas and semicolons: one ends where the next parameter
// begins.
func mapRTPInfo(value string, u *urls) string {
	var b strings.Builder
	for value != "" {
		name, from, _ := nextParameter(value)
		b.WriteString(value[:from])
		value = value[from:]
		if !strings.EqualFold(name, "url=") {
			continue
		}
		_, _, end := nextParameter(value)
		s := strings.TrimRight(value[:end], " \t")
		b.WriteString(mapQuoted(s, u))
		value = value[len(s):]
	}
	return b.String()
}

// mapQuoted maps a URL that may stand in quotes, as RFC 7826 has it.
func mapQuoted(s string, u *urls) string {
	if len(s) > 1 && s[0] == '"' {
		if i := strings.IndexByte(s[1:], '"'); i >= 0 {
			return `"` + u.toViewer(s[1:i+1]) + s[i+1:]
		}
	}
	return u.toViewer(s)
}

// nextParameter finds the next "url=", "seq=" … at the beginning of a text or
// behind a separator. from is where its value begins, end where the separator
// stands; both are the text's length if there is none.
func nextParameter(s string) (name string, from, end int) {
	for i := 0; i < len(s); i++ {
		start := i
		if i > 0 || s[0] == ',' || s[0] == ';' {
			if s[i] != ',' && s[i] != ';' {
				continue
			}
			start++
		}
		rest := strings.TrimLeft(s[start:], " \t")
		for _, name := range []string{"url=", "seq=", "rtptime=", "ssrc="} {
			if len(rest) >= len(name) && strings.EqualFold(rest[:len(name)], name) {
				return name, len(s) - len(rest) + len(name), i
			}
		}
	}
	return "", len(s), len(s)
}

// An info is what RTP-Info says of one track.
type info struct {
	url        string
	seq        uint16
	ts         uint32
	seqs, tses bool // they are said
}

// parseRTPInfo reads RTP-Info; what it does not know it leaves out.
func parseRTPInfo(value string) (all []info) {
	for value != "" && len(all) <= maxTracks {
		name, from, _ := nextParameter(value)
		value = value[from:]
		_, _, end := nextParameter(value)
		v := strings.Trim(value[:end], " \t")
		switch {
		case name == "url=":
			all = append(all, info{url: strings.Trim(v, `"`)})
		case len(all) == 0:
		case name == "seq=":
			n, err := strconv.ParseUint(v, 10, 16)
			all[len(all)-1].seq, all[len(all)-1].seqs = uint16(n), err == nil
		case name == "rtptime=":
			n, err := strconv.ParseUint(v, 10, 32)
			all[len(all)-1].ts, all[len(all)-1].tses = uint32(n), err == nil
		}
	}
	return all
}

// sameTrack reports whether a URL as it was asked for is what a control or an
// RTP-Info names, which may be relative.
func sameTrack(url, name string) bool {
	_, _, rest, absolute := splitURL(name)
	if !absolute {
		name = strings.Trim(name, "/")
		return name != "" && (strings.HasSuffix(url, "/"+name) || strings.HasSuffix(url, "?"+name))
	}
	_, _, asked, ok := splitURL(url)
	if !ok {
		asked = url
	}
	return strings.TrimSuffix(asked, "/") == strings.TrimSuffix(rest, "/")
}

// formatRTPInfo is the reverse.
func formatRTPInfo(all []info) string {
	var b strings.Builder
	for i, f := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("url=" + f.url)
		if f.seqs {
			b.WriteString(";seq=" + strconv.Itoa(int(f.seq)))
		}
		if f.tses {
			b.WriteString(";rtptime=" + strconv.FormatUint(uint64(f.ts), 10))
		}
	}
	return b.String()
}
