// Package admission is the gate in front of every mode: who may come in, how
// many, and for how much.
//
// A Gate is a proxy.Admitter and a proxy.Part. What it asks of a viewer comes in
// the order of what it costs: bans and connections (Accept); lists, rate and
// credentials (Check); places and bandwidth (Admit). Who is in is never cut for
// load: limits keep others out. Each no has one reason, and package proxy one
// code for it in each protocol.
//
// Over RTSP a viewer is a session, from its first SETUP to its end. Over HTTP it
// is one client on one stream that was seen within the last Options.Window: a
// thousand requests for segments are one viewer.
//
// Other edges of the cluster are no viewers: whom front has verified as one (Viewer.Peer)
// is let in unasked and counted nowhere, and their addresses (Config.Edge) have neither
// a limit of connections nor bans; their viewers have been through a gate there.
//
// Edges tell each other what they have, so that limits hold for all of them together
// but for what begins within two to four seconds, and whom they have banned, which is
// a hint: who offends here too is banned here after half as much.
//
// What is sent to a viewer of a stream is what it needs; a download takes what there
// is, and less when others want some of it. Who has asked for no playlist and no
// segment, but only for files, by whatever name, is taken to need something only while
// a request of his is open: Options.Pace, or without one what a playlist declares for
// the file or else Options.Assume, but never more than a quarter of the limit, so that
// one who is quick does not fill it; and less if over ten seconds he was sent less, as
// listeners of a radio are. What he was sent is left out of all sums. So films in one
// file that need more than is assumed, and streams whose playlists and segments have
// no names that say so, count for too little: raise Options.Assume, or set a pace.
// The first playlist or segment that he asks for makes him a viewer of the stream,
// for whom there must be bandwidth then.
//
// Credentials are looked for where a source of them is configured, and any one
// that is good lets its viewer in; with no source, all are let in. What a source
// found is a grant.
//
// Limits: every table is bounded, see Status. A token may have 4 KiB.
package admission

import (
	"net/netip"
	"strings"
	"time"

	"weir/proxy"
)

// A grant is what somebody's credentials are good for. It is shared, and changed
// by nobody.
type grant struct {
	subject string       // "" for nobody in particular
	class   string       // of Options.Classes; "" for the lowest
	max     int          // viewers at once with this subject; 0 for no limit of the credentials' own
	scope   scope        // nil for every path
	from    netip.Prefix // the zero Prefix for everywhere
	until   time.Time    // the zero Time for ever; it is asked when something begins, not while it lasts
	token   string       // that it was read from, for a cookie; "" if it was none. Never to be logged
	path    string       // what the cookie is for: this path and all below it; "" for no cookie
}

// A scope is a set of paths in the form of proxy.CleanPath.
type scope interface{ allows(path string) bool }

// under are the paths that are one of these or lie below it: "/a" has "/a" and
// "/a/b", not "/ab"; "/" has all.
type under []string

func (u under) allows(path string) bool {
	for _, p := range u {
		if p == "/" || path == p || len(path) > len(p) && path[len(p)] == '/' && strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}

// admits is nil if g is good for what v asks for.
func (g *grant) admits(v *proxy.Viewer, now time.Time) error {
	switch {
	case !g.until.IsZero() && !now.Before(g.until):
		return refuse(proxy.Forbidden, "credentials have expired")
	case g.from.IsValid() && !g.from.Contains(v.Addr.Addr()):
		return refuse(proxy.Forbidden, "credentials are for another address")
	case g.scope != nil && !g.scope.allows(v.Path):
		return refuse(proxy.Forbidden, "credentials are for another path")
	}
	return nil
}
