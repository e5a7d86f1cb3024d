package admission

import (
	"strings"

	"weir/proxy"
)

// The elements of an MPD that contain one another.
const (
	inMPD = iota
	inPeriod
	inAdaptationSet
	inRepresentation
	mpdLevels
)

// An mpd is a walk through the tags of an MPD (ISO/IEC 23009-1): enough to find
// the folders of its segments and what a player needs at most. It is no XML
// parser, and what such a one would refuse only makes it learn nothing of use.
type mpd struct {
	*lesson
	level         int
	base, media   [mpdLevels]string // BaseURL, and SegmentTemplate's media, on each level
	set           string            // the AdaptationSet's content: "video"
	id, bandwidth string            // of the Representation

	most map[string]proxy.BitRate // by content, in this Period
}

// mpd reads an MPD: the most that a player can need is the sum of the best
// Representations of each content, in the worst Period.
func (l *lesson) mpd(text string) {
	m := mpd{lesson: l, most: map[string]proxy.BitRate{}}
	for {
		_, rest, ok := strings.Cut(text, "<")
		if !ok {
			break
		}
		end := ">"
		if strings.HasPrefix(rest, "!--") {
			end = "-->"
		}
		tag, after, ok := strings.Cut(rest, end)
		if !ok {
			break
		}
		text = after
		if end == ">" {
			m.tag(tag, after)
		}
	}
	m.enter(inMPD)
	m.sum()
}

// tag takes a start tag, without its brackets, and what comes after it.
func (m *mpd) tag(tag, after string) {
	name, attrs := tag, ""
	if i := strings.IndexAny(tag, " \t\r\n"); i >= 0 {
		name, attrs = tag[:i], tag[i:]
	}
	switch strings.TrimSuffix(name, "/") {
	case "Period":
		m.enter(inPeriod)
		m.sum()
	case "AdaptationSet":
		m.enter(inAdaptationSet)
		m.set = contentOf(attrs)
	case "Representation":
		m.enter(inRepresentation)
		m.representation(attrs)
	case "BaseURL":
		if base, _, _ := strings.Cut(after, "<"); m.base[m.level] == "" { // others are alternatives
			m.base[m.level] = strings.TrimSpace(base)
		}
	case "SegmentTemplate":
		m.media[m.level] = xmlAttribute(attrs, "media")
	case "SegmentURL":
		m.file(xmlAttribute(attrs, "media"))
	}
}

func (m *mpd) representation(attrs string) {
	m.id, m.bandwidth = xmlAttribute(attrs, "id"), xmlAttribute(attrs, "bandwidth")
	content := contentOf(attrs)
	if content == "" {
		content = m.set
	}
	if len(m.most) < maxParts {
		m.most[content] = max(m.most[content], bitRate(m.bandwidth))
	}
}

// enter begins an element, and with it ends a Representation that was open.
func (m *mpd) enter(level int) {
	if m.level == inRepresentation {
		media := ""
		for _, s := range m.media {
			if s != "" {
				media = s
			}
		}
		m.file(media)
	}
	m.level = level
	clear(m.base[level:])
	clear(m.media[level:])
}

// file takes in the folder of a segment of the open Representation; "" is the
// one that BaseURL names. A folder that is another for each segment is left out.
func (m *mpd) file(media string) {
	uri := ""
	for _, b := range m.base {
		uri = join(uri, b)
	}
	uri = join(uri, strings.NewReplacer("$RepresentationID$", m.id, "$Bandwidth$", m.bandwidth).Replace(media))
	if i := strings.LastIndexByte(uri, '/'); i >= 0 && !strings.Contains(uri[:i], "$") {
		m.add(uri[:i]+"/segment", 0)
	}
}

// join resolves one reference against another (RFC 3986 §5.2), dots aside.
func join(base, ref string) string {
	scheme, _, _ := strings.Cut(ref, "/")
	if strings.HasPrefix(ref, "/") || strings.Contains(scheme, ":") {
		return ref
	}
	if ref == "" {
		return base
	}
	return base[:strings.LastIndexByte(base, '/')+1] + ref
}

// sum ends a Period.
func (m *mpd) sum() {
	var sum proxy.BitRate
	for _, r := range m.most {
		sum += r
	}
	m.highest = max(m.highest, sum)
	clear(m.most)
}

// contentOf returns what the attributes of an element say that it is.
func contentOf(attrs string) string {
	if c := xmlAttribute(attrs, "contentType"); c != "" {
		return c
	}
	c, _, _ := strings.Cut(xmlAttribute(attrs, "mimeType"), "/")
	return c
}

// xmlAttribute returns the value of an attribute, "" for none.
func xmlAttribute(attrs, name string) string {
	for {
		n, rest, ok := strings.Cut(attrs, "=")
		rest = strings.TrimLeft(rest, " \t\r\n")
		if !ok || rest == "" {
			return ""
		}
		value, after, ok := strings.Cut(rest[1:], rest[:1])
		if !ok {
			return ""
		}
		if strings.TrimSpace(n) == name {
			return value
		}
		attrs = after
	}
}
