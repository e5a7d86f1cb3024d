package passthrough

import (
	"cmp"
	"strings"

	"weir/proxy/sdp"
	"weir/proxy/wire"
)

// A told is what a viewer knows of a stream from an origin that has described it to him:
// another one, to which his sessions have moved, may name the tracks and number their
// payload types in a way of its own. It is never changed.
type told struct {
	sdp   *sdp.Session
	names []string // the controls, by medium, as the viewer knows them
}

// tells is what the leg's viewer knows of the stream, nil if nothing; mu is held.
func (l *leg) tells() *told {
	if l.told != nil || l.sdp == nil {
		return l.told
	}
	t := &told{sdp: l.sdp}
	for _, m := range l.sdp.Media {
		t.names = append(t.names, l.urls.toViewer(m.Control))
	}
	return t
}

// medium finds the medium that a viewer's SETUP is for, by its control, as he knows it;
// -1 if that is not known. types are his payload types where the origin has others.
func (l *leg) medium(url string) (index int, m sdp.Media, types *sdp.Types) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tells()
	if t == nil {
		return -1, sdp.Media{}, nil
	}
	for i, m := range t.sdp.Media {
		if len(t.sdp.Media) == 1 || sameTrack(url, t.names[i]) {
			return i, m, sdp.Translate(&m, &l.sdp.Media[i])
		}
	}
	return -1, sdp.Media{}, nil
}

// renames has the viewer's names for tracks lead to those of the next origin, which has
// answered DESCRIBE with res. It reports false where that cannot be.
func (m *move) renames(t *told, res *wire.Response) bool {
	base := cmp.Or(res.Header.Get("Content-Base"), res.Header.Get("Content-Location"))
	if _, _, _, absolute := splitURL(base); !absolute {
		base = m.next.urls.stream()
	}
	var all []alias
	for i, name := range t.names {
		control := m.has.Media[i].Control
		if m.next.urls.toViewer(control) == name {
			continue
		}
		if name == "" || control == "" || control == "*" || broken(base+control) {
			return false
		}
		if _, _, _, absolute := splitURL(control); !absolute {
			control = strings.TrimSuffix(base, "/") + "/" + strings.TrimPrefix(control, "/")
		}
		all = append(all, alias{name, name, control})
	}
	m.next.urls.rename(all)
	return true
}

// An alias is a track that an origin calls other than its viewer.
type alias struct {
	name   string // by the viewer, absolute or relative
	viewer string // the same, and once he has asked for it, how he did
	origin string // absolute
}

// rename has names of tracks mean others; nil: none does any more.
func (u *urls) rename(all []alias) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.aliases = all
}

// renamed is what the origin calls a track, if it calls it otherwise than the viewer.
func (u *urls) renamed(asked string) (origin string, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range u.aliases {
		if a := &u.aliases[i]; sameTrack(asked, a.name) {
			a.viewer = asked
			return a.origin, true
		}
	}
	return "", false
}

// known is what the viewer calls a track, if he calls it otherwise than the origin.
func (u *urls) known(origin string) (viewer string, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, a := range u.aliases {
		if sameTrack(origin, a.origin) {
			return a.viewer, true
		}
	}
	return "", false
}

// stream is what the origin calls the stream.
func (u *urls) stream() string { return u.origin + u.originPath + u.originQuery }
