// Package sdp is pure functions on session descriptions (RFC 8866, and RFC 2326
// appendix C for RTSP): is it live or stored, what tracks has it, is another one
// the same, and what does an edge tell its viewers. It works on lines, so that
// what it does not know stays as it is.
package sdp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what is accepted from an origin.
const (
	maxLines  = 4096
	maxTracks = 32
)

// A Session is a description taken apart.
type Session struct {
	lines []string // before the first m=
	Media []Media  // in the order of the description, back channels included
}

// A Media is one m= section: a track.
type Media struct {
	Type        string // "video", "audio", "application"
	Format             // the first one
	Control     string // as the origin wrote it
	BitRate     int    // bits per second by b=TIAS, else b=AS; 0 where not said
	BackChannel bool   // towards the origin (a=sendonly, ONVIF streaming §5.3)

	lines  []string // m= first
	others []Format // beside the first, as what repairs it (RFC 4588)
}

// A Format is one payload type of a track.
type Format struct {
	PayloadType int
	Encoding    string // as in rtpmap: "H264", "MPEG4-GENERIC"
	ClockRate   int    // ticks per second; 0 where the description does not say
	Channels    string // "" where the description does not say
	Fmtp        string // parameters
}

// Encrypted reports whether the media is of a secure profile (RFC 3711 §12, RFC 5124).
func (m *Media) Encrypted() bool {
	if len(m.lines) == 0 {
		return false
	}
	fields := strings.Fields(m.lines[0])
	return len(fields) > 2 && strings.Contains(strings.ToUpper(fields[2]), "SAVP")
}

// Parse takes a description apart. It is lenient: line ends may be bare, and
// unknown lines are kept.
func Parse(body []byte) (*Session, error) {
	s := &Session{}
	lines := bytes.Split(body, []byte("\n"))
	if len(lines) > maxLines {
		return nil, fmt.Errorf("sdp: over %d lines", maxLines)
	}
	for _, l := range lines {
		line := strings.TrimRight(string(l), "\r \t")
		switch {
		case len(line) < 2 || line[1] != '=':
			continue
		case line[0] == 'm':
			s.Media = append(s.Media, Media{lines: []string{line}})
		case len(s.Media) > 0:
			m := &s.Media[len(s.Media)-1]
			m.lines = append(m.lines, line)
		default:
			s.lines = append(s.lines, line)
		}
	}
	if len(s.Media) == 0 {
		return nil, errors.New("sdp: no media")
	}
	if len(s.Media) > maxTracks {
		return nil, fmt.Errorf("sdp: over %d media", maxTracks)
	}
	for i := range s.Media {
		if err := s.Media[i].fill(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// fill reads the fields out of the lines.
func (m *Media) fill() error {
	f := strings.Fields(m.lines[0][2:])
	if len(f) < 4 {
		return fmt.Errorf("sdp: short media line %.60q", m.lines[0])
	}
	m.Type = f[0]
	pt, ok := payloadType(f[3])
	if !ok {
		return fmt.Errorf("sdp: payload type in %.60q", m.lines[0])
	}
	m.Format = m.format(pt)
	for _, v := range f[4:] {
		if pt, ok := payloadType(v); ok {
			m.others = append(m.others, m.format(pt))
		}
	}
	_, m.BackChannel = attribute(m.lines, "sendonly")
	m.Control, _ = attribute(m.lines, "control")
	m.BitRate = bitRate(m.lines)
	return nil
}

func payloadType(s string) (pt int, ok bool) {
	pt, err := strconv.Atoi(s)
	return pt, err == nil && pt >= 0 && pt <= 127
}

// format reads what the lines say of a payload type.
func (m *Media) format(pt int) Format {
	f := Format{PayloadType: pt}
	f.Encoding, f.ClockRate = staticType(pt)
	number := strconv.Itoa(pt) + " "
	for _, l := range m.lines {
		if v, ok := strings.CutPrefix(l, "a=rtpmap:"+number); ok {
			f.rtpmap(v)
		}
		if v, ok := strings.CutPrefix(l, "a=fmtp:"+number); ok {
			f.Fmtp = strings.TrimSpace(v)
		}
	}
	return f
}

// rtpmap reads "H264/90000" or "MPEG4-GENERIC/48000/2".
func (f *Format) rtpmap(v string) {
	p := strings.Split(strings.TrimSpace(v), "/")
	f.Encoding = p[0]
	if len(p) > 1 {
		f.ClockRate, _ = strconv.Atoi(p[1]) // 0 stands for "not said"
	}
	if len(p) > 2 {
		f.Channels = p[2]
	}
}

// staticType is the part of RFC 3551 §6 that is still met.
func staticType(pt int) (encoding string, clock int) {
	switch pt {
	case 0:
		return "PCMU", 8000
	case 8:
		return "PCMA", 8000
	case 9:
		return "G722", 8000
	case 14:
		return "MPA", 90000
	case 26:
		return "JPEG", 90000
	case 32:
		return "MPV", 90000
	case 33:
		return "MP2T", 90000
	}
	return "", 0
}

func bitRate(lines []string) int {
	rate := 0
	for _, l := range lines {
		if v, ok := strings.CutPrefix(l, "b=TIAS:"); ok {
			if n, err := strconv.Atoi(v); err == nil && n > 0 {
				return n
			}
		}
		if v, ok := strings.CutPrefix(l, "b=AS:"); ok {
			if n, err := strconv.Atoi(v); err == nil && n > 0 && n < 1<<30/1000 {
				rate = n * 1000
			}
		}
	}
	return rate
}

// attribute returns the value of the first a=name[:value].
func attribute(lines []string, name string) (string, bool) {
	for _, l := range lines {
		if v, ok := strings.CutPrefix(l, "a="+name); ok {
			if v == "" {
				return "", true
			}
			if v[0] == ':' {
				return strings.TrimSpace(v[1:]), true
			}
		}
	}
	return "", false
}

// BitRate is the sum of what the tracks towards viewers say they need, or what
// the session says; in bits per second, 0 where nothing is said.
func (s *Session) BitRate() int {
	sum := 0
	for _, m := range s.Media {
		if !m.BackChannel {
			sum += m.BitRate
		}
	}
	return max(sum, bitRate(s.lines))
}

// Stored reports whether the description is of a stream with an end: a=range
// with one, for the session or for a track (RFC 2326 §C.1.5).
func (s *Session) Stored() bool {
	if finite(s.lines) {
		return true
	}
	for _, m := range s.Media {
		if finite(m.lines) {
			return true
		}
	}
	return false
}

func finite(lines []string) bool {
	v, ok := attribute(lines, "range")
	if !ok {
		return false
	}
	v, _, _ = strings.Cut(v, ";") // ;time=…
	_, span, ok := strings.Cut(v, "=")
	if !ok {
		return false
	}
	i := strings.LastIndexByte(span, '-')
	if i < 0 {
		return false
	}
	end := strings.TrimSpace(span[i+1:])
	return end != "" && end != "now"
}

// BackChannel reports whether some medium goes from the viewer to the origin.
func (s *Session) BackChannel() bool {
	return slices.ContainsFunc(s.Media, func(m Media) bool { return m.BackChannel })
}
