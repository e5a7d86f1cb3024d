package passthrough

import "strings"

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
