package cache

import "time"

// The lifetimes of media, where the origin says nothing (RFC 8216bis, B.1, for
// live playlists) and where its word cannot be meant (see livePlaylistVerdict).
const (
	plainFloor     = 250 * time.Millisecond // of a live playlist
	plainCap       = 3 * time.Second
	mpdFloor       = 500 * time.Millisecond
	mpdUnsaid      = time.Second // without minimumUpdatePeriod
	multiLife      = 10 * time.Second
	multiSWR       = 30 * time.Second
	storedLife     = time.Hour // of playlists and MPDs of what does not change any more
	liveSegment    = time.Minute
	unlistedLife   = time.Hour // of media that no playlist lists, and of which the origin says nothing at all
	storedSegment  = 24 * time.Hour
	ever           = 10 * 365 * 24 * time.Hour
	unknownTarget  = 6 * time.Second // where a playlist has none: what most use
	negativeLive   = time.Second
	negativeStored = 5 * time.Second
	negativeEarly  = 250 * time.Millisecond // a blocking request too far ahead of the stream
)

// mediaVerdict changes what RFC 9111 says by the rules for media. m is nil for
// what is no playlist, or for what is none of status 200; blocked says that the
// request was a blocking one and that the answer has what it waited for; live
// that a segment is of a live stream, whose target duration is target (0: not known).
//
// What the origin forbids (no-store, private, and whatever else makes an answer
// not storable but the want of a lifetime) stays forbidden.
func mediaVerdict(c class, m *manifest, status int, v verdict, blocked, live bool, target time.Duration) verdict {
	if m != nil {
		c = m.Class
	}
	switch {
	case c == other:
		return v
	case c == secret:
		return secretVerdict(v)
	case !v.Store && v.Why != lacksLifetime:
		return v
	case status >= 400:
		return negativeVerdict(c, status, v, blocked, live, target)
	case status != 200 && status != 206:
		return v
	case c == segment:
		return segmentVerdict(v, live, target)
	case m == nil: // called a playlist, but is none
		return v
	case c == livePlaylist && blocked && m.Blocks:
		return blockedVerdict(m, v)
	case c == livePlaylist:
		return livePlaylistVerdict(m, v)
	case c == liveMPD:
		return liveMPDVerdict(m, v)
	case c == multivariant:
		return lenient(unsaid(v, multiLife), multiSWR, 24*time.Hour)
	}
	return lenient(unsaid(v, storedLife), -1, 24*time.Hour)
}

// secretVerdict keeps keys and licences out of the store, unless the origin
// says explicitly that they are for everybody.
func secretVerdict(v verdict) verdict {
	if v.Store && !v.Shared {
		v.Store, v.Why = false, keyOrLicence
	}
	return v
}

// livePlaylistVerdict is for a live playlist that was asked for plainly: half a
// target duration. It wins over no-cache, max-age=0 and must-revalidate, which
// origins put on every live playlist (gohlslib, and MediaMTX with it) because they do
// not know of caches that can read them: heeded, each viewer would cost a request.
// A shorter lifetime that is not 0 is meant and stays. The stream is late by
// half a target duration at most; no-store and private never come here.
func livePlaylistVerdict(m *manifest, v verdict) verdict {
	target := m.target()
	v = overruled(v, min(max(target/2, plainFloor), plainCap))
	return lenient(v, target, 3*target)
}

// blockedVerdict is for the answer to a blocking request, which names what it
// wants by number: it does not change any more. It is for those who ask at the
// same time; later nobody wants it, so it is never served stale.
func blockedVerdict(m *manifest, v verdict) verdict {
	v = overruled(v, 6*m.target())
	v.SWR, v.SIE = 0, 0
	return v
}

// liveMPDVerdict is livePlaylistVerdict for an MPD of type dynamic.
func liveMPDVerdict(m *manifest, v verdict) verdict {
	period := m.Update
	if m.Target > 0 {
		period = min(period, m.Target)
	}
	life := max(period/2, mpdFloor)
	if m.Update <= 0 {
		life = mpdUnsaid
	}
	v = overruled(v, life)
	return lenient(v, -1, 3*max(m.Update, m.Target, mpdUnsaid))
}

// segmentVerdict is for media: what the origin says, and else as long as it can be
// of use. What a playlist lists does not change under its name: while it is fresh
// nobody needs to ask, and old media is better than none. What none lists
// (target 0) may be a file that somebody replaces.
func segmentVerdict(v verdict, live bool, target time.Duration) verdict {
	life := storedSegment
	switch {
	case live:
		life = max(6*target, liveSegment)
	case target == 0 && v.Fresh > 0: // by its age
		life = max(v.Fresh, liveSegment)
	case target == 0:
		life = unlistedLife
	}
	v = unsaid(v, life)
	v.Immutable = v.Immutable || target > 0 && !v.NoCache
	return lenient(v, -1, ever)
}

// negativeVerdict is for errors. They are stored although nobody said so: a
// thousand players ask for a segment that is not there yet. It is safe because it
// is short, and shorter when the playlist lists it (see change.Listed).
func negativeVerdict(c class, status int, v verdict, blocked, live bool, target time.Duration) verdict {
	blocked = blocked && c == livePlaylist
	life := negativeLive
	switch {
	case blocked && status == 400:
		life = negativeEarly
	case blocked && status >= 500: // the wait that failed; the next may not
		v.Store, v.Why = false, blockedError
		return v
	case status != 404 && status != 410 && status < 500:
		return v
	case c == storedPlaylist, c == storedMPD, c == segment && !live && target > 0:
		life = negativeStored
	case c == segment && live && target > 0:
		life = min(negativeLive, target/4)
	}
	v.Store, v.Why = true, noObstacle
	if v.Explicit {
		life = min(life, v.Fresh)
	}
	v.Fresh, v.SWR, v.SIE, v.Immutable = life, 0, 0, false
	return v
}

// unsaid gives a lifetime to what the origin gave none.
func unsaid(v verdict, life time.Duration) verdict {
	v.Store, v.Why = true, noObstacle
	if !v.Explicit && !v.NoCache {
		v.Fresh = life
	}
	return v
}

// overruled gives a lifetime which the origin can only make shorter, not zero.
func overruled(v verdict, life time.Duration) verdict {
	v.Store, v.Why, v.NoCache, v.Must = true, noObstacle, false, false
	if v.Explicit && v.Fresh > 0 {
		life = min(life, v.Fresh)
	}
	v.Fresh = life
	return v
}

// lenient allows stale use where the origin has neither said how nor forbidden
// it. A duration of -1 changes nothing.
func lenient(v verdict, swr, sie time.Duration) verdict {
	if v.Must || v.NoCache {
		return v
	}
	if v.SWR < 0 {
		v.SWR = swr
	}
	if v.SIE < 0 {
		v.SIE = sie
	}
	return v
}
